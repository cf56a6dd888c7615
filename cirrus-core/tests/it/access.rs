//! Who may come: every policy on the way of a real request.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cirrus_core::testing::{Client, Describe, Origin, RunningOrigin, ports, proxy, reply};

use crate::nowhere;

/// Of `secret`, at the lowest cost.
fn hash_of(password: &str) -> String {
    bcrypt::hash_with_salt(password, 4, *b"0123456789abcdef")
        .unwrap()
        .to_string()
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "authorization: Basic {}\r\n",
        STANDARD.encode(format!("{user}:{password}"))
    )
}

/// A site with these tables for itself, then its origin.
fn guarded(origin: &RunningOrigin, tables: &str) -> String {
    let url = origin.url();
    format!("[[site]]\nhosts = [\"*\"]\n{tables}\n[[site.origin]]\nurl = \"{url}\"\n")
}

async fn echo() -> RunningOrigin {
    Origin::new().get("*", |_| reply("through")).run().await
}

async fn start(origin: &RunningOrigin, tables: &str) -> (proxy::Running, Client) {
    let proxy = proxy::new(&guarded(origin, tables)).run().await;
    let client = Client::to(proxy.address());
    (proxy, client)
}

async fn refused(proxy: &proxy::Running, reason: &str) -> u64 {
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/metrics")
        .await;
    let name = format!("cirrus_access_refused_total{{reason=\"{reason}\"}} ");
    let line = page
        .text()
        .lines()
        .find_map(|line| line.strip_prefix(&name));
    line.unwrap().parse().unwrap()
}

struct File(tempfile::TempDir);

impl File {
    fn with(text: &str) -> Self {
        let file = Self(tempfile::tempdir().unwrap());
        file.write(text);
        file
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("file")
    }

    /// Another file in its place, as careful programs write.
    fn write(&self, text: &str) {
        let new = self.0.path().join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.path()).unwrap();
    }
}

// === by address ===

#[tokio::test]
async fn by_the_address_of_the_connection() {
    let origin = echo().await;
    let (proxy, mut client) = start(&origin, "access = { deny = [\"127.0.0.0/8\"] }").await;
    let forged = "x-forwarded-for: 10.0.0.1\r\nforwarded: for=10.0.0.1\r\n";
    assert_eq!(client.get_with("/", forged).await.status, 403);
    assert_eq!((origin.count(), refused(&proxy, "address").await), (0, 1));
}

#[tokio::test]
async fn by_the_address_that_a_trusted_proxy_names() {
    let origin = echo().await;
    let server = "[server]\nworkers = 1\ntrusted_proxies = [\"127.0.0.0/8\", \"10.9.0.0/16\"]\n";
    let tables = "access = { allow = [\"10.0.0.0/8\"], deny = [\"10.1.0.0/16\"] }";
    let proxy = proxy::new(&format!("{server}{}", guarded(&origin, tables)))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    for (address, status) in [
        ("10.0.0.1", 200),
        ("10.1.0.1", 403),
        ("192.0.2.1", 403),
        ("10.0.0.1, 192.0.2.1", 403),
        ("192.0.2.1, 10.0.0.1", 200),
        ("192.0.2.1, 10.9.0.1", 403),
        ("::ffff:10.0.0.1", 200),
    ] {
        let lines = format!("x-forwarded-for: {address}\r\n");
        assert_eq!(
            client.get_with("/", &lines).await.status,
            status,
            "{address}"
        );
    }
}

#[tokio::test]
async fn holds_for_every_action_and_a_route_has_its_own() {
    let origin = echo().await;
    let routes = "[[site.route]]\npath = \"/fixed\"\nrespond = { body = \"fixed\" }\n\
                  [[site.route]]\npath = \"/open\"\nrespond = { body = \"open\" }\n\
                  access = { allow = [\"127.0.0.1/32\"] }\n";
    let toml = format!(
        "{}{routes}",
        guarded(&origin, "access = { deny = [\"0.0.0.0/0\"] }")
    );
    let proxy = proxy::new(&toml).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/fixed").await.status, 403);
    assert_eq!(client.get("/open").await.text(), "open");
}

// === name and password ===

