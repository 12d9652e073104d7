//! Any limits on the connections of clients, and on what the process may hold.

use std::time::Duration;

use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use crate::config::Room;
use crate::config::clients::{ClientLimits, ConnectionRate, Pace};

fn rate() -> impl Strategy<Value = ConnectionRate> {
    (select(vec![1u64, 60, 3600]), 1u32..=100_000, 1u32..=100_000).prop_map(|(seconds, count, burst)| {
        ConnectionRate { pace: Pace { count, per: Duration::from_secs(seconds) }, burst }
    })
}

pub(super) fn clients() -> BoxedStrategy<ClientLimits> {
    (of(1u32..=10_000_000), of(1u16..=60_000), 16u8..=128, of(rate()), of(rate()))
        .prop_map(|(connections_max, client_connections_max, client_v6_prefix, rate, client_rate)| {
            ClientLimits { connections_max, client_connections_max, client_v6_prefix, rate, client_rate }
        })
        .boxed()
}

pub(super) fn room() -> impl Strategy<Value = Room> {
    (of(1u32..), of(1u64 << 20..))
        .prop_map(|(connections_max, memory_max)| Room { connections_max, memory_max })
}
