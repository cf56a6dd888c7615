//! The demo's pages. Each says when it was made and how many requests the origin has had, so that caching shows.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::{Clock, SystemClock, Timestamp};
use http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    VARY,
};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, SizeHint};

/// Every page but the index, and what it shows.
const PAGES: [(&str, &str); 7] = [
    ("/fresh", "may be kept for 60 s"),
    (
        "/stale",
        "is fresh for 1 s, and for 30 s more served while a new one is fetched",
    ),
    ("/vary", "has a variant for each language: en, de, fr"),
    ("/private", "is for one reader only, and never kept"),
    (
        "/slow",
        "takes 2 s to make, and may be kept for 10 s; readers who come together wait together",
    ),
    ("/large", "is 64 MiB, and may be kept for 60 s"),
    ("/error", "fails with 500"),
];

/// Greetings by language; the first is for everybody else.
const GREETINGS: [(&str, &str); 3] = [
    ("en", "Good day!"),
    ("de", "Guten Tag!"),
    ("fr", "Bonjour !"),
];

const LARGE: u64 = 64 << 20;
/// One chunk of `/large`.
const BLOCK: usize = 64 << 10;

/// How long `/stale` keeps its `ETag`: asked again within it, the origin answers 304.
const EDITION: u64 = 10;

/// The pages, and how many were asked for.
#[derive(Debug, Default)]
pub(super) struct Pages {
    asked: AtomicU64,
}

/// A long body that is never in memory as a whole.
#[derive(Debug)]
pub(super) struct Large {
    first: Option<Bytes>,
    block: Bytes,
    left: u64,
}

type Page = Either<Full<Bytes>, Large>;

/// A page being made.
struct Draft<'a, B> {
    request: &'a Request<B>,
    now: Timestamp,
    /// `made by the origin at …`.
    stamp: String,
}

// === impl Pages ===

impl Pages {
    /// Answers one request.
    pub(super) async fn answer<B>(&self, request: &Request<B>) -> Response<Page> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        let path = request.uri().path();
        if path == "/slow" {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let now = SystemClock.now();
        let stamp = format!(
            "{path}: made by the origin at {} UTC, its request number {number}\n",
            time_of_day(now)
        );
        let draft = Draft {
            request,
            now,
            stamp,
        };
        match path {
            "/" => draft.index(),
            "/fresh" => draft.kept("max-age=60"),
            "/stale" => draft.stale(),
            "/vary" => draft.vary(),
            "/private" => draft.kept("private"),
            "/slow" => draft.kept("max-age=10"),
            "/large" => draft.large(),
            "/error" => draft.status(StatusCode::INTERNAL_SERVER_ERROR),
            _ => draft.status(StatusCode::NOT_FOUND),
        }
    }
}

// === impl Draft ===

