//! Which rules may hold for a request, found without asking each of them.
//!
//! Every rule has a key: one of its conditions that few requests meet, as texts of which one has to be in some part of
//! the request, or a host, a method, a network. Keys of one kind are found together: texts of one part by one
//! automaton, the others by hash. What has no key, such as `not` alone, is asked every time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use aho_corasick::AhoCorasick;
use ipnet::IpNet;

use super::condition::{decoded, each_text};
use super::decode::{Manner, Readings, is_plain};
use super::keys::Atom;
use super::seen::Seen;
use super::{Asked, automaton};
use crate::config::matching::HostPattern;
use crate::config::rules::Subject;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;
type Rules = Vec<u32>;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    /// The rules that are always asked, a bit for each.
    always: Box<[u64]>,
    methods: Map<Vec<u8>, Rules>,
    methods_but: Vec<(Vec<String>, Rules)>,
    hosts: Map<Vec<u8>, Rules>,
    /// By what stands behind the `*.`.
    wildcards: Map<Vec<u8>, Rules>,
    /// The lengths of prefixes that there are, and the networks by length and first address.
    lengths: Vec<(bool, u8)>,
    networks: Map<IpNet, Rules>,
    path: Part,
    query: Part,
    cookie: Part,
    any_field: Part,
    content: Part,
    fields: Map<Vec<u8>, Part>,
    /// A bit for each length of a name in `fields`.
    name_lengths: u64,
}

/// What is looked for in one part of a request.
#[derive(Clone, Debug, Default)]
struct Part {
    texts: Option<AhoCorasick>,
    /// The rules of each text.
    rules: Vec<Rules>,
    odd: Rules,
    there: Rules,
    /// No other part that finds other texts has the same.
    number: u64,
    /// The one byte that all texts begin with, where nothing is decoded to it but by escapes.
    first: Option<u8>,
}

/// Of more parameters than these, of which some are escaped, rules are found by what they look for alone.
const PARAMETERS_MAX: usize = 64;

/// How many parts there have been that look at one field.
static PARTS: AtomicU64 = AtomicU64::new(1);

impl Index {
    /// Of rules, by the keys of each.
    pub(super) fn new(keys: &[Option<Vec<Atom>>]) -> Index {
        let mut index = Index { always: vec![0; keys.len().div_ceil(64)].into(), ..Index::default() };
        let mut texts: HashMap<Subject, (Vec<Vec<u8>>, HashMap<Vec<u8>, usize>, Part)> = HashMap::new();
        for (at, key) in keys.iter().enumerate() {
            let rule = u32::try_from(at).unwrap_or(u32::MAX);
            let Some(atoms) = key else {
                index.always[at / 64] |= 1 << (at % 64);
                continue;
            };
            for atom in atoms {
                match atom {
                    Atom::Text(subject, text) => {
                        let (all, known, part) = texts.entry(subject.clone()).or_default();
                        let place = *known.entry(text.clone()).or_insert_with(|| {
                            all.push(text.clone());
                            part.rules.push(Rules::new());
                            all.len() - 1
                        });
                        part.rules[place].push(rule);
                    }
                    Atom::Odd(subject) => texts.entry(subject.clone()).or_default().2.odd.push(rule),
                    Atom::There(subject) => texts.entry(subject.clone()).or_default().2.there.push(rule),
                    Atom::Host(HostPattern::Exact(name)) => {
                        index.hosts.entry(name.clone().into()).or_default().push(rule);
                    }
                    Atom::Host(HostPattern::Wildcard(name)) => {
                        index.wildcards.entry(name.clone().into()).or_default().push(rule);
                    }
                    Atom::Method(method) => index.methods.entry(method.clone()).or_default().push(rule),
                    Atom::MethodBut(methods) => index.methods_but.push((methods.clone(), vec![rule])),
                    Atom::Network(network) => index.add_network(*network, rule),
                }
            }
        }
        for (subject, (all, _, mut part)) in texts {
            part.first = first(&all);
            part.texts = (!all.is_empty()).then(|| automaton(&all)).flatten();
            if part.texts.is_none() {
                // Too much for an automaton: asked every time, which is slow but right.
                part.there.extend(part.rules.iter().flatten());
            }
            index.put(subject, part);
        }
        index
    }

    fn add_network(&mut self, network: IpNet, rule: u32) {
        let network = network.trunc();
        let length = (matches!(network, IpNet::V6(_)), network.prefix_len());
        if !self.lengths.contains(&length) {
            self.lengths.push(length);
        }
        self.networks.entry(network).or_default().push(rule);
    }

