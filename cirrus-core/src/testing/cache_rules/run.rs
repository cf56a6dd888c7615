//! The client of the collection: makes the requests of one test and compares what comes of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::super::{Client, Reply, proxy};
use super::model::{Field, Source, Step, Test, text};
use super::origin::{self, Desk, Seen, fixed};
use crate::cache::CacheStore;
use crate::clock::{ManualClock, Timestamp};

/// How long the collection waits where a test says `pause_after`.
const PAUSE: Duration = Duration::from_secs(3);

/// What RFC 9111 allows beyond what is on by default: heuristics, and cookies in what is stored.
pub(super) const ALL: &str = "enable = true, heuristic_percent = 10, set_cookie = \"keep\"";

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    Passed,
    /// What it needed did not hold, so it says nothing.
    Unprepared(String),
    Failed(String),
}

type Checked = Result<(), End>;

impl From<Checked> for End {
    fn from(checked: Checked) -> Self {
        checked.err().unwrap_or(Self::Passed)
    }
}

/// Runs one test through a proxy of its own over `store`.
pub(super) async fn run<S: CacheStore>(
    test: &Test,
    cache: Option<&str>,
    store: &impl AsyncFn(ManualClock) -> S,
) -> End {
    let clock = ManualClock::at(Timestamp::from_secs(1_795_200_000));
    let desk = Arc::new(Desk::new(test, clock.clone()));
    let origin = origin::run(Arc::clone(&desk)).await;
    let store = store(clock.clone()).await;
    let proxy = proxy::new(&configuration(&origin.url(), cache.unwrap_or(ALL)))
        .with(|builder| builder.clock(clock.clone()).cache(store))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    let pause = async || clock.advance(PAUSE);
    let ended = walk(test, &desk, &mut client, pause).await;
    proxy.shutdown().await;
    ended.into()
}

/// Runs one test through a proxy that runs already, with a site for this host. Time passes as it does.
pub(super) async fn run_at(test: &Test, desk: &Desk, address: SocketAddr, host: &str) -> End {
    desk.seen.lock().clear();
    let mut client = Client::to(address).host(host);
    let pause = async || tokio::time::sleep(PAUSE).await;
    walk(test, desk, &mut client, pause).await.into()
}

fn configuration(origin: &str, cache: &str) -> String {
    site("\"*\"", origin, cache)
}

pub(super) fn site(hosts: &str, origin: &str, cache: &str) -> String {
    let site = format!("[[site]]\nhosts = [{hosts}]\norigin = [{{ url = \"{origin}\" }}]");
    format!("{site}\ncache = {{ {cache} }}\n")
}

async fn walk(test: &Test, desk: &Desk, client: &mut Client, pause: impl AsyncFn()) -> Checked {
    let mut replies: Vec<Reply> = Vec::new();
    for (index, step) in test.requests.iter().enumerate() {
        let lines = lines(test, step, index, replies.last());
        let body = step.request_body.as_deref().unwrap_or_default();
        let path = path(&desk.token, step);
        let reply = client
            .ask(step.method(), &path, &lines, body.as_bytes())
            .await;
        check_reply(desk, step, index + 1, &reply)?;
        replies.push(reply);
        if step.pause_after {
            pause().await;
        }
    }
    check_requests(test, &replies, &desk.seen.lock())
}

fn path(token: &str, step: &Step) -> String {
    let file = step.filename.as_ref().map(|name| format!("/{name}"));
    let query = step.query_arg.as_ref().map(|query| format!("?{query}"));
    format!(
        "/test/{token}{}{}",
        file.unwrap_or_default(),
        query.unwrap_or_default()
    )
}

/// The request's fields as lines.
fn lines(test: &Test, step: &Step, index: usize, before: Option<&Reply>) -> String {
    let mut lines = String::new();
    let mut add = |name: &str, value: &str| lines.push_str(&format!("{name}: {value}\r\n"));
    match &step.request_headers {
        Some(fields) => fields.iter().for_each(|field| {
            add(&field.name, &requested(field, step, before));
        }),
        // What the collection sends where a test says nothing: neither means anything to a cache.
        None => {
            add("Pragma", "foo");
            add("Cache-Control", "nothing-to-see-here");
        }
    }
    add("Test-Name", &test.name);
    add("Test-ID", &test.id);
    add("Req-Num", &(index + 1).to_string());
    lines
}

