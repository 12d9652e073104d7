//! The tables of the file, as they are written: each key with what it takes and what it is for. What is read here is
//! right by itself; whether it is right with the rest is asked later.

use ipnet::IpNet;

use super::said_browsers::{BROWSERS, BrowsersSaid};
use super::said_clients::{CLIENTS, ClientsSaid};
use super::said_coding::{CODING, CodingSaid};
use super::said_flow::{FLOW, FlowSaid, RateSaid};
use super::said_holding::{HOLDING, HoldingSaid};
use super::said_identity::{AuthSaid, IDENTITY, IdentitySaid};
use super::said_rules::{RULES, RuleSetSaid, RulesSaid};
use super::said_security::{SECURITY, SecuritySaid};
use super::said_upstream::UpstreamSaid;
use crate::config::clients::LeastRate;
use crate::config::keys::Kind;
use crate::config::matching::{HostPattern, PathPattern, Pattern};
use crate::config::options::{OPTIONS, OptionsSaid};
use crate::config::quantity::{self, Bounded, Size, Span};
use crate::config::route::{ForwardPath, SplitBy};
use crate::config::table::{At, FromValue, List, Map, Reader, Value, tables, texts};
use crate::config::template::Template;
use crate::config::{ListenAddress, TrustedPeer};
use crate::limits::WEIGHT_MAX;

