//! Where the admin endpoint is, and who may use it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::options::Fault;
use super::{ConfigError, Host, read};
use crate::http::authority;

/// The fewest characters of a token: fewer can be guessed.
const TOKEN_CHARS_MIN: usize = 16;

/// The most characters of a token, so that it fits into any head.
const TOKEN_CHARS_MAX: usize = 1024;

/// The admin endpoint of a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminSettings {
    /// There is none.
    Off,
    /// A Unix socket at [`default_socket`]; where that cannot be had, the proxy runs without.
    Default,
    /// A Unix socket with this path.
    Unix(PathBuf),
    /// A TCP port.
    Tcp {
        /// Its host.
        host: Host,
        /// Its port, 0 for any free one.
        port: u16,
        /// What whoever calls has to show.
        token: Token,
        /// Whether it may be an address that other machines reach.
        anywhere: bool,
    },
}

/// An address of the admin endpoint as people write it: `unix:/run/ringway.sock`, `127.0.0.1:8081`, `off`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// No endpoint.
    Off,
    /// A Unix socket.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(Host, u16),
}

impl FromStr for AdminAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<AdminAddress, String> {
        let wrong = |problem: &str| {
            format!(
                "{text:?} {problem}; an admin address is unix:PATH, HOST:PORT such as 127.0.0.1:8081, or off"
            )
        };
        if text == "off" {
            return Ok(AdminAddress::Off);
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return match path {
                "" => Err(wrong("has no path")),
                path => Ok(AdminAddress::Unix(PathBuf::from(path))),
            };
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(parts) if authority::is_valid(text.as_bytes()) => parts,
            _ => return Err(wrong("is no admin address")),
        };
        let port = port.parse().map_err(|_| wrong("has no port from 0 to 65535"))?;
        Ok(AdminAddress::Tcp(Host::parse(host), port))
    }
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AdminAddress::Off => f.write_str("off"),
            AdminAddress::Unix(path) => write!(f, "unix:{}", path.display()),
            AdminAddress::Tcp(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// What whoever calls on a TCP port has to show. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The token, as it stands after `Bearer`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is long enough, and can stand in a field (RFC 6750, section 2.1).
    ///
    /// # Errors
    /// What is wrong with it, without itself.
    pub fn check(&self) -> Result<(), String> {
        if !(TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&self.0.len()) {
            return Err(format!("must have from {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} characters"));
        }
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        if !self.0.bytes().all(fits) {
            return Err("may have letters, digits and -._~+/= and nothing else".to_owned());
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = std::convert::Infallible;

    // What is wrong with it is said by `check`, because an error here would be shown with the token.
    fn from_str(text: &str) -> Result<Token, Self::Err> {
        Ok(Token(text.to_owned()))
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Where the socket of a user is if nobody says otherwise. `runtime_dir` is `XDG_RUNTIME_DIR`, which counts
/// only if it is absolute.
pub fn default_socket(uid: u32, runtime_dir: Option<&OsStr>) -> PathBuf {
    let runtime_dir = runtime_dir.map(Path::new).filter(|path| path.is_absolute());
    match (uid, runtime_dir) {
        (0, _) => PathBuf::from("/run/ringway.sock"),
        (_, Some(folder)) => folder.join("ringway.sock"),
        (uid, None) => PathBuf::from(format!("/tmp/ringway-{uid}.sock")),
    }
}

/// Where a command finds the endpoint of a proxy: what was said on the command line, filled in from the
/// file of the proxy.
///
/// # Errors
/// The file cannot be read or is wrong, or a port is named without a token.
pub fn reach(
    address: Option<AdminAddress>,
    token: Option<Token>,
    path: Option<PathBuf>,
) -> Result<AdminSettings, ConfigError> {
    let (said_address, said_token) = match path {
        Some(path) => read::admin(&path, token.as_ref(), &|name| std::env::var(name).ok())?,
        None => (None, None),
    };
    // It is for the proxy to say who may listen where.
    settings(address.or(said_address), token.or(said_token), true)
        .map_err(|fault| ConfigError::Usage(fault.to_string()))
}

/// Checks what was said about the endpoint.
pub(super) fn settings(
    address: Option<AdminAddress>,
    token: Option<Token>,
    anywhere: bool,
) -> Result<AdminSettings, Fault> {
    token.as_ref().map_or(Ok(()), Token::check).map_err(|message| Fault::new("admin-token", message))?;
    Ok(match address {
        None => AdminSettings::Default,
        Some(AdminAddress::Off) => AdminSettings::Off,
        Some(AdminAddress::Unix(path)) => AdminSettings::Unix(path),
        Some(AdminAddress::Tcp(host, port)) => {
            let Some(token) = token else {
                return Err(Fault::new(
                    "admin",
                    format!(
                        "{host}:{port} needs a token, such as the output of openssl rand -hex 16; say it with \
                         --admin-token or RINGWAY_ADMIN_TOKEN"
                    ),
                ));
            };
            // A name is checked when it has been looked up.
            if let Host::Address(address) = &host
                && !address.is_loopback()
                && !anywhere
            {
                return Err(Fault::new(
                    "admin",
                    format!(
                        "{host} may be reached from other machines; use an address of loopback, or say \
                         --admin-anywhere if that is what you want"
                    ),
                ));
            }
            AdminSettings::Tcp { host, port, token, anywhere }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Option<Token> {
        Some("0123456789abcdef".parse().unwrap())
    }

    #[test]
    fn addresses_are_read_and_written_alike() {
        for text in ["off", "unix:/run/a.sock", "unix:a b", "127.0.0.1:0", "[::1]:8081", "localhost:65535"] {
            assert_eq!(text.parse::<AdminAddress>().unwrap().to_string(), text);
        }
        for (text, named) in [
            ("", "no admin address"),
            ("on", "no admin address"),
            ("unix:", "no path"),
            ("/run/a.sock", "no admin address"),
            ("127.0.0.1", "no admin address"),
            ("127.0.0.1:", "no port"),
            ("127.0.0.1:65536", "no port"),
            ("::1", "no admin address"),
            ("http://127.0.0.1:1", "no admin address"),
        ] {
            let error = text.parse::<AdminAddress>().unwrap_err();
            assert!(error.contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn each_user_has_a_socket_of_its_own() {
        let folder = Some(OsStr::new("/run/user/7"));
        for (uid, folder, want) in [
            (0, None, "/run/ringway.sock"),
            (0, folder, "/run/ringway.sock"),
            (7, folder, "/run/user/7/ringway.sock"),
            (7, None, "/tmp/ringway-7.sock"),
            (7, Some(OsStr::new("")), "/tmp/ringway-7.sock"),
            (7, Some(OsStr::new("relative")), "/tmp/ringway-7.sock"),
        ] {
            assert_eq!(default_socket(uid, folder), Path::new(want));
        }
    }

    #[test]
    fn a_port_needs_a_token_and_loopback_or_a_word() {
        let at = |text: &str| Some(text.parse::<AdminAddress>().unwrap());
        assert!(settings(at("127.0.0.1:1"), None, false).unwrap_err().to_string().contains("needs a token"));
        assert!(
            settings(at("0.0.0.0:1"), token(), false).unwrap_err().to_string().contains("--admin-anywhere")
        );
        assert!(settings(at("[::]:1"), token(), false).unwrap_err().to_string().contains("--admin-anywhere"));
        for (address, anywhere) in
            [("127.0.0.1:1", false), ("[::1]:1", false), ("0.0.0.0:1", true), ("localhost:1", false)]
        {
            assert!(settings(at(address), token(), anywhere).is_ok(), "{address}");
        }
        assert_eq!(settings(None, None, false), Ok(AdminSettings::Default));
        assert_eq!(settings(at("off"), None, false), Ok(AdminSettings::Off));
    }

    #[test]
    fn a_token_that_is_wrong_is_not_shown() {
        for text in ["short", "0123456789abcde", "0123456789abcdef ", "0123456789abcdef\u{e9}", ""] {
            let token: Token = text.parse().unwrap();
            let error = settings(None, Some(token.clone()), false).unwrap_err().to_string();
            assert!(text.is_empty() || !error.contains(text), "{error}");
            assert_eq!(format!("{token:?}"), "Token(…)");
        }
        assert!(settings(None, Some("a".repeat(1025).parse().unwrap()), false).is_err());
        assert!(settings(None, token(), false).is_ok());
    }
}
