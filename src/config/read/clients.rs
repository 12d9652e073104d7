//! How many connections clients may have at a listener, and how fast new ones may come.

use super::Known;
use super::said_clients::{Burst, ClientsSaid};
use crate::config::clients::{ClientLimits, ConnectionRate, Pace};
use crate::config::table::Said;

impl Known<'_, '_> {
    /// What a listener says about it.
    pub(super) fn clients(&self, said: &ClientsSaid) -> ClientLimits {
        let limits = ClientLimits::NONE;
        ClientLimits {
            connections_max: said.max_connections.value.map(|count| count.number()),
            client_connections_max: said.max_client_connections.value.map(|count| count.number()),
            client_v6_prefix: (said.client_v6_prefix.value)
                .map_or(limits.client_v6_prefix, |bits| bits.number()),
            rate: self.connection_rate(&said.connection_rate, &said.connection_burst, "connection-rate"),
            client_rate: self.connection_rate(
                &said.client_connection_rate,
                &said.client_connection_burst,
                "client-connection-rate",
            ),
        }
    }

    fn connection_rate(&self, pace: &Said<Pace>, burst: &Said<Burst>, name: &str) -> Option<ConnectionRate> {
        let Some(pace) = pace.value else {
            if let Some(place) = burst.place.filter(|_| !pace.is_there()) {
                self.reader.error(place, format!("is for new connections, but there is no `{name}`"))
            }
            return None;
        };
        Some(ConnectionRate { pace, burst: burst.value.map_or(pace.a_second(), |burst| burst.number()) })
    }
}