tables! {
    /// The configuration of the proxy: what the command line can say stands at the top, in the same words; listeners,
    /// upstreams and routes follow
    FileSaid = FILE "file" {
        /// Files that are read too, relative to this one, in this order and after it; what a pattern such as
        /// `conf.d/*.toml` stands for is read by name
        include: Vec<At<String>>,
        /// Where clients come in, by name; without any, `host` and `port` make one that is called `default`
        listener: Map<ListenerSaid>,
        /// Where requests go, by name; `origin` makes one that is called `default`
        upstream: Map<UpstreamSaid>,
        /// Sets of rules that requests are held against, by name
        rule_set: Map<RuleSetSaid>,
        /// Rates that requests count for, by name
        rate: Map<RateSaid>,
        /// Ways to authenticate, by name
        auth: Map<AuthSaid>,
        /// Pages for the errors that the proxy answers by itself, by status
        error_page: Map<ErrorPageSaid>,
        /// What becomes of which requests; of those that match, the one with the most specific host and then the most
        /// specific path takes a request, and the earlier one of equals
        route: List<At<RouteSaid>>,
        ..options: OptionsSaid = OPTIONS,
    }

    /// A listener: addresses whose clients are treated alike
    ListenerSaid = LISTENER "listener" {
        /// Where it listens: `HOST:PORT`, port 0 for any that is free, or `unix:PATH`; one or several
        address: Vec<At<ListenAddress>>,
        trusted_proxy: Vec<TrustedPeer>,
        /// Networks whose connections begin with a header of the PROXY protocol, or `unix`; one that does not is refused
        proxy_protocol: Vec<TrustedPeer>,
        /// Largest request head, at most 64KiB-1
        max_head: Size,
        max_fields: usize,
        max_target: Size,
        max_body: Size,
        head_timeout: Span,
        body_timeout: Span,
        keep_alive_timeout: Span,
        write_timeout: Span,
        min_rate: LeastRate,
        tunnel_timeout: Span,
        ..clients: ClientsSaid = CLIENTS,
        ..security: SecuritySaid = SECURITY,
        ..rules: RulesSaid = RULES,
        ..browsers: BrowsersSaid = BROWSERS,
        ..identity: IdentitySaid = IDENTITY,
        ..flow: FlowSaid = FLOW,
        ..coding: CodingSaid = CODING,
        ..holding: HoldingSaid = HOLDING,
    }

    /// A page for an error
    PageTable = PAGE "error page" {
        /// The content
        body: String,
        /// Its type [default: text/html; charset=utf-8]
        content_type: String,
    }

    /// What a request has to be; all of it has to hold
    ConditionsSaid = CONDITIONS "condition" {
        /// Hosts, without port: `www.example.com`, or `*.example.com` for all below; one of them
        host: Vec<HostPattern>,
        /// Whole paths, with captures such as `/users/{id}`; one of these, of the prefixes or of the expressions
        path: Vec<WholePath>,
        /// First segments of a path: `/api` is for `/api` and `/api/x`, not for `/apis`
        path_prefix: Vec<PathPrefix>,
        /// Regular expressions that find something in the path; anchors have to be written
        path_regex: Vec<PathRegex>,
        /// Methods; one of them
        method: Vec<At<String>>,
        /// Fields and what they have to be: `true` there, `false` not there, a text, several of them, or a part
        header: Map<TestSaid>,
        /// Parameters of the query, decoded, and what they have to be
        query: Map<TestSaid>,
        /// Cookies and what they have to be
        cookie: Map<TestSaid>,
        /// Networks such as `10.0.0.0/8`; the client is in one of them
        client: Vec<Network>,
        /// Names of listeners; the request came in at one of them
        listener: Vec<At<String>>,
        /// Tables of conditions that all hold
        all: List<At<ConditionsSaid>>,
        /// Tables of conditions of which one holds
        any: List<At<ConditionsSaid>>,
        /// Conditions that do not hold together
        not: Box<At<ConditionsSaid>>,
    }

    /// A part that a value has to have
    TestTable = TEST "test" {
        /// It begins with this
        prefix: String,
        /// It ends with this
        suffix: String,
        /// This is somewhere in it
        contains: String,
        /// This expression finds something in it
        regex: Pattern,
    }

    /// A route: what becomes of requests that are so. It has one of `upstream`, `redirect`, `respond` and `deny`
    RouteSaid = ROUTE "route" {
        /// Its name in logs and messages [default: `route-3` for the third of all]
        name: String,
        /// Passes the request on to this upstream; or to several by weight: `{ stable = 95, canary = 5 }`
        upstream: UpstreamChoice,
        /// What decides between several upstreams: `client`, `cookie:NAME` or `header:NAME` [default: chance]
        split_by: SplitBy,
        /// Sends the client elsewhere, with status 302 where nothing else is said
        redirect: RedirectSaid,
        /// Answers by itself, with status 200 where nothing else is said
        respond: RespondSaid,
        /// Refuses the request with an error page: `true` is status 403
        deny: DenySaid,
        /// Takes these segments from the front of the path
        strip_prefix: String,
        /// Takes the place of the path
        rewrite: At<Template>,
        /// Goes in front of the path
        add_prefix: String,
        /// What changes in the query
        query_edit: QueryEditTable,
        /// Which form of the path the upstream gets, where nothing changes it [default: normalised]
        forward_path: ForwardPath,
        /// Another upstream that gets copies of the requests; nobody waits for it
        mirror: MirrorSaid,
        /// What the cache does: `false` for nothing
        cache: CacheChoice,
        /// What changes in the fields of the request
        request_header: EditsTable,
        /// What changes in the fields of the response
        response_header: EditsTable,
        connect_timeout: Span,
        first_byte_timeout: Span,
        upstream_timeout: Span,
        body_timeout: Span,
        write_timeout: Span,
        min_rate: LeastRate,
        tunnel_timeout: Span,
        max_body: Size,
        retries: u32,
        /// Its own pages for errors that the proxy answers by itself, by status
        error_page: Map<ErrorPageSaid>,
        ..when: ConditionsSaid = CONDITIONS,
        ..security: SecuritySaid = SECURITY,
        ..rules: RulesSaid = RULES,
        ..browsers: BrowsersSaid = BROWSERS,
        ..identity: IdentitySaid = IDENTITY,
        ..flow: FlowSaid = FLOW,
        ..coding: CodingSaid = CODING,
        ..holding: HoldingSaid = HOLDING,
    }

    /// A redirect with another status
    RedirectTable = REDIRECT "redirect" {
        /// Where to: a URL or a path
        to: At<Template>,
        /// 301, 302, 303, 307 or 308 [default: 302]
        status: RedirectStatus,
    }

    /// A fixed response
    RespondTable = RESPOND "response" {
        /// Its status [default: 200]
        status: ResponseStatus,
        /// The content
        body: At<Content>,
        /// Its type [default: text/plain; charset=utf-8]
        content_type: String,
    }

    /// What changes in a query
    QueryEditTable = QUERY_EDIT "query edit" {
        /// Takes the place of all of it
        replace: At<Template>,
        /// Parameters that go: a name, or its start with a `*`
        remove: Vec<At<String>>,
        /// Parameters that take the place of all of that name
        set: Map<Template>,
        /// Parameters that come on top
        add: Map<Vec<At<Template>>>,
    }

    /// What changes in the fields of a message: first some go, then some are set, then some come on top
    EditsTable = EDITS "field edit" {
        /// Fields that go: a name, or its start with a `*`
        remove: Vec<At<String>>,
        /// Fields that take the place of all of that name
        set: Map<Template>,
        /// Fields that come on top
        add: Map<Vec<At<Template>>>,
    }

    /// A copy of some requests
    MirrorTable = MIRROR "mirror" {
        /// The upstream that gets them
        upstream: At<String>,
        /// How many of them [default: 100%]
        share: Share,
    }

    /// What the cache does with a route's requests
    CacheTable = CACHE "cache rule" {
        /// Lifetime of a successful response that brings none
        ttl: Span,
        /// Lifetime of a successful response, whatever it says of it; one that says that it is private is still not stored
        override_ttl: Span,
        /// How long a stale response may stand in
        grace: Span,
        /// Which parameters of the query tell responses apart: `true` all, `false` none, names, or all but some
        query: QueryKey,
        /// Fields whose values tell responses apart
        header: Vec<At<String>>,
        /// Cookies whose values tell responses apart
        cookie: Vec<At<String>>,
        /// Tags for purges that responses get beside their own
        tag: Vec<At<String>>,
        /// Whether responses with Set-Cookie may be stored [default: true]
        set_cookie: bool,
    }

    /// All parameters but some
    ExceptTable = EXCEPT "parameters" {
        /// Parameters that do not tell responses apart: a name, or its start with a `*`
        except: Vec<At<String>>,
    }
}