    fn put(&mut self, subject: Subject, part: Part) {
        match subject {
            Subject::Path => self.path = part,
            Subject::Query => self.query = part,
            Subject::Cookie => self.cookie = part,
            Subject::Header => self.any_field = part,
            // Both are content, of which a request has one.
            Subject::Form | Subject::Json => self.content.join(part),
            Subject::Field(name) => {
                self.name_lengths |= 1 << name.len().min(63);
                let number = PARTS.fetch_add(1, Ordering::Relaxed);
                self.fields.insert(name.into_bytes(), Part { number, ..part });
            }
        }
    }

    /// Whether a client's address can be a key.
    pub(super) fn wants_client(&self) -> bool {
        !self.networks.is_empty()
    }

    /// Sets the bits of the rules that may hold, by the head. `paths` are the other readings of the path.
    pub(super) fn find(
        &self,
        asked: &Asked<'_>,
        paths: &[Vec<u8>],
        (readings, seen): (&mut Readings, &mut Seen),
        bits: &mut Vec<u64>,
    ) {
        bits.clear();
        bits.extend_from_slice(&self.always);
        if !self.methods.is_empty() {
            set(bits, self.methods.get(asked.method));
        }
        for (methods, rules) in &self.methods_but {
            if !methods.iter().any(|method| method.as_bytes() == asked.method) {
                set(bits, Some(rules));
            }
        }
        self.find_host(asked.host, bits);
        if let Some(client) = asked.client {
            self.find_client(client.to_canonical(), bits);
        }
        if self.path.is_used() {
            self.path.all_of(&Subject::Path, asked, readings, bits);
            paths.iter().for_each(|path| _ = self.path.scan(path, bits));
        }
        if let (true, Some(query)) = (self.query.is_used(), asked.query) {
            self.find_query(query, asked, readings, bits);
        }
        if !self.fields.is_empty() || self.cookie.is_used() || self.any_field.is_used() {
            self.find_fields(asked, readings, seen, bits);
        }
    }

    /// Sets the bits of the rules that may hold for any content.
    pub(super) fn wants_content(&self, bits: &mut [u64]) {
        set(bits, Some(&self.content.there));
        set(bits, Some(&self.content.odd));
    }

    /// Sets the bits of the rules that may hold for this reading of a text of the content.
    pub(super) fn find_content(&self, reading: &[u8], bits: &mut [u64]) {
        self.content.scan(reading, bits);
    }

    fn find_host(&self, host: &[u8], bits: &mut [u64]) {
        if !self.hosts.is_empty() {
            set(bits, self.hosts.get(host));
        }
        if !self.wildcards.is_empty() {
            let dots = memchr::memchr_iter(b'.', host).filter(|&at| at > 0);
            dots.for_each(|at| set(bits, self.wildcards.get(&host[at + 1..])));
        }
    }

    fn find_client(&self, client: IpAddr, bits: &mut [u64]) {
        for &(_, length) in self.lengths.iter().filter(|(is_v6, _)| *is_v6 == client.is_ipv6()) {
            if let Ok(network) = IpNet::new(client, length) {
                set(bits, self.networks.get(&network.trunc()));
            }
        }
    }

