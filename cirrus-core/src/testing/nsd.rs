//! A name server of one zone, whose records a test writes.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::ports;
use super::process::new_directory;

/// How often a server that starts is asked whether it is there, and how long between.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// How often in a row it must answer with the new records.
const STREAK: u32 = 8;

/// NSD on a free port of the loopback interface, for the zone `test.`. Needs `nsd`.
///
/// ```no_run
/// # use cirrus_core::testing::nsd::NameServer;
/// let mut server = NameServer::start();
/// server.write("api 1 IN A 10.0.0.7\n");
/// ```
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    directory: PathBuf,
    serial: u32,
    /// Of the server and the processes that it begins, which are one group.
    child: Option<Child>,
}

// === impl NameServer ===

impl NameServer {
    /// Starts one whose zone has no names.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        // Somebody else may take the port before the server does: then another one is tried.
        for _ in 0..10 {
            let mut server = Self {
                address: ports::free(),
                directory: new_directory().expect("a directory"),
                serial: 0,
                child: None,
            };
            server.write_zone("");
            server.write_config();
            if server.spawn() {
                return server;
            }
        }
        panic!("nsd does not start: is it installed?");
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes these the records of the zone, by names relative to it. If it runs, it answers with them from then on.
    ///
    /// # Panics
    ///
    /// If it does not take them.
    pub fn write(&mut self, records: &str) {
        self.write_zone(records);
        if self.child.is_none() {
            return;
        }
        let mut streak = 0;
        for attempt in 0..ATTEMPTS {
            // A signal that comes while it reads is not another one: it is sent again.
            if attempt % 50 == 0 && streak == 0 {
                self.signal("-HUP", false);
            }
            streak = if self.is_current() { streak + 1 } else { 0 };
            // For a moment the processes of before and of now both answer.
            if streak == STREAK {
                return;
            }
            std::thread::sleep(PAUSE);
        }
        panic!("nsd does not take the zone:\n{records}");
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.signal("-KILL", true);
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same port, with the records it had.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "nsd comes back");
    }

    /// Has it stand still: nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP", true);
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.signal("-CONT", true);
    }

    fn write_zone(&mut self, records: &str) {
        self.serial += 1;
        let zone = format!(
            "$ORIGIN test.\n$TTL 0\n@ 0 IN SOA ns hostmaster {} 60 60 60 0\n@ 0 IN NS ns\n\
             ns 0 IN A 127.0.0.1\nserial 0 IN A {}\n{records}",
            self.serial,
            self.serial_address()
        );
        let new = self.directory.join("new");
        std::fs::write(&new, zone).expect("a zone file");
        std::fs::rename(new, self.directory.join("test.zone")).expect("a zone file");
    }

    fn write_config(&self) {
        let at = self.directory.display();
        let config = format!(
            "server:\n  ip-address: {}@{}\n  username: \"\"\n  zonesdir: \"{at}\"\n\
             \x20 pidfile: \"{at}/pid\"\n  database: \"\"\n  xfrdfile: \"{at}/xfrd\"\n\
             \x20 zonelistfile: \"{at}/zones\"\n  xfrdir: \"{at}\"\n  xfrd-reload-timeout: 0\n\
             remote-control:\n  control-enable: no\n\
             zone:\n  name: test\n  zonefile: test.zone\n",
            self.address.ip(),
            self.address.port()
        );
        std::fs::write(self.directory.join("nsd.conf"), config).expect("a configuration");
    }

    fn spawn(&mut self) -> bool {
        // Debian has it where only root looks.
        let program = match std::path::Path::new("/usr/sbin/nsd") {
            path if path.exists() => path,
            _ => std::path::Path::new("nsd"),
        };
        let child = Command::new(program)
            .args(["-d", "-c"])
            .arg(self.directory.join("nsd.conf"))
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("nsd is installed"));
        for _ in 0..ATTEMPTS {
            let child = self.child.as_mut().expect("a child");
            if !matches!(child.try_wait(), Ok(None)) {
                return false;
            }
            if self.is_current() {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// Whether it has the zone as it was written last.
    fn is_current(&self) -> bool {
        let ask = || -> std::io::Result<bool> {
            let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(PAUSE))?;
            let question = b"\x12\x34\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\
                             \x06serial\x04test\x00\x00\x01\x00\x01";
            socket.send_to(question, self.address)?;
            let mut answer = [0; 512];
            let length = socket.recv(&mut answer)?;
            let serial = self.serial_address().octets();
            Ok(answer[..length].windows(4).any(|part| part == serial))
        };
        ask().unwrap_or(false)
    }

    /// The address of a name that tells which version of the zone is in force.
    fn serial_address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits((126 << 24) | self.serial)
    }

    fn signal(&self, signal: &str, to_all: bool) {
        let Some(child) = &self.child else { return };
        let whom = match to_all {
            true => format!("-{}", child.id()),
            false => child.id().to_string(),
        };
        let sent = Command::new("kill").args([signal, "--", &whom]).status();
        assert!(sent.is_ok_and(|status| status.success()), "a signal");
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
