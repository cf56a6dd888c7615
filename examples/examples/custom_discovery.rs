//! Endpoints from a file of your own format, one to a line: `SERVICE URL [WEIGHT]`. A service alone on its line is known,
//! but nobody is there.
//!
//! Arguments: the file, the address to listen on. Requests go to the service `web`.

use std::path::PathBuf;
use std::time::Duration;

use cirrus_core::config::OriginUrl;
use cirrus_core::discovery::{Discovery, Endpoint, Endpoints, ServiceName};
use cirrus_core::{BoxError, Server, Updates};
use cirrus_discovery::Fixed;
use futures_util::stream;
use tokio::time::Interval;

/// A file with endpoints, read again and again.
struct Roster {
    file: PathBuf,
    every: Duration,
}

/// One watch on one service.
struct Watch {
    file: PathBuf,
    service: ServiceName,
    ticks: Interval,
    said: Option<Result<Endpoints, String>>,
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [file, listen] = cirrus_examples::arguments(["roster.txt", "127.0.0.1:8080"]);
    let config = format!(
        r#"
        listen = [{{ address = "{listen}" }}]
        cluster = [{{ name = "web", service = "web" }}]
        site = [{{ hosts = ["*"], cluster = "web" }}]
        "#
    );
    let roster = Roster {
        file: file.into(),
        every: Duration::from_millis(500),
    };
    Server::builder()
        .config(Fixed::toml(&config)?)
        .discovery(roster)
        .run(async { _ = tokio::signal::ctrl_c().await })
        .await?;
    Ok(())
}

// === impl Roster ===

impl Discovery for Roster {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let watch = Watch {
            file: self.file.clone(),
            service: service.clone(),
            ticks: tokio::time::interval(self.every),
            said: None,
        };
        Box::pin(stream::unfold(watch, Watch::next))
    }
}

// === impl Watch ===

impl Watch {
    /// Waits for something that it has not just said.
    async fn next(mut self) -> Option<(Result<Endpoints, BoxError>, Self)> {
        loop {
            self.ticks.tick().await;
            let found = self.read().await;
            if self.said.as_ref() != Some(&found) {
                self.said = Some(found.clone());
                return Some((found.map_err(Into::into), self));
            }
        }
    }

    async fn read(&self) -> Result<Endpoints, String> {
        let text = tokio::fs::read_to_string(&self.file).await;
        let text = text.map_err(|error| format!("{}: {error}", self.file.display()))?;
        let mine = |line: &&str| line.split_whitespace().next() == Some(self.service.as_str());
        let mut lines = text.lines().filter(mine).peekable();
        if lines.peek().is_none() {
            return Err(format!("no line is about the service {}", self.service));
        }
        Ok(lines.filter_map(endpoint).collect())
    }
}

/// What a line says. One that makes no sense is left out, and does not take the others with it.
fn endpoint(line: &str) -> Option<Endpoint> {
    let mut words = line.split_whitespace().skip(1);
    let url = words.next()?;
    let weight = words.next().map_or(Ok(1), str::parse);
    match (url.parse::<OriginUrl>(), weight) {
        (Ok(url), Ok(weight)) => Some(Endpoint::new(url).with_weight(weight)),
        _ => {
            tracing::warn!(line, "not an endpoint");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
    use std::sync::{Arc, Mutex};

    use cirrus_core::testing::discovery_suite::DiscoveryFixture;
    use tempfile::TempDir;

    use super::*;

    struct Office {
        directory: TempDir,
        lines: Mutex<BTreeMap<String, String>>,
    }

    impl Office {
        fn new() -> Self {
            Self {
                directory: TempDir::new().unwrap(),
                lines: Mutex::default(),
            }
        }

        fn file(&self) -> PathBuf {
            self.directory.path().join("roster")
        }

        fn write(&self, service: &str, text: String) {
            let mut lines = self.lines.lock().unwrap();
            lines.insert(service.to_owned(), text);
            let all: String = lines.values().map(String::as_str).collect();
            // Renamed, so that nobody sees half of it.
            let next = self.directory.path().join("next");
            std::fs::write(&next, all).unwrap();
            std::fs::rename(next, self.file()).unwrap();
        }
    }

    impl DiscoveryFixture for Office {
        fn discovery(&self) -> Arc<dyn Discovery> {
            Arc::new(Roster {
                file: self.file(),
                every: Duration::from_millis(10),
            })
        }

        async fn put(&self, service: &str, endpoints: &Endpoints) {
            let mut text = format!("{service}\n");
            for endpoint in endpoints {
                writeln!(text, "{service} {} {}", endpoint.url, endpoint.weight).unwrap();
            }
            self.write(service, text);
        }

        async fn put_garbage(&self, service: &str) -> bool {
            self.write(service, format!("{service} nowhere many\n"));
            true
        }
    }

    cirrus_core::testing::discovery_suite!(|| Office::new());
}
