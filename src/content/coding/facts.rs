//! What of a response decides whether its content may be changed on the way.

use crate::http::coding::Coding;
use crate::http::{Name, list};

/// In what the content came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoded {
    /// As it is.
    #[default]
    Not,
    /// In this coding alone.
    As(Coding),
    /// In another coding, or in several.
    Otherwise,
}

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The status code.
    pub status: u16,
    /// The content's length, where that is known.
    pub length: Option<u64>,
    /// Content-Type, as it was written.
    pub content_type: Option<&'a [u8]>,
    /// What Content-Encoding says.
    pub encoded: Encoded,
    /// The origin forbids it: Cache-Control has `no-transform` (RFC 9111, section 5.2.2.6).
    pub no_transform: bool,
    /// The content is a part of something.
    pub is_part: bool,
}

impl<'a> Facts<'a> {
    /// The facts of a head with these field lines.
    pub fn of(status: u16, length: Option<u64>, lines: impl Iterator<Item = (Name, &'a [u8])>) -> Facts<'a> {
        let mut facts = Facts { status, length, ..Facts::default() };
        let mut types = 0;
        for (name, value) in lines {
            match name {
                Name::ContentType => {
                    types += 1;
                    // What is said twice is not known.
                    facts.content_type = (types == 1).then_some(value);
                }
                Name::ContentEncoding => {
                    for coding in list::tokens(value) {
                        facts.encoded = match (facts.encoded, Coding::recognise(coding)) {
                            (before, None) if coding.eq_ignore_ascii_case(b"identity") => before,
                            (Encoded::Not, Some(coding)) => Encoded::As(coding),
                            _ => Encoded::Otherwise,
                        };
                    }
                }
                Name::CacheControl => {
                    let forbids = |directive: &[u8]| directive.eq_ignore_ascii_case(b"no-transform");
                    facts.no_transform |= list::elements(value).any(forbids);
                }
                Name::ContentRange => facts.is_part = true,
                _ => {}
            }
        }
        facts
    }

    /// Whether the content may be changed: there is some, all of it, and nobody forbids it.
    pub fn may_change(&self) -> bool {
        let has_content = matches!(self.status, 200..=203 | 400..=599);
        has_content && !self.no_transform && !self.is_part && self.length != Some(0)
    }
}
