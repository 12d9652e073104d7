//! Who has to be known, and how that is found out.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Known;
use super::edits::Message;
use super::said::Either;
use super::said_identity::{AuthSaid, ForwardSaid, IdentitySaid};
use crate::config::identity::{
    Auth, AuthKind, ForwardAuth, Identity, REMEMBER_DEFAULT, REMEMBER_MAX, REQUEST_FIELDS_DEFAULT,
    RESPONSE_BYTES_DEFAULT, RESPONSE_BYTES_MAX, TIMEOUT_DEFAULT, TIMEOUT_MAX, URL_ASKED,
};
use crate::config::network::has_comment;
use crate::config::passwords::Users;
use crate::config::problem::{Problem, quoted};
use crate::config::quantity::OrOff;
use crate::config::source::{self, Place};
use crate::config::table::{At, Map, Said};
use crate::config::tokens::{Token, Tokens};
use crate::http::Name;
use crate::http::fields::is_token;

/// Fields that a service or an upstream must not be told from outside, in lower case.
const FRAMING: &[&str] = &["content-length", "host", "transfer-encoding", "expect", "trailer"];

/// Fields by which the upstream is told something else.
const OWN: &[&str] = &["x-ringway-tag"];

/// Fields that say something of the content that they come with, in lower case, beside `content-…`.
const OF_CONTENT: &[&str] =
    &["accept-ranges", "cache-control", "date", "etag", "expires", "last-modified", "vary"];

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn identity(&self, said: &IdentitySaid) -> Identity {
        let Some((place, auth)) = said.auth.at() else { return Identity::default() };
        let names = match auth {
            Either::Short(false) => Vec::new(),
            Either::Short(true) => {
                let problem = Problem::error(place, "must be false, or names of ways to authenticate");
                self.reader.add(problem.with_help("say which: `auth = \"NAME\"`, as in `[auth.NAME]`"));
                Vec::new()
            }
            Either::Long(names) => {
                for name in names.iter().filter(|name| !self.auths.contains(&name.value)) {
                    let known = self.auths.iter().map(String::as_str);
                    self.unknown("way to authenticate", &name.value, name.place, known);
                }
                if names.is_empty() && !said.auth.is_wrong {
                    let problem = Problem::error(place, "names no way to authenticate");
                    self.reader.add(problem.with_help("`auth = false` lets everybody in"));
                }
                names.iter().map(|name| name.value.clone()).collect()
            }
        };
        Identity { auth: Some(names) }
    }

    /// Those that have names.
    pub(super) fn auths(&self, said: &Said<Map<AuthSaid>>) -> Vec<Auth> {
        let entries = said.value.iter().flat_map(|map| &map.entries);
        entries.filter_map(|(name, auth)| self.auth(name, auth)).collect()
    }

    fn auth(&self, name: &At<String>, at: &At<AuthSaid>) -> Option<Auth> {
        let said = &at.value;
        let kinds: Vec<(&str, Place)> =
            [("basic", said.basic.key), ("bearer", said.bearer.key), ("forward", said.forward.key)]
                .into_iter()
                .filter_map(|(kind, place)| Some((kind, place?)))
                .collect();
        match &kinds[..] {
            [] if said.unknown > 0 => {}
            [] => self.reader.error(name.place, "has none of `basic`, `bearer` and `forward`"),
            [(kind, _)] => self.refuse_without(said, kind),
            [(first, _), others @ ..] => {
                for (other, place) in others {
                    self.reader.error(*place, format!("`{other}` cannot stand beside `{first}`"));
                }
            }
        }
        let realm = said.realm.value.clone().unwrap_or_else(|| name.value.clone());
        if let Some((place, realm)) = said.realm.at()
            && (realm.len() > 255 || !realm.bytes().all(|byte| matches!(byte, b' '..=b'~')))
        {
            self.reader.error(place, "has at most 255 bytes, all of them printable ASCII");
        }
        let user_header = said.user_header.value.as_ref().filter(|name| self.check_user_header(name));
        let kind = match (&said.basic.value, &said.bearer.value, &said.forward.at()) {
            (Some(file), ..) => self.basic(said, file)?,
            (_, Some(list), _) => self.bearer(said, list)?,
            (.., Some((place, forward))) => AuthKind::Forward(Box::new(self.forward(*place, forward)?)),
            _ => return None,
        };
        Some(Auth {
            name: name.value.clone(),
            realm,
            user_header: user_header.map(|name| name.value.clone()),
            pass_credentials: said.pass_credentials.value.unwrap_or(false),
            kind,
        })
    }

    /// Whether the upstream can be told in a field of that name who it is.
    fn check_user_header(&self, name: &At<String>) -> bool {
        let is_credential = name.value.eq_ignore_ascii_case("authorization");
        if is_credential {
            let problem = Problem::error(name.place, "Authorization has credentials in it, not who it is");
            self.reader.add(problem.with_help("`pass-credentials` has the upstream get it"));
        }
        !is_credential && self.check_gained(name)
    }

    /// Says what has no use beside that.
    fn refuse_without(&self, said: &AuthSaid, kind: &str) {
        let of_passwords = (kind != "basic").then_some(("remember", said.remember.key));
        let of_service = [("realm", said.realm.key), ("pass-credentials", said.pass_credentials.key)];
        let of_service = of_service.into_iter().filter(|_| kind == "forward");
        for (key, place) in of_passwords.into_iter().chain(of_service) {
            if let Some(place) = place {
                self.reader.error(place, format!("`{key}` has no use beside `{kind}`"));
            }
        }
    }

    fn basic(&self, said: &AuthSaid, file: &At<String>) -> Option<AuthKind> {
        let Some(path) = file.value.strip_prefix("file:") else {
            let problem = Problem::error(file.place, "is no file: `file:PATH` is wanted");
            self.reader.add(problem.with_help("hashes of passwords stand in a file that few can read"));
            return None;
        };
        let (file, users) =
            self.listed(file.place, path, Users::read, |users| users.is_empty().then_some("users"))?;
        let remember = match &said.remember.value {
            None => REMEMBER_DEFAULT,
            Some(OrOff::Off) => Duration::ZERO,
            Some(OrOff::On(span)) => span.0,
        };
        if remember > REMEMBER_MAX
            && let Some(place) = said.remember.place
        {
            self.reader
                .error(place, "must be at most 1h, for so long a password that was changed may be used");
        }
        Some(AuthKind::Basic { file, users: Arc::new(users), remember })
    }

    fn bearer(&self, said: &AuthSaid, list: &[At<String>]) -> Option<AuthKind> {
        if let [only] = list
            && let Some(path) = only.value.strip_prefix("file:")
        {
            let lacks = |tokens: &Tokens| tokens.all().is_empty().then_some("tokens");
            let (file, tokens) = self.listed(only.place, path, Tokens::read, lacks)?;
            return Some(AuthKind::Bearer { file: Some(file), tokens: Arc::new(tokens) });
        }
        if list.is_empty()
            && let Some(place) = said.bearer.place.filter(|_| !said.bearer.is_wrong)
        {
            self.reader.error(place, "has no tokens in it, so that nobody would be let in");
        }
        let mut tokens = Vec::new();
        for text in list {
            match Token::read(&text.value) {
                Ok(token) => tokens.push(token),
                Err(message) => {
                    let help = "printf %s TOKEN | sha256sum";
                    self.reader.add(Problem::error(text.place, message).with_help(help));
                }
            }
        }
        match Tokens::new(tokens) {
            Ok(tokens) => Some(AuthKind::Bearer { file: None, tokens: Arc::new(tokens) }),
            Err(message) => {
                self.reader.error(list.first()?.place, message);
                None
            }
        }
    }

    /// What is in a file that the configuration names; `lacks` says what of, if there is nothing in it.
    fn listed<T>(
        &self,
        place: Place,
        path: &str,
        read: fn(&str) -> Result<T, String>,
        lacks: impl Fn(&T) -> Option<&'static str>,
    ) -> Option<(PathBuf, T)> {
        let beside = self.sources.file(place).map_or(Path::new(""), |source| &source.path);
        let file = source::absolute(&source::beside(beside, path));
        match source::text(&file) {
            Ok(text) => match read(&text) {
                Ok(read) => {
                    if let Some(what) = lacks(&read).filter(|_| !has_comment(&text)) {
                        self.warn_of_empty(place, what, "nobody is let in by it");
                    }
                    return Some((file, read));
                }
                Err(message) => self.reader.error(place, format!("{}: {message}", quoted(path))),
            },
            Err(message) => self.reader.error(place, format!("{} {message}", quoted(path))),
        }
        None
    }

    fn forward(&self, place: Place, said: &ForwardSaid) -> Option<ForwardAuth> {
        for (key, is_there) in [("upstream", said.upstream.is_there()), ("path", said.path.is_there())] {
            if !is_there && said.unknown == 0 {
                self.reader.error(place, format!("has no `{key}`"));
            }
        }
        if let Some(upstream) = &said.upstream.value {
            self.check_upstream(&upstream.value, upstream.place);
        }
        let is_path =
            |path: &str| path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        if let Some(path) = said.path.value.as_ref().filter(|path| !is_path(&path.value)) {
            self.reader.error(path.place, "must begin with a slash, without blanks and fragment");
        }
        let method = said.method.value.as_ref();
        if let Some(method) = method
            && (!is_token(method.value.as_bytes()) || matches!(&*method.value, "CONNECT" | "TRACE"))
        {
            self.reader.error(method.place, format!("{} is no method to ask with", quoted(&method.value)));
        }
        let names = |names: &[At<String>], check: &dyn Fn(&At<String>) -> bool| {
            names.iter().filter(|name| check(name)).map(|name| name.value.clone()).collect()
        };
        let request_fields = match &said.request_header.value {
            None => REQUEST_FIELDS_DEFAULT.map(str::to_owned).to_vec(),
            Some(list) => names(list, &|name| self.check_told(name)),
        };
        let response_fields = said.response_header.value.as_deref().unwrap_or_default();
        let response_fields = names(response_fields, &|name| self.check_gained(name));
        let client_fields = said.client_header.value.as_deref().unwrap_or_default();
        let client_fields = names(client_fields, &|name| self.check_for_client(name));
        let sign_in = said.sign_in.value.as_ref().filter(|url| self.check_sign_in(url));
        let timeout = said.timeout.value.as_ref();
        if let Some(timeout) = timeout.filter(|timeout| timeout.value.0 > TIMEOUT_MAX) {
            self.reader.error(timeout.place, "must be at most 1m");
        }
        let bytes = said.max_response.value.as_ref();
        if let Some(bytes) = bytes.filter(|bytes| bytes.value.0 > RESPONSE_BYTES_MAX as u64) {
            self.reader.error(bytes.place, "must be at most 64KiB");
        }
        Some(ForwardAuth {
            upstream: said.upstream.value.as_ref()?.value.clone(),
            path: said.path.value.as_ref()?.value.clone(),
            method: match method.map(|method| &*method.value) {
                None => Some("GET".to_owned()),
                Some("client") => None,
                Some(method) => Some(method.to_owned()),
            },
            request_fields,
            response_fields,
            client_fields,
            sign_in: sign_in.map(|url| url.value.clone()),
            timeout: timeout.map_or(TIMEOUT_DEFAULT, |timeout| timeout.value.0),
            response_bytes_max: bytes
                .map_or(RESPONSE_BYTES_DEFAULT, |bytes| usize::try_from(bytes.value.0).unwrap_or(0)),
        })
    }

    /// Whether the request to the upstream may gain a field of that name.
    fn check_gained(&self, name: &At<String>) -> bool {
        let errors = self.reader.errors();
        if !is_token(name.value.as_bytes()) {
            self.reader.error(name.place, format!("{} is no name of a field", quoted(&name.value)));
        } else if FRAMING.iter().chain(OWN).any(|own| name.value.eq_ignore_ascii_case(own)) {
            self.reader.error(name.place, format!("{} is the proxy's own to write", quoted(&name.value)));
        } else {
            self.refuse_owned(&At { place: name.place, value: &name.value }, Message::Request, "set");
        }
        self.reader.errors() == errors
    }

    /// Whether the client may be told a field of that name by a service.
    fn check_for_client(&self, name: &At<String>) -> bool {
        let errors = self.reader.errors();
        let lower = name.value.to_ascii_lowercase();
        if !is_token(lower.as_bytes()) {
            self.reader.error(name.place, format!("{} is no name of a field", quoted(&name.value)));
        } else if lower.starts_with("content-") || OF_CONTENT.contains(&&*lower) {
            let message = format!("{} is about the service's own content", quoted(&name.value));
            self.reader.error(name.place, message);
        } else if FRAMING.contains(&&*lower) {
            self.reader.error(name.place, format!("{} is the proxy's own to write", quoted(&name.value)));
        } else {
            self.refuse_owned(&At { place: name.place, value: &name.value }, Message::Response, "set");
        }
        self.reader.errors() == errors
    }

    /// Whether browsers can be sent there.
    fn check_sign_in(&self, url: &At<String>) -> bool {
        let text = url.value.replace(URL_ASKED, "");
        let lower = text.to_ascii_lowercase();
        let leads = text.starts_with('/') || lower.starts_with("http://") || lower.starts_with("https://");
        let is_plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b));
        // In front of its query, it would be a part of the path, or of the host.
        let start = url.value.find(URL_ASKED).map(|at| &url.value[..at]);
        let is_value = start.is_none_or(|start| start.contains('?'));
        if !leads {
            self.reader.error(url.place, "must begin with http://, https:// or a slash");
        } else if !is_plain {
            self.reader.error(url.place, "has a character that no URL has; the only variable is `{url}`");
        } else if !is_value {
            self.reader
                .error(url.place, "has `{url}` in front of its query, where only a value can stand for it");
        }
        leads && is_plain && is_value
    }

    /// Whether a service may be told a field of that name as the client sent it.
    fn check_told(&self, name: &At<String>) -> bool {
        let bytes = name.value.as_bytes();
        let own = Name::is_of_forwarding(bytes) || Name::recognise(bytes).is_hop_by_hop();
        if own && !name.value.eq_ignore_ascii_case("proxy-authorization") {
            self.reader.error(name.place, format!("{} is the proxy's own to write", quoted(&name.value)));
            return false;
        }
        self.check_gained(name)
    }
}
