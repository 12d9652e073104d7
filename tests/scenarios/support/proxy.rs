//! The proxy: the real binary, as a child of the test.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::client::{Client, Response};
use super::file::File;
use super::origin::Origin;
use super::{Driver, PATIENCE, Signal};

/// What a child has written to one of its outputs.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Output {
    fn text(&self) -> String {
        super::message::text(&self.0.lock().unwrap())
    }

    /// Keeps all that comes; tells the line that says where the proxy listens.
    fn collect(&self, from: impl Read + Send + 'static) -> Receiver<SocketAddr> {
        let (sender, address) = mpsc::channel();
        let kept = self.0.clone();
        thread::spawn(move || {
            let mut from = BufReader::new(from);
            let mut line = Vec::new();
            while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
                if let Some((_, places)) = super::message::text(&line).trim_end().split_once("listening on ")
                {
                    let ports = places.split(", ").filter_map(|place| place.strip_prefix("http://"));
                    for port in ports {
                        let _ = sender.send(port.parse().unwrap());
                    }
                }
                kept.lock().unwrap().append(&mut line);
            }
        });
        address
    }
}

/// How a proxy is to be started.
pub(crate) struct Setup {
    command: &'static str,
    host: &'static str,
    port: u16,
    cores: usize,
    args: Vec<String>,
    variables: Vec<(String, String)>,
    descriptors_max: Option<u32>,
    reads_output: bool,
    admin: Option<String>,
    user: Option<u32>,
    /// Whether the file says where it listens.
    listens_by_file: bool,
    /// The text of its file, if it is to have one.
    text: Option<String>,
}

impl Setup {
    /// One worker on that driver, on a free port.
    pub(crate) fn new(driver: Driver) -> Setup {
        let args = ["--driver", driver.0];
        Setup {
            command: "run",
            host: "127.0.0.1",
            port: 0,
            cores: 1,
            args: args.map(str::to_owned).to_vec(),
            variables: Vec::new(),
            descriptors_max: None,
            reads_output: true,
            admin: Some("off".to_owned()),
            user: None,
            listens_by_file: false,
            text: None,
        }
    }

    /// The demo, which brings its own origins.
    pub(crate) fn demo(driver: Driver) -> Setup {
        Setup { command: "demo", ..Setup::new(driver) }
    }

    pub(crate) fn origin(self, origin: &Origin) -> Setup {
        let url = origin.url();
        self.args(&["--origin", &url])
    }

    /// That host, rather than the address of loopback.
    pub(crate) fn host(self, host: &'static str) -> Setup {
        Setup { host, ..self }
    }

    /// That port, rather than a free one.
    pub(crate) fn port(self, port: u16) -> Setup {
        Setup { port, ..self }
    }

