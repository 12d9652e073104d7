#!/usr/bin/env python3
"""Measures Ringway beside nginx, HAProxy and Varnish, and one build of Ringway beside another. README.md explains it.

Each proxy runs alone on one core; the origin, the load generator and this script share the other one. Rounds
are interleaved: every proxy once, then every proxy again. All processes started here end with it.
"""

import argparse
import contextlib
import datetime
import fcntl
import itertools
import json
import os
import pathlib
import platform
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True  # keeps the imports below from leaving a cache directory here
import features  # noqa: E402
import report  # noqa: E402
from measure import (  # noqa: E402
    LOAD_CORE, PROXY_CORE, SCENARIOS, Failed, Process, Proxy, Setting, free_port, measure_idle, measure_load,
)

HERE = pathlib.Path(__file__).resolve().parent
PEERS = {"nginx": "nginx", "haproxy": "haproxy", "varnish": "varnishd"}  # and their binaries
ONLY_CACHES = {"varnish"}  # has no part in scenarios without a cache
PACKAGES = {"nginx": "nginx-light", "haproxy": "haproxy", "varnishd": "varnish", "wrk": "wrk"}
# Open files: 4,000 idle connections, or 2,000 on both sides of a proxy, need the first number at least.
FILES_MIN, FILES_MAX = 12_000, 65_536


def main():
    options = arguments()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a shell started this with it ignored
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        with contextlib.ExitStack() as stack:
            return run(options, stack)
    except Failed as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("run.py: interrupted, nothing was written", file=sys.stderr)
        return 130


