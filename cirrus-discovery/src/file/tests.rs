use std::fs;
use std::sync::Arc;
use std::time::Duration;

use cirrus_core::config::SiteConfig;
use cirrus_core::testing::config_suite::ConfigFixture;
use futures_util::StreamExt;
use tempfile::TempDir;
use tokio::time::timeout;

use super::*;

/// A file in a directory of its own.
struct Disk {
    directory: TempDir,
    file: PathBuf,
}

impl Disk {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cirrus.toml");
        Self { directory, file }
    }

    fn holding(text: &str) -> Self {
        let disk = Self::new();
        disk.write(text);
        disk
    }

    fn write(&self, text: &str) {
        fs::write(&self.file, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn watch(&self) -> Updates<Config> {
        File::at(&self.file).watch()
    }
}

impl ConfigFixture for Disk {
    fn source(&self) -> Arc<dyn ConfigSource> {
        Arc::new(File::at(&self.file))
    }

    async fn put(&self, toml: &str) {
        self.write(toml);
    }

    async fn put_garbage(&self) -> bool {
        self.write("[[site]\nhosts = 3");
        true
    }
}

cirrus_core::testing::config_source_suite!(|| Disk::new());

fn site(host: &str) -> String {
    format!("[[site]]\nhosts = [\"{host}\"]\n")
}

async fn next(updates: &mut Updates<Config>) -> Result<Config, BoxError> {
    let item = timeout(Duration::from_secs(10), updates.next()).await;
    item.expect("an item in time").expect("no end")
}

async fn next_hosts(updates: &mut Updates<Config>) -> Vec<String> {
    hosts(&next(updates).await.expect("a configuration"))
}

async fn next_error(updates: &mut Updates<Config>) -> String {
    let item = next(updates).await;
    item.expect_err("an error").to_string()
}

fn hosts(config: &Config) -> Vec<String> {
    let first = |site: &Arc<SiteConfig>| site.hosts[0].to_string();
    config.site.iter().map(first).collect()
}

/// Nothing arrives, though the file is read several times meanwhile.
async fn assert_quiet(updates: &mut Updates<Config>) {
    let item = timeout(Duration::from_millis(500), updates.next()).await;
    assert!(item.is_err(), "nothing new, but {item:?}");
}

#[test]
fn load_gives_the_configuration_with_its_paths() {
    let text = "certificates = { directory = \"certs\" }\naccess_log = { file = \"/var/log/a\" }\n";
    let disk = Disk::holding(&format!(
        "{text}{}route = [{{ path = \"/x/*\", files = {{ directory = \"www\" }} }}]",
        site("a.example")
    ));
    let (config, warnings) = File::at(&disk.file).load().unwrap();
    assert!(warnings.is_empty());
    assert_eq!(config.certificates.directory, Some(disk.path("certs")));
    assert_eq!(config.access_log.file, Some("/var/log/a".into()));
    let files = config.site[0].route[0].files.as_ref().unwrap();
    assert_eq!(files.directory, disk.path("www"));
}

#[test]
fn load_reads_json() {
    let disk = Disk::new();
    fs::write(
        disk.path("c.json"),
        r#"{"site": [{"hosts": ["j.example"]}]}"#,
    )
    .unwrap();
    let (config, _) = File::at(disk.path("c.json")).load().unwrap();
    assert_eq!(hosts(&config), ["j.example"]);
}

#[test]
fn load_tells_every_fault_with_its_place() {
    let disk = Disk::holding("lisen = 1\n[[site]]\nhosts = 3\n");
    let error = File::at(&disk.file).load().unwrap_err();
    let faults = error.downcast_ref::<Faults>().unwrap();
    assert_eq!(faults.len(), 2);
    let file = disk.file.display();
    assert!(error.to_string().starts_with(&format!("{file}:1:1: error")));
}

#[test]
fn load_says_why_a_file_cannot_be_used() {
    let disk = Disk::new();
    let reason = |path: PathBuf| {
        let error = File::at(&path).load().unwrap_err().to_string();
        error.replace(&path.display().to_string(), "FILE")
    };
    let begin = "FILE: the configuration file cannot be used: ";
    assert_eq!(
        reason(disk.file.clone()),
        format!("{begin}it does not exist")
    );
    fs::create_dir(disk.path("directory.toml")).unwrap();
    assert_eq!(
        reason(disk.path("directory.toml")),
        format!("{begin}it is no regular file")
    );
    fs::write(&disk.file, b"# caf\xe9").unwrap();
    assert_eq!(
        reason(disk.file.clone()),
        format!("{begin}byte 5 is not UTF-8, as TOML and JSON must be")
    );
    assert!(reason(disk.path("cirrus.yaml")).contains("ends with `.toml` or `.json`"));
}

#[tokio::test]
async fn renamed_over_is_a_change() {
    let disk = Disk::holding(&site("old.example"));
    let mut updates = disk.watch();
    assert_eq!(next_hosts(&mut updates).await, ["old.example"]);
    for host in ["new.example", "newer.example"] {
        fs::write(disk.path(".cirrus.toml.swp"), site(host)).unwrap();
        fs::rename(disk.path(".cirrus.toml.swp"), &disk.file).unwrap();
        assert_eq!(next_hosts(&mut updates).await, [host]);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn turned_link_is_a_change() {
    use std::os::unix::fs::symlink;
    let disk = Disk::new();
    for version in ["1", "2", "3"] {
        fs::create_dir(disk.path(version)).unwrap();
        fs::write(disk.path(version).join("cirrus.toml"), site(version)).unwrap();
    }
    symlink("1", disk.path("..data")).unwrap();
    symlink("..data/cirrus.toml", &disk.file).unwrap();
    let mut updates = disk.watch();
    assert_eq!(next_hosts(&mut updates).await, ["1"]);
    for (before, version) in [("1", "2"), ("2", "3")] {
        symlink(version, disk.path("..data_tmp")).unwrap();
        fs::rename(disk.path("..data_tmp"), disk.path("..data")).unwrap();
        fs::remove_dir_all(disk.path(before)).unwrap();
        assert_eq!(next_hosts(&mut updates).await, [version]);
    }
}

#[cfg(unix)]
#[tokio::test(start_paused = true)]
async fn what_no_notification_tells_is_noticed_nevertheless() {
    let elsewhere = Disk::holding(&site("old.example"));
    let disk = Disk::new();
    std::os::unix::fs::symlink(&elsewhere.file, &disk.file).unwrap();
    let mut updates = disk.watch();
    assert_eq!(
        hosts(&updates.next().await.unwrap().unwrap()),
        ["old.example"]
    );
    // Long enough for readings that find nothing, and are then left out because the stamp is the same.
    let quiet = timeout(Duration::from_secs(150), updates.next()).await;
    assert!(quiet.is_err());
    elsewhere.write(&site("new.example"));
    let item = timeout(Duration::from_secs(40), updates.next()).await;
    assert_eq!(hosts(&item.unwrap().unwrap().unwrap()), ["new.example"]);
}

#[tokio::test]
async fn writer_that_empties_the_file_first_is_waited_for() {
    let disk = Disk::holding(&site("old.example"));
    let mut updates = disk.watch();
    assert_eq!(next_hosts(&mut updates).await, ["old.example"]);
    for host in ["1.example", "2.example", "3.example"] {
        disk.write("");
        tokio::time::sleep(Duration::from_millis(10)).await;
        disk.write("[[site]]\nhosts = [");
        tokio::time::sleep(Duration::from_millis(10)).await;
        disk.write(&site(host));
        assert_eq!(next_hosts(&mut updates).await, [host]);
    }
}

#[tokio::test]
async fn emptied_file_is_an_error_and_an_empty_one_is_not() {
    let disk = Disk::holding("");
    let mut updates = disk.watch();
    assert!(next_hosts(&mut updates).await.is_empty());
    disk.write(&site("a.example"));
    assert_eq!(next_hosts(&mut updates).await, ["a.example"]);
    disk.write("\n");
    let error = next_error(&mut updates).await;
    assert!(error.contains("it is empty now"), "{error}");
    disk.write("# nothing for now");
    assert!(next_hosts(&mut updates).await.is_empty());
}

#[tokio::test]
async fn file_that_vanishes_may_come_back() {
    let disk = Disk::holding(&site("a.example"));
    let mut updates = disk.watch();
    next(&mut updates).await.unwrap();
    for _ in 0..2 {
        fs::remove_file(&disk.file).unwrap();
        let error = next(&mut updates).await.unwrap_err();
        assert!(error.downcast_ref::<FileError>().unwrap().is_missing());
        disk.write(&site("a.example"));
        assert_eq!(next_hosts(&mut updates).await, ["a.example"]);
    }
}

#[tokio::test]
async fn directory_that_comes_later_is_watched() {
    let disk = Disk::new();
    let directory = disk.path("later");
    let mut updates = File::at(directory.join("cirrus.toml")).watch();
    assert!(next_error(&mut updates).await.contains("does not exist"));
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("cirrus.toml"), site("a.example")).unwrap();
    assert_eq!(next_hosts(&mut updates).await, ["a.example"]);
    fs::write(directory.join("cirrus.toml"), site("b.example")).unwrap();
    assert_eq!(next_hosts(&mut updates).await, ["b.example"]);
}

#[tokio::test]
async fn invalid_is_said_once_and_mended_is_said_too() {
    let disk = Disk::holding(&site("a.example"));
    let mut updates = disk.watch();
    next(&mut updates).await.unwrap();
    disk.write("lisen = 1");
    let error = next(&mut updates).await.unwrap_err();
    assert_eq!(error.downcast_ref::<Faults>().unwrap().len(), 1);
    disk.write("lisen = 1");
    assert_quiet(&mut updates).await;
    disk.write("lisen = 2");
    next_error(&mut updates).await;
    // The very text that was good before is news after an error.
    disk.write(&site("a.example"));
    assert_eq!(next_hosts(&mut updates).await, ["a.example"]);
}

#[tokio::test]
async fn same_content_and_other_files_are_no_news() {
    let disk = Disk::holding(&site("a.example"));
    let mut updates = disk.watch();
    next(&mut updates).await.unwrap();
    fs::write(disk.path("other.toml"), "").unwrap();
    disk.write(&site("a.example"));
    assert_quiet(&mut updates).await;
}

#[tokio::test]
async fn one_change_among_many_sites_keeps_the_others() {
    let text = |changed: usize| -> String {
        let host = |n: usize| match n == changed {
            true => "changed.example".to_owned(),
            false => format!("s{n}.example"),
        };
        (0..10_000).map(|n| site(&host(n))).collect()
    };
    let disk = Disk::holding(&text(usize::MAX));
    let mut updates = disk.watch();
    let before = next(&mut updates).await.unwrap();
    disk.write(&text(5_000));
    let after = next(&mut updates).await.unwrap();
    let pairs = before.site.iter().zip(&after.site);
    let others: Vec<usize> = pairs
        .enumerate()
        .filter(|(_, (before, after))| !Arc::ptr_eq(before, after))
        .map(|(place, _)| place)
        .collect();
    assert_eq!((others, after.site.len()), (vec![5_000], 10_000));
}
