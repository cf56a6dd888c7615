//! The origin of the collection: answers each request as the test says, and remembers what it was asked.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::super::origin::{self, Running};
use super::model::{Field, Source, Step, Test, text};
use crate::clock::{Clock, Timestamp};

/// What the origin is to do, and has done, for the test that runs.
pub(super) struct Desk {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) token: String,
    pub(super) steps: Vec<Step>,
    pub(super) seen: Mutex<Vec<Seen>>,
}

/// A request that has come, and what the client is to see of the answer.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) number: usize,
    pub(super) method: String,
    pub(super) headers: HeaderMap,
    pub(super) compared: Vec<(String, String)>,
    sent: Vec<(String, String)>,
}

/// A request's header.
struct Asked {
    method: String,
    target: String,
    headers: HeaderMap,
}

/// An answer that is being put together.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

pub(super) async fn run(desk: Arc<Desk>) -> Running {
    origin::serve(Arc::default(), move |stream, _| {
        serve(stream, Arc::clone(&desk))
    })
    .await
}

async fn serve(mut stream: TcpStream, desk: Arc<Desk>) {
    let mut read = Vec::new();
    while let Some(asked) = next(&mut stream, &mut read).await {
        let Some(bytes) = desk.answer(&asked) else {
            return;
        };
        if stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Reads a request, its body skipped; `None` at the end.
async fn next(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some((asked, length)) = parse(read) {
            let body = asked.headers.get("content-length");
            let body: usize = body
                .and_then(|it| it.to_str().ok()?.parse().ok())
                .unwrap_or(0);
            while read.len() < length + body {
                fill(stream, read).await?;
            }
            read.drain(..length + body);
            return Some(asked);
        }
        fill(stream, read).await?;
    }
}

async fn fill(stream: &mut TcpStream, read: &mut Vec<u8>) -> Option<()> {
    let mut buffer = [0; 4096];
    let length = stream.read(&mut buffer).await.ok()?;
    read.extend_from_slice(&buffer[..length]);
    (length > 0).then_some(())
}

fn parse(read: &[u8]) -> Option<(Asked, usize)> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(read).expect("a valid request") else {
        return None;
    };
    let mut headers = HeaderMap::new();
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).expect("a name");
        headers.append(name, HeaderValue::from_bytes(field.value).expect("a value"));
    }
    let asked = Asked {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        headers,
    };
    Some((asked, length))
}

// === impl Desk ===

impl Desk {
    pub(super) fn new(test: &Test, clock: impl Clock) -> Self {
        Self {
            clock: Arc::new(clock),
            // Different for every test, whatever the store remembers of others.
            token: format!("4b1d7e52-{}", test.id),
            steps: test.requests.clone(),
            seen: Mutex::default(),
        }
    }

    /// The bytes of the answer; `None` to close the connection.
    fn answer(&self, asked: &Asked) -> Option<Vec<u8>> {
        let mut seen = self.seen.lock();
        let said: Option<usize> = asked
            .field("req-num")
            .and_then(|number| number.parse().ok());
        let number = said.unwrap_or(seen.len() + 1);
        let Some(step) = number
            .checked_sub(1)
            .and_then(|index| self.steps.get(index))
        else {
            return Some(Answer::conflict().bytes(asked));
        };
        let mut answer = Answer {
            status: self.status(number, step, asked, &seen),
            headers: Vec::new(),
            body: step
                .response_body
                .clone()
                .flatten()
                .unwrap_or_else(|| self.token.clone()),
        };
        answer.add("Server-Base-Url", &asked.target);
        answer.add("Server-Request-Count", &(seen.len() + 1).to_string());
        answer.add("Client-Request-Count", &number.to_string());
        answer.add("Server-Now", &self.clock.now().as_millis().to_string());
        let capability = asked.field("surrogate-capability").unwrap_or_default();
        answer.add("Capability-Seen", &capability);
        for field in &step.response_headers {
            let value = fixed(field, step, self.clock.now(), &asked.target, &capability);
            answer.add(&field.name, &value);
        }
        let compared = answer.compared(step);
        seen.push(Seen {
            number,
            method: asked.method.clone(),
            headers: asked.headers.clone(),
            compared,
            sent: answer.headers.clone(),
        });
        let numbers: Vec<_> = seen.iter().map(|seen| seen.number.to_string()).collect();
        answer.add("Request-Numbers", &numbers.join(" "));
        answer.default("Content-Type", "text/plain");
        answer.default("Date", &self.clock.now().to_string());
        (!step.disconnect).then(|| answer.bytes(asked))
    }

    /// What a request would have been answered that the cache has kept from the origin.
    fn told(&self, number: usize) -> Option<Vec<(String, String)>> {
        let step = self.steps.get(number.checked_sub(1)?)?;
        let fields = step.response_headers.iter();
        Some(
            fields
                .map(|field| (field.name.clone(), text(&field.value).to_owned()))
                .collect(),
        )
    }

