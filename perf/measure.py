"""Takes the samples: one proxy on its own core, under load, holding idle connections, or answering from its cache."""

import contextlib
import ctypes
import dataclasses
import functools
import http.client
import itertools
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import string
import subprocess
import time

import features
import report

HERE = pathlib.Path(__file__).resolve().parent
PROXY_CORE, LOAD_CORE = 0, 1
IDLE_CONNECTIONS, IDLE_SECONDS = 4000, 6
# Below the range that outgoing connections take their ports from.
PORT_FIRST = 18000
LIBC = ctypes.CDLL(None)
# Without it the C library returns freed buffers to the kernel and faults them in again, a hundred times for 1 MiB.
NGINX_ENVIRONMENT = {"MALLOC_TRIM_THRESHOLD_": str(256 * 1024 * 1024)}
# Idle connections are opened this many at a time, and the warm-up before has as many.
IDLE_BATCH = 8
# What every cache is given. The mix, whose sizes are in zipf.rs, is about four times as large.
CACHE_MIB = 256
MIX_OBJECTS, MIX_EXPONENT = 20_000, 0.9
# Enough to fill the cache several times, after which its hit ratio hardly changes.
MIX_WARM_UP_REQUESTS = 150_000
STAMPEDE_DELAY_MS = 200
# A hit makes none; a few are for what a cache may do in the background.
HIT_ORIGIN_REQUESTS_MAX = 10
# What Varnish would write to its log in memory, the tags of every request. The other peers log nothing.
VARNISH_QUIET = (
    "Begin End Link ReqStart ReqMethod ReqURL ReqProtocol ReqHeader ReqUnset ReqAcct RespProtocol RespStatus RespReason "
    "RespHeader RespUnset BereqMethod BereqURL BereqProtocol BereqHeader BereqUnset BereqAcct BerespProtocol "
    "BerespStatus BerespReason BerespHeader BerespUnset BackendOpen BackendReuse BackendClose Fetch_Body Filters "
    "Storage TTL Length Hit VCL_call VCL_return VCL_use Timestamp SessOpen SessClose"
).split()


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One kind of load. Scenarios of the same panel share an axis in the chart."""

    name: str
    title: str
    panel: str
    connections: int
    size: int
    close: bool = False
    idle: bool = False
    # Answered by a cache: "hit" asks for one stored response, "mix" for many, "stampede" for a missing one.
    cache: str = ""
    # Each is measured beside the others: names of the table in features.py.
    variants: tuple = ()
    with_peers: bool = True
    # The target, where the size alone does not say it.
    path: str = ""


SCENARIOS = [
    Scenario("c8", "8 connections, 1 KiB", "1 KiB by connections", 8, 1024),
    Scenario("c64", "64 connections, 1 KiB", "1 KiB by connections", 64, 1024),
    Scenario("c512", "512 connections, 1 KiB", "1 KiB by connections", 512, 1024),
    Scenario("c2000", "2,000 connections, 1 KiB", "1 KiB by connections", 2000, 1024),
    Scenario("b0", "64 connections, no content", "no content", 64, 0),
    Scenario("b64k", "64 connections, 64 KiB", "64 KiB", 64, 64 * 1024),
    Scenario("b1m", "64 connections, 1 MiB", "1 MiB", 64, 1024 * 1024),
    Scenario("b1m-c8", "8 connections, 1 MiB", "1 MiB", 8, 1024 * 1024),
    Scenario("close", "64 clients, new connections, 1 KiB", "new connection", 64, 1024, close=True),
    Scenario("idle", "4,000 idle connections", "idle connection", IDLE_CONNECTIONS, 1024, idle=True),
    Scenario("hit1k", "64 connections, 1 KiB from cache", "1 KiB from cache", 64, 1024, cache="hit"),
    Scenario("hit64k", "64 connections, 64 KiB from cache", "64 KiB from cache", 64, 64 * 1024, cache="hit"),
    Scenario("zipf", "64 connections, mix of 4 times the cache", "mix larger than the cache", 64, 0, cache="mix"),
    Scenario("stampede", "1,000 clients, one missing key", "stampede", 1000, 1024, cache="stampede"),
    Scenario("features", "64 connections, 1 KiB, on and not hit", "features", 64, 1024, with_peers=False, variants=(
        "off", "access", "probes", "rate", "bearer", "cors", "security-headers", "compress", "compress-type",
        "buffer-request", "buffer-response")),
    Scenario("rules1k", "64 connections, 1 KiB, 1,000 rules", "features", 64, 1024, variants=("off", "rules1k")),
    Scenario("networks10k", "64 connections, 1 KiB, 10,000 networks", "features", 64, 1024,
             variants=("off", "networks10k")),
    Scenario("rate", "64 connections, 1 KiB, a rate", "features", 64, 1024, variants=("off", "rate")),
    Scenario("log", "64 connections, 1 KiB, access log", "features", 64, 1024, variants=("off", "log")),
    Scenario("gzip16k", "64 connections, 16 KiB of text, compressed", "compressed on the way", 64, 16 * 1024,
             variants=("gzip1", "gzip5"), path="/text/16384"),
    Scenario("gzip100k", "64 connections, 100 KiB of text, compressed", "compressed on the way", 64, 100 * 1024,
             variants=("gzip1", "gzip5"), path="/text/102400"),
    Scenario("gzip-hit", "64 connections, 64 KiB of text, compressed, from cache", "compressed from cache", 64,
             64 * 1024, cache="hit", variants=("plain-hit", "gzip-hit"), path="/text/65536/fresh"),
]


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A proxy to measure; `command` is the binary, and for Ringway its further arguments."""

    name: str
    command: tuple
    is_peer: bool
    feature: features.Feature | None = None


