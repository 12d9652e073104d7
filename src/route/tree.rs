//! Where the routes of each host lie: in tables for whole paths and in a tree of segments, all in a few flat
//! arrays.
//!
//! ```text
//!   host ──> Place ──┬─ whole paths without captures   by hash
//!                    ├─ expressions                    in the order of the file
//!                    ├─ root ── segments               by hash of (node, segment), and one capture per node
//!                    └─ whatever the path              in the order of the file
//! ```
//!
//! A node of the tree is a beginning of patterns, and its two lists are the patterns that end there. The walk
//! tries the literal segment, then the capture, then the prefixes that end here; so it comes to the patterns
//! that match from the best to the least, and stops at the first that holds. Where it has to turn back it
//! never comes to a node twice, for one way leads to each: a request costs no more steps than there are nodes
//! of its hosts, whatever its path is.

use std::hash::{BuildHasher, Hasher};

use hashbrown::HashTable;

use super::Captures;
use crate::config::matching::{PathPattern, Segment};

/// A pattern of a route: what a list is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Which route.
    pub(super) route: u32,
    /// Which of its paths; [`Captures::NO_PATH`] if it has none.
    pub(super) path: u32,
    /// Whether the route has no other condition.
    pub(super) free: bool,
}

/// What there is for a host.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: u32,
    /// The list of expressions; the list of what has no path follows it.
    list: u32,
    has_exact: bool,
}

/// A whole path without captures.
#[derive(Clone, Debug)]
struct Exact {
    root: u32,
    path: Text,
    list: u32,
}

/// A literal segment that leads from one node to another.
#[derive(Clone, Debug)]
struct Edge {
    from: u32,
    to: u32,
    segment: Text,
}

/// A run of bytes in the tree's texts.
#[derive(Clone, Copy, Debug)]
struct Text {
    start: u32,
    end: u32,
}

#[derive(Clone, Debug)]
struct Node {
    /// Where any segment leads; [`NOWHERE`] if there is no capture.
    capture: u32,
    /// The list of whole paths that end here; the list of prefixes follows it.
    list: u32,
    has_literals: bool,
}

const NOWHERE: u32 = u32::MAX;

/// The routes' paths, of all hosts.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    hasher: ahash::RandomState,
    texts: Vec<u8>,
    exact: HashTable<Exact>,
    edges: HashTable<Edge>,
    nodes: Vec<Node>,
    entries: Vec<Entry>,
    /// Where each list begins in the entries, and where the last one ends.
    starts: Vec<u32>,
}

impl Tree {
    fn text(&self, text: Text) -> &[u8] {
        &self.texts[text.start as usize..text.end as usize]
    }

    fn list(&self, list: u32) -> &[Entry] {
        let list = list as usize;
        &self.entries[self.starts[list] as usize..self.starts[list + 1] as usize]
    }

    /// The whole paths without captures that are this one, in the order of the file.
    pub(super) fn exact(&self, place: &Place, path: &[u8]) -> &[Entry] {
        if !place.has_exact {
            return &[];
        }
        let found = self.exact.find(hash(&self.hasher, place.root, path), |exact| {
            exact.root == place.root && self.text(exact.path) == path
        });
        found.map_or(&[], |exact| self.list(exact.list))
    }

    /// The expressions, in the order of the file.
    pub(super) fn expressions(&self, place: &Place) -> &[Entry] {
        self.list(place.list)
    }

    /// What is for any path, in the order of the file.
    pub(super) fn any(&self, place: &Place) -> &[Entry] {
        self.list(place.list + 1)
    }

    /// The best prefix, or whole path with captures, that matches the path and of whose route `holds` says that
    /// it holds. The path begins with a slash. Captures are put into `captures`.
    pub(super) fn best(
        &self,
        place: &Place,
        path: &[u8],
        captures: &mut Captures,
        holds: &impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        self.descend(&self.nodes[place.root as usize], path, 0, 0, captures, holds)
    }

