//! A name server that takes dynamic updates, for one test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::new_directory;
use crate::testing::ports;

/// How often a server that starts is asked whether it is there, and how long between.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(20);

/// Knot DNS on a free port of the loopback interface, for the zone `test.`, of which every name has the address 127.0.0.1.
/// Needs `knot`.
///
/// It takes updates that are signed with the key [`KEY`](Self::KEY), and no others.
#[derive(Debug)]
pub struct KnotServer {
    address: SocketAddr,
    directory: PathBuf,
    child: Child,
}

// === impl KnotServer ===

impl KnotServer {
    /// Name, algorithm and secret of the key for updates.
    pub const KEY: (&str, &str, &str) = (
        "update.test",
        "hmac-sha256",
        "Y2lycnVzLWNpcnJ1cy1jaXJydXMtY2lycnVzLTAxMjM=",
    );

    /// Starts one with these records beside the usual ones, by names relative to the zone.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start(records: &str) -> Self {
        // Somebody else may take the port before the server does: then another one is tried.
        for _ in 0..5 {
            if let Some(server) = Self::try_start(records) {
                return server;
            }
        }
        panic!("knotd does not start: is knot installed?");
    }

    fn try_start(records: &str) -> Option<Self> {
        let (address, directory) = (ports::free(), new_directory().expect("a directory"));
        let at = directory.display();
        let zone = format!(
            "$ORIGIN test.\n$TTL 0\n@ SOA ns hostmaster 1 60 60 60 0\n@ NS ns\n\
             ns A 127.0.0.1\n* A 127.0.0.1\n{records}"
        );
        let (name, algorithm, secret) = Self::KEY;
        let config = format!(
            "server:\n    rundir: \"{at}\"\n    listen: {}@{}\n\
             database:\n    storage: \"{at}\"\n\
             key:\n  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n\
             acl:\n  - id: updates\n    key: {name}\n    action: update\n\
             zone:\n  - domain: test\n    file: \"{at}/test.zone\"\n    acl: updates\n",
            address.ip(),
            address.port()
        );
        std::fs::write(directory.join("test.zone"), zone).expect("a zone file");
        std::fs::write(directory.join("knot.conf"), config).expect("a configuration");
        // Debian has it where only root looks.
        let program = match std::path::Path::new("/usr/sbin/knotd") {
            path if path.exists() => path,
            _ => std::path::Path::new("knotd"),
        };
        let child = Command::new(program)
            .arg("-c")
            .arg(directory.join("knot.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("knot is installed");
        let mut server = Self {
            address,
            directory,
            child,
        };
        server.is_up().then_some(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    fn is_up(&mut self) -> bool {
        for _ in 0..ATTEMPTS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
            if self.has_zone() {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// Whether it answers for `ns.test`.
    fn has_zone(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(PAUSE))?;
            let question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                             \x02ns\x04test\x00\x00\x01\x00\x01";
            socket.send_to(question, self.address)?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer)?;
            Ok(answer[..length]
                .windows(4)
                .any(|part| part == [127, 0, 0, 1]))
        };
        ask().unwrap_or(false)
    }
}

impl Drop for KnotServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
