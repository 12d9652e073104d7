//! Content of a request that is kept for as long as the request may have to be sent again.

/// See the module.
#[derive(Default)]
pub(in crate::proxy) struct Replay {
    /// What has gone out, beyond what came with the head; none where nothing is kept, or there was too much.
    kept: Option<Vec<u8>>,
    bytes_max: usize,
}

impl Replay {
    /// Keeps what goes out from here on, unless there will be more of it than `bytes_max`. `remaining` is how much there
    /// will be, where that is known.
    pub(in crate::proxy) fn begin(&mut self, bytes_max: u64, remaining: Option<u64>) {
        if self.kept.is_none() && remaining.unwrap_or_default() <= bytes_max {
            self.kept = Some(Vec::new());
            self.bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        }
    }

    /// Keeps content that was gathered before anything has gone out: with what came with the head, that is all of it.
    pub(in crate::proxy) fn hold(&mut self, content: Vec<u8>) {
        self.bytes_max = content.len();
        self.kept = Some(content);
    }

    /// Keeps content that goes out, as long as there is not too much of it.
    pub(in crate::proxy) fn add(&mut self, content: &[u8]) {
        let most = self.bytes_max;
        self.kept.take_if(|kept| kept.len() + content.len() > most);
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(content);
        }
    }

    /// Whether all that has gone out is here.
    pub(in crate::proxy) fn is_whole(&self) -> bool {
        self.kept.is_some()
    }

    /// Takes what was kept away.
    pub(in crate::proxy) fn take(&mut self) -> Vec<u8> {
        self.kept.take().unwrap_or_default()
    }

    /// What was kept.
    pub(in crate::proxy) fn bytes(&self) -> &[u8] {
        self.kept.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_kept_up_to_the_bound_and_not_at_all_beyond_it() {
        let mut replay = Replay::default();
        replay.add(b"lost");
        assert!(!replay.is_whole() && replay.bytes().is_empty(), "nobody wanted it");
        replay.begin(6, None);
        replay.add(b"abc");
        replay.add(b"def");
        assert!(replay.is_whole());
        assert_eq!(replay.bytes(), b"abcdef");
        replay.add(b"g");
        assert!(!replay.is_whole() && replay.bytes().is_empty());
        replay.add(b"h");
        assert!(!replay.is_whole());
    }

    #[test]
    fn what_will_be_too_long_is_not_begun_with() {
        for (remaining, begins) in [(None, true), (Some(6), true), (Some(7), false)] {
            let mut replay = Replay::default();
            replay.begin(6, remaining);
            assert_eq!(replay.is_whole(), begins, "{remaining:?}");
        }
    }
}
