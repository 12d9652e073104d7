//! From a request to the admin endpoint to its answer.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;

use super::gate::{Caller, Denied, Gate};
use super::upstreams::{
    DRAIN, DrainAnswer, DrainRequest, DrainedEndpoint, RESTORE, UPSTREAMS, UpstreamsAnswer,
};
use super::wire::{
    CLEAR, CONTENT_BYTES_MAX, CacheStatus, CodingStatus, EXPLAIN, Failed, HeldStatus, MirrorStatus, PURGE,
    PurgeRequest, Purged, RELOAD, ReloadAnswer, ReloadStatus, RequestStatus, STATUS, Status,
    TurnedAwayStatus, WorkerStatus,
};
use super::{Event, Facts};
use crate::cache::purge::Purge;
use crate::clock::{Clock, Moment};
use crate::error::Reason;
use crate::observe::Totals;
use crate::proxy::explain::Account;
use crate::server::configure::NotReloaded;
use crate::server::report::Report;
use crate::server::upkeep::{NotDrained, Silent};
use crate::upstream::NodeReport;

/// How long the content of a request may take.
const CONTENT_TIME: Duration = Duration::from_secs(3);

/// What answers are made from.
pub(super) struct Desk {
    pub(super) gate: Gate,
    facts: Facts,
    events: flume::Sender<Event>,
    refused: AtomicU64,
    clock: Clock,
    started: Moment,
}

/// Why there is no better answer.
struct Failure(StatusCode, String);

impl Desk {
    pub(super) fn new(gate: Gate, facts: Facts, events: flume::Sender<Event>) -> Desk {
        let clock = Clock::default();
        Desk { gate, facts, events, refused: AtomicU64::new(0), started: clock.now(), clock }
    }

    /// Answers a request.
    pub(super) async fn answer(
        &self,
        caller: Caller,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        if let Err(denied) = self.gate.check(caller, request.version(), request.headers()) {
            return Ok(self.refuse(denied));
        }
        let path = request.uri().path().to_owned();
        let allowed = match &*path {
            STATUS | UPSTREAMS => "GET",
            CLEAR | PURGE | RELOAD | EXPLAIN | DRAIN | RESTORE => "POST",
            _ => return Ok(failure(Failure(StatusCode::NOT_FOUND, format!("there is no {path}")))),
        };
        if request.method().as_str() != allowed {
            let text = format!("{path} takes {allowed}");
            let mut response = failure(Failure(StatusCode::METHOD_NOT_ALLOWED, text));
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            return Ok(response);
        }
        Ok(match &*path {
            STATUS => json(StatusCode::OK, &self.status().await),
            UPSTREAMS => answer(self.upstreams().await),
            RELOAD => answer(self.reload().await),
            EXPLAIN => answer(self.explain(request).await),
            DRAIN => answer(self.drain(request, true).await),
            RESTORE => answer(self.drain(request, false).await),
            _ => answer(self.purge(request, &path).await),
        })
    }

    /// Has the configuration read again, and waits until the cores have it.
    async fn reload(&self) -> Result<ReloadAnswer, Failure> {
        let gone = |_| Failure(StatusCode::SERVICE_UNAVAILABLE, "the proxy is about to end".to_owned());
        let (done, answer) = flume::bounded(1);
        self.events.send(Event::Reload { done: Some(done) }).map_err(|_| gone(()))?;
        let result = answer.recv_async().await.map_err(|_| gone(()))?;
        let reloaded = result.map_err(|why| match why {
            NotReloaded::Configuration(why) => Failure(StatusCode::UNPROCESSABLE_ENTITY, why),
            NotReloaded::Address(why) => Failure(StatusCode::CONFLICT, why),
        })?;
        Ok(ReloadAnswer {
            took_ms: reloaded.took.as_secs_f64() * 1e3,
            workers: self.facts.cores.len(),
            late: reloaded.late,
            notes: reloaded.notes,
        })
    }

