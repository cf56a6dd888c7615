//! One line for every request: a buffer for each worker, a thread that writes, and no waiting for either.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Context;
use super::record::RequestLine;
use crate::body::Ended;
use crate::clock::Timestamp;
use crate::config::{AccessLogConfig, AccessLogFormat};

/// A worker's buffer goes to the writer when it has grown to this, or after [`FLUSH`].
const BUFFER: usize = 64 * 1024;

/// The longest a line waits in a buffer.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);

/// How long the end of the process waits for the last lines to be written.
const LAST_WRITE: Duration = Duration::from_secs(5);

/// Between two looks at a writer that is behind, at the end.
const LAST_PAUSE: Duration = Duration::from_millis(10);

/// Buffers that may wait for the writer; further lines are dropped and counted.
const QUEUE: usize = 64;

/// The access log. Off, it costs one comparison a request.
#[derive(Debug, Default)]
pub(crate) struct AccessLog(Option<Open>);

#[derive(Debug)]
struct Open {
    format: AccessLogFormat,
    buffers: Box<[Mutex<Vec<u8>>]>,
    writer: SyncSender<Message>,
}

/// What the writer is told.
enum Message {
    Lines(Vec<u8>),
    /// Everything before this has been written.
    Written(oneshot::Sender<()>),
}

/// What a line is made from.
pub(crate) struct Line<'a> {
    pub(crate) cx: &'a Context,
    pub(crate) asked: &'a RequestLine,
    pub(crate) status: StatusCode,
    pub(crate) sent: u64,
    pub(crate) took: Duration,
    pub(crate) how: Ended,
}

// === impl AccessLog ===

impl AccessLog {
    /// Opens the file and starts the writer, unless the log is off.
    pub(crate) fn open(config: &AccessLogConfig, workers: usize) -> io::Result<Self> {
        if config.format == AccessLogFormat::Off {
            return Ok(Self(None));
        }
        let (writer, lines) = sync_channel(QUEUE);
        match &config.file {
            Some(path) => start(append(path)?, lines)?,
            None => start(io::stdout(), lines)?,
        }
        let buffers = (0..workers.max(1)).map(|_| Mutex::default()).collect();
        Ok(Self(Some(Open {
            format: config.format,
            buffers,
            writer,
        })))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Adds a line. `false` if it had to be dropped.
    pub(crate) fn write(&self, worker: usize, line: &Line<'_>) -> bool {
        let Some(open) = &self.0 else { return true };
        let mut buffer = open.buffers[worker % open.buffers.len()].lock();
        if buffer.len() >= BUFFER && !open.send(&mut buffer) {
            return false;
        }
        // Writing to memory does not fail.
        let _ = match open.format {
            AccessLogFormat::Combined => line.combined(&mut buffer),
            _ => line.json(&mut buffer),
        };
        true
    }

    /// Hands every line to the writer. `false` if it is behind.
    pub(crate) fn flush(&self) -> bool {
        let Some(open) = &self.0 else { return true };
        // Every one of them, even if one finds no room.
        let kept = open
            .buffers
            .iter()
            .filter(|buffer| !open.send(&mut buffer.lock()));
        kept.count() == 0
    }

    /// Hands every line to the writer and waits until it has written them, [`LAST_WRITE`] at the most: a disk that
    /// hangs must not keep the process from ending.
    pub(crate) async fn finish(&self) {
        let Some(open) = &self.0 else { return };
        let all = async {
            while !self.flush() {
                tokio::time::sleep(LAST_PAUSE).await;
            }
            while let Some(written) = open.ask_written() {
                match written.await {
                    Ok(()) => return,
                    Err(_) => tokio::time::sleep(LAST_PAUSE).await,
                }
            }
        };
        if tokio::time::timeout(LAST_WRITE, all).await.is_err() {
            tracing::warn!("the last lines of the access log were not written in time");
        }
    }
}

// === impl Open ===

impl Open {
    /// Hears when everything handed over before has been written; an error if there was no room to ask. `None` once
    /// the writer is gone.
    fn ask_written(&self) -> Option<oneshot::Receiver<()>> {
        let (told, written) = oneshot::channel();
        match self.writer.try_send(Message::Written(told)) {
            Ok(()) | Err(TrySendError::Full(_)) => Some(written),
            Err(TrySendError::Disconnected(_)) => None,
        }
    }

    /// `false` if the writer is behind: the buffer is kept.
    fn send(&self, buffer: &mut Vec<u8>) -> bool {
        if buffer.is_empty() {
            return true;
        }
        match self.writer.try_send(Message::Lines(std::mem::take(buffer))) {
            Ok(()) => true,
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                if let Message::Lines(lines) = message {
                    *buffer = lines;
                }
                false
            }
        }
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// The writer ends when the log is dropped, after the last line.
fn start(mut out: impl Write + Send + 'static, messages: Receiver<Message>) -> io::Result<()> {
    std::thread::Builder::new()
        .name("cirrus-log".to_owned())
        .spawn(move || {
            for message in messages {
                match message {
                    Message::Lines(lines) => write_out(&mut out, &lines),
                    // Whoever waited may have given up.
                    Message::Written(told) => drop(told.send(())),
                }
            }
        })?;
    Ok(())
}

fn write_out(out: &mut impl Write, lines: &[u8]) {
    if let Err(error) = out.write_all(lines).and_then(|()| out.flush()) {
        tracing::warn!(%error, "cannot write the access log");
    }
}

// === impl Line ===

impl Line<'_> {
    /// `peer - user [time] "request" status bytes "referer" "user agent"`.
    fn combined(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let Self { cx, asked, .. } = self;
        let time = Timestamp::as_secs(self.ended_at());
        write!(
            out,
            "{} - {} [{}] \"",
            cx.connection.peer.ip(),
            User(cx.user.as_deref()),
            common_log_time(time)
        )?;
        write!(
            out,
            "{} {} {:?}\" {} {} \"",
            asked.method,
            Escaped(asked.path().as_bytes()),
            asked.version,
            self.status.as_u16(),
            self.sent
        )?;
        write!(out, "{}\" \"", Escaped(value(&asked.referer)))?;
        writeln!(out, "{}\"", Escaped(value(&asked.user_agent)))
    }

