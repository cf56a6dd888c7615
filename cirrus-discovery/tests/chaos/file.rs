//! A list in a file.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cirrus_core::Updates;
use cirrus_core::discovery::{Discovery, Endpoints, ServiceName};
use cirrus_core::server::Builder;
use cirrus_core::testing::proxy;
use cirrus_core::testing::rolling_suite::{Deployment, SERVICE, Told, run, trouble};
use cirrus_discovery::EndpointFile;

struct List(tempfile::TempDir);

/// Takes plain names for those in the file.
struct Named(PathBuf);

impl Discovery for Named {
    fn watch(&self, service: &ServiceName) -> Updates<Endpoints> {
        let reference = format!("file://{}#{service}", self.0.display());
        EndpointFile.watch(&ServiceName::new(reference).unwrap())
    }
}

// === impl List ===

impl List {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("endpoints.json")
    }

    /// As careful programs do.
    fn write(&self, text: &str) {
        let new = self.0.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}

impl Deployment for List {
    fn wire(&self, builder: Builder) -> Builder {
        builder.discovery(Named(self.path()))
    }

    async fn put(&self, _: &proxy::Running, endpoints: &Endpoints) {
        let list: Vec<_> = endpoints.iter().collect();
        self.write(&serde_json::json!({ SERVICE: list }).to_string());
    }
}

cirrus_core::testing::rolling_suite!(|| List::new());

fn survives(told: Told, begin: impl AsyncFnOnce(&List), end: impl AsyncFnOnce(&List)) {
    run(trouble(List::new(), told, begin, end));
}

#[test]
fn removed() {
    survives(
        Told::Error,
        async |list| std::fs::remove_file(list.path()).unwrap(),
        async |_| {},
    );
}

#[test]
fn empty() {
    survives(Told::Error, async |list| list.write(""), async |_| {});
}

#[test]
fn without_the_service() {
    survives(
        Told::Error,
        async |list| list.write("{\"other\": []}"),
        async |_| {},
    );
}

#[test]
fn written_by_half() {
    survives(
        Told::Error,
        async |list| {
            let whole = std::fs::read_to_string(list.path()).unwrap();
            std::fs::write(list.path(), &whole[..whole.len() / 2]).unwrap();
        },
        async |_| {},
    );
}

#[test]
fn a_record_that_makes_no_sense() {
    survives(
        Told::Error,
        async |list| list.write("{\"payments\": [\"http://127.0.0.1:1\", {\"url\": \"nowhere\"}]}"),
        async |_| {},
    );
}

#[test]
fn a_link_to_nowhere() {
    survives(
        Told::Error,
        async |list| {
            std::fs::remove_file(list.path()).unwrap();
            symlink("/nonexistent/endpoints.json", list.path()).unwrap();
        },
        async |list| std::fs::remove_file(list.path()).unwrap(),
    );
}

/// Nobody there is no trouble but a statement: it is followed, and clients are told. They would tell of more.
#[test]
#[should_panic(expected = "503 ")]
fn whether_these_tests_notice_anything() {
    survives(
        Told::Nothing,
        async |list| list.write("{\"payments\": []}"),
        async |_| {},
    );
}
