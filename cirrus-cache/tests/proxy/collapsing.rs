//! Many clients want the same at the same time.

use std::sync::Arc;

use bytes::Bytes;
use cirrus_core::Body;
use cirrus_core::testing::{Client, Describe, Origin, Reply, proxy, reply};
use http_body_util::channel::Channel;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::{cached, counted, did, metric, pattern, until};

const CLIENTS: u64 = 200;

/// Starts that many clients, each with a cookie of its own.
async fn crowd(proxy: &proxy::Running) -> JoinSet<(u64, Reply)> {
    let address = proxy.address();
    let mut crowd = JoinSet::new();
    for number in 0..CLIENTS {
        crowd.spawn(async move {
            let lines = format!("cookie: {number}\r\n");
            (number, Client::to(address).get_with("/", &lines).await)
        });
    }
    until(async || metric(proxy, "cirrus_requests_in_flight").await == CLIENTS).await;
    crowd
}

#[tokio::test]
async fn two_hundred_clients_cost_the_origin_one_request() {
    let (sender, body) = Channel::<Bytes, std::io::Error>::new(1);
    let (begin, once) = (Arc::new(Notify::new()), Mutex::new(Some(body)));
    let began = Arc::clone(&begin);
    let origin = Origin::new()
        .later("/", move |_| {
            let (began, body) = (Arc::clone(&began), once.lock().take());
            async move {
                began.notified().await;
                reply(body.map_or_else(Body::empty, Body::stream))
                    .with("cache-control", "max-age=60")
            }
        })
        .run()
        .await;
    let (proxy, _) = cached(&origin).await;
    let crowd = crowd(&proxy).await;
    begin.notify_one();
    let whole = pattern(1_000_000);
    let (mut sender, chunks) = (sender, whole.clone());
    for start in (0..chunks.len()).step_by(100_000) {
        sender
            .send_data(chunks.slice(start..start + 100_000))
            .await
            .unwrap();
    }
    drop(sender);
    for (number, reply) in crowd.join_all().await {
        assert!(reply.body == whole, "{number}: {} bytes", reply.body.len());
    }
    assert_eq!(origin.count(), 1);
    assert_eq!(
        (
            counted(&proxy, "miss").await,
            counted(&proxy, "collapsed").await
        ),
        (1, CLIENTS - 1)
    );
}

#[tokio::test]
async fn what_cannot_be_shared_holds_nobody_up() {
    let (first, all) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (goes, others) = (Arc::clone(&first), Arc::clone(&all));
    let origin = Origin::new()
        .later("/", move |asked| {
            let (goes, others) = (Arc::clone(&goes), Arc::clone(&others));
            async move {
                match asked.before {
                    0 => goes.notified().await,
                    // Only when all of them are here does any get an answer: in single file they would never be.
                    _ => drop(others.acquire().await),
                }
                reply(asked.header("cookie")).with("cache-control", "private, max-age=60")
            }
        })
        .run()
        .await;
    let (proxy, _) = cached(&origin).await;
    let crowd = crowd(&proxy).await;
    assert_eq!(origin.count(), 1);
    first.notify_one();
    until(async || origin.count() == 200).await;
    all.add_permits(200);
    for (number, reply) in crowd.join_all().await {
        assert_eq!(reply.text(), number.to_string());
        assert_eq!(did(&reply), "fwd=uri-miss; detail=private");
    }
    assert_eq!(metric(&proxy, "cirrus_cache_objects").await, 0);
}

#[tokio::test]
async fn a_crowd_of_several_languages_gets_each_its_own() {
    let begin = Arc::new(Notify::new());
    let began = Arc::clone(&begin);
    let origin = Origin::new()
        .later("/", move |asked| {
            let began = Arc::clone(&began);
            async move {
                if asked.before == 0 {
                    began.notified().await;
                }
                reply(asked.header("cookie"))
                    .with("vary", "cookie")
                    .with("cache-control", "max-age=60")
            }
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    let crowd = crowd(&proxy).await;
    begin.notify_one();
    for (number, reply) in crowd.join_all().await {
        assert_eq!(reply.text(), number.to_string());
    }
    assert_eq!(client.get_with("/", "cookie: 199\r\n").await.text(), "199");
}

#[tokio::test]
async fn a_crowd_before_something_stale_costs_one_revalidation() {
    let begin = Arc::new(Notify::new());
    let began = Arc::clone(&begin);
    let origin = Origin::new()
        .later("/", move |asked| {
            let began = Arc::clone(&began);
            async move {
                let response = reply("hello")
                    .with("etag", "\"a\"")
                    .with("cache-control", "max-age=60");
                if asked.before == 0 {
                    return response;
                }
                began.notified().await;
                response.map(|_| Body::empty()).with_status(304)
            }
        })
        .run()
        .await;
    let (proxy, mut client) = cached(&origin).await;
    client.get("/").await;
    proxy.clock().advance(crate::secs(61));
    let crowd = crowd(&proxy).await;
    begin.notify_one();
    for (_, reply) in crowd.join_all().await {
        assert_eq!(reply.text(), "hello");
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(
        (
            counted(&proxy, "revalidated").await,
            counted(&proxy, "collapsed").await
        ),
        (1, CLIENTS - 1)
    );
}
