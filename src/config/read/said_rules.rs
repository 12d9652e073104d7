//! Rules that requests are held against: the keys of listeners and routes, and the sets of rules.

use super::said::{Either, ErrorStatus, Network, PathPrefix, PathRegex, RedirectSaid, TestSaid, WholePath};
use crate::config::keys::Kind;
use crate::config::matching::HostPattern;
use crate::config::quantity::{Size, Within};
use crate::config::rules::{Expression, Subject};
use crate::config::table::{At, List, Map, tables, texts};

tables! {
    /// Rules that requests are held against
    RulesSaid = RULES "rules" {
        /// Sets of rules that requests are held against, in this order: names of `[rule-set.NAME]`, or `probes` for the
        /// set that comes with the proxy
        rules: Vec<At<String>>,
        /// Bytes that a form may have where rules look at its fields; a larger one is refused [default: 64KiB]
        form_size: Size,
    }

    /// A set of rules for requests
    RuleSetSaid = RULE_SET "rule set" {
        /// Whether its rules only count and say what they would do [default: false]
        detect_only: bool,
        /// A set whose rules come behind its own: `probes`
        include: At<String>,
        /// Ids of rules of the included set that are left out
        except: Vec<At<String>>,
        /// Methods that the included set lets through [default: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]
        methods: Vec<At<String>>,
        /// Its rules, in the order in which they count
        rule: List<At<RuleSaid>>,
    }

    /// A rule: conditions that all have to hold, and one action
    RuleSaid = RULE "rule" {
        /// What it is called in counts and in the log
        id: At<String>,
        /// Refuses the request: `true` is status 403
        deny: Either<bool, ErrorStatus>,
        /// Closes the connection without an answer
        close: bool,
        /// Has the client wait that long, at most 60s, and closes the connection then, or refuses the request where `deny`
        /// stands beside it
        tarpit: TarpitTime,
        /// Sends the client elsewhere, with status 302 where nothing else is said
        redirect: RedirectSaid,
        /// Gives the request a tag, for later rules and, as `X-Ringway-Tag`, for the upstream
        tag: At<String>,
        /// Notes the request in the access log, where it is written as JSON
        log: bool,
        /// Lets the request pass by all further rules
        allow: bool,
        ..when: WhenSaid = WHEN,
    }

    /// What a request has to be for a rule; all of it has to hold
    WhenSaid = WHEN "rule condition" {
        /// Hosts, without port: `www.example.com`, or `*.example.com` for all below; one of them
        host: Vec<HostPattern>,
        /// Whole paths; one of these, of the prefixes or of the expressions
        path: Vec<WholePath>,
        /// First segments of a path: `/api` is for `/api` and `/api/x`, not for `/apis`
        path_prefix: Vec<PathPrefix>,
        /// Regular expressions that find something in the path
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
        /// The declared size of the content; chunked content declares none
        size: At<SizeTable>,
        /// What the User-Agent field has to be
        user_agent: At<TestSaid>,
        /// Tags of earlier rules; one of them
        tagged: Vec<At<String>>,
        /// What is found in parts of the request, in whichever way they may be decoded; several have to be found all
        pattern: Vec<At<PatternTable>>,
        /// Tables of conditions that all hold
        all: List<At<WhenSaid>>,
        /// Tables of conditions of which one holds
        any: List<At<WhenSaid>>,
        /// Conditions that do not hold together
        not: Box<At<WhenSaid>>,
    }

    /// Bounds on the declared size of content
    SizeTable = SIZE "size" {
        /// At least so many bytes
        min: Size,
        /// At most so many bytes
        max: Size,
    }

    /// What is looked for in parts of a request, without regard to case; one of the tests has to find something
    PatternTable = PATTERN "pattern" {
        /// Where: path, query, header, header:NAME, user-agent, cookie, form, json; in one of them
        r#in: Vec<Subject>,
        /// This text is somewhere in it
        contains: Vec<String>,
        /// This expression finds something in it
        regex: Vec<Expression>,
        /// SQL injection is found in it
        sqli: bool,
        /// Scripts or markup are found in it
        xss: bool,
    }
}

/// The time of a tarpit, in milliseconds.
pub(super) type TarpitTime = Within<100, 60_000>;

texts! {
    Subject: Kind::Text("query");
    Expression: Kind::Regex("(union|select).*from");
}
