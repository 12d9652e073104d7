//! The Date field, rendered once a second (RFC 9110, section 5.6.7).

use std::fmt::Write as _;
use std::time::SystemTime;

/// An IMF-fixdate, ready to be copied into a head.
#[derive(Clone, Debug)]
pub struct RenderedDate {
    text: String,
}

impl RenderedDate {
    /// Renders a moment of the wall clock.
    pub fn new(at: SystemTime) -> RenderedDate {
        let mut date = RenderedDate { text: String::with_capacity(32) };
        date.update(at);
        date
    }

    /// Renders another moment, into the same memory.
    pub fn update(&mut self, at: SystemTime) {
        self.text.clear();
        // Writing into a `String` cannot fail.
        let _ = write!(self.text, "{}", httpdate::HttpDate::from(at));
    }

    /// The date, 29 bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn renders_the_date_of_the_rfc() {
        let date = RenderedDate::new(UNIX_EPOCH + Duration::from_secs(784_111_777));
        assert_eq!(date.as_bytes(), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
