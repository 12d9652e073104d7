//! Routes: what becomes of which requests.

use std::time::Duration;

use super::Known;
use super::edits::Message;
use super::files::check_name;
use super::said::{CacheTable, Either, MirrorTable, RedirectTable, RespondTable, RouteSaid, UpstreamChoice};
use super::upstreams;
use crate::config::cache::{LIFETIME_MIN, LIFETIME_TOO_SHORT};
use crate::config::problem::Problem;
use crate::config::quantity::Span;
use crate::config::route::{
    Action, CacheRule, FieldEdits, FixedResponse, KeyQuery, Mirror, Rewrite, Split, SplitBy,
};
use crate::config::source::Place;
use crate::config::table::{At, Said};
use crate::config::template::Template;
use crate::config::{RouteSettings, Traffic, route::ErrorPages};
use crate::http::fields::is_token;
use crate::limits::{ERROR_PAGE_BYTES_MAX, RouteLimits};

/// The type of a fixed response where none is said.
const TYPE_DEFAULT: &str = "text/plain; charset=utf-8";

/// What no status but these can lack: content (RFC 9110, sections 15.3.5, 15.3.6 and 15.4.5).
const WITHOUT_CONTENT: &[u16] = &[204, 205, 304];

/// The name of a route without one: `at` counts from 0.
pub(super) fn name(said: &RouteSaid, at: usize) -> String {
    said.name.value.clone().unwrap_or_else(|| format!("route-{}", at + 1))
}

/// The route of `origin`: it takes what no other takes.
pub fn of_origin() -> RouteSettings {
    let split = Split { shares: vec![(upstreams::DEFAULT.to_owned(), 1)], by: SplitBy::Chance };
    RouteSettings {
        name: upstreams::DEFAULT.to_owned(),
        hosts: Vec::new(),
        paths: Vec::new(),
        conditions: Vec::new(),
        action: Action::Forward(split),
        rewrite: Rewrite::default(),
        request_fields: FieldEdits::default(),
        response_fields: FieldEdits::default(),
        cache: CacheRule::default(),
        mirror: None,
        limits: RouteLimits::default(),
        traffic: Traffic::default(),
        error_pages: ErrorPages::new(),
    }
}

impl Known<'_, '_> {
    /// Makes a route.
    pub(super) fn route(&self, route: &At<RouteSaid>, at: usize) -> RouteSettings {
        let said = &route.value;
        if let Some((place, name)) = said.name.at() {
            check_name(&At { place, value: name }, self.reader);
        }
        let paths = self.paths(&said.when);
        // Where a path is wrong, nobody knows what it would have captured.
        let when = &said.when;
        let is_sure = !(when.path.is_wrong || when.path_prefix.is_wrong || when.path_regex.is_wrong);
        let captures = |template: &At<&Template>| {
            if is_sure {
                self.check_captures(template, &paths);
            }
        };
        let action = self.action(route, &captures);
        RouteSettings {
            name: name(said, at),
            hosts: self.hosts(when),
            conditions: self.conditions(when),
            action,
            rewrite: self.rewrite(said, &captures),
            request_fields: self.field_edits(&said.request_header, Message::Request, &captures),
            response_fields: self.field_edits(&said.response_header, Message::Response, &captures),
            cache: self.cache_rule(said),
            mirror: self.mirror(said),
            limits: limits(said),
            traffic: self.of_route(said),
            error_pages: self.error_pages(&said.error_page),
            paths,
        }
    }

