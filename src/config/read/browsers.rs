//! What browsers are told.

use std::time::Duration;

use super::Known;
use super::edits::Message;
use super::said::Either;
use super::said_browsers::{
    BrowsersSaid, CorsSaid, CorsTable, HideSaid, HstsSaid, Preset, SecurityHeadersTable,
};
use crate::config::browsers::{
    Browsers, CorsSettings, Hsts, Origins, Own, SecurityHeaders, TELLTALES, is_name,
};
use crate::config::problem::{Problem, quoted};
use crate::config::table::{At, Said};

/// The least that lists of hosts which browsers have built in take.
const PRELOAD_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Methods that need no leave (Fetch, section 2.2.1).
const PLAIN_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

impl Known<'_, '_> {
    /// What a listener or a route says about it.
    pub(super) fn browsers(&self, said: &BrowsersSaid) -> Browsers {
        let security_headers = match &said.security_headers.value {
            None => Own::Unsaid,
            Some(Either::Short(false)) => Own::Off,
            Some(Either::Short(true)) => Own::On(SecurityHeaders::usual()),
            Some(Either::Long(Either::Short(preset))) => Own::On(of_preset(preset)),
            Some(Either::Long(Either::Long(table))) => Own::On(self.security_headers(table)),
        };
        Browsers { security_headers, hidden: self.hidden(&said.hide_headers), cors: self.cors(&said.cors) }
    }

    fn security_headers(&self, said: &SecurityHeadersTable) -> SecurityHeaders {
        let mut headers = said.preset.value.as_ref().map(of_preset).unwrap_or_default();
        match &said.hsts.value {
            None => {}
            Some(hsts) => headers.hsts = self.hsts(&said.hsts, hsts),
        }
        let word = |word: &'static str| (word != "off").then(|| word.to_owned());
        let mut set = |key, value: Option<Option<String>>| {
            if let Some(value) = value {
                headers.set(key, value);
            }
        };
        let SecurityHeadersTable { content_type_options, frame_options, referrer_policy, .. } = said;
        set("content-type-options", content_type_options.value.as_ref().map(|said| word(said.0)));
        let frames = frame_options.value.as_ref().map(|said| word(said.0).map(|word| word.to_uppercase()));
        set("frame-options", frames);
        set("referrer-policy", referrer_policy.value.as_ref().map(|said| word(said.0)));
        let text =
            |said: &Said<super::said_browsers::FieldText>| said.value.as_ref().map(|said| said.0.clone());
        set("content-security-policy", text(&said.content_security_policy));
        set("content-security-policy-report-only", text(&said.content_security_policy_report_only));
        set("permissions-policy", text(&said.permissions_policy));
        let opener = said.cross_origin_opener_policy.value.as_ref();
        set("cross-origin-opener-policy", opener.map(|said| word(said.0)));
        let embedder = said.cross_origin_embedder_policy.value.as_ref();
        set("cross-origin-embedder-policy", embedder.map(|said| word(said.0)));
        let resource = said.cross_origin_resource_policy.value.as_ref();
        set("cross-origin-resource-policy", resource.map(|said| word(said.0)));
        let domains = said.permitted_cross_domain_policies.value.as_ref();
        set("permitted-cross-domain-policies", domains.map(|said| word(said.0)));
        headers
    }

    fn hsts(&self, said: &Said<HstsSaid>, hsts: &HstsSaid) -> Option<Hsts> {
        let table = match hsts {
            Either::Short(time) => {
                let time = time.0?;
                return Some(Hsts { max_age: time, include_subdomains: false, preload: false });
            }
            Either::Long(table) => table,
        };
        let Some(max_age) = &table.max_age.value else {
            if let Some(place) = said.place.filter(|_| !table.max_age.is_wrong) {
                self.reader.error(place, "has no `max-age`");
            }
            return None;
        };
        let hsts = Hsts {
            max_age: max_age.0,
            include_subdomains: table.include_subdomains.value == Some(true),
            preload: table.preload.value == Some(true),
        };
        if hsts.preload
            && !(hsts.include_subdomains && hsts.max_age >= PRELOAD_TIME)
            && let Some(place) = table.preload.place
        {
            let why = "wants `include-subdomains = true`, and a `max-age` of a year at least";
            self.reader.error(place, why);
        }
        Some(hsts)
    }

    fn hidden(&self, said: &Said<HideSaid>) -> Own<Vec<String>> {
        match &said.value {
            None => Own::Unsaid,
            Some(Either::Short(false)) => Own::Off,
            Some(Either::Short(true)) => Own::On(TELLTALES.iter().map(|&name| name.to_owned()).collect()),
            Some(Either::Long(names)) if names.is_empty() => Own::Off,
            Some(Either::Long(names)) => {
                names.iter().for_each(|name| self.check_removed(name, Message::Response));
                Own::On(names.iter().map(|name| name.value.clone()).collect())
            }
        }
    }

    fn cors(&self, said: &Said<CorsSaid>) -> Own<CorsSettings> {
        match (&said.value, said.place) {
            (Some(Either::Short(true)), Some(place)) => {
                let problem = Problem::error(place, "says nothing about origins");
                let help = "say whose pages may ask, such as cors = { origin = \"https://app.example.com\" }";
                self.reader.add(problem.with_help(help));
                Own::Unsaid
            }
            (Some(Either::Short(_)), _) => Own::Off,
            (Some(Either::Long(table)), Some(place)) => {
                if table.origin.value.as_ref().is_none_or(Vec::is_empty) && !table.origin.is_wrong {
                    self.reader.error(table.origin.place.unwrap_or(place), "says nothing about origins");
                }
                Own::On(self.cors_table(table))
            }
            _ => Own::Unsaid,
        }
    }

    fn cors_table(&self, said: &CorsTable) -> CorsSettings {
        let origins = || said.origin.value.iter().flatten();
        let credentials = said.credentials.value == Some(true);
        if let Some(any) = origins().find(|origin| origin.value.0 == Origins::Any).filter(|_| credentials) {
            let problem = Problem::error(any.place, "cannot stand beside `credentials = true`");
            let help =
                "every page that a user opens could then read what is the user's own; name the origins";
            self.reader.add(problem.with_help(help));
        }
        if let Some(all) = said.expose.value.iter().flatten().find(|name| name.value == "*" && credentials) {
            let message = "means a field of that name beside `credentials = true`, and not all of them";
            self.reader.error(all.place, message);
        }
        let names = |said: &Said<Vec<At<String>>>, what: &str| {
            for name in said.value.iter().flatten() {
                if name.value != "*" && !is_name(&name.value) {
                    self.reader.error(name.place, format!("{} is no {what}", quoted(&name.value)));
                }
            }
            let names = said.value.iter().flatten().map(|name| name.value.clone());
            names.collect::<Vec<_>>()
        };
        let methods = match names(&said.method, "method") {
            names if names.is_empty() => PLAIN_METHODS.map(str::to_owned).to_vec(),
            names => names,
        };
        CorsSettings {
            origins: origins().map(|origin| origin.value.0.clone()).collect(),
            methods,
            headers: names(&said.header, "name of a field"),
            exposed: names(&said.expose, "name of a field"),
            credentials,
            max_age: said.max_age.value.map(|time| time.0),
            private_network: said.private_network.value == Some(true),
        }
    }
}

fn of_preset(preset: &Preset) -> SecurityHeaders {
    match preset.0 {
        "strict" => SecurityHeaders::strict(),
        _ => SecurityHeaders::usual(),
    }
}
