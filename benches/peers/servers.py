"""How a server is started, looked at and stopped; and the origin.

All listen on loopback only and write into one temporary directory.
"""

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SIZES = {"1k": 1024, "16k": 16 << 10, "1m": 1 << 20}

# Believes our own certificate, and takes TLS 1.3 only.
TRUSTING = ssl.create_default_context()
TRUSTING.check_hostname = False
TRUSTING.verify_mode = ssl.CERT_NONE
TRUSTING.minimum_version = ssl.TLSVersion.TLSv1_3


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")


@dataclass(frozen=True)
class Place:
    """Where the peers run, and what they stand before."""

    folder: Path
    core: int
    origin: "Server"
    certificate: Path


class Server:
    """A running server. Its children belong to it."""

    def __init__(self, name, folder, core, command, port, tls_port=None):
        self.name, self.port, self.tls_port = name, port, tls_port
        self.log = open(folder / f"{name}.log", "wb")
        pinned = ["taskset", "-c", str(core), *command]
        self.process = subprocess.Popen(
            pinned, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def url(self, path, tls=False):
        # The certificate's name, since a server may refuse requests for a host that TLS was not for.
        return f"https://localhost:{self.tls_port}{path}" if tls else f"http://127.0.0.1:{self.port}{path}"

    def wait(self, seconds=60):
        """Until it accepts connections."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise SystemExit(f"{self.name} does not start:\n{Path(self.log.name).read_text(errors='replace')}")

    def get(self, path, tls=False):
        with urllib.request.urlopen(self.url(path, tls), timeout=10, context=TRUSTING) as response:
            return response.read()

    def get_of_each(self, path, sites):
        """The bodies of that path of every site."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        for host in hosts(sites):
            connection.request("GET", path, headers={"Host": host})
            response = connection.getresponse()
            body = response.read()
            yield body if response.status == 200 else b""
        connection.close()

    def cpu(self):
        """Seconds of CPU time that it and its children have used."""
        return sum(map(cpu_ticks, self.tree())) / TICKS

    def memory(self):
        """KiB of memory of it and its children; what they share counts once."""
        return sum(map(proportional_kib, self.tree()))

    def tree(self):
        """Its process and all below, for those that give their children sessions of their own."""
        parents = {int(entry.name): parent_of(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()}
        tree = {self.process.pid}
        while more := {pid for pid, parent in parents.items() if parent in tree} - tree:
            tree |= more
        return tree

    def stop(self, seconds=5):
        tree = self.tree()
        self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass
        for pid in tree:
            try:
                # A number that meanwhile belongs to somebody else is not ours to end.
                if pid == self.process.pid or parent_of(pid) in tree | {1}:
                    os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, TypeError):
                pass
        self.process.wait()
        self.log.close()


def stat_of(pid):
    """The fields behind the program's name, which may contain anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def parent_of(pid):
    fields = stat_of(pid)
    return int(fields[1]) if fields else None


def cpu_ticks(pid):
    fields = stat_of(pid)
    return int(fields[11]) + int(fields[12]) if fields else 0


def proportional_kib(pid):
    """Resident pages, each divided by the number of processes that map it."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def hosts(sites):
    """The names of the sites, as random_host.lua asks for them."""
    return [f"site{number}.example" for number in range(1, sites + 1)]


def certificate(folder):
    """A directory with `localhost.pem` and `localhost.key`, ECDSA P-256, believed by nobody."""
    directory = folder / "certificates"
    directory.mkdir()
    pair = ["-keyout", str(directory / "localhost.key"), "-out", str(directory / "localhost.pem")]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = [program("openssl"), "req", "-x509", "-days", "2", *key, *name, *pair]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return directory


# === The origin ===


def origin(folder, core):
    """nginx with files. It also counts what it is asked, so that a hit can be told from a claim."""
    for kind, caching in (("hit", None), ("pass", None)):
        (folder / "www" / kind).mkdir(parents=True)
        for size, length in SIZES.items():
            (folder / "www" / kind / size).write_bytes(b"x" * length)
    port = free_port()
    config = nginx_config(
        f"""
        open_file_cache max=100;
        server {{
            listen 127.0.0.1:{port} backlog=4096;
            root {folder}/www;
            location /hit/ {{ add_header Cache-Control max-age=3600; }}
            location /pass/ {{ add_header Cache-Control no-store; }}
            location = /count {{ stub_status; }}
        }}""",
        folder,
        "origin",
    )
    return Server("origin", folder, core, nginx_command(config), port)


def origin_requests(server):
    """How many requests it has had."""
    return int(server.get("/count").split(b"\n")[2].split()[2])


# === nginx, which is also a peer ===


def nginx_config(http, folder, name):
    config = folder / f"{name}.conf"
    # Only root may say as whom.
    user = "user root;" if os.geteuid() == 0 else ""
    scratch = "".join(
        f"{module}_temp_path {folder}/{name}-{module};"
        for module in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config.write_text(
        f"""{user}
        worker_processes 1;
        daemon off;
        pid {folder}/{name}.pid;
        error_log stderr warn;
        events {{ worker_connections 8192; }}
        http {{
            {scratch}
            access_log off;
            sendfile on;
            tcp_nopush on;
            keepalive_requests 1000000000;
            default_type text/css;
            {http}
        }}"""
    )
    return config


def nginx_command(config):
    return [program("nginx"), "-c", str(config), "-e", "stderr"]
