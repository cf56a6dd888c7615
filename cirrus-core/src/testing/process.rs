//! Programs that tests talk to, started for one test and ended with it.

mod consul;
mod knot;
mod pebble;

mod etcd;
mod mariadb;
mod postgres;
pub use consul::ConsulServer;
pub use etcd::EtcdServer;
pub use knot::KnotServer;
pub use mariadb::MariaDbServer;
pub use pebble::{PebbleServer, PebbleSettings};
pub use postgres::PostgresServer;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::ports;

/// How often a server that starts is asked whether it is there, and how long between.
const ATTEMPTS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(10);

/// A Redis server on a free port of the loopback interface, in a directory of its own. Needs `redis-server`.
///
/// ```no_run
/// # use cirrus_core::testing::process::RedisServer;
/// let mut redis = RedisServer::start();
/// assert_eq!(redis.ask(&["SET", "a", "1"]), "+OK");
/// redis.restart();
/// assert_eq!(redis.ask(&["GET", "a"]), "$-1", "it comes back empty");
/// ```
#[derive(Debug)]
pub struct RedisServer {
    address: SocketAddr,
    directory: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

// === impl RedisServer ===

impl RedisServer {
    /// Starts one that keeps nothing.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Starts one with more arguments, such as `--maxmemory 4mb`.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        // Somebody else may take the port before the server does: then another one is tried.
        for _ in 0..10 {
            let mut server = Self {
                address: ports::free(),
                directory: new_directory().expect("a directory"),
                arguments: arguments.iter().map(ToString::to_string).collect(),
                child: None,
            };
            if server.spawn() {
                return server;
            }
        }
        panic!("redis-server does not start: is it installed?");
    }

    fn spawn(&mut self) -> bool {
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port"])
            .arg(self.address.port().to_string())
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(&self.directory)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server is installed"));
        self.is_up()
    }

    /// Whether it answers before long.
    fn is_up(&mut self) -> bool {
        for _ in 0..ATTEMPTS {
            let ended = self
                .child
                .as_mut()
                .is_none_or(|child| !matches!(child.try_wait(), Ok(None)));
            if ended {
                return false;
            }
            // With a password it answers too, that it wants one.
            if let Ok(answer) = self.try_ask(&["PING"])
                && (answer == "+PONG" || answer.starts_with("-NOAUTH"))
            {
                return true;
            }
            thread::sleep(PAUSE);
        }
        false
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sends a command; gives the first line of the answer, or the text of a bulk string.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    #[must_use]
    pub fn ask(&self, command: &[impl AsRef<[u8]>]) -> String {
        self.try_ask(command).expect("an answer")
    }

    fn try_ask(&self, command: &[impl AsRef<[u8]>]) -> io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut message = format!("*{}\r\n", command.len()).into_bytes();
        for word in command.iter().map(AsRef::as_ref) {
            message.extend(format!("${}\r\n", word.len()).bytes());
            message.extend_from_slice(word);
            message.extend_from_slice(b"\r\n");
        }
        stream.write_all(&message)?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let line = line.trim_end().to_owned();
        match line
            .strip_prefix('$')
            .and_then(|len| len.parse::<usize>().ok())
        {
            Some(len) => {
                let mut text = vec![0; len];
                reader.read_exact(&mut text)?;
                Ok(String::from_utf8_lossy(&text).into_owned())
            }
            None => Ok(line),
        }
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
        assert!(self.spawn(), "redis-server comes back");
    }

    /// Has it stand still: connections stay, but nothing answers.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Has it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        send(signal, self.child.as_ref());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn send(signal: &str, to: Option<&Child>) {
    let Some(child) = to else { return };
    let sent = Command::new("kill")
        .arg(signal)
        .arg(child.id().to_string())
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "a signal");
}

pub(super) fn new_directory() -> io::Result<PathBuf> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    let name = format!("cirrus-server-{}-{number}", std::process::id());
    let directory = Path::new(&std::env::temp_dir()).join(name);
    std::fs::create_dir_all(&directory)?;
    Ok(directory)
}