class Failed(Exception):
    """A measurement that does not count, or a start that did not succeed. The text names the cause."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """What all scenarios of a run have in common."""

    directory: pathlib.Path
    memory: pathlib.Path  # a directory in memory
    origin: "Process"
    load: str  # the load generator for what wrk does not do
    files_max: int
    rounds: int
    seconds: int


def measure_load(setting, scenario, proxies, result):
    """Interleaved rounds of load; the proxies stay up, idle while another one has its turn."""
    with contextlib.ExitStack() as stack:
        running = {}
        for proxy in proxies:
            with result.failures_of(proxy.name, Failed):
                process = stack.enter_context(start(setting, proxy, scenario))
                warm_up(setting, process, scenario)
                running[proxy.name] = process
        for number in range(1, setting.rounds + 1):
            for name, process in running.items():
                if name in result.failures:
                    continue
                time.sleep(0.3)  # the last run's connections finish closing
                with result.failures_of(name, Failed):
                    sample = sample_load(setting, process, scenario, number)
                    result.add(name, number, sample)
                    print(f"{scenario.name} {number}/{setting.rounds} {name}: {sample.cost:.2f} µs", flush=True)


def warm_up(setting, process, scenario):
    if scenario.cache == "mix":
        load_mix(setting, process.port, scenario, 0, f"--requests={MIX_WARM_UP_REQUESTS}")
    elif scenario.cache == "stampede":
        load_stampede(setting, process.port, scenario, 0)
    else:
        check_answer(setting, process, scenario)
        wrk(process.port, scenario, min(2, setting.seconds), process.feature)


def sample_load(setting, process, scenario, number):
    started, stolen, asked = time.monotonic(), steal_ns(PROXY_CORE), origin_requests(setting)
    cpu, waited = process.cpu_ns(), process.waited_ns()
    if scenario.cache == "mix":
        seen = load_mix(setting, process.port, scenario, number, f"--seconds={setting.seconds}")
    elif scenario.cache == "stampede":
        seen = load_stampede(setting, process.port, scenario, number)
    else:
        seen = wrk(process.port, scenario, setting.seconds, process.feature)
    cpu, waited = process.cpu_ns() - cpu, process.waited_ns() - waited
    elapsed_ns = (time.monotonic() - started) * 1e9
    asked = origin_requests(setting) - asked
    if scenario.cache == "hit":
        if asked > HIT_ORIGIN_REQUESTS_MAX:
            raise Failed(f"not answered from the cache: {asked} of {seen['requests']} requests reached the origin")
        check_answer(setting, process, scenario)  # wrk does not look at it
    return report.Sample(
        cost=cpu / seen["requests"] / 1e3,
        requests=seen["requests"],
        rate=seen["requests"] / seen["micros"] * 1e6,
        p50_us=seen["p50"],
        p99_us=seen["p99"],
        busy=cpu / elapsed_ns,
        disturbed=(waited + steal_ns(PROXY_CORE) - stolen) / elapsed_ns,
        origin_requests=asked,
        first_us=seen.get("first", 0),
        last_us=seen.get("last", 0),
        held_mib=process.held_bytes() / 2**20 if scenario.cache == "mix" else 0,
        shorter=process.shorter,
    )


def load_mix(setting, port, scenario, seed, limit):
    """Many objects, drawn alike for every proxy; every byte is checked."""
    arguments = [f"--connections={scenario.connections}", f"--objects={MIX_OBJECTS}", f"--exponent={MIX_EXPONENT}"]
    return load(setting, port, "mix", *arguments, f"--seed={seed}", limit)


def load_stampede(setting, port, scenario, number):
    """All clients ask at once for a key that nobody has asked for."""
    target = f"/cache/{scenario.size}/stampede-{port}-{number}"
    arguments = [f"--clients={scenario.connections}", f"--target={target}?delay={STAMPEDE_DELAY_MS}"]
    return load(setting, port, "stampede", *arguments)


def load(setting, port, *arguments):
    command = [setting.load, "--port", str(port), "--core", str(LOAD_CORE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=630, check=True)
    except subprocess.CalledProcessError as error:
        raise Failed((error.stderr or error.stdout).strip()[-200:]) from error
    except subprocess.TimeoutExpired as error:
        raise Failed("the load did not end in time") from error
    return json.loads(done.stdout)


def origin_requests(setting):
    """How many requests for what may be stored have reached the origin."""
    connection = http.client.HTTPConnection("127.0.0.1", setting.origin.port, timeout=10)
    try:
        connection.request("GET", "/counts")
        return int(connection.getresponse().read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Failed(f"the origin's count: {error!r}") from error
    finally:
        connection.close()


def wrk(port, scenario, seconds, feature=None):
    """One run of the load generator. Anything but answers of 2xx, and any socket error, fails it."""
    command = ["wrk", "-t1", f"-c{scenario.connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(HERE / "peers" / "wrk.lua")]
    if scenario.close:
        command += ["-H", "Connection: close"]
    command += [word for line in (feature.fields if feature else ()) for word in ("-H", line)]
    command.append(f"http://127.0.0.1:{port}{target(scenario, feature)}")
    try:
        # Without --latency: the script reports the same percentiles, exactly.
        output = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 30, check=True).stdout
    except subprocess.CalledProcessError as error:
        raise Failed(f"wrk: {(error.stderr or error.stdout).strip()[-200:]}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed("wrk did not end in time") from error
    seen = json.loads(output.strip().splitlines()[-1])
    if errors := {kind: count for kind, count in seen["errors"].items() if count}:
        raise Failed(f"wrk saw errors: {errors} in {seen['requests']} requests")
    if not seen["requests"]:
        raise Failed("wrk saw no answer")
    return seen


def target(scenario, feature=None):
    if given := feature and feature.target or scenario.path:
        return given
    return f"/cache/{scenario.size}/{scenario.name}" if scenario.cache else f"/b/{scenario.size}"


def content(scenario):
    """What the origin answers. content.rs says the same in Rust."""
    sequence, start = string.ascii_lowercase.encode(), 0
    if scenario.cache:
        sequence, start = cache_sequence(), 0xCBF29CE484222325
        for byte in scenario.name.encode():
            start = (start ^ byte) * 0x100000001B3 % 2**64
        start %= len(sequence)
    return (sequence * (scenario.size // len(sequence) + 2))[start : start + scenario.size]


@functools.cache
def cache_sequence():
    state, sequence = 1, bytearray()
    for _ in range(65_521):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        sequence.append(state >> 56)
    return bytes(sequence)


def check_answer(setting, process, scenario):
    """With a feature, the answer has to be the origin's too, but may be compressed, and have other fields."""
    if not (feature := process.feature):
        return check_content(process.port, scenario)
    where = target(scenario, feature)
    process.shorter = features.check(process.port, setting.origin.port, where, feature, Failed)


