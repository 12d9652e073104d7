//! Bounds on what a request may be like: its method, its target, its fields, the type of its content.

use crate::config::security::RequestLimits;
use crate::error::Reason;
use crate::h1::BodyLength;
use crate::http::fields::is_token;
use crate::http::{Fields, Name, method};

/// What is looked at of a request.
#[derive(Clone, Copy, Debug)]
pub struct Looked<'a> {
    /// The target as it was sent.
    pub target: &'a [u8],
    /// Its query, without the question mark.
    pub query: Option<&'a [u8]>,
    /// The field lines.
    pub fields: Fields<'a>,
    /// How long the content is.
    pub body: BodyLength,
}

/// Bounds, ready to be kept.
#[derive(Clone, Debug)]
pub struct Bounds {
    limits: RequestLimits,
    /// The line that says which methods there are (RFC 9110, section 10.2.1).
    allow: Box<[u8]>,
    /// The line that says which content is taken (RFC 9110, section 12.5.1).
    accept: Box<[u8]>,
}

impl Bounds {
    /// Makes them ready.
    pub fn new(limits: &RequestLimits) -> Bounds {
        let line = |name: &str, values: &[String]| format!("{name}: {}\r\n", values.join(", ")).into_bytes();
        Bounds {
            limits: limits.clone(),
            allow: line("Allow", &method::all_meant(&limits.methods)).into_boxed_slice(),
            accept: line("Accept", &limits.content_types).into_boxed_slice(),
        }
    }

    /// Whether the request has that method. Names of methods are case-sensitive (RFC 9110, section 9.1).
    ///
    /// # Errors
    /// It is none of those that are served.
    pub fn check_method(&self, method: &[u8]) -> Result<(), Reason> {
        let methods = &self.limits.methods;
        match methods.is_empty() || method::lists(methods, method) {
            true => Ok(()),
            false => Err(Reason::MethodRefused),
        }
    }

    /// Holds a request against all of them but the methods.
    ///
    /// # Errors
    /// The first that it does not keep.
    pub fn check(&self, looked: &Looked<'_>) -> Result<(), Reason> {
        let limits = &self.limits;
        let is_over = |bound: Option<usize>, count: usize| bound.is_some_and(|most| count > most);
        if is_over(limits.target_bytes_max, looked.target.len()) {
            return Err(Reason::TargetTooLong);
        }
        let query = looked.query.unwrap_or_default();
        if is_over(limits.query_bytes_max, query.len())
            || (limits.parameters_max.is_some() && is_over(limits.parameters_max, parameters(query)))
        {
            return Err(Reason::QueryTooLarge);
        }
        if is_over(limits.fields_max, looked.fields.len()) {
            return Err(Reason::TooManyFields);
        }
        // A line is a name, a colon, a space and a value.
        let is_long = |(_, name, value): (Name, &[u8], &[u8])| {
            is_over(limits.field_bytes_max, name.len() + 2 + value.len())
        };
        if limits.field_bytes_max.is_some() && looked.fields.iter().any(is_long) {
            return Err(Reason::FieldTooLarge);
        }
        let has_content = !matches!(looked.body, BodyLength::None | BodyLength::Known(0));
        if has_content && !limits.content_types.is_empty() && !self.takes(looked.fields) {
            return Err(Reason::ContentRefused);
        }
        Ok(())
    }

    /// Whether the type of the content is one that is taken. Of several fields each has to be: nobody knows by which
    /// one the upstream goes.
    fn takes(&self, fields: Fields<'_>) -> bool {
        let mut said = fields.named(b"Content-Type").peekable();
        said.peek().is_some() && said.all(|value| self.takes_type(value))
    }

    fn takes_type(&self, value: &[u8]) -> bool {
        let plain = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
        let mut parts = plain.splitn(2, |&byte| byte == b'/');
        let (kind, of) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        is_token(kind)
            && is_token(of)
            && self.limits.content_types.iter().any(|known| match known.strip_suffix("/*") {
                Some(known) => kind.eq_ignore_ascii_case(known.as_bytes()),
                None => plain.eq_ignore_ascii_case(known.as_bytes()),
            })
    }

    /// The line that an answer gets by which a request is turned away for that.
    pub fn line(&self, reason: Reason) -> &[u8] {
        match reason {
            Reason::MethodRefused => &self.allow,
            Reason::ContentRefused => &self.accept,
            _ => b"",
        }
    }
}

