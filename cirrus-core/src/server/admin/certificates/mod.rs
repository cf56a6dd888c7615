//! Certificates: how they are doing, and what is to be done with them. `/api/v1/certificates`.

mod jobs;

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

pub(super) use self::jobs::Jobs;
use super::State;
use super::answer::{Problem, json};
use super::request::{parameter, parse};
use crate::body::Response;
use crate::clock::Timestamp;
use crate::downstream::{CertDone, CertProvider, CertReport, CertTask, ManageError};

/// How many certificates a list has if nobody says otherwise, and at the most: 1,000 and 100,000.
const USUAL: usize = 1000;
const MOST_LISTED: usize = 100_000;

/// Most names of one certificate, and most certificates renewed by one request: 100.
const MOST_NAMES: usize = 100;

/// Names, for one certificate (`issue`) or of one certificate each (`renew`).
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    chain: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Export {
    name: String,
    /// Whether the private key is wanted too.
    #[serde(default)]
    key: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Revocation {
    name: String,
    #[serde(default)]
    compromised: bool,
}

// === impl State ===

impl State {
    /// Those that are in memory or wanted, the one that ends first foremost.
    pub(super) fn certificates(&self, query: Option<&str>) -> Result<Response, Problem> {
        let limit = match parameter(query, "limit") {
            None => USUAL,
            Some(text) => (text.parse().ok())
                .filter(|limit| (1..=MOST_LISTED).contains(limit))
                .ok_or_else(|| Problem::bad(format!("`limit` is 1 to {MOST_LISTED}")))?,
        };
        let mut reports = self.engine.certs.as_ref().map(|certs| certs.reports());
        let all = reports.get_or_insert_default();
        all.sort_by(|one, other| (one.not_after, &one.name).cmp(&(other.not_after, &other.name)));
        let now = self.engine.clock.now();
        let told = all.iter().take(limit).map(|one| told(one, now));
        let told: Vec<_> = told.collect();
        Ok(json(&json!({"total": all.len(), "certificates": told})))
    }

    /// One of them, with its chain.
    pub(super) async fn certificate(&self, name: &str) -> Result<Response, Problem> {
        let name = crate::middleware::access::decoded(name).into_owned();
        Ok(self.answer_with(&self.managed(CertTask::Show(name)).await?))
    }

    /// The chain, and the private key if that is asked for in so many words.
    pub(super) async fn certificate_export(
        &self,
        body: &[u8],
        who: &str,
    ) -> Result<Response, Problem> {
        let wanted: Export = parse(body)?;
        let task = match wanted.key {
            true => CertTask::Export(wanted.name.clone()),
            false => CertTask::Show(wanted.name.clone()),
        };
        let done = self.managed(task).await?;
        let name = wanted.name;
        tracing::warn!(
            who,
            name,
            with_key = wanted.key,
            "a certificate is exported"
        );
        Ok(self.answer_with(&done))
    }

    pub(super) async fn certificate_import(
        &self,
        body: &[u8],
        who: &str,
    ) -> Result<Response, Problem> {
        let Pair { chain, key } = parse(body)?;
        let done = self.managed(CertTask::Import { chain, key }).await?;
        tracing::info!(who, name = done.report.name, "a certificate is imported");
        Ok(self.answer_with(&done))
    }

    /// Begins to obtain one certificate for all of the names.
    pub(super) fn certificate_issue(&self, body: &[u8], who: &str) -> Result<Response, Problem> {
        let names = parse::<Names>(body)?.checked()?;
        tracing::info!(who, ?names, "a certificate is ordered");
        let first = names.first().cloned().unwrap_or_default();
        self.begin(vec![(first, CertTask::Issue(names))])
    }

    /// Begins to obtain all of them anew.
    pub(super) fn certificate_renew(&self, body: &[u8], who: &str) -> Result<Response, Problem> {
        let names = parse::<Names>(body)?.checked()?;
        tracing::info!(who, ?names, "certificates are renewed");
        let tasks = names.into_iter();
        self.begin(
            tasks
                .map(|name| (name.clone(), CertTask::Renew(name)))
                .collect(),
        )
    }

    pub(super) fn certificate_revoke(&self, body: &[u8], who: &str) -> Result<Response, Problem> {
        let Revocation { name, compromised } = parse(body)?;
        tracing::warn!(who, name, compromised, "a certificate is revoked");
        let task = CertTask::Revoke {
            name: name.clone(),
            compromised,
        };
        self.begin(vec![(name, task)])
    }

    /// How far a job is.
    pub(super) fn certificate_job(&self, id: &str) -> Result<Response, Problem> {
        Ok(json(&self.certificates.job(id)?.state()))
    }

    fn begin(&self, tasks: Vec<(String, CertTask)>) -> Result<Response, Problem> {
        let provider = Arc::clone(self.provider()?);
        self.certificates
            .begin(provider, tasks, &self.engine.background)
    }

    async fn managed(&self, task: CertTask) -> Result<CertDone, Problem> {
        Ok(self.provider()?.manage(&task).await?)
    }

    fn provider(&self) -> Result<&Arc<dyn CertProvider>, Problem> {
        let none = || Problem::new(StatusCode::CONFLICT, "this edge has no `[certificates]`");
        self.engine.certs.as_ref().ok_or_else(none)
    }

    fn answer_with(&self, done: &CertDone) -> Response {
        let mut value = told(&done.report, self.engine.clock.now());
        if let Some(chain) = &done.chain {
            value["chain"] = chain.as_str().into();
        }
        if let Some(key) = &done.key {
            value["key"] = key.as_str().into();
        }
        json(&value)
    }
}

fn told(report: &CertReport, now: Timestamp) -> Value {
    let seconds = |at: Option<Timestamp>| at.map(Timestamp::as_secs);
    json!({
        "name": report.name,
        "names": report.names,
        "source": report.source,
        "authority": report.authority,
        "not_after": seconds(report.not_after),
        "days_left": report.not_after.map(|end| CertReport::days_left(end, now)),
        "failures": report.failures,
        "last_attempt": seconds(report.last_attempt),
        "last_error": report.last_error,
        "next_renewal": seconds(report.next_renewal),
    })
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let status = match error {
            ManageError::Unsupported => StatusCode::CONFLICT,
            ManageError::Unknown(_) => StatusCode::NOT_FOUND,
            ManageError::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            ManageError::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, error.to_string())
    }
}

// === impl Names ===

impl Names {
    fn checked(self) -> Result<Vec<String>, Problem> {
        match self.names.len() {
            count if count == 0 || count > MOST_NAMES => Err(Problem::bad(format!(
                "{count} names: 1 to {MOST_NAMES} are taken by one request"
            ))),
            _ => Ok(self.names),
        }
    }
}
