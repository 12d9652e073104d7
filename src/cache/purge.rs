//! What a purge removes.

/// A purge: which stored responses, and whether they go or only count as stale from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purge {
    /// Which responses.
    pub what: What,
    /// They stay, but have to be validated before they are used again.
    pub soft: bool,
}

/// Which stored responses a purge is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// All of them.
    All,
    /// Those of one key: see [`super::key`].
    Key(Box<[u8]>),
    /// Those whose key begins with this text.
    Prefix(Box<[u8]>),
    /// Those that bear this tag, compared without regard to case.
    Tag(Box<[u8]>),
}

impl What {
    /// Whether a response with this key and these tags, separated by line feeds, is meant.
    pub fn covers(&self, key: &[u8], tags: &[u8]) -> bool {
        match self {
            What::All => true,
            What::Key(wanted) => **wanted == *key,
            What::Prefix(prefix) => key.starts_with(prefix),
            What::Tag(tag) => tags.split(|&b| b == b'\n').any(|other| other.eq_ignore_ascii_case(tag)),
        }
    }

    /// Whether a response with this key could be meant, whatever its tags are.
    pub fn may_cover(&self, key: &[u8]) -> bool {
        matches!(self, What::Tag(_)) || self.covers(key, b"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_purges() {
        let text = |text: &str| Box::from(text.as_bytes());
        for (what, key, tags, want) in [
            (What::All, "a/", "", true),
            (What::Key(text("a/b")), "a/b", "", true),
            (What::Key(text("a/b")), "a/bc", "", false),
            (What::Prefix(text("a/b")), "a/bc", "", true),
            (What::Prefix(text("a/b")), "a/", "", false),
            (What::Tag(text("news")), "a/", "x\nNews", true),
            (What::Tag(text("news")), "a/", "newsletter", false),
            (What::Tag(text("news")), "a/", "", false),
        ] {
            assert_eq!(what.covers(key.as_bytes(), tags.as_bytes()), want, "{what:?} {key} {tags}");
        }
    }
}
