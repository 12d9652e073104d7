//! The request-target in its forms (RFC 9112, section 3.2).

use super::{Method, Span, authority};
use crate::error::Reason;

/// A request-target that was found to be well-formed, as spans over the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// `/path?query`
    Origin(Span),
    /// `http://authority/path?query`; the path is empty where the client left it out.
    Absolute {
        /// The authority; it overrides the Host field.
        authority: Span,
        /// The path and query, as sent.
        path: Span,
    },
    /// `*`, of an OPTIONS request about the server as a whole.
    Asterisk,
    /// `host:port`, of a CONNECT request.
    Authority(Span),
}

impl Target {
    /// Reads the target of a request.
    ///
    /// # Errors
    /// [`Reason::BadTarget`] for a target that does not fit its method or has bytes that no target
    /// may have: controls, spaces, anything beyond ASCII, a fragment.
    pub fn parse(head: &[u8], span: Span, method: Method) -> Result<Target, Reason> {
        let target = span.within(head);
        if !target.iter().all(|&byte| is_target_byte(byte)) {
            return Err(Reason::BadTarget);
        }
        match target {
            _ if method == Method::Connect => {
                authority::is_valid(target).then_some(Target::Authority(span)).ok_or(Reason::BadTarget)
            }
            [b'/', ..] => Ok(Target::Origin(span)),
            b"*" if method == Method::Options => Ok(Target::Asterisk),
            _ => absolute(head, target).ok_or(Reason::BadTarget),
        }
    }

    /// The path and query that go to the upstream, in origin-form (or `*`).
    pub fn origin_form<'a>(&self, head: &'a [u8], method: Method) -> OriginForm<'a> {
        match self {
            Target::Origin(path) => OriginForm::whole(path.within(head)),
            Target::Asterisk => OriginForm::whole(b"*"),
            Target::Absolute { path, .. } => match path.within(head) {
                // RFC 9112, section 3.2.4: an absolute-form OPTIONS without a path means `*`.
                [] if method == Method::Options => OriginForm::whole(b"*"),
                path if path.first() == Some(&b'/') => OriginForm::whole(path),
                path => OriginForm { prefix: b"/", rest: path },
            },
            Target::Authority(authority) => OriginForm::whole(authority.within(head)),
        }
    }

    /// The authority that the target itself names.
    pub fn authority(&self) -> Option<Span> {
        match self {
            Target::Absolute { authority, .. } => Some(*authority),
            _ => None,
        }
    }
}

/// A target in origin-form: a slash may have to be put in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OriginForm<'a> {
    /// A slash, where an absolute-form target had none.
    pub prefix: &'static [u8],
    /// The target as it was sent.
    pub rest: &'a [u8],
}

impl<'a> OriginForm<'a> {
    fn whole(rest: &'a [u8]) -> OriginForm<'a> {
        OriginForm { prefix: b"", rest }
    }
}

fn absolute(head: &[u8], target: &[u8]) -> Option<Target> {
    let (scheme, rest) = target.split_at_checked(7)?;
    let rest = if scheme.eq_ignore_ascii_case(b"http://") {
        rest
    } else if scheme.eq_ignore_ascii_case(b"https:/") {
        rest.strip_prefix(b"/")?
    } else {
        return None;
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (name, path) = rest.split_at(end);
    authority::is_valid(name)
        .then(|| Target::Absolute { authority: Span::of(head, name), path: Span::of(head, path) })
}

const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e) && byte != b'#'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: Method, text: &str) -> Result<Target, Reason> {
        Target::parse(text.as_bytes(), Span::new(0, text.len()), method)
    }

    #[test]
    fn reads_each_form() {
        assert!(matches!(parse(Method::Get, "/a?b"), Ok(Target::Origin(_))));
        assert!(matches!(parse(Method::Options, "*"), Ok(Target::Asterisk)));
        assert!(matches!(parse(Method::Connect, "a:443"), Ok(Target::Authority(_))));
        assert!(matches!(parse(Method::Get, "http://a/b"), Ok(Target::Absolute { .. })));
        assert!(matches!(parse(Method::Get, "HTTPS://a"), Ok(Target::Absolute { .. })));
    }

    #[test]
    fn an_absolute_target_becomes_origin_form() {
        for (method, text, want) in [
            (Method::Get, "http://a/b?c", "/b?c"),
            (Method::Get, "http://a", "/"),
            (Method::Get, "http://a?q", "/?q"),
            (Method::Options, "http://a", "*"),
            (Method::Options, "http://a?q", "/?q"),
        ] {
            let target = parse(method, text).unwrap();
            let form = target.origin_form(text.as_bytes(), method);
            assert_eq!([form.prefix, form.rest].concat(), want.as_bytes(), "{text}");
        }
    }

    #[test]
    fn refuses_targets_that_fit_no_form() {
        for bad in [
            "",
            "*",
            "a",
            "a/b",
            "ftp://a/b",
            "http://",
            "http:///x",
            "http://u@a/",
            "/a#b",
            "/a b",
            "/\u{e9}",
            "/\u{7f}",
            "https:/a",
        ] {
            assert_eq!(parse(Method::Get, bad), Err(Reason::BadTarget), "{bad}");
        }
        assert_eq!(parse(Method::Connect, "/"), Err(Reason::BadTarget));
    }
}
