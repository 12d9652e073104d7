//! What the first bytes of coded content say of the memory that it takes to be taken apart.

use super::decoder::BadCoding;
use crate::http::coding::Coding;

/// The largest window of `zstd`, as a power of two: 8 MiB, as RFC 9659 has it. That of `br` is at most 16 MiB by
/// definition, and large windows are refused.
pub(super) const WINDOW_BITS_MAX: u32 = 23;

/// Bytes of a block of `zstd` at most (RFC 8878, section 3.1.1.2.3).
const BLOCK_BYTES_MAX: u64 = 128 * 1024;

/// The longest front that is looked at: that of a frame of `zstd`.
const FRONT_BYTES_MAX: usize = 18;

/// What a front says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// Nothing yet: more of it has to come.
    Short,
    /// The content takes so many bytes, beside what any does.
    Takes(usize),
}

/// The first bytes of content, or of a frame, as they pass.
#[derive(Default)]
pub(super) struct Front {
    bytes: [u8; FRONT_BYTES_MAX],
    length: usize,
}

impl Front {
    /// What it says, with that behind it.
    ///
    /// # Errors
    /// It is none of that coding.
    pub(super) fn says(&self, coding: Coding, next: &[u8]) -> Result<Said, BadCoding> {
        let mut bytes = self.bytes;
        let length = add(&mut bytes, self.length, next);
        match coding {
            // The fixed part of the head of a member (RFC 1952, section 2.3.1); the window is the same for all.
            Coding::Gzip if length < 10 => Ok(Said::Short),
            Coding::Gzip => Ok(Said::Takes(0)),
            Coding::Brotli if length == 0 => Ok(Said::Short),
            Coding::Brotli => Ok(Said::Takes(1 << brotli_window_bits(bytes[0]))),
            Coding::Zstd => zstd(&bytes[..length]),
        }
    }

    /// Goes on with bytes that were taken.
    pub(super) fn add(&mut self, taken: &[u8]) {
        self.length = add(&mut self.bytes, self.length, taken);
    }
}

fn add(bytes: &mut [u8; FRONT_BYTES_MAX], length: usize, next: &[u8]) -> usize {
    let room = &mut bytes[length..];
    let count = room.len().min(next.len());
    room[..count].copy_from_slice(&next[..count]);
    length + count
}

/// The window that a stream of `br` announces, as a power of two (RFC 7932, section 9.1).
pub(super) fn brotli_window_bits(first: u8) -> u8 {
    match (first & 1, first >> 1 & 7, first >> 4 & 7) {
        (0, _, _) => 16,
        (_, 0, 0) => 17,
        // A large window, which is refused.
        (_, 0, 1) => 10,
        (_, 0, bits) => 8 + bits,
        (_, bits, _) => 17 + bits,
    }
}

