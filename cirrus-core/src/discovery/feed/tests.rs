use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::stream;
use tokio::sync::mpsc;

use super::*;
use crate::Updates;
use crate::clock::SystemClock;
use crate::discovery::Endpoint;

/// A discovery that counts its watches and says what the test wants.
#[derive(Default)]
struct Counted {
    begun: AtomicUsize,
    open: Arc<AtomicUsize>,
    senders: Mutex<Vec<mpsc::UnboundedSender<Result<Endpoints, BoxError>>>>,
}

struct Open(
    Arc<AtomicUsize>,
    mpsc::UnboundedReceiver<Result<Endpoints, BoxError>>,
);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Counted {
    fn say(&self, item: Result<Endpoints, BoxError>) {
        self.senders.lock().last().unwrap().send(item).unwrap();
    }

    fn counts(&self) -> (usize, usize) {
        (
            self.begun.load(Ordering::Relaxed),
            self.open.load(Ordering::Relaxed),
        )
    }
}

impl Discovery for Counted {
    fn watch(&self, _: &ServiceName) -> Updates<Endpoints> {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::unbounded_channel();
        self.senders.lock().push(sender);
        let open = Open(Arc::clone(&self.open), receiver);
        Box::pin(stream::unfold(open, |mut open| async {
            let item = open.1.recv().await?;
            Some((item, open))
        }))
    }
}

fn one(number: u16) -> Endpoints {
    let url = format!("http://10.0.0.{number}:80");
    [Endpoint::new(url.parse().unwrap())].into_iter().collect()
}

fn name(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

fn feeds(source: &Arc<Counted>, state: Option<StateDirectory>) -> (Arc<Feeds>, Drain) {
    let drain = Drain::default();
    let source = Arc::clone(source) as Arc<dyn Discovery>;
    (
        Feeds::new(source, state, FLOOR, Tasks::default(), drain.clone()),
        drain,
    )
}

const FLOOR: Floor = Floor {
    min_endpoints: 0,
    max_shrink: 50,
    hold: Duration::from_secs(30),
};

fn many(count: u16) -> Endpoints {
    (1..=count)
        .flat_map(|n| one(n).iter().cloned().collect::<Vec<_>>())
        .collect()
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_service_has_one_watch_which_ends_with_the_last_who_follows() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let (one, other) = (feeds.follow(&name("a")), feeds.follow(&name("a")));
    assert!(Arc::ptr_eq(&one, &other));
    settle().await;
    assert_eq!(source.counts(), (1, 1));
    drop(one);
    settle().await;
    assert_eq!(source.counts(), (1, 1), "somebody still follows");
    drop(other);
    settle().await;
    assert_eq!(source.counts(), (1, 0));
    assert_eq!(feeds.followed(), []);
    let _again = feeds.follow(&name("a"));
    settle().await;
    assert_eq!(source.counts(), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn errors_are_told_and_change_nothing() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let feed = feeds.follow(&name("a"));
    settle().await;
    source.say(Ok(one(1)));
    settle().await;
    source.say(Err("broken".into()));
    source.say(Err("broken".into()));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let report = feed.report();
    assert_eq!(report.error.as_deref(), Some("broken"));
    assert_eq!(report.errors, 2);
    assert!(report.age().unwrap() >= Duration::from_secs(5));
    assert_eq!(*feed.subscribe().borrow(), Some(one(1)));
    source.say(Ok(one(2)));
    settle().await;
    assert_eq!(feed.report().error, None);
    assert_eq!(*feed.subscribe().borrow(), Some(one(2)));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_is_started_again() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let _feed = feeds.follow(&name("a"));
    settle().await;
    source.senders.lock().clear();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(source.counts(), (2, 1));
}

#[tokio::test]
async fn what_was_known_is_there_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = || Some(StateDirectory::open(directory.path(), Arc::new(SystemClock)).unwrap());
    let source = Arc::new(Counted::default());
    let (before, drain) = feeds(&source, state());
    let feed = before.follow(&name("a"));
    assert_eq!(*feed.subscribe().borrow(), None);
    settle().await;
    source.say(Ok(one(1)));
    source.say(Ok(one(2)));
    let mut endpoints = feed.subscribe();
    let _ = endpoints.wait_for(|known| *known == Some(one(2))).await;
    // What came last is written, however shortly before the end.
    drain.begin();
    assert!(before.tasks.ended(Duration::from_secs(10)).await);

    let (after, _drain) = feeds(&source, state());
    let feed = after.follow(&name("a"));
    assert_eq!(*feed.subscribe().borrow(), Some(one(2)));
    assert!(feed.report().is_restored);
    settle().await;
    source.say(Ok(one(2)));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!feed.report().is_restored);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_knows_is_told_from_what_fails_and_since_when() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let feed = feeds.follow_asked_for(&name("a")).await;
    let mut reports = feed.reports();
    settle().await;
    let unknown = || Err(UnknownService::new(name("a")).into());
    source.say(unknown());
    reports.changed().await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    source.say(unknown());
    reports.changed().await.unwrap();
    let time = reports.borrow().unknown_for().unwrap();
    assert!(time >= Duration::from_secs(3), "since it was first said");
    source.say(Err("broken".into()));
    reports.changed().await.unwrap();
    assert_eq!(reports.borrow().unknown_for(), None);
    source.say(Ok(one(1)));
    reports.changed().await.unwrap();
    assert_eq!(*feed.subscribe().borrow(), Some(one(1)));
    assert_eq!(reports.borrow().error, None);
}

