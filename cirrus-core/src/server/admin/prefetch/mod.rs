//! Has responses stored before anybody asks for them: `/api/v1/cache/prefetch`.

mod fetch;
mod job;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use http::header::LOCATION;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::{Value, json};

use self::job::Job;
use super::answer::{Problem, json, json_with};
use super::request::parse;
use crate::body::Response;
use crate::metrics::Counter;
use crate::server::{Drain, Tasks, Worker};

/// Most URLs of one job: 10,000.
const MOST_URLS: usize = 10_000;

/// Most requests of one job at the same time: 64.
const MOST_AT_ONCE: usize = 64;

/// Most jobs that run at the same time: 4.
const MOST_RUNNING: usize = 4;

/// How many jobs are remembered: 64.
const MOST_JOBS: usize = 64;

/// The jobs, and what they need.
#[derive(Debug)]
pub(crate) struct Prefetches {
    /// Of the background, with connections of its own: jobs take nothing from those who serve clients.
    worker: Arc<Worker>,
    tasks: Tasks,
    drain: Drain,
    jobs: Mutex<Jobs>,
    pub(crate) counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Jobs {
    last: u64,
    all: VecDeque<Arc<Job>>,
}

/// What came of all jobs.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) done: Counter,
    pub(crate) failed: Counter,
}

/// What to fetch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    urls: Vec<String>,
    #[serde(default = "eight")]
    concurrency: usize,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

// === impl Prefetches ===

impl Prefetches {
    pub(in crate::server) fn new(worker: Arc<Worker>, tasks: Tasks, drain: Drain) -> Self {
        Self {
            worker,
            tasks,
            drain,
            jobs: Mutex::default(),
            counts: Arc::default(),
        }
    }

    pub(super) fn list(&self) -> Value {
        let jobs = self.jobs.lock();
        let jobs: Vec<_> = jobs.all.iter().map(|job| job.summary()).collect();
        json!({"jobs": jobs})
    }

    /// Begins a job; its state says how far it is.
    pub(super) fn begin(&self, body: &[u8], who: &str) -> Result<Response, Problem> {
        let wanted: Wanted = parse(body)?;
        wanted.check()?;
        let headers = headers(&wanted.headers)?;
        let job = self.enlist(wanted.urls.len())?;
        tracing::info!(who, job = job.id, urls = wanted.urls.len(), "prefetching");
        let work = fetch::all(
            Arc::clone(&self.worker),
            Arc::clone(&job),
            Arc::clone(&self.counts),
            wanted.urls,
            wanted.concurrency,
            headers,
        );
        let (running, drain) = (Arc::clone(&job), self.drain.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = work => {}
                () = running.canceled() => {}
                () = drain.begun() => {}
            }
            running.end();
        });
        let mut response = json_with(StatusCode::ACCEPTED, &job.state());
        if let Ok(place) = HeaderValue::try_from(format!("/api/v1/cache/prefetch/{}", job.id)) {
            response.headers_mut().insert(LOCATION, place);
        }
        Ok(response)
    }

    pub(super) fn state(&self, id: &str) -> Result<Response, Problem> {
        Ok(json(&self.job(id)?.state()))
    }

    /// Ends a job; what it has fetched stays.
    pub(super) fn cancel(&self, id: &str) -> Result<Response, Problem> {
        let job = self.job(id)?;
        job.cancel();
        Ok(json(&job.state()))
    }

    fn job(&self, id: &str) -> Result<Arc<Job>, Problem> {
        let jobs = self.jobs.lock();
        let job = jobs.all.iter().find(|job| job.id.to_string() == id);
        job.cloned().ok_or_else(|| {
            let detail = format!("no job {id} is known; the last {MOST_JOBS} are");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }

    fn enlist(&self, total: usize) -> Result<Arc<Job>, Problem> {
        let mut jobs = self.jobs.lock();
        let running = jobs.all.iter().filter(|job| job.is_running()).count();
        if running >= MOST_RUNNING {
            let detail = format!("{running} jobs are running already: wait for one, or cancel it");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        jobs.last += 1;
        let job = Arc::new(Job::new(jobs.last, total));
        if jobs.all.len() == MOST_JOBS
            && let Some(oldest) = jobs.all.iter().position(|job| !job.is_running())
        {
            jobs.all.remove(oldest);
        }
        jobs.all.push_back(Arc::clone(&job));
        Ok(job)
    }
}

// === impl Wanted ===

impl Wanted {
    fn check(&self) -> Result<(), Problem> {
        let (urls, at_once) = (self.urls.len(), self.concurrency);
        if urls == 0 || urls > MOST_URLS {
            let detail = format!("{urls} URLs: 1 to {MOST_URLS} are fetched by one job");
            return Err(Problem::bad(detail));
        }
        if at_once == 0 || at_once > MOST_AT_ONCE {
            let detail = format!("a concurrency of {at_once}: 1 to {MOST_AT_ONCE} is allowed");
            return Err(Problem::bad(detail));
        }
        Ok(())
    }
}

fn eight() -> usize {
    8
}

fn headers(written: &BTreeMap<String, String>) -> Result<HeaderMap, Problem> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        let invalid = || Problem::bad(format!("`{name}` with this value is no header field"));
        let name: HeaderName = name.parse().map_err(|_| invalid())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| invalid())?);
    }
    Ok(headers)
}
