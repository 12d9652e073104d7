//! How the responses of a listener or a route are compressed.

use std::sync::Arc;

use super::Made;
use crate::config::coding::{Coding, Compress, Compression, UpstreamCoding};
use crate::content::coding::Wanted;
use crate::content::coding::encoder::{Effort, WINDOW_BITS};
use crate::http::coding::Coding as ContentCoding;
use crate::proxy::coding::Harder;

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct CodingRules {
    codings: Box<[ContentCoding]>,
    types: Box<[String]>,
    bytes_min: u64,
    levels: [u8; ContentCoding::COUNT],
    decodes: bool,
    /// What upstreams are asked for.
    pub(in crate::proxy) upstream: UpstreamCoding,
    /// After how many hits what is kept is compressed again, and by whom.
    pub(in crate::proxy) harder: Option<(u32, Arc<Harder>)>,
}

impl CodingRules {
    /// None where nothing is said.
    pub(super) fn new(settings: &Coding, made: &Made<'_>) -> Option<CodingRules> {
        let Coding { compress, decompress } = settings;
        let compress = match compress {
            Compression::Unsaid if decompress.is_none() => return None,
            Compression::Unsaid | Compression::Off => None,
            Compression::On(compress) => Some(&**compress),
        };
        let decodes = decompress.unwrap_or(compress.is_some());
        let Some(compress) = compress else {
            let (codings, types) = (Box::default(), Box::default());
            let upstream = UpstreamCoding::AsAsked;
            return Some(CodingRules {
                codings,
                types,
                bytes_min: 0,
                levels: [0; ContentCoding::COUNT],
                decodes,
                upstream,
                harder: None,
            });
        };
        let Compress { codings, types, bytes_min, gzip_level, brotli_level, zstd_level, .. } = compress;
        let keeps = made.settings.cache.is_some() && compress.harder_after > 0;
        let harder =
            keeps.then(|| (compress.harder_after, made.registry.keep("coding".to_owned(), Harder::start)));
        Some(CodingRules {
            codings: codings.clone().into(),
            types: types.iter().map(|pattern| pattern.0.clone()).collect(),
            bytes_min: *bytes_min,
            // By the place of the coding.
            levels: [*gzip_level, *brotli_level, *zstd_level],
            decodes,
            upstream: compress.upstream,
            harder,
        })
    }

    /// What is wanted of responses.
    pub(in crate::proxy) fn wanted(&self) -> Wanted<'_> {
        Wanted {
            codings: &self.codings,
            types: &self.types,
            bytes_min: self.bytes_min,
            decodes: self.decodes,
        }
    }

    /// How hard it is tried while a client waits.
    pub(in crate::proxy) fn effort(&self, coding: ContentCoding) -> Effort {
        Effort { level: self.levels[coding.place()], window_bits: WINDOW_BITS }
    }
}