def run(options, stack):
    if not {PROXY_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise Failed(f"needs the cores {PROXY_CORE} and {LOAD_CORE}")
    files_max = raise_files_limit()
    missing = find_tools([*(PEERS[peer] for peer in options.peers), "wrk"], options.install)
    options.peers = [peer for peer in options.peers if PEERS[peer] not in missing]
    origin_binary, load_binary, proxies = binaries(options)
    os.sched_setaffinity(0, {LOAD_CORE})
    take_turn(stack)

    directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perf-")))
    in_memory = tempfile.TemporaryDirectory(prefix="perf-", dir="/dev/shm", ignore_cleanup_errors=True)
    memory = pathlib.Path(stack.enter_context(in_memory))
    origin_port = free_port()
    command = [origin_binary, "--core", str(LOAD_CORE), "--port", str(origin_port)]
    origin = stack.enter_context(Process("origin", command, LOAD_CORE, origin_port, directory))
    setting = Setting(directory, memory, origin, load_binary, files_max, options.rounds, options.seconds)

    facts = machine(proxies, options)
    if missing:
        facts["not installed, left out"] = ", ".join(missing)
    print("\n".join(f"{name}: {value}" for name, value in facts.items()), end="\n\n", flush=True)
    results = []
    for scenario in options.scenario:
        able = [proxy for proxy in proxies if scenario.cache or proxy.name not in ONLY_CACHES]
        if scenario.variants:
            able = features.expanded(scenario, proxies)
        peers = [proxy.name for proxy in able if proxy.is_peer]
        result = report.Result(scenario, [proxy.name for proxy in able], peers)
        measure = measure_idle if scenario.idle else measure_load
        measure(setting, scenario, able, result)
        results.append(result)
        print(f"\n{result.table()}\n", flush=True)

    if not options.no_write:
        print(f"written to {write(results, facts, options.date)}")
    return 1 if any(result.failures for result in results) else 0


def arguments():
    parser = argparse.ArgumentParser(description="Measures Ringway and its peers; README.md explains how.")
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--scenario", action="append", choices=names, help="may be repeated; default: all")
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument("--seconds", type=int, default=5, help="of load per proxy and round; default: 5")
    parser.add_argument("--peers", default=",".join(PEERS), help="nginx,haproxy,varnish (default), some of these, none")
    parser.add_argument("--ringway", action="append", metavar="[NAME=]PATH [ARGS]",
                        help="a built binary instead of building one; repeat it to compare builds")
    parser.add_argument("--without-ringway", action="store_true", help="the peers alone")
    parser.add_argument("--origin", metavar="PATH", help="a built origin instead of building one")
    parser.add_argument("--load", metavar="PATH", help="a built load generator instead of building one")
    parser.add_argument("--date", help="name of the directory under results; default: today")
    parser.add_argument("--no-write", action="store_true", help="print only")
    parser.add_argument("--install", action="store_true", help="apt-get install what is missing")
    options = parser.parse_args()

    options.peers = [] if options.peers == "none" else options.peers.split(",")
    if unknown := set(options.peers) - set(PEERS):
        parser.error(f"no such peer: {', '.join(sorted(unknown))}")
    if options.without_ringway and not options.peers:
        parser.error("nothing to measure")
    if options.rounds < 1 or options.seconds < 1:
        parser.error("rounds and seconds start at 1")
    if options.date and pathlib.Path(options.date).name != options.date:
        parser.error("--date is one directory name")
    options.scenario = [s for s in SCENARIOS if not options.scenario or s.name in options.scenario]
    return options


# Preparation


def raise_files_limit():
    """Raises the limit of open files, which all processes started here inherit."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if limit < FILES_MIN:
        raise Failed(f"the hard limit of open files is {hard}; {FILES_MIN} are needed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def find_tools(names, install):
    """Installs what is missing, if asked to. Returns what is still missing; none of it is a must but `wrk`."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"  # where Debian keeps daemons, and users have no path to
    missing = [name for name in names if not shutil.which(name)]
    if not missing:
        return missing
    command = ["apt-get", "install", "-y", "--no-install-recommends", *(PACKAGES[name] for name in missing)]
    if os.geteuid() != 0:
        command.insert(0, "sudo")
    if install:
        if subprocess.run(command, check=False).returncode:
            raise Failed(f"could not install: {shlex.join(command)}")
        return []
    if "wrk" in missing:
        raise Failed(f"missing; install with --install or: {shlex.join(command)}")
    names = ", ".join(missing)
    print(f"MISSING, and left out: {names}; install with --install or: {shlex.join(command)}", flush=True)
    return missing


def take_turn(stack):
    """Waits until no other run measures on this machine. The lock is on the load generator, which all runs share."""
    lock = stack.enter_context(open(shutil.which("wrk"), "rb"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("waiting for another run to end", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def binaries(options):
    """The binaries of origin and load, and the proxies in the order of a round, built where no path was given."""
    tools = {"origin": options.origin, "load": options.load}
    targets = [word for name, path in tools.items() if not path for word in ("--example", name)]
    if not options.ringway and not options.without_ringway:
        targets += ["--bin", "ringway"]
    built = cargo_build(targets) if targets else {}

    proxies = []
    if not options.without_ringway:
        for given in options.ringway or [f"ringway={built['ringway']}"]:
            named = re.fullmatch(r"([\w.-]+)=(.*)", given)
            name, command = named.groups() if named else ("ringway", given)
            command = tuple(shlex.split(command))
            path = shutil.which(command[0]) if command else None
            if path is None:
                raise Failed(f"no such binary: {given}")
            proxies.append(Proxy(name, (os.path.abspath(path), *command[1:]), is_peer=False))
    proxies += [Proxy(name, (PEERS[name],), is_peer=True) for name in options.peers]
    if len({proxy.name for proxy in proxies}) < len(proxies):
        raise Failed("two proxies have the same name; give NAME=PATH")
    if not proxies:
        raise Failed("nothing to measure")
    origin, load = (os.path.abspath(path or built[name]) for name, path in tools.items())
    return origin, load, proxies


def cargo_build(targets):
    """Builds, and returns where cargo put each executable."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", *targets]
    try:
        build = subprocess.run(command, cwd=HERE.parent, stdout=subprocess.PIPE, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Failed(f"the build failed: {error}") from error
    messages = [json.loads(line) for line in build.stdout.splitlines() if line.startswith("{")]
    return {m["target"]["name"]: m["executable"] for m in messages if m.get("executable")}


# The record


def machine(proxies, options):
    cpu = [line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    congestion = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    commit = first_line("git", "-C", str(HERE), "describe", "--always", "--dirty", "--exclude=*")
    facts = {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        "kernel": platform.release(),
        "CPU": f"{cpu[0].partition(':')[2].strip() if cpu else platform.machine()}, {os.cpu_count()} cores",
        "TCP congestion control": congestion,
        "load average at the start": f"{os.getloadavg()[0]:.2f}",
        "rounds": f"{options.rounds} of {options.seconds} s",
        "commit of the tree": commit,
    }
    version_flags = {"nginx": "-v", "haproxy": "-v", "varnish": "-V"}
    for proxy in proxies:
        facts[proxy.name] = first_line(proxy.command[0], version_flags.get(proxy.name, "--version"))
        if proxy.command[1:]:
            facts[proxy.name] += f" ({shlex.join(proxy.command[1:])})"
    facts["wrk"] = first_line("wrk", "-v", statuses=(1,))
    return facts


def first_line(*command, statuses=(0,)):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines and done.returncode in statuses else "unknown"


def write(results, facts, date):
    """Writes the record into a new directory, or into the one that was named."""
    today = f"{datetime.date.today()}"
    names = [date] if date else itertools.chain([today], (f"{today}-{number}" for number in itertools.count(2)))
    for name in names:
        directory = HERE / "results" / name
        if date or not directory.exists():
            break
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "samples.csv").write_text(report.csv_text(results))
    (directory / "results.md").write_text(report.markdown(results, facts, name))
    (directory / "cpu.svg").write_text(report.chart(results))
    return directory.relative_to(HERE.parent)


if __name__ == "__main__":
    sys.exit(main())
