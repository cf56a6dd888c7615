//! An etcd server for one test.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read, Write};
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{new_directory, send};
use crate::testing::ports;

/// How often a server that starts is asked whether it takes something, and how long between: 30 s.
const ATTEMPTS: u32 = 600;
const PAUSE: Duration = Duration::from_millis(50);

/// An etcd server of one member on free ports of the loopback interface, in a directory of its own. Needs `etcd`.
///
/// ```no_run
/// # use cirrus_core::testing::process::EtcdServer;
/// let mut etcd = EtcdServer::start();
/// etcd.put("/services/payment/a", r#""http://10.0.0.7:8080""#);
/// let before = etcd.revision();
/// etcd.restart();
/// assert!(etcd.revision() < before, "it comes back empty");
/// ```
#[derive(Debug)]
pub struct EtcdServer {
    client: u16,
    tls: u16,
    peer: u16,
    directory: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

// === impl EtcdServer ===

impl EtcdServer {
    /// Starts one with nothing in it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with more arguments. With `--cert-file` it listens at [`tls_address`](Self::tls_address) too.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        // Somebody else may take a port before the server does: then others are tried.
        for _ in 0..5 {
            let mut taken = HashSet::new();
            let mut next = || {
                iter::repeat_with(|| ports::free().port())
                    .find(|port| taken.insert(*port))
                    .expect("there is always one more")
            };
            let mut server = Self {
                client: next(),
                tls: next(),
                peer: next(),
                directory: new_directory().expect("a directory"),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("etcd does not start: is it installed?");
    }

    fn spawn(&mut self) -> bool {
        let client = format!("http://127.0.0.1:{}", self.client);
        let peer = format!("http://127.0.0.1:{}", self.peer);
        let is_tls = self.arguments.iter().any(|one| one.starts_with("--cert"));
        let clients = match is_tls {
            true => format!("{client},https://127.0.0.1:{}", self.tls),
            false => client.clone(),
        };
        let child = Command::new("etcd")
            .arg("--data-dir")
            .arg(self.data())
            .args(["--listen-client-urls", &clients])
            .args(["--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("default={peer}")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("etcd is installed"));
        self.is_up()
    }

    /// Whether it takes something before long.
    fn is_up(&mut self) -> bool {
        for _ in 0..ATTEMPTS {
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return false;
            }
            // It leads only when it can write.
            match self.try_ask("/v3/kv/range", &json!({ "key": STANDARD.encode("up") })) {
                Ok(_) => return true,
                Err(error) if error.to_string().contains("user name is empty") => return true,
                Err(_) => thread::sleep(PAUSE),
            }
        }
        false
    }

    /// Where it listens, without TLS.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.client).into()
    }

    /// Where it listens with TLS, if it does.
    #[must_use]
    pub fn tls_address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.tls).into()
    }

    /// Writes a key.
    ///
    /// # Panics
    ///
    /// If etcd does not take it.
    pub fn put(&self, key: &str, value: impl AsRef<[u8]>) {
        let body = json!({ "key": STANDARD.encode(key), "value": STANDARD.encode(value) });
        let _ = self.ask("/v3/kv/put", &body);
    }

    /// Deletes a key.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn delete(&self, key: &str) {
        let body = json!({ "key": STANDARD.encode(key) });
        let _ = self.ask("/v3/kv/deleterange", &body);
    }

    /// The number of the last change.
    ///
    /// # Panics
    ///
    /// If etcd does not say.
    #[must_use]
    pub fn revision(&self) -> u64 {
        let answer = self.ask("/v3/kv/range", &json!({ "key": STANDARD.encode("up") }));
        let revision = answer["header"]["revision"].as_str().expect("a revision");
        revision.parse().expect("a number")
    }

    /// Forgets how everything came to be what it is.
    ///
    /// # Panics
    ///
    /// If etcd refuses.
    pub fn compact(&self) {
        let body = json!({ "revision": self.revision().to_string(), "physical": true });
        let _ = self.ask("/v3/kv/compaction", &body);
    }

    /// Sends a request to the JSON gateway; gives the answer.
    ///
    /// # Panics
    ///
    /// If it is refused.
    #[must_use]
    pub fn ask(&self, path: &str, body: &Value) -> Value {
        self.try_ask(path, body).expect("etcd takes it")
    }

    fn try_ask(&self, path: &str, body: &Value) -> io::Result<Value> {
        let mut stream = TcpStream::connect_timeout(&self.address(), Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let body = body.to_string();
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.0\r\nHost: etcd\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        match head.split(' ').nth(1) {
            Some("200") => serde_json::from_str(body).map_err(io::Error::other),
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
        let _ = fs::remove_dir_all(self.data());
        assert!(self.spawn(), "etcd comes back");
    }

    /// Starts it again, on the same ports, with what it had.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn revive(&mut self) {
        self.kill();
        assert!(self.spawn(), "etcd comes back");
    }

    /// Ends it, and keeps what it has for [`restore`](Self::restore).
    ///
    /// # Panics
    ///
    /// If the directory cannot be copied.
    pub fn backup(&mut self) {
        self.kill();
        copy(&self.data(), &self.directory.join("backup")).expect("a backup");
    }

    /// Starts it again, on the same ports, with what it had at the [`backup`](Self::backup).
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restore(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(self.data());
        copy(&self.directory.join("backup"), &self.data()).expect("a backup");
        assert!(self.spawn(), "etcd comes back");
    }

    fn data(&self) -> PathBuf {
        self.directory.join("data")
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

impl Drop for EtcdServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(drop)?,
        }
    }
    Ok(())
}
