//! What browsers are told, as it is written.

use toml_edit::Value;

use super::value::{Section, list, table, text, time};
use crate::config::browsers::{Browsers, CorsSettings, Hsts, Own, SAFETY_FIELDS, SecurityHeaders};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Browsers) {
    let Browsers { security_headers, hidden, cors } = settings;
    own(section, "security-headers", security_headers, headers);
    own(section, "hide-headers", hidden, |names| list(names.iter().map(text)));
    own(section, "cors", cors, rule);
}

fn own<T>(section: &mut Section, key: &str, own: &Own<T>, written: impl Fn(&T) -> Value) {
    match own {
        Own::Unsaid => {}
        Own::Off => section.set(key, false),
        Own::On(value) => section.set(key, written(value)),
    }
}

fn headers(said: &SecurityHeaders) -> Value {
    let SecurityHeaders { hsts, fields } = said;
    let field = |(place, value): &(usize, String)| {
        let key = SAFETY_FIELDS.get(*place).map_or("", |(key, _)| key);
        // The value of this one is written in capitals, and its key is not.
        let value = if key == "frame-options" { value.to_lowercase() } else { value.clone() };
        (key, text(&value))
    };
    table(hsts.iter().map(|hsts| ("hsts", transport(hsts))).chain(fields.iter().map(field)))
}

fn transport(hsts: &Hsts) -> Value {
    let Hsts { max_age, include_subdomains, preload } = *hsts;
    table([
        ("max-age", time(max_age)),
        ("include-subdomains", include_subdomains.into()),
        ("preload", preload.into()),
    ])
}

fn rule(cors: &CorsSettings) -> Value {
    let CorsSettings { origins, methods, headers, exposed, credentials, max_age, private_network } = cors;
    let mut said = vec![
        ("origin", list(origins.iter().map(text))),
        ("method", list(methods.iter().map(text))),
        ("header", list(headers.iter().map(text))),
        ("expose", list(exposed.iter().map(text))),
        ("credentials", (*credentials).into()),
    ];
    said.extend(max_age.map(|max_age| ("max-age", time(max_age))));
    said.push(("private-network", (*private_network).into()));
    table(said)
}
