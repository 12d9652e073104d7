//! The words that say how an upstream is used and kept up.

use std::fmt;
use std::str::FromStr;

use super::keys::Kind;
use super::quantity::Failure;
use super::table::{FromValue, Reader, Value, from_text, texts};
use super::{Balance, HashBy, ProxyVersion, WhenDown};
use crate::http::fields::is_token;

/// A way to choose an endpoint, without what belongs to it: see [`Balance`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// [`Balance::RoundRobin`].
    #[default]
    RoundRobin,
    /// [`Balance::LeastConnections`].
    LeastConnections,
    /// [`Balance::PowerOfTwo`].
    PowerOfTwo,
    /// [`Balance::Random`].
    Random,
    /// [`Balance::ConsistentHash`].
    ConsistentHash,
}

impl Policy {
    /// The one that somebody balances by.
    pub(super) fn of(balance: &Balance) -> Policy {
        match balance {
            Balance::RoundRobin => Policy::RoundRobin,
            Balance::LeastConnections => Policy::LeastConnections,
            Balance::PowerOfTwo => Policy::PowerOfTwo,
            Balance::Random => Policy::Random,
            Balance::ConsistentHash { .. } => Policy::ConsistentHash,
        }
    }
}

/// Declares the words for the variants of an enumeration, and what they are called together.
macro_rules! words {
    ($($type:ident $what:literal { $($variant:ident = $word:literal,)* })*) => {$(
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<$type, String> {
                match text {
                    $($word => Ok($type::$variant),)*
                    _ => Err(format!("{text:?} is no {}: {}", $what, [$($word),*].join(", "))),
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $($type::$variant => $word,)*
                })
            }
        }

        texts! {
            $type: Kind::Choice(&[$($word),*]);
        }
    )*};
}

words! {
    Policy "way to balance" {
        RoundRobin = "round-robin",
        LeastConnections = "least-connections",
        PowerOfTwo = "power-of-two",
        Random = "random",
        ConsistentHash = "consistent-hash",
    }
    WhenDown "way out" {
        Try = "try",
        Fail = "fail",
    }
    ProxyVersion "version of the PROXY protocol" {
        V1 = "v1",
        V2 = "v2",
    }
}

impl FromStr for HashBy {
    type Err = String;

    fn from_str(text: &str) -> Result<HashBy, String> {
        match text.split_once(':') {
            None if text == "client" => Ok(HashBy::Client),
            None if text == "path" => Ok(HashBy::Path),
            None if text == "url" => Ok(HashBy::Url),
            Some(("header", name)) if is_token(name.as_bytes()) => Ok(HashBy::Header(name.to_owned())),
            Some(("cookie", name)) if is_token(name.as_bytes()) => Ok(HashBy::Cookie(name.to_owned())),
            _ => Err(format!(
                "{text:?} is no key; what can be is client, path, url, header:NAME or cookie:NAME"
            )),
        }
    }
}

impl fmt::Display for HashBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HashBy::Client => f.write_str("client"),
            HashBy::Path => f.write_str("path"),
            HashBy::Url => f.write_str("url"),
            HashBy::Header(name) => write!(f, "header:{name}"),
            HashBy::Cookie(name) => write!(f, "cookie:{name}"),
        }
    }
}

texts! {
    HashBy: Kind::Text("url");
}

/// Something after which a request is sent again: see [`super::Retry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryRule {
    /// No connection.
    Connect,
    /// A connection that ended.
    Reset,
    /// No response in time.
    Timeout,
    /// A response with such a status: from one to another.
    Status(u16, u16),
}

impl FromStr for RetryRule {
    type Err = String;

    fn from_str(text: &str) -> Result<RetryRule, String> {
        match text {
            "connect" => Ok(RetryRule::Connect),
            "reset" => Ok(RetryRule::Reset),
            "timeout" => Ok(RetryRule::Timeout),
            text if text.starts_with(|c: char| c.is_ascii_digit()) => {
                text.parse().map(|Failure { 0: (first, last) }| RetryRule::Status(first, last))
            }
            _ => Err(format!(
                "{text:?} is nothing to retry on: connect, reset, timeout, or statuses such as 503 or 502-504"
            )),
        }
    }
}

/// A word, a number, or a text such as `502-504`.
impl FromValue for RetryRule {
    const KIND: &'static Kind =
        &Kind::OneOf(&[&Kind::Choice(&["connect", "reset", "timeout"]), Failure::KIND]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<RetryRule> {
        match value.get().is_integer() {
            true => {
                Failure::read(value, reader).map(|statuses| RetryRule::Status(statuses.0.0, statuses.0.1))
            }
            false => from_text(value, Self::KIND, reader),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_and_written_alike() {
        for text in ["round-robin", "least-connections", "power-of-two", "random", "consistent-hash"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["client", "path", "url", "header:X-User", "cookie:id"] {
            assert_eq!(text.parse::<HashBy>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "ip",
            "client:",
            "header",
            "header:",
            "header:a b",
            "cookie:a=b",
            "cookie:a;b",
            "header:\r\n",
        ] {
            assert!(text.parse::<HashBy>().is_err(), "{text}");
        }
        assert_eq!(
            "rr".parse::<Policy>().unwrap_err(),
            "\"rr\" is no way to balance: round-robin, least-connections, power-of-two, random, consistent-hash"
        );
    }

    #[test]
    fn retries_follow_words_and_statuses() {
        for (text, want) in [
            ("connect", RetryRule::Connect),
            ("reset", RetryRule::Reset),
            ("timeout", RetryRule::Timeout),
            ("503", RetryRule::Status(503, 503)),
            ("502-504", RetryRule::Status(502, 504)),
        ] {
            assert_eq!(text.parse(), Ok(want));
        }
        for text in ["", "Connect", "5xx", "200", "504-502", "-", "always"] {
            assert!(text.parse::<RetryRule>().is_err(), "{text}");
        }
    }
}
