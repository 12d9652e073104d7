//! Random upstreams: all that a file can make.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::{SECRET, UPSTREAMS, any_text, names, span};
use crate::config::{
    Balance, Breaker, Ejection, EndpointSettings, HashBy, Host, HttpProbe, Probe, ProbeAsk, ProxyVersion,
    Queue, Retry, Sticky, UpstreamSettings, WhenDown,
};
use crate::limits::{REPLAY_BYTES_MAX, UpstreamLimits};

/// One of those that are checked here, by its place among [`UPSTREAMS`].
pub(super) fn upstream(index: usize) -> BoxedStrategy<UpstreamSettings> {
    let chosen = (endpoints(), any::<bool>(), balance(), of(sticky(index)), of(period()), queue());
    let kept = (of(probe()), of(ejection()), when_down(), of(breaker()), retry(), of(version()), limits());
    // So much on the stack at once would be too much.
    let settings = (chosen.boxed(), kept.boxed()).prop_map(move |(chosen, kept)| {
        let (endpoints, own_host, balance, sticky, slow_start, queue) = chosen;
        let (probe, ejection, when_down, breaker, retry, proxy_protocol, limits) = kept;
        UpstreamSettings {
            name: UPSTREAMS[index].to_owned(),
            endpoints,
            own_host,
            sticky: sticky.filter(|_| !matches!(balance, Balance::ConsistentHash { .. })),
            balance,
            slow_start,
            queue,
            probe,
            ejection,
            when_down,
            breaker,
            retry,
            proxy_protocol,
            limits,
        }
    });
    settings.boxed()
}

fn endpoints() -> impl Strategy<Value = Vec<EndpointSettings>> {
    let addresses = names(&[
        "10.0.0.1:80",
        "a.b:9001",
        "[::1]:1",
        "unix:/run/x.sock",
        "srv:_http._tcp.a.b",
        "file:/etc/a \"${b}\".json",
    ]);
    let more = (1u32..=1000, any::<bool>(), of(1u32..), of(1u32..));
    (addresses, vec(more, 6)).prop_map(|(addresses, more)| {
        let both = addresses.iter().zip(more).enumerate();
        both.map(|(at, (text, (weight, backup, connections_max, requests_max)))| EndpointSettings {
            address: text.parse().unwrap(),
            weight,
            // One at least is none.
            backup: backup && at > 0,
            connections_max,
            requests_max,
        })
        .collect()
    })
}

fn balance() -> impl Strategy<Value = Balance> {
    let by = select(vec![
        HashBy::Client,
        HashBy::Path,
        HashBy::Url,
        HashBy::Header("X-User".to_owned()),
        HashBy::Cookie("id".to_owned()),
    ]);
    prop_oneof![
        select(vec![Balance::RoundRobin, Balance::LeastConnections, Balance::PowerOfTwo, Balance::Random]),
        (by, of(101u32..=1000)).prop_map(|(by, load_max)| Balance::ConsistentHash { by, load_max }),
    ]
}

fn sticky(index: usize) -> impl Strategy<Value = Sticky> {
    let secret = of(Just(SECRET.to_owned())).prop_map(move |secret| secret.filter(|_| index < 2));
    (select(vec!["ringway-app", "a$b", "__Host-x"]), of(1u64..=365 * 86400), any::<bool>(), secret).prop_map(
        |(cookie, max_age, secure, secret)| Sticky {
            cookie: cookie.to_owned(),
            max_age: max_age.map(Duration::from_secs),
            secure: secure || cookie.starts_with("__"),
            secret,
        },
    )
}

fn queue() -> impl Strategy<Value = Queue> {
    (any::<u32>(), span()).prop_map(|(waiting_max, time)| Queue { waiting_max, time })
}

fn probe() -> impl Strategy<Value = Probe> {
    let host = select(vec!["10.0.0.1", "::1", "a.b"]).prop_map(Host::parse);
    let times = (period(), 1u32..=1000).prop_map(|(interval, part)| (interval, interval * part / 1001));
    (ask(), of(host), of(1u16..), times, 0u32..=100, 1u32.., 1u32..).prop_map(
        |(ask, host, port, (interval, timeout), jitter, rise, fall)| Probe {
            ask,
            host,
            port,
            interval,
            jitter,
            timeout,
            rise,
            fall,
        },
    )
}

