//! A program of one's own.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use cirrus_core::BoxError;
use tokio::process::Command;
use tokio::time::timeout;

use super::{DnsSolver, Propagation, SolverError, TxtRecord};

/// Runs `PROGRAM present NAME VALUE DOMAIN` and later `PROGRAM cleanup NAME VALUE DOMAIN`. Exit status 0 is success; of
/// what it writes to its standard error, the end is told.
///
/// It has a minute, and no input.
#[derive(Clone, Debug)]
pub struct Script {
    program: PathBuf,
    limit: Duration,
    propagation: Propagation,
}

/// As much of its words as is told.
const MAX_WORDS: usize = 400;

// === impl Script ===

impl Script {
    /// Runs `program`.
    #[must_use]
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            limit: Duration::from_secs(60),
            propagation: Propagation::default(),
        }
    }

    /// Looks whether a value has arrived this way.
    #[must_use]
    pub fn with_propagation(mut self, propagation: Propagation) -> Self {
        self.propagation = propagation;
        self
    }

    async fn run(&self, verb: &str, record: &TxtRecord) -> Result<(), BoxError> {
        let run = Command::new(&self.program)
            .args([verb, &record.name, &record.value, &record.domain])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output();
        let Ok(ended) = timeout(self.limit, run).await else {
            return Err(format!("it took longer than {:?}", self.limit).into());
        };
        let ended = ended.map_err(|error| format!("{}: {error}", self.program.display()))?;
        if ended.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&ended.stderr);
        let words = words.trim();
        let from = words.ceil_char_boundary(words.len().saturating_sub(MAX_WORDS));
        Err(format!("{}: {}", ended.status, &words[from..]).into())
    }
}

#[async_trait]
impl DnsSolver for Script {
    async fn present(&self, record: &TxtRecord) -> Result<(), SolverError> {
        let done = self.run("present", record).await;
        done.map_err(|error| SolverError::new(record, "the script", error))
    }

    async fn cleanup(&self, record: &TxtRecord) -> Result<(), SolverError> {
        let done = self.run("cleanup", record).await;
        done.map_err(|error| SolverError::new(record, "the script", error))
    }

    fn propagation(&self) -> Option<&Propagation> {
        Some(&self.propagation)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn gets_what_it_needs_and_its_words_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let (program, log) = (directory.path().join("hook"), directory.path().join("log"));
        let text = format!(
            "#!/bin/sh\necho \"$@\" >> {}\n[ $1 = present ] || {{ echo no such zone >&2; exit 3; }}\n",
            log.display()
        );
        std::fs::write(&program, text).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o700)).unwrap();
        let script = Script::new(&program);
        let record = TxtRecord::new("a.example", "value");
        script.present(&record).await.unwrap();
        let error = script.cleanup(&record).await.unwrap_err().to_string();
        assert!(
            error.contains("no such zone") && error.contains("3"),
            "{error}"
        );
        assert_eq!(
            std::fs::read_to_string(log).unwrap(),
            "present _acme-challenge.a.example value a.example\n\
             cleanup _acme-challenge.a.example value a.example\n"
        );
    }
}
