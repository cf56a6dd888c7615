//! `cirrus check` with everything that can be wrong.

use std::net::TcpListener;
use std::path::Path;

use cirrus_core::testing::certs::{self, Pair};
use tempfile::TempDir;

use crate::support::{cirrus, told};

/// A directory with this `cirrus.toml`.
fn configured(text: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cirrus.toml"), text).unwrap();
    directory
}

fn check(directory: &Path) -> String {
    let told = told(cirrus(directory).args(["check", "--config", "cirrus.toml"]));
    // Another one each time.
    told.replace(&format!("{}/", directory.display()), "DIRECTORY/")
}

fn checked(text: &str) -> String {
    check(configured(text).path())
}

/// A good configuration with this directory of certificates.
fn with_certificates(fill: impl FnOnce(&Path)) -> String {
    let directory = configured(
        r#"
            [[listen]]
            address = "127.0.0.1:8443"
            tls = true

            [certificates]
            directory = "certs"

            [[site]]
            hosts = ["shop.example"]
            origin = [{ url = "http://127.0.0.1:3000" }]
        "#,
    );
    let certificates = directory.path().join("certs");
    std::fs::create_dir(&certificates).unwrap();
    fill(&certificates);
    check(directory.path())
}

fn write(directory: &Path, name: &str, pair: &Pair) {
    std::fs::write(directory.join(format!("{name}.pem")), &pair.chain_pem).unwrap();
    std::fs::write(directory.join(format!("{name}.key")), &pair.key_pem).unwrap();
}

#[test]
fn good() {
    insta::assert_snapshot!(checked(
        r#"
            [[listen]]
            address = "127.0.0.1:8080"

            [[site]]
            hosts = ["shop.example", "*.shop.example"]
            cache = { enable = true }

            [[site.origin]]
            url = "http://127.0.0.1:3000"
            weight = 3
        "#
    ));
}

#[test]
fn unknown_keys_and_wrong_types() {
    insta::assert_snapshot!(checked(
        r#"
            [[lisen]]
            address = "127.0.0.1:8080"

            [server]
            drain = 30

            [[site]]
            hosts = ["shop.example"]
            orgin = []

            [[site.origin]]
            url = "http://127.0.0.1:3000"
            weight = "three"
        "#
    ));
}

#[test]
fn duplicate_host() {
    insta::assert_snapshot!(checked(
        r#"
            [[site]]
            hosts = ["shop.example", "www.shop.example"]
            origin = [{ url = "http://127.0.0.1:3000" }]

            [[site]]
            hosts = ["WWW.shop.example"]
            origin = [{ url = "http://127.0.0.1:3001" }]
        "#
    ));
}

#[test]
fn origin_without_scheme() {
    insta::assert_snapshot!(checked(
        r#"
            [[site]]
            hosts = ["*"]
            origin = [{ url = "127.0.0.1:3000" }]
        "#
    ));
}

#[test]
fn weight_zero_no_origins_and_a_circle() {
    insta::assert_snapshot!(checked(
        r#"
            [[listen]]
            address = "127.0.0.1:8080"

            [[site]]
            hosts = ["weightless.example"]
            origin = [{ url = "http://127.0.0.1:3000", weight = 0 }]

            [[site]]
            hosts = ["empty.example"]
            origin = []

            [[site]]
            hosts = ["circle.example"]
            origin = [{ url = "http://localhost:8080" }]
        "#
    ));
}

#[test]
fn a_route_that_can_never_match() {
    insta::assert_snapshot!(checked(
        r#"
            [[site]]
            hosts = ["*"]

            [[site.route]]
            path = "/a"
            respond = { body = "one" }

            [[site.route]]
            path = "/a"
            respond = { body = "two" }
        "#
    ));
}

#[test]
fn keys_that_would_mix_or_mean_nothing() {
    insta::assert_snapshot!(checked(
        r#"
            [[site]]
            hosts = ["shop.example", "*.shop.example"]
            origin = [{ url = "http://127.0.0.1:3000" }]

            [site.cache]
            enable = true
            lock_timeout = "0s"
            request_cache_control = "ignor"

            [site.cache.key]
            query = { keep = ["id"], drop = ["utm_*"] }
            headers = ["x-device", "X-Forwarded-For", "host"]
            cookies = ["lang", "a b", "x*"]
            host = "www.shop.example"

            [site.cache.bypass]
            query = ["no*cache", ""]
            paths = ["//a"]

            [[site.route]]
            path = "/x"
            origin = [{ url = "http://127.0.0.1:3000" }]
            cache = { key = { host = "*.shop.example" } }
        "#
    ));
}

