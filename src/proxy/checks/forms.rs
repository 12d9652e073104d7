//! Rules that look at the content of a form: it is held against them once it has come, before anybody else sees any of
//! it.
//!
//! ```text
//!   the head is through ─▶ does any rule that is left want it? ─▶ gathered ─▶ read ─▶ the rules are asked again
//!                             │ none                                │ too large, or not to be read
//!                             ▼                                     ▼
//!                          goes on                refused; or goes on, where all that want it only say something
//! ```

use std::rc::Rc;

use super::Turned;
use super::rules::{Late, Ruling, ask, asked, carry_out, chains, tarpit};
use crate::config::rules::FORM_BYTES_DEFAULT;
use crate::error::Reason;
use crate::filter::rules::form::{self, BadForm, Kind};
use crate::filter::rules::{Awaited, Care, Found, Subjects, Verdict};
use crate::h1::{BodyLength, RequestHead};
use crate::http::Name;
use crate::proxy::client::connection::{Client, Peer};
use crate::proxy::core::Core;
use crate::proxy::holding::held::Counted;
use crate::proxy::holding::hold;
use crate::proxy::record::{Received, Record};
use crate::proxy::request::admit::Admitted;
use crate::proxy::request::routing::asked_host;
use crate::proxy::task::give_way;
use crate::route::Bare;

/// What is to be done with content, as far as its head tells.
#[derive(Debug)]
pub(in crate::proxy) enum Look<'a> {
    /// Nothing: no rule that is left wants it, which may be this.
    Not(Subjects),
    /// It may be this, and cannot be looked at for that reason, but all who would only say something.
    Unread(Subjects, Reason),
    /// It is read.
    Read {
        kind: Kind<'a>,
        /// So much of it at most.
        bytes_max: usize,
        /// What matters of it.
        care: Care,
    },
}

/// Whether some rule may look at content; and what that is.
///
/// # Errors
/// It could be that for some, and something else for others.
pub(in crate::proxy) fn content_kind<'a>(
    received: &'a Received,
    head: &RequestHead,
    body: BodyLength,
) -> Result<Option<Kind<'a>>, BadForm> {
    if matches!(body, BodyLength::None | BodyLength::Known(0)) {
        return Ok(None);
    }
    kind(received, head, wanted(received))
}

fn wanted(received: &Received) -> Subjects {
    chains(received).fold(Subjects::default(), |all, chain| all.or(chain.engine.subjects()))
}

fn kind<'a>(
    received: &'a Received,
    head: &RequestHead,
    wanted: Subjects,
) -> Result<Option<Kind<'a>>, BadForm> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let method = head.token.within(received.head_bytes());
    form::kind(received.fields().values(Name::ContentType), wanted, method)
}

/// What is to be done with the content of a request that has come past the rules on its head, which may have some.
///
/// # Errors
/// It cannot be looked at, and has to be.
pub(in crate::proxy) fn look<'a>(
    core: &Core,
    peer: &Peer,
    received: &'a Received,
    head: &RequestHead,
    body: BodyLength,
) -> Result<Look<'a>, Reason> {
    let known = match content_kind(received, head, body) {
        Ok(None) => return Ok(Look::Not(Subjects::default())),
        known => known,
    };
    let possible = match &known {
        Ok(Some(kind)) => Subjects::only(&kind.subject()),
        _ => wanted(received),
    };
    let awaited = awaited(core, peer, received, head, body, possible);
    let kind = match known {
        Ok(Some(kind)) => kind,
        _ => {
            // What is not clear may be so for those rules alone that want nothing of it, or do nothing.
            let acted = kind(received, head, awaited.at_least(Care::Acted));
            let all = || kind(received, head, awaited.at_least(Care::Noted));
            match acted.map_err(|_| Reason::ContentRefused)?.map_or_else(all, |kind| Ok(Some(kind))) {
                Ok(Some(kind)) => kind,
                Ok(None) => return Ok(Look::Not(Subjects::default())),
                Err(_) => {
                    let Subjects { form, json } = awaited.at_least(Care::Acted);
                    let noted = Subjects { form: !form, json: !json };
                    return Ok(Look::Unread(noted, Reason::ContentRefused));
                }
            }
        }
    };
    let subjects = Subjects::only(&kind.subject());
    let (care, bytes_max) = (awaited.of(subjects), form_bytes_max(received));
    let fault = if is_coded(received) {
        Some(Reason::ContentRefused)
    } else if matches!(body, BodyLength::Known(length) if length > bytes_max as u64) {
        Some(Reason::BodyTooLarge)
    } else {
        None
    };
    match (care, fault) {
        (Care::Nobody, _) => Ok(Look::Not(subjects)),
        (Care::Acted, Some(reason)) => Err(reason),
        (Care::Noted, Some(reason)) => Ok(Look::Unread(subjects, reason)),
        (_, None) => Ok(Look::Read { kind, bytes_max, care }),
    }
}

