//! Hundreds of reloads under load: nobody notices anything but what the file says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::live::{Live, free_port};
use crate::support::{Client, Origin, get, ok, on_each_driver};

/// Routes of the configuration, so that a copy of it that is left behind shows.
const ROUTES: usize = 1_000;

/// How often it is read again.
const RELOADS: usize = 300;

/// After so many reloads memory has its size.
const WARM: usize = 30;

/// How much more memory it may take after all of them: room for a few copies of the configuration, of several MiB each,
/// which requests of a busy machine still use. One for each reload would be many times this much.
const GROWTH_KIB_MAX: usize = 40 * 1024;

/// One of the two configurations between which the proxy goes to and fro.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    A,
    B,
}

impl Which {
    const ALL: [Which; 2] = [Which::A, Which::B];

    fn name(self) -> &'static str {
        match self {
            Which::A => "a",
            Which::B => "b",
        }
    }

    /// The origin of a route, of two: the other one in the other configuration.
    fn origin(self, route: usize) -> usize {
        match self {
            Which::A => route % 2,
            Which::B => 1 - route % 2,
        }
    }

    /// What a request for a route is answered with: what the route says in a field, and what the origin says, its
    /// name and what the route had it told.
    fn answer(self, route: usize) -> (String, String) {
        let name = self.name();
        (format!("{name}-{route}"), format!("{} /{name}/{route} {name}", self.origin(route)))
    }

    /// The file. Upstreams and routes have other names and other places in the other one.
    fn file(self, origins: &[Origin; 2], web: u16, more: u16) -> String {
        let name = self.name();
        let mut parts = vec![format!("[listener.web]\naddress = '127.0.0.1:{web}'\n")];
        if self == Which::B {
            parts.insert(0, format!("[listener.a-more]\naddress = '127.0.0.1:{more}'\n"));
            parts.push("[[route]]\npath = '/only-b'\nrespond = 'b'\n".to_owned());
        }
        let mut places = [0, 1];
        let mut routes: Vec<usize> = (0..ROUTES).collect();
        if self == Which::B {
            places.reverse();
            routes.reverse();
        }
        for place in places {
            parts.push(format!("[upstream.{name}{place}]\nendpoints = '{}'\n", origins[place].endpoint()));
        }
        for route in routes {
            let origin = self.origin(route);
            parts.push(format!(
                "[[route]]\nname = '{name}-{route}'\npath = '/{route}'\nadd-prefix = '/{name}'\n\
                 upstream = '{name}{origin}'\nrequest-header = {{ set = {{ X-By = '{name}' }} }}\n\
                 response-header = {{ set = {{ X-By = '{name}-{route}' }} }}\n"
            ));
        }
        parts.concat()
    }
}

/// Asks for a route, and says which configuration has answered.
///
/// # Panics
/// The answer is none, or one of neither, or the last one on its connection.
fn ask(client: &mut Client, route: usize) -> Which {
    client.send(get(&format!("/{route}")));
    let response = client.try_response_to("GET");
    let response = response.unwrap_or_else(|(head, broken)| panic!("/{route}: {head:?} {broken:?}"));
    assert_eq!(response.status(), 200, "/{route}: {:?} {}", response.head, response.text());
    assert!(!response.says_close(), "{:?}", response.head);
    let got = (response.field("X-By").unwrap_or_default().to_owned(), response.text());
    let which = Which::ALL.into_iter().find(|which| which.answer(route) == got);
    which.unwrap_or_else(|| panic!("neither of the two for /{route}: {got:?}"))
}

/// What clients have seen.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    answers: [AtomicUsize; 2],
}

impl Seen {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn add(&self, which: Which) {
        self.answers[which as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn counts(&self) -> [usize; 2] {
        self.answers.each_ref().map(|count| count.load(Ordering::SeqCst))
    }
}

/// Stops the clients, also where the scenario fails, which would wait for them otherwise.
struct StopAtEnd<'a>(&'a Seen);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::SeqCst);
    }
}

/// Origins that answer with their place, the target, and who the route says that it is.
fn origins() -> [Origin; 2] {
    [0, 1].map(|place| {
        Origin::replying(move |request| {
            ok(format!("{place} {} {}", request.target(), request.field("X-By").unwrap_or("nobody")))
        })
    })
}

