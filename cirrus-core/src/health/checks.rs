//! Every check that runs: one for each definition and endpoint in the process.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::passive::{Cause, Passive};
use super::probe::{Look, Probe};
use super::rules::Check;
use super::watch::{Seen, Watch};
use crate::metrics::Counter;
use crate::server::{Drain, Engine, Tasks};
use crate::upstream::pool::Transport;

/// The checks, and what is counted about health.
#[derive(Default)]
pub(crate) struct Checks {
    probes: HashMap<String, Arc<dyn Probe>>,
    known: Mutex<HashMap<Key, Weak<Watch>>>,
    /// Something has changed that the guard should look at.
    pub(super) news: Notify,
    pub(crate) good: Counter,
    pub(crate) bad: Counter,
    /// By cause.
    pub(crate) ejections: [Counter; Cause::COUNT],
    /// Requests that a circuit breaker has refused.
    pub(crate) refused: Counter,
}

type Key = (Arc<str>, Arc<Transport>);

/// What looking needs.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) engine: Arc<Engine>,
    pub(super) tasks: Tasks,
    pub(super) drain: Drain,
}

// === impl Checks ===

impl Checks {
    pub(crate) fn new(probes: HashMap<String, Arc<dyn Probe>>) -> Self {
        Self {
            probes,
            ..Self::default()
        }
    }

    /// There is another configuration.
    pub(crate) fn look_again(&self) {
        self.news.notify_one();
    }

    pub(crate) fn ejected(&self, cause: Cause) {
        self.ejections[cause as usize].add(1);
        self.news.notify_one();
    }

    /// How many checks run.
    pub(crate) fn len(&self) -> usize {
        let known = self.known.lock();
        known
            .values()
            .filter(|watch| watch.strong_count() > 0)
            .count()
    }

    /// Has an endpoint looked after by these checks, and by no others. What is known stays, also under another
    /// definition of the same name.
    pub(super) fn assign(
        &self,
        means: &Means,
        checks: &[Arc<Check>],
        transport: &Arc<Transport>,
        health: &Passive,
    ) {
        let had = health.watches();
        let is_same = |((name, watch), check): (&(Arc<str>, Arc<Watch>), &Arc<Check>)| {
            *name == check.name && watch.check.definition == check.definition
        };
        if had.len() == checks.len() && had.iter().zip(checks).all(is_same) {
            return;
        }
        let watch = |check: &Arc<Check>| {
            let before = had.iter().find(|(name, _)| *name == check.name);
            let watch = self.watch(means, check, transport, before.map(|(_, watch)| watch));
            (Arc::clone(&check.name), watch)
        };
        health.set_watches(checks.iter().map(watch).collect());
    }

    /// The one that there is, or a new one.
    fn watch(
        &self,
        means: &Means,
        check: &Arc<Check>,
        transport: &Arc<Transport>,
        before: Option<&Arc<Watch>>,
    ) -> Arc<Watch> {
        let transport = unowned(transport);
        let key = (Arc::clone(&check.definition), Arc::clone(&transport));
        let mut known = self.known.lock();
        if let Some(watch) = known.get(&key).and_then(Weak::upgrade) {
            return watch;
        }
        // Endpoints come and go: those whose checks have ended are forgotten.
        known.retain(|_, watch| watch.strong_count() > 0);
        let before = before.map(|watch| watch.state());
        let watch = Arc::new(Watch::new(Arc::clone(check), transport, before));
        known.insert(key, Arc::downgrade(&watch));
        means
            .tasks
            .spawn(run(means.clone(), Arc::downgrade(&watch)));
        watch
    }
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks")
            .field("running", &self.len())
            .finish_non_exhaustive()
    }
}

/// The endpoint without the cluster whose pool it is in: another one's check of it is the same.
fn unowned(transport: &Arc<Transport>) -> Arc<Transport> {
    match &transport.owner {
        None => Arc::clone(transport),
        Some(_) => Arc::new(Transport {
            owner: None,
            ..(**transport).clone()
        }),
    }
}

/// Looks again and again, until the endpoint is gone or draining begins.
async fn run(means: Means, watch: Weak<Watch>) {
    let Some(life) = watch.upgrade().map(|watch| watch.life.clone()) else {
        return;
    };
    let looking = async {
        // Not all at once at the start, nor in step with other processes.
        let Some(mut pause) = watch.upgrade().map(|watch| first_pause(&watch)) else {
            return;
        };
        loop {
            tokio::time::sleep(pause).await;
            let Some(watch) = watch.upgrade() else { return };
            look(&means, &watch).await;
            pause = watch.check.pause(watch.is_up(), chance());
        }
    };
    tokio::select! {
        () = looking => {}
        () = life.cancelled() => {}
        () = means.drain.begun() => {}
    }
}