#[tokio::test]
async fn name_and_password() {
    let origin = echo().await;
    let users = format!(
        "basic_auth = {{ realm = 'the \"shop\"', users = {{ alice = \"{}\" }} }}",
        hash_of("secret")
    );
    let (proxy, mut client) = start(&origin, &users).await;
    let missing = client.get("/").await;
    assert_eq!(missing.status, 401);
    let challenge = "Basic realm=\"the \\\"shop\\\"\", charset=\"UTF-8\"";
    assert_eq!(missing.header("www-authenticate"), challenge);
    for lines in [
        basic("alice", "Secret"),
        basic("bob", "secret"),
        basic("", ""),
        "authorization: Basic\r\n".into(),
        "authorization: Basic %%%\r\n".into(),
        "authorization: Basic YWxpY2U=\r\n".into(),
        "authorization: Bearer YWxpY2U6c2VjcmV0\r\n".into(),
        format!("authorization: Basic {}\r\n", "QUFB".repeat(2500)),
        format!("{0}{0}", basic("alice", "secret")),
        format!("proxy-{}", basic("alice", "secret")),
    ] {
        assert_eq!(client.get_with("/", &lines).await.status, 401, "{lines}");
    }
    assert_eq!(origin.count(), 0);
    for _ in 0..3 {
        let reply = client.get_with("/", &basic("alice", "secret")).await;
        assert_eq!((reply.status, reply.text()), (200, "through"));
    }
    assert_eq!(origin.asked()[0].header("authorization"), "", "ends here");
    assert_eq!(refused(&proxy, "basic").await, 11);
}

#[tokio::test]
async fn tells_the_origin_who_it_is_and_nobody_else_does() {
    let origin = echo().await;
    let users = format!(
        "basic_auth = {{ users = {{ alice = \"{}\" }}, forward = true, user_header = \"x-remote-user\" }}",
        hash_of("secret")
    );
    let (_proxy, mut client) = start(&origin, &users).await;
    let spoofed = "x-remote-user: root\r\nX_Remote_User: root\r\nx-remote_user: root\r\n";
    client
        .get_with("/", &format!("{spoofed}{}", basic("alice", "secret")))
        .await;
    let asked = &origin.asked()[0];
    assert_eq!(asked.header("x-remote-user"), "alice");
    assert_eq!(
        (asked.header("x_remote_user"), asked.header("x-remote_user")),
        Default::default()
    );
    assert!(asked.header("authorization").starts_with("Basic "));
}

