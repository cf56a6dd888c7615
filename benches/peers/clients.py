"""The clients: wrk and h2load for requests, and one of our own that opens connections and leaves them alone."""

import contextlib
import re
import socket
import ssl
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import servers


@dataclass
class Answered:
    """What a client has seen in one turn."""

    requests: int
    rate: float
    p99: float | None = None
    faults: list = field(default_factory=list)


def run(core, name, *arguments):
    command = ["taskset", "-c", str(core), servers.program(name), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    return done.stdout


# === wrk ===

MILLISECONDS = {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4}


def wrk(core, url, connections, seconds, sites=0):
    """HTTP/1.1. With `sites`, each request is for a random one of them."""
    script = Path(__file__).parent / "random_host.lua"
    before, behind = (["-s", script], ["--", sites]) if sites else ([], [])
    options = ["--latency", "-t1", f"-c{connections}", f"-d{seconds}s"]
    output = run(core, "wrk", *options, *before, url, *behind)
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s|m)", output).groups()
    return Answered(
        requests=int(re.search(r"(\d+) requests in", output)[1]),
        rate=float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
        p99=float(number) * MILLISECONDS[unit],
        faults=[fault.strip() for fault in re.findall(r"Socket errors:.*|Non-2xx.*", output)],
    )


# === h2load ===

STREAMS = 16


def h2load(core, url, connections, seconds):
    """HTTP/2, 16 streams on each connection. It tells no percentiles."""
    output = run(core, "h2load", "-t1", f"-c{connections}", f"-m{STREAMS}", f"-D{seconds}", url)
    counts = {what: int(number) for number, what in re.findall(r"(\d+) (\w+)", line_of(output, "requests:"))}
    codes = {what: int(number) for number, what in re.findall(r"(\d+) (\dxx)", line_of(output, "status codes:"))}
    faults = [f"{counts[what]} {what}" for what in ("failed", "errored", "timeout") if counts[what]]
    faults += [f"{number} responses {code}" for code, number in codes.items() if code != "2xx" and number]
    for expected in ("TLS Protocol: TLSv1.3", "Application protocol: h2"):
        if expected not in output:
            faults.append(f"not “{expected}”")
    rate = float(re.search(r"([\d.]+) req/s", output)[1])
    return Answered(counts["succeeded"] + counts["failed"], rate, faults=faults)


def line_of(output, start):
    return next(line for line in output.splitlines() if line.startswith(start))


# === Connections without work ===


class Idle:
    """Connections that have each had one response and ask for nothing more. A context manager."""

    def __init__(self, server, path, length, number, tls):
        request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self.stack = contextlib.ExitStack()
        self.sockets = []
        with self.stack:
            for _ in range(number):
                connection = self.stack.enter_context(connect(server, tls))
                connection.sendall(request)
                self.sockets.append(connection)
                receive(connection, length)
            self.stack = self.stack.pop_all()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stack.close()

    def gone(self):
        """How many the server has closed meanwhile."""
        return sum(map(is_closed, self.sockets))


def connect(server, tls):
    plain = socket.create_connection(("127.0.0.1", server.tls_port if tls else server.port), timeout=10)
    return servers.TRUSTING.wrap_socket(plain, server_hostname="localhost") if tls else plain


def receive(connection, length):
    """Reads one response with a body of this length."""
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < length:
        more = connection.recv(65536)
        if not more:
            raise SystemExit(f"a connection ends instead of a response: {received[:200]}")
        received += more


def is_closed(connection):
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