/// What the rules that are left want of content that may be this.
fn awaited(
    core: &Core,
    peer: &Peer,
    received: &Received,
    head: &RequestHead,
    body: BodyLength,
    content: Subjects,
) -> Awaited {
    let host = Bare::of(asked_host(received, head));
    let asked = asked(peer, received, head, body, &host);
    let ruled = &received.terms.made().ruled;
    let (mut marks, mut all) = (ruled.marks, Awaited::default());
    let mut scratch = core.rule_scratch.borrow_mut();
    for (chain, sets) in chains(received).enumerate() {
        let Some(until) = ruled.until(chain) else { break };
        let (awaited, verdict) =
            sets.engine.settle(&asked, content, until, &mut marks, &mut scratch, &mut |_| {});
        all = all.or(awaited);
        if verdict != Verdict::Pass {
            break;
        }
    }
    all
}

/// Bytes that a form may have: what the later of several says counts.
fn form_bytes_max(received: &Received) -> usize {
    let said = received.terms.traffic().filter_map(|traffic| traffic.rules.as_deref()?.form_bytes_max);
    said.last().unwrap_or(FORM_BYTES_DEFAULT)
}

fn is_coded(received: &Received) -> bool {
    let codings = received.fields().values(Name::ContentEncoding);
    codings.flat_map(|value| value.split(|&byte| byte == b',')).any(|coding| {
        let coding = coding.trim_ascii();
        !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity")
    })
}

/// Holds the content of a form against the rules that look at it, before anybody else sees any of it. Nothing is done
/// where no rule does.
///
/// # Errors
/// The request is turned away.
pub(in crate::proxy) async fn content(
    core: &Rc<Core>,
    client: &mut Client,
    peer: &Peer,
    received: &mut Received,
    admitted: &mut Admitted,
    record: &mut Record,
) -> Result<(), Turned> {
    let (head, body) = (admitted.head, admitted.body);
    let ruling = {
        let received = &*received;
        let ask_rest = |subjects| ask(core, peer, received, &head, body, Some(Late::Unread(subjects)));
        let leave = |subjects| {
            core.counters.forms_unread.increment();
            ask_rest(subjects)
        };
        match look(core, peer, received, &head, body)? {
            Look::Not(subjects) => ask_rest(subjects),
            Look::Unread(subjects, _) => leave(subjects),
            Look::Read { kind, bytes_max, care } => {
                let fits = hold::gather(core, client, received, admitted, bytes_max).await?;
                let ruling = match fits {
                    true => read(core, peer, received, admitted, &kind).await,
                    false => Err(Reason::BodyTooLarge),
                };
                match ruling {
                    Ok(ruling) => ruling,
                    Err(reason) if care == Care::Acted => return Err(reason.into()),
                    Err(_) => leave(Subjects::only(&kind.subject())),
                }
            }
        }
    };
    if ruling.hits.is_empty() {
        return Ok(());
    }
    match carry_out(core, peer, received, &head, record, ruling)? {
        Some(waiting) => Err(tarpit(core, client, record, waiting).await),
        None => Ok(()),
    }
}

/// Reads content that is at hand, and asks the rules.
///
/// # Errors
/// It is malformed.
async fn read(
    core: &Rc<Core>,
    peer: &Peer,
    received: &Received,
    admitted: &Admitted,
    kind: &Kind<'_>,
) -> Result<Ruling, Reason> {
    let (head, body) = (admitted.head, admitted.body);
    let first = &received.bytes.bytes()[admitted.first.clone()];
    let kept = admitted.upload.kept();
    let mut counted = Counted::new(core.memory());
    let joined;
    let whole = if kept.is_empty() {
        first
    } else if first.is_empty() {
        kept
    } else {
        joined = [first, kept].concat();
        counted.grow_to(joined.len());
        &joined
    };
    let texts = form::read(kind, whole).map_err(|_| Reason::FormRefused)?;
    let host = Bare::of(asked_host(received, &head));
    let asked = asked(peer, received, &head, body, &host);
    let mut found: Vec<Found> = Vec::new();
    for chain in chains(received) {
        found.push(chain.engine.study(&asked, &texts, give_way).await);
    }
    Ok(ask(core, peer, received, &head, body, Some(Late::Found(&found))))
}
