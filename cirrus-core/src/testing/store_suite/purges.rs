//! What purges remove, and what they spare.

use super::*;
use crate::cache::{Purge, Selection};

const HOSTS: [&str; 2] = ["a.example", "b.example"];
const TARGETS: [&str; 4] = ["/", "/shop/1", "/shop/2?x", "/shopping"];

/// All variants of it, and nothing else.
pub async fn purges_by_url(store: impl CacheStore) {
    let url = key("a.example", "/shop/1");
    expect(&store, Selection::Url(url.clone()), |key| *key == url).await;
}

/// A prefix is one of characters, of both schemes.
pub async fn purges_by_prefix(store: impl CacheStore) {
    let what = Selection::Prefix {
        host: "a.example".into(),
        path: "/shop/".into(),
    };
    expect(&store, what, |key| {
        key.host() == "a.example" && key.target().starts_with("/shop/")
    })
    .await;
    let what = Selection::Prefix {
        host: "b.example".into(),
        path: "/sh".into(),
    };
    expect(&store, what, |key| {
        key.host() == "b.example" && key.target() != "/"
    })
    .await;
}

/// Whichever of its tags it is.
pub async fn purges_by_tag(store: impl CacheStore) {
    expect(&store, Selection::Tag("/shop/1".into()), |key| {
        key.target() == "/shop/1"
    })
    .await;
    expect(&store, Selection::Tag("b.example".into()), |key| {
        key.host() == "b.example"
    })
    .await;
}

/// Of both schemes.
pub async fn purges_by_host(store: impl CacheStore) {
    expect(&store, Selection::Host("a.example".into()), |key| {
        key.host() == "a.example"
    })
    .await;
}

/// Everything.
pub async fn purges_all(store: impl CacheStore) {
    expect(&store, Selection::All, |_| true).await;
}

/// Of both schemes, and a slice of each. A slice is of its URL's host and prefix; it is not that URL.
fn keys() -> impl Iterator<Item = CacheKey> {
    let targets = |host| TARGETS.map(move |target| (host, target));
    HOSTS
        .into_iter()
        .flat_map(targets)
        .flat_map(|(host, target)| {
            [Scheme::Http, Scheme::Https]
                .map(|scheme| CacheKey::new(scheme, host, &PathAndQuery::from_static(target)))
        })
        .flat_map(|key| [key.slice(7, 1), key])
}

/// With its host and target.
fn tagged(key: &CacheKey) -> Meta {
    fresh().with_tags(["page", key.host(), key.target()])
}

async fn fill_with_all(store: &impl CacheStore) {
    for key in keys() {
        put(store, &key, tagged(&key).with_vary(vary("de")), "x").await;
        put(store, &key, tagged(&key).with_vary(vary("en")), "x").await;
    }
}

async fn purge(store: &impl CacheStore, purge: Purge) {
    store.purge(&purge).await.expect("the store can be asked");
}

/// `what` must concern exactly the `named`, be it hard or soft.
async fn expect(store: &impl CacheStore, what: Selection, named: impl Fn(&CacheKey) -> bool) {
    fill_with_all(store).await;
    purge(store, Purge::soft(what.clone())).await;
    for key in keys() {
        let found = find(store, &key).await;
        assert_eq!(found.len(), 2, "{key} is found after {what:?}, softly");
        assert!(
            found.iter().all(|stored| is_fresh(stored) != named(&key)),
            "{key} after {what:?}, softly"
        );
    }
    fill_with_all(store).await;
    purge(store, Purge::hard(what.clone())).await;
    for key in keys() {
        let expected = if named(&key) { 0 } else { 2 };
        assert_eq!(
            find(store, &key).await.len(),
            expected,
            "{key} after {what:?}"
        );
    }
    fill_with_all(store).await;
    for key in keys() {
        let found = find(store, &key).await;
        assert!(
            found.len() == 2 && found.iter().all(is_fresh),
            "{key} stored again after {what:?}"
        );
    }
}

fn selections() -> [Selection; 5] {
    [
        Selection::Url(key("a.example", "/shop/1")),
        Selection::Prefix {
            host: "a.example".into(),
            path: "/shop".into(),
        },
        Selection::Tag("page".into()),
        Selection::Host("a.example".into()),
        Selection::All,
    ]
}

/// What began before is never found, though its readers get it.
pub async fn purge_concerns_fills_in_progress(store: impl CacheStore) {
    let key = key("a.example", "/shop/1");
    for what in selections() {
        let mut fill = begin(&store, &key, tagged(&key)).await;
        let reading = fill.stored().body.read(ByteRange::ALL);
        write(&mut fill, "be").await;
        purge(&store, Purge::hard(what.clone())).await;
        assert!(
            find(&store, &key).await.is_empty(),
            "while it grows, after {what:?}"
        );
        write(&mut fill, "fore").await;
        // Whether that is an error is up to the store.
        let _ = fill.finish(HeaderMap::new()).await;
        assert!(
            find(&store, &key).await.is_empty(),
            "when it is whole, after {what:?}"
        );
        assert_eq!(all(reading).await, "before", "after {what:?}");

        let mut fill = begin(&store, &key, tagged(&key)).await;
        purge(&store, Purge::soft(what.clone())).await;
        write(&mut fill, "soft").await;
        end(fill).await;
        let found = find(&store, &key).await;
        assert!(
            found.len() == 1 && !is_fresh(&found[0]),
            "softly, after {what:?}"
        );
    }
}

