//! Who has to be known, as it is written.

use std::time::Duration;

use toml_edit::{Table, Value};

use super::value::{Section, list, one_or_list, size, table, text, time};
use crate::config::identity::{Auth, AuthKind, ForwardAuth, Identity};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Identity) {
    let Identity { auth } = settings;
    match auth.as_deref() {
        None => {}
        Some([]) => section.set("auth", false),
        Some(names) => section.set("auth", one_or_list(names.iter().map(text))),
    }
}

/// One that has a name. Hashes of tokens are no secrets, for nobody finds a token by its hash that was made by chance.
pub(super) fn print_auth(settings: &Auth) -> Table {
    let Auth { name: _, realm, user_header, pass_credentials, kind } = settings;
    let mut section = Section::default();
    match kind {
        AuthKind::Basic { file, users: _, remember } => {
            section.set("basic", text(&format!("file:{}", file.display())));
            let remember = if *remember == Duration::ZERO { "off".into() } else { time(*remember) };
            section.set("remember", remember);
        }
        AuthKind::Bearer { file: Some(file), tokens: _ } => {
            section.set("bearer", text(&format!("file:{}", file.display())));
        }
        AuthKind::Bearer { file: None, tokens } => {
            section.set("bearer", list(tokens.all().iter().map(text)));
        }
        AuthKind::Forward(forward) => section.set("forward", service(forward)),
    }
    if let Some(name) = user_header {
        section.set("user-header", text(name));
    }
    if !matches!(kind, AuthKind::Forward(_)) {
        section.set("realm", text(realm));
        section.set("pass-credentials", *pass_credentials);
    }
    section.into_table()
}

fn service(forward: &ForwardAuth) -> Value {
    let ForwardAuth {
        upstream,
        path,
        method,
        request_fields,
        response_fields,
        client_fields,
        sign_in,
        timeout,
        response_bytes_max,
    } = forward;
    let mut keys = vec![
        ("upstream", text(upstream)),
        ("path", text(path)),
        ("method", text(method.as_deref().unwrap_or("client"))),
        ("request-header", list(request_fields.iter().map(text))),
        ("response-header", list(response_fields.iter().map(text))),
        ("client-header", list(client_fields.iter().map(text))),
    ];
    keys.extend(sign_in.as_ref().map(|url| ("sign-in", text(url))));
    keys.extend([("timeout", time(*timeout)), ("max-response", size(*response_bytes_max))]);
    table(keys)
}