    /// The best below a node that stands for the path up to `at`, where a slash is, or its end. So many segments
    /// were captured on the way.
    fn descend(
        &self,
        node: &Node,
        path: &[u8],
        at: usize,
        captured: usize,
        captures: &mut Captures,
        holds: &impl Fn(&Entry) -> bool,
    ) -> Option<Entry> {
        let ends_here = |list: u32| {
            let entry = *self.list(list).iter().find(|entry| holds(entry))?;
            Some((entry, captured))
        };
        let mut found = None;
        if at == path.len() {
            found = ends_here(node.list);
        } else {
            let start = at + 1;
            let end = path[start..].iter().position(|&byte| byte == b'/').map_or(path.len(), |at| start + at);
            if node.has_literals
                && let Some(child) = self.child(node, &path[start..end])
                && let Some(entry) = self.descend(child, path, end, captured, captures, holds)
            {
                return Some(entry);
            }
            if node.capture != NOWHERE && end > start {
                let child = &self.nodes[node.capture as usize];
                if let Some(entry) = self.descend(child, path, end, captured + 1, captures, holds) {
                    captures.put(captured, start..end);
                    return Some(entry);
                }
            }
        }
        let (entry, captured) = found.or_else(|| ends_here(node.list + 1))?;
        captures.begin(entry.path, captured);
        Some(entry)
    }

    fn child(&self, node: &Node, segment: &[u8]) -> Option<&Node> {
        // A node's list is its own, so that it names the node.
        let from = node.list;
        let edge = self.edges.find(hash(&self.hasher, from, segment), |edge| {
            edge.from == from && self.text(edge.segment) == segment
        })?;
        Some(&self.nodes[edge.to as usize])
    }
}

fn hash(hasher: &ahash::RandomState, node: u32, text: &[u8]) -> u64 {
    let mut hash = hasher.build_hasher();
    hash.write_u32(node);
    hash.write(text);
    hash.finish()
}

/// A tree that grows.
#[derive(Debug)]
pub(super) struct Planting {
    tree: Tree,
    /// Each list's entries.
    lists: Vec<Vec<Entry>>,
}

impl Planting {
    /// An empty one.
    pub(super) fn new(hasher: ahash::RandomState) -> Planting {
        let tree = Tree {
            hasher,
            texts: Vec::new(),
            exact: HashTable::new(),
            edges: HashTable::new(),
            nodes: Vec::new(),
            entries: Vec::new(),
            starts: Vec::new(),
        };
        Planting { tree, lists: Vec::new() }
    }

    /// A place for a host.
    pub(super) fn place(&mut self) -> Place {
        Place { root: self.node(), list: self.two_lists(), has_exact: false }
    }

    /// Puts a pattern at a place, behind all that are equally good. `None` is any path.
    pub(super) fn put(&mut self, place: &mut Place, pattern: Option<&PathPattern>, entry: Entry) {
        let list = match pattern {
            None => place.list + 1,
            Some(PathPattern::Regex(_)) => place.list,
            Some(whole @ PathPattern::Whole(_)) if whole.captures().next().is_none() => {
                place.has_exact = true;
                self.exact_list(place.root, whole.to_string().as_bytes())
            }
            Some(PathPattern::Whole(segments)) => self.node_list(place.root, segments),
            Some(PathPattern::Prefix(segments)) => self.node_list(place.root, segments) + 1,
        };
        self.lists[list as usize].push(entry);
    }

    /// The tree, which does not grow any more.
    pub(super) fn finish(mut self) -> Tree {
        for list in &self.lists {
            self.tree.starts.push(index(self.tree.entries.len()));
            self.tree.entries.extend_from_slice(list);
        }
        self.tree.starts.push(index(self.tree.entries.len()));
        self.tree
    }

    fn two_lists(&mut self) -> u32 {
        self.lists.resize(self.lists.len() + 2, Vec::new());
        index(self.lists.len() - 2)
    }

    fn node(&mut self) -> u32 {
        let list = self.two_lists();
        self.tree.nodes.push(Node { capture: NOWHERE, list, has_literals: false });
        index(self.tree.nodes.len() - 1)
    }

    fn text(&mut self, bytes: &[u8]) -> Text {
        let start = index(self.tree.texts.len());
        self.tree.texts.extend_from_slice(bytes);
        Text { start, end: index(self.tree.texts.len()) }
    }