#[tokio::test]
async fn what_is_forgotten_is_not_there_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(directory.path(), Arc::new(SystemClock)).unwrap();
    state.save(&name("a"), &one(1));
    let (feeds, _drain) = feeds(&Arc::new(Counted::default()), Some(state));
    let feed = feeds.follow_asked_for(&name("a")).await;
    assert_eq!(*feed.subscribe().borrow(), Some(one(1)));
    feeds.forget(&name("a")).await;
    let kept = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(kept, 1, "somebody follows it");
    drop(feed);
    feeds.forget(&name("a")).await;
    let feed = feeds.follow_asked_for(&name("a")).await;
    assert_eq!(*feed.subscribe().borrow(), None);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_shrinks_suddenly_waits_until_a_second_reading_says_the_same() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let feed = feeds.follow(&name("a"));
    let known = || feed.subscribe().borrow().clone();
    settle().await;
    source.say(Ok(many(9)));
    settle().await;
    source.say(Ok(many(1)));
    tokio::time::sleep(FLOOR.hold / 2).await;
    assert_eq!(known(), Some(many(9)));
    let report = feed.report();
    assert_eq!(report.held.map(|held| held.endpoints), Some(1));
    assert!(report.age().unwrap() >= FLOOR.hold / 2, "the old set ages");
    assert_eq!(source.counts(), (1, 1));

    // Nothing better has come: the whole is read again.
    tokio::time::sleep(FLOOR.hold).await;
    assert_eq!(source.counts(), (2, 1));
    assert_eq!(known(), Some(many(9)));
    source.say(Ok(many(1)));
    settle().await;
    assert_eq!(known(), Some(many(1)));
    let report = feed.report();
    assert!(report.held.is_none());
    assert_eq!(report.holds, 1);
}

#[tokio::test(start_paused = true)]
async fn a_set_that_was_wrong_for_a_moment_is_never_in_force() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let feed = feeds.follow(&name("a"));
    settle().await;
    source.say(Ok(many(9)));
    settle().await;
    let mut seen = feed.subscribe();
    for wrong in [many(0), many(2), many(9)] {
        source.say(Ok(wrong));
        tokio::time::sleep(FLOOR.hold / 4).await;
    }
    assert!(!seen.has_changed().unwrap());
    assert!(feed.report().held.is_none());
    tokio::time::sleep(FLOOR.hold * 2).await;
    assert_eq!(source.counts(), (1, 1), "nothing has to be asked again");
    source.say(Ok(many(5)));
    settle().await;
    assert_eq!(*seen.borrow_and_update(), Some(many(5)));
}

#[tokio::test(start_paused = true)]
async fn the_second_reading_after_an_error_is_none() {
    let source = Arc::new(Counted::default());
    let (feeds, _drain) = feeds(&source, None);
    let feed = feeds.follow(&name("a"));
    settle().await;
    source.say(Ok(many(9)));
    settle().await;
    source.say(Ok(many(1)));
    settle().await;
    source.say(Err("gone".into()));
    tokio::time::sleep(FLOOR.hold * 10).await;
    assert_eq!(source.counts(), (1, 1));
    source.say(Ok(many(1)));
    settle().await;
    assert_eq!(*feed.subscribe().borrow(), Some(many(9)));
}