fn first_pause(watch: &Watch) -> Duration {
    let interval = watch.check.pause(true, 0.5);
    interval.min(Duration::from_secs(1)).mul_f64(chance() / 2.0)
}

/// Looks once. Whoever has no room waits for those of the same check only.
async fn look(means: &Means, watch: &Arc<Watch>) {
    let (check, checks) = (&watch.check, &means.engine.checks);
    let Ok(_room) = check.room.acquire().await else {
        return;
    };
    let probe = check.config.probe.as_ref();
    let look = Look {
        check,
        transport: &watch.transport,
        connector: &means.engine.connector,
        probe: probe
            .and_then(|name| checks.probes.get(name))
            .map(|probe| &**probe),
    };
    let begun = Instant::now();
    let result = look.run().await;
    let error = result.err().map(|error| error.to_string());
    match &error {
        None => checks.good.add(1),
        Some(_) => checks.bad.add(1),
    }
    let changed = watch.note(Seen {
        at: means.engine.clock.now(),
        took: begun.elapsed(),
        error: error.as_deref().map(Into::into),
    });
    if changed {
        let (check, endpoint) = (&*check.name, watch.transport.url.authority());
        match error {
            None => tracing::info!(check, endpoint, "the check passes"),
            Some(error) => tracing::warn!(check, endpoint, %error, "the check fails"),
        }
        checks.news.notify_one();
    }
}

/// Between 0 and 1. Spreads looks; nothing else depends on it.
fn chance() -> f64 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::OriginProtocol;

    pub(in crate::health) fn check(text: &str) -> Arc<Check> {
        Arc::new(Check::new(&toml::from_str(text).unwrap()))
    }

    pub(in crate::health) fn transport(url: &str) -> Arc<Transport> {
        Arc::new(Transport {
            url: url.parse().unwrap(),
            sni: None,
            tls: None,
            introduction: None,
            protocol: OriginProtocol::Http1,
            owner: None,
        })
    }

    fn means() -> Means {
        let clock = Arc::new(crate::clock::SystemClock);
        Means {
            engine: Engine::testing(clock, None),
            tasks: Tasks::default(),
            drain: Drain::default(),
        }
    }

    const NOBODY: &str = "kind = 'tcp'\ninterval = '1s'";

    #[tokio::test(start_paused = true)]
    async fn clusters_share_what_is_the_same() {
        let means = means();
        let checks = &means.engine.checks;
        let (one, other) = (Passive::new(), Passive::new());
        let mut owned = (*transport("http://127.0.0.1:1")).clone();
        owned.owner = Some("shop".into());
        let named = format!("{NOBODY}\nname = 'another'");
        checks.assign(
            &means,
            &[check(NOBODY)],
            &transport("http://127.0.0.1:1"),
            &one,
        );
        checks.assign(&means, &[check(&named)], &Arc::new(owned), &other);
        assert_eq!(checks.len(), 1);
        assert!(Arc::ptr_eq(&one.watches()[0].1, &other.watches()[0].1));
        let elsewhere = transport("http://127.0.0.1:2");
        checks.assign(&means, &[check(NOBODY)], &elsewhere, &other);
        assert_eq!(checks.len(), 2);
        drop(other);
        assert_eq!(checks.len(), 1, "it ends with its endpoint");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_known_stays_under_another_definition() {
        let means = means();
        let checks = &means.engine.checks;
        let (health, transport) = (Passive::new(), transport("http://127.0.0.1:1"));
        checks.assign(&means, &[check("initial = 'down'")], &transport, &health);
        let before = health.watches();
        checks.assign(&means, &[check("initial = 'down'")], &transport, &health);
        assert!(Arc::ptr_eq(&before[0].1, &health.watches()[0].1));
        checks.assign(&means, &[check("path = '/new'")], &transport, &health);
        assert!(!Arc::ptr_eq(&before[0].1, &health.watches()[0].1));
        assert!(!health.watches()[0].1.is_up(), "though it would begin up");
        drop(before);
        assert_eq!(checks.len(), 1);
        checks.assign(&means, &[], &transport, &health);
        assert_eq!(checks.len(), 0);
    }
}
