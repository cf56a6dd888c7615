//! Certificate files that change while they are in use.

use cirrus_core::testing::{Origin, certs, reply};
use cirrus_tls::Folder;

use crate::client::{h2, shake, shown};
use crate::{listener, soon};

#[tokio::test]
async fn new_files_are_shown_to_new_connections() {
    let origin = Origin::new().get("/", |_| reply("hello")).run().await;
    let authority = certs::Authority::new();
    let (first, second) = (
        authority.issue(&["shop.example"]),
        authority.issue(&["shop.example"]),
    );
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("shop.key", &first.key_pem);
    write("shop.pem", &first.chain_pem);
    let proxy = listener(&origin, Folder::open(directory.path()).unwrap()).await;
    let root = authority.der();
    let show = async || {
        let stream = shake(proxy.address(), &root, "shop.example", &[b"h2"]).await;
        shown(&stream.expect("every handshake succeeds"))
    };
    assert_eq!(show().await, first.der);
    let mut old = h2(proxy.address(), &root, "shop.example").await;
    assert_eq!(old.get("https://shop.example/").await.text(), "hello");

    // One file after the other, as it goes in life: between them the pair does not match.
    write("shop.key", &second.key_pem);
    assert_eq!(show().await, first.der);
    write("shop.pem", &second.chain_pem);
    soon(async { while show().await != second.der {} }).await;
    assert_eq!(
        old.get("https://shop.example/").await.text(),
        "hello",
        "the old connection goes on"
    );

    let added = authority.issue(&["added.example"]);
    write("added.key", &added.key_pem);
    write("added.pem", &added.chain_pem);
    soon(async {
        while shake(proxy.address(), &root, "added.example", &[])
            .await
            .is_err()
        {}
    })
    .await;
    for name in ["added.key", "added.pem"] {
        std::fs::remove_file(directory.path().join(name)).unwrap();
    }
    soon(async {
        while shake(proxy.address(), &root, "added.example", &[])
            .await
            .is_ok()
        {}
    })
    .await;
    assert_eq!(show().await, second.der);
}
