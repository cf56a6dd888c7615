//! PostgreSQL.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{ATTEMPTS, PAUSE, new_directory, ports, send};
use crate::health::user_of_script;

/// Where Debian has its versions.
const VERSIONS: &str = "/usr/lib/postgresql";

/// Whether TLS is spoken: its length and a number that stands for no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// A PostgreSQL server on a free port of the loopback interface, in a directory of its own. Needs Debian's `postgresql`.
#[derive(Debug)]
pub struct PostgresServer {
    address: SocketAddr,
    directory: PathBuf,
    child: Option<Child>,
}

// === impl PostgresServer ===

impl PostgresServer {
    /// Starts one with nothing in it.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        let directory = new_directory().expect("a directory");
        if let Some((uid, gid)) = other_user() {
            chown(&directory, Some(uid), Some(gid)).expect("a directory of its own");
        }
        let made = program("initdb")
            .args([
                "--auth=trust",
                "--no-sync",
                "--no-instructions",
                "--locale=C",
                "-D",
            ])
            .arg(directory.join("data"))
            .status();
        assert!(made.is_ok_and(|made| made.success()), "initdb works");
        // Somebody else may take the port before the server does: then another one is tried.
        for _ in 0..5 {
            let mut server = Self {
                address: ports::free(),
                directory: directory.clone(),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("postgres does not start");
    }

    fn spawn(&mut self) -> bool {
        let child = program("postgres")
            .arg("-D")
            .arg(self.directory.join("data"))
            .arg("-k")
            .arg(&self.directory)
            .args(["-F", "-h", "127.0.0.1", "-p"])
            .arg(self.address.port().to_string())
            .spawn();
        self.child = Some(child.expect("postgres is installed"));
        for _ in 0..ATTEMPTS {
            let child = self.child.as_mut();
            if child.is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                return false;
            }
            if self.answers() {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    fn answers(&self) -> bool {
        let limit = Duration::from_secs(1);
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, limit) else {
            return false;
        };
        let mut answer = [0];
        let asked = stream
            .set_read_timeout(Some(limit))
            .and_then(|()| stream.write_all(&SSL_REQUEST))
            .and_then(|()| stream.read_exact(&mut answer));
        asked.is_ok() && matches!(&answer, b"S" | b"N")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it stand still: connections are taken, but nothing answers.
    pub fn pause(&self) {
        send("-STOP", self.child.as_ref());
    }

    /// Has it go on.
    pub fn resume(&self) {
        send("-CONT", self.child.as_ref());
    }

    /// Ends it and its processes at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It has to end its own first, which a stopped one cannot.
            send("-CONT", Some(&child));
            send("-QUIT", Some(&child));
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same port.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        assert!(self.spawn(), "postgres comes back");
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// One of the newest version, as a user that it agrees to.
fn program(name: &str) -> Command {
    let versions = std::fs::read_dir(VERSIONS).expect("postgresql is installed");
    let versions = versions.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = versions.max().expect("postgresql is installed");
    let mut command = Command::new(newest.join("bin").join(name));
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    command
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// It does not run as root.
fn other_user() -> Option<(u32, u32)> {
    let ours = Path::new("/proc/self").metadata().ok()?.uid();
    (ours == 0).then(|| user_of_script("postgres").expect("its user"))
}
