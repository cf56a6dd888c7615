"""The origin and the peers: how each is configured, started, looked at and stopped.

Every server does the same work with one worker: `/hit/*` is cached, `/pass/*` goes to the origin each time over a
connection that is kept. All listen on loopback only and write into one temporary directory.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
SIZES = {"1k": 1024, "1m": 1 << 20}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")


class Server:
    """A running server. Its children belong to it."""

    def __init__(self, name, folder, core, command, port):
        self.name, self.port = name, port
        self.log = open(folder / f"{name}.log", "wb")
        pinned = ["taskset", "-c", str(core), *command]
        self.process = subprocess.Popen(
            pinned, cwd=folder, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True
        )

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def wait(self, seconds=15):
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

    def get(self, path):
        with urllib.request.urlopen(self.url(path), timeout=10) as response:
            return response.read()

    def cpu(self):
        """Seconds of CPU time that it and its children have used."""
        return sum(map(cpu_ticks, self.tree())) / TICKS

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


# === The peers ===


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
        events {{ worker_connections 4096; }}
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


def nginx(name, folder, core, origin, _binary):
    port = free_port()
    config = nginx_config(
        f"""
        proxy_cache_path {folder}/{name}-cache keys_zone=hits:10m max_size=200m inactive=1h use_temp_path=off;
        open_file_cache max=100;
        upstream origin {{ server 127.0.0.1:{origin.port}; keepalive 256; keepalive_requests 1000000000; }}
        server {{
            listen 127.0.0.1:{port} backlog=4096;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            location /hit/ {{ proxy_pass http://origin; proxy_cache hits; }}
            location /pass/ {{ proxy_pass http://origin; }}
        }}""",
        folder,
        name,
    )
    return Server(name, folder, core, nginx_command(config), port)


def haproxy(name, folder, core, origin, _binary):
    port = free_port()
    config = folder / f"{name}.cfg"
    config.write_text(
        f"""
global
    nbthread 1
    maxconn 4096
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
cache hits
    total-max-size 64
    max-object-size 100000
    max-age 3600
frontend front
    bind 127.0.0.1:{port} backlog 4096
    use_backend hit if {{ path_beg /hit/ }}
    default_backend pass
backend hit
    http-request cache-use hits
    http-response cache-store hits
    server origin 127.0.0.1:{origin.port}
backend pass
    http-reuse always
    server origin 127.0.0.1:{origin.port} pool-max-conn 1000
"""
    )
    return Server(name, folder, core, [program("haproxy"), "-db", "-f", str(config)], port)


def varnish(name, folder, core, origin, _binary):
    port = free_port()
    vcl = folder / f"{name}.vcl"
    vcl.write_text(
        f"""vcl 4.1;
        backend default {{ .host = "127.0.0.1"; .port = "{origin.port}"; }}
        sub vcl_recv {{
            if (req.url ~ "^/pass/") {{ return (pass); }}
            return (hash);
        }}"""
    )
    listen = ["-a", f"127.0.0.1:{port}", "-T", "none", "-j", "none"]
    threads = ["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "listen_depth=4096"]
    command = [program("varnishd"), "-F", "-n", str(folder / name), "-f", str(vcl), "-s", "malloc,256m"]
    return Server(name, folder, core, [*command, *listen, *threads], port)


def cirrus(name, folder, core, origin, binary):
    port = free_port()
    config = folder / f"{name}.toml"
    config.write_text(
        f"""
[[listen]]
address = "127.0.0.1:{port}"

[server]
workers = 1

[cache]
memory = "256MiB"

[[site]]
hosts = ["*"]
cache = {{ enable = true }}

[[site.origin]]
url = "http://127.0.0.1:{origin.port}"

[[site.route]]
path = "/pass/*"
cache = {{ enable = false }}
origin = [{{ url = "http://127.0.0.1:{origin.port}" }}]
"""
    )
    return Server(name, folder, core, [binary, "run", "--config", str(config)], port)


PEERS = {"nginx": nginx, "haproxy": haproxy, "varnish": varnish}