#[tokio::test]
async fn a_users_file_is_read_again() {
    let file = File::with(&format!("# users\nalice:{}\n", hash_of("secret")));
    let origin = echo().await;
    let table = format!(
        "basic_auth = {{ users_file = \"{}\" }}",
        file.path().display()
    );
    let (proxy, mut client) = start(&origin, &table).await;
    assert_eq!(
        client.get_with("/", &basic("alice", "secret")).await.status,
        200
    );
    file.write(&format!("alice:{}\n", hash_of("changed")));
    proxy.clock().advance(Duration::from_secs(5));
    // Who looks at the file is answered by what it says now.
    assert_eq!(
        client.get_with("/", &basic("alice", "secret")).await.status,
        401
    );
    assert_eq!(
        client
            .get_with("/", &basic("alice", "changed"))
            .await
            .status,
        200
    );
    // A broken file changes nothing, even after the one that is read next.
    file.write("alice:plaintext\n");
    for _ in 0..3 {
        proxy.clock().advance(Duration::from_secs(5));
        assert_eq!(
            client
                .get_with("/", &basic("alice", "changed"))
                .await
                .status,
            200
        );
    }
    file.write(&format!("bob:{}\n", hash_of("secret")));
    proxy.clock().advance(Duration::from_secs(5));
    assert_eq!(
        client.get_with("/", &basic("bob", "secret")).await.status,
        200
    );
    assert_eq!(
        client
            .get_with("/", &basic("alice", "changed"))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_route_can_be_left_open() {
    let origin = echo().await;
    let users = format!(
        "basic_auth = {{ users = {{ alice = \"{}\" }} }}",
        hash_of("secret")
    );
    let route = "[[site.route]]\npath = \"/health\"\nrespond = { body = \"ok\" }\nbasic_auth = { enable = false }\n";
    let proxy = proxy::new(&format!("{}{route}", guarded(&origin, &users)))
        .run()
        .await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/health").await.text(), "ok");
    assert_eq!(client.get("/").await.status, 401);
}

// === keys ===

/// Of `key`.
const KEY: &str = "sha256:2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683";

#[tokio::test]
async fn keys_in_a_header_field() {
    let origin = echo().await;
    let table =
        format!("api_keys = {{ keys = {{ robot = \"{KEY}\" }}, user_header = \"x-user\" }}");
    let (proxy, mut client) = start(&origin, &table).await;
    let missing = client.get("/").await;
    assert_eq!(
        (missing.status, missing.header("www-authenticate")),
        (401, "ApiKey".into())
    );
    for lines in [
        "x-api-key: kez\r\n",
        "x-api-key:\r\n",
        "x-api-key: key\r\nx-api-key: key\r\n",
        "x_api_key: key\r\n",
    ] {
        assert_eq!(client.get_with("/", lines).await.status, 401, "{lines}");
    }
    let hashed = format!("x-api-key: {KEY}\r\n");
    assert_eq!(
        client.get_with("/", &hashed).await.status,
        401,
        "the hash is no key"
    );
    let reply = client
        .get_with("/", "x-api-key: key\r\nx-user: root\r\nx_user: root\r\n")
        .await;
    assert_eq!(reply.status, 200);
    let asked = &origin.asked()[0];
    assert_eq!(
        (asked.header("x-user"), asked.header("x_user")),
        ("robot".into(), String::new())
    );
    assert_eq!(
        (asked.header("x-api-key"), origin.count()),
        (String::new(), 1)
    );
    assert_eq!(refused(&proxy, "api_key").await, 6);
}

#[tokio::test]
async fn keys_in_the_query_and_in_a_file() {
    let file = File::with(&format!("robot:{KEY}\n"));
    let origin = echo().await;
    let table = format!(
        "api_keys = {{ query = \"k\", keys_file = \"{}\" }}",
        file.path().display()
    );
    let (_proxy, mut client) = start(&origin, &table).await;
    assert_eq!(client.get("/p?k=key&k=key").await.status, 401);
    assert_eq!(client.get("/p?k=other").await.status, 401);
    assert_eq!(
        client.get_with("/p", "x-api-key: key\r\n").await.status,
        401
    );
    assert_eq!(client.get("/p?a=1&k=k%65y&b=2").await.status, 200);
    assert_eq!(origin.asked()[0].target, "/p?a=1&b=2");
}

#[tokio::test]
async fn all_policies_must_be_passed() {
    let origin = echo().await;
    let tables = format!(
        "access = {{ allow = [\"127.0.0.1/32\"] }}\napi_keys = {{ keys = {{ robot = \"{KEY}\" }} }}\n\
         basic_auth = {{ users = {{ alice = \"{}\" }} }}",
        hash_of("secret")
    );
    let (proxy, mut client) = start(&origin, &tables).await;
    let (key, password) = ("x-api-key: key\r\n", basic("alice", "secret"));
    assert_eq!(client.get_with("/", key).await.status, 401);
    assert_eq!(client.get_with("/", &password).await.status, 401);
    assert_eq!(
        client
            .get_with("/", &format!("{key}{password}"))
            .await
            .status,
        200
    );
    assert_eq!(
        (
            refused(&proxy, "basic").await,
            refused(&proxy, "api_key").await
        ),
        (1, 1)
    );
}

// === tokens ===

/// Signs with a shared secret, which takes no key pair; the other algorithms have tests of their own.
fn token(claims: &serde_json::Value) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let head = BASE64.encode(r#"{"alg":"HS256","kid":"a"}"#);
    let message = format!("{head}.{}", BASE64.encode(claims.to_string()));
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, b"a shared secret");
    let tag = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64.encode(tag.as_ref()))
}

fn key_set(kid: &str) -> String {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    format!(
        r#"{{"keys":[{{"kty":"oct","kid":"{kid}","k":"{}"}}]}}"#,
        BASE64.encode("a shared secret")
    )
}

fn claims() -> serde_json::Value {
    serde_json::json!({"sub": "alice", "exp": 1_795_200_100u64, "role": ["user", "admin"], "n": 5})
}

