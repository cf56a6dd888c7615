//! What `cirrus check` and a start that fails have found, as lines for people.

use cirrus_core::config::{Fault, Faults, Severity};
use cirrus_tls::{Folder, Loaded, Problem};

use crate::output::{self, ERROR, STRONG, WARNING};

/// What is wrong with a configuration and with the files it names.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
}

#[derive(Debug)]
struct Finding {
    severity: Severity,
    /// `FILE:LINE:COLUMN`, `FILE`, or nothing.
    place: Option<String>,
    /// Everything behind the severity.
    rest: String,
}

// === impl Findings ===

impl Findings {
    /// Adds what is wrong with a directory of certificates.
    pub(crate) fn add_certificates(&mut self, folder: &Folder) {
        self.list.extend(folder.report().iter().map(Finding::from));
    }

    /// Whether the configuration must not be used.
    pub(crate) fn is_fatal(&self) -> bool {
        self.count_of(Severity::Error) > 0
    }

    /// Writes each to standard error.
    pub(crate) fn tell(&self) {
        for finding in &self.list {
            output::tell(&finding.painted());
        }
    }

    /// `2 errors, 1 warning`; warnings only if there are any.
    pub(crate) fn count(&self) -> String {
        let errors = counted(self.count_of(Severity::Error), "error");
        match self.warnings() {
            0 => errors,
            warnings => format!("{errors}, {}", counted(warnings, "warning")),
        }
    }

    pub(crate) fn warnings(&self) -> usize {
        self.count_of(Severity::Warning)
    }

    fn count_of(&self, severity: Severity) -> usize {
        let of_it = |finding: &&Finding| finding.severity == severity;
        self.list.iter().filter(of_it).count()
    }
}

impl From<Faults> for Findings {
    fn from(faults: Faults) -> Self {
        let list = faults.iter().map(Finding::from).collect();
        Self { list }
    }
}

/// `1 site`, `2 sites`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{ending}")
}

// === impl Finding ===

impl Finding {
    fn painted(&self) -> String {
        let place = match &self.place {
            Some(place) => format!("{STRONG}{place}:{STRONG:#} "),
            None => String::new(),
        };
        let style = match self.severity {
            Severity::Warning => WARNING,
            _ => ERROR,
        };
        format!("{place}{style}{}{style:#}: {}", self.severity, self.rest)
    }
}

impl From<&Fault> for Finding {
    fn from(fault: &Fault) -> Self {
        let place = fault.place.as_ref().map(ToString::to_string);
        let text = fault.to_string();
        let lead = match &place {
            Some(place) => format!("{place}: {}: ", fault.severity),
            None => format!("{}: ", fault.severity),
        };
        let rest = text.strip_prefix(&lead).unwrap_or(&text).to_owned();
        Self {
            severity: fault.severity,
            place,
            rest,
        }
    }
}

impl From<&Problem> for Finding {
    fn from(problem: &Problem) -> Self {
        Self {
            severity: severity(problem),
            place: Some(problem.file.display().to_string()),
            rest: problem.message.clone(),
        }
    }
}

/// A pair that can be loaded is served, whatever else there is to say about it.
fn severity(problem: &Problem) -> Severity {
    let half = |ending| std::fs::read(problem.file.with_extension(ending)).ok();
    let loaded = half("pem")
        .zip(half("key"))
        .map(|(chain, key)| Loaded::from_pem(&chain, &key));
    match loaded {
        Some(Ok(_)) => Severity::Warning,
        _ => Severity::Error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_errors_and_warnings() {
        let mut faults = Faults::default();
        faults.error("listen", None, "wrong");
        let mut findings = Findings::from(faults.clone());
        assert_eq!(findings.count(), "1 error");
        faults.error("site", None, "wrong");
        faults.warning("cache", None, "odd");
        findings = Findings::from(faults);
        assert_eq!(findings.count(), "2 errors, 1 warning");
        assert!(findings.is_fatal());
    }

    #[test]
    fn paints_the_place_and_the_severity_and_nothing_else() {
        let place = cirrus_core::config::Place::new(3, 5, 2).in_file("cirrus.toml");
        let fault = Fault::error("site[0].name", "is wrong").with_place(place);
        let painted = Finding::from(&fault).painted();
        assert_eq!(
            painted,
            "\u{1b}[1mcirrus.toml:3:5:\u{1b}[0m \u{1b}[1m\u{1b}[31merror\u{1b}[0m: site[0].name: is wrong"
        );
        let plain = anstream::adapter::strip_str(&painted).to_string();
        assert_eq!(plain, fault.to_string());
    }
}