    /// So many workers, rather than one.
    pub(crate) fn cores(self, cores: usize) -> Setup {
        Setup { cores, ..self }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Setup {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Lets the proxy open so many descriptors and no more.
    pub(crate) fn descriptors_max(self, most: u32) -> Setup {
        Setup { descriptors_max: Some(most), ..self }
    }

    /// Lets the pipe of its standard output fill up.
    pub(crate) fn output_unread(self) -> Setup {
        Setup { reads_output: false, ..self }
    }

    /// With an admin endpoint of its own, on a Unix socket; otherwise there is none.
    pub(crate) fn admin(self) -> Setup {
        let name = format!("ringway-scenario-{}-{:x}.sock", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        self.admin_at(&format!("unix:{}", path.display()))
    }

    /// With the admin endpoint there.
    pub(crate) fn admin_at(self, address: &str) -> Setup {
        Setup { admin: Some(address.to_owned()), ..self }
    }

    /// With the admin endpoint wherever it is if nobody says where.
    pub(crate) fn admin_unsaid(self) -> Setup {
        Setup { admin: None, ..self }
    }

    /// With that file, which says where it listens: a port on loopback is among that.
    pub(crate) fn listening_by(self, file: &str) -> Setup {
        Setup { listens_by_file: true, ..self }.args(&["--config", file])
    }

    /// With a file of that text.
    pub(crate) fn file(self, text: &str) -> Setup {
        Setup { text: Some(text.to_owned()), ..self }
    }

    /// With a file of that text, which says where it listens: a port on loopback is among that.
    pub(crate) fn listening_file(self, text: &str) -> Setup {
        Setup { listens_by_file: true, ..self }.file(text)
    }

    /// As that user, which only root can do.
    pub(crate) fn user(self, user: u32) -> Setup {
        Setup { user: Some(user), ..self }
    }

    fn command(&self) -> Command {
        let binary = env!("CARGO_BIN_EXE_ringway");
        let mut command = match self.descriptors_max {
            None => Command::new(binary),
            Some(most) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("ulimit -n {most}; exec \"$0\" \"$@\""), binary]);
                shell
            }
        };
        let (port, cores) = (self.port.to_string(), self.cores.to_string());
        command.args([self.command, "--cores", &cores]);
        if !self.listens_by_file {
            command.args(["--host", self.host, "--port", &port]);
        }
        if let Some(admin) = &self.admin {
            command.args(["--admin", admin]);
        }
        if let Some(user) = self.user {
            command.uid(user);
        }
        command.args(&self.args).env_clear().env("RUST_BACKTRACE", "1");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn start(self) -> Proxy {
        self.try_start().unwrap_or_else(|said| panic!("the proxy did not start: {said}"))
    }

    /// Starts it, or tells what it said instead.
    pub(crate) fn try_start(mut self) -> Result<Proxy, String> {
        // It is read once, before anything is listened on.
        let _file = self.text.take().map(|text| {
            let file = File::new(&text);
            self.args.extend(["--config".to_owned(), file.path().to_owned()]);
            file
        });
        let mut child = self.command().spawn().expect("the binary starts");
        let (stdout, stderr) = (Output::default(), Output::default());
        let out = child.stdout.take().expect("is piped");
        let (written, unread) = match self.reads_output {
            true => (Some(Mutex::new(stdout.collect(out))), None),
            false => (None, Some(out)),
        };
        let others = stderr.collect(child.stderr.take().expect("is piped"));
        let Ok(address) = others.recv_timeout(PATIENCE) else {
            let _ = child.kill();
            let _ = child.wait();
            return Err(stderr.text());
        };
        let admin = self.admin.unwrap_or_default();
        let others = Mutex::new(others);
        Ok(Proxy { child, address, others, written, admin, stdout, stderr, unread, ended: false })
    }
}

/// A proxy that runs.
pub(crate) struct Proxy {
    child: Child,
    address: SocketAddr,
    /// Where else it listens.
    others: Mutex<Receiver<SocketAddr>>,
    /// Tells nothing, until all of its output has been read.
    written: Option<Mutex<Receiver<SocketAddr>>>,
    admin: String,
    stdout: Output,
    stderr: Output,
    unread: Option<std::process::ChildStdout>,
    ended: bool,
}

impl Proxy {
    /// A proxy in front of one origin.
    pub(crate) fn to(driver: Driver, origin: &Origin) -> Proxy {
        Setup::new(driver).origin(origin).start()
    }