fn ask() -> impl Strategy<Value = ProbeAsk> {
    let path = select(vec!["/", "/healthz?a=${b}", "/%20\"'"]);
    let host = select(vec!["app.internal", "[::1]:80", "a$b"]);
    let body = any_text().prop_filter("something", |text| !text.is_empty());
    let field = (select(vec!["X-Ok", "x.y"]), any_text()).prop_map(|(name, value)| (name.to_owned(), value));
    let http = (path, of(host), vec(statuses(200), 1..4), of(body), of(field)).prop_map(
        |(path, host, statuses, body, header)| {
            ProbeAsk::Http(HttpProbe {
                path: path.to_owned(),
                host: host.map(str::to_owned),
                statuses,
                body,
                header,
            })
        },
    );
    prop_oneof![1 => Just(ProbeAsk::Tcp), 3 => http]
}

fn ejection() -> impl Strategy<Value = Ejection> {
    // Without a rate there is nothing to say about its window.
    let rate = prop_oneof![
        (of(1u32..), 1u32..=100, 1u32.., period()).prop_map(|(count, rate, least, window)| (
            count,
            Some(rate),
            least,
            window
        )),
        (1u32..).prop_map(|count| {
            let Ejection { requests_min, window, .. } = Ejection::default();
            (Some(count), None, requests_min, window)
        }),
    ];
    (rate, (period(), period()), 1u32..=100, vec(statuses(400), 0..3)).prop_map(
        |((consecutive, rate, requests_min, window), (one, other), share_max, statuses)| Ejection {
            consecutive,
            rate,
            requests_min,
            window,
            time: one.min(other),
            time_max: one.max(other),
            share_max,
            statuses,
        },
    )
}

fn when_down() -> impl Strategy<Value = WhenDown> {
    select(vec![WhenDown::Try, WhenDown::Fail])
}

fn breaker() -> impl Strategy<Value = Breaker> {
    (1u32..=100, 1u32.., period(), period(), 1u32..).prop_map(|(rate, requests_min, window, time, trials)| {
        Breaker { rate, requests_min, window, time, trials }
    })
}

fn retry() -> impl Strategy<Value = Retry> {
    let rules = (any::<bool>(), any::<bool>(), any::<bool>(), vec(statuses(400), 0..3));
    (rules, 0u32..=1000, of(span()), period(), 0..=REPLAY_BYTES_MAX).prop_map(
        |((on_connect, on_reset, on_timeout, statuses), budget, time, backoff, replay_bytes_max)| Retry {
            on_connect,
            on_reset,
            on_timeout,
            statuses,
            budget,
            time,
            backoff,
            replay_bytes_max,
        },
    )
}

fn version() -> impl Strategy<Value = ProxyVersion> {
    select(vec![ProxyVersion::V1, ProxyVersion::V2])
}

fn limits() -> impl Strategy<Value = UpstreamLimits> {
    let times = (span(), span(), span(), span());
    (times, 0usize..100_000, of(socket_time()), of(socket_time()), any::<u32>()).prop_map(
        |(
            (connect, first_byte, idle, pool_idle),
            pool_size,
            tcp_keepalive,
            tcp_user_timeout,
            retries_max,
        )| {
            UpstreamLimits {
                connect,
                first_byte,
                idle,
                pool_idle,
                pool_size,
                tcp_keepalive,
                tcp_user_timeout,
                retries_max,
            }
        },
    )
}

/// Statuses from one to another, from `min`.
fn statuses(min: u16) -> impl Strategy<Value = (u16, u16)> {
    (min..600, min..600).prop_map(|(one, other)| (one.min(other), one.max(other)))
}

/// A time that is neither very short nor very long.
fn period() -> impl Strategy<Value = Duration> {
    let (min, max) = (Duration::from_millis(10), Duration::from_secs(86400));
    span().prop_map(move |time| time.clamp(min, max))
}

fn socket_time() -> impl Strategy<Value = Duration> {
    span().prop_map(|time| time.clamp(Duration::from_secs(1), Duration::from_secs(9 * 3600)))
}