/// A file, or what would be in it.
pub(super) type ErrorPageSaid = Either<String, PageTable>;
/// Texts or parts, or whether there is anything.
pub(super) type TestSaid = Either<Vec<Either<String, At<TestTable>>>, bool>;
/// An upstream, or several with weights.
pub(super) type UpstreamChoice = Either<String, Map<Share1000>>;
/// A place, or with a status.
pub(super) type RedirectSaid = Either<At<Template>, RedirectTable>;
/// A content, or with status and type.
pub(super) type RespondSaid = Either<At<Content>, RespondTable>;
/// Yes, or with a status.
pub(super) type DenySaid = Either<bool, ErrorStatus>;
/// An upstream, or with a share.
pub(super) type MirrorSaid = Either<At<String>, MirrorTable>;
/// Whether at all, or how.
pub(super) type CacheChoice = Either<bool, CacheTable>;
/// All or none, or which.
pub(super) type QueryKey = Either<bool, Either<Vec<At<String>>, ExceptTable>>;

/// The weight of an upstream.
pub(super) type Share1000 = Bounded<0, { WEIGHT_MAX as u64 }>;
/// The status of a response that a route gives.
pub(super) type ResponseStatus = Bounded<200, 599>;
/// The status of an error.
pub(super) type ErrorStatus = Bounded<400, 599>;

texts! {
    ListenAddress: Kind::Text("127.0.0.1:8080");
    TrustedPeer: Kind::Text("10.0.0.0/8");
    HostPattern: Kind::Text("www.example.com");
    Pattern: Kind::Regex("^v[0-9]+$");
    Template: Kind::Template("{host}");
    SplitBy: Kind::Text("client");
    ForwardPath: Kind::Choice(&["normalised", "original"]);
}

/// Declares values that are texts of another form than their type says.
macro_rules! forms {
    ($($(#[doc = $doc:literal])+ $name:ident($type:ty) = $kind:expr, $parse:expr;)*) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name(pub(super) $type);

        impl FromValue for $name {
            const KIND: &'static Kind = &$kind;

            fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<$name> {
                reader.parsed(value, Self::KIND, $parse).map($name)
            }
        }
    )*};
}
pub(super) use forms;

forms! {
    /// All of a path.
    WholePath(PathPattern) = Kind::Text("/users/{id}"), PathPattern::whole;
    /// The first segments of a path.
    PathPrefix(PathPattern) = Kind::Text("/api"), PathPattern::prefix;
    /// What an expression finds in a path.
    PathRegex(PathPattern) = Kind::Regex("^/v(?<version>[0-9]+)/"), PathPattern::regex;
    /// A network of clients.
    Network(IpNet) = Kind::Text("10.0.0.0/8"), crate::config::network::network;
    /// A content with variables in it.
    Content(Template) = Kind::Template("ok\n"), Template::for_content;
    /// A share, in parts of ten thousand.
    Share(u16) = Kind::Text("10%"), quantity::share;
}

/// The status of a redirect.
#[derive(Clone, Copy, Debug)]
pub(super) struct RedirectStatus(pub(super) u16);

impl FromValue for RedirectStatus {
    const KIND: &'static Kind = &Kind::Number(&[301, 302, 303, 307, 308]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<RedirectStatus> {
        let Kind::Number(numbers) = Self::KIND else { return None };
        let number = reader.integer(value, Self::KIND)?;
        let known = numbers.iter().find(|&&known| u64::from(known) == number);
        if known.is_none() {
            reader.error(value.place(), format!("must be {}", Self::KIND));
        }
        known.map(|&known| RedirectStatus(known))
    }
}

/// One of two forms of a value.
#[derive(Clone, Debug)]
pub(super) enum Either<A, B> {
    /// The short one.
    Short(A),
    /// The long one.
    Long(B),
}

impl<A: FromValue, B: FromValue> FromValue for Either<A, B> {
    const KIND: &'static Kind = &Kind::OneOf(&[A::KIND, B::KIND]);

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Either<A, B>> {
        if A::KIND.fits(value.get()) {
            A::read(value, reader).map(Either::Short)
        } else if B::KIND.fits(value.get()) {
            B::read(value, reader).map(Either::Long)
        } else {
            reader.wrong_type(value, Self::KIND)
        }
    }
}

impl<T: FromValue> FromValue for Box<T> {
    const KIND: &'static Kind = T::KIND;

    fn read(value: Value<'_>, reader: &Reader<'_>) -> Option<Box<T>> {
        T::read(value, reader).map(Box::new)
    }
}