    fn json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let Self { cx, asked, .. } = self;
        write!(
            out,
            "{{\"time\":{},\"peer\":\"{}\",",
            self.ended_at().as_millis() as f64 / 1e3,
            cx.connection.peer.ip()
        )?;
        write!(
            out,
            "\"host\":\"{}\",\"method\":\"{}\",",
            Escaped(cx.host.as_str().as_bytes()),
            asked.method
        )?;
        write!(out, "\"target\":\"{}\",", Escaped(asked.path().as_bytes()))?;
        write!(
            out,
            "\"version\":\"{:?}\",\"scheme\":\"{}\",",
            asked.version,
            cx.scheme.as_str()
        )?;
        write!(
            out,
            "\"status\":{},\"sent\":{},\"seconds\":{:.6},",
            self.status.as_u16(),
            self.sent,
            self.took.as_secs_f64()
        )?;
        write!(out, "\"cache\":\"{}\",", cx.cache.word())?;
        if let Some(site) = &cx.site {
            write!(out, "\"site\":\"{}\",", Escaped(site.name.as_bytes()))?;
        }
        if let Some(user) = &cx.user {
            write!(out, "\"user\":\"{}\",", Escaped(user.as_bytes()))?;
        }
        if let Some(upstream) = &cx.asked {
            write!(
                out,
                "\"upstream\":\"{}\",",
                Escaped(upstream.backend.address().as_bytes())
            )?;
            write!(
                out,
                "\"upstream_seconds\":{:.6},",
                upstream.took.as_secs_f64()
            )?;
        }
        if let Some(error) = cx.error {
            write!(out, "\"error\":\"{}\",", error.word())?;
        }
        self.names(out)?;
        if let Some(agent) = &asked.user_agent {
            write!(out, "\"user_agent\":\"{}\",", Escaped(agent.as_bytes()))?;
        }
        writeln!(out, "\"complete\":{}}}", self.how == Ended::Whole)
    }

    /// What the request is called elsewhere.
    fn names(&self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Some(id) = &self.cx.request_id {
            write!(out, "\"request_id\":\"{}\",", Escaped(id.as_bytes()))?;
        }
        if let Some(trace) = self.cx.trace_id {
            write!(out, "\"trace_id\":\"{trace}\",")?;
        }
        Ok(())
    }

    fn ended_at(&self) -> Timestamp {
        self.cx.worker.engine.clock.now()
    }
}

fn value(field: &Option<HeaderValue>) -> &[u8] {
    field.as_ref().map_or(b"-", HeaderValue::as_bytes)
}

/// `10/Oct/2000:13:55:36 +0000`, from the HTTP date `Tue, 10 Oct 2000 13:55:36 GMT`.
fn common_log_time(seconds: u64) -> String {
    let date = Timestamp::from_secs(seconds).to_string();
    let mut parts = date.split(' ').skip(1);
    let mut next = || parts.next().unwrap_or_default();
    let (day, month, year, time) = (next(), next(), next(), next());
    format!("{day}/{month}/{year}:{time} +0000")
}

/// Text from outside, fit for a quoted string: no quote, no control character, no line of a client's own making.
struct Escaped<'a>(&'a [u8]);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '"' | '\\' => write!(f, "\\{character}")?,
                    c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                    c => f.write_char(c)?,
                }
            }
            for _ in chunk.invalid() {
                f.write_char('\u{fffd}')?;
            }
        }
        Ok(())
    }
}

/// The third field of the combined format, which ends with a space: names cannot have any.
struct User<'a>(Option<&'a str>);

impl std::fmt::Display for User<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            None | Some("") => f.write_str("-"),
            Some(user) => write!(f, "{}", Escaped(user.replace(' ', "_").as_bytes())),
        }
    }
}

/// Flushes the log every [`FLUSH`], for as long as somebody else holds it.
pub(crate) async fn keep_flushed(log: Arc<AccessLog>) {
    let mut ticks = tokio::time::interval(FLUSH);
    while Arc::strong_count(&log) > 1 {
        ticks.tick().await;
        // What finds no room now is sent with the next tick.
        let _ = log.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_cannot_forge_a_line() {
        let agent = Escaped(b"a\"b\\c\n{\"fake\":1}\xff\x07").to_string();
        assert_eq!(agent, "a\\\"b\\\\c\\u000a{\\\"fake\\\":1}\u{fffd}\\u0007");
        let json = format!("\"{agent}\"");
        assert!(
            serde_json::from_str::<String>(&json)
                .unwrap()
                .starts_with("a\"b\\c\n{")
        );
    }

    #[test]
    fn writes_the_time_as_apache_does() {
        assert_eq!(common_log_time(971_186_136), "10/Oct/2000:13:55:36 +0000");
    }
}
