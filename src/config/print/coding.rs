//! How the content of responses is compressed, as it is written.

use super::value::{Section, list, number, size, table, text};
use crate::config::coding::{Coding, Compress, Compression};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Coding) {
    let Coding { compress, decompress } = settings;
    match compress {
        Compression::Unsaid => {}
        Compression::Off => section.set("compress", false),
        Compression::On(compress) => section.set("compress", print_compress(compress)),
    }
    if let Some(decompress) = decompress {
        section.set("decompress", *decompress);
    }
}

fn print_compress(compress: &Compress) -> toml_edit::Value {
    let Compress { codings, types, bytes_min, gzip_level, brotli_level, zstd_level, harder_after, upstream } =
        compress;
    let flat = |texts: Vec<toml_edit::Value>| toml_edit::Array::from_iter(texts).into();
    table([
        ("coding", list(codings.iter().map(|coding| text(coding.name())))),
        // A table in a line has no line breaks in it.
        ("content-type", flat(types.iter().map(|pattern| text(&pattern.0)).collect())),
        ("min-size", size(*bytes_min)),
        ("gzip-level", number(usize::from(*gzip_level))),
        ("br-level", number(usize::from(*brotli_level))),
        ("zstd-level", number(usize::from(*zstd_level))),
        ("harder-after", number(usize::try_from(*harder_after).unwrap_or(usize::MAX))),
        ("upstream", text(upstream.name())),
    ])
}
