use proptest::prelude::*;

use super::*;
use crate::cache::{Scheme, Selection};

const THEN: Timestamp = Timestamp::from_secs(1_000);

fn key(host: &str, target: &'static str) -> CacheKey {
    CacheKey::new(
        Scheme::Https,
        host,
        &http::uri::PathAndQuery::from_static(target),
    )
}

fn prefix(host: &str, path: &str) -> Selection {
    Selection::Prefix {
        host: host.into(),
        path: path.into(),
    }
}

fn tags(tags: &[&str]) -> Tags {
    tags.iter().collect()
}

#[test]
fn each_selection_concerns_what_it_names() {
    let all = [
        Selection::All,
        Selection::Host("a".into()),
        Selection::Tag("t".into()),
        prefix("a", "/x"),
        prefix("a", ""),
        Selection::Url(key("a", "/x/1")),
    ];
    for what in all {
        let epochs = Epochs::new();
        let before = epochs.begin();
        epochs.record(&Purge::hard(what.clone()), THEN);
        let after = epochs.begin();
        assert_eq!(
            epochs.check(&before, &key("a", "/x/1"), &tags(&["s", "t"])),
            Verdict::Dead,
            "{what:?}"
        );
        assert_eq!(
            epochs.check(&after, &key("a", "/x/1"), &tags(&["t"])),
            Verdict::Live,
            "{what:?}"
        );
    }
}

#[test]
fn each_selection_spares_the_rest() {
    let others = [
        Selection::Host("b".into()),
        Selection::Tag("other".into()),
        prefix("a", "/y"),
        prefix("a", "/x/1/more"),
        prefix("b", "/x"),
        Selection::Url(key("a", "/x")),
    ];
    let epochs = Epochs::new();
    let era = epochs.begin();
    for what in others {
        epochs.record(&Purge::hard(what), THEN);
    }
    assert_eq!(
        epochs.check(&era, &key("a", "/x/1"), &tags(&["t"])),
        Verdict::Live
    );
}

#[test]
fn soft_purge_is_answered_by_a_revalidation_that_was_asked_for_later() {
    let epochs = Epochs::new();
    let (era, key) = (epochs.begin(), key("a", "/"));
    let before = epochs.moment();
    epochs.record(&Purge::soft(Selection::All), THEN);
    assert_eq!(epochs.check(&era, &key, &tags(&[])), Verdict::Soft(THEN));

    let early = epochs.renew(&era, &key, &tags(&[]), before).unwrap();
    assert_eq!(epochs.check(&early, &key, &tags(&[])), Verdict::Soft(THEN));
    let late = epochs
        .renew(&era, &key, &tags(&[]), epochs.moment())
        .unwrap();
    assert_eq!(epochs.check(&late, &key, &tags(&[])), Verdict::Live);

    epochs.record(&Purge::soft(Selection::All), Timestamp::from_secs(2_000));
    assert_eq!(
        epochs.check(&late, &key, &tags(&[])),
        Verdict::Soft(Timestamp::from_secs(2_000))
    );
}

#[test]
fn no_revalidation_brings_back_the_dead() {
    let epochs = Epochs::new();
    let (era, key) = (epochs.begin(), key("a", "/"));
    let renewed = epochs
        .renew(&era, &key, &tags(&[]), epochs.moment())
        .unwrap();
    epochs.record(&Purge::hard(Selection::All), THEN);
    assert_eq!(epochs.check(&renewed, &key, &tags(&[])), Verdict::Dead);
    assert!(
        epochs
            .renew(&era, &key, &tags(&[]), epochs.moment())
            .is_none()
    );
}

#[test]
fn checked_objects_need_no_lock() {
    let epochs = Epochs::new();
    let (era, key) = (epochs.begin(), key("a", "/"));
    epochs.record(&Purge::hard(Selection::Host("b".into())), THEN);
    assert_eq!(epochs.check(&era, &key, &tags(&[])), Verdict::Live);
    let _exclusive = epochs.marks.write();
    assert_eq!(epochs.check(&era, &key, &tags(&[])), Verdict::Live);
}

