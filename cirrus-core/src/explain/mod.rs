//! What would be done with a request, without doing it.
//!
//! [`explain`] needs a configuration only; the admin listener knows what is stored as well. Nothing is sent anywhere.

mod question;
mod report;
mod site;
mod stored;

use std::sync::Arc;

use crate::cache::CacheStore;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Abilities, Compiler, Config, Faults, Snapshot};
use crate::metrics::Sites;
use crate::middleware::limit::States;
use crate::server::Engine;
pub use question::{InvalidQuestion, Question};
pub use report::{
    ExplainedCache, ExplainedPolicy, ExplainedRoute, ExplainedVariant, Explanation, Refused,
};
use site::Seen;

/// What a server with this configuration would do.
///
/// # Errors
///
/// The configuration has faults.
pub fn explain(
    config: Config,
    abilities: Abilities,
    question: &Question,
) -> Result<Explanation, Faults> {
    let compiler = Compiler {
        abilities,
        sites: Arc::new(Sites::new(1)),
        states: States::default(),
    };
    let (snapshot, _) = compiler.compile(config, None, SystemClock.now())?;
    Ok(Seen::of(&snapshot, question).explanation)
}

/// What this server would do now.
pub(crate) async fn explain_now(engine: &Engine, question: &Question) -> Explanation {
    let snapshot = engine.live.now();
    let store = engine.store.as_deref();
    explain_with(&snapshot, store, engine.clock.now(), question).await
}

/// The answer to a question written as a query: `url=…&method=…&header=Name:%20value`.
///
/// # Errors
///
/// The question is not one; the text says why.
pub(crate) async fn answer(
    engine: &Engine,
    query: Option<&str>,
) -> Result<serde_json::Value, String> {
    let question = Question::of_query(query.unwrap_or_default()).map_err(|e| e.to_string())?;
    let explanation = explain_now(engine, &question).await;
    serde_json::to_value(explanation).map_err(|e| e.to_string())
}

async fn explain_with(
    snapshot: &Snapshot,
    store: Option<&dyn CacheStore>,
    now: Timestamp,
    question: &Question,
) -> Explanation {
    let mut seen = Seen::of(snapshot, question);
    if let Some(lookup) = seen.lookup.take() {
        stored::look(&mut seen.explanation, store, &lookup, now).await;
    }
    seen.explanation
}

#[cfg(test)]
mod tests;
