//! What is found out about the head of a stored response when its content may go out in another form, and kept with it:
//! so that a hit that is compressed costs what any hit does.

use std::sync::{Arc, OnceLock};

use crate::cache::ledger::{Beside, Charge, Ledger};
use crate::cache::store::Store;
use crate::cache::stored::Head;
use crate::content::coding::facts::{Encoded, Facts};
use crate::content::coding::head::{Form, GROWTH_MAX, rewrite};
use crate::http::fields::written_head;

/// See the module. Of most responses it is only known that nothing is to be done, so that this is small.
pub(super) struct Note {
    content_type: Option<Box<[u8]>>,
    encoded: Encoded,
    no_transform: bool,
    is_part: bool,
    texts: OnceLock<Box<Texts>>,
    _charge: Charge,
}

/// The head of content that goes out in another form, to this client or to others.
pub(super) struct Texts {
    /// That of content as it is stored.
    pub(super) varied: Box<[u8]>,
    /// That of content in another form, without its coding.
    pub(super) changed: Box<[u8]>,
    _charge: Charge,
}

impl Texts {
    fn cost(head: &Head) -> usize {
        size_of::<Texts>() + 2 * (head.text().len() + GROWTH_MAX)
    }

    fn new(ledger: &Arc<Ledger>, head: &Head) -> Option<Box<Texts>> {
        let charge = ledger.reserve_beside(Beside::Note, Texts::cost(head))?;
        let written = |form| {
            let mut text = Vec::with_capacity(head.text().len() + GROWTH_MAX);
            rewrite(&mut text, head.text(), form);
            text.into_boxed_slice()
        };
        let (varied, changed) = (written(Form::Varied), written(Form::Changed(None)));
        Some(Box::new(Texts { varied, changed, _charge: charge }))
    }
}

impl Note {
    /// The note of a head, if there is room for one.
    pub(super) fn of<'h>(store: &Store, head: &'h Head) -> Option<&'h Note> {
        if let Some(note) = head.note() {
            return Some(note);
        }
        let facts = found(head, None);
        let bytes = size_of::<Note>() + facts.content_type.map_or(0, <[u8]>::len);
        let make = |ledger: &Arc<Ledger>| {
            Some(Box::new(Note {
                content_type: facts.content_type.map(Box::from),
                encoded: facts.encoded,
                no_transform: facts.no_transform,
                is_part: facts.is_part,
                texts: OnceLock::new(),
                _charge: ledger.reserve_beside(Beside::Note, bytes)?,
            }))
        };
        head.keep_note(store.make_beside(Beside::Note, bytes, make)?);
        head.note()
    }

    /// The texts that follow from it, if there is room for them.
    pub(super) fn texts(&self, store: &Store, head: &Head) -> Option<&Texts> {
        if self.texts.get().is_none() {
            let made =
                store.make_beside(Beside::Note, Texts::cost(head), |ledger| Texts::new(ledger, head))?;
            let _ = self.texts.set(made);
        }
        self.texts.get().map(Box::as_ref)
    }

    /// What of the head decides whether its content may be changed.
    pub(super) fn facts(&self, status: u16, length: Option<u64>) -> Facts<'_> {
        let Note { content_type, encoded, no_transform, is_part, .. } = self;
        let (encoded, no_transform, is_part) = (*encoded, *no_transform, *is_part);
        Facts { status, length, content_type: content_type.as_deref(), encoded, no_transform, is_part }
    }
}

/// The same, where nothing is kept.
pub(super) fn found(head: &Head, length: Option<u64>) -> Facts<'_> {
    let lines = written_head(head.text()).map(|line| (line.known, line.value));
    Facts::of(head.status, length, lines)
}
