use std::collections::HashMap;
use std::sync::Barrier;
use std::sync::atomic::AtomicUsize;

use proptest::prelude::*;

use super::*;

fn rate(text: &str) -> Rate {
    text.parse().unwrap()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A token bucket in exact fractions: the same thing as GCRA, said another way.
struct Model {
    /// In `1/period` of a token, so that one nanosecond brings `count`.
    tokens: u128,
    last: Duration,
}

impl Model {
    fn take(&mut self, rate: Rate, burst: u32, now: Duration) -> bool {
        let period = rate.period().as_nanos();
        let came = (now - self.last).as_nanos() * u128::from(rate.count());
        self.tokens = (self.tokens + came).min(u128::from(burst) * period);
        self.last = now;
        let enough = self.tokens >= period;
        if enough {
            self.tokens -= period;
        }
        enough
    }

    /// So near to one token that a step more or less decides.
    fn is_close(&self, rate: Rate, now: Duration) -> bool {
        let period = rate.period().as_nanos();
        let came = (now - self.last).as_nanos() * u128::from(rate.count());
        (self.tokens + came).abs_diff(period) * u128::from(super::super::pace::STEPS) <= 2 * period
    }
}

proptest! {
    /// Arrivals at any times are decided as the model decides them. Where a step decides, the model follows the table.
    #[test]
    fn decides_as_a_token_bucket_does(
        count in 1_u32..2000,
        unit in prop::sample::select(vec!["s", "m"]),
        burst in 1_u32..40,
        arrivals in prop::collection::vec((0_u64..3, 0_u64..3_000_000_000), 1..200),
    ) {
        let rate = rate(&format!("{count}/{unit}"));
        let buckets = Buckets::new(rate, burst, 64);
        let mut models: HashMap<u64, Model> = HashMap::new();
        let mut now = Duration::ZERO;
        for (key, pause) in arrivals {
            now += Duration::from_nanos(pause) / count;
            let period = rate.period().as_nanos();
            let model = models.entry(key).or_insert(Model {
                tokens: u128::from(burst) * period,
                last: now,
            });
            let close = model.is_close(rate, now);
            let before = (model.tokens, model.last);
            let expected = model.take(rate, burst, now);
            let decided = buckets.take(&key, buckets.began + now).is_ok();
            if decided != expected {
                prop_assert!(close, "{rate} burst {burst} at {now:?}");
                (model.tokens, model.last) = before;
                model.take(rate, burst, now);
                model.tokens = if decided { 0 } else { period };
            }
        }
    }
}

#[test]
fn allows_a_burst_then_the_rate_and_says_how_long_to_wait() {
    let buckets = Buckets::new(rate("10/s"), 3, 64);
    let at = |time| buckets.take(&"a", buckets.began + millis(time));
    assert_eq!([at(0), at(0), at(0)], [Ok(()); 3]);
    assert_eq!(at(0), Err(TooMany { wait: millis(100) }));
    assert_eq!(at(50).unwrap_err().wait, millis(50));
    assert_eq!((at(100), at(199).is_err(), at(200)), (Ok(()), true, Ok(())));
    assert_eq!(buckets.take(&"b", buckets.began + millis(200)), Ok(()));
    let later = [at(10_000), at(10_000), at(10_000)];
    assert_eq!((later, at(10_000).is_err()), ([Ok(()); 3], true));
}

#[test]
fn checking_charges_nothing() {
    let buckets = Buckets::new(rate("1/s"), 1, 64);
    let now = buckets.began;
    assert_eq!(
        [buckets.check(&1, now), buckets.check(&1, now)],
        [Ok(()); 2]
    );
    assert_eq!(buckets.take(&1, now), Ok(()));
    assert_eq!(buckets.check(&1, now).unwrap_err().wait, millis(1000));
}

#[test]
fn a_refused_request_is_not_charged() {
    let buckets = Buckets::new(rate("10/s"), 1, 64);
    let mut allowed = 0;
    for time in 0..1000 {
        allowed += usize::from(buckets.take(&1, buckets.began + millis(time)).is_ok());
    }
    assert_eq!(allowed, 10);
}

#[test]
fn is_right_for_years_and_when_moments_come_round() {
    let buckets = Buckets::new(rate("1000000/s"), 2, 64);
    // Moments come round after 2^34 microseconds, a little less than five hours.
    for hours in (0..200).chain([24 * 365 * 50]) {
        let now = buckets.began + Duration::from_secs(3600 * hours);
        let took = [buckets.take(&1, now), buckets.take(&1, now)];
        assert_eq!(took, [Ok(()); 2], "after {hours} hours");
        assert!(buckets.take(&1, now).is_err(), "after {hours} hours");
    }
}

#[test]
fn a_flood_of_keys_neither_grows_the_table_nor_frees_a_heavy_hitter() {
    let buckets = Buckets::new(rate("10/s"), 10, 4096);
    let words = buckets.sets.len() * WAYS;
    assert_eq!(words, 4096);
    let mut allowed = 0;
    for key in 0..1_000_000_u64 {
        // A million strangers in a hundred seconds, and somebody who asks a hundred times a second.
        let now = buckets.began + Duration::from_micros(key * 100);
        assert_eq!(
            buckets.take(&key, now),
            Ok(()),
            "nobody gets less than its share"
        );
        if key % 100 == 0 {
            allowed += usize::from(buckets.take(&"heavy", now).is_ok());
        }
    }
    assert_eq!(buckets.sets.len() * WAYS, words);
    // The burst, and 10 a second for 100 seconds; one who owes much gives way last.
    assert!((1000..=1020).contains(&allowed), "{allowed}");
}

#[test]
fn threads_together_get_no_more_than_one_alone() {
    const THREADS: usize = 4;
    for round in 0..50 {
        let buckets = Buckets::new(rate("1/h"), 1000, 4096);
        let (allowed, start) = (AtomicUsize::new(0), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for turn in 0..1000 {
                        // Others come and go beside it in the same set or elsewhere.
                        let _ = buckets.take(&(turn % 100, "other"), buckets.began);
                        let took = buckets.take(&"shared", buckets.began).is_ok();
                        allowed.fetch_add(usize::from(took), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(allowed.into_inner(), 1000, "round {round}");
    }
}