    /// The same, with more arguments.
    pub(crate) fn with(driver: Driver, origin: &Origin, args: &[&str]) -> Proxy {
        Setup::new(driver).origin(origin).args(args).start()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where else it listens: the next port each time.
    pub(crate) fn other_address(&self) -> SocketAddr {
        self.others.lock().unwrap().recv_timeout(PATIENCE).expect("the proxy listens on one more port")
    }

    /// Where its admin endpoint is, as `--admin` takes it.
    pub(crate) fn admin(&self) -> &str {
        &self.admin
    }

    /// Runs the binary with an order to this proxy, such as `purge --tag news`.
    pub(crate) fn order(&self, args: &[&str]) -> Run {
        run(&[args, &["--admin", &self.admin]].concat(), &[])
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A client that is connected to it.
    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// The answer to a request on a connection of its own.
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Response {
        self.client().ask(request)
    }

    /// The answer to a GET on a connection of its own.
    pub(crate) fn get(&self, target: &str) -> Response {
        self.ask(super::message::get(target))
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for a whole line on standard output that has all of these in it.
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        let mut found = None;
        super::eventually(&format!("a line with {parts:?}"), || {
            let out = self.stdout();
            let whole = &out[..out.rfind('\n').map_or(0, |end| end + 1)];
            found =
                whole.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// Closes the pipe of its standard output, if that was left unread.
    pub(crate) fn close_output(&mut self) {
        self.unread = None;
    }

    /// Sends the proxy a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the proxy has ended by itself.
    pub(crate) fn wait(&mut self, bound: Duration) -> ExitStatus {
        let status = wait_for(&mut self.child, bound)
            .unwrap_or_else(|| panic!("the proxy still runs: {}", self.stderr()));
        self.ended = true;
        // What it said last may not have been read yet.
        for output in self.written.iter().chain([&self.others]) {
            while output.lock().unwrap().recv_timeout(PATIENCE).is_ok() {}
        }
        status
    }

    /// Resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// The cores that each of its workers may run on, as the kernel lists them.
    pub(crate) fn cores_of_workers(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let mut cores: Vec<String> = tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("status")).ok())
            .filter(|status| status.starts_with("Name:\tworker-"))
            .filter_map(|status| {
                let line = status.lines().find(|line| line.starts_with("Cpus_allowed_list:"))?;
                line.split_whitespace().nth(1).map(str::to_owned)
            })
            .collect();
        cores.sort();
        cores
    }

    /// How many descriptors it has open when nobody is connected, once it has settled down.
    pub(crate) fn descriptors_at_rest(&self) -> usize {
        assert_eq!(self.ask("\n").status(), 400);
        let (mut last, mut calm) = (0, 0);
        super::eventually("the proxy settles down", || {
            thread::sleep(Duration::from_millis(20));
            let now = self.descriptors();
            calm = if now == last { calm + 1 } else { 0 };
            last = now;
            calm >= 5
        });
        last
    }

    /// How many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let crashed = !self.ended && self.child.try_wait().is_ok_and(|status| status.is_some());
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.unread.take();
        // A proxy that was killed leaves its socket behind.
        if let Some(path) = self.admin.strip_prefix("unix:").filter(|_| !self.ended) {
            let _ = std::fs::remove_file(path);
        }
        let stderr = self.stderr();
        if thread::panicking() {
            eprintln!("what the proxy said:\n{stderr}");
        } else {
            assert!(!crashed, "the proxy ended by itself: {stderr}");
            assert!(!stderr.contains("panicked"), "something in the proxy panicked: {stderr}");
        }
    }
}

/// What a run that ended by itself left behind.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The only line on standard error.
    pub(crate) fn line(&self) -> &str {
        let mut lines = self.stderr.lines();
        let line = lines.next().unwrap_or_default();
        assert_eq!(lines.next(), None, "more than a line: {}", self.stderr);
        line
    }
}

/// Runs the binary with just these arguments and variables until it ends by itself.
pub(crate) fn run(args: &[&str], variables: &[(&str, &str)]) -> Run {
    run_as(None, args, variables)
}

/// The same as another user, which only root can do.
pub(crate) fn run_as(user: Option<u32>, args: &[&str], variables: &[(&str, &str)]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringway"));
    if let Some(user) = user {
        command.uid(user);
    }
    command.args(args).env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    // What it says may be more than fits into a pipe.
    let stdout = gather(child.stdout.take().unwrap());
    let stderr = gather(child.stderr.take().unwrap());
    let status = wait_for(&mut child, PATIENCE);
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let [stdout, stderr] = [stdout, stderr].map(|bytes| super::message::text(&bytes.join().unwrap()));
    let Some(status) = status else { panic!("{args:?} did not end: {stderr}") };
    Run { code: status.code(), stdout, stderr }
}

/// Reads all of it, on a thread of its own.
fn gather(mut source: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn wait_for(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    let started = Instant::now();
    loop {
        match child.try_wait().unwrap() {
            Some(status) => return Some(status),
            None if started.elapsed() > bound => return None,
            None => thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A port on loopback where nothing listens: connections to it are refused for as long as the socket,
/// which only holds the port, is kept.
pub(crate) fn refusing_port() -> (SocketAddr, socket2::Socket) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    (socket.local_addr().unwrap().as_socket().unwrap(), socket)
}

/// A listening socket that takes no more connections: whoever connects hears nothing.
pub(crate) fn deaf_port() -> (SocketAddr, TcpListener, Vec<std::net::TcpStream>) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
        filling.push(stream);
        assert!(filling.len() < 100, "the backlog does not fill up");
    }
    (address, listener, filling)
}
