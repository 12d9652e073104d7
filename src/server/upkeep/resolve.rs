//! Looking names up: addresses and services, with how long they hold.
//!
//! ```text
//!   the file of hosts ──▶ name servers ──▶ whatever else the system asks (getaddrinfo)
//!       only where no name servers are configured          likewise
//! ```
//!
//! Nothing is kept here from one question to the next: what runs above knows when to ask again, and the configuration
//! of the system may have changed until then.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::{Either, select};
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::proto::xfer::Protocol;
use hickory_resolver::proto::{ProtoError, ProtoErrorKind};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{ResolveError, TokioResolver};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// How long a name server has for an answer.
const TRY_TIME: Duration = Duration::from_secs(2);

/// How often a question is asked again that nobody has answered.
const TRIES_MORE: usize = 1;

/// How long the second family is waited for when the first is there: some name servers never answer for IPv6.
const SECOND_FAMILY_TIME: Duration = Duration::from_secs(1);

/// How long a look-up may take, whatever the number of name servers and of domains to search in.
const LOOK_UP_TIME: Duration = Duration::from_secs(10);

/// How many questions to the system may be open at once. It can be slow, and cannot be called off.
const SYSTEM_QUESTIONS_MAX: usize = 32;

/// Where names stand that no name server is asked for.
const HOSTS: &str = "/etc/hosts";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found<T> {
    /// What was found, none of it twice; those of the family that is preferred come first, and otherwise they are in
    /// order, so that the same answer is always the same.
    pub(super) items: Vec<T>,
    /// How long it holds; none where nobody says.
    pub(super) valid: Option<Duration>,
    /// The family of addresses that nobody has said anything about: there may be some, or none.
    pub(super) silent: Option<Family>,
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What an SRV record says (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Service {
    /// The host, in lower case and without the dot at the end that makes it a whole name: whoever looks it up puts one
    /// there, for it is not to be searched for in the system's domains.
    pub(super) target: String,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

/// Asks name servers, or the system.
#[derive(Clone)]
pub(super) struct Resolver {
    /// Empty for the system's.
    servers: Arc<[SocketAddr]>,
}

impl Resolver {
    /// Asks these name servers; without any, those of the system, its file of hosts first.
    pub(super) fn new(servers: &[SocketAddr]) -> Resolver {
        Resolver { servers: servers.into() }
    }

    /// The addresses of a host. With a dot at its end the name is whole; otherwise it may be one within the domains
    /// that the system searches. An address stands for itself.
    ///
    /// # Errors
    /// Why there are none, for a person.
    pub(super) async fn addresses(&self, name: &str) -> Result<Found<IpAddr>, String> {
        if let Ok(address) = name.parse() {
            return Ok(Found { items: vec![address], valid: None, silent: None });
        }
        let known = self.known_here(name);
        if !known.is_empty() {
            return Ok(Found { items: arranged(known), valid: None, silent: None });
        }
        let asked = timeout(LOOK_UP_TIME, self.ask_addresses(name)).await;
        let found = asked.unwrap_or_else(|_| Err("no name server answers in time".to_owned()));
        let Err(why) = found else { return found };
        if self.is_of_system()
            && let Some(items) = ask_system(name).await.map(arranged).filter(|items| !items.is_empty())
        {
            return Ok(Found { items, valid: None, silent: None });
        }
        Err(why)
    }

    /// The services of a name: none if it is decidedly not available there.
    ///
    /// # Errors
    /// Why there are none, for a person.
    pub(super) async fn services(&self, name: &str) -> Result<Found<Service>, String> {
        let asking = async {
            let found = self.asker()?.lookup(parse(name)?, RecordType::SRV).await;
            let lookup = found.map_err(|error| text(&error))?;
            Ok(Found { items: services_of(&lookup)?, valid: valid(&lookup), silent: None })
        };
        timeout(LOOK_UP_TIME, asking)
            .await
            .unwrap_or_else(|_| Err("no name server answers in time".to_owned()))
    }

    fn is_of_system(&self) -> bool {
        self.servers.is_empty()
    }

    /// What need not be asked: the system's hosts, and this machine itself (RFC 6761, section 6.3), which is to be
    /// found by either family, whatever the file of hosts has.
    fn known_here(&self, name: &str) -> Vec<IpAddr> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let mut known = match self.is_of_system() {
            true => {
                std::fs::read_to_string(HOSTS).map_or_else(|_| Vec::new(), |hosts| in_hosts(&hosts, name))
            }
            false => Vec::new(),
        };
        if name.eq_ignore_ascii_case("localhost") {
            for loopback in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
                if known.iter().all(|address| address.is_ipv4() != loopback.is_ipv4()) {
                    known.push(loopback);
                }
            }
        }
        known
    }

    async fn ask_addresses(&self, name: &str) -> Result<Found<IpAddr>, String> {
        let (asker, name) = (self.asker()?, parse(name)?);
        let v4 = pin!(asker.lookup(name.clone(), RecordType::A));
        let v6 = pin!(asker.lookup(name, RecordType::AAAA));
        let (v4, v6) = match select(v4, v6).await {
            Either::Left((v4, rest)) => {
                let v6 = await_beside(&v4, rest).await;
                (Some(v4), v6)
            }
            Either::Right((v6, rest)) => (await_beside(&v6, rest).await, Some(v6)),
        };
        both(v4, v6)
    }

    /// Whoever can be asked now.
    fn asker(&self) -> Result<TokioResolver, String> {
        let (config, options) = match &*self.servers {
            [] => read_system_conf().map_err(|error| format!("the system names no name server: {error}"))?,
            servers => {
                let ways =
                    |&server| [Protocol::Udp, Protocol::Tcp].map(|way| NameServerConfig::new(server, way));
                let servers: Vec<NameServerConfig> = servers.iter().flat_map(ways).collect();
                (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
            }
        };
        let mut builder = TokioResolver::builder_with_config(config, TokioConnectionProvider::default());
        let mine = builder.options_mut();
        *mine = options;
        mine.timeout = TRY_TIME;
        mine.attempts = TRIES_MORE;
        mine.cache_size = 0;
        mine.use_hosts_file = ResolveHosts::Never;
        mine.try_tcp_on_error = true;
        Ok(builder.build())
    }
}

type Answer = Result<Lookup, ResolveError>;

/// Waits for the answer for the second family no longer than it is worth, if that for the first is any good. None if
/// it did not come.
async fn await_beside(first: &Answer, second: impl Future<Output = Answer>) -> Option<Answer> {
    match first {
        Ok(_) => timeout(SECOND_FAMILY_TIME, second).await.ok(),
        Err(_) => Some(second.await),
    }
}

/// What the answers for both families say together.
fn both(v4: Option<Answer>, v6: Option<Answer>) -> Result<Found<IpAddr>, String> {
    let is_silent = |answer: &Option<Answer>| match answer {
        Some(Ok(_)) => false,
        Some(Err(error)) => !is_denial(error),
        None => true,
    };
    let silent = match (is_silent(&v4), is_silent(&v6)) {
        (true, false) => Some(Family::V4),
        (false, true) => Some(Family::V6),
        _ => None,
    };
    let answers = [v4, v6];
    let mut lookups: Vec<&Lookup> = answers.iter().flatten().flatten().collect();
    // The domains that are searched in are searched for each family apart; what was found in two is not one host.
    if let [v4, v6] = lookups[..]
        && v4.query().name() != v6.query().name()
    {
        lookups.truncate(1);
    }
    let addresses = lookups.iter().flat_map(|lookup| lookup.iter()).filter_map(RData::ip_addr);
    let items = arranged(addresses.collect());
    if !items.is_empty() {
        return Ok(Found { items, valid: lookups.into_iter().filter_map(valid).min(), silent });
    }
    let errors: Vec<&ResolveError> =
        answers.iter().flatten().filter_map(|answer| answer.as_ref().err()).collect();
    // That one family has no address says less than what went wrong with the other.
    let telling = errors.iter().find(|error| !is_empty_answer(error)).or(errors.first());
    Err(telling.map_or_else(|| "the name has no address that can be used".to_owned(), |error| text(error)))
}

/// What the records of an answer say.
fn services_of(lookup: &Lookup) -> Result<Vec<Service>, String> {
    let records: Vec<_> = lookup.iter().filter_map(RData::as_srv).collect();
    if let [record] = records[..]
        && record.target().is_root()
    {
        return Ok(Vec::new());
    }
    let usable = records.iter().filter(|record| !record.target().is_root() && record.port() != 0);
    let mut services: Vec<Service> = usable
        .map(|record| Service {
            target: record.target().to_ascii().trim_end_matches('.').to_ascii_lowercase(),
            port: record.port(),
            priority: record.priority(),
            weight: record.weight(),
        })
        .collect();
    services.sort();
    services.dedup();
    match services.is_empty() {
        true => Err("the name has no service that can be used".to_owned()),
        false => Ok(services),
    }
}

/// The lowest TTL of all that led to the answer.
fn valid(lookup: &Lookup) -> Option<Duration> {
    lookup.records().iter().map(|record| Duration::from_secs(record.ttl().into())).min()
}

fn parse(name: &str) -> Result<Name, String> {
    Name::from_utf8(name).map_err(|error| format!("this is no name that can be looked up: {error}"))
}

/// The addresses of a name in a file of hosts (hosts(5)).
fn in_hosts(hosts: &str, name: &str) -> Vec<IpAddr> {
    let line = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then(|| address.parse().ok())?
    };
    hosts.lines().filter_map(line).collect()
}

/// Those that a connection can be made to, once each: first those of the family that this machine can reach, IPv6 if
/// it can reach both.
fn arranged(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    arranged_by(addresses, reaches)
}

fn arranged_by(addresses: Vec<IpAddr>, reaches: impl Fn(&IpAddr) -> bool) -> Vec<IpAddr> {
    let is_usable = |address: &IpAddr| {
        let broadcast = *address == IpAddr::V4(Ipv4Addr::BROADCAST);
        !address.is_unspecified() && !address.is_multicast() && !broadcast
    };
    let mut addresses: Vec<IpAddr> =
        addresses.into_iter().map(|address| address.to_canonical()).filter(is_usable).collect();
    // IPv4 sorts first.
    addresses.sort();
    addresses.dedup();
    let v4 = addresses.partition_point(IpAddr::is_ipv4);
    if addresses[v4..].iter().any(reaches) {
        addresses.rotate_left(v4);
    }
    addresses
}

/// Whether there is a route to an address, from one of this machine that can get an answer from there (RFC 6724,
/// section 5, rules 1, 2 and 5). Nothing is sent.
fn reaches(address: &IpAddr) -> bool {
    /// Any will do.
    const PORT: u16 = 53;
    let own = || {
        let any: IpAddr = match address {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((*address, PORT))?;
        socket.local_addr()
    };
    own().is_ok_and(|own| match (own.ip(), address) {
        (IpAddr::V6(own), IpAddr::V6(there)) => !is_private(own) || is_private(*there),
        _ => true,
    })
}

/// Whether an address means nothing beyond a link or a site.
fn is_private(address: Ipv6Addr) -> bool {
    address.is_loopback() || address.is_unicast_link_local() || address.is_unique_local()
}

/// Asks the system for addresses, in a thread of its own that nobody waits for when the process ends. None if there
/// are none, or it takes too long.
async fn ask_system(name: &str) -> Option<Vec<IpAddr>> {
    static OPEN: AtomicUsize = AtomicUsize::new(0);
    /// Counts a question for as long as it is open.
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let open = OPEN.fetch_add(1, Ordering::Relaxed);
    let counted = Open;
    if open >= SYSTEM_QUESTIONS_MAX {
        return None;
    }
    let (answer, answered) = oneshot::channel();
    let name = name.to_owned();
    let asking = move || {
        let _counted = counted;
        let found = (name.as_str(), 0).to_socket_addrs().ok();
        // Nobody may be waiting any longer.
        let _ = answer.send(found.map(|found| found.map(|address| address.ip()).collect()));
    };
    std::thread::Builder::new().name("names".to_owned()).spawn(asking).ok()?;
    timeout(LOOK_UP_TIME, answered).await.ok()?.ok()?
}

/// Whether the name is there, without what was asked for.
fn is_empty_answer(error: &ResolveError) -> bool {
    matches!(
        error.proto().map(ProtoError::kind),
        Some(ProtoErrorKind::NoRecordsFound { response_code: ResponseCode::NoError, .. })
    )
}

/// Whether somebody who knows has said that there is nothing.
fn is_denial(error: &ResolveError) -> bool {
    matches!(
        error.proto().map(ProtoError::kind),
        Some(ProtoErrorKind::NoRecordsFound {
            response_code: ResponseCode::NoError | ResponseCode::NXDomain,
            ..
        })
    )
}

/// What went wrong, in a few words.
fn text(error: &ResolveError) -> String {
    match error.proto().map(ProtoError::kind) {
        Some(ProtoErrorKind::NoRecordsFound { response_code: ResponseCode::NXDomain, .. }) => {
            "there is no such name".to_owned()
        }
        Some(ProtoErrorKind::NoRecordsFound { response_code: ResponseCode::NoError, .. }) => {
            "the name has no such record".to_owned()
        }
        Some(ProtoErrorKind::NoRecordsFound { response_code, .. }) => {
            format!("the name server says: {response_code}")
        }
        Some(ProtoErrorKind::Timeout) => "no name server answers".to_owned(),
        Some(ProtoErrorKind::NoConnections) => "no name server can be reached".to_owned(),
        Some(ProtoErrorKind::Io(error)) => format!("no name server can be reached: {error}"),
        _ => format!("the look-up failed: {error}"),
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
