//! What a cluster wants watched.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::breaker::Limits;
use super::condition::Condition;
use super::outlier::Outliers;
use crate::config::{BreakerConfig, CheckConfig, CheckKind, CheckState, HealthConfig, HealthTerm};

/// Looks at the same time for one check; for programs fewer, since each is a process.
const LOOKS: usize = 128;
const SCRIPTS: usize = 8;

/// What a cluster wants watched beyond failures in a row.
#[derive(Debug)]
pub(crate) struct Watching {
    pub(crate) checks: Vec<Arc<Check>>,
    pub(crate) condition: Condition,
    pub(crate) outliers: Outliers,
    /// In percent.
    pub(crate) panic_threshold: u8,
    pub(crate) window: Duration,
    pub(crate) min_requests: u64,
    pub(crate) breaker: Option<Limits>,
    /// Somebody wants to know what is answered, and how soon.
    pub(crate) counts: bool,
    /// Somebody wants to know how many requests there are at a time.
    pub(crate) holds: bool,
}

/// One check of a cluster.
#[derive(Debug)]
pub(crate) struct Check {
    pub(crate) name: Arc<str>,
    pub(crate) config: CheckConfig,
    /// The whole definition but its name: two that are the same are one.
    pub(super) definition: Arc<str>,
    pub(super) room: Semaphore,
}

/// `None` if nothing is to be watched.
pub(crate) fn watching(
    health: &HealthConfig,
    checks: &[CheckConfig],
    breaker: Option<&BreakerConfig>,
) -> Option<Arc<Watching>> {
    let condition = Condition::of(health);
    let outliers = Outliers::of(health);
    let breaker = breaker.map(Limits::of);
    let counts = condition.terms().any(is_counted)
        || outliers.need_counts()
        || breaker
            .as_ref()
            .is_some_and(|breaker| breaker.error_rate.is_some());
    let holds = condition
        .terms()
        .any(|term| matches!(term, HealthTerm::InFlight(_)));
    let nothing = checks.is_empty()
        && condition.terms().next().is_none()
        && outliers.gateway_errors.is_none()
        && !counts
        && breaker.is_none()
        && health.panic_threshold == 0;
    (!nothing).then(|| {
        Arc::new(Watching {
            checks: checks
                .iter()
                .map(|check| Arc::new(Check::new(check)))
                .collect(),
            condition,
            outliers,
            panic_threshold: health.panic_threshold,
            window: health.window.as_duration(),
            min_requests: u64::from(health.min_requests),
            breaker,
            counts,
            holds,
        })
    })
}

fn is_counted(term: &HealthTerm) -> bool {
    matches!(term, HealthTerm::ErrorRate(_) | HealthTerm::Latency(..))
}

// === impl Watching ===

impl Watching {
    /// Endpoints are not asked before a check has said that they may be.
    pub(crate) fn begins_down(&self) -> bool {
        self.checks
            .iter()
            .any(|check| check.config.initial == CheckState::Down)
    }
}

// === impl Check ===

impl Check {
    pub(super) fn new(config: &CheckConfig) -> Self {
        let unnamed = CheckConfig {
            name: None,
            ..config.clone()
        };
        let room = match config.kind {
            CheckKind::Script => SCRIPTS,
            _ => LOOKS,
        };
        Self {
            name: config.name().into(),
            config: config.clone(),
            // What was read from text can be written as text.
            definition: serde_json::to_string(&unnamed).unwrap_or_default().into(),
            room: Semaphore::new(room),
        }
    }

    /// To the next look, give or take.
    pub(super) fn pause(&self, up: bool, chance: f64) -> Duration {
        let unhealthy = self.config.interval_unhealthy.filter(|_| !up);
        let interval = unhealthy.unwrap_or(self.config.interval).as_duration();
        let part = f64::from(self.config.jitter) / 100.0;
        interval.mul_f64(1.0 - part + 2.0 * part * chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_near_the_interval() {
        let check = |text: &str| Check::new(&toml::from_str(text).unwrap());
        let usual = check("interval = '10s'\ninterval_unhealthy = '1s'\njitter = 20");
        assert_eq!(usual.pause(true, 0.0), Duration::from_secs(8));
        assert_eq!(usual.pause(true, 0.5), Duration::from_secs(10));
        assert_eq!(usual.pause(true, 1.0), Duration::from_secs(12));
        assert_eq!(usual.pause(false, 0.5), Duration::from_secs(1));
    }

    #[test]
    fn the_same_definition_under_another_name_is_the_same() {
        let check = |text: &str| Check::new(&toml::from_str(text).unwrap()).definition;
        assert_eq!(
            check("name = 'a'\npath = '/x'"),
            check("name = 'b'\npath = '/x'")
        );
        assert_ne!(check("path = '/x'"), check("path = '/y'"));
    }

    #[test]
    fn by_default_nothing_is_watched() {
        assert!(watching(&HealthConfig::default(), &[], None).is_none());
    }
}
