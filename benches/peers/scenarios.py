"""What is measured, and how it is told."""

import statistics
import time
from collections import defaultdict
from dataclasses import dataclass, field

import clients
import peers
import servers


@dataclass(frozen=True)
class Column:
    """One measure. With `ratio`, a second column tells its ratio to nginx."""

    heading: str
    form: str
    ratio: str = ""
    has_spread: bool = True


@dataclass
class Results:
    """Of one server in one scenario."""

    values: dict = field(default_factory=lambda: defaultdict(list))
    faults: set = field(default_factory=set)

    def median(self, key):
        return statistics.median(self.values[key]) if self.values[key] else None


CPU = Column("CPU µs/request", ".2f", "CPU/nginx")
RATE = Column("requests/s", ".0f", "rate/nginx")


# === Requests as fast as they are answered ===


@dataclass(frozen=True)
class Load:
    title: str
    path: str
    length: int
    connections: int
    is_hit: bool
    tls: bool = False
    client: object = clients.wrk
    without: tuple = ()
    rounds: int = 100
    # `peers.DISK`: what is cached is too large for memory.
    store: object = 0

    columns = {"cpu": CPU, "rate": RATE, "p99": Column("p99 ms", ".2f", has_spread=False)}

    def turn(self, bench, peer, result, is_first):
        """Fills the cache, checks the answer, then measures."""
        server = peer.server(self.store)
        for _ in range(2):
            if len(server.get(self.path, tls=self.tls)) != self.length:
                result.faults.add("wrong body")
        url = server.url(self.path, self.tls)
        if is_first:
            self.client(bench.client_core, url, self.connections, 1)
        taken = measure(
            bench, server, self.is_hit, lambda: self.client(bench.client_core, url, self.connections, bench.seconds)
        )
        note(taken, result, "cpu", "rate", "p99")


def measure(bench, server, is_hit, client):
    """Runs the client: what it has seen, and the server's seconds of CPU time meanwhile."""
    asked, used = servers.origin_requests(bench.origin), server.cpu()
    answered = client()
    used = server.cpu() - used
    # The question itself is counted, too.
    asked = servers.origin_requests(bench.origin) - asked - 1
    # A hit asks nobody; what passes through asks each time.
    if is_hit and asked > answered.requests // 1000 or not is_hit and asked < answered.requests:
        answered.faults.append(f"{asked} requests to the origin for {answered.requests}")
    return answered, used


def note(taken, result, cpu, rate, p99):
    answered, used = taken
    result.faults.update(answered.faults)
    if answered.requests == 0:
        result.faults.add("no request was answered")
        return
    result.values[cpu].append(used / answered.requests * 1e6)
    result.values[rate].append(answered.rate)
    if answered.p99 is not None:
        result.values[p99].append(answered.p99)


# === Connections that do nothing ===


@dataclass(frozen=True)
class Memory:
    title: str
    path: str
    length: int
    connections: int
    seconds: int
    without: tuple = ()
    # It takes long; the peers differ by a few percent between rounds.
    rounds: int = 1

    columns = {
        "plain": Column("KiB/connection", ".2f", "/nginx"),
        "tls": Column("with TLS", ".2f", "/nginx"),
    }

    def turn(self, bench, peer, result, _is_first):
        for key in self.columns:
            if key == "plain" or peer.has_tls:
                self.grow(bench, peer, result, key)

    def grow(self, bench, peer, result, key):
        """A server of its own each time: what a server once had from the system it mostly keeps."""
        tls = key == "tls"
        with peer.fresh() as server:
            # All that is made once is made before: buffers, threads, and the object in the cache.
            with clients.Idle(server, self.path, self.length, 50, tls):
                pass
            before = server.memory()
            with clients.Idle(server, self.path, self.length, self.connections, tls) as idle:
                time.sleep(self.seconds)
                grown = server.memory() - before
                if gone := idle.gone():
                    result.faults.add(f"{gone} of {self.connections} connections closed by the server")
        result.values[key].append(grown / self.connections)


# === Many sites against one ===


