//! Accept-Encoding (RFC 9110, section 12.5.3): which codings a client takes, and which of them it likes best.
//!
//! A member that is malformed says nothing, neither for a coding nor against it: what is sent as it is can always
//! be read.

use crate::http::coding::Coding;
use crate::http::list;

/// What a request says of codings. Weights are in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    codings: [Option<u16>; Coding::COUNT],
    identity: Option<u16>,
    /// The weight of what is not listed.
    others: Option<u16>,
}

impl Accepts {
    /// Reads the values of all the lines of the field. A coding that is listed twice has the lower of its weights.
    pub fn of<'a>(values: impl Iterator<Item = &'a [u8]>) -> Accepts {
        let mut accepts = Accepts::default();
        for value in values {
            for (name, weight) in list::tokens(value).filter_map(member) {
                let place = if name == b"*" {
                    &mut accepts.others
                } else if name.eq_ignore_ascii_case(b"identity") {
                    &mut accepts.identity
                } else if let Some(coding) = Coding::recognise(name) {
                    &mut accepts.codings[coding.place()]
                } else {
                    continue;
                };
                *place = Some(place.map_or(weight, |before| before.min(weight)));
            }
        }
        accepts
    }

    /// The weight of a coding; 0 for one that is not taken.
    fn weight(&self, coding: Coding) -> u16 {
        self.codings[coding.place()].or(self.others).unwrap_or(0)
    }

    /// The coding to compress with, if any: the one with the greatest weight, of equals the one that `preferred` lists
    /// first. A request that says nothing gets nothing compressed, and one that likes content as it is better gets
    /// that.
    pub fn choose(&self, preferred: &[Coding]) -> Option<Coding> {
        let mut best: Option<(Coding, u16)> = None;
        for &coding in preferred {
            let weight = self.weight(coding);
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((coding, weight));
            }
        }
        // What is not listed is taken, but nobody asked for it.
        let identity = self.identity.or(self.others).unwrap_or(0);
        best.filter(|&(_, weight)| weight >= identity).map(|(coding, _)| coding)
    }

    /// Whether content in that coding can be sent as it is. To who says nothing anything may be sent (RFC 9110, section
    /// 12.5.3), but what says nothing is simple, and more often than not cannot read it.
    pub fn takes(&self, coding: Coding) -> bool {
        self.weight(coding) > 0
    }
}

/// `gzip` or `gzip;q=0.5`; none where that is malformed.
fn member(text: &[u8]) -> Option<(&[u8], u16)> {
    let mut parts = text.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let name = parts.next()?;
    let weight = parts.next().map_or(Some(1000), list::weight)?;
    (parts.next().is_none() && crate::http::fields::is_token(name)).then_some((name, weight))
}

#[cfg(test)]
#[path = "accept_tests.rs"]
mod tests;
