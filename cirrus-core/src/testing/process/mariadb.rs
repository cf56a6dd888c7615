//! MariaDB, which greets as MySQL does.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use super::{ATTEMPTS, PAUSE, new_directory, ports, send};

/// A MariaDB server on a free port of the loopback interface, in a directory of its own, with no tables, not even its own
/// ones. Needs Debian's `mariadb-server-core`.
#[derive(Debug)]
pub struct MariaDbServer {
    address: SocketAddr,
    directory: PathBuf,
    child: Option<Child>,
}

// === impl MariaDbServer ===

impl MariaDbServer {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        // Somebody else may take the port before the server does: then another one is tried.
        for _ in 0..5 {
            let mut server = Self {
                address: ports::free(),
                directory: new_directory().expect("a directory"),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("mariadbd does not start");
    }

    fn spawn(&mut self) -> bool {
        let child = Command::new("mariadbd")
            .args(["--no-defaults", "--user=root", "--skip-grant-tables"])
            .args(["--bind-address=127.0.0.1", "--innodb-log-file-size=4M"])
            .arg(format!("--port={}", self.address.port()))
            .arg(format!("--datadir={}", self.directory.display()))
            .arg(format!(
                "--socket={}",
                self.directory.join("socket").display()
            ))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("mariadbd is installed"));
        for _ in 0..ATTEMPTS {
            let child = self.child.as_mut();
            if child.is_none_or(|child| !matches!(child.try_wait(), Ok(None))) {
                return false;
            }
            if self.greets() {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    fn greets(&self) -> bool {
        let limit = Duration::from_secs(1);
        let Ok(mut stream) = TcpStream::connect_timeout(&self.address, limit) else {
            return false;
        };
        let read = stream.set_read_timeout(Some(limit));
        read.and_then(|()| stream.read_exact(&mut [0; 5])).is_ok()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Has it stand still: connections are taken, but nothing greets.
    pub fn pause(&self) {
        send("-STOP", self.child.as_ref());
    }

    /// Has it go on.
    pub fn resume(&self) {
        send("-CONT", self.child.as_ref());
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again, on the same port, with nothing in it.
    ///
    /// # Panics
    ///
    /// If it does not come back.
    pub fn restart(&mut self) {
        self.kill();
        // What was being written when it was killed is not always taken up again.
        std::fs::remove_dir_all(&self.directory).expect("its directory");
        std::fs::create_dir(&self.directory).expect("an empty directory");
        assert!(self.spawn(), "mariadbd comes back");
    }
}

impl Drop for MariaDbServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
