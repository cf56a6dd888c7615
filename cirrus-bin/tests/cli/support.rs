//! Runs the program, and bounds every wait for it.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const TICK: Duration = Duration::from_millis(20);

/// The program, running. Dropped, it is killed.
pub(crate) struct Cirrus {
    child: Child,
    out: Lines,
    err: Lines,
}

/// What one of its streams says, line by line.
struct Lines {
    rest: UnboundedReceiver<String>,
    read: Vec<String>,
}

/// The program's command line, in a directory and without the tester's own settings.
pub(crate) fn cirrus(directory: &Path) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_cirrus"));
    command.current_dir(directory);
    for variable in SETTINGS {
        command.env_remove(variable);
    }
    command
}

const SETTINGS: [&str; 8] = [
    "CONSUL_ADDR",
    "CONSUL_HTTP_TOKEN",
    "CONSUL_HTTP_TOKEN_FILE",
    "CIRRUS_LOG",
    "CIRRUS_TOKEN",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
];

/// Everything that a run to the end has said, for a snapshot.
pub(crate) fn told(command: &mut assert_cmd::Command) -> String {
    let output = command
        .timeout(PATIENCE)
        .output()
        .expect("the program runs");
    let status = output.status.code().expect("it ends by itself");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    format!("status {status}\n--- standard output\n{out}--- standard error\n{err}")
}

/// Asks `ready` again and again until it gives something.
pub(crate) async fn until<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            match ready().await {
                Some(value) => return value,
                None => sleep(TICK).await,
            }
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Waits until nobody listens at `address` any more.
pub(crate) async fn refused(address: SocketAddr) {
    until("connections are refused", async || {
        TcpStream::connect(address).is_err().then_some(())
    })
    .await;
}

// === impl Cirrus ===

impl Cirrus {
    pub(crate) fn start(directory: &Path, arguments: &[&str]) -> Self {
        Self::start_with(directory, arguments, &[])
    }

    /// With these environment variables, and none of the tester's own that matter.
    pub(crate) fn start_with(
        directory: &Path,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cirrus"));
        command.args(arguments).current_dir(directory);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for variable in SETTINGS {
            command.env_remove(variable);
        }
        command.envs(environment.iter().copied());
        let mut child = command.spawn().expect("the program starts");
        let out = Lines::of(child.stdout.take().expect("a pipe"));
        let err = Lines::of(child.stderr.take().expect("a pipe"));
        Self { child, out, err }
    }

    /// What stands behind `label` in a line of standard error, up to a space or quotation mark.
    pub(crate) async fn logged(&mut self, label: &str) -> String {
        self.err.value(label).await
    }

    /// The same of standard output.
    pub(crate) async fn printed(&mut self, label: &str) -> String {
        self.out.value(label).await
    }

    /// The line of standard output that holds `label`.
    pub(crate) async fn printed_line(&mut self, label: &str) -> String {
        self.out.line(label).await
    }

    /// Where it listens, by its log.
    pub(crate) async fn address(&mut self) -> SocketAddr {
        self.logged("listening on http://")
            .await
            .parse()
            .expect("an address")
    }

    /// Where its admin listener is, by its log.
    pub(crate) async fn admin(&mut self) -> SocketAddr {
        self.logged("admin on http://")
            .await
            .parse()
            .expect("an address")
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.id());
        let status = Command::new("sh")
            .args(["-c", &command])
            .status()
            .expect("a shell");
        assert!(status.success(), "{command}");
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        until("the program ends", async || {
            self.child.try_wait().expect("it is our child")
        })
        .await
    }
}

impl Drop for Cirrus {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// === impl Lines ===

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, rest) = unbounded_channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            rest,
            read: Vec::new(),
        }
    }

    async fn value(&mut self, label: &str) -> String {
        let line = self.line(label).await;
        let (_, value) = line.split_once(label).expect("the line holds it");
        value
            .split([' ', '"', '/'])
            .next()
            .unwrap_or_default()
            .to_owned()
    }

    async fn line(&mut self, label: &str) -> String {
        loop {
            if let Some(line) = self.read.iter().find(|line| line.contains(label)) {
                return line.clone();
            }
            match timeout(PATIENCE, self.rest.recv()).await {
                Ok(Some(line)) => self.read.push(line),
                Ok(None) | Err(_) => panic!("no line says `{label}`:\n{}", self.read.join("\n")),
            }
        }
    }
}
