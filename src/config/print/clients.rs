//! How many connections clients may have at a listener, and how fast new ones may come, as it is written.

use super::value::{Section, number, text};
use crate::config::clients::{ClientLimits, ConnectionRate};

/// What a listener says.
pub(super) fn print(section: &mut Section, limits: &ClientLimits) {
    let ClientLimits { connections_max, client_connections_max, client_v6_prefix, rate, client_rate } =
        limits;
    if let Some(count) = connections_max {
        section.set("max-connections", number(*count as usize));
    }
    if let Some(count) = client_connections_max {
        section.set("max-client-connections", number(usize::from(*count)));
    }
    if *client_v6_prefix != ClientLimits::NONE.client_v6_prefix {
        section.set("client-v6-prefix", number(usize::from(*client_v6_prefix)));
    }
    print_rate(section, rate.as_ref(), ["connection-rate", "connection-burst"]);
    print_rate(section, client_rate.as_ref(), ["client-connection-rate", "client-connection-burst"]);
}

fn print_rate(section: &mut Section, rate: Option<&ConnectionRate>, [pace, burst]: [&str; 2]) {
    if let Some(rate) = rate {
        section.set(pace, text(&rate.pace));
        section.set(burst, number(rate.burst as usize));
    }
}
