//! What is measured of certificates.

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

use super::exposition::{describe, one};
use super::names;
use crate::clock::Timestamp;
use crate::downstream::CertReport;
use crate::server::Engine;

/// Certificates that are shown one by one: an edge may serve a hundred thousand.
const MOST: usize = 500;

/// Everything at one moment.
#[derive(Debug)]
pub(super) struct Certificates {
    /// Name, source and days, those that end first foremost.
    days: Vec<(String, &'static str, f64)>,
    /// Name, failures in a row and the last attempt, those that fail most foremost.
    attempts: Vec<(String, u32, Timestamp)>,
    missing: usize,
}

// === impl Certificates ===

impl Certificates {
    pub(super) fn take(engine: &Engine) -> Self {
        let reports = engine.certs.as_ref().map(|certs| certs.reports());
        Self::of(reports.unwrap_or_default(), engine.clock.now())
    }

    fn of(mut reports: Vec<CertReport>, now: Timestamp) -> Self {
        // Names must be unique in an exposition.
        reports.sort_by(|one, other| (&one.name, one.source).cmp(&(&other.name, other.source)));
        reports.dedup_by(|one, other| (&one.name, one.source) == (&other.name, other.source));
        reports.sort_by_key(|report| report.not_after);
        let days = reports.iter().filter_map(|report| {
            let days = CertReport::days_left(report.not_after?, now);
            Some((report.name.clone(), report.source, days))
        });
        let days = days.take(MOST).collect();
        let missing = reports.iter().filter(|one| one.not_after.is_none()).count();
        reports.sort_by_key(|report| std::cmp::Reverse(report.failures));
        let attempts = reports.iter().filter_map(|report| {
            let attempted = report.last_attempt?;
            Some((report.name.clone(), report.failures, attempted))
        });
        Self {
            days,
            attempts: attempts.take(MOST).collect(),
            missing,
        }
    }

    pub(super) fn encode(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let gauge = MetricType::Gauge;
        let mut days = describe(encoder, names::CERT_DAYS, gauge)?;
        for (name, source, left) in &self.days {
            let labels = [("name", name.clone()), ("source", (*source).to_owned())];
            one(&mut days, &labels, ConstGauge::new(*left))?;
        }
        let mut failures = describe(encoder, names::CERT_FAILURES, gauge)?;
        for (name, count, _) in &self.attempts {
            let labels = [("name", name.clone())];
            one(&mut failures, &labels, ConstGauge::new(u64::from(*count)))?;
        }
        let mut attempted = describe(encoder, names::CERT_ATTEMPTED, gauge)?;
        for (name, _, at) in &self.attempts {
            let labels = [("name", name.clone())];
            one(&mut attempted, &labels, ConstGauge::new(at.as_secs()))?;
        }
        let missing = describe(encoder, names::CERT_MISSING, gauge)?;
        ConstGauge::new(self.missing as u64).encode(missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_those_that_end_first_and_fail_most() {
        let report = |number: u64| {
            let mut report = CertReport::new(format!("n{number}.example"), "acme");
            report.not_after = Some(Timestamp::from_secs(number * 86_400));
            report.last_attempt = Some(Timestamp::from_secs(1));
            report.failures = u32::try_from(number).unwrap();
            report
        };
        let mut reports: Vec<_> = (0..2000).rev().map(report).collect();
        reports.push(CertReport::new("missing.example", "acme"));
        reports.push(report(3));
        let seen = Certificates::of(reports, Timestamp::from_secs(86_400));
        assert_eq!((seen.days.len(), seen.attempts.len()), (MOST, MOST));
        assert_eq!(seen.days[0].0, "n0.example");
        assert!((seen.days[0].2 + 1.0).abs() < 1e-9, "{:?}", seen.days[0]);
        assert_eq!(seen.days[4].0, "n4.example", "each only once");
        assert_eq!(seen.attempts[0].0, "n1999.example");
        assert_eq!(seen.missing, 1);
    }
}
