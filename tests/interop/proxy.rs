//! The binary as a child process.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

/// How long the proxy may take to start, on a machine that has much else to do.
const START_TIME: Duration = Duration::from_secs(60);

/// A running proxy; it ends with its value.
pub(crate) struct Proxy {
    child: Child,
    address: SocketAddr,
    said: Receiver<String>,
}

/// Runs a test in front of an origin, on one driver after the other.
pub(crate) fn on_each_driver(origin: SocketAddr, test: impl Fn(&Proxy)) {
    for driver in ["io_uring", "epoll"] {
        match Proxy::start(origin, driver) {
            Ok(proxy) => test(&proxy),
            Err(said) if driver == "io_uring" && said.contains("io_uring is refused") => {
                eprintln!("skipped on io_uring: {said}");
            }
            Err(said) => panic!("the proxy did not start on {driver}: {said}"),
        }
    }
}

impl Proxy {
    /// Starts it on a port of its own choice. The error is what it said.
    fn start(origin: SocketAddr, driver: &str) -> Result<Proxy, String> {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringway"))
            .env_clear()
            .args(["--host", "127.0.0.1", "--port", "0", "--cores", "1", "--driver", driver])
            .args(["--admin", "off"])
            .args(["--origin", &format!("http://{origin}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (say, said) = channel();
        // Reads on for as long as the proxy lives, so that it never waits for a reader.
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let mut so_far = String::new();
        loop {
            match said.recv_timeout(START_TIME) {
                Ok(line) => {
                    if let Some((_, address)) = line.split_once("listening on http://") {
                        let address = address.trim().parse().unwrap();
                        return Ok(Proxy { child, address, said });
                    }
                    so_far.push_str(&line);
                }
                Err(why) => {
                    if why == RecvTimeoutError::Timeout {
                        so_far.push_str("nothing for a minute");
                    }
                    end(&mut child);
                    return Err(so_far);
                }
            }
        }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        end(&mut self.child);
        if !thread::panicking() {
            // A panic of one connection is caught, but it is said.
            let panics: Vec<_> = self.said.iter().filter(|line| line.contains("panic")).collect();
            assert!(panics.is_empty(), "the proxy panicked: {panics:?}");
        }
    }
}

fn end(child: &mut Child) {
    // It may have ended by itself.
    let _ = child.kill();
    child.wait().unwrap();
}
