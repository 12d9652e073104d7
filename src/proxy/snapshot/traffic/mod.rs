//! What a listener or a route does about traffic, as a core uses it.
//!
//! What is not used costs a look at an empty place.

mod browsers;
mod coding;
mod flow;
mod holding;
mod identity;
mod rules;
mod security;

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::proxy) use self::browsers::{BrowsersRules, CorsRules, Safety};
pub(in crate::proxy) use self::coding::CodingRules;
pub(in crate::proxy) use self::flow::FlowRules;
pub(in crate::proxy) use self::flow::table;
pub(in crate::proxy::snapshot) use self::flow::used;
pub(crate) use self::flow::{Rate, RateReport};
pub(in crate::proxy::snapshot) use self::holding::troubles;
pub(in crate::proxy) use self::holding::{HoldingRules, RequestRules, ResponseRules};
pub(in crate::proxy) use self::identity::{By, IdentityRules, Way};
pub(in crate::proxy) use self::rules::Chain;
pub(in crate::proxy::snapshot) use self::rules::Chains;
use self::rules::RuleSets;
pub(in crate::proxy) use self::security::SecurityRules;
use super::followed::Followed;
use super::registry::Registry;
use crate::config::{Settings, Traffic};
use crate::filter::access::Networks;
use crate::filter::bounds::Bounds;

/// What rules are made from, beside what a listener or a route says.
pub(super) struct Made<'a> {
    /// All settings, for what is named.
    pub(super) settings: &'a Settings,
    /// What outlives configurations.
    pub(super) registry: &'a Registry,
    /// Lists of networks that are followed: many routes may name the same one.
    pub(super) networks: RefCell<HashMap<PathBuf, Arc<Followed<Networks>>>>,
    /// The chains of rules so far.
    pub(super) chains: RefCell<Chains>,
}

/// See the module.
#[derive(Clone)]
pub(in crate::proxy) struct TrafficRules {
    pub(in crate::proxy) security: Option<Box<SecurityRules>>,
    pub(in crate::proxy) rules: Option<Box<RuleSets>>,
    pub(in crate::proxy) browsers: Option<Box<BrowsersRules>>,
    pub(in crate::proxy) identity: Option<Box<IdentityRules>>,
    pub(in crate::proxy) flow: Option<Box<FlowRules>>,
    pub(in crate::proxy) coding: Option<Box<CodingRules>>,
    pub(in crate::proxy) holding: Option<Box<HoldingRules>>,
}

impl TrafficRules {
    pub(super) fn new(traffic: &Traffic, made: &Made<'_>) -> TrafficRules {
        TrafficRules {
            security: SecurityRules::new(&traffic.security, made).map(Box::new),
            rules: RuleSets::new(&traffic.rules, made).map(Box::new),
            browsers: BrowsersRules::new(&traffic.browsers, made).map(Box::new),
            identity: IdentityRules::new(&traffic.identity, made).map(Box::new),
            flow: FlowRules::new(&traffic.flow, made).map(Box::new),
            coding: CodingRules::new(&traffic.coding, made).map(Box::new),
            holding: HoldingRules::new(&traffic.holding, made).map(Box::new),
        }
    }

    /// Bounds on requests.
    pub(in crate::proxy) fn bounds(&self) -> Option<&Bounds> {
        self.security.as_ref()?.bounds.as_ref()
    }

    /// Whether requests are checked before they are served.
    pub(in crate::proxy) fn checks(&self) -> bool {
        self.security.is_some()
            || self.rules.is_some()
            || self.browsers.is_some()
            || self.identity.is_some()
            || self.flow.is_some()
    }
}
