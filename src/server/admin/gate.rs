//! Who may use the admin endpoint: on a Unix socket the user that the proxy runs as, on a port whoever
//! shows the token. Pure: what is known about the caller comes in.

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use hyper::{StatusCode, Version};
use subtle::ConstantTimeEq as _;

use crate::config::{Host, Token};
use crate::http::authority;

/// What a caller is measured by.
#[derive(Clone, Debug)]
pub(super) enum Gate {
    /// The user that the proxy runs as.
    Owner(u32),
    /// Whoever shows the token, and calls the endpoint by an address, `localhost` or this name.
    Bearer { token: Token, name: Host },
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// A process of this user, as the kernel says.
    User(u32),
    /// Somebody who reached the port.
    Remote,
    /// Nobody knows.
    Unknown,
}

/// Why a caller is turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// Another user.
    User,
    /// A script of a web page.
    Origin,
    /// The endpoint was called by a name that it does not know: a name of somebody else may have been made to lead
    /// here.
    Host,
    /// No token, or not the right one.
    Token,
}

impl Denied {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Denied::User | Denied::Origin => StatusCode::FORBIDDEN,
            Denied::Host => StatusCode::MISDIRECTED_REQUEST,
            Denied::Token => StatusCode::UNAUTHORIZED,
        }
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Denied::User => "only the user that the proxy runs as may use this socket",
            Denied::Origin => "web pages may not use this endpoint",
            Denied::Host => {
                "the Host is neither an address, nor localhost, nor the host that --admin of the proxy names"
            }
            Denied::Token => "the token is missing or wrong; it goes into Authorization: Bearer",
        }
    }
}

impl Gate {
    /// Whether a request may pass.
    pub(super) fn check(&self, caller: Caller, version: Version, fields: &HeaderMap) -> Result<(), Denied> {
        if let Gate::Owner(owner) = self
            && caller != Caller::User(*owner)
        {
            return Err(Denied::User);
        }
        if fields.contains_key(ORIGIN) {
            return Err(Denied::Origin);
        }
        let Gate::Bearer { token, name } = self else { return Ok(()) };
        // HTTP/1.0 has no Host, and browsers do not speak it.
        if !(knows(only(fields.get_all(HOST)), name)
            || version == Version::HTTP_10 && !fields.contains_key(HOST))
        {
            return Err(Denied::Host);
        }
        let shown = only(fields.get_all(AUTHORIZATION)).and_then(bearer).unwrap_or_default();
        // The length may show; the comparison takes the same time whatever else is wrong.
        let same = bool::from(shown.ct_eq(token.as_str().as_bytes()));
        if same { Ok(()) } else { Err(Denied::Token) }
    }
}

/// The value of a field that stands there once.
fn only<'a>(values: impl IntoIterator<Item = &'a HeaderValue>) -> Option<&'a [u8]> {
    let mut values = values.into_iter();
    let first = values.next()?;
    values.next().is_none().then_some(first.as_bytes())
}

/// Whether a Host names this endpoint, whatever the port.
fn knows(value: Option<&[u8]>, name: &Host) -> bool {
    let Some(value) = value.filter(|value| authority::is_valid(value)) else { return false };
    let Ok(text) = std::str::from_utf8(value) else { return false };
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => text,
    };
    match (Host::parse(host), name) {
        (Host::Address(_), _) => true,
        (Host::Name(host), Host::Name(name)) if host.eq_ignore_ascii_case(name) => true,
        (Host::Name(host), _) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// The token of `Bearer token` (RFC 6750, section 2.1); the scheme has no case (RFC 9110, section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            fields.append(*name, value.parse().unwrap());
        }
        fields
    }

    #[test]
    fn a_socket_is_for_the_owner() {
        let gate = Gate::Owner(7);
        let check = |caller, lines: &[_]| gate.check(caller, Version::HTTP_11, &fields(lines));
        assert_eq!(check(Caller::User(7), &[]), Ok(()));
        for caller in [Caller::User(0), Caller::User(8), Caller::Unknown, Caller::Remote] {
            assert_eq!(check(caller, &[]), Err(Denied::User), "{caller:?}");
        }
        assert_eq!(check(Caller::User(7), &[("origin", "http://a")]), Err(Denied::Origin));
    }

    #[test]
    fn a_port_is_for_whoever_shows_the_token() {
        let gate = Gate::Bearer { token: TOKEN.parse().unwrap(), name: Host::parse("admin.example") };
        let good = format!("Bearer {TOKEN}");
        let (host, auth) = ("host", "authorization");
        for (lines, want) in [
            (vec![(host, "127.0.0.1:1"), (auth, &*good)], Ok(())),
            (vec![(host, "[::1]:1"), (auth, &good)], Ok(())),
            (vec![(host, "LOCALHOST"), (auth, &good)], Ok(())),
            (vec![(host, "Admin.Example:9"), (auth, &good)], Ok(())),
            (vec![(host, "a"), (auth, "bearer  0123456789abcdef")], Err(Denied::Host)),
            (vec![(host, "localhost"), (auth, "bearer  0123456789abcdef")], Ok(())),
            (vec![(host, "localhost.evil.example"), (auth, &good)], Err(Denied::Host)),
            (vec![(host, "localhost"), (host, "localhost"), (auth, &good)], Err(Denied::Host)),
            (vec![(auth, &good)], Err(Denied::Host)),
            (vec![(host, "")], Err(Denied::Host)),
            (vec![(host, "127.0.0.1"), ("origin", "null"), (auth, &good)], Err(Denied::Origin)),
            (vec![(host, "127.0.0.1")], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, "Bearer ")], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, TOKEN)], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, "Bearer 0123456789abcdeF")], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, "Bearer 0123456789abcde")], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, "Basic  0123456789abcdef")], Err(Denied::Token)),
            (vec![(host, "127.0.0.1"), (auth, &good), (auth, &good)], Err(Denied::Token)),
        ] {
            assert_eq!(gate.check(Caller::Remote, Version::HTTP_11, &fields(&lines)), want, "{lines:?}");
        }
        assert_eq!(gate.check(Caller::Remote, Version::HTTP_10, &fields(&[(auth, &good)])), Ok(()));
    }
}
