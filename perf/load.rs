//! Load that `wrk` does not make, for `perf/run.py`: a mix of objects, and a stampede.
//!
//! `mix` keeps a number of connections busy with objects `/cache/<size>/o<n>` drawn by Zipf, and `stampede`
//! sends the same request on many connections at once and times the first byte of each answer. Both check
//! every byte of content, print one line of JSON, and fail when any answer is not a whole one of 200.
//!
//! One thread, one pinned ring, a task for each connection. Everything is bounded in count and in time.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Parser, Subcommand};
use content::Pattern;
use fastrand::Rng;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpStream;
use monoio::{IoUringDriver, RuntimeBuilder};
use quanta::Instant;
use zipf::{Zipf, sizes};

mod content;
mod zipf;

/// Load for measurements of caches, at 127.0.0.1.
#[derive(Parser)]
struct Arguments {
    /// The port to send requests to.
    #[arg(long)]
    port: u16,
    /// The CPU core to run on.
    #[arg(long)]
    core: Option<usize>,
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Objects drawn by Zipf, on connections that stay open.
    Mix {
        #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
        connections: u16,
        #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
        objects: u32,
        #[arg(long, default_value_t = 0.9)]
        exponent: f64,
        /// Of the draws.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Ends the load after that time.
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
        /// Ends the load after that many requests.
        #[arg(long, default_value_t = 100_000_000)]
        requests: u64,
    },
    /// The same request on all connections at once.
    Stampede {
        #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=8192))]
        clients: u16,
        /// `/cache/<size>/<name>`, with a query or not.
        #[arg(long)]
        target: String,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> io::Result<String> {
    if let Some(id) = arguments.core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        return Err(io::Error::other(format!("cannot run on core {id}")));
    }
    let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, arguments.port));
    let mut runtime =
        RuntimeBuilder::<IoUringDriver>::new().with_entries(RING_ENTRIES).enable_timer().build()?;
    runtime.block_on(async {
        match arguments.load {
            Load::Mix { connections, objects, exponent, seed, seconds, requests } => {
                let limit = Duration::from_secs(seconds);
                let mix = Mix {
                    zipf: Zipf::new(objects, exponent),
                    sizes: sizes(objects),
                    rng: RefCell::new(Rng::with_seed(seed)),
                    left: Cell::new(requests),
                    limit,
                    pattern: Pattern::new(),
                };
                within(limit + GRACE, mix.run(address, connections)).await
            }
            Load::Stampede { clients, target } => within(GRACE, stampede(address, clients, &target)).await,
        }
    })
}

async fn within(limit: Duration, load: impl Future<Output = io::Result<String>>) -> io::Result<String> {
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "the load did not end in time");
    monoio::time::timeout(limit, load).await.unwrap_or_else(|_| Err(timed_out()))
}

/// The latencies of all requests, in microseconds.
type Micros = Vec<u64>;

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn micros_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

// The mix

struct Mix {
    zipf: Zipf,
    sizes: Vec<u32>,
    rng: RefCell<Rng>,
    /// Requests still to be made.
    left: Cell<u64>,
    limit: Duration,
    pattern: Pattern,
}

impl Mix {
    async fn run(self, address: SocketAddr, connections: u16) -> io::Result<String> {
        let mix = Rc::new(self);
        let mut clients = Vec::new();
        for _ in 0..connections {
            clients.push(Client::connect(address).await?);
        }
        let start = Instant::now();
        let spawn = |client| monoio::spawn(Rc::clone(&mix).keep_busy(client, start));
        let tasks: Vec<_> = clients.into_iter().map(spawn).collect();
        let mut latencies = Micros::new();
        let mut bytes = 0;
        for task in tasks {
            let (client_latencies, client_bytes) = task.await?;
            latencies.extend(client_latencies);
            bytes += client_bytes;
        }
        let micros = micros_since(start);
        latencies.sort_unstable();
        let (p50, p99) = (percentile(&latencies, 50), percentile(&latencies, 99));
        let requests = latencies.len();
        Ok(format!(
            r#"{{"requests": {requests}, "micros": {micros}, "p50": {p50}, "p99": {p99}, "bytes": {bytes}}}"#
        ))
    }

    async fn keep_busy(self: Rc<Self>, mut client: Client, start: Instant) -> io::Result<(Micros, u64)> {
        let mut latencies = Micros::new();
        let mut bytes = 0;
        while start.elapsed() < self.limit && self.left.get() > 0 {
            self.left.set(self.left.get() - 1);
            let object = self.zipf.draw(&mut self.rng.borrow_mut());
            let size = self.sizes[object];
            let name = format!("o{object}");
            let sent = Instant::now();
            client.ask(&format!("/cache/{size}/{name}")).await?;
            client.answer(&self.pattern, name.as_bytes(), size as usize).await?;
            latencies.push(micros_since(sent));
            bytes += u64::from(size);
        }
        Ok((latencies, bytes))
    }
}

// The stampede

