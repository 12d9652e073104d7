//! How the content of responses is compressed, and for whom it is taken apart again.

use std::str::FromStr;

use crate::http::coding::Coding as ContentCoding;
use crate::http::fields::is_token;

/// What a listener or a route does about it. What a route says of either takes the place of all that its listener
/// says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coding {
    /// Whether and how responses are compressed.
    pub compress: Compression,
    /// Whether they are taken apart for clients that do not take their coding; where nothing is said, where they are
    /// compressed.
    pub decompress: Option<bool>,
}

/// Whether and how responses are compressed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Nothing is said: they are not.
    #[default]
    Unsaid,
    /// They are not.
    Off,
    /// They are.
    On(Box<Compress>),
}

/// How responses are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compress {
    /// The codings, those that are preferred first: at least one, each once.
    pub codings: Vec<ContentCoding>,
    /// The types of content that are compressed: see [`MediaPattern`].
    pub types: Vec<MediaPattern>,
    /// Bytes: shorter content is not compressed, where its length is known.
    pub bytes_min: u64,
    /// The level of `gzip`, from 1 to 9.
    pub gzip_level: u8,
    /// The level of `br`, from 0 to 6.
    pub brotli_level: u8,
    /// The level of `zstd`, from 1 to 6.
    pub zstd_level: u8,
    /// After so many hits what is kept is compressed again, as hard as can be; 0 for never.
    pub harder_after: u32,
    /// What upstreams are asked for.
    pub upstream: UpstreamCoding,
}

/// The lowest and the highest level of `gzip` that can be chosen.
pub(super) const GZIP_LEVELS: (u64, u64) = (1, 9);
/// The same of `br`; harder ones take too long for somebody to wait, and tens of MiB for each stream.
pub(super) const BROTLI_LEVELS: (u64, u64) = (0, 6);
/// The same of `zstd`.
pub(super) const ZSTD_LEVELS: (u64, u64) = (1, 6);

/// Types that become shorter by a lot, and have no coding of their own inside.
const TYPES: [&str; 16] = [
    "text/*",
    "*+json",
    "*+xml",
    "application/graphql",
    "application/javascript",
    "application/json",
    "application/rtf",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-javascript",
    "application/x-ndjson",
    "application/xml",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/vnd.microsoft.icon",
];

impl Default for Compress {
    fn default() -> Compress {
        Compress {
            codings: vec![ContentCoding::Zstd, ContentCoding::Brotli, ContentCoding::Gzip],
            types: TYPES.iter().map(|&text| MediaPattern(text.to_owned())).collect(),
            bytes_min: 512,
            gzip_level: 2,
            brotli_level: 4,
            zstd_level: 3,
            harder_after: 100,
            upstream: UpstreamCoding::Auto,
        }
    }
}

/// What upstreams are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpstreamCoding {
    /// Content as it is, where the cache may keep it: one response is fetched then, whatever clients take. Otherwise
    /// what the client takes.
    #[default]
    Auto,
    /// What the client takes.
    AsAsked,
    /// Content as it is.
    Identity,
}

impl UpstreamCoding {
    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            UpstreamCoding::Auto => "auto",
            UpstreamCoding::AsAsked => "as-asked",
            UpstreamCoding::Identity => "identity",
        }
    }
}

impl FromStr for UpstreamCoding {
    type Err = String;

    fn from_str(text: &str) -> Result<UpstreamCoding, String> {
        [UpstreamCoding::Auto, UpstreamCoding::AsAsked, UpstreamCoding::Identity]
            .into_iter()
            .find(|choice| choice.name() == text)
            .ok_or_else(|| format!("must be \"auto\", \"as-asked\" or \"identity\", not {text:?}"))
    }
}

/// A coding by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodingName(pub ContentCoding);

impl FromStr for CodingName {
    type Err = String;

    fn from_str(text: &str) -> Result<CodingName, String> {
        let known = ContentCoding::ALL.into_iter().find(|coding| coding.name() == text);
        known.map(CodingName).ok_or_else(|| format!("must be \"gzip\", \"br\" or \"zstd\", not {text:?}"))
    }
}

/// Types of content, in lower case: `text/html`, `text/*`, `*+json`, or `*/*` for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaPattern(pub String);

impl FromStr for MediaPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<MediaPattern, String> {
        let is_name = |name: &str| is_token(name.as_bytes()) && !name.contains('*');
        let is_known = match text.split_once('/') {
            _ if text == "*/*" => true,
            Some((kind, "*")) => is_name(kind),
            Some((kind, form)) => is_name(kind) && is_name(form),
            None => text.strip_prefix("*+").is_some_and(is_name),
        };
        if is_known {
            return Ok(MediaPattern(text.to_ascii_lowercase()));
        }
        Err(format!("{text:?} is no type of content; types are written like text/html, text/* or *+json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_whole_or_have_a_star_at_one_end() {
        for text in ["text/html", "text/*", "*+json", "*/*", "application/vnd.x+json"] {
            assert_eq!(text.parse(), Ok(MediaPattern(text.to_owned())));
        }
        assert_eq!("Text/HTML".parse(), Ok(MediaPattern("text/html".to_owned())));
        for text in [
            "",
            "text",
            "*",
            "*json",
            "*+",
            "/",
            "text/",
            "/html",
            "te*t/html",
            "text/h*",
            "*/html",
            "a b/c",
            "text/html; q=1",
        ] {
            assert!(text.parse::<MediaPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_types_of_the_default_are_types() {
        for pattern in Compress::default().types {
            assert_eq!(pattern.0.parse(), Ok(pattern));
        }
    }
}
