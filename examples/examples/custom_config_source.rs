//! A configuration that the program changes while it runs: whoever types `HOST ORIGIN` puts a site in force.
//!
//! Argument: the address to listen on. It ends with its input.

use std::sync::Arc;

use cirrus_cache::MemoryStore;
use cirrus_core::config::{Config, ConfigSource, Format, ListenConfig, SiteConfig};
use cirrus_core::{BoxError, Server, Updates};
use futures_util::stream;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::sync::watch;

/// The configuration last sent through a channel.
struct Pushed(watch::Receiver<Config>);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    cirrus_examples::log();
    let [listen] = cirrus_examples::arguments(["127.0.0.1:8080"]);
    let mut config = Config::default();
    config.listen = vec![ListenConfig::plain(listen.parse()?)];
    let (sender, source) = pushed(config);
    Server::builder()
        .config(source)
        .cache(MemoryStore::sized(64 << 20))
        .run(put_what_is_typed(sender))
        .await?;
    Ok(())
}

/// A source, and the sender that replaces what it says.
fn pushed(first: Config) -> (watch::Sender<Config>, Pushed) {
    let (sender, receiver) = watch::channel(first);
    (sender, Pushed(receiver))
}

async fn put_what_is_typed(sender: watch::Sender<Config>) {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match site(&line) {
            Ok(site) => sender.send_modify(|config| put(config, site)),
            Err(error) => tracing::error!("{error}"),
        }
    }
}

/// The site that a line describes.
fn site(line: &str) -> Result<Arc<SiteConfig>, BoxError> {
    let (host, origin) = line.trim().split_once(' ').ok_or("type HOST ORIGIN")?;
    let site = serde_json::json!({
        "hosts": [host],
        "origin": [{ "url": origin.trim() }],
        "cache": { "enable": true },
    });
    let text = serde_json::json!({ "site": [site] }).to_string();
    let (mut config, _) = Config::parse(&text, Format::Json)?;
    config.site.pop().ok_or_else(|| "no site".into())
}

/// In place of the one with the same hosts. The others stay the same `Arc`s: they are not compiled again.
fn put(config: &mut Config, site: Arc<SiteConfig>) {
    config.site.retain(|other| other.hosts != site.hosts);
    config.site.push(site);
}

// === impl Pushed ===

impl ConfigSource for Pushed {
    fn watch(&self) -> Updates<Config> {
        let mut receiver = self.0.clone();
        // So that the present one comes first, also when the engine watches again.
        receiver.mark_changed();
        Box::pin(stream::unfold(receiver, |mut receiver| async {
            if receiver.changed().await.is_err() {
                // Nobody can change it any more: what was sent last stays in force.
                std::future::pending::<()>().await;
            }
            let config = receiver.borrow_and_update().clone();
            Some((Ok(config), receiver))
        }))
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::config_suite::ConfigFixture;

    use super::*;

    struct Program(watch::Sender<Config>);

    impl ConfigFixture for Program {
        fn source(&self) -> Arc<dyn ConfigSource> {
            Arc::new(Pushed(self.0.subscribe()))
        }

        async fn put(&self, toml: &str) {
            let (config, _) = Config::parse(toml, Format::Toml).unwrap();
            self.0.send_replace(config);
        }

        /// What is sent is a configuration already.
        async fn put_garbage(&self) -> bool {
            false
        }
    }

    cirrus_core::testing::config_source_suite!(|| Program(pushed(Config::default()).0));
}
