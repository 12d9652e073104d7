//! How the content of responses is compressed: the keys of listeners and routes.

use super::said::Either;
use crate::config::coding::{
    BROTLI_LEVELS, CodingName, GZIP_LEVELS, MediaPattern, UpstreamCoding, ZSTD_LEVELS,
};
use crate::config::keys::Kind;
use crate::config::quantity::{Bounded, Size};
use crate::config::table::{At, List, tables, texts};

tables! {
    /// How the content of responses is compressed
    CodingSaid = CODING "coding" {
        /// Whether responses are compressed for clients that take that, and how [default: false]
        compress: CompressSaid,
        /// Whether compressed responses are taken apart for clients that do not take their coding [default: where
        /// `compress` is on]
        decompress: bool,
    }

    /// How responses are compressed
    CompressTable = COMPRESS "compression" {
        /// Codings, those that are preferred first where the client likes them equally [default: zstd, br, gzip]
        coding: List<At<CodingName>>,
        /// Types of content that are compressed: `text/html`, `text/*`, `*+json` [default: text, scripts, JSON, XML,
        /// fonts and images that have no coding of their own]
        content_type: List<MediaPattern>,
        /// Shorter content is not compressed, where its length is known [default: 512]
        min_size: Size,
        /// Level of `gzip`, from 1 to 9 [default: 2]
        gzip_level: Bounded<{ GZIP_LEVELS.0 }, { GZIP_LEVELS.1 }>,
        /// Level of `br`, from 0 to 6 [default: 4]
        br_level: Bounded<{ BROTLI_LEVELS.0 }, { BROTLI_LEVELS.1 }>,
        /// Level of `zstd`, from 1 to 6 [default: 3]
        zstd_level: Bounded<{ ZSTD_LEVELS.0 }, { ZSTD_LEVELS.1 }>,
        /// Hits after which what the cache keeps is compressed again in the background, as hard as can be; 0 for never
        /// [default: 100]
        harder_after: u32,
        /// What upstreams are asked for: `identity` for content as it is, `as-asked` for what the client takes, `auto`
        /// for the first where the cache may keep it [default: auto]
        upstream: UpstreamCoding,
    }
}

/// Whether at all, or how.
pub(super) type CompressSaid = Either<bool, At<CompressTable>>;

texts! {
    CodingName: Kind::Choice(&["gzip", "br", "zstd"]);
    MediaPattern: Kind::Text("text/*");
    UpstreamCoding: Kind::Choice(&["auto", "as-asked", "identity"]);
}