#[tokio::test]
async fn signed_tokens() {
    let file = File::with(&key_set("a"));
    let origin = echo().await;
    let table = format!(
        "jwt = {{ jwks_file = \"{}\", algorithms = [\"HS256\", \"RS256\"], required_claims = {{ role = \"admin\" }}, \
         claims_to_headers = {{ sub = \"x-user\", role = \"x-role\", missing = \"x-missing\" }} }}",
        file.path().display()
    );
    let (proxy, mut client) = start(&origin, &table).await;
    let missing = client.get("/").await;
    assert_eq!(
        (missing.status, missing.header("www-authenticate")),
        (401, "Bearer".into())
    );
    let good = format!("authorization: Bearer {}\r\n", token(&claims()));
    let spoofed = "x-user: root\r\nX_Role: root\r\nx-missing: root\r\n";
    assert_eq!(
        client
            .get_with("/", &format!("{spoofed}{good}"))
            .await
            .status,
        200
    );
    let asked = &origin.asked()[0];
    assert_eq!(
        (asked.header("x-user"), asked.header("x-role")),
        ("alice".into(), "user,admin".into())
    );
    assert_eq!(
        (asked.header("x_role"), asked.header("x-missing")),
        Default::default()
    );
    assert!(asked.header("authorization").starts_with("Bearer "));
    let bad = client.get_with("/", &good.replace('.', ".x")).await;
    assert_eq!(
        (bad.status, bad.header("www-authenticate")),
        (401, "Bearer error=\"invalid_token\"".into())
    );
    let mut lesser = claims();
    lesser["role"] = "user".into();
    let lesser = client
        .get_with(
            "/",
            &format!("authorization: Bearer {}\r\n", token(&lesser)),
        )
        .await;
    assert_eq!(
        (lesser.status, lesser.header("www-authenticate")),
        (403, "Bearer error=\"insufficient_scope\"".into())
    );
    // By the engine's clock, with a minute of leeway.
    proxy.clock().advance(Duration::from_secs(159));
    assert_eq!(client.get_with("/", &good).await.status, 200);
    proxy.clock().advance(Duration::from_secs(1));
    assert_eq!(client.get_with("/", &good).await.status, 401);
    assert_eq!((origin.count(), refused(&proxy, "jwt").await), (2, 4));
}

#[tokio::test]
async fn tokens_in_a_cookie_and_keys_that_change() {
    let file = File::with(&key_set("a"));
    let origin = echo().await;
    let path = file.path();
    let table = format!(
        "jwt = {{ jwks_file = \"{}\", algorithms = [\"HS256\"], cookie = \"t\", forward = false }}",
        path.display()
    );
    let (proxy, mut client) = start(&origin, &table).await;
    let cookie = format!("cookie: a=1; t={}; b=2\r\n", token(&claims()));
    assert_eq!(client.get_with("/", &cookie).await.status, 200);
    assert_eq!(origin.asked()[0].header("cookie"), "a=1; b=2");
    let bearer = format!("authorization: Bearer {}\r\n", token(&claims()));
    assert_eq!(client.get_with("/", &bearer).await.status, 401);
    file.write("{broken");
    proxy.clock().advance(Duration::from_secs(5));
    assert_eq!(client.get_with("/", &cookie).await.status, 200);
    file.write(&key_set("b"));
    proxy.clock().advance(Duration::from_secs(5));
    assert_eq!(client.get_with("/", &cookie).await.status, 401);
}

// === another service ===

async fn judge() -> RunningOrigin {
    Origin::new()
        .get("/check", |asked| match &*asked.header("cookie") {
            "session=alice" => reply("welcome")
                .with("x-user", "alice")
                .with("x-other", "no"),
            "session=moved" => reply("").with_status(302).with("location", "/login"),
            "session=banned" => reply("banned").with_status(403).with("x-why", "spam"),
            "session=broken" => reply("").with_status(500),
            "session=odd" => reply("").with_status(304),
            _ => reply("who?")
                .with_status(401)
                .with("www-authenticate", "Custom"),
        })
        .run()
        .await
}

fn judged(judge: &str, more: &str) -> String {
    format!(
        "forward_auth = {{ url = \"{judge}/check\", response_headers = [\"x-user\"], user_header = \"x-user\"{more} }}"
    )
}

