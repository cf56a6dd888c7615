//! A Consul agent for one test.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::send;
use crate::testing::certs::{Authority, Pair};
use crate::testing::ports;

/// How often an agent that starts is asked whether it leads, and how long between: 30 s.
const ATTEMPTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// A Consul agent in server mode on free ports of the loopback interface, with nothing on a disk. Needs `consul`.
///
/// ```no_run
/// # use cirrus_core::testing::process::ConsulServer;
/// let one = ConsulServer::start("dc1");
/// let two = ConsulServer::joined("dc2", &one);
/// two.register("payment", "10.0.0.7:8080", "passing");
/// ```
#[derive(Debug)]
pub struct ConsulServer {
    datacentre: String,
    ports: Ports,
    arguments: Vec<String>,
    child: Option<Child>,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    http: u16,
    rpc: u16,
    lan: u16,
    wan: u16,
}

// === impl ConsulServer ===

impl ConsulServer {
    /// Starts the only agent of a datacentre.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start(datacentre: &str) -> Self {
        Self::with(datacentre, &[])
    }

    /// Starts the only agent of a datacentre, joined to another one over WAN; returns when each knows the other's.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn joined(datacentre: &str, other: &Self) -> Self {
        let wan = format!("-retry-join-wan=127.0.0.1:{}", other.ports.wan);
        let server = Self::with(datacentre, &[&wan, "-retry-interval-wan=1s"]);
        for (asked, far) in [(&server, other), (other, &server)] {
            let path = format!("/v1/catalog/nodes?dc={}", far.datacentre);
            let met = wait_until(|| asked.try_ask("GET", &path, "").is_ok());
            assert!(met, "{datacentre} and {} meet", other.datacentre);
        }
        server
    }

    /// Starts one with more arguments, such as `-hcl=acl { enabled = true }`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn with(datacentre: &str, arguments: &[&str]) -> Self {
        // Somebody else may take a port before the agent does: then others are tried.
        for _ in 0..5 {
            let mut server = Self {
                datacentre: datacentre.to_owned(),
                ports: Ports::free(),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("consul does not start: is it installed?");
    }

    /// Starts one that speaks TLS beside plain HTTP, where it shows `server` and asks for certificates of `authority`;
    /// gives the address too. `directory` gets the files: `ca.pem`, `server.pem` and `server.key`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn secure(
        datacentre: &str,
        directory: &Path,
        authority: &Authority,
        server: &Pair,
    ) -> (Self, SocketAddr) {
        let file = |name: &str, content: &str| {
            let path = directory.join(name);
            std::fs::write(&path, content).expect("a file");
            path.display().to_string()
        };
        let settings = [
            ("ca_file", file("ca.pem", authority.pem())),
            ("cert_file", file("server.pem", &server.chain_pem)),
            ("key_file", file("server.key", &server.key_pem)),
        ];
        let settings = settings.map(|(key, path)| format!("-hcl={key} = \"{path}\""));
        let address = ports::free();
        let port = format!("-https-port={}", address.port());
        let mut arguments: Vec<&str> = settings.iter().map(String::as_str).collect();
        arguments.extend([&*port, "-hcl=verify_incoming_https = true"]);
        (Self::with(datacentre, &arguments), address)
    }

    fn spawn(&mut self) -> bool {
        let Ports {
            http,
            rpc,
            lan,
            wan,
        } = self.ports;
        let child = Command::new("consul")
            .args(["agent", "-dev", "-bind=127.0.0.1", "-client=127.0.0.1"])
            .arg(format!("-datacenter={}", self.datacentre))
            .arg(format!("-node={}-agent", self.datacentre))
            .arg(format!("-http-port={http}"))
            .arg(format!("-server-port={rpc}"))
            .arg(format!("-serf-lan-port={lan}"))
            .arg(format!("-serf-wan-port={wan}"))
            .args(["-dns-port=-1", "-grpc-port=-1"])
            .arg("-hcl=disable_update_check = true")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("consul is installed"));
        self.is_up()
    }

    /// Whether it takes what is registered before long.
    fn is_up(&mut self) -> bool {
        let (mut child, mut ended) = (self.child.take(), false);
        let up = wait_until(|| {
            let child = child.as_mut();
            ended = child.is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            let leader = self.try_ask("GET", "/v1/status/leader", "");
            ended || leader.is_ok_and(|leader| leader.len() > 2)
        });
        self.child = child;
        up && !ended
    }

    /// Where its HTTP API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports.http).into()
    }

    /// Registers an instance at `host:port` on a node of its own, with a check of this status (`passing`, `warning`,
    /// `critical`). Registered again it replaces what was there.
    ///
    /// # Panics
    ///
    /// If Consul does not take it.
    pub fn register(&self, service: &str, address: &str, status: &str) {
        self.register_with(service, address, status, json!({}));
    }

    /// As [`register`](Self::register), with more about the service, such as `{ "Tags": ["v2"] }`.
    ///
    /// # Panics
    ///
    /// If Consul does not take it.
    pub fn register_with(&self, service: &str, address: &str, status: &str, more: Value) {
        let (host, port) = address.rsplit_once(':').expect("host:port");
        let id = format!("{service}-{host}-{port}");
        let mut instance = json!({ "ID": id, "Service": service, "Address": host, "Port": port.parse::<u16>().expect("a port") });
        for (key, value) in more.as_object().expect("an object") {
            instance[key] = value.clone();
        }
        let record = json!({
            "Node": id,
            "Address": "127.0.0.1",
            "Service": instance,
            "Check": { "CheckID": id, "Name": "test", "ServiceID": id, "Status": status },
        });
        self.put("/v1/catalog/register", &record);
    }

    /// Removes an instance.
    ///
    /// # Panics
    ///
    /// If Consul refuses.
    pub fn deregister(&self, service: &str, address: &str) {
        let node = format!("{service}-{}", address.replacen(':', "-", 1));
        self.put("/v1/catalog/deregister", &json!({ "Node": node }));
    }

    /// Sends a PUT.
    ///
    /// # Panics
    ///
    /// If it is refused.
    pub fn put(&self, path: &str, body: &Value) {
        self.try_ask("PUT", path, &body.to_string())
            .expect("Consul takes it");
    }

    /// Sends a GET; gives the answer's content.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn get(&self, path: &str) -> Value {
        let answer = self.try_ask("GET", path, "").expect("an answer");
        serde_json::from_str(&answer).expect("JSON")
    }

    fn try_ask(&self, method: &str, path: &str, body: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let length = body.len();
        let head =
            format!("{method} {path} HTTP/1.0\r\nHost: consul\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => Ok(body.to_owned()),
            _ => Err(io::Error::other(answer)),
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same ports, with nothing in it.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "consul comes back");
    }

    /// Has it stand still: connections stay, but nothing answers.
    pub fn pause(&self) {
        send("-STOP", self.child.as_ref());
    }

    /// Has it go on.
    pub fn resume(&self) {
        send("-CONT", self.child.as_ref());
    }
}

impl Drop for ConsulServer {
    fn drop(&mut self) {
        self.kill();
    }
}

// === impl Ports ===

impl Ports {
    /// Each of them free for TCP and UDP; gossip uses both.
    fn free() -> Self {
        let mut taken = HashSet::new();
        let mut next = || {
            iter::repeat_with(|| ports::free().port())
                .find(|port| taken.insert(*port))
                .expect("there is always one more")
        };
        Self {
            http: next(),
            rpc: next(),
            lan: next(),
            wan: next(),
        }
    }
}

fn wait_until(mut is_so: impl FnMut() -> bool) -> bool {
    for _ in 0..ATTEMPTS {
        if is_so() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    false
}
