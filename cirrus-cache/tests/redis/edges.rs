//! Two edges with memory over a shared Redis, over real sockets.

use cirrus_core::Response;
use cirrus_core::testing::{Client, Describe, Origin, Reply, proxy, reply};

use super::*;

/// An edge with a store of its own over the shared one, once that is connected.
async fn edge_before(origin: &cirrus_core::testing::RunningOrigin, server: &RedisServer) -> Edge {
    let redis = edge(server).await;
    let store = under_memory(redis);
    let proxy = proxy::to(origin);
    let proxy = proxy
        .with(|builder| builder.cache(store.clone()))
        .run()
        .await;
    let client = Client::to(proxy.address());
    Edge {
        _proxy: proxy,
        client,
        store,
    }
}

struct Edge {
    _proxy: proxy::Running,
    client: Client,
    store: TieredStore,
}

fn page(body: &'static str) -> Response {
    reply(body)
        .with("cache-control", "max-age=600")
        .with("cache-tag", "t")
}

fn is_hit(reply: &Reply) -> bool {
    reply.header("cache-status").starts_with("cirrus; hit")
}

/// The end of a fill is nobody's to wait for.
async fn until_hit(edge: &mut Edge, target: &str) -> Reply {
    let asking = async {
        loop {
            let got = edge.client.get(target).await;
            if is_hit(&got) {
                return got;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), asking)
        .await
        .expect("a hit before long")
}

#[tokio::test]
async fn what_one_edge_has_fetched_another_serves() {
    let server = RedisServer::start();
    let origin = Origin::new().get("*", |_| page("shared")).run().await;
    let mut one = edge_before(&origin, &server).await;
    let mut other = edge_before(&origin, &server).await;
    let first = one.client.get("/page").await;
    assert!(!is_hit(&first));
    let asked = origin.count();
    // Until Redis has it, the other one asks the origin too.
    while server.ask(&["DBSIZE"]) != ":2" {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = other.client.get("/page").await;
    assert!(is_hit(&second), "{}", second.header("cache-status"));
    assert_eq!(second.text(), "shared");
    assert_eq!(origin.count(), asked, "the origin was asked once");

    one.store
        .purge(&Purge::hard(Selection::Tag("t".into())))
        .await
        .expect("Redis does what it is asked");
    assert!(!is_hit(&one.client.get("/page").await), "purged");
    until_hit(&mut one, "/page").await;
}

#[tokio::test]
async fn without_redis_memory_serves_and_the_origin_is_asked() {
    let mut server = RedisServer::start();
    let origin = Origin::new().get("*", |_| page("alone")).run().await;
    let mut edge = edge_before(&origin, &server).await;
    server.kill();
    for target in ["/a", "/b", "/c"] {
        let first = edge.client.get(target).await;
        assert_eq!((first.status, first.text()), (200, "alone"));
        let again = until_hit(&mut edge, target).await;
        assert_eq!((again.status, again.text()), (200, "alone"));
    }
}
