//! How much may come, and how fast: the keys of listeners and routes.

use super::said::ErrorStatus;
use crate::config::flow::{Frequency, RateBy, RateFields, Throughput, Without};
use crate::config::quantity::{Bounded, Size, Within};
use crate::config::table::{At, tables};

tables! {
    /// How much may come, and how fast
    FlowSaid = FLOW "flow" {
        /// Rates that requests count for: names of `[rate.NAME]`; a request has to be within all of them
        rate: Vec<At<String>>,
        /// Bytes a second of each response; a route's takes the place of its listener's [default: no limit]
        bandwidth: Throughput,
        /// The first bytes of each response, which are not held to `bandwidth` [default: 0B]
        bandwidth_after: Size,
    }

    /// A rate that requests count for
    RateSaid = RATE "rate" {
        /// So many requests in a second, a minute, an hour or a day, over all cores
        rate: Frequency,
        /// So many may come at once [default: as many as in a second]
        burst: Bounded<1, { u32::MAX as u64 }>,
        /// What is counted apart: `client`, `header:NAME`, `cookie:NAME`, `query:NAME`, `route`, `host` or `all`; or
        /// several of them together [default: client]
        by: Vec<At<RateBy>>,
        /// Bits of a client's IPv4 address that count [default: 32]
        v4_prefix: Bounded<0, 32>,
        /// Bits of a client's IPv6 address that count [default: 64]
        v6_prefix: Bounded<0, 128>,
        /// Holds requests over the rate back, up to this long, before they are refused [default: they are refused at
        /// once]
        delay: Within<1, 60_000>,
        /// Keys that are remembered at once; those that have been idle for longest are forgotten [default: 65536]
        keys: Bounded<1, { 1 << 24 }>,
        /// The status of a refusal [default: 429]
        status: ErrorStatus,
        /// What becomes of requests without the field, cookie or parameter: they count by `client`, `pass`, or are
        /// refused [default: client]
        without: Without,
        /// Whether refusals have RateLimit fields, or all responses: `always` [default: true]
        fields: RateFields,
        /// Whether requests over the rate are only counted and noted in the log [default: false]
        detect_only: bool,
    }
}