    fn refuse(&self, denied: Denied) -> Response<Full<Bytes>> {
        self.refused.fetch_add(1, Ordering::Relaxed);
        let mut response = failure(Failure(denied.status(), denied.text().to_owned()));
        if denied == Denied::Token {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    async fn status(&self) -> Status<'_> {
        let reports = self.reports().await;
        let listing = self.facts.upkeep.list().await;
        let worker = |(report, &core): (&Report, &usize)| WorkerStatus {
            core,
            connections: report.connections,
            requests: report.totals.requests,
        };
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_seconds: self.clock.now().since(self.started).as_secs(),
            cores: &self.facts.cores,
            driver: &self.facts.driver,
            reloads: ReloadStatus {
                done: self.facts.reloads.done.load(Ordering::Relaxed),
                failed: self.facts.reloads.failed.load(Ordering::Relaxed),
            },
            mirrors: reports.as_deref().map(|reports| MirrorStatus {
                sent: reports.iter().map(|report| report.totals.mirrored).sum(),
                skipped: reports.iter().map(|report| report.totals.mirror_skipped).sum(),
            }),
            held: reports.as_deref().map(|reports| HeldStatus::of(&totals(reports))),
            requests: reports.as_deref().map(|reports| RequestStatus::of(&totals(reports))),
            ended: reports.as_deref().map(|reports| ended(&totals(reports))),
            turned_away: reports.as_deref().map(|reports| TurnedAwayStatus::of(&totals(reports))),
            pressure: reports.as_deref().and_then(<[_]>::first).map(|report| report.pressure.into()),
            coding: reports.as_deref().map(|reports| CodingStatus::of(&totals(reports))),
            rules: reports.as_deref().map(rules),
            upkeep: listing.ok().map(|listing| listing.counted),
            refused: self.refused.load(Ordering::Relaxed),
            // Cores may have different configurations for a moment: the first one speaks for all.
            rates: (reports.as_deref().and_then(<[Report]>::first))
                .map(|first| first.rates.iter().map(|rate| rate.report(&self.clock)).collect()),
            workers: reports
                .as_deref()
                .map(|reports| reports.iter().zip(&self.facts.cores).map(worker).collect()),
            cache: self.facts.cache_bytes_max.zip(reports).map(|(max, reports)| cache_status(max, &reports)),
        }
    }

    /// What the cores say about themselves; none if one of them does not answer.
    async fn reports(&self) -> Option<Vec<Report>> {
        let (done, reports) = flume::bounded(1);
        self.events.send(Event::Report { done }).ok()?;
        reports.recv_async().await.ok()
    }

    /// Has a core say what becomes of a request.
    async fn explain(&self, request: Request<Incoming>) -> Result<Account, Failure> {
        let content = read(request.into_body()).await?;
        let bad = |why: String| Failure(StatusCode::BAD_REQUEST, why);
        let question = serde_json::from_slice(&content).map_err(|error| bad(error.to_string()))?;
        let (done, account) = flume::bounded(1);
        self.events.send(Event::Explain { question, done }).map_err(|_| stopping())?;
        let silent = || Failure(StatusCode::GATEWAY_TIMEOUT, "no core has answered in time".to_owned());
        account.recv_async().await.map_err(|_| silent())?.map_err(bad)
    }

    /// All upstreams, with what the cores say of their endpoints.
    async fn upstreams(&self) -> Result<UpstreamsAnswer, Failure> {
        let mut upstreams = self.facts.upkeep.list().await.map_err(unanswered)?.upstreams;
        let Some(nodes) = self.nodes().await else { return Ok(UpstreamsAnswer { upstreams }) };
        for upstream in &mut upstreams {
            for endpoint in &mut upstream.endpoints {
                let counts = counts(&nodes, &upstream.name, &endpoint.address);
                endpoint.in_flight = Some(counts.in_flight);
                endpoint.idle = Some(counts.idle);
                endpoint.requests = Some(counts.requests);
                endpoint.failures = Some(counts.failures);
            }
        }
        Ok(UpstreamsAnswer { upstreams })
    }

    /// Has an endpoint get no more requests, or again.
    async fn drain(&self, request: Request<Incoming>, drained: bool) -> Result<DrainAnswer, Failure> {
        let content = read(request.into_body()).await?;
        let order = DrainRequest::read(&content).map_err(|why| Failure(StatusCode::BAD_REQUEST, why))?;
        let result = self.facts.upkeep.drain(order, drained).await.map_err(unanswered)?;
        let met = result.map_err(|why| match why {
            NotDrained::Unknown(why) => Failure(StatusCode::NOT_FOUND, why),
            NotDrained::Several(why) => Failure(StatusCode::CONFLICT, why),
        })?;
        // The cores hear of the order before they hear this question.
        let nodes = self.nodes().await;
        let told = |drained: crate::server::upkeep::Drained| {
            let address = drained.address.to_string();
            let counts = nodes.as_ref().map(|nodes| counts(nodes, &drained.upstream, &address));
            DrainedEndpoint {
                upstream: drained.upstream,
                address,
                changed: drained.changed,
                in_flight: counts.map(|counts| counts.in_flight),
            }
        };
        Ok(DrainAnswer { endpoints: met.into_iter().map(told).collect() })
    }

    /// What the cores say of endpoints, all together; none if one of them does not answer.
    async fn nodes(&self) -> Option<HashMap<(Arc<str>, String), NodeCounts>> {
        let reports = self.reports().await?;
        let mut nodes: HashMap<_, NodeCounts> = HashMap::new();
        for node in reports.into_iter().flat_map(|report| report.nodes) {
            let key = (node.key.upstream.clone(), node.key.address.to_string());
            nodes.entry(key).or_default().add(&node);
        }
        Some(nodes)
    }