def check_content(port, scenario):
    """The proxy must pass on the origin's bytes, and keep or close the connection as asked."""
    expected = content(scenario)
    etag = f'"{scenario.size}-{scenario.name}"' if scenario.cache else None
    fields = {"Connection": "close"} if scenario.close else {}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        for _ in range(1 if scenario.close else 2):
            connection.request("GET", target(scenario), headers=fields)
            response = connection.getresponse()
            received = response.read()
            if response.status != 200:
                raise Failed(f"answers {response.status} {response.reason}")
            if received != expected:
                raise Failed(f"answers {len(received)} bytes of content, not the origin's {len(expected)}")
            if response.getheader("ETag") != etag:
                raise Failed(f"answers an ETag of {response.getheader('ETag')}, not the origin's {etag}")
            if response.will_close != scenario.close:
                raise Failed("does not close" if scenario.close else "does not keep the connection")
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"check request: {error!r}") from error
    finally:
        connection.close()


def measure_idle(setting, scenario, proxies, result):
    """Resident memory of idle connections, in bytes each. Each sample has a fresh process of its own.

    What a warm-up allocated and freed would count as memory of the idle connections that reuse it, or hide it, so
    the warm-up is as small as what opens them.
    """
    rounds = min(setting.rounds, 3)
    for number, proxy in itertools.product(range(1, rounds + 1), proxies):
        if proxy.name in result.failures:
            continue
        with result.failures_of(proxy.name, Failed), start(setting, proxy, scenario) as process:
            check_content(process.port, scenario)
            warm_up = dataclasses.replace(scenario, connections=IDLE_BATCH)
            wrk(process.port, warm_up, seconds=1)
            time.sleep(1)
            before = process.resident_bytes()
            with contextlib.ExitStack() as stack:
                open_idle(process.port, scenario, stack)
                cost = (process.resident_bytes() - before) / scenario.connections
            result.add(proxy.name, number, report.Sample(cost=cost, requests=scenario.connections))
            print(f"{scenario.name} {number}/{rounds} {proxy.name}: {cost:.0f} bytes", flush=True)


