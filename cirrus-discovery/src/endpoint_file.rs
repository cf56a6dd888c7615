//! Endpoints in a file, watched.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cirrus_core::discovery::{Discovery, Endpoint, Endpoints, ServiceName};
use cirrus_core::{BoxError, Updates};
use futures_util::stream;
use serde::Deserialize;
use tokio::time::{sleep, timeout};

use crate::file::Hints;
use crate::reference::{Reference, decoded};
use crate::services::failed;

/// Notifications get lost, and some file systems have none: the file is looked at this often anyway.
const LOOK: Duration = Duration::from_secs(2);

/// Whoever writes gets this long to finish.
const REST: Duration = Duration::from_millis(50);

/// A larger file is a mistake.
const LARGEST: u64 = 64 << 20;

/// Services in files, as `file:///etc/endpoints.toml#payments`.
///
/// A file is TOML, or JSON if its name ends so, and has a list of endpoints for each service:
///
/// ```toml
/// payments = ["http://10.0.0.7:8080", { url = "http://10.0.0.8:8080", weight = 3 }]
/// ```
///
/// Changes are noticed at once, or after 2 s where the file system tells nothing. A faulty file or list is an error, once
/// for each change; other services of the same file are not touched by a faulty list.
#[derive(Clone, Copy, Debug, Default)]
pub struct EndpointFile;

/// One watch. All its reading blocks.
struct Watch {
    path: PathBuf,
    service: String,
    hints: Hints,
    /// What was told last.
    told: Option<Result<Endpoints, String>>,
}

// === impl EndpointFile ===

impl Discovery for EndpointFile {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let (path, service) = match place(service) {
            Ok(place) => place,
            Err(error) => return failed(error),
        };
        let directory = path.parent().unwrap_or(&path).to_owned();
        let watch = Watch {
            hints: Hints::on(&directory, path.file_name().unwrap_or_default()),
            path,
            service,
            told: None,
        };
        Box::pin(stream::unfold(Some(watch), |watch| async {
            match watch?.next().await {
                Ok((item, watch)) => Some((item, Some(watch))),
                Err(error) => Some((Err(error.into()), None)),
            }
        }))
    }

    fn check(&self, service: &ServiceName) -> Result<(), BoxError> {
        place(service).map(drop)
    }
}

/// The file, and the service in it.
fn place(service: &ServiceName) -> Result<(PathBuf, String), BoxError> {
    let form = "written as `file:///etc/endpoints.toml#payments`";
    let reference = Reference::parse(service.as_str()).ok_or(form)?;
    let name = reference.fragment.filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| format!("which service of the file? {form}"))?;
    if !reference.authority.is_empty() || reference.path.len() < 2 {
        return Err(format!("the path of the file is absolute, {form}").into());
    }
    if let Some((option, _)) = reference.options().next() {
        return Err(format!("`{option}` is no option: a file has none").into());
    }
    let path = PathBuf::from(decoded(reference.path).into_owned());
    Ok((path, decoded(name).into_owned()))
}

// === impl Watch ===

impl Watch {
    /// The next thing to tell.
    async fn next(mut self) -> Result<(Result<Endpoints, BoxError>, Self), tokio::task::JoinError> {
        loop {
            if self.told.is_some() {
                let _ = timeout(LOOK, self.hints.next()).await;
                sleep(REST).await;
            }
            let look = tokio::task::spawn_blocking(move || {
                // Before the reading, so that nothing between the two is missed.
                self.hints.renew();
                let found = read(&self.path, &self.service);
                (self, found)
            });
            let found;
            (self, found) = look.await?;
            if self.told.as_ref() != Some(&found) {
                self.told = Some(found.clone());
                return Ok((found.map_err(Into::into), self));
            }
        }
    }
}

