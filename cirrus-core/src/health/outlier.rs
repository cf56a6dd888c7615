//! Endpoints that answer worse than the others of their cluster.

use std::time::Duration;

use super::passive::Cause;
use super::tally::Counts;
use crate::config::HealthConfig;

/// Endpoints with enough requests, below which there is nothing to compare with.
const COMPARED: usize = 3;

/// When an endpoint is ejected for its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outliers {
    /// In a row.
    pub(crate) gateway_errors: Option<u32>,
    /// Percentage points below the mean.
    below_mean: Option<u8>,
    /// Times the median.
    above_median: Option<u8>,
    /// In percent.
    max_ejected: u8,
}

// === impl Outliers ===

impl Outliers {
    pub(crate) fn of(config: &HealthConfig) -> Self {
        Self {
            gateway_errors: config.gateway_errors,
            below_mean: config.success_rate_below_mean,
            above_median: config.latency_above_median,
            max_ejected: config.max_ejected,
        }
    }

    pub(crate) fn need_counts(&self) -> bool {
        self.below_mean.is_some() || self.above_median.is_some()
    }

    /// Whether one more may be ejected, where so many are of so many.
    pub(crate) fn has_room(&self, ejected: usize, all: usize) -> bool {
        let most = all * usize::from(self.max_ejected) / 100;
        self.max_ejected > 0 && ejected < most.max(1)
    }

    /// Which of these are to be ejected, the worst first.
    pub(crate) fn find(&self, lately: &[Counts], min_requests: u64) -> Vec<(usize, Cause)> {
        let compared: Vec<(usize, &Counts)> = lately
            .iter()
            .enumerate()
            .filter(|(_, counts)| counts.requests() >= min_requests)
            .collect();
        if compared.len() < COMPARED {
            return Vec::new();
        }
        let mut found = self.wrong(&compared);
        found.extend(self.slow(&compared));
        found
    }

    fn wrong(&self, compared: &[(usize, &Counts)]) -> Vec<(usize, Cause)> {
        let Some(points) = self.below_mean else {
            return Vec::new();
        };
        let rates = compared
            .iter()
            .map(|(index, counts)| (*index, counts.error_rate()));
        let mut rates: Vec<(usize, f64)> = rates.collect();
        let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / rates.len() as f64;
        rates.retain(|(_, rate)| *rate >= mean + f64::from(points));
        rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        rates
            .iter()
            .map(|(index, _)| (*index, Cause::SuccessRate))
            .collect()
    }

    fn slow(&self, compared: &[(usize, &Counts)]) -> Vec<(usize, Cause)> {
        let Some(times) = self.above_median else {
            return Vec::new();
        };
        let medians = compared
            .iter()
            .filter_map(|(index, counts)| Some((*index, counts.percentile(50)?)));
        let mut medians: Vec<(usize, Duration)> = medians.collect();
        medians.sort_by_key(|(_, median)| std::cmp::Reverse(*median));
        let Some(&(_, middle)) = medians.get(medians.len() / 2) else {
            return Vec::new();
        };
        medians.retain(|(_, median)| *median > middle * u32::from(times));
        medians
            .iter()
            .map(|(index, _)| (*index, Cause::Latency))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tally::Tally;
    use super::*;

    fn counts(good: u32, bad: u32, millis: u64) -> Counts {
        let (tally, window) = (Tally::default(), Duration::from_secs(10));
        tally.lately(window);
        let took = Duration::from_millis(millis);
        (0..good).for_each(|_| tally.record(true, took));
        (0..bad).for_each(|_| tally.record(false, took));
        tally.lately(window)
    }

    fn outliers(text: &str) -> Outliers {
        Outliers::of(&toml::from_str(text).unwrap())
    }

    #[tokio::test]
    async fn those_far_below_the_mean() {
        let rules = outliers("success_rate_below_mean = 20");
        let lately = [
            counts(100, 0, 5),
            counts(60, 40, 5),
            counts(99, 1, 5),
            counts(95, 5, 5),
        ];
        assert_eq!(rules.find(&lately, 20), [(1, Cause::SuccessRate)]);
        assert_eq!(rules.find(&lately, 1000), [], "too few requests");
        assert_eq!(rules.find(&lately[..2], 20), [], "nothing to compare with");
        let all = [counts(0, 50, 5), counts(0, 50, 5), counts(0, 50, 5)];
        assert_eq!(rules.find(&all, 20), [], "nobody is worse than the others");
    }

    #[tokio::test]
    async fn those_far_slower_than_the_others() {
        let rules = outliers("latency_above_median = 3");
        let lately = [
            counts(50, 0, 10),
            counts(50, 0, 100),
            counts(50, 0, 12),
            counts(50, 0, 200),
        ];
        let found = rules.find(&lately, 20);
        // The median of an even number is the upper one of the two in the middle, so half of them are never outliers.
        assert_eq!(found, [(3, Cause::Latency), (1, Cause::Latency)]);
        assert_eq!(outliers("").find(&lately, 20), []);
    }

    #[test]
    fn one_may_always_be_ejected_unless_none_may() {
        let half = outliers("");
        assert!(half.has_room(0, 1) && half.has_room(0, 3) && half.has_room(1, 4));
        assert!(!half.has_room(1, 3) && !half.has_room(2, 4));
        assert!(!outliers("max_ejected = 0").has_room(0, 10));
        assert!(outliers("max_ejected = 100").has_room(9, 10));
    }
}
