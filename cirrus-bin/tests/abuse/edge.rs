//! The program under attack: how it is set up, and how much memory it holds.

use std::fs::read_to_string;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::testing::{Describe, Origin, reply};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use crate::bystander::Bystander;
use crate::support::Cirrus;

/// The program with an origin behind it. One at a time: they would take each other's processor.
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    cirrus: Cirrus,
    _origin: OriginThread,
    _directory: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// An origin that is not held up by what the test does.
struct OriginThread {
    url: String,
    _until: tokio::sync::oneshot::Sender<()>,
}

/// What the large responses have.
pub(crate) const LARGE: usize = 10 << 20;

/// How long memory may take to return.
const RETURN: Duration = Duration::from_secs(10);

/// How far from the baseline it may stay: a fifth, and what some pages more or less make.
const SLACK: u64 = 2 << 20;

/// An attack that is over sooner comes again, so that there is somebody beside it.
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// What was freed is given back in steps, none of which takes longer.
const STEADY: Duration = Duration::from_secs(2);

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(100);

static TURN: Mutex<()> = Mutex::const_new(());

/// This many, or a tenth of it in the ordinary run.
pub(crate) fn scaled(full: usize) -> usize {
    if is_full() { full } else { full / 10 }
}

/// All of the numbers, rather than a tenth of them.
pub(crate) fn is_full() -> bool {
    std::env::var("CIRRUS_ABUSE").is_ok_and(|value| value == "1")
}

// === impl Edge ===

impl Edge {
    /// Patient for a second at most, so that every attack ends by itself.
    pub(crate) async fn start() -> Self {
        let limits = r#"connections_per_client = 65536
            header_time = "1s"
            body_idle_time = "1s"
            send_time = "1s""#;
        Self::with("http", limits).await
    }

    /// Speaks `http` or `https`, with these limits.
    pub(crate) async fn with(scheme: &str, limits: &str) -> Self {
        let turn = TURN.lock().await;
        many_files();
        let origin = OriginThread::start();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cirrus.toml");
        let url = &origin.url;
        let tls = scheme == "https";
        let text = format!(
            r#"listen = [{{ address = "127.0.0.1:0", tls = {tls} }}]
            certificates = {{ self_signed = true }}
            site = [{{
                hosts = ["*"], cache = {{ enable = true }}, origin = [{{ url = "{url}" }}]
            }}]
            [limits]
            {limits}
            "#
        );
        std::fs::write(&file, text).unwrap();
        let mut cirrus = Cirrus::start(".".as_ref(), &["run", "--config", file.to_str().unwrap()]);
        let address = cirrus.logged(&format!("listening on {scheme}://")).await;
        Self {
            address: address.parse().expect("an address"),
            cirrus,
            _origin: origin,
            _directory: directory,
            _turn: turn,
        }
    }

    /// Bytes of memory that the program holds.
    pub(crate) fn memory(&self) -> u64 {
        // Not the `VmRSS` of `status`, which each thread brings up to date when it pleases.
        let text = read_to_string(format!("/proc/{}/smaps_rollup", self.cirrus.id()))
            .expect("a program that runs");
        let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kibibytes: u64 = kibibytes.expect("its memory").parse().expect("a number");
        kibibytes * 1024
    }

    /// Whoever comes beside `attack` is served as ever, and the memory it took is given back.
    pub(crate) async fn withstands(&self, attack: impl AsyncFn(SocketAddr)) {
        // What the first attack leaves in pools and tables is no leak: the second one must add nothing.
        attack(self.address).await;
        let baseline = self.settled().await;
        let bystander = Bystander::start(self.address);
        let until = Instant::now() + LONG_ENOUGH;
        while Instant::now() < until {
            attack(self.address).await;
        }
        let highest = self.memory();
        bystander.was_served();
        self.returns_to(baseline, highest).await;
    }

    /// Its memory, once no more of it is given back.
    async fn settled(&self) -> u64 {
        let until = Instant::now() + RETURN;
        let (mut least, mut since) = (self.memory(), Instant::now());
        while since.elapsed() < STEADY && Instant::now() < until {
            sleep(LOOK).await;
            let now = self.memory();
            if now < least {
                (least, since) = (now, Instant::now());
            }
        }
        self.memory()
    }

    async fn returns_to(&self, baseline: u64, highest: u64) {
        let (most, until) = (baseline / 5 * 6 + SLACK, Instant::now() + RETURN);
        let mut now = self.memory();
        while now > most {
            assert!(
                Instant::now() < until,
                "it holds {now} bytes of memory, after {baseline} before"
            );
            sleep(LOOK).await;
            now = self.memory();
        }
        println!("memory: {baseline} before, {highest} at the end of the attack, {now} after");
    }
}

/// As many files as may be; the program inherits the limit.
fn many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, limit).expect("the limit that is allowed");
}

// === impl OriginThread ===

impl OriginThread {
    fn start() -> Self {
        let (told, url) = mpsc::channel();
        let (until, ended) = tokio::sync::oneshot::channel();
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let origin = origin().run().await;
                told.send(origin.url()).unwrap();
                let _ = ended.await;
            });
        });
        Self {
            url: url.recv().unwrap(),
            _until: until,
        }
    }
}

fn origin() -> Origin {
    let (fresh, never) = ("max-age=600", "no-store");
    let large = Bytes::from(vec![b'x'; LARGE]);
    let same = large.clone();
    let with = |body: Bytes, cache: &str| reply(body).with("cache-control", cache);
    Origin::new()
        .get("/cached", move |_| {
            with(Bytes::from_static(b"hello"), fresh)
        })
        .get("/", move |_| with(Bytes::from_static(b"hello"), never))
        .get("/large/cached", move |_| with(large.clone(), fresh))
        .get("/large", move |_| with(same.clone(), never))
}