/// How many parameters a query has: as many as there are texts between its ampersands.
fn parameters(query: &[u8]) -> usize {
    match query {
        [] => 0,
        query => 1 + memchr::memchr_iter(b'&', query).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::fuzz_access::Request;

    fn bounds(change: impl FnOnce(&mut RequestLimits)) -> Bounds {
        let mut limits = RequestLimits::default();
        change(&mut limits);
        Bounds::new(&limits)
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    fn judged(bounds: &Bounds, target: &str, pairs: &[(&str, &str)], body: BodyLength) -> Result<(), Reason> {
        let request = Request::new(pairs);
        let query = target.split_once('?').map(|(_, query)| query.as_bytes());
        let fields = request.fields();
        bounds.check(&Looked { target: target.as_bytes(), query, fields, body })
    }

    #[test]
    fn without_a_bound_everything_passes() {
        let none = bounds(|_| {});
        let target = format!("/?{}", "a&".repeat(10_000));
        assert_eq!(judged(&none, &target, &[("a", "b")], BodyLength::Chunked), Ok(()));
        assert_eq!(none.check_method(b"ANYTHING"), Ok(()));
    }

    #[test]
    fn methods_are_compared_as_they_are_written() {
        let some = bounds(|limits| limits.methods = texts(&["GET", "HEAD"]));
        assert_eq!((some.check_method(b"GET"), some.check_method(b"HEAD")), (Ok(()), Ok(())));
        for other in [&b"get"[..], b"POST", b"", b"GE", b"GETT"] {
            assert_eq!(some.check_method(other), Err(Reason::MethodRefused));
        }
        assert_eq!(some.line(Reason::MethodRefused), b"Allow: GET, HEAD\r\n");
        assert_eq!(some.line(Reason::TargetTooLong), b"");
        // Who takes GET takes HEAD, and says so.
        let some = bounds(|limits| limits.methods = texts(&["POST", "GET"]));
        assert_eq!((some.check_method(b"GET"), some.check_method(b"HEAD")), (Ok(()), Ok(())));
        assert_eq!(some.line(Reason::MethodRefused), b"Allow: POST, GET, HEAD\r\n");
        let some = bounds(|limits| limits.methods = texts(&["HEAD"]));
        assert_eq!(some.check_method(b"GET"), Err(Reason::MethodRefused));
    }

    #[test]
    fn what_is_too_long_or_too_many_has_a_status_of_its_own() {
        let none = BodyLength::None;
        let some = bounds(|limits| limits.target_bytes_max = Some(4));
        assert_eq!(judged(&some, "/abc", &[], none), Ok(()));
        assert_eq!(judged(&some, "/abcd", &[], none), Err(Reason::TargetTooLong));
        let some = bounds(|limits| limits.query_bytes_max = Some(3));
        assert_eq!((judged(&some, "/long?abc", &[], none), judged(&some, "/", &[], none)), (Ok(()), Ok(())));
        assert_eq!(judged(&some, "/?abcd", &[], none), Err(Reason::QueryTooLarge));
        let some = bounds(|limits| limits.parameters_max = Some(2));
        for (target, want) in
            [("/?a=1&b=2", true), ("/?", true), ("/", true), ("/?a&b&c", false), ("/?&&", false)]
        {
            assert_eq!(judged(&some, target, &[], none).is_ok(), want, "{target}");
        }
        let none_at_all = bounds(|limits| limits.parameters_max = Some(0));
        assert_eq!(
            (judged(&none_at_all, "/?", &[], none).is_ok(), judged(&none_at_all, "/?a", &[], none).is_ok()),
            (true, false)
        );
        let some = bounds(|limits| limits.fields_max = Some(1));
        assert_eq!(judged(&some, "/", &[("a", "b")], none), Ok(()));
        assert_eq!(judged(&some, "/", &[("a", "b"), ("a", "b")], none), Err(Reason::TooManyFields));
        let some = bounds(|limits| limits.field_bytes_max = Some(6));
        assert_eq!(judged(&some, "/", &[("ab", "cd")], none), Ok(()));
        assert_eq!(judged(&some, "/", &[("a", "b"), ("ab", "cde")], none), Err(Reason::FieldTooLarge));
    }

    #[test]
    fn types_are_compared_without_parameters_and_case() {
        let some = bounds(|limits| limits.content_types = texts(&["application/json", "text/*"]));
        for (value, want) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/json;a=b", true),
            ("text/plain", true),
            ("TEXT/HTML ; a", true),
            ("application/jsonx", false),
            ("application/json, text/html", false),
            ("application/xml; application/json", false),
            ("text", false),
            ("text/", false),
            ("text/a/b", false),
            ("texts/plain", false),
            ("/json", false),
            ("", false),
        ] {
            let judged = judged(&some, "/", &[("content-type", value)], BodyLength::Known(1));
            assert_eq!(judged.is_ok(), want, "{value}");
        }
        assert_eq!(some.line(Reason::ContentRefused), b"Accept: application/json, text/*\r\n");
    }

    #[test]
    fn content_without_a_type_is_refused_and_no_content_needs_none() {
        let some = bounds(|limits| limits.content_types = texts(&["text/plain"]));
        for body in [BodyLength::None, BodyLength::Known(0)] {
            assert_eq!(judged(&some, "/", &[], body), Ok(()));
            assert_eq!(judged(&some, "/", &[("Content-Type", "a/b")], body), Ok(()));
        }
        for body in [BodyLength::Known(1), BodyLength::Chunked] {
            assert_eq!(judged(&some, "/", &[], body), Err(Reason::ContentRefused));
        }
    }

    #[test]
    fn of_several_types_each_has_to_be_taken() {
        let some = bounds(|limits| limits.content_types = texts(&["text/plain"]));
        let (good, bad) = (("Content-Type", "text/plain"), ("content-type", "text/html"));
        assert_eq!(judged(&some, "/", &[good, good], BodyLength::Chunked), Ok(()));
        for pairs in [[good, bad], [bad, good]] {
            assert_eq!(judged(&some, "/", &pairs, BodyLength::Chunked), Err(Reason::ContentRefused));
        }
    }
}
