//! How the content of responses is compressed.

use super::Known;
use super::said::Either;
use super::said_coding::{CodingSaid, CompressTable};
use crate::config::coding::{Coding, Compress, Compression};
use crate::config::table::At;

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn coding(&self, said: &CodingSaid) -> Coding {
        let compress = match &said.compress.value {
            None => Compression::Unsaid,
            Some(Either::Short(false)) => Compression::Off,
            Some(Either::Short(true)) => Compression::On(Box::default()),
            Some(Either::Long(table)) => Compression::On(Box::new(self.compress(table))),
        };
        Coding { compress, decompress: said.decompress.value }
    }

    fn compress(&self, table: &At<CompressTable>) -> Compress {
        let said = &table.value;
        let mut compress = Compress::default();
        if let Some((place, list)) = said.coding.at() {
            compress.codings.clear();
            for name in &list.0 {
                if compress.codings.contains(&name.value.0) {
                    let name_ = name.value.0.name();
                    self.reader.error(name.place, format!("`{name_}` stands there twice"));
                } else {
                    compress.codings.push(name.value.0);
                }
            }
            if list.0.is_empty() && !said.coding.is_wrong {
                self.reader.error(place, "must have at least one; `compress = false` turns it off");
            }
        }
        if let Some((place, list)) = said.content_type.at() {
            compress.types = list.0.clone();
            if list.0.is_empty() && !said.content_type.is_wrong {
                self.reader.error(place, "must have at least one; `compress = false` turns it off");
            }
        }
        if let Some(size) = said.min_size.value {
            compress.bytes_min = size.0;
        }
        let levels = [
            (&mut compress.gzip_level, said.gzip_level.value.map(|level| level.number())),
            (&mut compress.brotli_level, said.br_level.value.map(|level| level.number())),
            (&mut compress.zstd_level, said.zstd_level.value.map(|level| level.number())),
        ];
        for (level, said) in levels {
            *level = said.unwrap_or(*level);
        }
        compress.harder_after = said.harder_after.value.unwrap_or(compress.harder_after);
        compress.upstream = said.upstream.value.unwrap_or_default();
        compress
    }
}
