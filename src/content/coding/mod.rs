//! Content codings (RFC 9110, sections 8.4 and 12.5.3): which one a response gets, or loses, on its way to a client.
//!
//! ```text
//!   accept    what the client says that it takes
//!   facts     what of the response decides whether it may be changed
//!   decide    what becomes of it: one of four ways
//!   head      the head that says so
//!   encoder, decoder    the content, piece by piece, in bounded memory
//!   front     what the first bytes of coded content say of that
//!   whole     short content, at once
//! ```
//!
//! No I/O happens here, and nothing here knows who stores or sends what it makes.

pub mod accept;
pub mod decoder;
pub mod encoder;
pub mod facts;
mod front;
#[doc(hidden)]
pub mod fuzz;
pub mod head;
pub mod whole;

use self::accept::Accepts;
use self::facts::{Encoded, Facts};
use crate::http::coding::Coding;

/// What becomes of the content of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Way {
    /// It goes out as it came, to everybody.
    #[default]
    AsItCame,
    /// It goes out as it came; others may get another form of it, which caches have to know.
    Varied,
    /// It is compressed.
    Encode(Coding),
    /// It is taken apart, for the client does not take what it came in.
    Decode(Coding),
}

impl Way {
    /// Whether the content changes.
    pub const fn changes_content(self) -> bool {
        matches!(self, Way::Encode(_) | Way::Decode(_))
    }
}

/// What is wanted of responses.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The codings in which responses may go out, those that are preferred first; none where nothing is compressed.
    pub codings: &'a [Coding],
    /// The types that are compressed: see [`type_fits`].
    pub types: &'a [String],
    /// What is known to be shorter is not compressed.
    pub bytes_min: u64,
    /// Whether content is taken apart for clients that do not take its coding.
    pub decodes: bool,
}

/// Decides what becomes of the content of a response.
pub fn decide(wanted: &Wanted<'_>, facts: &Facts<'_>, accepts: &Accepts) -> Way {
    if matches!(facts.status, 206 | 304) {
        // What goes with the whole has to say by what the whole varies (RFC 9110, sections 15.3.7 and 15.4.5).
        return match decide_whole(wanted, facts, accepts) {
            Way::AsItCame => Way::AsItCame,
            _ => Way::Varied,
        };
    }
    if !facts.may_change() {
        return Way::AsItCame;
    }
    match facts.encoded {
        Encoded::Otherwise => Way::AsItCame,
        Encoded::As(_) if !wanted.decodes => Way::AsItCame,
        Encoded::As(coding) if accepts.takes(coding) => Way::Varied,
        Encoded::As(coding) => Way::Decode(coding),
        Encoded::Not => {
            let is_long = facts.length.is_none_or(|length| length >= wanted.bytes_min.max(1));
            let is_listed = || facts.content_type.is_some_and(|value| is_listed(value, wanted.types));
            if wanted.codings.is_empty() || !is_long || !is_listed() {
                return Way::AsItCame;
            }
            accepts.choose(wanted.codings).map_or(Way::Varied, Way::Encode)
        }
    }
}

/// What would become of the whole, of which a response is a part, or which it says is good.
pub fn decide_whole(wanted: &Wanted<'_>, facts: &Facts<'_>, accepts: &Accepts) -> Way {
    decide(wanted, &Facts { status: 200, length: None, is_part: false, ..*facts }, accepts)
}

/// Whether a Content-Type is of one of the types.
fn is_listed(value: &[u8], types: &[String]) -> bool {
    let end = value.iter().position(|&byte| byte == b';').unwrap_or(value.len());
    let media = value[..end].trim_ascii();
    types.iter().any(|pattern| type_fits(pattern.as_bytes(), media))
}

/// Whether a media type fits a pattern: `text/html` itself, `text/*`, `*+json`, or `*/*`.
pub fn type_fits(pattern: &[u8], media: &[u8]) -> bool {
    match pattern {
        b"*/*" => true,
        [b'*', end @ ..] => {
            media.len() > end.len() && { media[media.len() - end.len()..].eq_ignore_ascii_case(end) }
        }
        [start @ .., b'*'] => media.len() > start.len() && media[..start.len()].eq_ignore_ascii_case(start),
        whole => media.eq_ignore_ascii_case(whole),
    }
}

#[cfg(test)]
#[path = "coding_tests.rs"]
mod tests;
