//! What is checked of requests: networks, and bounds, as it is written.

use toml_edit::Value;

use super::value::{Section, list, number, size, table, text};
use crate::config::security::{Access, RequestLimits, Security};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Security) {
    let Security { access, limits } = settings;
    if let Some(said) = access {
        section.set("access", print_access(said));
    }
    if let Some(limits) = limits {
        section.set("request-limits", print_limits(limits));
    }
}

fn print_access(access: &Access) -> Value {
    let Access { allow, deny } = access;
    let said = [("allow", allow), ("deny", deny)].into_iter().filter(|(_, clients)| !clients.is_empty());
    table(said.map(|(key, clients)| (key, list(clients.entries().map(|entry| text(&entry))))))
}

fn print_limits(limits: &RequestLimits) -> Value {
    let RequestLimits {
        methods,
        target_bytes_max,
        query_bytes_max,
        parameters_max,
        field_bytes_max,
        fields_max,
        content_types,
    } = limits;
    let names = |names: &[String]| (!names.is_empty()).then(|| list(names.iter().map(text)));
    let said = [
        ("method", names(methods)),
        ("max-target", target_bytes_max.map(size)),
        ("max-query", query_bytes_max.map(size)),
        ("max-parameters", parameters_max.map(number)),
        ("max-field", field_bytes_max.map(size)),
        ("max-fields", fields_max.map(number)),
        ("content-type", names(content_types)),
    ];
    table(said.into_iter().filter_map(|(key, value)| Some((key, value?))))
}