#[test]
fn tls_without_certificates() {
    insta::assert_snapshot!(checked(
        r#"
            [[listen]]
            address = "127.0.0.1:8443"
            tls = true
        "#
    ));
}

#[test]
fn missing_certificate_half() {
    insta::assert_snapshot!(with_certificates(|directory| {
        let pair = certs::for_names(&["shop.example"]);
        std::fs::write(directory.join("shop.pem"), &pair.chain_pem).unwrap();
        std::fs::write(directory.join("other.key"), &pair.key_pem).unwrap();
    }));
}

#[test]
fn key_of_another_certificate() {
    insta::assert_snapshot!(with_certificates(|directory| {
        let (shop, other) = (
            certs::for_names(&["shop.example"]),
            certs::for_names(&["shop.example"]),
        );
        write(directory, "shop", &shop);
        std::fs::write(directory.join("shop.key"), &other.key_pem).unwrap();
    }));
}

#[test]
fn expired_certificate_is_a_warning() {
    insta::assert_snapshot!(with_certificates(|directory| {
        write(directory, "shop", &certs::expired(&["shop.example"]));
    }));
}

#[test]
fn missing_certificate_directory() {
    insta::assert_snapshot!(with_certificates(|directory| std::fs::remove_dir(
        directory
    )
    .unwrap()));
}

#[test]
fn unreadable_file() {
    let directory = tempfile::tempdir().unwrap();
    insta::assert_snapshot!("missing_file", check(directory.path()));
    std::fs::create_dir(directory.path().join("cirrus.toml")).unwrap();
    insta::assert_snapshot!("directory_for_a_file", check(directory.path()));
}

#[test]
fn a_start_tells_every_fault_too() {
    let directory = configured("lisen = 1\nsites = 2\n");
    insta::assert_snapshot!(told(cirrus(directory.path()).args([
        "run",
        "--config",
        "cirrus.toml"
    ])));
}

#[test]
fn a_port_in_use_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let directory = configured(&format!(
        "listen = [{{ address = \"127.0.0.1:{port}\" }}]\n"
    ));
    let told = told(cirrus(directory.path()).args(["run", "--config", "cirrus.toml"]));
    insta::assert_snapshot!(told.replace(&port.to_string(), "PORT"));
}

#[test]
fn a_redis_that_cannot_be_one() {
    insta::assert_snapshot!(checked(
        r#"
            [cache.redis]
            url = "http://10.0.0.5:6379"
            timeout = "1m"
            max_object = "1GiB"

            [[site]]
            hosts = ["shop.example"]
            origin = [{ url = "http://127.0.0.1:3000" }]
        "#
    ));
    insta::assert_snapshot!(checked(
        r#"
            [cache.redis]
            prefix = "edge:"

            [[site]]
            hosts = ["shop.example"]
            origin = [{ url = "http://127.0.0.1:3000" }]
        "#
    ));
}

#[test]
fn services_that_nobody_can_find() {
    let told = |service: &str, rest: &str| {
        checked(&format!(
            "{rest}\n[[cluster]]\nname = \"a\"\nservice = \"{service}\"\n\
             [[site]]\nhosts = [\"*\"]\ncluster = \"a\"\n"
        ))
    };
    let known = "a service is written `dns://…`, `dns+srv://…`, `file://…`";
    let unknown = told("dsn://api.internal", "");
    assert!(unknown.contains("cluster[0].service"), "{unknown}");
    let wanted = format!("the scheme `dsn` is unknown: {known}");
    assert!(unknown.contains(&wanted), "{unknown}");
    assert!(told("payment", "").contains("there is no scheme: "));
    assert!(told("dns://10.0.0.1:80", "").contains("an address is not looked up"));
    assert!(told("registry://payment", "").contains("the scheme `registry` is unknown"));
    for (service, rest) in [
        ("dns://api.internal:8080", ""),
        ("dns+srv://_http._tcp.api.internal", ""),
        ("registry://payment", "[registry]"),
    ] {
        let good = told(service, rest);
        assert!(good.contains("status 0"), "{good}");
    }
}
