//! A certificate authority for one test: Pebble, with a name server of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::new_directory;
use crate::testing::{certs, ports};

/// How often a server that starts is asked whether it is there, and how long between.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Pebble and pebble-challtestsrv on free ports of the loopback interface. Needs `pebble`.
///
/// Every name has the address 127.0.0.1; challenges are looked for at [`http`](Self::http), [`tls`](Self::tls) and in
/// the records that [`set_txt`](Self::set_txt) has written.
#[derive(Debug)]
pub struct PebbleServer {
    acme: SocketAddr,
    http: SocketAddr,
    tls: SocketAddr,
    records: SocketAddr,
    root: String,
    directory: PathBuf,
    children: Vec<Child>,
}

/// How a [`PebbleServer`] differs from the usual one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PebbleSettings {
    /// Of 100 requests with a good nonce, as many are refused all the same. 5 by default.
    pub refused_nonces: u8,
    /// Accounts need one of these (id, HMAC key in base64url).
    pub bindings: Vec<(String, String)>,
    /// The name server that it asks, if not its own.
    pub dns: Option<SocketAddr>,
}

// === impl PebbleServer ===

impl PebbleServer {
    /// Starts the usual one.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&PebbleSettings::default())
    }

    /// Starts one that differs.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn with(settings: &PebbleSettings) -> Self {
        // Somebody else may take a port before it does: then others are tried.
        for _ in 0..5 {
            if let Some(server) = Self::try_start(settings) {
                return server;
            }
        }
        panic!("pebble does not start: is it installed?");
    }

    fn try_start(settings: &PebbleSettings) -> Option<Self> {
        let authority = certs::Authority::new();
        let [acme, management, http, tls, dns, records] = [(); 6].map(|()| ports::free());
        let directory = new_directory().expect("a directory");
        let pair = authority.issue(&["localhost", "127.0.0.1"]);
        let (chain, key) = (directory.join("chain.pem"), directory.join("key.pem"));
        std::fs::write(&chain, &pair.chain_pem).expect("a file");
        std::fs::write(&key, &pair.key_pem).expect("a file");
        let bindings = settings.bindings.iter().cloned();
        let config = json!({ "pebble": {
            "listenAddress": acme.to_string(),
            "managementListenAddress": management.to_string(),
            "certificate": chain,
            "privateKey": key,
            "httpPort": http.port(),
            "tlsPort": tls.port(),
            "ocspResponderURL": "",
            "externalAccountBindingRequired": !settings.bindings.is_empty(),
            "externalAccountMACKeys": bindings.collect::<std::collections::BTreeMap<_, _>>(),
        }});
        let file = directory.join("pebble.json");
        std::fs::write(&file, config.to_string()).expect("a file");
        let names = quiet("pebble-challtestsrv")
            .args(["-http01", "", "-https01", "", "-tlsalpn01", ""])
            .args(["-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""])
            .args(["-dns01", &dns.to_string()])
            .args(["-management", &records.to_string()])
            .spawn();
        let pebble = quiet("pebble")
            .arg("-config")
            .arg(&file)
            .args(["-dnsserver", &settings.dns.unwrap_or(dns).to_string()])
            .env("PEBBLE_VA_NOSLEEP", "1")
            .env("PEBBLE_AUTHZREUSE", "0")
            .env(
                "PEBBLE_WFE_NONCEREJECT",
                settings.refused_nonces.to_string(),
            )
            .spawn();
        let children = vec![
            names.expect("pebble-challtestsrv is installed"),
            pebble.expect("pebble is installed"),
        ];
        let mut server = Self {
            acme,
            http,
            tls,
            records,
            root: authority.pem().to_owned(),
            directory,
            children,
        };
        server.is_up().then_some(server)
    }

    fn is_up(&mut self) -> bool {
        for _ in 0..ATTEMPTS {
            let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
            if self.children.iter_mut().any(ended) {
                return false;
            }
            let listens = |address| TcpStream::connect(address).is_ok();
            if listens(self.acme) && listens(self.records) {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// The URL of its directory.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/dir", self.acme)
    }

    /// What its own TLS is believed by (PEM).
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Where it looks for HTTP-01, whatever the name. Nobody listens there yet.
    #[must_use]
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where it looks for TLS-ALPN-01, whatever the name. Nobody listens there yet.
    #[must_use]
    pub fn tls(&self) -> SocketAddr {
        self.tls
    }

    /// Has its name server answer with this value.
    ///
    /// # Panics
    ///
    /// If it does not take it.
    pub fn set_txt(&self, name: &str, value: &str) {
        let body = json!({ "host": format!("{name}."), "value": value }).to_string();
        let mut stream = TcpStream::connect(self.records).expect("a connection");
        let request = format!(
            "POST /set-txt HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.contains(" 200 "), "{answer}");
    }
}

impl Drop for PebbleServer {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

// === impl PebbleSettings ===

impl Default for PebbleSettings {
    fn default() -> Self {
        Self {
            refused_nonces: 5,
            bindings: Vec::new(),
            dns: None,
        }
    }
}

fn quiet(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
