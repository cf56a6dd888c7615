"""The peers: how each is configured for the same work.

Every server has one worker. `/hit/*` is cached for each host, `/pass/*` goes to the origin each time over a connection
that is kept. With `sites`, it serves that many named sites, which are all cached and share the origin, and nothing
else. Connections and requests on them are limited by none.
"""

import subprocess

from servers import Server, free_port, hosts, nginx_command, nginx_config, program

# In place of a number of sites: any host, and responses are kept on the disk only.
DISK = "disk"

# === nginx ===


def nginx(name, place, sites):
    port, tls_port = free_port(), free_port()
    pair = place.certificate / "localhost"
    config = nginx_config(
        f"""
        proxy_cache_path {place.folder}/{name}-cache keys_zone=hits:20m max_size=400m inactive=1h use_temp_path=off;
        proxy_cache_key $scheme$host$request_uri;
        # As many as there are objects: otherwise every hit opens a file.
        open_file_cache max={100 + (0 if sites == DISK else sites)};
        server_names_hash_max_size 65536;
        ssl_certificate {pair}.pem;
        ssl_certificate_key {pair}.key;
        ssl_protocols TLSv1.3;
        upstream origin {{ server 127.0.0.1:{place.origin.port}; keepalive 256; keepalive_requests 1000000000; }}
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        {nginx_sites(port, sites) if sites not in (0, DISK) else nginx_any_host(port, tls_port)}
        """,
        place.folder,
        name,
    )
    return Server(name, place.folder, place.core, nginx_command(config), port, tls_port)


def nginx_any_host(port, tls_port):
    return f"""
        server {{
            listen 127.0.0.1:{port} backlog=4096;
            listen 127.0.0.1:{tls_port} backlog=4096 ssl http2;
            location /hit/ {{ proxy_pass http://origin; proxy_cache hits; }}
            location /pass/ {{ proxy_pass http://origin; }}
        }}"""


def nginx_sites(port, sites):
    served = f"listen 127.0.0.1:{port}; location / {{ proxy_pass http://origin; proxy_cache hits; }}"
    named = "\n".join(f"server {{ server_name {host}; {served} }}" for host in hosts(sites))
    return f"server {{ listen 127.0.0.1:{port} default_server backlog=4096; return 404; }}\n{named}"


# === HAProxy ===


def haproxy(name, place, sites):
    port, tls_port = free_port(), free_port()
    pem = place.folder / f"{name}.pem"
    pair = (place.certificate / "localhost.pem", place.certificate / "localhost.key")
    pem.write_text("".join(part.read_text() for part in pair))
    table = place.folder / f"{name}.map"
    table.write_text("".join(f"{host} {host}\n" for host in hosts(sites)))
    config = place.folder / f"{name}.cfg"
    config.write_text(
        f"""
global
    nbthread 1
    maxconn 6000
    ssl-default-bind-options ssl-min-ver TLSv1.3 prefer-client-ciphers
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option forwardfor
    option splice-response
cache hits
    total-max-size 64
    max-object-size 100000
    max-age 3600
frontend front
    bind 127.0.0.1:{port} backlog 4096
    bind 127.0.0.1:{tls_port} backlog 4096 ssl crt {pem} alpn h2,http/1.1
{haproxy_sites(place, table, sites) if sites else haproxy_any_host(place)}
"""
    )
    command = [program("haproxy"), "-db", "-f", str(config)]
    return Server(name, place.folder, place.core, command, port, tls_port)


HAPROXY_HIT = """\
    http-request cache-use hits
    http-response cache-store hits
"""


def haproxy_any_host(place):
    return f"""\
    use_backend hit if {{ path_beg /hit/ }}
    default_backend pass
backend hit
{HAPROXY_HIT}\
    server origin 127.0.0.1:{place.origin.port}
backend pass
    http-reuse always
    server origin 127.0.0.1:{place.origin.port} pool-max-conn 1000"""


def haproxy_sites(place, table, sites):
    backends = "".join(
        f"backend {host}\n{HAPROXY_HIT}    server origin 127.0.0.1:{place.origin.port}\n" for host in hosts(sites)
    )
    return f"    use_backend %[req.hdr(host),lower,map({table})]\n{backends}"


# === Varnish ===


def varnish(name, place, _sites):
    port = free_port()
    vcl = place.folder / f"{name}.vcl"
    vcl.write_text(
        f"""vcl 4.1;
        backend default {{ .host = "127.0.0.1"; .port = "{place.origin.port}"; }}
        sub vcl_recv {{
            if (req.url ~ "^/pass/") {{ return (pass); }}
            return (hash);
        }}"""
    )
    listen = ["-a", f"127.0.0.1:{port}", "-T", "none", "-j", "none"]
    threads = ["-p", "thread_pools=1", "-p", "thread_pool_min=100", "-p", "listen_depth=4096"]
    # As long as the others; by default it is five seconds.
    idle = ["-p", "timeout_idle=60"]
    command = [program("varnishd"), "-F", "-n", str(place.folder / name), "-f", str(vcl), "-s", "malloc,256m"]
    return Server(name, place.folder, place.core, [*command, *listen, *threads, *idle], port)


# === Cirrus ===


def cirrus(binary):
    """How this build is configured."""
    schema = subprocess.run([binary, "schema"], capture_output=True, text=True, check=True, timeout=30).stdout
    wanted = {"connections_per_client": 65536, "requests_per_connection": 1_000_000_000}
    # An older build that is compared has no such limits.
    limits = "\n".join(f"{key} = {value}" for key, value in wanted.items() if f'"{key}"' in schema)
    return lambda name, place, sites: cirrus_build(binary, limits, name, place, sites)


def cirrus_build(binary, limits, name, place, sites):
    port, tls_port = free_port(), free_port()
    config = place.folder / f"{name}.toml"
    config.write_text(
        f"""
[[listen]]
address = "127.0.0.1:{port}"

[[listen]]
address = "127.0.0.1:{tls_port}"
tls = true

[certificates]
directory = "{place.certificate}"

[server]
workers = 1

[limits]
{limits}

[cache]
{cirrus_disk(name) if sites == DISK else 'memory = "256MiB"'}
{cirrus_sites(place, sites) if sites not in (0, DISK) else cirrus_any_host(place)}
"""
    )
    command = [binary, "run", "--config", str(config)]
    return Server(name, place.folder, place.core, command, port, tls_port)


def cirrus_disk(name):
    return f"""memory = "8MiB"
max_object = "64KiB"

[cache.disk]
path = "{name}-disk"
capacity = "1GiB\""""


def cirrus_any_host(place):
    return f"""
[[site]]
hosts = ["*"]
cache = {{ enable = true }}

[[site.origin]]
url = "http://127.0.0.1:{place.origin.port}"

[[site.route]]
path = "/pass/*"
cache = {{ enable = false }}
origin = [{{ url = "http://127.0.0.1:{place.origin.port}" }}]"""


def cirrus_sites(place, sites):
    origin = f'[{{ url = "http://127.0.0.1:{place.origin.port}" }}]'
    return "".join(
        f'\n[[site]]\nhosts = ["{host}"]\ncache = {{ enable = true }}\norigin = {origin}\n' for host in hosts(sites)
    )


PEERS = {"nginx": nginx, "haproxy": haproxy, "varnish": varnish}
