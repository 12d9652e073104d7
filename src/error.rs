//! Why an exchange ended: one table, from which status, log text and `Proxy-Status` derive.
//!
//! A row is a [`Reason`]. The pure layers return it as a value; nothing here formats or allocates.

/// Declares the catalogue. Each row: variant, status code (0 where no answer can be given), the name
/// in logs and counters, the sentence for a person, and the error type of RFC 9209, section 2.3
/// (empty where the upstream has no part in it).
macro_rules! catalogue {
    ($($(#[$doc:meta])* $variant:ident: $status:literal, $name:literal, $sentence:literal, $proxy_error:literal;)*) => {
        /// Why an exchange ended, or why a request was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* #[doc = $sentence] $variant,)* }

        impl Reason {
            /// Every reason, in the order of the table.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];

            /// The status code of the answer, 0 where the connection just ends.
            pub const fn status(self) -> u16 {
                match self { $(Reason::$variant => $status,)* }
            }

            /// The name in logs and counters: lower case, underscores.
            pub const fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// One sentence for the person who reads the error page.
            pub const fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => $sentence,)* }
            }

            /// The error type of RFC 9209, section 2.3, where the upstream is to blame.
            pub const fn proxy_error(self) -> Option<&'static str> {
                let error = match self { $(Reason::$variant => $proxy_error,)* };
                if error.is_empty() { None } else { Some(error) }
            }
        }
    };
}