    fn action(&self, route: &At<RouteSaid>, captures: &dyn Fn(&At<&Template>)) -> Action {
        let said = &route.value;
        let actions: Vec<(&str, Place)> = [
            ("upstream", said.upstream.key),
            ("redirect", said.redirect.key),
            ("respond", said.respond.key),
            ("deny", said.deny.key),
        ]
        .into_iter()
        .filter_map(|(name, place)| Some((name, place?)))
        .collect();
        match &actions[..] {
            // An unknown key may be the one that was meant.
            [] if said.unknown > 0 => {}
            [] => self.reader.error(
                route.place,
                "does nothing: a route has one of `upstream`, `redirect`, `respond` and `deny`",
            ),
            [("upstream", _)] => {}
            [(name, _)] => self.refuse_without_upstream(said, name),
            [(first, _), others @ ..] => {
                for (other, place) in others {
                    self.reader.error(*place, format!("`{other}` cannot stand beside `{first}`"));
                }
            }
        }
        let nothing = Action::Deny { status: 403 };
        if let Some((place, choice)) = said.upstream.at() {
            return Action::Forward(self.split(said, place, choice));
        }
        if let Some((place, redirect)) = said.redirect.at() {
            let (to, status) = match redirect {
                Either::Short(to) => (Some(to), None),
                Either::Long(RedirectTable { to, status, unknown, .. }) => {
                    if !to.is_there() && *unknown == 0 {
                        self.reader.error(place, "has no `to`");
                    }
                    (to.value.as_ref(), status.value)
                }
            };
            let Some(to) = to else { return nothing };
            captures(&At { place: to.place, value: &to.value });
            self.check_location(to);
            return Action::Redirect { to: to.value.clone(), status: status.map_or(302, |status| status.0) };
        }
        if let Some((place, respond)) = said.respond.at() {
            return Action::Respond(match respond {
                Either::Short(body) => {
                    let at = Said { place: Some(place), value: Some(body.clone()), ..Said::default() };
                    self.response(&RespondTable { body: at, ..RespondTable::default() }, captures)
                }
                Either::Long(table) => self.response(table, captures),
            });
        }
        match said.deny.at() {
            Some((place, Either::Short(false))) => {
                self.reader.error(place, "must be true or a number from 400 to 599, or not there");
                nothing
            }
            Some((_, Either::Long(status))) => Action::Deny { status: status.number() },
            _ => nothing,
        }
    }

    /// Says what has no use in a route that asks no upstream.
    fn refuse_without_upstream(&self, said: &RouteSaid, action: &str) {
        for (key, place) in [
            ("split-by", said.split_by.key),
            ("strip-prefix", said.strip_prefix.key),
            ("rewrite", said.rewrite.key),
            ("add-prefix", said.add_prefix.key),
            ("query-edit", said.query_edit.key),
            ("forward-path", said.forward_path.key),
            ("mirror", said.mirror.key),
            ("cache", said.cache.key),
            ("request-header", said.request_header.key),
            ("connect-timeout", said.connect_timeout.key),
            ("first-byte-timeout", said.first_byte_timeout.key),
            ("upstream-timeout", said.upstream_timeout.key),
            ("tunnel-timeout", said.tunnel_timeout.key),
            ("retries", said.retries.key),
        ] {
            if let Some(place) = place {
                self.reader
                    .error(place, format!("`{key}` has no use beside `{action}`, which asks no upstream"));
            }
        }
    }

    fn split(&self, said: &RouteSaid, place: Place, choice: &UpstreamChoice) -> Split {
        let shares: Vec<(String, u32)> = match choice {
            Either::Short(name) => {
                self.check_upstream(name, place);
                vec![(name.clone(), 1)]
            }
            Either::Long(map) => {
                map.entries.iter().for_each(|(name, _)| self.check_upstream(&name.value, name.place));
                map.entries.iter().map(|(name, weight)| (name.value.clone(), weight.value.number())).collect()
            }
        };
        if shares.is_empty() && !said.upstream.is_wrong {
            self.reader.error(place, "names no upstream");
        } else if !said.upstream.is_wrong && shares.iter().all(|(_, weight)| *weight == 0) {
            self.reader.error(place, "all weights are 0, so that no upstream would get anything");
        }
        if let [_] = &shares[..]
            && let Some(place) = said.split_by.key
        {
            self.reader.add(Problem::warning(place, "`split-by` has no effect with one upstream"));
        }
        Split { shares, by: said.split_by.value.clone().unwrap_or_default() }
    }

    pub(super) fn check_upstream(&self, name: &str, place: Place) {
        if !self.upstreams.iter().any(|known| known == name) {
            self.unknown("upstream", name, place, self.upstreams.iter().map(String::as_str));
        }
    }

    /// Where a redirect leads: a URL, or a path from the root.
    pub(super) fn check_location(&self, to: &At<Template>) {
        use crate::config::template::Part;
        let leads_somewhere = match to.value.parts().first() {
            Some(Part::Text(text)) => {
                let lower = text.to_ascii_lowercase();
                text.starts_with('/') || lower.starts_with("http://") || lower.starts_with("https://")
            }
            Some(Part::Variable(_)) => true,
            None => false,
        };
        if !leads_somewhere {
            self.reader.error(to.place, "must begin with http://, https://, a slash or a variable");
        }
    }

