//! Orders that run on while their client looks at how far they are.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::stream::{StreamExt, iter};
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::body::Response;
use crate::downstream::{CertProvider, CertTask};
use crate::server::admin::answer::{Problem, json_with};
use crate::server::supervise::Background;

/// Most jobs that run at the same time: 8.
const MOST_RUNNING: usize = 8;

/// How many jobs are remembered: 64.
const MOST_JOBS: usize = 64;

/// Certificates of one job that are ordered at the same time: 4.
const AT_ONCE: usize = 4;

/// Those that run, and the last that did.
#[derive(Debug, Default)]
pub(in crate::server::admin) struct Jobs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last: u64,
    all: VecDeque<Arc<Job>>,
}

/// Certificates that are obtained.
#[derive(Debug)]
pub(super) struct Job {
    id: u64,
    progress: Mutex<Progress>,
}

#[derive(Debug)]
struct Progress {
    /// By name: `None` as long as it is not known what came of it.
    results: Vec<(String, Option<Result<(), String>>)>,
    has_ended: bool,
}

// === impl Jobs ===

impl Jobs {
    /// Has all of `tasks` done; the answer says where to look.
    pub(super) fn begin(
        &self,
        provider: Arc<dyn CertProvider>,
        tasks: Vec<(String, CertTask)>,
        background: &Background,
    ) -> Result<Response, Problem> {
        let job = self.enlist(tasks.iter().map(|(name, _)| name.clone()).collect())?;
        let (running, drain) = (Arc::clone(&job), background.drain.clone());
        background.spawn(async move {
            tokio::select! {
                () = Arc::clone(&running).run(provider, tasks) => {}
                () = drain.begun() => {}
            }
            running.progress.lock().has_ended = true;
        });
        let mut response = json_with(StatusCode::ACCEPTED, &job.state());
        if let Ok(place) = HeaderValue::try_from(format!("/api/v1/certificates/jobs/{}", job.id)) {
            response.headers_mut().insert(LOCATION, place);
        }
        Ok(response)
    }

    pub(super) fn job(&self, id: &str) -> Result<Arc<Job>, Problem> {
        let known = self.0.lock();
        let job = known.all.iter().find(|job| job.id.to_string() == id);
        job.cloned().ok_or_else(|| {
            let detail = format!("no job {id} is known; the last {MOST_JOBS} are");
            Problem::new(StatusCode::NOT_FOUND, detail)
        })
    }

    fn enlist(&self, names: Vec<String>) -> Result<Arc<Job>, Problem> {
        let mut known = self.0.lock();
        let running = known.all.iter().filter(|job| job.is_running()).count();
        if running >= MOST_RUNNING {
            let detail = format!("{running} jobs are running already: wait for one");
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, detail));
        }
        known.last += 1;
        let job = Arc::new(Job {
            id: known.last,
            progress: Mutex::new(Progress {
                results: names.into_iter().map(|name| (name, None)).collect(),
                has_ended: false,
            }),
        });
        if known.all.len() == MOST_JOBS
            && let Some(oldest) = known.all.iter().position(|job| !job.is_running())
        {
            known.all.remove(oldest);
        }
        known.all.push_back(Arc::clone(&job));
        Ok(job)
    }
}

// === impl Job ===

impl Job {
    async fn run(self: Arc<Self>, provider: Arc<dyn CertProvider>, tasks: Vec<(String, CertTask)>) {
        let all = iter(tasks.into_iter().enumerate()).map(|(index, (_, task))| {
            let (job, provider) = (Arc::clone(&self), Arc::clone(&provider));
            async move {
                let done = provider.manage(&task).await;
                let done = done.map(drop).map_err(|error| error.to_string());
                job.progress.lock().results[index].1 = Some(done);
            }
        });
        all.buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    fn is_running(&self) -> bool {
        !self.progress.lock().has_ended
    }

    pub(super) fn state(&self) -> Value {
        let progress = self.progress.lock();
        let results = progress.results.iter().map(|(name, result)| {
            let (word, error) = match result {
                None => ("pending", None),
                Some(Ok(())) => ("done", None),
                Some(Err(error)) => ("failed", Some(error)),
            };
            json!({"name": name, "result": word, "error": error})
        });
        json!({
            "id": self.id,
            "state": if progress.has_ended { "finished" } else { "running" },
            "results": results.collect::<Vec<_>>(),
        })
    }
}
