//! Follows a request to its response's last byte: then it is counted and logged.

use http::{HeaderValue, Method, StatusCode, Uri, Version, header};
use tokio::time::Instant;

use super::Context;
use super::access_log::Line;
use crate::body::{AtEnd, Ended, Request, Response};

/// What is kept of a request until it is over. One allocation, which the response's body carries along.
pub(crate) struct Record {
    cx: Context,
    status: StatusCode,
    sent: u64,
    /// Kept only if there is a log to write it to.
    asked: Option<RequestLine>,
    open: bool,
}

/// What the log shows of a request's head.
#[derive(Debug)]
pub(crate) struct RequestLine {
    pub(crate) method: Method,
    pub(crate) target: Uri,
    pub(crate) version: Version,
    pub(crate) referer: Option<HeaderValue>,
    pub(crate) user_agent: Option<HeaderValue>,
}

// === impl RequestLine ===

impl RequestLine {
    /// Path and query, as HTTP/1.1 clients write it; the host has a field of its own.
    pub(crate) fn path(&self) -> &str {
        self.target
            .path_and_query()
            .map_or("", |target| target.as_str())
    }
}

// === impl Record ===

impl Record {
    pub(crate) fn new(cx: Context, request: &Request) -> Box<Self> {
        if let Some(activity) = &cx.activity {
            activity.begin();
        }
        let asked = cx.worker.engine.log.is_on().then(|| RequestLine {
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            referer: request.headers().get(header::REFERER).cloned(),
            user_agent: request.headers().get(header::USER_AGENT).cloned(),
        });
        // A client that leaves before the response begins is logged as 499, as nginx does.
        let gone = StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST);
        Box::new(Self {
            cx,
            status: gone,
            sent: 0,
            asked,
            open: true,
        })
    }

    pub(crate) fn context(&mut self) -> &mut Context {
        &mut self.cx
    }

    /// Follows the response from here on.
    pub(crate) fn attach(mut self: Box<Self>, response: Response) -> Response {
        self.status = response.status();
        response.map(|body| body.watched(self))
    }

    /// Counts and logs, once.
    fn close(&mut self, how: Ended) {
        if !std::mem::take(&mut self.open) {
            return;
        }
        let cx = &self.cx;
        let now = Instant::now();
        let took = now - cx.started;
        let cells = &cx.worker.cells;
        cells.finished.add(1);
        cells.durations.record(took);
        if let Some(asked) = &cx.asked {
            cells.upstream_durations.record(asked.took);
        }
        let site = cx
            .site
            .as_ref()
            .map_or(&cx.worker.engine.no_site, |site| &site.cells);
        site.count(cx.worker.index, self.status, cx.cache.index(), self.sent);
        if let Some(asked) = &self.asked {
            let line = Line {
                cx,
                asked,
                status: self.status,
                sent: self.sent,
                took,
                how,
            };
            if !cx.worker.engine.log.write(cx.worker.index, &line) {
                cells.log_dropped.add(1);
            }
        }
        if let Some(activity) = &cx.activity {
            activity.end(now);
        }
    }
}

impl AtEnd for Record {
    fn passed(&mut self, bytes: usize) {
        self.sent += bytes as u64;
    }

    fn ended(mut self: Box<Self>, how: Ended) {
        self.close(how);
    }
}

impl Drop for Record {
    /// The client left before there was a response.
    fn drop(&mut self) {
        self.close(Ended::Dropped);
    }
}