def open_idle(port, scenario, stack):
    """Opens the connections, makes one request on each, and waits. They close with `stack`."""
    request = f"GET /b/{scenario.size} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    poll = select.poll()
    try:
        for _ in range(0, scenario.connections, IDLE_BATCH):
            batch = [
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                for _ in range(IDLE_BATCH)
            ]
            for connection in batch:
                connection.sendall(request)
            for connection in batch:
                response = http.client.HTTPResponse(connection)
                response.begin()
                if response.status != 200 or len(response.read()) != scenario.size:
                    raise Failed(f"answers {response.status} to one of {scenario.connections} connections")
                poll.register(connection, select.POLLIN)
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"one of {scenario.connections} connections: {error!r}") from error
    time.sleep(IDLE_SECONDS)
    if closed := len(poll.poll(0)):
        raise Failed(f"closed {closed} of {scenario.connections} idle connections")


# Processes


class Process:
    """A server on a core of its own, in a session of its own, which ends with the `with` block."""

    def __init__(self, name, command, core, port, directory, environment=None, memory=None):
        self.name, self.port, self.memory = name, port, memory
        self.feature, self.shorter = None, 0.0
        self.log = directory / f"{name}-{port}.log"
        with self.log.open("wb") as log:
            try:
                self.child = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
                    env=os.environ | (environment or {}),
                    start_new_session=True, preexec_fn=lambda: settle_on(core),
                )
            except OSError as error:
                raise Failed(f"{name} did not start: {error}") from error

    def __enter__(self):
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_until_ready(self):
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and self.child.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return
            time.sleep(0.05)
        said = self.log.read_text(errors="replace").strip()[-500:]
        raise Failed(f"{self.name} did not start{': ' if said else ''}{said}")

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(3)
            except subprocess.TimeoutExpired:
                pass
        # What is left of the session: the process itself when it did not end, and children of it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()
        if self.memory:
            shutil.rmtree(self.memory, ignore_errors=True)

    def pids(self):
        """The process and all that descend from it."""
        found = [self.child.pid]
        for pid in found:
            for children in pathlib.Path("/proc").glob(f"{pid}/task/*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def cpu_ns(self):
        """CPU time used so far, threads that have ended included.

        The process CPU clock is the sum of what `/proc/<pid>/task/*/schedstat` counts, and loses nothing when
        a thread ends, such as a worker of io_uring. The identifier is the one of clock_getcpuclockid(3).
        """
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.child.returncode}")
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.pids())

    def waited_ns(self):
        """Time that threads were ready to run and something else had the core.

        Nothing for Varnish, whose many threads wait for each other.
        """
        total = 0
        if self.name == "varnish":
            return total
        for pid in self.pids():
            for path in pathlib.Path("/proc").glob(f"{pid}/task/*/schedstat"):
                with contextlib.suppress(OSError):
                    total += int(path.read_text().split()[1])
        return total

    def resident_bytes(self):
        total = 0
        for pid in self.pids():
            status = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += sum(int(line.split()[1]) for line in status.splitlines() if line.startswith("Rss:"))
        return total * 1024


    def held_bytes(self):
        """Resident memory, and the files of a cache in files, which are in memory too."""
        files = 0
        for path in (self.memory / "cache").rglob("*") if self.memory else ():
            with contextlib.suppress(OSError):  # evicted meanwhile
                files += path.lstat().st_blocks * 512
        return self.resident_bytes() + files