impl<B> Draft<'_, B> {
    fn index(self) -> Response<Page> {
        let accept = self
            .request
            .headers()
            .get(ACCEPT)
            .and_then(|value| value.to_str().ok());
        let html = accept.is_some_and(|accept| accept.contains("text/html"));
        let body = if html {
            self.index_html()
        } else {
            self.index_text()
        };
        let form = if html {
            "text/html; charset=utf-8"
        } else {
            PLAIN
        };
        respond(
            body,
            &[
                (CONTENT_TYPE, form),
                (CACHE_CONTROL, "max-age=60"),
                (VARY, "accept"),
            ],
        )
    }

    fn index_text(&self) -> String {
        let lines = PAGES
            .iter()
            .map(|(path, what)| format!("{path:<10}{what}\n"));
        lines.chain([format!("\n{}", self.stamp)]).collect()
    }

    fn index_html(&self) -> String {
        let items = PAGES
            .iter()
            .map(|(path, what)| format!("<li><a href=\"{path}\">{path}</a> {what}\n"));
        let items: String = items.collect();
        let stamp = &self.stamp;
        format!(
            "<!doctype html>\n<title>Cirrus demo</title>\n<h1>Cirrus demo</h1>\n<ul>\n{items}</ul>\n<p>{stamp}"
        )
    }

    fn kept(self, control: &str) -> Response<Page> {
        respond(
            self.stamp,
            &[(CONTENT_TYPE, PLAIN), (CACHE_CONTROL, control)],
        )
    }

    fn stale(self) -> Response<Page> {
        let tag = format!("\"{}\"", self.now.as_secs() / EDITION);
        let known = self
            .request
            .headers()
            .get(IF_NONE_MATCH)
            .is_some_and(|known| known.as_bytes() == tag.as_bytes());
        let control = "max-age=1, stale-while-revalidate=30";
        let mut response = match known {
            true => respond(String::new(), &[(CACHE_CONTROL, control), (ETAG, &tag)]),
            false => respond(
                self.stamp,
                &[
                    (CONTENT_TYPE, PLAIN),
                    (CACHE_CONTROL, control),
                    (ETAG, &tag),
                ],
            ),
        };
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        }
        response
    }

    fn vary(self) -> Response<Page> {
        let wanted = self
            .request
            .headers()
            .get(ACCEPT_LANGUAGE)
            .and_then(|value| value.to_str().ok());
        let (language, greeting) = spoken(wanted.unwrap_or_default());
        let fields = [
            (CONTENT_TYPE, PLAIN),
            (CONTENT_LANGUAGE, language),
            (CACHE_CONTROL, "max-age=60"),
            (VARY, "accept-language"),
        ];
        respond(format!("{greeting}\n{}", self.stamp), &fields)
    }

    fn large(self) -> Response<Page> {
        let response = respond(
            String::new(),
            &[(CONTENT_TYPE, PLAIN), (CACHE_CONTROL, "max-age=60")],
        );
        response.map(|_| Either::Right(Large::new(self.stamp)))
    }

    fn status(self, status: StatusCode) -> Response<Page> {
        let mut response = respond(self.stamp, &[(CONTENT_TYPE, PLAIN)]);
        *response.status_mut() = status;
        response
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn respond(body: String, fields: &[(HeaderName, &str)]) -> Response<Page> {
    let mut response = Response::new(Either::Left(Full::from(body)));
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The first language of `Accept-Language` that the demo speaks. It cares for order, not for weights.
fn spoken(wanted: &str) -> (&'static str, &'static str) {
    let primary = |range: &str| {
        range
            .trim()
            .split(['-', ';'])
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
    };
    let known = |tag: String| GREETINGS.into_iter().find(|(language, _)| *language == tag);
    wanted
        .split(',')
        .map(primary)
        .find_map(known)
        .unwrap_or(GREETINGS[0])
}

fn time_of_day(now: Timestamp) -> String {
    let seconds = now.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

// === impl Large ===

impl Large {
    /// [`LARGE`] bytes that begin with `first`.
    fn new(first: String) -> Self {
        let line = b"the quick brown fox jumps over the lazy dog, again and again ...\n";
        let block = Bytes::from(line.iter().copied().cycle().take(BLOCK).collect::<Vec<_>>());
        let left = LARGE - first.len() as u64;
        Self {
            first: Some(first.into()),
            block,
            left,
        }
    }
}

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = self.left.min(BLOCK as u64);
        self.left -= length;
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..length as usize)))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.first.as_ref().map_or(0, |first| first.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn get(
        pages: &Pages,
        path: &str,
        fields: &[(HeaderName, &'static str)],
    ) -> (Response<()>, Bytes) {
        let mut request = Request::get(path).body(()).unwrap();
        for (name, value) in fields {
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
        }
        let (head, body) = pages.answer(&request).await.into_parts();
        (
            Response::from_parts(head, ()),
            body.collect().await.unwrap().to_bytes(),
        )
    }

    #[tokio::test]
    async fn pages_say_how_many_were_asked_for() {
        let pages = Pages::default();
        for number in 1..=2 {
            let (_, body) = get(&pages, "/fresh", &[]).await;
            let ending = format!("its request number {number}\n");
            assert!(body.ends_with(ending.as_bytes()), "{body:?}");
        }
    }

    #[tokio::test]
    async fn the_index_lists_every_page_in_the_form_asked_for() {
        let pages = Pages::default();
        let (text, plain) = get(&pages, "/", &[(ACCEPT, "*/*")]).await;
        let (html, page) = get(&pages, "/", &[(ACCEPT, "text/html,*/*")]).await;
        assert_eq!(text.headers()[CONTENT_TYPE], PLAIN);
        assert_eq!(html.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        for (path, _) in PAGES {
            assert!(String::from_utf8_lossy(&plain).contains(path));
            assert!(String::from_utf8_lossy(&page).contains(&format!("href=\"{path}\"")));
        }
    }

    #[tokio::test]
    async fn speaks_the_first_language_it_knows() {
        let pages = Pages::default();
        let (head, body) = get(&pages, "/vary", &[(ACCEPT_LANGUAGE, "nl, de-AT;q=0.8, en")]).await;
        assert_eq!(head.headers()[CONTENT_LANGUAGE], "de");
        assert!(body.starts_with(b"Guten Tag!"));
        assert_eq!(spoken("").0, "en");
    }

    #[tokio::test]
    async fn large_is_as_long_as_it_says() {
        let request = Request::get("/large").body(()).unwrap();
        let response = Pages::default().answer(&request).await;
        assert_eq!(response.body().size_hint().exact(), Some(LARGE));
        let mut body = response.into_body();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().unwrap().len() as u64;
        }
        assert_eq!(length, LARGE);
    }

    #[tokio::test(start_paused = true)]
    async fn slow_takes_its_time() {
        let begun = tokio::time::Instant::now();
        get(&Pages::default(), "/slow", &[]).await;
        assert!(begun.elapsed() >= Duration::from_secs(2));
    }
}