    fn response(&self, table: &RespondTable, captures: &dyn Fn(&At<&Template>)) -> FixedResponse {
        let status = table.status.value.map_or(200, |status| status.number());
        self.check_content_type(&table.content_type);
        if let Some((place, body)) = table.body.at() {
            let template = &body.value.0;
            captures(&At { place: body.place, value: template });
            if template.to_string().len() > ERROR_PAGE_BYTES_MAX {
                self.reader.error(place, format!("is longer than {ERROR_PAGE_BYTES_MAX} bytes"));
            }
            if WITHOUT_CONTENT.contains(&status) && template.literal() != Some("") {
                self.reader.error(place, format!("a response with status {status} has no content"));
            }
        }
        FixedResponse {
            status,
            content_type: table.content_type.value.clone().unwrap_or_else(|| TYPE_DEFAULT.to_owned()),
            body: table.body.value.as_ref().map(|body| body.value.0.clone()).unwrap_or_default(),
        }
    }

    fn mirror(&self, said: &RouteSaid) -> Option<Mirror> {
        const ALL: u16 = 10_000;
        let (place, mirror) = said.mirror.at()?;
        let (upstream, share) = match mirror {
            Either::Short(upstream) => (Some(upstream), ALL),
            Either::Long(MirrorTable { upstream, share, unknown, .. }) => {
                if !upstream.is_there() && *unknown == 0 {
                    self.reader.error(place, "has no `upstream`");
                }
                (upstream.value.as_ref(), share.value.as_ref().map_or(ALL, |share| share.0))
            }
        };
        let upstream = upstream?;
        self.check_upstream(&upstream.value, upstream.place);
        Some(Mirror { upstream: upstream.value.clone(), share })
    }

    fn cache_rule(&self, said: &RouteSaid) -> CacheRule {
        let table = match &said.cache.value {
            None => return CacheRule::default(),
            Some(Either::Short(on)) => return CacheRule { on: *on, ..CacheRule::default() },
            Some(Either::Long(table)) => table,
        };
        let CacheTable { ttl, override_ttl, grace, query, header, cookie, tag, set_cookie, .. } = table;
        for name in header.value.iter().chain(&cookie.value).flatten() {
            if !is_token(name.value.as_bytes()) {
                self.reader.error(name.place, format!("{:?} is no name", name.value));
            }
        }
        for tag in tag.value.iter().flatten() {
            // Tags stand in fields between blanks and commas.
            if tag.value.is_empty() || !tag.value.bytes().all(|b| b.is_ascii_graphic() && b != b',') {
                self.reader.error(tag.place, format!("{:?} is no tag", tag.value));
            }
        }
        let query = match &query.value {
            None | Some(Either::Short(true)) => KeyQuery::All,
            Some(Either::Short(false)) => KeyQuery::None,
            Some(Either::Long(Either::Short(names))) => KeyQuery::Only(self.parameters(names)),
            Some(Either::Long(Either::Long(table))) => {
                KeyQuery::Except(self.parameters(self.some(&table.except)))
            }
        };
        let names = |said: &Said<Vec<At<String>>>| {
            said.value.iter().flatten().map(|name| name.value.clone()).collect()
        };
        CacheRule {
            on: true,
            ttl: self.lifetime(ttl),
            override_ttl: self.lifetime(override_ttl),
            grace: self.lifetime(grace),
            query,
            headers: names(header),
            cookies: names(cookie),
            tags: names(tag),
            set_cookie: set_cookie.value.unwrap_or(true),
        }
    }

    fn parameters(&self, names: &[At<String>]) -> Vec<String> {
        names.iter().for_each(|name| self.check_pattern(name));
        names.iter().map(|name| name.value.clone()).collect()
    }

    fn lifetime(&self, said: &Said<Span>) -> Option<Duration> {
        let (place, span) = said.at()?;
        if span.0 < LIFETIME_MIN {
            self.reader.error(place, LIFETIME_TOO_SHORT);
        }
        Some(span.0)
    }
}

fn limits(said: &RouteSaid) -> RouteLimits {
    let time = |said: &Said<Span>| said.value.map(|span| span.0);
    RouteLimits {
        body_bytes_max: said.max_body.value.map(|size| size.0),
        body_idle: time(&said.body_timeout),
        write_idle: time(&said.write_timeout),
        rate_min: said.min_rate.value.map(|rate| rate.0),
        tunnel_idle: time(&said.tunnel_timeout),
        connect: time(&said.connect_timeout),
        first_byte: time(&said.first_byte_timeout),
        upstream_idle: time(&said.upstream_timeout),
        retries_max: said.retries.value,
    }
}