def settle_on(core):
    """Runs in a new process: takes the core, and asks to be ended when this script is killed."""
    os.sched_setaffinity(0, {core})
    pr_set_pdeathsig = 1
    LIBC.prctl(pr_set_pdeathsig, signal.SIGTERM)


def start(setting, proxy, scenario):
    process = start_peer(setting, proxy, scenario) if proxy.is_peer else start_ringway(setting, proxy, scenario)
    process.feature = proxy.feature
    return process


def start_ringway(setting, proxy, scenario):
    port = free_port()
    command = [*proxy.command, "--host", "127.0.0.1", "--port", str(port), "--cores", "1"]
    if proxy.feature:
        config = features.ringway_config(proxy.feature, setting.directory, setting.origin.port, port)
        command += ["--config", str(config)]
    else:
        command += ["--origin", f"http://127.0.0.1:{setting.origin.port}"]
    given = {word.partition("=")[0] for word in proxy.command}
    if scenario.cache and given.isdisjoint({"--cache-size", "--no-cache"}):
        command += ["--cache-size", f"{CACHE_MIB}MiB"]
    return Process(file_name(proxy), command, PROXY_CORE, port, setting.directory)


def file_name(proxy):
    return proxy.name.replace("/", "-")


def start_peer(setting, proxy, scenario):
    port, kind = free_port(), proxy.name.partition("-")[0]
    memory = setting.memory / f"{proxy.name}-{port}"
    memory.mkdir()
    cached = "-cache" if scenario.cache else ""
    templates = {"nginx": f"nginx{cached}.conf", "haproxy": f"haproxy{cached}.cfg", "varnish": "varnish.vcl"}
    config = setting.directory / f"{proxy.name}-{port}.conf"
    config.write_text(string.Template((HERE / "peers" / templates[kind]).read_text()).substitute(
        port=port, origin_port=setting.origin.port, directory=setting.directory, cache_directory=memory / "cache",
        cache_mib=CACHE_MIB, files_max=setting.files_max, connections_max=setting.files_max // 2 - 500,
        # Workers of a master started by root would be someone else, who may not write here.
        nginx_user="user root;" if os.geteuid() == 0 else "",
        **features.nginx_lines(proxy.feature, setting.directory),
    ))
    flags = {
        "nginx": ["-p", str(setting.directory), "-c", str(config)],
        "haproxy": ["-db", "-f", str(config)],
        "varnish": varnish_flags(config, memory, port),
    }
    environment = NGINX_ENVIRONMENT if kind == "nginx" else None
    command = [*proxy.command, *flags[kind]]
    return Process(proxy.name, command, PROXY_CORE, port, setting.directory, environment, memory)


def varnish_flags(config, memory, port):
    """In the foreground, without its command port, its own directory in memory, and one pool for one core.

    It has no mode of one thread: its manager and its cache process, with a thread for each request at work, share
    the core, and both are counted.
    """
    parameters = {
        "thread_pools": 1, "thread_pool_min": 100, "thread_pool_max": 5000, "listen_depth": 4096,
        "timeout_idle": 75, "vsl_mask": ",".join(f"-{tag}" for tag in VARNISH_QUIET),
    }
    flags = ["-F", "-j", "none", "-n", str(memory / "work"), "-a", f"127.0.0.1:{port}", "-T", "none"]
    flags += ["-f", str(config), "-s", f"malloc,{CACHE_MIB}m"]
    return flags + [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]


def free_port(ports=itertools.count(PORT_FIRST)):
    """A port that nothing uses; each only once, since a closed ring may keep its listener for a moment."""
    for port in ports:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def steal_ns(core):
    """Time that the hypervisor gave to others, in steps of a clock tick."""
    for line in pathlib.Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            return int(line.split()[8]) * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    return 0