/// Connects everyone first, and looks at the answers last. Times count from before the first request.
async fn stampede(address: SocketAddr, count: u16, target: &str) -> io::Result<String> {
    let refused = || io::Error::other("the target is not /cache/<size>/<name>");
    let path = target.split('?').next().unwrap_or_default();
    let (size, name) =
        path.strip_prefix("/cache/").and_then(|rest| rest.split_once('/')).ok_or_else(refused)?;
    let size: usize = size.parse().map_err(|_| refused())?;

    let mut clients = Vec::new();
    for _ in 0..count {
        clients.push(Client::connect(address).await?);
    }
    let start = Instant::now();
    let spawn = |mut client: Client| {
        let target = target.to_owned();
        monoio::spawn(async move {
            client.ask(&target).await?;
            client.receive().await?;
            io::Result::Ok((micros_since(start), client))
        })
    };
    let tasks: Vec<_> = clients.into_iter().map(spawn).collect();
    let mut first_bytes = Micros::new();
    let mut answered = Vec::new();
    for task in tasks {
        let (first_byte, client) = task.await?;
        first_bytes.push(first_byte);
        answered.push(client);
    }
    let micros = micros_since(start);
    let pattern = Pattern::new();
    for client in &mut answered {
        client.answer(&pattern, name.as_bytes(), size).await?;
    }
    first_bytes.sort_unstable();
    let (p50, p99) = (percentile(&first_bytes, 50), percentile(&first_bytes, 99));
    let (first, last) = (percentile(&first_bytes, 0), percentile(&first_bytes, 100));
    Ok(format!(
        r#"{{"requests": {count}, "micros": {micros}, "first": {first}, "p50": {p50}, "p99": {p99}, "last": {last}}}"#
    ))
}

// One connection

struct Client {
    stream: TcpStream,
    /// Received and not yet consumed. Never grows.
    buffer: Vec<u8>,
    request: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_addr(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(BUFFER), request: Vec::new() })
    }

    async fn ask(&mut self, target: &str) -> io::Result<()> {
        self.request.clear();
        for part in ["GET ", target, " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"] {
            self.request.extend_from_slice(part.as_bytes());
        }
        let (sent, request) = self.stream.write_all(std::mem::take(&mut self.request)).await;
        self.request = request;
        sent.map(drop)
    }

    /// One read, appended to the buffer.
    async fn receive(&mut self) -> io::Result<()> {
        let kept = self.buffer.len();
        if kept == BUFFER {
            return Err(io::Error::other("a head that is too large"));
        }
        let (read, slice) = self.stream.read(std::mem::take(&mut self.buffer).slice_mut(kept..BUFFER)).await;
        self.buffer = slice.into_inner();
        match read? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "an answer broke off")),
            _ => Ok(()),
        }
    }

    /// Consumes one answer, which must be the whole content of that name.
    async fn answer(&mut self, pattern: &Pattern, name: &[u8], size: usize) -> io::Result<()> {
        let head_len = loop {
            if let Some(start) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break start + 4;
            }
            self.receive().await?;
        };
        check_head(&self.buffer[..head_len], size)?;
        self.buffer.drain(..head_len);
        let mut seen = 0;
        loop {
            let mut rest = self.buffer.as_slice();
            if rest.len() > size - seen {
                return Err(io::Error::other("more content than announced"));
            }
            for piece in pattern.pieces(name, seen..seen + rest.len()) {
                let (front, behind) = rest.split_at(piece.len());
                if front != piece {
                    return Err(io::Error::other(format!("wrong content within {size} bytes")));
                }
                rest = behind;
            }
            seen += self.buffer.len();
            self.buffer.clear();
            if seen == size {
                return Ok(());
            }
            self.receive().await?;
        }
    }
}

/// The head must be one of status 200, with the content length expected.
fn check_head(head: &[u8], size: usize) -> io::Result<()> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.lines();
    let status = lines.next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 200 ") {
        return Err(io::Error::other(format!("an answer of {status:?}")));
    }
    let named = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    };
    match lines.find_map(named) {
        Some(length) if length == size => Ok(()),
        length => Err(io::Error::other(format!("a content length of {length:?}, not {size}"))),
    }
}

const RING_ENTRIES: u32 = 4096;
/// Receive buffer of a connection, and so the largest head.
const BUFFER: usize = 64 * 1024;
/// How long answers may take beyond the time of the load.
const GRACE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_only_whole_answers() {
        assert!(check_head(b"HTTP/1.1 200 OK\r\nA: b\r\ncontent-length:  5 \r\n\r\n", 5).is_ok());
        for head in [
            "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\n",
        ] {
            assert!(check_head(head.as_bytes(), 5).is_err(), "{head}");
        }
    }

    #[test]
    fn percentiles_of_few() {
        assert_eq!(percentile(&[], 50), 0);
        assert_eq!(percentile(&[1, 2, 3], 0), 1);
        assert_eq!(percentile(&[1, 2, 3], 100), 3);
    }
}
