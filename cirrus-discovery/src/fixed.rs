//! A configuration that the program gives, and may replace.

use std::fmt;
use std::sync::Arc;

use cirrus_core::Updates;
use cirrus_core::config::{Config, ConfigSource, Faults, Format};
use futures_util::stream;
use tokio::sync::watch;

use crate::reuse;

/// A configuration that the program gives, and may [`replace`](Self::replace) at any time.
///
/// Clones are the same source: keep one to make changes, and give the other to the server. A watch that is slower than
/// the changes sees the last of them.
#[derive(Clone)]
pub struct Fixed(Arc<watch::Sender<Config>>);

// === impl Fixed ===

impl Fixed {
    /// Says this until it is replaced.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(watch::Sender::new(config)))
    }

    /// Reads a TOML text. Relative paths in it start at the program's working directory. Warnings are logged.
    ///
    /// # Errors
    ///
    /// Every fault of the text.
    pub fn toml(text: &str) -> Result<Self, Faults> {
        parse(text).map(Self::new)
    }

    /// Says this from now on. Unchanged sites keep their `Arc`, so that only the others are compiled again.
    pub fn replace(&self, mut config: Config) {
        self.0.send_modify(|present| {
            reuse::keep_unchanged(&mut config, present);
            *present = config;
        });
    }

    /// Reads a TOML text as [`toml`](Self::toml) does, and says that from now on.
    ///
    /// # Errors
    ///
    /// Every fault of the text; what was said before stays.
    pub fn replace_toml(&self, text: &str) -> Result<(), Faults> {
        self.replace(parse(text)?);
        Ok(())
    }
}

fn parse(text: &str) -> Result<Config, Faults> {
    let (config, warnings) = Config::parse(text, Format::Toml)?;
    for warning in &warnings {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

impl ConfigSource for Fixed {
    fn watch(&self) -> Updates<Config> {
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        // With a sender of its own the stream waits for ever, rather than end, when the program keeps none.
        let state = (receiver, self.clone());
        Box::pin(stream::unfold(state, |(mut receiver, fixed)| async {
            receiver.changed().await.ok()?;
            let config = receiver.borrow_and_update().clone();
            Some((Ok(config), (receiver, fixed)))
        }))
    }
}

impl From<Config> for Fixed {
    fn from(config: Config) -> Self {
        Self::new(config)
    }
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed")
            .field("watches", &self.0.receiver_count())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::config_suite::ConfigFixture;
    use futures_util::{FutureExt, StreamExt};

    use super::*;

    struct Program(Fixed);

    impl ConfigFixture for Program {
        fn source(&self) -> Arc<dyn ConfigSource> {
            Arc::new(self.0.clone())
        }

        async fn put(&self, toml: &str) {
            self.0.replace_toml(toml).unwrap();
        }

        async fn put_garbage(&self) -> bool {
            false
        }
    }

    cirrus_core::testing::config_source_suite!(|| Program(Fixed::new(Config::default())));

    #[tokio::test]
    async fn a_faulty_text_replaces_nothing() {
        let fixed = Fixed::toml(r#"site = [{ hosts = ["a.example"] }]"#).unwrap();
        let mut updates = fixed.watch();
        assert_eq!(updates.next().await.unwrap().unwrap().site.len(), 1);
        let faults = fixed.replace_toml("sites = []\nlisten = 3").unwrap_err();
        assert_eq!(faults.len(), 2);
        assert!(updates.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_watch_outlives_the_source_and_ends_when_dropped() {
        let fixed = Fixed::new(Config::default());
        let mut updates = fixed.watch();
        assert_eq!(format!("{fixed:?}"), "Fixed { watches: 1, .. }");
        drop(fixed.clone().watch());
        assert_eq!(format!("{fixed:?}"), "Fixed { watches: 1, .. }");
        drop(fixed);
        assert!(updates.next().await.unwrap().is_ok());
        assert!(updates.next().now_or_never().is_none(), "waits for ever");
    }
}