#[test]
fn purges_older_than_every_object_are_forgotten() {
    let epochs = Epochs::new();
    for n in 0..10 {
        epochs.record(&Purge::hard(Selection::Tag(n.to_string().into())), THEN);
        epochs.record(&Purge::hard(prefix("a", &format!("/{n}"))), THEN);
    }
    let era = epochs.begin();
    epochs.record(&Purge::hard(Selection::Host("b".into())), THEN);
    assert_eq!(epochs.remembered(), 21);
    epochs.forget_before(era.born());
    assert_eq!(epochs.remembered(), 1);
    assert_eq!(
        epochs.check(&era, &key("b", "/"), &tags(&[])),
        Verdict::Dead
    );
}

#[test]
fn repeated_purge_is_remembered_once() {
    let epochs = Epochs::new();
    for _ in 0..10 {
        epochs.record(&Purge::hard(Selection::Tag("t".into())), THEN);
        epochs.record(&Purge::soft(Selection::Host("a".into())), THEN);
    }
    assert_eq!(epochs.remembered(), 2);
}

#[test]
fn many_prefixes_of_one_host_become_the_host() {
    let epochs = Epochs::holding(100);
    let (of_host, of_another) = (epochs.begin(), epochs.begin());
    for n in 0..1000 {
        epochs.record(&Purge::hard(prefix("a", &format!("/{n}"))), THEN);
        assert!(epochs.remembered() <= 100);
    }
    assert_eq!(
        epochs.check(&of_host, &key("a", "/else"), &tags(&[])),
        Verdict::Dead
    );
    assert_eq!(
        epochs.check(&of_another, &key("b", "/else"), &tags(&[])),
        Verdict::Live
    );
    assert_eq!(
        epochs.check(&epochs.begin(), &key("a", "/1"), &tags(&[])),
        Verdict::Live
    );
}

#[test]
fn lengths_are_bounded() {
    let epochs = Epochs::new();
    let era = epochs.begin();
    for len in 1..=200 {
        epochs.record(
            &Purge::hard(prefix("a", &format!("/{}", "x".repeat(len)))),
            THEN,
        );
    }
    assert!(epochs.marks.read().lengths("a") <= MOST_LENGTHS);
    assert_eq!(
        epochs.check(&era, &key("a", "/xy"), &tags(&[])),
        Verdict::Dead
    );
    assert_eq!(
        epochs.check(&era, &key("a", "/y"), &tags(&[])),
        Verdict::Live
    );
}

fn selection() -> impl Strategy<Value = Selection> {
    let host = || prop::sample::select(vec!["a", "b", "c"]);
    let path = prop::sample::select(vec!["", "/", "/x", "/x/1", "/y", "/y/22"]);
    let url = prop::sample::select(vec!["/x", "/x/1", "/y/22"]);
    prop_oneof![
        1 => Just(Selection::All),
        3 => host().prop_map(|host| Selection::Host(host.into())),
        9 => (host(), path).prop_map(|(host, path)| prefix(host, path)),
        9 => (host(), url).prop_map(|(host, url)| Selection::Url(key(host, url))),
        9 => (0..6_u8).prop_map(|n: u8| Selection::Tag(n.to_string().into())),
    ]
}

fn concerns(what: &Selection, key: &CacheKey, tags: &Tags) -> bool {
    match what {
        Selection::All => true,
        Selection::Url(url) => url == key,
        Selection::Host(host) => key.host() == host.as_ref(),
        Selection::Prefix { host, path } => {
            key.host() == host.as_ref() && key.target().starts_with(path.as_ref())
        }
        Selection::Tag(tag) => tags.contains(tag),
    }
}

