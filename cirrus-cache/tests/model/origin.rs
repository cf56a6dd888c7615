//! An origin that tells the model what it answers: late, broken, changed, by chance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::testing::{Asked as Request, Describe, Origin, RunningOrigin, reply};
use cirrus_core::{Body, Response};
use futures_util::stream::{self, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use parking_lot::Mutex;

use crate::ask::{HOSTS, PATHS};
use crate::random::Random;
use crate::truth::{Asked, COMMON, Content, PERSONAL, Place, Rule, Truth};

/// Numbers of `0..1000`, one for each thing that is left to chance.
#[derive(Clone, Copy)]
struct Dice([usize; 8]);

pub(crate) async fn run(truth: Arc<Truth>, seed: u64) -> RunningOrigin {
    let random = Mutex::new(Random::seeded(seed));
    Origin::new()
        .later("*", move |request| {
            let dice = Dice([0; 8].map(|_| random.lock().below(1000)));
            answer(Arc::clone(&truth), request, dice)
        })
        .run()
        .await
}

async fn answer(truth: Arc<Truth>, request: Request, dice: Dice) -> Response {
    let place = place(&request);
    if !matches!(&*request.method, "GET" | "HEAD") {
        truth.renew(|other| other == place);
        return reply("done");
    }
    if dice.is(0, 60) {
        late(dice).await;
        truth.failed(place);
        return reply("out of order").with_status(500 + (dice.0[0] % 4) as u16);
    }
    let (asked, rule, varies) = ask(&truth, &request, place, dice);
    late(dice).await;
    let id = request.header("x-ask").parse().expect("who asks");
    let tag = format!("\"{}\"", asked.content.id);
    let confirms = request.header("if-none-match").contains(&tag)
        && asked.content.status == 200
        && dice.is(5, 900);
    let is_content = !confirms && request.method == "GET";
    truth.answered(id, &asked, rule, is_content);
    let response = if confirms {
        reply("").with_status(304)
    } else {
        content(&truth, &request, &asked.content, dice)
    };
    let mut response = response
        .with("etag", &tag)
        .with("cache-control", rule.text)
        .with("cache-tag", &format!("all, {}", label(place.path)));
    if varies {
        response = response.with("vary", "accept-language");
    }
    if asked.content.is_personal && dice.is(7, 300) {
        response = response.with("set-cookie", "session=1");
    }
    response
}

/// What purges call the places.
pub(crate) fn label(path: &str) -> &str {
    path.trim_start_matches('/')
        .split('/')
        .next()
        .unwrap_or_default()
}

fn place(request: &Request) -> Place {
    let host = request.header("host");
    let of = |known: &[&'static str], it: &str| known.iter().copied().find(|known| *known == it);
    Place {
        host: of(&HOSTS, &host).expect("a host of ours"),
        path: of(&PATHS, &request.target).expect("a path of ours"),
    }
}

fn ask(truth: &Truth, request: &Request, place: Place, dice: Dice) -> (Asked, Rule, bool) {
    let common = COMMON[dice.0[1] % COMMON.len()];
    let knows_user = !request.header("authorization").is_empty() && !common.is_for_all;
    let is_personal = knows_user || (place.path.starts_with("/personal") && dice.is(2, 500));
    let rule = if is_personal && !knows_user {
        PERSONAL[dice.0[1] % PERSONAL.len()]
    } else {
        common
    };
    let varies = place.path.starts_with("/vary")
        || (place.path.starts_with("/sometimes") && dice.is(3, 600));
    let language = varies.then(|| request.header("accept-language"));
    let asked = truth.ask(place, language, is_personal, dice.is(4, 150));
    (asked, rule, varies)
}

fn content(truth: &Truth, request: &Request, content: &Content, dice: Dice) -> Response {
    let whole = content.bytes();
    let tag = format!("\"{}\"", content.id);
    let condition = request.header("if-range");
    let wants_part = condition.is_empty() || condition == tag;
    let range = request.header("range");
    match part(&range, whole.len()).filter(|_| wants_part && content.status == 200) {
        Some((start, end)) => {
            let told = format!("bytes {start}-{}/{}", end - 1, whole.len());
            send(truth, content, whole.slice(start..end), dice)
                .with_status(206)
                .with("content-range", &told)
        }
        None => send(truth, content, whole, dice).with_status(content.status),
    }
}

fn part(range: &str, size: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (
            first.parse().ok()?,
            size.min(last.parse::<usize>().ok()? + 1),
        ),
    };
    (start < end).then_some((start, end))
}

/// At once, in parts, with or without its length, or only by half.
fn send(truth: &Truth, content: &Content, bytes: Bytes, dice: Dice) -> Response {
    let length = bytes.len().to_string();
    let is_cut = dice.is(6, 80) && !bytes.is_empty();
    if is_cut {
        truth.cut(content.place);
    }
    if !is_cut && dice.0[6] < 600 {
        return reply(bytes);
    }
    let (half, rest) = (bytes.len() / 2, bytes.clone());
    let mut parts = vec![Ok(bytes.slice(..half))];
    parts.push(if is_cut {
        Err(std::io::Error::other("the origin breaks off"))
    } else {
        Ok(rest.slice(half..))
    });
    let pause = Duration::from_millis(dice.0[7] as u64 % 8);
    let frames = stream::iter(parts).then(move |part| async move {
        tokio::time::sleep(pause).await;
        part.map(Frame::data)
    });
    let response = reply(Body::stream(StreamBody::new(frames)));
    if dice.0[6].is_multiple_of(2) {
        response.with("content-length", &length)
    } else {
        response
    }
}

async fn late(dice: Dice) {
    if dice.0[7] < 400 {
        tokio::time::sleep(Duration::from_millis(dice.0[7] as u64 % 20)).await;
    }
}

// === impl Dice ===

impl Dice {
    /// Whether this one is less than `limit`, out of 1000.
    fn is(self, which: usize, limit: usize) -> bool {
        self.0[which] < limit
    }
}
