//! Content codings (RFC 9110, section 8.4.1): those that the proxy can write and read.

/// A coding of content that makes it shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip` (RFC 1952).
    Gzip,
    /// `br` (RFC 7932).
    Brotli,
    /// `zstd` (RFC 8878, RFC 9659).
    Zstd,
}

impl Coding {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// All of them, by place.
    pub const ALL: [Coding; Coding::COUNT] = [Coding::Gzip, Coding::Brotli, Coding::Zstd];

    /// Its place among all.
    pub const fn place(self) -> usize {
        self as usize
    }

    /// The name, as it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }

    /// The coding of that name, without regard to case. `x-gzip` is `gzip` (RFC 9110, section 8.4.1.3).
    pub fn recognise(name: &[u8]) -> Option<Coding> {
        if name.eq_ignore_ascii_case(b"x-gzip") {
            return Some(Coding::Gzip);
        }
        Coding::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.name().as_bytes()))
    }
}
