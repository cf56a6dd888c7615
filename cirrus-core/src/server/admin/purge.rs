//! `POST /api/v1/cache/purge`.

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::State;
use super::answer::{Problem, json};
use super::request::parse;
use crate::body::Response;
use crate::cache::purger::Outcome;
use crate::cache::selection::PurgeKind;
use crate::cache::{InvalidSelection, Mode, Purge, Selection};

/// Most things purged by one request: 1,000.
const MOST_ITEMS: usize = 1000;

/// What to purge.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    urls: Vec<String>,
    prefixes: Vec<String>,
    tags: Vec<String>,
    hosts: Vec<String>,
    all: bool,
    soft: bool,
}

/// One thing to purge: its kind, how it was written, and what that means.
type Item = (PurgeKind, String, Result<Selection, InvalidSelection>);

// === impl State ===

impl State {
    /// Purges what can be, and says of each thing what came of it.
    pub(super) async fn purge(&self, body: &[u8], who: &str) -> Result<Response, Problem> {
        let wanted: Wanted = parse(body)?;
        let mode = if wanted.soft { Mode::Soft } else { Mode::Hard };
        let items = wanted.items()?;
        let purger = self.engine.purger.as_ref().ok_or_else(no_store)?;
        let valid = items.iter().filter_map(|(_, _, what)| what.as_ref().ok());
        let purges: Vec<_> = valid
            .map(|what| Purge {
                what: what.clone(),
                mode,
            })
            .collect();
        let outcomes = purger.purge(&purges, who).await.map_err(|error| {
            let detail = format!("nothing is purged: the purge log takes nothing: {error}");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })?;
        answer(&items, outcomes, mode)
    }
}

/// There is nothing to purge.
pub(super) fn no_store() -> Problem {
    Problem::new(StatusCode::CONFLICT, "this edge has no cache")
}

fn answer(items: &[Item], outcomes: Vec<Outcome>, mode: Mode) -> Result<Response, Problem> {
    let mut outcomes = outcomes.into_iter();
    let (mut results, mut failed) = (Vec::with_capacity(items.len()), 0);
    for (kind, text, what) in items {
        let mut result = match what {
            Ok(_) => outcomes
                .next()
                .map_or(Value::Null, |outcome| told(&outcome)),
            Err(error) => json!({"result": "failed", "error": error.to_string()}),
        };
        failed += usize::from(result["result"] == "failed");
        result["kind"] = kind.word().into();
        result["item"] = text.as_str().into();
        results.push(result);
    }
    if failed == 0 {
        return Ok(json(
            &json!({"soft": mode == Mode::Soft, "results": results}),
        ));
    }
    let detail = format!("{failed} of {} could not be purged", items.len());
    Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("results", results))
}

fn told(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Done(purged) => json!({"result": "purged", "objects": purged.objects}),
        Outcome::Logged => json!({"result": "purged", "objects": null}),
        Outcome::Pending => json!({"result": "pending", "objects": null}),
        Outcome::Failed(error) => json!({"result": "failed", "error": error}),
    }
}

// === impl Wanted ===

impl Wanted {
    fn items(self) -> Result<Vec<Item>, Problem> {
        type Read = fn(&str) -> Result<Selection, InvalidSelection>;
        let lists: [(PurgeKind, Vec<String>, Read); 4] = [
            (PurgeKind::Url, self.urls, Selection::of_url),
            (PurgeKind::Prefix, self.prefixes, Selection::of_prefix),
            (PurgeKind::Tag, self.tags, Selection::of_tag),
            (PurgeKind::Host, self.hosts, Selection::of_host),
        ];
        let mut items = Vec::new();
        for (kind, texts, read) in lists {
            items.extend(texts.into_iter().map(|text| {
                let what = read(&text);
                (kind, text, what)
            }));
        }
        if self.all {
            items.push((PurgeKind::All, "*".to_owned(), Ok(Selection::All)));
        }
        match items.len() {
            0 => Err(Problem::bad(
                "nothing to purge: give `urls`, `prefixes`, `tags`, `hosts`, or `\"all\": true`",
            )),
            count if count > MOST_ITEMS => Err(Problem::bad(format!(
                "{count} items: at most {MOST_ITEMS} are purged by one request"
            ))),
            _ => Ok(items),
        }
    }
}
