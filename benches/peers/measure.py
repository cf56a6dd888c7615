"""Runs the scenarios against each server in turns, and prints what a request cost.

The turns are interleaved (every server once, then every server again), so that a machine that grows slower meanwhile
is unfair to nobody. Medians of the rounds are shown, with the spread around them.
"""

import argparse
import contextlib
import os
import resource
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import peers
import scenarios
import servers
from scenarios import SCENARIOS

# Idle connections at both ends, and open files of 10,000 objects in nginx.
FILES = 16384


@dataclass
class Bench:
    """What the scenarios need to know of the run."""

    seconds: int
    client_core: int
    origin: servers.Server


class Peer:
    """One of the compared, as any number of running servers."""

    def __init__(self, name, configure, place, running):
        self.name, self.configure, self.place, self.running = name, configure, place, running
        self.has_tls = configure is not peers.varnish
        self.kept, self.started = {}, 0

    def server(self, sites=0):
        """The one with that many sites, 0 for any host; started when it is first asked for."""
        if sites not in self.kept:
            self.kept[sites] = self.start(sites)
        return self.kept[sites]

    @contextlib.contextmanager
    def fresh(self):
        """One that nobody has used before."""
        server = self.start(0)
        try:
            yield server
        finally:
            self.running.remove(server)
            server.stop()

    def start(self, sites):
        self.started += 1
        server = self.configure(f"{self.name}-{self.started}", self.place, sites)
        self.running.append(server)
        server.wait()
        return server


def arguments():
    parser = argparse.ArgumentParser(prog="benches/peers/run", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each server is measured (3)")
    parser.add_argument("--seconds", type=int, default=2, help="how long each time (2)")
    parser.add_argument("--scenarios", default=",".join(SCENARIOS), help="which ones (%(default)s)")
    parser.add_argument("--peers", default=",".join(peers.PEERS), help="beside which ones (%(default)s)")
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
    for given, known in ((chosen.peers, peers.PEERS), (chosen.scenarios, SCENARIOS)):
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


def allow_files():
    """For this process and all that it starts."""
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most != resource.RLIM_INFINITY and most < FILES:
        raise SystemExit(f"only {most} open files are allowed, {FILES} are needed (ulimit -Hn)")
    if allowed != resource.RLIM_INFINITY and allowed < FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, most))


def main():
    chosen = arguments()
    allow_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="cirrus-peers-", dir=shared))
    running = []
    try:
        results = rounds(chosen, *prepare(chosen, folder, running))
    finally:
        for server in reversed(running):
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    show(chosen, results)
    return any(result.faults for by_peer in results.values() for result in by_peer.values())


def prepare(chosen, folder, running):
    core, client_core, far = cores(chosen.apart)
    origin = servers.origin(folder, far)
    running.append(origin)
    origin.wait()
    place = servers.Place(folder, core, origin, servers.certificate(folder))
    compared = [Peer(name, peers.PEERS[name], place, running) for name in chosen.peers]
    for given in chosen.cirrus:
        name, _, binary = given.rpartition("=")
        configure = peers.cirrus(str(Path(binary).resolve()))
        compared.append(Peer(name or "cirrus", configure, place, running))
    return Bench(chosen.seconds, client_core, origin), compared


def rounds(chosen, bench, compared):
    results = {
        name: {peer.name: scenarios.Results() for peer in compared if peer.name not in SCENARIOS[name].without}
        for name in chosen.scenarios
    }
    for number in range(chosen.rounds):
        for name, by_peer in results.items():
            for peer in compared:
                if peer.name in by_peer and number < SCENARIOS[name].rounds:
                    tell(f"\rround {number + 1} of {chosen.rounds}: {name} {peer.name:<12}")
                    SCENARIOS[name].turn(bench, peer, by_peer[peer.name], number == 0)
    tell("\r" + " " * 50 + "\r")
    return results


def tell(text):
    if sys.stderr.isatty():
        print(text, end="", file=sys.stderr, flush=True)


def show(chosen, results):
    where = "server and client on different cores" if chosen.apart else "server and client on one core"
    print(f"{chosen.rounds} rounds of {chosen.seconds} s, one worker, {where}; medians (lowest to highest)\n")
    for name, by_peer in results.items():
        scenarios.show(SCENARIOS[name], name, by_peer)


if __name__ == "__main__":
    sys.exit(main())
