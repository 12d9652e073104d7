//! Coded content, taken apart by decoders that the proxy does not have.

use std::io::{Read, Write};

use super::client::Response;
use super::endpoints::ask_admin;
use super::message::get_with;
use super::origin::Origin;
use super::proxy::Proxy;

/// What independent decoders make of coded content.
pub(crate) fn decoded(coding: &str, coded: &[u8]) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    let text = |error: &dyn std::fmt::Display| error.to_string();
    match coding {
        "gzip" => {
            let body = coded.get(10..coded.len().saturating_sub(8)).ok_or("too short")?;
            content = miniz_oxide::inflate::decompress_to_vec(body).map_err(|error| text(&error))?;
            let length = u32::try_from(content.len()).unwrap().to_le_bytes();
            if !coded.ends_with(&length) {
                return Err("another length".to_owned());
            }
        }
        "br" => {
            let mut decoder = brotlic::DecompressorReader::new(coded);
            decoder.read_to_end(&mut content).map_err(|error| text(&error))?;
        }
        "zstd" => {
            let mut decoder = ruzstd::decoding::StreamingDecoder::new(coded).map_err(|error| text(&error))?;
            decoder.read_to_end(&mut content).map_err(|error| text(&error))?;
        }
        other => return Err(format!("no decoder for {other}")),
    }
    Ok(content)
}

/// The same content, coded by an encoder that the proxy does not have where there is one.
pub(crate) fn coded(coding: &str, content: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
            out.extend(miniz_oxide::deflate::compress_to_vec(content, 6));
            let mut sum = flate2::Crc::new();
            sum.update(content);
            out.extend(sum.sum().to_le_bytes());
            out.extend(u32::try_from(content.len()).unwrap().to_le_bytes());
            out
        }
        "br" => {
            let mut encoder = brotlic::CompressorWriter::new(Vec::new());
            encoder.write_all(content).unwrap();
            encoder.into_inner().unwrap()
        }
        "zstd" => ruzstd::encoding::compress_to_vec(content, ruzstd::encoding::CompressionLevel::Fastest),
        other => panic!("no encoder for {other}"),
    }
}

/// Text of that length that compresses well, but is not the same all over.
pub(crate) fn words(length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(length as u64);
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        let word = ["gentle ", "knight ", "was ", "pricking ", "on ", "the ", "plaine\n", "ycladd "];
        text.extend_from_slice(word[random.usize(..word.len())].as_bytes());
    }
    text.truncate(length);
    text
}

/// A request for that, from a client that takes those codings.
pub(crate) fn taking(target: &str, codings: &str) -> String {
    get_with(target, &format!("Accept-Encoding: {codings}\r\n"))
}

impl Response {
    /// The content, whatever it is coded in.
    pub(crate) fn plain(&self) -> Vec<u8> {
        match self.field("Content-Encoding") {
            None => self.body().to_vec(),
            Some(coding) => decoded(coding, self.body()).unwrap_or_else(|error| panic!("{coding}: {error}")),
        }
    }

    /// The content's coding.
    pub(crate) fn coding(&self) -> &str {
        self.field("Content-Encoding").unwrap_or("")
    }
}

/// A file with one route to an origin, which has those lines.
pub(crate) fn route(origin: &Origin, lines: &str) -> String {
    format!("[upstream.app]\nendpoints = '{}'\n[[route]]\nupstream = 'app'\n{lines}\n", origin.endpoint())
}

/// What the proxy has counted of coded content.
pub(crate) fn coding_count(proxy: &Proxy, name: &str) -> u64 {
    ask_admin(proxy, "/status")["coding"][name].as_u64().unwrap()
}