catalogue! {
    Done: 200, "done", "The exchange was complete.", "";

    // The request is malformed: refused, and the connection closed (RFC 9112).
    BadRequestLine: 400, "bad_request_line", "The request line is malformed.", "";
    BadTarget: 400, "bad_target", "The request target is malformed.", "";
    BadField: 400, "bad_field", "A header field is malformed.", "";
    BadLineEnding: 400, "bad_line_ending", "A line does not end with CR LF.", "";
    MissingHost: 400, "missing_host", "The Host field is missing.", "";
    RepeatedHost: 400, "repeated_host", "The Host field is repeated.", "";
    BadHost: 400, "bad_host", "The Host field is malformed.", "";
    LengthAndCoding: 400, "length_and_coding", "Content-Length and Transfer-Encoding are both given.", "";
    RepeatedLength: 400, "repeated_length", "Content-Length is repeated.", "";
    BadLength: 400, "bad_length", "Content-Length is not a number of bytes.", "";
    BadTransferEncoding: 400, "bad_transfer_encoding", "Transfer-Encoding is not a single chunked coding.", "";
    BadChunk: 400, "bad_chunk", "The chunked coding of the content is malformed.", "";
    BadTrailer: 400, "bad_trailer", "The trailer section is malformed or too large.", "";
    TargetTooLong: 414, "target_too_long", "The request target is too long.", "";
    HeadTooLarge: 431, "head_too_large", "The header section is too large.", "";
    TooManyFields: 431, "too_many_fields", "There are too many header fields.", "";
    BodyTooLarge: 413, "body_too_large", "The content is larger than this server accepts.", "";
    UnknownExpectation: 417, "unknown_expectation", "Only the expectation 100-continue is supported.", "";
    UnknownTransferCoding: 501, "unknown_transfer_coding", "The transfer coding is not supported.", "";
    ConnectRefused: 501, "connect_refused", "CONNECT is not supported here.", "";
    UnsupportedVersion: 505, "unsupported_version", "This version of HTTP is not supported.", "";

    BadPath: 400, "bad_path", "The path has a malformed escape, or an escaped NUL.", "";
    AmbiguousPath: 400, "ambiguous_path", "The path has an escaped character or a backslash that makes it mean two things.", "";
    UnusableValue: 400, "unusable_value", "A part of the request cannot stand where this server has to write it.", "";

    // The request is well-formed, but not served.
    NoRoute: 404, "no_route", "Nothing is served here.", "";
    Denied: 403, "denied", "This is not allowed.", "";
    TraceRefused: 405, "trace_refused", "TRACE is not allowed here.", "";
    HopsUsedUp: 501, "hops_used_up", "Max-Forwards is used up, and there is nothing to say about the proxy itself.", "";
    Loop: 508, "loop", "The request has passed this proxy before.", "proxy_loop_detected";

    // It is turned away by what its listener or its route checks.
    AccessDenied: 403, "access_denied", "Clients of your network are not served here.", "";
    RuleDenied: 403, "rule_denied", "This request is not allowed.", "";
    RuleClosed: 0, "rule_closed", "A rule has the connection closed without an answer.", "";
    RuleRedirected: 302, "rule_redirected", "A rule sends this request elsewhere.", "";
    Tarpitted: 0, "tarpitted", "A rule has the client wait, and the connection closed.", "";
    MethodRefused: 405, "method_refused", "This method is not allowed here.", "";
    QueryTooLarge: 414, "query_too_large", "The query is too long, or has too many parameters.", "";
    FieldTooLarge: 431, "field_too_large", "A header field is too large.", "";
    ContentRefused: 415, "content_refused", "Content of this type or coding is not accepted here.", "";
    FormRefused: 400, "form_refused", "The form in the content is malformed, or has too many fields.", "";
    RateLimited: 429, "rate_limited", "There were too many requests. Try again later.", "";
    Unauthenticated: 401, "unauthenticated", "Credentials are needed here.", "";
    AuthRefused: 403, "auth_refused", "These credentials do not allow this.", "";
    AuthUnavailable: 503, "auth_unavailable", "Credentials cannot be checked at the moment.", "destination_unavailable";
    CorsRefused: 403, "cors_refused", "Pages of this origin may not ask this.", "";

    // There is too much to do.
    TooManyConnections: 503, "too_many_connections", "There are too many connections.", "connection_limit_reached";
    Overloaded: 503, "overloaded", "This server is overloaded. Try again later.", "proxy_internal_response";
    StorageFailed: 503, "storage_failed", "The content cannot be kept at the moment.", "proxy_internal_error";
    StorageFull: 503, "storage_full", "There is no room for the content at the moment.", "proxy_internal_error";

    // The client's side of the connection gave out.
    BadProxyHeader: 0, "bad_proxy_header", "The connection did not begin with a well-formed header of the PROXY protocol.", "";
    HeadTimeout: 408, "head_timeout", "The request head did not arrive in time.", "";
    BodyTimeout: 408, "body_timeout", "The request content did not arrive in time.", "";
    ClientClosed: 0, "client_closed", "The client closed the connection.", "";
    BodyTooSlow: 408, "body_too_slow", "The request content came too slowly.", "";
    ClientTooSlow: 0, "client_too_slow", "The client read the response too slowly.", "";
    ClientStalled: 0, "client_stalled", "The client did not read the response in time.", "";

    // The cache's part.
    OnlyIfCached: 504, "only_if_cached", "Only a stored response was asked for, and there is none that may be used.", "";
    LeftBehind: 0, "left_behind", "The client fell too far behind a response that is too large to be kept.", "";

    // The upstream's side gave out (RFC 9209, section 2.3).
    NoEndpoint: 503, "no_endpoint", "No server is available for this request.", "destination_unavailable";
    UpstreamDown: 503, "upstream_down", "None of the servers for this request is up.", "destination_unavailable";
    UpstreamFull: 503, "upstream_full", "All servers for this request are busy, and too many others wait.", "connection_limit_reached";
    UpstreamQueueTimeout: 503, "upstream_queue_timeout", "All servers for this request were busy for too long.", "connection_limit_reached";
    BreakerOpen: 503, "breaker_open", "The servers for this request fail, and are left alone for a while.", "destination_unavailable";
    NameUnresolved: 503, "name_unresolved", "The server's name could not be resolved.", "dns_error";
    UpstreamRefused: 502, "upstream_refused", "The server refused the connection.", "connection_refused";
    UpstreamUnreachable: 502, "upstream_unreachable", "The server could not be reached.", "destination_ip_unroutable";
    UpstreamConnectTimeout: 504, "upstream_connect_timeout", "The server did not accept the connection in time.", "connection_timeout";
    UpstreamClosed: 502, "upstream_closed", "The server closed the connection without an answer.", "connection_terminated";
    UpstreamReset: 502, "upstream_reset", "The server reset the connection.", "connection_terminated";
    UpstreamWriteTimeout: 504, "upstream_write_timeout", "The server did not take the request in time.", "connection_write_timeout";
    UpstreamFirstByteTimeout: 504, "upstream_first_byte_timeout", "The server did not answer in time.", "http_response_timeout";
    UpstreamReadTimeout: 504, "upstream_read_timeout", "The server stopped in the middle of its answer.", "connection_read_timeout";
    UpstreamBadHead: 502, "upstream_bad_head", "The server's answer is malformed.", "http_protocol_error";
    UpstreamBadFraming: 502, "upstream_bad_framing", "The server's answer has no clear length.", "http_protocol_error";
    UpstreamHeadTooLarge: 502, "upstream_head_too_large", "The header section of the server's answer is too large.", "http_response_header_section_size";
    UpstreamBadChunk: 502, "upstream_bad_chunk", "The chunked coding of the server's answer is malformed.", "http_protocol_error";
    UpstreamBadTrailer: 502, "upstream_bad_trailer", "The trailer section of the server's answer is malformed or too large.", "http_protocol_error";
    UpstreamBadCoding: 502, "upstream_bad_coding", "The content coding of the server's answer is malformed.", "http_response_content_coding";
    UpstreamTruncated: 502, "upstream_truncated", "The server's answer broke off.", "http_response_incomplete";
    UpstreamError: 502, "upstream_error", "The server failed.", "http_response_incomplete";
    UpstreamBadUpgrade: 502, "upstream_bad_upgrade", "The server switched protocols without being asked.", "http_upgrade_failed";

    // Neither's.
    TunnelIdle: 0, "tunnel_idle", "The tunnel was idle for too long.", "";
}

impl Reason {
    /// The number of rows, for tables of counters.
    pub const COUNT: usize = Reason::ALL.len();

    /// The row's place in the table.
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_name_is_unique_and_written_like_a_metric() {
        let names: HashSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), Reason::COUNT);
        for name in names {
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
    }

    #[test]
    fn an_index_is_the_place_in_the_table() {
        for (place, reason) in Reason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), place);
        }
    }

    #[test]
    fn gateway_statuses_name_their_proxy_error() {
        for reason in Reason::ALL {
            if matches!(reason.status(), 502..=504) && *reason != Reason::OnlyIfCached {
                assert!(reason.proxy_error().is_some(), "{}", reason.name());
            }
        }
    }
}