/// What a frame of `zstd` says that begins like that (RFC 8878, section 3.1.1.1).
fn zstd(front: &[u8]) -> Result<Said, BadCoding> {
    const FRAME: u32 = 0xfd2f_b528;
    const SKIPPED: u32 = 0x184d_2a50;
    let Some((magic, rest)) = front.split_first_chunk() else { return Ok(Said::Short) };
    match u32::from_le_bytes(*magic) {
        FRAME => {}
        magic if magic & !0xf == SKIPPED => return Ok(Said::Takes(0)),
        // Formats from before there was a definition have windows of their own.
        _ => return Err(BadCoding::Malformed),
    }
    let Some((&descriptor, rest)) = rest.split_first() else { return Ok(Said::Short) };
    let is_single = descriptor & 0x20 != 0;
    let identifier = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let size = match descriptor >> 6 {
        0 => usize::from(is_single),
        bits => 1 << bits,
    };
    let at = usize::from(!is_single) + identifier;
    let Some(size) = rest.get(at..at + size) else { return Ok(Said::Short) };
    let mut length = [0; 8];
    length[..size.len()].copy_from_slice(size);
    let length = match size.len() {
        0 => u64::MAX,
        2 => u64::from_le_bytes(length) + 256,
        _ => u64::from_le_bytes(length),
    };
    let window = match rest.first() {
        Some(&window) if !is_single => {
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        _ => length,
    };
    if window > 1 << WINDOW_BITS_MAX {
        // The library refuses it, and takes nothing for it.
        return Ok(Said::Takes(0));
    }
    // A block as it comes, and what was made: the window, with room for blocks behind it, or all of the content.
    let block = window.clamp(1024, BLOCK_BYTES_MAX);
    let bytes = block + (window + 2 * block + 64).min(length);
    Ok(Said::Takes(usize::try_from(bytes).unwrap_or(usize::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::coding::encoder::tests::encoded;
    use crate::content::coding::encoder::{Effort, Encoder, Flow};

    fn says(coding: Coding, bytes: &[u8]) -> Result<Said, BadCoding> {
        let whole = Front::default().says(coding, bytes);
        let mut front = Front::default();
        for byte in bytes {
            front.add(&[*byte]);
        }
        assert_eq!(front.says(coding, b""), whole, "however it comes");
        whole
    }

    #[test]
    fn what_is_said_of_a_window_of_br_is_what_the_stream_has() {
        for window_bits in [10, 11, 15, 16, 17, 18, 21, 24] {
            // At this level the window is the one that was asked for.
            let mut encoder = Encoder::new(Coding::Brotli, Effort { level: 7, window_bits }).unwrap();
            let coded = encoded(&mut encoder, &[(&[b'x'; 100], Flow::Finish)], 4096);
            assert_eq!(brotli_window_bits(coded[0]), window_bits.max(17), "{coded:?}");
        }
        // The table of RFC 7932, section 9.1.
        for (first, bits) in [
            (0b0, 16),
            (0b1, 17),
            (0b11, 18),
            (0b1111, 24),
            (0b10_0001, 10),
            (0b11_0001, 11),
            (0b111_0001, 15),
        ] {
            assert_eq!(brotli_window_bits(first), bits);
            assert_eq!(says(Coding::Brotli, &[first, 7]), Ok(Said::Takes(1 << bits)));
        }
        assert_eq!(says(Coding::Brotli, b""), Ok(Said::Short));
    }

    #[test]
    fn what_is_said_of_a_frame_of_zstd_is_what_it_takes() {
        const KIB: usize = 1024;
        let frame = |bytes: &[u8]| says(Coding::Zstd, &[&[0x28, 0xb5, 0x2f, 0xfd], bytes].concat());
        let takes = |bytes| Ok(Said::Takes(bytes));
        for (bytes, want) in [
            // Windows of 1 KiB, 64 KiB, 8 MiB, and of 7 eighths more than 512 KiB.
            (&[0x00, 0x00][..], takes(4 * KIB + 64)),
            (&[0x00, 0x30], takes(4 * 64 * KIB + 64)),
            (&[0x00, 0x68], takes(8192 * KIB + 3 * 128 * KIB + 64)),
            (&[0x00, 0x4f], takes(960 * KIB + 3 * 128 * KIB + 64)),
            // Beyond 8 MiB.
            (&[0x00, 0x69], takes(0)),
            (&[0x00, 0xff], takes(0)),
            // Content of 5 bytes, of 256 + 3, and of 100,000 in a window of 8 MiB; with the name of a dictionary.
            (&[0x20, 0x05], takes(KIB + 5)),
            (&[0x60, 0x03, 0x00], takes(KIB + 259)),
            (&[0x80, 0x68, 0xa0, 0x86, 0x01, 0x00], takes(128 * KIB + 100_000)),
            (&[0x83, 0x68, 1, 2, 3, 4, 0xa0, 0x86, 0x01, 0x00], takes(128 * KIB + 100_000)),
            // All in one, of 9 MiB.
            (&[0xa0, 0x00, 0x00, 0x90, 0x00], takes(0)),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80], takes(0)),
            // Not all of it is there.
            (&[], Ok(Said::Short)),
            (&[0x00], Ok(Said::Short)),
            (&[0x80, 0x68, 0xa0, 0x86, 0x01], Ok(Said::Short)),
            (&[0xe0, 0, 0, 0, 0, 0, 0, 0], Ok(Said::Short)),
        ] {
            assert_eq!(frame(bytes), want, "{bytes:x?}");
        }
        assert_eq!(says(Coding::Zstd, &[0x53, 0x2a, 0x4d, 0x18]), takes(0), "a frame to be skipped");
        assert_eq!(says(Coding::Zstd, &[0x28, 0xb5, 0x2f]), Ok(Said::Short));
        // A format from before, and noise.
        for other in [[0x27, 0xb5, 0x2f, 0xfd], *b"this"] {
            assert_eq!(says(Coding::Zstd, &other), Err(BadCoding::Malformed));
        }
    }

    #[test]
    fn gzip_takes_the_same_whatever_it_says() {
        assert_eq!(says(Coding::Gzip, &[0x1f; 9]), Ok(Said::Short));
        assert_eq!(says(Coding::Gzip, &[0x1f; 10]), Ok(Said::Takes(0)));
        assert_eq!(says(Coding::Gzip, &[0x1f; 100]), Ok(Said::Takes(0)));
    }
}