    /// 304 where the test expects that to be asked for; 999 if it is not.
    fn status(&self, number: usize, step: &Step, asked: &Asked, seen: &[Seen]) -> u16 {
        if !step.expected_type.is_some_and(Source::is_validated) {
            return step
                .response_status
                .as_ref()
                .map_or(200, |(status, _)| *status);
        }
        let before = seen.iter().rfind(|seen| seen.number + 1 == number);
        let offered = |name: &str| {
            let sent = before
                .map(|seen| seen.sent.clone())
                .or_else(|| self.told(number - 1));
            let field = sent?
                .into_iter()
                .rfind(|(other, _)| other.eq_ignore_ascii_case(name))?;
            Some(field.1)
        };
        let holds = |condition: &str, name: &str| {
            offered(name).is_some_and(|value| asked.field(condition) == Some(value))
        };
        if holds("if-modified-since", "last-modified") || holds("if-none-match", "etag") {
            304
        } else {
            999
        }
    }
}

// === impl Asked ===

impl Asked {
    fn field(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

// === impl Answer ===

impl Answer {
    fn conflict() -> Self {
        Self {
            status: 409,
            headers: Vec::new(),
            body: "no such request in this test".to_owned(),
        }
    }

    fn add(&mut self, name: &str, value: &str) {
        self.headers.push((name.to_owned(), value.to_owned()));
    }

    fn default(&mut self, name: &str, value: &str) {
        if self.value(name).is_none() {
            self.add(name, value);
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        let lines = self
            .headers
            .iter()
            .filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let values: Vec<_> = lines.map(|(_, value)| value.as_str()).collect();
        (!values.is_empty()).then(|| values.join(", "))
    }

    fn compared(&self, step: &Step) -> Vec<(String, String)> {
        let fields = step
            .response_headers
            .iter()
            .filter(|field| field.is_compared);
        let value = |field: &Field| self.value(&field.name).unwrap_or_default();
        fields
            .map(|field| (field.name.clone(), value(field)))
            .collect()
    }

    fn bytes(&self, asked: &Asked) -> Vec<u8> {
        let has_content = !matches!(self.status, 204 | 304);
        let length = self
            .value("content-length")
            .and_then(|length| length.parse().ok());
        let mut text = format!("HTTP/1.1 {} -\r\n", self.status);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if has_content && length.is_none() && self.value("transfer-encoding").is_none() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        if has_content && asked.method != "HEAD" {
            let length = length.unwrap_or(self.body.len()).min(self.body.len());
            text.push_str(&self.body[..length]);
        }
        text.into_bytes()
    }
}

/// A field's value with what stands for times, places and the cache's own name filled in.
pub(super) fn fixed(
    field: &Field,
    step: &Step,
    now: Timestamp,
    base: &str,
    capability: &str,
) -> String {
    let name = field.name.to_ascii_lowercase();
    match (&*name, &field.value) {
        (_, Value::Number(number)) => match number.as_i64() {
            Some(distance) if is_date(&name) => {
                date(now, distance, step.rfc850date.contains(&name))
            }
            _ => number.to_string(),
        },
        ("location" | "content-location", value) if step.magic_locations => match text(value) {
            "" => base.to_owned(),
            place => format!("{base}/{place}"),
        },
        ("surrogate-control", value) => {
            let target = capability.split('=').next().unwrap_or_default();
            match target {
                "" => text(value).to_owned(),
                target => text(value).replace("CAPABILITY_TARGET", target),
            }
        }
        (_, value) => text(value).to_owned(),
    }
}

fn is_date(name: &str) -> bool {
    matches!(
        name,
        "date" | "expires" | "last-modified" | "if-modified-since" | "if-unmodified-since"
    )
}

fn date(now: Timestamp, distance: i64, is_rfc850: bool) -> String {
    let secs = now.as_secs().saturating_add_signed(distance);
    let date = Timestamp::from_secs(secs).to_string();
    if is_rfc850 { rfc850(secs, &date) } else { date }
}

/// `Sunday, 06-Nov-94 08:49:37 GMT` for `Sun, 06 Nov 1994 08:49:37 GMT`.
fn rfc850(secs: u64, date: &str) -> String {
    // The first day of the epoch was a Thursday.
    let days = ["Thurs", "Fri", "Satur", "Sun", "Mon", "Tues", "Wednes"];
    let weekday = days[(secs / 86_400 % 7) as usize];
    let (day, month) = (&date[5..7], &date[8..11]);
    format!(
        "{weekday}day, {day}-{month}-{} {}",
        &date[14..16],
        &date[17..]
    )
}
