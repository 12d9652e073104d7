//! What browsers are told. The keys of listeners and routes.

use std::time::Duration;

use super::said::{Either, forms};
use crate::config::browsers::{self, Origins};
use crate::config::keys::Kind;
use crate::config::quantity::Within;
use crate::config::table::{At, FromValue, Reader, Value, tables};

tables! {
    /// What browsers are told
    BrowsersSaid = BROWSERS "browser" {
        /// Fields about safety, which responses get that do not bring them: `true` for what hardly any site has a problem
        /// with, `strict` for more, or a table; `false` for none
        security_headers: SecurityHeadersSaid,
        /// Fields that responses lose: names, or starts with a `*`; `true` for Server, X-Powered-By and their kin. The
        /// proxy's own Server goes with the others
        hide_headers: HideSaid,
        /// What pages of other origins may ask; the proxy answers what browsers ask about it, and what the upstream says
        /// of it is taken away. `false` leaves it to the upstream
        cors: CorsSaid,
    }

    /// Fields about safety; `off` takes one of the preset away
    SecurityHeadersTable = SECURITY_HEADERS "security header" {
        /// What holds where the keys below say nothing: `usual` is what `true` stands for [default: nothing]
        preset: Preset,
        /// For how long browsers come by https alone, such as `1y`, or a table; `0s` has them forget it. Only
        /// who comes by https gets the field
        hsts: HstsSaid,
        /// X-Content-Type-Options
        content_type_options: ContentTypeOptions,
        /// X-Frame-Options
        frame_options: FrameOptions,
        /// Referrer-Policy
        referrer_policy: ReferrerPolicy,
        /// Content-Security-Policy, such as `default-src 'self'`
        content_security_policy: FieldText,
        /// Content-Security-Policy-Report-Only
        content_security_policy_report_only: FieldText,
        /// Permissions-Policy, such as `camera=()`
        permissions_policy: FieldText,
        /// Cross-Origin-Opener-Policy
        cross_origin_opener_policy: OpenerPolicy,
        /// Cross-Origin-Embedder-Policy
        cross_origin_embedder_policy: EmbedderPolicy,
        /// Cross-Origin-Resource-Policy
        cross_origin_resource_policy: ResourcePolicy,
        /// X-Permitted-Cross-Domain-Policies
        permitted_cross_domain_policies: CrossDomainPolicies,
    }

    /// For how long browsers come by https alone
    HstsTable = HSTS "transport security" {
        /// For how long, such as `1y`
        max_age: HstsTime,
        /// Whether that holds for all hosts below too [default: false]
        include_subdomains: bool,
        /// Whether browsers may have the host built in; that wants a year, and all hosts below [default: false]
        preload: bool,
    }

    /// What pages of other origins may ask
    CorsTable = CORS "cross-origin rule" {
        /// Origins whose pages may: `https://app.example.com`, `https://*.example.com` for all below, `null`, or `*`
        origin: Vec<At<OriginSaid>>,
        /// Methods that they may use, or `*` [default: GET, HEAD and POST]
        method: Vec<At<String>>,
        /// Fields that they may send, or `*` [default: those that need no leave]
        header: Vec<At<String>>,
        /// Fields that they may see, or `*` [default: those that need no leave]
        expose: Vec<At<String>>,
        /// Whether cookies and other credentials go with it [default: false]
        credentials: bool,
        /// How long a browser may remember the answer, up to a day [default: 5s, in most browsers]
        max_age: Within<1_000, { 24 * 3_600_000 }>,
        /// Whether pages on the internet may ask though this is a private network [default: false]
        private_network: bool,
    }
}

/// Whether at all, or which.
pub(super) type SecurityHeadersSaid = Either<bool, Either<Preset, Box<SecurityHeadersTable>>>;
/// Whether at all, or which.
pub(super) type HideSaid = Either<bool, Vec<At<String>>>;
/// Whether at all, or what.
pub(super) type CorsSaid = Either<bool, Box<CorsTable>>;
/// How long, or with more.
pub(super) type HstsSaid = Either<HstsShort, HstsTable>;

forms! {
    /// What holds where nothing else is said.
    Preset(&'static str) = Kind::Choice(&["usual", "strict"]), |text| one_of(Preset::KIND, text);
    /// How long browsers come by https alone, or that nothing is said of it.
    HstsShort(Option<Duration>) = Kind::Duration, |text| match text {
        "off" => Ok(None),
        text => hsts_time(text).map(Some),
    };
    /// How long browsers come by https alone.
    HstsTime(Duration) = Kind::Duration, hsts_time;
    /// Some origins.
    OriginSaid(Origins) = Kind::Text("https://app.example.com"), Origins::parse;
    /// The value of a field.
    FieldText(Option<String>) = Kind::Text("default-src 'self'"), browsers::value;
    /// X-Content-Type-Options.
    ContentTypeOptions(&'static str) = Kind::Choice(&["nosniff", "off"]), |text| one_of(ContentTypeOptions::KIND, text);
    /// X-Frame-Options (RFC 7034).
    FrameOptions(&'static str) = Kind::Choice(&["deny", "sameorigin", "off"]), |text| one_of(FrameOptions::KIND, text);
    /// Referrer-Policy.
    ReferrerPolicy(&'static str) = Kind::Choice(&[
        "no-referrer",
        "no-referrer-when-downgrade",
        "same-origin",
        "origin",
        "strict-origin",
        "origin-when-cross-origin",
        "strict-origin-when-cross-origin",
        "unsafe-url",
        "off",
    ]), |text| one_of(ReferrerPolicy::KIND, text);
    /// Cross-Origin-Opener-Policy.
    OpenerPolicy(&'static str) = Kind::Choice(&[
        "same-origin",
        "same-origin-allow-popups",
        "noopener-allow-popups",
        "unsafe-none",
        "off",
    ]), |text| one_of(OpenerPolicy::KIND, text);
    /// Cross-Origin-Embedder-Policy.
    EmbedderPolicy(&'static str) = Kind::Choice(&["require-corp", "credentialless", "unsafe-none", "off"]),
        |text| one_of(EmbedderPolicy::KIND, text);
    /// Cross-Origin-Resource-Policy.
    ResourcePolicy(&'static str) = Kind::Choice(&["same-origin", "same-site", "cross-origin", "off"]),
        |text| one_of(ResourcePolicy::KIND, text);
    /// X-Permitted-Cross-Domain-Policies.
    CrossDomainPolicies(&'static str) = Kind::Choice(&["none", "master-only", "off"]),
        |text| one_of(CrossDomainPolicies::KIND, text);
}

/// Reads for how long browsers come by https alone; `0s` has them forget it (RFC 6797, section 6.1.1).
fn hsts_time(text: &str) -> Result<Duration, String> {
    match text {
        "0s" => Ok(Duration::ZERO),
        text => text.parse().map(|Within::<1_000, { 20 * 366 * 24 * 3_600_000 }>(time)| time),
    }
}

/// Which of the words of a choice it is.
fn one_of(kind: &'static Kind, text: &str) -> Result<&'static str, String> {
    let Kind::Choice(words) = kind else { return Err("has no choice".to_owned()) };
    let found = words.iter().copied().find(|word| *word == text);
    found.ok_or_else(|| format!("must be {kind}"))
}
