//! Content that goes out in another form than it came in.
//!
//! ```text
//!   upstream ─▶ framing ─▶ Stream: step, step, … ─▶ window ─▶ client        recode, as it comes
//!   stored content ─▶ Stream ─▶ window ─▶ client                            cached::serve, as it lies
//!   stored content ─▶ Stream ─▶ segments ─▶ beside it, for later hits       keep
//!                                              └─ again, harder ─▶ swapped    harder: a thread of its own
//! ```
//!
//! A step takes a bounded piece of the input, and between two steps others have their turn. What came is passed on as
//! soon as nothing more is there for the moment, so that events live. A source that breaks off leaves a stream without
//! an end, and the connection breaks off too.

mod harder;
mod keep;
mod pool;
mod recode;
mod stream;

use super::snapshot::CodingRules;
use crate::cache::directives::RequestDirectives;
use crate::config::coding::UpstreamCoding;
use crate::content::coding::accept::Accepts;
use crate::content::coding::facts::Facts;
use crate::content::coding::head::Form;
use crate::content::coding::{self, Way};
use crate::http::coding::Coding;
use crate::http::{Fields, Method, Name, date};
use crate::proxy::request::terms::Terms;
use crate::proxy::response::respond::Asked;

pub(in crate::proxy) use self::harder::Harder;
pub(in crate::proxy) use self::keep::{is_worth_waiting, provide, wait};
pub(in crate::proxy) use self::pool::{Coder, Coders};
pub(in crate::proxy) use self::recode::Came;
pub(in crate::proxy) use self::stream::{Stream, Turn};

/// What becomes of the content of an upstream's response. `length` is that of the content, where it is known.
fn way(
    rules: &CodingRules,
    asked: Asked,
    request: Fields<'_>,
    (status, length): (u16, Option<u64>),
    fields: Fields<'_>,
) -> Way {
    let length = match asked.method {
        Method::Head => fields
            .first(Name::ContentLength)
            .and_then(|value| std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok())),
        _ => length,
    };
    let facts = Facts::of(status, length, fields.iter().map(|(name, _, value)| (name, value)));
    let way = coding::decide(&rules.wanted(), &facts, &Accepts::of(request.values(Name::AcceptEncoding)));
    let is_kept_as_it_is = || RequestDirectives::of(request).no_transform;
    if way.changes_content() && is_kept_as_it_is() { Way::Varied } else { way }
}

/// Whether the upstream is asked for content as it is, whatever the client takes. A client that wants nothing changed
/// (RFC 9111, section 5.2.1.6) is to get what the upstream makes of what it takes.
pub(in crate::proxy) fn asks_for_identity(terms: &Terms, method: Method, request: Fields<'_>) -> bool {
    let is_wanted = |rules: &CodingRules| match rules.upstream {
        UpstreamCoding::AsAsked => false,
        UpstreamCoding::Identity => true,
        UpstreamCoding::Auto => {
            terms.snapshot.settings.cache.is_some()
                && terms.cache().on
                && matches!(method, Method::Get | Method::Head)
        }
    };
    terms.coding().is_some_and(is_wanted) && !RequestDirectives::of(request).no_transform
}

/// Whether the request wants to go on with what it has by a date: what it has may be content that changed its coding
/// here, of which the date is as good as of the other (RFC 9110, section 13.1.5).
pub(in crate::proxy) fn resumes_by_date(terms: &Terms, request: Fields<'_>) -> bool {
    let Some(rules) = terms.coding() else { return false };
    if request.first(Name::IfRange).is_none_or(|value| date::parse(value).is_none()) {
        return false;
    }
    let (wanted, accepts) = (rules.wanted(), Accepts::of(request.values(Name::AcceptEncoding)));
    let takes_apart = || wanted.decodes && Coding::ALL.into_iter().any(|coding| !accepts.takes(coding));
    accepts.choose(wanted.codings).is_some() || takes_apart()
}

/// Whether a part that came must not go to a client that [resumes by a date](resumes_by_date): of the whole it would
/// have got another form. Most of what is resumed is of other types, and large, so that it is asked for all the same.
pub(in crate::proxy) fn needs_whole(
    terms: &Terms,
    request: Fields<'_>,
    status: u16,
    fields: Fields<'_>,
) -> bool {
    let Some(rules) = terms.coding().filter(|_| status == 206 && resumes_by_date(terms, request)) else {
        return false;
    };
    let facts = Facts::of(status, None, fields.iter().map(|(name, _, value)| (name, value)));
    // Several parts do not say what they are parts of.
    let several = |value: &[u8]| coding::type_fits(b"multipart/*", value);
    let accepts = Accepts::of(request.values(Name::AcceptEncoding));
    facts.content_type.is_some_and(several)
        || coding::decide_whole(&rules.wanted(), &facts, &accepts).changes_content()
}

/// What the head of a response with that status and those field lines has to say of its content.
pub(in crate::proxy) fn form(
    terms: &Terms,
    way: Way,
    status: u16,
    (request, fields): (Fields<'_>, Fields<'_>),
) -> Option<Form> {
    terms.coding()?;
    Form::of(way, status, fields.first(Name::ETag), request.values(Name::IfNoneMatch))
}