#[tokio::test]
async fn another_service_decides() {
    let (origin, judge) = (echo().await, judge().await);
    let (proxy, mut client) = start(&origin, &judged(&judge.url(), "")).await;
    let mut get = async |session: &str| {
        let lines = format!("cookie: session={session}\r\n");
        client.get_with("/p?q=1", &lines).await
    };
    let unknown = get("x").await;
    assert_eq!((unknown.status, unknown.text()), (401, "who?"));
    assert_eq!(unknown.header("www-authenticate"), "Custom");
    let moved = get("moved").await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (302, "/login".into())
    );
    let banned = get("banned").await;
    assert_eq!(
        (banned.status, banned.header("x-why"), banned.text()),
        (403, "spam".into(), "banned")
    );
    assert_eq!(get("broken").await.status, 503);
    assert_eq!(get("odd").await.status, 503);
    assert_eq!(
        (origin.count(), refused(&proxy, "forward_auth").await),
        (0, 5)
    );
    assert_eq!(get("alice").await.text(), "through");
}

#[tokio::test]
async fn what_the_service_is_asked_and_what_it_tells() {
    let (origin, judge) = (echo().await, judge().await);
    let (_proxy, mut client) = start(&origin, &judged(&judge.url(), "")).await;
    let lines = "cookie: session=alice\r\nx-user: root\r\nX_User: root\r\nx-other: mine\r\nauthorization: Basic x\r\n\
                 x-forwarded-for: 10.0.0.1\r\nx-forwarded-uri: /free\r\n";
    let reply = client.ask("POST", "/p?q=1", lines, b"the body").await;
    assert_eq!(reply.status, 200);
    let question = &judge.asked()[0];
    assert_eq!(
        (question.method.as_str(), question.target.as_str()),
        ("GET", "/check")
    );
    assert_eq!(question.body.as_deref(), Some(&b""[..]));
    for (name, value) in [
        ("x-forwarded-method", "POST"),
        ("x-forwarded-uri", "/p?q=1"),
        ("x-forwarded-host", "shop.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-for", "127.0.0.1"),
        ("authorization", "Basic x"),
        ("cookie", "session=alice"),
        ("content-length", ""),
        ("x-user", ""),
    ] {
        assert_eq!(question.header(name), value, "{name}");
    }
    assert_eq!(question.header("host"), judge.address().to_string());
    let asked = &origin.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.body.as_deref()),
        ("POST", Some(&b"the body"[..]))
    );
    assert_eq!(
        (asked.header("x-user"), asked.header("x_user")),
        ("alice".into(), String::new())
    );
    assert_eq!(asked.header("x-other"), "mine", "not asked for");
}

#[tokio::test]
async fn without_a_verdict_nobody_passes() {
    let origin = echo().await;
    let (_proxy, mut client) = start(&origin, &judged(&nowhere(), "")).await;
    assert_eq!(client.get("/").await.status, 503);
    let slow = Origin::new()
        .later("*", |_| std::future::pending())
        .run()
        .await;
    let (_proxy, mut client) = start(&origin, &judged(&slow.url(), ", timeout = \"50ms\"")).await;
    assert_eq!(client.get("/").await.status, 503);
    let garbage = cirrus_core::testing::scripted(b"nonsense\r\n\r\n").await;
    let (_proxy, mut client) = start(&origin, &judged(&garbage.url(), "")).await;
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(origin.count(), 0);
}

/// The service behind the very route that asks it.
#[tokio::test]
async fn a_service_that_asks_itself_is_asked_once() {
    let origin = echo().await;
    let port = ports::free();
    let listen = format!("[[listen]]\naddress = \"{port}\"\n");
    let toml = guarded(&origin, &judged(&format!("http://{port}"), ""));
    let proxy = proxy::new(&format!("{listen}{toml}")).run().await;
    let mut client = Client::to(proxy.address());
    assert_eq!(client.get("/").await.status, 503);
    assert_eq!(refused(&proxy, "forward_auth").await, 2);
}

// === around ===

#[tokio::test]
async fn the_log_names_the_user() {
    let directory = tempfile::tempdir().unwrap();
    let origin = echo().await;
    for (format, expected) in [
        ("json", "\"user\":\"alice b\""),
        ("combined", "127.0.0.1 - alice_b ["),
    ] {
        let file = directory.path().join(format);
        let log = format!(
            "[access_log]\nformat = \"{format}\"\nfile = \"{}\"\n",
            file.display()
        );
        let users = format!(
            "basic_auth = {{ users = {{ \"alice b\" = \"{}\" }} }}",
            hash_of("secret")
        );
        let proxy = proxy::new(&format!("{log}{}", guarded(&origin, &users)))
            .run()
            .await;
        let mut client = Client::to(proxy.address());
        client.get_with("/", &basic("alice b", "secret")).await;
        client.get_with("/", &basic("root", "x")).await;
        proxy.shutdown().await;
        let text = std::fs::read_to_string(file).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].contains(expected), "{text}");
        assert!(
            !lines[1].contains("root"),
            "nobody is who they only say they are: {text}"
        );
    }
}

