//! An example as a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use cirrus_core::testing::Client;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

/// How long a test waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running example. It is killed when it is dropped.
pub(crate) struct Program {
    child: Child,
    log: Lines<BufReader<ChildStdout>>,
}

// === impl Program ===

impl Program {
    /// Starts an example with these arguments.
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        Self::start_in(Path::new("."), name, arguments)
    }

    /// Starts it in this directory.
    pub(crate) fn start_in(directory: &Path, name: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(executable(name))
            .args(arguments)
            .current_dir(directory)
            .env("NO_COLOR", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, log }
    }

    /// The next address that it says it listens on.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        let said = async {
            loop {
                let line = self.log.next_line().await.unwrap().expect("it still runs");
                if let Some((_, address)) = line.split_once("listening address=") {
                    break address.parse().unwrap();
                }
            }
        };
        timeout(PATIENCE, said).await.expect("it listens in time")
    }

    /// Waits for a line of its log with this text.
    pub(crate) async fn says(&mut self, text: &str) {
        let said = async {
            loop {
                let line = self.log.next_line().await.unwrap().expect("it still runs");
                if line.contains(text) {
                    break;
                }
            }
        };
        timeout(PATIENCE, said).await.expect("it says so in time");
    }

    /// Ends it at once, and waits until it has.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// A client of the next address.
    pub(crate) async fn client(&mut self) -> Client {
        Client::to(self.address().await)
    }

    /// Types a line.
    pub(crate) async fn type_line(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        input.write_all(line.as_bytes()).await.unwrap();
        input.write_all(b"\n").await.unwrap();
    }

    /// Ends its input, and waits until it has ended as well.
    pub(crate) async fn ends_with_its_input(mut self) {
        drop(self.child.stdin.take());
        let status = timeout(PATIENCE, self.child.wait()).await;
        assert!(status.expect("it ends in time").unwrap().success());
    }
}

/// Cargo builds the examples beside the tests whenever it tests the whole package.
fn executable(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(2).unwrap();
    let file = target
        .join("examples")
        .join(name)
        .with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        file.exists(),
        "there is no {}: run `cargo build -p cirrus-examples --examples`",
        file.display()
    );
    file
}

/// Asks for `path` until its text is `wanted`.
pub(crate) async fn until(client: &mut Client, path: &str, wanted: &str) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let arrives = async {
        loop {
            let reply = client.get(path).await;
            if reply.status == 200 && reply.text() == wanted {
                break;
            }
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, arrives)
        .await
        .expect("the answer in time");
}