#[test]
fn under_load_hundreds_of_reloads_fail_no_request_close_no_connection_and_keep_no_memory() {
    on_each_driver(|driver| {
        let (origins, [web, more]) = (origins(), [free_port(), free_port()]);
        let files = Which::ALL.map(|which| which.file(&origins, web, more));
        let proxy = Live::listening(driver, 2, &files[0]);
        let address = SocketAddr::from(([127, 0, 0, 1], web));
        let seen = Seen::default();
        let mut took = Vec::new();
        let (mut memory, mut descriptors) = (0, 0);
        thread::scope(|scope| {
            let _stop = StopAtEnd(&seen);
            for number in 0..4 {
                let seen = &seen;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(address)).collect();
                    while seen.goes_on() {
                        for client in &mut clients {
                            seen.add(ask(client, random.usize(..ROUTES)));
                        }
                        // One of them keeps its connection, the others ask on a new one.
                        if number == 0 {
                            clients[1] = Client::connect(address);
                        }
                    }
                });
            }
            for count in 1..=RELOADS {
                let run = proxy.apply(&files[count % 2]);
                assert_eq!(run.stderr, "");
                took.push(milliseconds(&run.stdout));
                if count == WARM {
                    (memory, descriptors) = (proxy.resident_kib(), proxy.descriptors());
                }
            }
            // It ends as it was when it was measured.
            let grown = proxy.resident_kib().saturating_sub(memory);
            assert!(grown < GROWTH_KIB_MAX, "{grown} KiB more than {memory}");
            // A connection that is just coming or going, and one to an origin for each client that asks at once.
            let now = proxy.descriptors();
            assert!(now < descriptors + 24, "{now} descriptors after {descriptors}");
        });
        let counts = seen.counts();
        assert!(counts.iter().all(|&count| count > RELOADS / 4), "{counts:?}");
        assert_eq!(proxy.reloads(), (RELOADS as u64, 0));
        let said = proxy.stderr();
        assert!(!said.contains("cannot") && !said.contains("has not reached"), "{said}");
        took.sort_by(f64::total_cmp);
        println!(
            "{}: {counts:?} answers; {RELOADS} reloads of {ROUTES} routes, median {:.1} ms, longest {:.1} ms",
            driver.0,
            took[took.len() / 2],
            took[took.len() - 1]
        );
        proxy.end();
    });
}

/// How long `ringway reload` says that it took.
fn milliseconds(said: &str) -> f64 {
    let (_, took) = said.split_once("cores within ").unwrap();
    took.trim_end().strip_suffix(" ms").unwrap().parse().unwrap()
}

#[test]
fn signals_that_reload_all_the_time_fail_no_request_either() {
    on_each_driver(|driver| {
        let (origins, [web, more]) = (origins(), [free_port(), free_port()]);
        let files = Which::ALL.map(|which| which.file(&origins, web, more));
        let proxy = Live::listening(driver, 4, &files[0]);
        let address = SocketAddr::from(([127, 0, 0, 1], web));
        let seen = Seen::default();
        thread::scope(|scope| {
            let _stop = StopAtEnd(&seen);
            for number in 0..4 {
                let seen = &seen;
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(number);
                    while seen.goes_on() {
                        let mut client = Client::connect(address);
                        for _ in 0..random.usize(1..20) {
                            seen.add(ask(&mut client, random.usize(..ROUTES)));
                        }
                    }
                });
            }
            let started = Instant::now();
            let mut count = 0;
            while started.elapsed() < Duration::from_secs(4) || proxy.reloads().0 < 20 {
                count += 1;
                // Whoever reads the file must find it whole.
                proxy.folder.write("next.toml", &files[count % 2]);
                std::fs::rename(proxy.folder.at("next.toml"), proxy.file()).unwrap();
                proxy.signal(crate::support::Signal::HUP);
                thread::sleep(Duration::from_millis(10));
            }
        });
        assert!(seen.counts().iter().all(|&count| count > 0), "{:?}", seen.counts());
        assert_eq!(proxy.reloads().1, 0, "{}", proxy.stderr());
        proxy.end();
    });
}

#[test]
fn a_route_that_is_looked_up_over_and_over_is_the_one_of_the_newest_file() {
    on_each_driver(|driver| {
        let origins = Arc::new(origins());
        let [web, more] = [free_port(), free_port()];
        let proxy = Live::listening(driver, 2, &Which::A.file(&origins, web, more));
        let address = SocketAddr::from(([127, 0, 0, 1], web));
        let mut clients: Vec<Client> = (0..8).map(|_| Client::connect(address)).collect();
        for round in 0..20 {
            let which = Which::ALL[(round + 1) % 2];
            proxy.apply(&which.file(&origins, web, more));
            // From here on nobody gets anything else.
            for client in &mut clients {
                assert_eq!(ask(client, round), which);
            }
            let extra = std::net::TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], more)));
            assert_eq!(extra.is_ok(), which == Which::B);
        }
    });
}
