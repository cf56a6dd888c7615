//! A program that tells by its exit status.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

use crate::config::{CheckConfig, OriginUrl};
use crate::error::BoxError;

/// Bytes of output that are kept, for the reason; the rest is read and forgotten.
const OUTPUT: usize = 1024;

/// How long the rest of the output is waited for once the program has ended.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Ends the program and its children, if it has not ended.
struct Running(Child);

/// Runs it to its end. Dropped, it kills the program and what that has started.
pub(super) async fn run(check: &CheckConfig, target: &OriginUrl) -> Result<(), BoxError> {
    let mut running = Running(command(check, target)?.spawn()?);
    let (out, err) = (running.0.stdout.take(), running.0.stderr.take());
    let mut reading = std::pin::pin!(async { tokio::join!(read(out), read(err)) });
    let (status, said) = tokio::select! {
        status = running.0.wait() => {
            // What it has started may hold its output open for longer than it lives itself.
            (status?, tokio::time::timeout(LAST_WORDS, reading).await.ok())
        }
        said = &mut reading => (running.0.wait().await?, Some(said)),
    };
    if status.success() {
        return Ok(());
    }
    let (out, err) = said.unwrap_or_default();
    Err(reason(status, if err.is_empty() { &out } else { &err }).into())
}

fn command(check: &CheckConfig, target: &OriginUrl) -> Result<Command, BoxError> {
    let (program, arguments) = check.command.split_first().ok_or("there is no command")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("CIRRUS_HOST", target.host())
        .env("CIRRUS_PORT", target.port().to_string())
        .current_dir(check.directory.as_deref().unwrap_or(Path::new("/")))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(name) = &check.user {
        let (uid, gid) = user(name)?;
        command.uid(uid).gid(gid);
    }
    Ok(command)
}

/// A user's numbers, from `/etc/passwd`.
pub(crate) fn user(name: &str) -> Result<(u32, u32), String> {
    let users = std::fs::read_to_string("/etc/passwd").map_err(|error| error.to_string())?;
    let fields = users
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name));
    let number = |index: usize| fields.as_ref()?.get(index)?.parse::<u32>().ok();
    number(2)
        .zip(number(3))
        .ok_or_else(|| format!("there is no user `{name}`"))
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    let Some(mut from) = from else {
        return String::new();
    };
    let mut buffer = [0; 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let room = OUTPUT - kept.len();
        kept.extend_from_slice(&buffer[..length.min(room)]);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

fn reason(status: ExitStatus, said: &str) -> String {
    match said.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => {
            let line: String = line.chars().take(120).collect();
            format!("{status}: {}", line.escape_debug())
        }
        _ => status.to_string(),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Without its number it has been waited for; its children may live all the same, but under a number that might
        // be somebody else's by now.
        let id = self.0.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = id.and_then(Pid::from_raw) {
            // It may have ended meanwhile.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn script(text: &str) -> Result<(), String> {
        let check = CheckConfig {
            command: ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
            ..CheckConfig::default()
        };
        let url = "http://shop.example:81".parse().unwrap();
        run(&check, &url).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn tells_by_its_status() {
        assert_eq!(script("exit 0").await, Ok(()));
        let error = script("echo no disk >&2; exit 3").await.unwrap_err();
        assert!(error.starts_with("exit status: 3"), "{error}");
        assert_eq!(
            script("test $CIRRUS_HOST:$CIRRUS_PORT = shop.example:81").await,
            Ok(())
        );
        assert_eq!(
            script("test -z \"$HOME$CARGO\"").await,
            Ok(()),
            "no environment of ours"
        );
    }

    #[tokio::test]
    async fn what_it_writes_does_not_hold_it_up() {
        assert_eq!(script("head -c 1000000 /dev/zero").await, Ok(()));
    }

    #[tokio::test]
    async fn dropped_it_ends_with_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let text = format!("sleep 600 & echo $! > {}; wait", file.display());
        let running = tokio::time::timeout(Duration::from_secs(60), async {
            tokio::select! {
                _ = script(&text) => panic!("it ended"),
                id = async {
                    loop {
                        let id = std::fs::read_to_string(&file).unwrap_or_default();
                        if let Ok(id) = id.trim().parse::<u32>() {
                            return id;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                } => id,
            }
        });
        let child = running.await.unwrap();
        let stat = format!("/proc/{child}/stat");
        let lives = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z"));
        for _ in 0..1000 {
            if !lives() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("the child lives on");
    }

    #[test]
    fn users_are_known_by_name() {
        assert_eq!(user("root"), Ok((0, 0)));
        assert!(user("nobody at all").is_err());
    }
}
