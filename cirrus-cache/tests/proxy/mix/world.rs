//! The origin, the sites, and what each client may be given.

use std::sync::Arc;

use cirrus_core::testing::{Asked, Describe, Origin, Reply, RunningOrigin, reply};
use cirrus_core::{Body, Response};
use http_body_util::StreamBody;
use parking_lot::Mutex;

use super::Shared;
use crate::WORKERS;
use crate::random::Random;

pub(super) const HOSTS: [&str; 5] = [
    "a.example",
    "a.example:8080",
    "b.example",
    "c.b.example",
    "away.example",
];
pub(super) const LANGUAGES: [&str; 3] = ["", "de", "en"];
pub(super) const PATHS: [&str; 8] = [
    "/",
    "/a",
    "/a?b",
    "/a/b",
    "/large",
    "/large?two",
    "/breaks/one",
    "/breaks/two",
];

/// What a client asks for, and as whom.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) scheme: &'static str,
    pub(super) host: &'static str,
    pub(super) path: &'static str,
    pub(super) language: &'static str,
    /// `-` is nobody.
    pub(super) user: &'static str,
    /// Says who it is by `Cookie`, else by `Authorization`.
    pub(super) by_cookie: bool,
    pub(super) method: &'static str,
    pub(super) lines: &'static str,
}

/// The sites; each step another configuration with the same meaning, except that one site comes and goes.
pub(super) fn sites(url: &str, step: u64) -> String {
    let ttl = if step.is_multiple_of(2) { "5s" } else { "50s" };
    let site = |hosts: &str, cache: bool| {
        format!(
            "[[site]]\nhosts = [{hosts}]\ncache = {{ enable = {cache}, default_ttl = \"{ttl}\" }}\n\
             origin = [{{ url = \"{url}\" }}]\n[site.upstream_headers]\nx-step = \"{step}\"\n"
        )
    };
    let mut text = WORKERS.to_owned()
        + &site("\"a.example\"", true)
        + &site("\"b.example\", \"*.b.example\"", step % 5 != 4);
    if step % 3 != 2 {
        text += &site("\"away.example\"", true);
    }
    text
}

pub(super) async fn origin(seed: u64) -> RunningOrigin {
    let random: Shared<Random> = Arc::new(Mutex::new(Random::seeded(seed)));
    Origin::new()
        .get("*", move |asked| {
            let dice = [0; 6].map(|_| random.lock().below(1000));
            answer(&asked, dice)
        })
        .run()
        .await
}

/// Who asks.
fn user(asked: &Asked) -> String {
    match asked.header("cookie") + &asked.header("authorization") {
        nobody if nobody.is_empty() => "-".to_owned(),
        user => user,
    }
}

fn answer(asked: &Asked, dice: [usize; 6]) -> Response {
    if dice[0] < 40 {
        return reply("out of order").with_status(500);
    }
    let is_personal = dice[1] < 400;
    let varies = dice[2] < 500;
    let user = if is_personal {
        user(asked)
    } else {
        "-".to_owned()
    };
    let language = if varies {
        asked.header("accept-language")
    } else {
        "-".to_owned()
    };
    let body = body(
        &asked.header("x-forwarded-proto"),
        &asked.header("host"),
        &asked.target,
        &language,
        &user,
    );
    let etag = format!("\"{}\"", body.split(' ').next().unwrap_or_default());
    let confirms = asked.header("if-none-match").contains(&etag) && dice[4] < 700;
    let response = if confirms {
        reply(Body::empty()).with_status(304)
    } else if asked.target.starts_with("/breaks") && dice[4] < 300 {
        reply(broken(&body)).with("content-length", &body.len().to_string())
    } else if dice[4] < 500 {
        reply(body)
    } else {
        reply(streamed(&body))
    };
    let response = rules(response, asked, is_personal, dice).with("etag", &etag);
    if varies {
        response.with("vary", "accept-language")
    } else {
        response
    }
}