proptest! {
    /// With room for all purges exactly what they name is dead; with little room, that at least, and nothing younger.
    #[test]
    fn verdicts_agree_with_a_plain_log(steps in prop::collection::vec((selection(), any::<bool>()), 0..60)) {
        for (most, exact) in [(MOST_MARKS, true), (5, false)] {
            let epochs = Epochs::holding(most);
            let mut objects = Vec::new();
            for (n, (what, hard)) in steps.iter().enumerate() {
                let url = key(["a", "b", "c"][n % 3], ["/x", "/x/1", "/y/22"][n / 3 % 3]);
                let labels = tags(&[&(n % 7).to_string()]);
                objects.push((n, epochs.begin(), url, labels));
                let purge = if *hard { Purge::hard(what.clone()) } else { Purge::soft(what.clone()) };
                epochs.record(&purge, THEN);
                prop_assert!(epochs.remembered() <= most);
            }
            for (n, era, url, labels) in &objects {
                let named = |hard: bool| {
                    steps[*n..].iter().any(|(what, mode)| *mode == hard && concerns(what, url, labels))
                };
                let verdict = epochs.check(era, url, labels);
                let expected = if named(true) { Verdict::Dead } else if named(false) { Verdict::Soft(THEN) } else { Verdict::Live };
                let more = matches!((expected, verdict), (Verdict::Live, _) | (Verdict::Soft(_), Verdict::Dead));
                prop_assert!(verdict == expected || (!exact && more), "{verdict:?}, not {expected:?}");
            }
            prop_assert_eq!(epochs.check(&epochs.begin(), &key("a", "/x"), &tags(&["1"])), Verdict::Live);
        }
    }
}

/// More is removed than was asked for once there is no room to remember all of it, never less.
#[test]
fn a_million_labels_are_remembered_in_bounded_memory() {
    let epochs = Epochs::new();
    let early = epochs.begin();
    for number in 0..1_000_000 {
        let what = Selection::Tag(format!("label-{number}").into());
        epochs.record(&Purge::hard(what), THEN);
    }
    assert!(epochs.remembered() <= MOST_MARKS, "{}", epochs.remembered());
    let (key, first) = (key("a.example", "/"), tags(&["label-0"]));
    assert_eq!(epochs.check(&early, &key, &first), Verdict::Dead);
    assert_eq!(epochs.check(&epochs.begin(), &key, &first), Verdict::Live);
}

#[test]
fn what_is_recorded_removes_as_much_when_it_is_replayed() {
    let selections = [
        Selection::All,
        Selection::Host("a".into()),
        Selection::Tag("t".into()),
        prefix("a", "/x"),
        Selection::Url(key("a", "/x/1")),
    ];
    for what in selections {
        for purge in [Purge::hard(what.clone()), Purge::soft(what.clone())] {
            let before = Epochs::new();
            let old = before.begin();
            let moment = before.record(&purge, THEN);
            let new = before.begin();
            let after = Epochs::new();
            for past in before.recorded() {
                assert_eq!((past.moment, &past.purge), (moment, &purge));
                after.replay(&past);
            }
            for era in [old, new] {
                let era = Era::restored(era.born(), era.renewed());
                let concerned = [key("a", "/x/1"), key("b", "/")];
                for key in concerned {
                    let tags = tags(&["t"]);
                    let verdicts = [&before, &after].map(|one| one.check(&era, &key, &tags));
                    assert_eq!(verdicts[0], verdicts[1], "{key} after {purge:?}");
                }
            }
            assert!(after.begin().born() > moment.0, "numbers go on");
        }
    }
}

/// What was forgotten still removes what is older.
#[test]
fn a_forgotten_purge_is_replayed_as_one_of_everything() {
    let before = Epochs::new();
    let old = before.begin();
    before.record(&Purge::hard(Selection::Tag("t".into())), THEN);
    before.forget_before(before.horizon());
    let after = Epochs::new();
    before.recorded().iter().for_each(|past| after.replay(past));
    assert_eq!(after.check(&old, &key("a", "/"), &tags(&[])), Verdict::Dead);
    assert_eq!(
        after.check(&after.begin(), &key("a", "/"), &tags(&[])),
        Verdict::Live
    );
}
