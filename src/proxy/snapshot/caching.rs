//! What the cache does with a request and its response.

use std::time::Duration;

use crate::cache::freshness::Defaults;
use crate::cache::policy::Grace;
use crate::config::CacheSettings;
use crate::config::route::CacheRule;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CacheRules {
    /// Whether it has anything to do with the request.
    pub(crate) on: bool,
    pub(crate) defaults: Defaults,
    pub(crate) grace: Grace,
    pub(crate) response_bytes_max: usize,
    pub(crate) wait: Duration,
}

impl CacheRules {
    /// Where there is none.
    pub(crate) const OFF: CacheRules = CacheRules {
        on: false,
        defaults: Defaults::NONE,
        grace: Grace { stale_while_revalidate_s: 0, stale_if_error_s: 0 },
        response_bytes_max: 0,
        wait: Duration::ZERO,
    };

    pub(super) fn new(settings: &CacheSettings) -> CacheRules {
        let grace_s = settings.grace.map_or(0, |grace| grace.as_secs());
        CacheRules {
            on: true,
            defaults: Defaults { ttl_s: settings.ttl.map(|ttl| ttl.as_secs()), ..Defaults::NONE },
            grace: Grace { stale_while_revalidate_s: grace_s, stale_if_error_s: grace_s },
            response_bytes_max: settings.response_bytes_max,
            wait: settings.wait,
        }
    }

    /// The same, where a route says otherwise.
    pub(super) fn under(self, rule: &CacheRule) -> CacheRules {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let grace = seconds(rule.grace)
            .map(|grace_s| Grace { stale_while_revalidate_s: grace_s, stale_if_error_s: grace_s });
        CacheRules {
            on: self.on && rule.on,
            defaults: Defaults {
                ttl_s: seconds(rule.ttl).or(self.defaults.ttl_s),
                override_ttl_s: seconds(rule.override_ttl),
                refuses_cookies: !rule.set_cookie,
            },
            grace: grace.unwrap_or(self.grace),
            ..self
        }
    }
}
