//! Why the program ends with status 1, and how it says so.

use std::error::Error;

use cirrus_core::BoxError;
use cirrus_core::config::Faults;

use crate::findings::Findings;
use crate::output::{self, ERROR};

/// Why the program ends with status 1. Any error becomes one.
#[derive(Debug)]
pub(crate) struct Failure(BoxError);

// === impl Failure ===

impl Failure {
    /// Says it on standard error; faults of a configuration each in full.
    pub(crate) fn tell(&self) {
        match self.faults() {
            Some(faults) => {
                let findings = Findings::from(faults.clone());
                findings.tell();
                say(&format!("the configuration has {}", findings.count()));
            }
            None => say(&self.0.to_string()),
        }
    }

    /// The faults at the end of the chain of causes, if that is what it is about.
    fn faults(&self) -> Option<&Faults> {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&*self.0);
        while let Some(error) = cause {
            if let Some(faults) = error.downcast_ref::<Faults>() {
                return Some(faults);
            }
            cause = error.source();
        }
        None
    }
}

impl<E: Into<BoxError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

fn say(message: &str) {
    output::tell(&format!("{ERROR}cirrus:{ERROR:#} {message}"));
}