    fn find_query(&self, query: &[u8], asked: &Asked<'_>, readings: &mut Readings, bits: &mut [u64]) {
        set(bits, Some(&self.query.there));
        let is_word =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'=' | b'&' | b'_' | b'.' | b'~');
        if !self.query.odd.is_empty() && !query.iter().all(|&byte| is_word(byte)) {
            set(bits, Some(&self.query.odd));
        }
        if is_plain(query, Manner::Form) {
            self.query.scan(query, bits);
            return;
        }
        if memchr::memchr_iter(b'&', query).nth(PARAMETERS_MAX).is_some() {
            // Each of them would be decoded here and once more for what is looked for: once is enough.
            self.query.rules.iter().for_each(|rules| set(bits, Some(rules)));
            return;
        }
        self.query.all_of(&Subject::Query, asked, readings, bits);
        // What routes see, which know fewer escapes.
        let parameters = crate::http::query::parameters(query);
        for parameter in parameters.filter(|parameter| is_read_otherwise(parameter.whole)) {
            self.query.scan(&decoded(parameter.name), bits);
            self.query.scan(&decoded(parameter.value), bits);
        }
    }

    fn find_fields(&self, asked: &Asked<'_>, readings: &mut Readings, seen: &mut Seen, bits: &mut [u64]) {
        let mut name_lower = [0; 64];
        let mut has_cookies = false;
        let looks = self.any_field.is_used() && self.any_field.may_find(asked.field_bytes);
        if self.any_field.is_used() && !asked.fields.is_empty() {
            set(bits, Some(&self.any_field.there));
            set(bits, Some(&self.any_field.odd));
        }
        for (_, name, value) in asked.fields.iter() {
            if looks && self.any_field.may_find(value) {
                self.any_field.text(value, readings, bits);
            }
            if self.cookie.is_used() && name.eq_ignore_ascii_case(b"cookie") {
                set(bits, Some(&self.cookie.there));
                set(bits, Some(&self.cookie.odd));
                self.cookie.text(value, readings, bits);
                has_cookies = true;
            }
            if self.name_lengths & 1 << name.len().min(63) == 0 {
                continue;
            }
            let part = match name_lower.get_mut(..name.len()) {
                Some(lower) => {
                    lower.copy_from_slice(name);
                    lower.make_ascii_lowercase();
                    self.fields.get(&*lower)
                }
                None => self.fields.get(&name.to_ascii_lowercase()),
            };
            if let Some(part) = part {
                set(bits, Some(&part.there));
                set(bits, Some(&part.odd));
                if !seen.knows(part.number, value) && !part.text(value, readings, bits) {
                    seen.learn(part.number, value);
                }
            }
        }
        if has_cookies {
            self.cookie.all_of(&Subject::Cookie, asked, readings, bits);
        }
    }
}

impl Part {
    fn is_used(&self) -> bool {
        self.texts.is_some() || !self.odd.is_empty() || !self.there.is_empty()
    }

    fn join(&mut self, other: Part) {
        // Rare, and content is: texts of both are not put into one automaton.
        let all = |part: &Part| {
            part.rules.iter().chain([&part.odd, &part.there]).flatten().copied().collect::<Rules>()
        };
        if !self.is_used() {
            *self = other;
            return;
        }
        let there = [all(self), all(&other)].concat();
        *self = Part { there, ..Part::default() };
    }

    /// Whether it is worth looking at texts that are made of these bytes.
    fn may_find(&self, bytes: &[u8]) -> bool {
        match self.first {
            Some(first) => memchr::memchr3(first, b'%', b'&', bytes).is_some() || !bytes.is_ascii(),
            None => self.texts.is_some(),
        }
    }

    /// Whether it finds something.
    fn scan(&self, text: &[u8], bits: &mut [u64]) -> bool {
        let Some(texts) = &self.texts else { return false };
        let mut finds = false;
        for found in texts.find_overlapping_iter(text) {
            set(bits, self.rules.get(found.pattern().as_usize()));
            finds = true;
        }
        finds
    }

    /// All readings of one text that is hardly ever escaped; whether something is found in one.
    fn text(&self, text: &[u8], readings: &mut Readings, bits: &mut [u64]) -> bool {
        let mut finds = false;
        if self.texts.is_some() {
            readings.any(text, Manner::Plain, &mut |reading, _| {
                finds |= self.scan(reading, bits);
                false
            });
        }
        finds
    }

    /// All readings of all texts of a part.
    fn all_of(&self, subject: &Subject, asked: &Asked<'_>, readings: &mut Readings, bits: &mut [u64]) {
        if subject == &Subject::Path {
            set(bits, Some(&self.there));
            set(bits, Some(&self.odd));
        }
        if self.texts.is_none() {
            return;
        }
        each_text(subject, asked, &mut |text, manner| {
            readings.any(text, manner, &mut |reading, _| {
                self.scan(reading, bits);
                false
            })
        });
    }
}

fn set(bits: &mut [u64], rules: Option<&Rules>) {
    for &rule in rules.into_iter().flatten() {
        let rule = rule as usize;
        bits[rule / 64] |= 1 << (rule % 64);
    }
}

/// Whether a text has escapes that only some know: decoding knows them all.
fn is_read_otherwise(text: &[u8]) -> bool {
    memchr::memchr_iter(b'%', text).any(|at| {
        matches!(
            &text[at + 1..],
            [b'u' | b'U', ..] | [b'c' | b'C', b'0' | b'1', ..] | [b'e' | b'E' | b'f' | b'F', b'0', ..]
        )
    })
}

/// The byte that all texts begin with, if nothing is squeezed to it.
fn first(texts: &[Vec<u8>]) -> Option<u8> {
    let first = *texts.first()?.first()?;
    let is_own = first.is_ascii_punctuation() && !matches!(first, b'/' | b'%');
    (is_own && texts.iter().all(|text| text.first() == Some(&first))).then_some(first)
}