@dataclass(frozen=True)
class Sites:
    title: str
    path: str
    length: int
    connections: int
    sites: int
    without: tuple = ()
    rounds: int = 100

    columns = {
        "one": Column("CPU µs, one site", ".2f"),
        "many": Column("CPU µs, many", ".2f"),
        "cpu": Column("CPU many/one", ".2f"),
        "rate": Column("rate many/one", ".2f"),
        "memory": Column("MiB, many", ".0f", has_spread=False),
    }

    def turn(self, bench, peer, result, is_first):
        taken = Results()
        for key, sites in (("one", 1), ("many", self.sites)):
            server = peer.server(sites)
            if is_first:
                self.fill(server, sites, result)
            url = server.url(self.path)
            answered = measure(
                bench,
                server,
                True,
                lambda: clients.wrk(bench.client_core, url, self.connections, bench.seconds, sites),
            )
            note(answered, taken, key, key + " rate", key + " p99")
        result.faults |= taken.faults
        if taken.values["one"] and taken.values["many"]:
            self.compare(taken, result)
            result.values["memory"].append(server.memory() / 1024)

    def fill(self, server, sites, result):
        """Every site's object is in the cache before anything is measured."""
        if any(len(body) != self.length for body in server.get_of_each(self.path, sites)):
            result.faults.add("wrong body")

    def compare(self, taken, result):
        for key in ("one", "many"):
            result.values[key] += taken.values[key]
        result.values["cpu"].append(taken.median("many") / taken.median("one"))
        result.values["rate"].append(taken.median("many rate") / taken.median("one rate"))


KIB, MIB = 1024, 1 << 20
# HAProxy's cache is for small objects; the free Varnish speaks no TLS, and has no sites to choose from.
SCENARIOS = {
    "S1": Load("hit, 1 KiB, keep-alive", "/hit/1k", KIB, 50, True),
    "S2": Load("hit, 16 KiB, keep-alive", "/hit/16k", 16 * KIB, 50, True),
    "S3": Load("hit, 1 MiB", "/hit/1m", MIB, 8, True, without=("haproxy",)),
    "S13": Load(
        "hit on the disk, 1 MiB", "/hit/1m", MIB, 8, True, without=("haproxy", "varnish"), store=peers.DISK
    ),
    "S4": Load("pass-through, 1 KiB, keep-alive", "/pass/1k", KIB, 50, False),
    "S5": Load("pass-through, 1 MiB", "/pass/1m", MIB, 8, False),
    "S6": Load("hit, 1 KiB, TLS 1.3, HTTP/1.1", "/hit/1k", KIB, 50, True, tls=True, without=("varnish",)),
    "S7": Load(
        f"hit, 1 KiB, TLS 1.3, HTTP/2, {clients.STREAMS} streams each",
        "/hit/1k",
        KIB,
        4,
        True,
        tls=True,
        client=clients.h2load,
        without=("varnish",),
    ),
    "S11": Memory("memory of an idle keep-alive connection", "/hit/1k", KIB, 5000, seconds=5),
    "S12": Sites("hit, 1 KiB, 10,000 sites against one", "/hit/1k", KIB, 50, 10_000, without=("varnish",)),
}


# === What is shown ===


def show(scenario, name, by_peer):
    print(f"{name}  {scenario.title}, {scenario.connections} connections")
    ratios = [column.ratio for column in scenario.columns.values() if column.ratio]
    headings = [f"{column.heading:>{width(column)}}" for column in scenario.columns.values()]
    print(f"    {'':<12}" + "".join(headings) + "".join(f"{ratio:>11}" for ratio in ratios))
    for peer, result in by_peer.items():
        print("    " + row(scenario, peer, result, by_peer.get("nginx")))
    print()


def width(column):
    return 28 if column.has_spread else 11


def row(scenario, name, result, nginx):
    if not any(result.values.values()):
        return f"{name:<12}  failed: {'; '.join(result.faults)}"
    line = f"{name:<12}"
    for key, column in scenario.columns.items():
        line += f"{cell(result.values[key], column):>{width(column)}}"
    for key, column in scenario.columns.items():
        if column.ratio and nginx:
            line += f"{ratio(result.median(key), nginx.median(key)):>11}"
    return line + "".join(f"\n        ! {fault}" for fault in sorted(result.faults))


def cell(values, column):
    if not values:
        return "–"
    median = f"{statistics.median(values):{column.form}}"
    if not column.has_spread:
        return median
    return f"{median} ({min(values):{column.form}}–{max(values):{column.form}})"


def ratio(value, of_nginx):
    return f"{value / of_nginx:.2f}" if value is not None and of_nginx else "–"