#[tokio::test]
async fn operators_do_not_see_hashes() {
    let origin = echo().await;
    let tables = format!(
        "api_keys = {{ keys = {{ robot = \"{KEY}\" }} }}\nbasic_auth = {{ users = {{ alice = \"{}\" }} }}",
        hash_of("secret")
    );
    let (proxy, _) = start(&origin, &tables).await;
    let page = Client::to(proxy.admin())
        .host("localhost")
        .get("/api/v1/config")
        .await;
    let site =
        &serde_json::from_str::<serde_json::Value>(page.text()).unwrap()["config"]["site"][0];
    assert_eq!(site["basic_auth"]["users"]["alice"], "…");
    assert_eq!(site["api_keys"]["keys"]["robot"], "…");
    assert!(!page.text().contains("$2b$") && !page.text().contains("sha256:"));
}

#[tokio::test]
async fn faults_are_found_before_anybody_comes() {
    use cirrus_core::config::{Abilities, Config, Format, check};
    let broken = File::with("alice:plaintext\n");
    let path = broken.path();
    let path = path.display();
    for (table, field) in [
        ("access = {}".to_owned(), "access"),
        ("basic_auth = {}".to_owned(), "basic_auth"),
        (
            "basic_auth = { users = { alice = \"hunter2\" } }".to_owned(),
            "basic_auth.users.alice",
        ),
        (
            format!("basic_auth = {{ users_file = \"{path}\" }}"),
            "basic_auth.users_file",
        ),
        (
            "basic_auth = { users_file = \"/does/not/exist\" }".to_owned(),
            "basic_auth.users_file",
        ),
        ("api_keys = {}".to_owned(), "api_keys"),
        ("jwt = {}".to_owned(), "jwt"),
        (
            format!("jwt = {{ jwks_file = \"{path}\" }}"),
            "jwt.jwks_file",
        ),
        (
            "jwt = { jwks_file = \"x\", algorithms = [\"none\"] }".to_owned(),
            "jwt.algorithms[0]",
        ),
        ("forward_auth = {}".to_owned(), "forward_auth"),
        (
            "forward_auth = { url = \"http://a/\", response_headers = [\"Host\"] }".to_owned(),
            "forward_auth.response_headers[0]",
        ),
        (
            "forward_auth = { url = \"http://a/\", request_headers = [\"x\", \"te\"] }".to_owned(),
            "forward_auth.request_headers[1]",
        ),
        (
            format!("api_keys = {{ keys = {{ robot = \"{KEY}\" }}, query = \"\" }}"),
            "api_keys.query",
        ),
        (
            "jwt = { jwks_file = \"x\", query = \"\" }".to_owned(),
            "jwt.query",
        ),
        (
            "jwt = { jwks_file = \"x\", cookie = \"\" }".to_owned(),
            "jwt.cookie",
        ),
        (
            "jwt = { jwks_file = \"x\", claims_to_headers = { sub = \"host\" } }".to_owned(),
            "jwt.claims_to_headers.sub",
        ),
        (
            "jwt = { jwks_file = \"x\", claims_to_headers = { a = \"x-a\", b = \"X-A\" } }"
                .to_owned(),
            "jwt.claims_to_headers.b",
        ),
        (
            "forward_auth = { url = \"http://a/\", user_header = \"x\" }".to_owned(),
            "forward_auth.user_header",
        ),
    ] {
        let toml = format!(
            "[[site]]\nhosts = [\"*\"]\n{table}\n[[site.origin]]\nurl = \"http://127.0.0.1:1\"\n"
        );
        let faults = match Config::parse(&toml, Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()),
            Err(faults) => faults,
        };
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert!(
            paths.contains(&&*format!("site[0].{field}")),
            "{table}: {paths:?}"
        );
        assert!(
            !faults
                .iter()
                .any(|fault| fault.message.contains("plaintext"))
        );
    }
}