    fn exact_list(&mut self, root: u32, path: &[u8]) -> u32 {
        let sum = hash(&self.tree.hasher, root, path);
        let Tree { texts, exact, .. } = &self.tree;
        let is =
            |one: &Exact| one.root == root && &texts[one.path.start as usize..one.path.end as usize] == path;
        if let Some(exact) = exact.find(sum, is) {
            return exact.list;
        }
        let (path, list) = (self.text(path), self.two_lists());
        let Tree { hasher, texts, exact, .. } = &mut self.tree;
        exact.insert_unique(sum, Exact { root, path, list }, |one| {
            hash(hasher, one.root, &texts[one.path.start as usize..one.path.end as usize])
        });
        list
    }

    fn node_list(&mut self, root: u32, segments: &[Segment]) -> u32 {
        let node = segments.iter().fold(root, |node, segment| match segment {
            Segment::Literal(text) => self.literal(node, text.as_bytes()),
            Segment::Capture(_) => self.capture(node),
        });
        self.tree.nodes[node as usize].list
    }

    fn literal(&mut self, from: u32, segment: &[u8]) -> u32 {
        let node = &mut self.tree.nodes[from as usize];
        node.has_literals = true;
        let from = node.list;
        let sum = hash(&self.tree.hasher, from, segment);
        let Tree { texts, edges, .. } = &self.tree;
        let is = |edge: &Edge| {
            edge.from == from && &texts[edge.segment.start as usize..edge.segment.end as usize] == segment
        };
        if let Some(edge) = edges.find(sum, is) {
            return edge.to;
        }
        let (segment, to) = (self.text(segment), self.node());
        let Tree { hasher, texts, edges, .. } = &mut self.tree;
        edges.insert_unique(sum, Edge { from, to, segment }, |edge| {
            hash(hasher, edge.from, &texts[edge.segment.start as usize..edge.segment.end as usize])
        });
        to
    }

    fn capture(&mut self, from: u32) -> u32 {
        if self.tree.nodes[from as usize].capture == NOWHERE {
            let to = self.node();
            self.tree.nodes[from as usize].capture = to;
        }
        self.tree.nodes[from as usize].capture
    }
}

/// Counts of what was configured fit: a file has fewer bytes.
pub(super) fn index(count: usize) -> u32 {
    u32::try_from(count).expect("fewer than 2^32 of whatever a file can say")
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Every way through ten segments, each the literal `a` or a capture, and then `/end`.
    fn bushy() -> (Tree, Place) {
        let mut planting = Planting::new(ahash::RandomState::with_seeds(1, 2, 3, 4));
        let mut place = planting.place();
        for bits in 0..1u32 << 10 {
            let segment = |at: u32| if bits >> at & 1 == 1 { "/a".to_owned() } else { format!("/{{c{at}}}") };
            let text = (0..10).map(segment).collect::<String>() + "/end";
            let pattern = PathPattern::whole(&text).unwrap();
            planting.put(&mut place, Some(&pattern), Entry { route: bits, path: 0, free: false });
        }
        (planting.finish(), place)
    }

    #[test]
    fn a_path_made_to_turn_back_comes_to_no_pattern_twice() {
        let (tree, place) = bushy();
        let tried = RefCell::new(Vec::new());
        let mut captures = Captures::new();
        let refuse = |entry: &Entry| {
            tried.borrow_mut().push(entry.route);
            false
        };
        let path = "/a".repeat(10) + "/end";
        // The one without captures lies in the table of whole paths.
        assert!(tree.best(&place, path.as_bytes(), &mut captures, &refuse).is_none());
        let mut tried = tried.into_inner();
        // Literals come before captures, from the left on.
        assert!(tried.is_sorted_by_key(|bits| std::cmp::Reverse(bits.reverse_bits())));
        assert_eq!(tried.len(), 1023);
        tried.sort_unstable();
        tried.dedup();
        assert_eq!(tried.len(), 1023);
        assert_eq!(tree.exact(&place, path.as_bytes()).len(), 1);
    }

    #[test]
    fn what_is_longer_than_every_pattern_is_left_early() {
        let (tree, place) = bushy();
        let path = "/a".repeat(30_000);
        assert!(tree.best(&place, path.as_bytes(), &mut Captures::new(), &|_| true).is_none());
    }
}
