#!/usr/bin/env python3
"""What a well-behaved client notices of an attack on the listener that it uses: a slowloris, a flood, both.

    perf/attack.py --ringway target/release/ringway --origin target/release/examples/origin

The proxy has core 0. The client, the origin and the attackers share core 1, where the attackers only get what the
others leave: what is measured is the proxy, not the fight for a core. The client asks on a kept connection, one request
after another, and its quiet times before and after are what those under attack are held against. The mark is a 99th
percentile of at most twice the quiet one.
"""

import argparse
import contextlib
import http.client
import json
import multiprocessing
import os
import pathlib
import resource
import signal
import socket
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from measure import LOAD_CORE, PROXY_CORE, Failed, Process, free_port  # noqa: E402

FILES = 40_000
# An attack is under way once it has so much of its connections; it is waited for so long.
SWING = 0.9
SWING_SECONDS = 30
MARK = 2.0
# The limits of the attacked listener, as somebody would set them who expects this.
CONFIGURATION = """
origin = "http://127.0.0.1:{origin}"
[listener.web]
address = "127.0.0.1:{port}"
head-timeout = "5s"
body-timeout = "5s"
max-connections = 20000
max-client-connections = 200
client-connection-rate = "20/s"
"""


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES if hard == resource.RLIM_INFINITY else min(hard, FILES), hard))
    os.sched_setaffinity(0, {LOAD_CORE})
    with contextlib.ExitStack() as stack:
        directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attack-")))
        origin_port, port = free_port(), free_port()
        command = [options.origin, "--core", str(LOAD_CORE), "--port", str(origin_port)]
        stack.enter_context(Process("origin", command, LOAD_CORE, origin_port, directory))
        file = directory / "ringway.toml"
        file.write_text(CONFIGURATION.format(origin=origin_port, port=port))
        admin = directory / "admin.sock"
        command = [options.ringway, "run", "--config", str(file), "--cores", "1", "--admin", f"unix:{admin}"]
        stack.enter_context(Process("ringway", command, PROXY_CORE, port, directory))
        measure(port, options.seconds, 1)  # warms it up
        phases, starved = [], []
        for name, attacks in PHASES:
            with contextlib.ExitStack() as attackers:
                for attack in attacks:
                    attackers.enter_context(Attack(attack, port, options))
                if attacks:
                    in_full_swing(admin, slowloris in attacks, options)
                refused_before = connections(admin)[1]
                p50, p99, count = measure(port, options.seconds)
                open_now, refused = connections(admin)
                refused -= refused_before
            # A starved attack proves nothing.
            if (slowloris in attacks and open_now < options.slow * SWING) or (flood in attacks and not refused):
                starved.append(name)
            phases.append((name, bool(attacks), p50, p99))
            seen = f"{open_now} open, {refused / options.seconds:.0f} refused a second"
            print(f"{name:<22} p50 {p50:7.0f} µs  p99 {p99:7.0f} µs  {count:6} requests  {seen}", flush=True)
            time.sleep(1)
    quiet = sorted((p99, p50) for _, attacked, p50, p99 in phases if not attacked)
    p99_quiet, p50_quiet = quiet[len(quiet) // 2]
    print(f"\nto the quiet one in the middle (the quiet ones differ by {quiet[-1][0] / quiet[0][0]:.2f}):")
    worst = 0.0
    for name, attacked, p50, p99 in phases:
        if attacked:
            print(f"{name:<22} p50 {p50 / p50_quiet:5.2f}  p99 {p99 / p99_quiet:5.2f}")
            worst = max(worst, p99 / p99_quiet)
    if starved:
        raise Failed(f"nothing is shown: the attackers got too little of the machine for: {', '.join(starved)}")
    print(f"99th percentile: at most {worst:.2f}; the mark is {MARK:.2f}")
    return 0 if worst <= MARK else 1


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ringway", required=True, type=os.path.abspath, metavar="PATH", help="a built binary")
    parser.add_argument("--origin", required=True, type=os.path.abspath, metavar="PATH", help="the built example `origin`")
    parser.add_argument("--seconds", type=int, default=8, help="of each phase; default: 8")
    parser.add_argument("--slow", type=int, default=4000, help="connections of the slowloris; default: 4000")
    parser.add_argument("--flood", type=int, default=4000, help="new connections a second, at most; default: 4000")
    return parser.parse_args()


def measure(port, seconds, least=200):
    """Latencies of a client that asks again and again: the 50th and the 99th percentile, in microseconds."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request = b"GET /b/1024 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    took, end = [], time.monotonic() + seconds
    with client:
        while time.monotonic() < end:
            began = time.perf_counter_ns()
            client.sendall(request)
            received = b""
            while len(received) < 1024 or len(received) < received.find(b"\r\n\r\n") + 4 + 1024:
                piece = client.recv(65536)
                if not piece:
                    raise Failed("the well-behaved client was cut off")
                received += piece
            took.append(time.perf_counter_ns() - began)
            if not received.startswith(b"HTTP/1.1 200 "):
                raise Failed(f"the well-behaved client was told: {received[:60]!r}")
            time.sleep(0.001)
    if len(took) < least:
        raise Failed(f"only {len(took)} requests")
    took.sort()
    return took[len(took) // 2] / 1e3, took[len(took) * 99 // 100] / 1e3, len(took)


def in_full_swing(admin, is_slow, options):
    """Waits until an attack is under way. Attackers get only what others leave, so that this may take a while."""
    time.sleep(2)
    end = time.monotonic() + SWING_SECONDS
    while is_slow and connections(admin)[0] < options.slow * SWING and time.monotonic() < end:
        time.sleep(0.5)


def connections(admin):
    """How many the proxy has open, and how many it has refused so far."""
    told = told_by(admin)
    refused = sum(told["turned_away"][name] for name in ("process", "listener", "client", "rate", "client_rate"))
    return told["pressure"]["connections"], refused


def told_by(admin):
    """The proxy's status."""
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(str(admin))
    connection.request("GET", "/status")
    with contextlib.closing(connection):
        return json.loads(connection.getresponse().read())


class Attack:
    """An attack in a process of its own, which only gets what others leave of the core."""

    def __init__(self, body, port, options):
        self.process = multiprocessing.Process(target=self.run, args=(body, port, options), daemon=True)

    @staticmethod
    def run(body, port, options):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        body(port, options)

    def __enter__(self):
        self.process.start()

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()


def attacker(number):
    """One of many addresses; the well-behaved client has another one."""
    return f"127.{1 + number // 60000 % 200}.{number // 250 % 250}.{2 + number % 250}"


def connect(port, address):
    client = socket.socket()
    client.setblocking(False)
    client.bind((address, 0))
    with contextlib.suppress(BlockingIOError):
        client.connect(("127.0.0.1", port))
    return client


def slowloris(port, options):
    """Many connections, each of which sends its head a byte now and then, and comes back when it is closed."""
    clients, number = [], 0
    while True:
        began = time.monotonic()
        kept = []
        for client in clients:
            try:
                client.send(b"x")
                kept.append(client)
            except OSError:
                client.close()
        clients = kept
        for _ in range(min(options.slow - len(clients), options.slow // 4)):
            client = connect(port, attacker(number % 400))
            number += 1
            with contextlib.suppress(OSError):
                client.send(b"GET / HTTP/1.1\r\nX: ")
            clients.append(client)
        time.sleep(max(0.05, 0.5 - (time.monotonic() - began)))


def flood(port, options):
    """New connections without end, each with a request that nobody waits for."""
    began, count = time.monotonic(), 0
    while True:
        client = connect(port, attacker(count % 50))
        with contextlib.suppress(OSError):
            client.send(b"GET /b/1024 HTTP/1.1\r\nHost: a\r\n\r\n")
        client.close()
        count += 1
        ahead = count / options.flood - (time.monotonic() - began)
        if ahead > 0.01:
            time.sleep(ahead)


PHASES = [
    ("quiet", []),
    ("slowloris", [slowloris]),
    ("quiet again", []),
    ("flood", [flood]),
    ("slowloris and flood", [slowloris, flood]),
    ("quiet at the end", []),
]


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        sys.exit(f"attack.py: {error}")
