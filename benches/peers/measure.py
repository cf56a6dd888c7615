"""Runs the scenarios against each server in turns, and prints what a request cost.

The turns are interleaved (every server once, then every server again), so that a machine that grows slower meanwhile
is unfair to nobody. Medians of the rounds are shown, with the spread around them.
"""

import argparse
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import servers


@dataclass(frozen=True)
class Scenario:
    title: str
    path: str
    length: int
    connections: int
    is_hit: bool
    without: tuple = ()


SCENARIOS = {
    "S1": Scenario("hit, 1 KiB, keep-alive", "/hit/1k", 1024, 50, True),
    # HAProxy's cache is for small objects.
    "S3": Scenario("hit, 1 MiB", "/hit/1m", 1 << 20, 8, True, without=("haproxy",)),
    "S4": Scenario("pass-through, 1 KiB, keep-alive", "/pass/1k", 1024, 50, False),
}


@dataclass
class Results:
    """Of one server in one scenario; a value a round."""

    cpu: list = field(default_factory=list)
    rate: list = field(default_factory=list)
    p99: list = field(default_factory=list)
    faults: set = field(default_factory=set)


def arguments():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured (3)")
    parser.add_argument("--seconds", type=int, default=3, help="how long each time (3)")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="which ones (%(default)s)")
    parser.add_argument("--peers", default=",".join(servers.PEERS), help="beside which ones (%(default)s)")
    parser.add_argument("--apart", action="store_true", help="server and client on different cores, if there are two")
    parser.add_argument(
        "--cirrus",
        action="append",
        metavar="NAME=PROGRAM",
        default=[],
        help="this program instead of a fresh build; given twice, two builds are compared",
    )
    chosen = parser.parse_args()
    chosen.peers = [peer for peer in chosen.peers.split(",") if peer]
    chosen.scenarios = chosen.scenarios.split(",")
    for given, known in ((chosen.peers, servers.PEERS), (chosen.scenarios, SCENARIOS)):
        for name in given:
            if name not in known:
                parser.error(f"{name} is none of {', '.join(known)}")
    chosen.rounds = max(1, min(chosen.rounds, 100))
    chosen.seconds = max(1, min(chosen.seconds, 60))
    return chosen


def cores(apart):
    """For the servers, the client, and the origin."""
    usable = sorted(os.sched_getaffinity(0))
    first, last = usable[0], usable[-1]
    # On one core, the client's work is the same for every server, and nobody waits for the other core to wake up.
    return (first, last, last) if apart else (first, first, last)


def main():
    chosen = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="cirrus-peers-", dir=shared))
    running = []
    try:
        origin, measured = start_all(chosen, folder, running)
        results = rounds(chosen, origin, measured)
    finally:
        for server in reversed(running):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    show(chosen, results)
    return any(result.faults for by_name in results.values() for result in by_name.values())


def start_all(chosen, folder, running):
    core, _, far = cores(chosen.apart)

    def keep(server):
        running.append(server)
        server.wait()
        return server

    origin = keep(servers.origin(folder, far))
    measured = [keep(servers.PEERS[peer](peer, folder, core, origin, None)) for peer in chosen.peers]
    for given in chosen.cirrus:
        name, _, binary = given.rpartition("=")
        binary = str(Path(binary).resolve())
        measured.append(keep(servers.cirrus(name or "cirrus", folder, core, origin, binary)))
    return origin, measured


def rounds(chosen, origin, measured):
    results = {
        name: {server.name: Results() for server in measured if server.name not in SCENARIOS[name].without}
        for name in chosen.scenarios
    }
    for number in range(chosen.rounds):
        for name, by_server in results.items():
            for server in measured:
                if server.name in by_server:
                    tell(f"\rround {number + 1} of {chosen.rounds}: {name} {server.name:<12}")
                    once(chosen, SCENARIOS[name], server, origin, by_server[server.name])
    tell("\r" + " " * 50 + "\r")
    return results


def tell(text):
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def once(chosen, scenario, server, origin, result):
    """One turn: fills the cache, checks the answer, then measures."""
    for _ in range(2):
        if len(server.get(scenario.path)) != scenario.length:
            result.faults.add("wrong body")
    wrk(chosen, scenario, server, "1s")
    asked, used = servers.origin_requests(origin), server.cpu()
    output = wrk(chosen, scenario, server, f"{chosen.seconds}s")
    used, asked = server.cpu() - used, servers.origin_requests(origin) - asked - 1
    read(output, used, result)
    requests = int(re.search(r"(\d+) requests in", output)[1])
    # A hit asks nobody; what passes through asks each time.
    if scenario.is_hit and asked > requests // 1000 or not scenario.is_hit and asked < requests:
        result.faults.add(f"{asked} requests to the origin for {requests}")


def wrk(chosen, scenario, server, duration):
    _, core, _ = cores(chosen.apart)
    command = ["taskset", "-c", str(core), servers.program("wrk"), "--latency", "-t1", f"-c{scenario.connections}"]
    done = subprocess.run(
        [*command, f"-d{duration}", server.url(scenario.path)], capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise SystemExit(f"wrk fails against {server.name}:\n{done.stdout}{done.stderr}")
    return done.stdout


MILLISECONDS = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}


def read(output, used, result):
    """What wrk has printed."""
    requests = int(re.search(r"(\d+) requests in", output)[1])
    if requests == 0:
        result.faults.add("no request was answered")
        return
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", output).groups()
    result.cpu.append(used / requests * 1e6)
    result.rate.append(float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]))
    result.p99.append(float(number) * MILLISECONDS[unit])
    for fault in re.findall(r"Socket errors:.*|Non-2xx.*", output):
        result.faults.add(fault.strip())


# === What is shown ===


def show(chosen, results):
    where = "server and client on different cores" if chosen.apart else "server and client on one core"
    print(f"{chosen.rounds} rounds of {chosen.seconds} s, one worker, {where}; medians (lowest to highest)\n")
    for name, by_server in results.items():
        scenario = SCENARIOS[name]
        print(f"{name}  {scenario.title}, {scenario.connections} connections")
        print(f"    {'':<12}{'CPU µs/request':>26}{'requests/s':>28}{'p99 ms':>9}{'CPU/nginx':>11}{'rate/nginx':>11}")
        for server, result in by_server.items():
            print("    " + row(server, result, by_server.get("nginx")))
        print()


def row(name, result, nginx):
    if not result.cpu:
        return f"{name:<12}  failed: {'; '.join(result.faults)}"
    cpu, rate = map(statistics.median, (result.cpu, result.rate))
    line = f"{name:<12}{spread(result.cpu, '.2f'):>26}{spread(result.rate, '.0f'):>28}"
    line += f"{statistics.median(result.p99):>9.2f}"
    if nginx and nginx.cpu:
        line += f"{cpu / statistics.median(nginx.cpu):>11.2f}{rate / statistics.median(nginx.rate):>11.2f}"
    return line + "".join(f"\n        ! {fault}" for fault in sorted(result.faults))


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


if __name__ == "__main__":
    sys.exit(main())
