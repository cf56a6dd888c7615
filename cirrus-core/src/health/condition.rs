//! What must hold for an endpoint to be up.

use crate::config::{AtLeastConfig, HealthConfig, HealthTerm};

use super::tally::Counts;

/// Conditions over checks and indicators. Without any, every check must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Condition {
    all: Vec<HealthTerm>,
    any: Vec<HealthTerm>,
    at_least: Option<(usize, Vec<HealthTerm>)>,
}

/// What is known about an endpoint at a moment.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    /// Each check with what it says.
    pub(crate) checks: &'a [(&'a str, bool)],
    /// The requests of the window.
    pub(crate) lately: Option<&'a Counts>,
    /// Requests without which the window says nothing.
    pub(crate) min_requests: u64,
    pub(crate) in_flight: u32,
}

// === impl Condition ===

impl Condition {
    pub(crate) fn of(config: &HealthConfig) -> Self {
        let some = |some: &AtLeastConfig| (some.n as usize, some.of.clone());
        Self {
            all: config.all.clone(),
            any: config.any.clone(),
            at_least: config.at_least.as_ref().map(some),
        }
    }

    pub(crate) fn terms(&self) -> impl Iterator<Item = &HealthTerm> {
        let some = self.at_least.iter().flat_map(|(_, of)| of);
        self.all.iter().chain(&self.any).chain(some)
    }

    /// What does not hold of what should, in words; `None` if the endpoint is up.
    pub(crate) fn broken(&self, facts: &Facts<'_>) -> Option<String> {
        if self.terms().next().is_none() {
            let down = facts.checks.iter().filter(|(_, up)| !up);
            return listed(down.map(|(name, _)| (*name).to_owned()).collect());
        }
        let words = |terms: &[HealthTerm]| {
            let missing = terms.iter().filter(|term| !facts.hold(term));
            missing.map(ToString::to_string).collect::<Vec<_>>()
        };
        if let Some(why) = listed(words(&self.all)) {
            return Some(why);
        }
        let none = words(&self.any);
        if !none.is_empty() && none.len() == self.any.len() {
            return listed(none).map(|why| format!("none of those that one must: {why}"));
        }
        let (n, of) = self.at_least.as_ref()?;
        let missing = words(of);
        let fewer = of.len() - missing.len() < *n;
        listed(missing)
            .filter(|_| fewer)
            .map(|why| format!("fewer than {n}: {why}"))
    }
}

fn listed(terms: Vec<String>) -> Option<String> {
    (!terms.is_empty()).then(|| terms.join(", "))
}

// === impl Facts ===

impl Facts<'_> {
    fn hold(&self, term: &HealthTerm) -> bool {
        // With too few requests nothing is held against it: it could never come back.
        let lately = || {
            self.lately
                .filter(|lately| lately.requests() >= self.min_requests)
        };
        match term {
            HealthTerm::Check(name) => {
                let check = self.checks.iter().find(|(known, _)| known == name);
                check.is_none_or(|(_, up)| *up)
            }
            HealthTerm::ErrorRate(percent) => {
                lately().is_none_or(|lately| lately.error_rate() < f64::from(*percent))
            }
            HealthTerm::Latency(percent, bound) => {
                let found = lately().and_then(|lately| lately.percentile(*percent));
                found.is_none_or(|found| found < bound.as_duration())
            }
            HealthTerm::InFlight(most) => self.in_flight < *most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;
    use std::time::Duration;

    fn condition(toml: &str) -> Condition {
        Condition::of(&toml::from_str(toml).unwrap())
    }

    fn counts(good: u32, bad: u32, took: Duration) -> Counts {
        let tally = Tally::default();
        let window = Duration::from_secs(10);
        tally.lately(window);
        (0..good).for_each(|_| tally.record(true, took));
        (0..bad).for_each(|_| tally.record(false, took));
        tally.lately(window)
    }

    fn broken(
        toml: &str,
        checks: &[(&str, bool)],
        lately: Option<&Counts>,
        in_flight: u32,
    ) -> Option<String> {
        condition(toml).broken(&Facts {
            checks,
            lately,
            min_requests: 20,
            in_flight,
        })
    }

    #[tokio::test]
    async fn http_passes_and_it_is_fast_and_right() {
        let toml = r#"all = ["http", "p99 < 300ms", "error_rate < 5%"]"#;
        let (fast, slow) = (Duration::from_millis(10), Duration::from_millis(400));
        let good = counts(100, 4, fast);
        let up = [("http", true)];
        assert_eq!(broken(toml, &up, Some(&good), 0), None);
        assert_eq!(
            broken(toml, &[("http", false)], Some(&good), 0),
            Some("http".into())
        );
        let wrong = counts(95, 5, fast);
        assert_eq!(
            broken(toml, &up, Some(&wrong), 0),
            Some("error_rate < 5%".into())
        );
        let late = counts(100, 0, slow);
        assert_eq!(
            broken(toml, &up, Some(&late), 0),
            Some("p99 < 300ms".into())
        );
        let few = counts(0, 19, slow);
        assert_eq!(broken(toml, &up, Some(&few), 0), None, "too few to tell");
        assert_eq!(broken(toml, &up, None, 0), None);
    }

    #[test]
    fn any_and_at_least() {
        let checks = |up: [bool; 3]| [("a", up[0]), ("b", up[1]), ("c", up[2])];
        let any = r#"any = ["a", "b"]"#;
        assert_eq!(broken(any, &checks([false, true, false]), None, 0), None);
        assert!(broken(any, &checks([false, false, true]), None, 0).is_some());
        let two = r#"at_least = { n = 2, of = ["a", "b", "c"] }"#;
        assert_eq!(broken(two, &checks([true, false, true]), None, 0), None);
        assert!(broken(two, &checks([false, false, true]), None, 0).is_some());
        let both = r#"all = ["in_flight < 5"]
any = ["a", "c"]"#;
        assert_eq!(broken(both, &checks([true, false, false]), None, 4), None);
        assert!(broken(both, &checks([true, false, false]), None, 5).is_some());
        assert!(broken(both, &checks([false, true, false]), None, 4).is_some());
    }

    #[test]
    fn without_conditions_every_check_counts() {
        assert_eq!(broken("", &[("a", true), ("b", true)], None, 0), None);
        assert_eq!(
            broken("", &[("a", true), ("b", false)], None, 0),
            Some("b".into())
        );
    }
}
