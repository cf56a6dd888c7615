use std::collections::VecDeque;

use super::*;

/// What a lookup brings, and after how long.
type Line = (Duration, Result<Answer, NoAnswer>);

/// Answers by a script; then the last line again and again.
#[derive(Clone, Default)]
struct Script {
    lines: Arc<Mutex<HashMap<String, VecDeque<Line>>>>,
}

impl Script {
    fn says(self, name: &str, lines: impl IntoIterator<Item = Line>) -> Self {
        let lines = lines.into_iter().collect();
        self.lines.lock().insert(name.to_owned(), lines);
        self
    }
}

impl Lookup for Script {
    fn lookup(&self, name: &Arc<str>) -> BoxFuture<'static, Result<Answer, NoAnswer>> {
        let mut lines = self.lines.lock();
        let lines = lines.get_mut(&**name).expect("a name of the script");
        let (wait, answer) = lines.pop_front().expect("a line");
        if lines.is_empty() {
            lines.push_back((wait, answer.clone()));
        }
        Box::pin(async move {
            tokio::time::sleep(wait).await;
            answer
        })
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// At once.
fn found(text: &str, ttl: u64) -> Line {
    let answer = Answer {
        addresses: ips(&[text]),
        ttl: secs(ttl),
    };
    (Duration::ZERO, Ok(answer))
}

fn fails() -> Line {
    (Duration::ZERO, Err(failed("SERVFAIL")))
}

fn hangs() -> Line {
    (secs(1_000_000), Err(failed("never heard")))
}

fn missing(ttl: Option<u64>) -> Line {
    let ttl = ttl.map(secs);
    (Duration::ZERO, Err(NoAnswer::Missing { ttl }))
}

/// One that knows `a`.
fn one(lines: impl IntoIterator<Item = Line>) -> Resolver {
    Resolver::new(Script::default().says("a", lines))
}

async fn addresses(resolver: &Resolver) -> Result<Vec<IpAddr>, String> {
    let found = resolver.resolve("a").await;
    found
        .map(|found| found.to_vec())
        .map_err(|error| error.to_string())
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn counts(resolver: &Resolver) -> (u64, u64, u64) {
    let counts = resolver.counts();
    (
        counts.lookups.get(),
        counts.failures.get(),
        counts.stale.get(),
    )
}

#[tokio::test(start_paused = true)]
async fn an_answer_holds_for_its_ttl_and_is_refreshed_while_in_use() {
    let resolver = one([found("10.0.0.1", 100), found("10.0.0.2", 100)]);
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.1"])));
    pass(secs(89)).await;
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.1"])));
    assert_eq!(counts(&resolver).0, 1, "fresh enough");
    pass(secs(2)).await;
    assert_eq!(
        addresses(&resolver).await,
        Ok(ips(&["10.0.0.1"])),
        "nobody waits"
    );
    pass(secs(1)).await;
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.2"])));
    assert_eq!(counts(&resolver), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn ttls_are_kept_within_bounds() {
    let resolver = one([
        found("10.0.0.1", 0),
        found("10.0.0.2", 1_000_000),
        found("10.0.0.3", 1),
    ]);
    addresses(&resolver).await.unwrap();
    pass(Duration::from_millis(500)).await;
    addresses(&resolver).await.unwrap();
    assert_eq!(counts(&resolver).0, 1, "a second at least");
    pass(secs(2)).await;
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.2"])));
    pass(secs(3601)).await;
    assert_eq!(
        addresses(&resolver).await,
        Ok(ips(&["10.0.0.3"])),
        "an hour at most"
    );
}

#[tokio::test(start_paused = true)]
async fn many_ask_and_one_lookup_is_made() {
    let slow = (secs(1), found("10.0.0.1", 60).1);
    let resolver = one([slow]);
    let all = futures_util::future::join_all((0..20).map(|_| addresses(&resolver))).await;
    assert!(all.iter().all(|one| *one == Ok(ips(&["10.0.0.1"]))));
    assert_eq!(counts(&resolver).0, 1);
}

#[tokio::test(start_paused = true)]
async fn stale_answers_stay_in_use_for_a_day_when_the_resolver_fails() {
    let resolver = one([found("10.0.0.1", 60), fails()]);
    addresses(&resolver).await.unwrap();
    for _ in 0..23 {
        pass(secs(3600)).await;
        assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.1"])));
    }
    assert_eq!(counts(&resolver).2, 23);
    pass(secs(2 * 3600)).await;
    assert_eq!(
        addresses(&resolver).await,
        Err("cannot resolve `a`: SERVFAIL".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn failed_lookups_are_made_again_with_back_off_until_one_succeeds() {
    let fails = std::iter::repeat_n(fails(), 10);
    let lines = [found("10.0.0.1", 60)].into_iter().chain(fails);
    let resolver = one(lines.chain([found("10.0.0.2", 60)]));
    addresses(&resolver).await.unwrap();
    pass(secs(60)).await;
    let mut after = Vec::new();
    for second in 0..300 {
        let before = counts(&resolver).0;
        addresses(&resolver).await.unwrap();
        if counts(&resolver).0 > before {
            after.push(second);
        }
        pass(secs(1)).await;
    }
    assert_eq!(
        after[..8],
        [0, 1, 3, 7, 15, 31, 61, 91],
        "1, 2, 4, 8, 16, 30, 30 s"
    );
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.2"])));
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_costs_a_moment_if_a_stale_answer_is_there() {
    let resolver = one([found("10.0.0.1", 60), hangs()]);
    addresses(&resolver).await.unwrap();
    pass(secs(600)).await;
    let began = Instant::now();
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.1"])));
    assert_eq!(began.elapsed(), PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_hangs_holds_up_no_other() {
    let script = Script::default()
        .says("a", [hangs()])
        .says("b", [found("10.0.0.1", 60)]);
    let resolver = Resolver::new(script);
    let (began, hanging) = (Instant::now(), resolver.resolve("a"));
    let other = async {
        tokio::task::yield_now().await;
        resolver.resolve("b").await.unwrap();
        began.elapsed()
    };
    let (hanging, other) = tokio::join!(hanging, other);
    assert_eq!(other, Duration::ZERO);
    assert_eq!(
        hanging.unwrap_err().to_string(),
        "cannot resolve `a`: no answer in time"
    );
    assert_eq!(began.elapsed(), LOOKUP);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_gone_is_gone_and_asked_for_again_later() {
    let resolver = one([
        found("10.0.0.1", 10),
        missing(Some(5)),
        missing(None),
        missing(Some(1_000_000)),
        found("10.0.0.2", 10),
    ]);
    addresses(&resolver).await.unwrap();
    pass(secs(10)).await;
    let gone = Err("cannot resolve `a`: there is no such name".to_owned());
    let mut asked = Vec::new();
    for second in 0..60 {
        let before = counts(&resolver).0;
        let answer = addresses(&resolver).await;
        if counts(&resolver).0 > before {
            asked.push(second);
        }
        assert_eq!(answer.is_ok(), second >= 36, "{second}");
        assert!(answer.is_ok() || answer == gone);
        pass(secs(1)).await;
    }
    assert_eq!(asked[..4], [0, 5, 6, 36], "after 5, 1 and 30 s");
    assert_eq!(
        counts(&resolver).1,
        0,
        "that a name is missing is an answer"
    );
}

#[tokio::test(start_paused = true)]
async fn the_family_that_worked_goes_first_until_the_next_answer() {
    let both = Answer {
        addresses: ips(&["10.0.0.1", "::1"]),
        ttl: secs(60),
    };
    let resolver = one([(Duration::ZERO, Ok(both))]);
    assert_eq!(addresses(&resolver).await, Ok(ips(&["::1", "10.0.0.1"])));
    resolver.worked("a", "10.0.0.1".parse().unwrap());
    assert_eq!(addresses(&resolver).await, Ok(ips(&["10.0.0.1", "::1"])));
    pass(secs(60)).await;
    assert_eq!(addresses(&resolver).await, Ok(ips(&["::1", "10.0.0.1"])));
}

#[tokio::test(start_paused = true)]
async fn the_names_are_bounded_and_the_oldest_goes() {
    /// Knows every name.
    struct All;
    impl Lookup for All {
        fn lookup(&self, _: &Arc<str>) -> BoxFuture<'static, Result<Answer, NoAnswer>> {
            Box::pin(async { found("10.0.0.1", 60).1 })
        }
    }
    let resolver = Resolver::new(All);
    resolver.resolve("old").await.unwrap();
    pass(secs(1)).await;
    for number in 0..MAX_NAMES + 10 {
        resolver.resolve(&format!("name-{number}")).await.unwrap();
    }
    let names = resolver.names.lock();
    assert!(names.len() <= MAX_NAMES, "{}", names.len());
    assert!(!names.contains_key("old"));
    assert!(names.contains_key(&*format!("name-{}", MAX_NAMES + 9)));
}

/// A lookup that is dropped with its runtime must not leave its name waiting for ever.
#[test]
fn a_lookup_that_was_given_up_has_failed() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let gone = runtime();
    let resolver = gone.block_on(async { one([found("10.0.0.1", 60)]) });
    drop(gone);
    let answer = runtime().block_on(addresses(&resolver));
    assert_eq!(
        answer,
        Err("cannot resolve `a`: the lookup was given up".to_owned())
    );
}