fn requested(field: &Field, step: &Step, before: Option<&Reply>) -> String {
    let before = before.filter(|_| step.magic_ims);
    before.map_or_else(
        || text(&field.value).to_owned(),
        |before| filled(field, step, before),
    )
}

/// A field's value with times counted from when the origin answered.
fn filled(field: &Field, step: &Step, reply: &Reply) -> String {
    let now = Timestamp::from_millis(number(reply, "server-now").unwrap_or_default() as u64);
    let base = reply.header("server-base-url");
    fixed(field, step, now, &base, &reply.header("capability-seen"))
}

fn number(reply: &Reply, name: &str) -> Option<usize> {
    reply.header(name).parse().ok()
}

// === what the client sees ===

fn check_reply(desk: &Desk, step: &Step, number: usize, reply: &Reply) -> Checked {
    check_no_retry(reply)?;
    check_type(step, number, reply)?;
    check_status(step, reply)?;
    check_present(step, reply)?;
    check_missing(step, reply)?;
    check_body(desk, step, reply)
}

fn check_no_retry(reply: &Reply) -> Checked {
    let numbers = reply.header("request-numbers");
    let mut numbers: Vec<_> = numbers.split_ascii_whitespace().collect();
    let all = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    that(numbers.len() == all, true, || {
        "the origin was asked twice".to_owned()
    })
}

fn check_type(step: &Step, count: usize, reply: &Reply) -> Checked {
    let asked = number(reply, "server-request-count");
    let is_setup = step.is_setup("expected_type");
    match step.expected_type {
        Some(Source::Cached) => {
            let is_plain = reply.status == 304 && asked.is_none();
            let is_cached = is_plain || asked.is_some_and(|asked| asked < count);
            that(is_cached, is_setup, || {
                format!("response {count} is not from the cache")
            })
        }
        // The collection counts a gateway's own error as cached, so that nobody can pass; ours says that it is not.
        Some(Source::NotCached) if step.disconnect && reply.status >= 500 => {
            that(asked.is_none(), is_setup, || {
                format!("response {count} is from the cache")
            })
        }
        Some(Source::NotCached) => that(asked == Some(count), is_setup, || {
            format!("response {count} is from the cache")
        }),
        _ => Ok(()),
    }
}

fn check_status(step: &Step, reply: &Reply) -> Checked {
    let is = |status: u16, is_setup| {
        let wrong = || format!("the status is {}, not {status}", reply.status);
        that(reply.status == status, is_setup, wrong)
    };
    if let Some(status) = step.expected_status {
        return is(status, step.is_setup("expected_status"));
    }
    if let Some((status, _)) = &step.response_status {
        return is(*status, true);
    }
    if reply.status == 999 {
        let wrong = || "the request should have been conditional".to_owned();
        return that(false, step.is_setup("expected_type"), wrong);
    }
    if step.disconnect && step.expected_type == Some(Source::NotCached) {
        return is(502, true);
    }
    is(200, true)
}

fn check_present(step: &Step, reply: &Reply) -> Checked {
    let is_setup = step.is_setup("expected_response_headers");
    for expected in &step.expected_response_headers {
        let (name, holds) = holds(expected, step, reply);
        let has = || reply.headers.contains_key(name).then(|| reply.header(name));
        that(holds, is_setup, || {
            format!("{name} is {:?}, expected {expected}", has())
        })?;
    }
    Ok(())
}

/// A name alone, a name and its value, a name with `=` and another field, or with `>` and a number.
fn holds<'a>(expected: &'a Value, step: &Step, reply: &Reply) -> (&'a str, bool) {
    let Some(parts) = expected.as_array() else {
        let name = text(expected);
        return (name, reply.headers.contains_key(name));
    };
    let name = text(&parts[0]);
    let value = reply.headers.contains_key(name).then(|| reply.header(name));
    let holds = match (parts.get(1).and_then(Value::as_str), parts.get(2)) {
        (Some("="), Some(other)) => value == Some(reply.header(text(other))),
        (Some(">"), Some(bound)) => value
            .and_then(|value| value.parse::<u64>().ok())
            .zip(bound.as_u64())
            .is_some_and(|(value, bound)| value > bound),
        _ => value == Some(filled(&Field::from(parts.clone()), step, reply)),
    };
    (name, holds)
}