/// `Cache-Control` and its like: what is personal is never for others, what is not is anything.
fn rules(response: Response, asked: &Asked, is_personal: bool, dice: [usize; 6]) -> Response {
    let personal = [
        "private",
        "private, max-age=60",
        "no-store",
        "max-age=60, no-store",
        "private=\"x\", private, s-maxage=60",
    ];
    let common = [
        "max-age=2",
        "max-age=10",
        "public, max-age=5",
        "s-maxage=3",
        "no-cache",
        "max-age=1, stale-while-revalidate=10",
        "max-age=1, stale-if-error=30",
        "max-age=0, must-revalidate",
        "private, max-age=60",
        "no-store",
        "",
    ];
    if !is_personal {
        return match common[dice[3] % common.len()] {
            "" => response,
            control => response.with("cache-control", control),
        };
    }
    match (dice[3] % 8, asked.header("authorization").is_empty()) {
        // The request says that the answer is personal.
        (0 | 1, false) => response.with("cache-control", "max-age=60"),
        (2, _) => response
            .with("cache-control", "max-age=60")
            .with("set-cookie", "session=1"),
        (3, _) => response
            .with("cache-control", "max-age=60")
            .with("vary", "*"),
        _ => response.with("cache-control", personal[dice[5] % personal.len()]),
    }
}

fn body(scheme: &str, host: &str, target: &str, language: &str, user: &str) -> String {
    let line = format!("{scheme}|{host}|{target}|{language}|{user} ");
    line.repeat(if target.starts_with("/large") {
        2000
    } else {
        3
    })
}

fn frames(parts: Vec<Result<String, std::io::Error>>) -> Body {
    let frames = parts
        .into_iter()
        .map(|part| part.map(|part| http_body::Frame::data(part.into())));
    Body::stream(StreamBody::new(futures_util::stream::iter(
        frames.collect::<Vec<_>>(),
    )))
}

/// In two parts, its length not told.
fn streamed(body: &str) -> Body {
    let (one, two) = body.split_at(body.len() / 2);
    frames(vec![Ok(one.to_owned()), Ok(two.to_owned())])
}

/// Its first half.
fn broken(body: &str) -> Body {
    let half = body.split_at(body.len() / 2).0.to_owned();
    frames(vec![
        Ok(half),
        Err(std::io::Error::other("the origin breaks off")),
    ])
}

// === impl Wanted ===

impl Wanted {
    pub(super) fn head(&self) -> String {
        let Self {
            method,
            path,
            host,
            language,
            user,
            lines,
            ..
        } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n{lines}");
        if !language.is_empty() {
            head += &format!("accept-language: {language}\r\n");
        }
        if *user != "-" {
            let field = if self.by_cookie {
                "cookie"
            } else {
                "authorization"
            };
            head += &format!("{field}: {user}\r\n");
        }
        if *method == "POST" {
            head += "content-length: 0\r\n";
        }
        head + "\r\n"
    }

    pub(super) fn may_break(&self) -> bool {
        self.path.starts_with("/breaks")
    }

    /// Whether this body is for this client; what is for one alone never comes from the store.
    pub(super) fn allows(&self, body: &str, did: &str) -> bool {
        let is_stored = ["hit", "stored", "collapsed", "ttl"]
            .iter()
            .any(|word| did.contains(word));
        let common = self.bodies("-").any(|allowed| allowed == body);
        common || (!is_stored && self.bodies(self.user).any(|allowed| allowed == body))
    }

    pub(super) fn allows_part(&self, reply: &Reply) -> bool {
        let mut whole = self.bodies("-");
        self.lines.starts_with("range")
            && whole.any(|body| {
                let end = body.len().min(41);
                let told = format!("bytes 3-{}/{}", end - 1, body.len());
                body.as_bytes()[3..end] == reply.body && reply.header("content-range") == told
            })
    }

    fn bodies(&self, user: &str) -> impl Iterator<Item = String> {
        let body = |language: &str| body(self.scheme, self.host, self.path, language, user);
        [body("-"), body(self.language)].into_iter()
    }
}
