//! What is found for a URL.

use super::*;

/// Whole or growing.
pub async fn newest_variant_comes_first(store: impl CacheStore) {
    let key = key("a.example", "/");
    let de = put(&store, &key, fresh().with_vary(vary("de")), "hallo").await;
    let fill = begin(&store, &key, fresh().with_vary(vary("fr"))).await;
    let fr = fill.stored().id;
    assert_eq!(ids(&store, &key).await, [fr, de]);
    let en = put(&store, &key, fresh().with_vary(vary("en")), "hello").await;
    assert_eq!(ids(&store, &key).await, [en, fr, de]);
    end(fill).await;
    let found = find(&store, &key).await;
    assert_eq!(found.len(), 3);
    for (stored, id) in found.iter().zip([en, fr, de]) {
        assert_eq!(stored.id, id);
    }
    assert_eq!(found[0].meta.vary, vary("en"));
    assert_eq!(read(&found[2]).await, "hallo");
}

/// A variant is what has the same [`Meta::vary`].
pub async fn same_variant_is_replaced_and_others_stay(store: impl CacheStore) {
    let key = key("a.example", "/");
    let old = put(&store, &key, fresh().with_vary(vary("de")), "alt").await;
    let other = put(&store, &key, fresh().with_vary(vary("en")), "other").await;
    let new = put(&store, &key, fresh().with_vary(vary("de")), "neu").await;
    assert_ne!(old, new, "another object");
    let found = find(&store, &key).await;
    assert_eq!(
        found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
        [new, other]
    );
    assert_eq!(read(&found[0]).await, "neu");
    assert_eq!(read(&found[1]).await, "other");
}

/// Until then both are found.
pub async fn only_the_end_of_a_fill_retires_the_variant_before(store: impl CacheStore) {
    let key = key("a.example", "/");
    let old = put(&store, &key, fresh(), "old").await;
    let mut fill = begin(&store, &key, fresh()).await;
    let new = fill.stored().id;
    write(&mut fill, "new").await;
    let found = find(&store, &key).await;
    assert_eq!(
        found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
        [new, old]
    );
    end(fill).await;
    assert_eq!(ids(&store, &key).await, [new]);
    assert_eq!(read(&found[1]).await, "old", "its readers keep it");
}

/// And no other of its URL.
pub async fn refresh_changes_that_very_object(store: impl CacheStore) {
    let key = key("a.example", "/");
    let other = put(&store, &key, fresh().with_vary(vary("en")), "other").await;
    let id = put(&store, &key, fresh().with_vary(vary("de")), "same").await;
    let mut meta = fresh().with_vary(vary("de")).with_tags(["new"]);
    meta.headers = header("etag", "\"2\"").into();
    assert!(
        store
            .refresh(&key, id, meta.clone())
            .await
            .expect("the store can be asked")
    );
    let found = find(&store, &key).await;
    assert_eq!(
        found.iter().map(|stored| stored.id).collect::<Vec<_>>(),
        [id, other]
    );
    assert_eq!(*found[0].meta, meta);
    assert_eq!(read(&found[0]).await, "same");
    assert!(found[1].meta.headers.is_empty());
}

/// Replaced, purged, or of another URL.
pub async fn refresh_of_what_is_gone_is_false(store: impl CacheStore) {
    let key = key("a.example", "/");
    let old = put(&store, &key, fresh(), "old").await;
    let new = put(&store, &key, fresh(), "new").await;
    let mut meta = fresh();
    meta.headers = header("etag", "\"2\"").into();
    assert!(
        !store
            .refresh(&key, old, meta.clone())
            .await
            .expect("the store can be asked")
    );
    assert!(
        !store
            .refresh(&super::key("a.example", "/2"), new, meta)
            .await
            .expect("the store can be asked")
    );
    let found = find(&store, &key).await;
    assert_eq!(found.len(), 1);
    assert!(found[0].meta.headers.is_empty());
}

/// By scheme, host, port, path or query.
pub async fn different_urls_never_mix(store: impl CacheStore) {
    let urls = [
        ("a.example", "/"),
        ("b.example", "/"),
        ("a.example:8443", "/"),
        ("a.example", "/?"),
        ("a.example", "/?x"),
        ("a.example", "/b.example/"),
        ("a.example", "/A"),
        ("a.example", "/a"),
    ];
    let keys = || {
        let schemes = [Scheme::Http, Scheme::Https].into_iter();
        schemes.flat_map(move |scheme| {
            urls.map(|(host, target)| {
                CacheKey::new(scheme, host, &PathAndQuery::from_static(target))
            })
        })
    };
    for key in keys() {
        put(&store, &key, fresh(), key.to_string()).await;
    }
    for key in keys() {
        let found = find(&store, &key).await;
        assert_eq!(found.len(), 1, "{key}");
        assert_eq!(read(&found[0]).await, key.to_string());
    }
}

/// By number, generation or URL.
pub async fn slices_never_mix(store: impl CacheStore) {
    let (one, other) = (key("a.example", "/"), key("a.example", "/?"));
    let slice = |generation, number| one.slice(generation, number);
    let keys = [
        one.clone(),
        slice(1, 0),
        slice(1, 1),
        slice(0, 11),
        slice(11, 0),
        slice(u64::MAX, u64::MAX),
        other.slice(1, 0),
        other,
    ];
    for (key, body) in keys.iter().zip(["0", "1", "2", "3", "4", "5", "6", "7"]) {
        put(&store, key, fresh(), body).await;
    }
    for (key, body) in keys.iter().zip(["0", "1", "2", "3", "4", "5", "6", "7"]) {
        let found = find(&store, key).await;
        assert_eq!(found.len(), 1, "{key:?}");
        assert_eq!(read(&found[0]).await, body, "{key:?}");
    }
}