/// Stricter than the collection, whose comparison with a value never finds one.
fn check_missing(step: &Step, reply: &Reply) -> Checked {
    let is_setup = step.is_setup("expected_response_headers_missing");
    for expected in &step.expected_response_headers_missing {
        let (name, is_there) = match expected.as_array() {
            None => (text(expected), reply.headers.contains_key(text(expected))),
            Some(parts) => {
                let name = text(&parts[0]);
                (name, reply.header(name).contains(text(&parts[1])))
            }
        };
        that(!is_there, is_setup, || {
            format!("{name} is {:?}", reply.header(name))
        })?;
    }
    Ok(())
}

fn check_body(desk: &Desk, step: &Step, reply: &Reply) -> Checked {
    let body = String::from_utf8_lossy(&reply.body);
    let is = |expected: &str, is_setup| {
        that(body == expected, is_setup, || {
            format!("the body is {body:?}, not {expected:?}")
        })
    };
    if step.check_body == Some(Value::Bool(false)) {
        return Ok(());
    }
    if let Some(expected) = &step.expected_response_text {
        let is_setup = step.is_setup("expected_response_text");
        return expected
            .as_ref()
            .map_or(Ok(()), |expected| is(expected, is_setup));
    }
    if let Some(expected) = step.response_body.iter().flatten().next() {
        return is(expected, true);
    }
    let is_gateways = step.disconnect && reply.status == 502;
    let is_empty = matches!(reply.status, 204 | 304) || step.method() == "HEAD" || is_gateways;
    if is_empty {
        Ok(())
    } else {
        is(&desk.token, true)
    }
}

// === what the origin saw ===

fn check_requests(test: &Test, replies: &[Reply], seen: &[Seen]) -> Checked {
    let mut seen = seen.iter();
    for (index, (step, reply)) in test.requests.iter().zip(replies).enumerate() {
        if step.expected_type == Some(Source::Cached) {
            continue;
        }
        let request = seen.next();
        check_request(step, index + 1, request)?;
        if let Some(request) = request.filter(|_| !step.disconnect) {
            check_passed_on(request, reply)?;
        }
    }
    Ok(())
}

fn check_request(step: &Step, number: usize, request: Option<&Seen>) -> Checked {
    let is_setup = step.is_setup("expected_type");
    let condition = match step.expected_type {
        Some(Source::NotCached) => {
            let is_same = request.is_some_and(|request| request.number == number);
            that(is_same, is_setup, || {
                format!("request {number} did not reach the origin")
            })?;
            None
        }
        Some(Source::EtagValidated) => Some("if-none-match"),
        Some(Source::LmValidated) => Some("if-modified-since"),
        _ => None,
    };
    let field = |name: &str| request?.headers.get(name)?.to_str().ok();
    if let Some(name) = condition {
        that(field(name).is_some(), is_setup, || {
            format!("request {number} has no {name}")
        })?;
    }
    let is_setup = step.is_setup("expected_request_headers");
    for expected in &step.expected_request_headers {
        let holds = match expected.as_array() {
            None => field(text(expected)).is_some(),
            Some(parts) => field(text(&parts[0])) == parts[1].as_str(),
        };
        that(holds, is_setup, || {
            format!("request {number} was to have {expected}")
        })?;
    }
    let is_setup = step.is_setup("expected_method");
    let method = request.map(|request| request.method.as_str());
    let holds = step.expected_method.is_none() || step.expected_method.as_deref() == method;
    that(holds, is_setup, || {
        format!("request {number} was {method:?}")
    })
}

/// What the origin has sent reaches the client unchanged.
fn check_passed_on(request: &Seen, reply: &Reply) -> Checked {
    let compared = request.compared.iter();
    for (name, sent) in compared.filter(|(name, _)| !name.eq_ignore_ascii_case("date")) {
        let received = reply.headers.contains_key(name).then(|| reply.header(name));
        that(received.as_ref() == Some(sent), true, || {
            format!("{name} is {received:?}, not {sent:?}")
        })?;
    }
    Ok(())
}

fn that(holds: bool, is_setup: bool, wrong: impl FnOnce() -> String) -> Checked {
    match (holds, is_setup) {
        (true, _) => Ok(()),
        (false, true) => Err(End::Unprepared(wrong())),
        (false, false) => Err(End::Failed(wrong())),
    }
}
