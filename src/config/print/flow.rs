//! How much may come, and how fast, as it is written.

use toml_edit::Table;

use super::value::{Section, number, one_or_list, size, text, time};
use crate::config::flow::{Bandwidth, Flow, Rate, RateFields};

/// What a listener or a route says.
pub(super) fn print(section: &mut Section, settings: &Flow) {
    let Flow { rates, bandwidth } = settings;
    if !rates.is_empty() {
        section.set("rate", one_or_list(rates.iter().map(text)));
    }
    if let Some(Bandwidth { rate, after }) = bandwidth {
        let speed = size(rate.0);
        section.set("bandwidth", format!("{}/s", speed.as_str().unwrap_or_default()));
        section.set("bandwidth-after", size(*after));
    }
}

/// One that has a name.
pub(super) fn print_rate(settings: &Rate) -> Table {
    let Rate {
        name: _,
        per,
        burst,
        by,
        v4_prefix,
        v6_prefix,
        delay,
        keys,
        status,
        without,
        fields,
        detect_only,
    } = settings;
    let mut section = Section::default();
    section.set("rate", text(per));
    section.set("burst", i64::from(*burst));
    section.set("by", one_or_list(by.iter().map(text)));
    section.set("v4-prefix", i64::from(*v4_prefix));
    section.set("v6-prefix", i64::from(*v6_prefix));
    section.set_or_say("delay", (!delay.is_zero()).then(|| time(*delay)), "none");
    section.set("keys", number(*keys));
    section.set("status", i64::from(*status));
    if settings.may_lack() {
        section.set("without", text(without));
    }
    match fields {
        RateFields::Off => section.set("fields", false),
        RateFields::Refusals => section.set("fields", true),
        RateFields::Always => section.set("fields", "always"),
    }
    section.set("detect-only", *detect_only);
    section.into_table()
}