fn read(path: &Path, service: &str) -> Result<Endpoints, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let metadata = std::fs::metadata(path).map_err(|error| wrong(&error))?;
    // Opening a pipe would wait for somebody to write.
    if !metadata.is_file() || metadata.len() > LARGEST {
        return Err(wrong(&"no regular file of 64 MiB at the most"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let is_json = path
        .extension()
        .is_some_and(|extension| extension == "json");
    let found = match is_json {
        true => in_json(&text, service),
        false => in_toml(&text, service),
    };
    let endpoints = found.map_err(|error| wrong(&error))?;
    let unknown = || wrong(&format_args!("there is no service `{service}` in it"));
    Ok(endpoints.ok_or_else(unknown)?.into_iter().collect())
}

fn in_toml(text: &str, service: &str) -> Result<Option<Vec<Endpoint>>, BoxError> {
    let mut services: toml::Table = text.parse()?;
    let list = services.remove(service);
    Ok(list.map(Vec::deserialize).transpose()?)
}

fn in_json(text: &str, service: &str) -> Result<Option<Vec<Endpoint>>, BoxError> {
    let mut services: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text)?;
    let list = services.remove(service);
    Ok(list.map(Vec::deserialize).transpose()?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cirrus_core::testing::discovery_suite::DiscoveryFixture;
    use futures_util::StreamExt;
    use parking_lot::Mutex;

    use super::*;

    /// A file, written by renaming as careful programs do.
    struct Written {
        directory: tempfile::TempDir,
        services: Mutex<serde_json::Map<String, serde_json::Value>>,
    }

    impl Written {
        fn new() -> Self {
            let written = Self {
                directory: tempfile::tempdir().unwrap(),
                services: Mutex::default(),
            };
            written.write();
            written
        }

        fn path(&self) -> PathBuf {
            self.directory.path().join("endpoints.json")
        }

        fn write(&self) {
            let new = self.directory.path().join("new");
            let text = serde_json::to_string(&*self.services.lock()).unwrap();
            std::fs::write(&new, text).unwrap();
            std::fs::rename(new, self.path()).unwrap();
        }

        fn set(&self, service: &str, value: serde_json::Value) {
            self.services.lock().insert(service.to_owned(), value);
            self.write();
        }
    }

    /// Takes plain names for those in the file.
    struct Named(PathBuf);

    impl Discovery for Named {
        fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
            let reference = format!("file://{}#{service}", self.0.display());
            EndpointFile.watch(&ServiceName::new(reference).unwrap())
        }
    }

    impl DiscoveryFixture for Written {
        fn discovery(&self) -> Arc<dyn Discovery> {
            Arc::new(Named(self.path()))
        }

        async fn put(&self, service: &str, endpoints: &Endpoints) {
            let list: Vec<_> = endpoints.iter().collect();
            self.set(service, serde_json::to_value(list).unwrap());
        }

        async fn put_garbage(&self, service: &str) -> bool {
            self.set(service, serde_json::json!([{"url": "nowhere"}]));
            true
        }
    }

    cirrus_core::testing::discovery_suite!(Written::new());

    #[tokio::test]
    async fn a_faulty_list_does_not_touch_the_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("endpoints.toml");
        std::fs::write(&path, "good = [\"http://10.0.0.1:80\"]\nbad = [3]\n").unwrap();
        let watch = |service: &str| {
            let reference = format!("file://{}#{service}", path.display());
            EndpointFile.watch(&ServiceName::new(reference).unwrap())
        };
        assert_eq!(watch("good").next().await.unwrap().unwrap().len(), 1);
        let error = watch("bad").next().await.unwrap().unwrap_err().to_string();
        assert!(error.contains("or a table with `url`"), "{error}");
        let none = watch("none").next().await.unwrap().unwrap_err().to_string();
        assert!(
            none.ends_with("endpoints.toml: there is no service `none` in it"),
            "{none}"
        );
    }

    #[test]
    fn references_are_checked() {
        for (reference, told) in [
            ("file:///a.toml", "which service"),
            ("file://a.toml#x", "absolute"),
            ("file:///a.toml?x=1#x", "no option"),
        ] {
            let name = ServiceName::new(reference).unwrap();
            let error = EndpointFile.check(&name).unwrap_err().to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
