//! What a listener or a route does about traffic: whom and what it lets in, how much of it, and how content travels.

use super::browsers::Browsers;
use super::coding::Coding;
use super::flow::Flow;
use super::holding::Holding;
use super::identity::Identity;
use super::rules::Rules;
use super::security::Security;

/// See the module. By default nothing is done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Which requests are let in.
    pub security: Security,
    /// What rules they are held against.
    pub rules: Rules,
    /// What browsers are told.
    pub browsers: Browsers,
    /// Who has to be known.
    pub identity: Identity,
    /// How much may come, and how fast.
    pub flow: Flow,
    /// How content is compressed.
    pub coding: Coding,
    /// What is held until it is whole.
    pub holding: Holding,
}