    async fn purge(&self, request: Request<Incoming>, path: &str) -> Result<Purged, Failure> {
        let content = read(request.into_body()).await?;
        let bad = |why: String| Failure(StatusCode::BAD_REQUEST, why);
        let asked = PurgeRequest::read(&content).map_err(bad)?;
        let purge = if path == CLEAR { asked.all() } else { asked.some() }.map_err(bad)?;
        if self.facts.cache_bytes_max.is_none() {
            return Err(Failure(StatusCode::CONFLICT, "the cache is off".to_owned()));
        }
        Ok(Purged { removed: self.carry_out(purge).await? })
    }

    /// Has the control thread purge, and waits for the count.
    async fn carry_out(&self, purge: Purge) -> Result<u64, Failure> {
        let (done, count) = flume::bounded(1);
        self.events.send(Event::Purge { purge, done }).map_err(|_| stopping())?;
        count.recv_async().await.map_err(|_| {
            let text = "the purge has not reached every core in time; try again";
            Failure(StatusCode::GATEWAY_TIMEOUT, text.to_owned())
        })
    }
}

/// What all cores have counted of an endpoint.
#[derive(Clone, Copy, Debug, Default)]
struct NodeCounts {
    in_flight: u64,
    idle: u64,
    requests: u64,
    failures: u64,
}

impl NodeCounts {
    fn add(&mut self, node: &NodeReport) {
        self.in_flight += u64::from(node.in_flight);
        self.idle += u64::try_from(node.idle).unwrap_or_default();
        self.requests += node.requests;
        self.failures += node.failures;
    }
}

/// Of an endpoint that no core has used there is nothing.
fn counts(nodes: &HashMap<(Arc<str>, String), NodeCounts>, upstream: &str, address: &str) -> NodeCounts {
    nodes.get(&(upstream.into(), address.to_owned())).copied().unwrap_or_default()
}

fn stopping() -> Failure {
    Failure(StatusCode::SERVICE_UNAVAILABLE, "the proxy is stopping".to_owned())
}

/// Whoever keeps upstreams up says nothing.
fn unanswered(silent: Silent) -> Failure {
    match silent {
        Silent::Ended => stopping(),
        Silent::Late => {
            let text =
                "whoever keeps upstreams up has not answered in time; what was ordered may be done yet";
            Failure(StatusCode::GATEWAY_TIMEOUT, text.to_owned())
        }
    }
}

/// What all cores have counted together.
fn totals(reports: &[Report]) -> Totals {
    let mut totals = Totals::default();
    reports.iter().for_each(|report| totals.merge(&report.totals));
    totals
}

/// Why exchanges have ended.
fn ended(totals: &Totals) -> BTreeMap<&'static str, u64> {
    let counted = Reason::ALL.iter().map(|&reason| (reason.name(), totals.ended(reason)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// How often rules have held: each core says what all have counted, a moment apart.
fn rules(reports: &[Report]) -> BTreeMap<String, u64> {
    let mut rules = BTreeMap::new();
    for (name, hits) in reports.iter().flat_map(|report| &report.rules) {
        let most: &mut u64 = rules.entry(name.clone()).or_default();
        *most = (*most).max(*hits);
    }
    rules
}

/// What the cores say about the cache, together.
fn cache_status(bytes_max: usize, reports: &[Report]) -> CacheStatus {
    let totals = totals(reports);
    CacheStatus {
        // Each says what all hold together, a moment apart.
        bytes: reports.iter().map(|report| report.cache_bytes).max().unwrap_or_default(),
        bytes_max,
        entries: reports.iter().map(|report| report.cache_entries).sum(),
        evicted: reports.iter().map(|report| report.cache_evicted).sum(),
        hits: totals.cache_hits,
        misses: totals.cache_misses,
        stale: totals.cache_stale,
        revalidated: totals.cache_revalidated,
        bypassed: totals.cache_bypassed,
    }
}

/// The whole content, if it is neither too long nor too slow.
async fn read(content: Incoming) -> Result<Bytes, Failure> {
    let whole = Limited::new(content, CONTENT_BYTES_MAX).collect();
    match tokio::time::timeout(CONTENT_TIME, whole).await {
        Ok(Ok(content)) => Ok(content.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Failure(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the content may have {CONTENT_BYTES_MAX} bytes"),
        )),
        Ok(Err(error)) => Err(Failure(StatusCode::BAD_REQUEST, format!("the content is broken: {error}"))),
        Err(_) => Err(Failure(StatusCode::REQUEST_TIMEOUT, "the content took too long".to_owned())),
    }
}

fn answer(result: Result<impl Serialize, Failure>) -> Response<Full<Bytes>> {
    match result {
        Ok(content) => json(StatusCode::OK, &content),
        Err(why) => failure(why),
    }
}

fn failure(Failure(status, error): Failure) -> Response<Full<Bytes>> {
    json(status, &Failed { error })
}

fn json(status: StatusCode, content: &impl Serialize) -> Response<Full<Bytes>> {
    // What is written here has no map with keys other than text, so nothing can fail.
    let mut content = serde_json::to_vec(content).unwrap_or_default();
    content.push(b'\n');
    let mut response = Response::new(Full::from(content));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
