//! What is found out about the head of a stored response when its content first goes out in another form, and kept
//! with it: so that a hit that is compressed costs what any hit does.

use std::sync::Arc;

use crate::cache::ledger::{Charge, Ledger};
use crate::cache::stored::Head;
use crate::content::coding::facts::{Encoded, Facts};
use crate::content::coding::head::{Form, GROWTH_MAX, rewrite};
use crate::http::fields::written_head;

/// See the module.
pub(super) struct Note {
    content_type: Option<Box<[u8]>>,
    encoded: Encoded,
    no_transform: bool,
    is_part: bool,
    /// The head of content as it is stored, that others get in another form.
    pub(super) varied: Box<[u8]>,
    /// The head of content in another form, without its coding.
    pub(super) changed: Box<[u8]>,
    _charge: Charge,
}

impl Note {
    /// Bytes that it takes.
    pub(super) fn cost(head: &Head) -> usize {
        size_of::<Note>() + 3 * (head.text().len() + GROWTH_MAX)
    }

    /// None if the ledger has no room for it.
    pub(super) fn new(ledger: &Arc<Ledger>, head: &Head) -> Option<Box<Note>> {
        let charge = ledger.reserve_beside(Note::cost(head))?;
        let written = |form| {
            let mut text = Vec::with_capacity(head.text().len() + GROWTH_MAX);
            rewrite(&mut text, head.text(), form);
            text.into_boxed_slice()
        };
        let facts = found(head, None);
        Some(Box::new(Note {
            content_type: facts.content_type.map(Box::from),
            encoded: facts.encoded,
            no_transform: facts.no_transform,
            is_part: facts.is_part,
            varied: written(Form::Varied),
            changed: written(Form::Changed(None)),
            _charge: charge,
        }))
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