/// Even if the one before it is still being filled.
pub async fn purge_spares_what_begins_after_it(store: impl CacheStore) {
    let key = key("a.example", "/shop/1");
    for what in selections() {
        let mut before = begin(&store, &key, tagged(&key)).await;
        purge(&store, Purge::hard(what.clone())).await;
        let mut after = begin(&store, &key, tagged(&key)).await;
        let id = after.stored().id;
        assert_eq!(ids(&store, &key).await, [id], "growing, after {what:?}");
        write(&mut after, "after").await;
        end(after).await;
        write(&mut before, "before").await;
        let _ = before.finish(HeaderMap::new()).await;
        let found = find(&store, &key).await;
        assert_eq!(
            found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
            [id],
            "after {what:?}"
        );
        assert!(is_fresh(&found[0]));
        assert_eq!(read(&found[0]).await, "after");
    }
}

/// Though its insert begins after the purge: the origin was asked before, and may have answered with what was purged.
pub async fn purge_concerns_what_was_asked_for_before_it(store: impl CacheStore) {
    let key = key("a.example", "/shop/1");
    for what in selections() {
        let asked = store.moment();
        purge(&store, Purge::hard(what.clone())).await;
        if let Ok(mut fill) = store.insert(&key, tagged(&key).with_asked(asked)).await {
            write(&mut fill, "before").await;
            let _ = fill.finish(HeaderMap::new()).await;
        }
        assert!(find(&store, &key).await.is_empty(), "after {what:?}");
        let asked = store.moment();
        put(&store, &key, tagged(&key).with_asked(asked), "after").await;
        assert_eq!(
            find(&store, &key).await.len(),
            1,
            "asked again after {what:?}"
        );
    }
}

/// While purges may be missing, what is older than them is not used.
pub async fn finds_only_what_was_asked_for_since(store: impl CacheStore) {
    let (old, new) = (key("a.example", "/old"), key("a.example", "/new"));
    let before = store.moment();
    put(&store, &old, fresh().with_asked(before), "old").await;
    purge(&store, Purge::hard(Selection::Tag("of nobody".into()))).await;
    let since = store.moment();
    assert!(since > before, "a purge moves the time on");
    let fill = store
        .insert(&new, fresh().with_asked(since))
        .await
        .expect("it can be stored");
    for (key, moment, expected) in [(&old, since, 0), (&old, before, 1), (&new, since, 1)] {
        let found = store.lookup_since(key, moment).await;
        let found = found.expect("the store can be asked");
        assert_eq!(found.len(), expected, "{key} since {moment:?}");
    }
    drop(fill);
    put(&store, &new, fresh().with_asked(since), "new").await;
    let found = store.lookup_since(&new, since).await;
    assert_eq!(found.expect("the store can be asked").len(), 1);
}

/// What is being sent goes on being sent.
pub async fn purge_cuts_no_reader(store: impl CacheStore) {
    let (key, body) = (key("a.example", "/shop/1"), content(100_000));
    for what in selections() {
        put(&store, &key, tagged(&key), body.clone()).await;
        let found = find(&store, &key).await;
        let mut reading = found[0].body.read(ByteRange::ALL);
        let first = reading
            .frame()
            .await
            .expect("a frame")
            .expect("an unbroken body");
        let first = first.into_data().expect("data");
        purge(&store, Purge::hard(what.clone())).await;
        assert!(all(reading).await == body[first.len()..], "after {what:?}");
    }
}

/// But not a hard one.
pub async fn revalidation_answers_a_soft_purge(store: impl CacheStore) {
    let key = key("a.example", "/shop/1");
    for what in selections() {
        let id = put(&store, &key, tagged(&key), "x").await;
        purge(&store, Purge::soft(what.clone())).await;
        assert!(!is_fresh(&find(&store, &key).await[0]), "after {what:?}");
        assert!(
            store
                .refresh(&key, id, tagged(&key))
                .await
                .expect("the store can be asked")
        );
        assert!(
            is_fresh(&find(&store, &key).await[0]),
            "revalidated after {what:?}"
        );
        purge(&store, Purge::hard(what.clone())).await;
        assert!(
            !store
                .refresh(&key, id, tagged(&key))
                .await
                .expect("the store can be asked"),
            "after {what:?}"
        );
        assert!(find(&store, &key).await.is_empty(), "after {what:?}");
    }
}
