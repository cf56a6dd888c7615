use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cache::Scheme;

fn refused<T: FromStr<Err: Display> + Debug>(text: &str) -> String {
    match text.parse::<T>() {
        Ok(value) => panic!("{text:?} was read as {value:?}"),
        Err(error) => error.to_string(),
    }
}

fn reads_back<T: FromStr<Err: Debug> + Display + PartialEq + Debug>(value: &T) {
    assert_eq!(&value.to_string().parse::<T>().unwrap(), value);
}

#[test]
fn periods_have_units() {
    let millis = |text: &str| text.parse::<Period>().unwrap().as_duration().as_millis();
    assert_eq!(millis("500ms"), 500);
    assert_eq!(millis("1m30s"), 90_000);
    assert_eq!(millis("2h"), 7_200_000);
    assert_eq!(millis("1d"), 86_400_000);
    assert_eq!(millis("0s"), 0);
    assert_eq!(millis("1d1ms"), 86_400_001);
    assert_eq!(Period::secs(90).to_string(), "1m30s");
    assert_eq!(Period::secs(0).to_string(), "0s");
    assert_eq!(
        Period::secs(u64::MAX).as_duration(),
        Duration::from_secs(36_500 * 86_400)
    );
}

#[test]
fn a_bare_number_is_no_period() {
    assert_eq!(
        refused::<Period>("30"),
        "write a unit, for example \"30s\"; allowed: d, h, m, s and ms"
    );
    for text in [
        "", "s", "-1s", "1.5s", "1 s", "30S", "1s1m", "1s1s", "1s1", "１s",
    ] {
        assert!(
            refused::<Period>(text).starts_with("not a duration"),
            "{text}"
        );
    }
    assert!(refused::<Period>("36501d").starts_with("too long"));
    assert!(refused::<Period>("99999999999999999999d").starts_with("too long"));
}

#[test]
fn sizes_are_binary_or_decimal() {
    let bytes = |text: &str| text.parse::<Size>().unwrap().bytes();
    assert_eq!(bytes("512"), 512);
    assert_eq!(bytes("64KiB"), 65_536);
    assert_eq!(bytes("256MiB"), 268_435_456);
    assert_eq!(bytes("1GiB"), 1_073_741_824);
    assert_eq!(bytes("2MB"), 2_000_000);
    assert_eq!(bytes("7B"), 7);
    assert_eq!(Size::mib(256).to_string(), "256MiB");
    assert_eq!(Size::of(1000).to_string(), "1000");
    for text in ["", "MiB", "1.5GiB", "1 MiB", "256mib", "256M", "-1", "+1"] {
        assert!(refused::<Size>(text).starts_with("not a size"), "{text}");
    }
    assert!(refused::<Size>("99999999TiB").starts_with("too large"));
}

#[test]
fn rates_have_a_unit_of_time() {
    let rate = |text: &str| text.parse::<Rate>().unwrap();
    let parts = |text: &str| (rate(text).count(), rate(text).period().as_secs());
    assert_eq!(parts("100/s"), (100, 1));
    assert_eq!(parts("10/m"), (10, 60));
    assert_eq!(parts("1000000/h"), (1_000_000, 3600));
    assert_eq!(parts("5/d"), (5, 86_400));
    assert_eq!(rate("61/m").in_a_second(), 2);
    assert_eq!(rate("1/d").in_a_second(), 1);
    assert_eq!(rate("007/s").to_string(), "7/s");
    for text in [
        "", "100", "/s", "100/", "1.5/s", "-1/s", "1/S", "1 / s", "1/s/s", "1/ms",
    ] {
        assert!(refused::<Rate>(text).starts_with("not a rate"), "{text}");
    }
    assert!(refused::<Rate>("0/s").starts_with("0 is not allowed"));
    assert!(refused::<Rate>("1000001/s").starts_with("too often"));
    assert!(refused::<Rate>("99999999999/s").starts_with("too often"));
}

#[test]
fn rate_keys_name_who_is_counted_together() {
    let key = |text: &str| text.parse::<RateKey>().unwrap();
    assert_eq!(
        (key("client"), key("route")),
        (RateKey::Client, RateKey::Route)
    );
    assert_eq!(key("header:X-Key").to_string(), "header:x-key");
    assert_eq!(key("cookie:Sid"), RateKey::Cookie("Sid".to_owned()));
    for text in ["", "clients", "client:", "header", "query:a"] {
        assert!(refused::<RateKey>(text).starts_with("not a key"), "{text}");
    }
    assert!(refused::<RateKey>("header:").contains("letters, digits"));
    assert!(refused::<RateKey>("cookie:a b").contains("not the name of a cookie"));
}

#[test]
fn bounds_can_be_lifted() {
    assert_eq!("none".parse(), Ok(SizeBound(None)));
    assert_eq!("2KiB".parse(), Ok(SizeBound(Some(Size::kib(2)))));
    assert_eq!("none".parse(), Ok(PeriodBound(None)));
    assert_eq!("2s".parse(), Ok(PeriodBound(Some(Period::secs(2)))));
    assert!(refused::<SizeBound>("None").starts_with("not a size"));
    assert!(refused::<PeriodBound>("").starts_with("not a duration"));
}

#[test]
fn sets_of_statuses_are_one_or_a_class() {
    let set = |text: &str| text.parse::<StatusSet>().unwrap();
    let holds = |text: &str, status: u16| {
        let status = http::StatusCode::from_u16(status).unwrap();
        set(text).contains(status)
    };
    assert!(holds("404", 404) && !holds("404", 410));
    assert!(holds("5xx", 500) && holds("5xx", 599) && !holds("5xx", 404));
    assert!(set("599") < set("2xx"), "one before its class");
    assert_eq!(
        (set("404").to_string(), set("4xx").to_string()),
        ("404".to_owned(), "4xx".to_owned())
    );
    for text in [
        "", "xx", "1xx", "6xx", "5XX", "5x", "44", "199", "600", "0404", "+404", "4*",
    ] {
        assert!(
            refused::<StatusSet>(text).starts_with("not a set"),
            "{text}"
        );
    }
}

#[test]
fn origins_are_normalised() {
    let url = |text: &str| text.parse::<OriginUrl>().unwrap();
    let shop = url("HTTP://Shop.Example:80/");
    assert_eq!(
        (shop.as_str(), shop.host(), shop.port()),
        ("http://shop.example", "shop.example", 80)
    );
    assert_eq!(shop, url("http://shop.example"));
    assert_ne!(shop, url("https://shop.example"));
    let six = url("https://[2001:DB8::0:1]:8443");
    assert_eq!(
        (six.host(), six.authority(), six.port()),
        ("2001:db8::1", "[2001:db8::1]:8443", 8443)
    );
    assert_eq!(six.scheme(), Scheme::Https);
    assert_eq!(url("http://127.0.0.1:3000").authority(), "127.0.0.1:3000");
}

#[test]
fn an_origin_may_be_a_unix_socket() {
    let socket: OriginUrl = "unix:/run/Shop.sock".parse().unwrap();
    assert_eq!(
        socket.unix_path(),
        Some(std::path::Path::new("/run/Shop.sock"))
    );
    assert_eq!(
        (socket.host(), socket.port(), socket.scheme()),
        ("", 0, Scheme::Http)
    );
    assert_eq!(socket.authority(), "unix:/run/Shop.sock");
    assert_eq!(socket.to_string().parse(), Ok(socket));
    let tcp: OriginUrl = "http://unix:80".parse().unwrap();
    assert_eq!(tcp.unix_path(), None);
    for text in ["unix:", "unix:a.sock", "unix:/", "unix://a/b", "unix:/a/"] {
        assert!(refused::<OriginUrl>(text).contains("whole path"), "{text}");
    }
    assert!(refused::<OriginUrl>(&format!("unix:/{}", "a".repeat(107))).contains("at most 107"));
}

#[test]
fn an_origin_is_scheme_host_and_port() {
    assert_eq!(
        refused::<OriginUrl>("127.0.0.1:8000"),
        "an origin needs a scheme: write `http://127.0.0.1:8000`"
    );
    assert_eq!(
        refused::<OriginUrl>(""),
        "an origin needs a scheme: write `http://127.0.0.1:3000`"
    );
    let cases = [
        ("ftp://a", "`ftp` is not a scheme"),
        ("http://a/b", "no path"),
        ("http://a?b", "no query"),
        ("http://a/#b", "no path"),
        ("http://a#b", "no fragment"),
        ("http://u:p@a", "no user name or password"),
        ("http://", "needs a host"),
        ("http://:80", "needs a host"),
        ("http://a:0", "`0` is not a port"),
        ("http://a:", "`` is not a port"),
        ("http://a:+1", "`+1` is not a port"),
        ("http://a:65536", "`65536` is not a port"),
        ("http://::1", "needs brackets"),
        ("http://[::1", "never closed"),
        ("http://[::1]x", "only a port"),
        ("http://[a]", "`a` is not an IPv6 address"),
        ("http://1.2.3", "`1.2.3` is not an IPv4 address"),
        ("http://127.0.0.01", "not an IPv4 address"),
        ("http://a b", "is not a host"),
        ("http://ü.example", "is not a host"),
        ("http://a..b", "is not a host"),
        ("http://-a", "is not a host"),
    ];
    for (text, part) in cases {
        let message = refused::<OriginUrl>(text);
        assert!(message.contains(part), "{text}: {message}");
    }
}

#[test]
fn header_fields_are_checked() {
    assert_eq!(
        "X-Request-Id".parse::<HeaderTitle>().unwrap().as_str(),
        "x-request-id"
    );
    assert!(refused::<HeaderTitle>("x y").contains("letters, digits"));
    assert_eq!("a\tb".parse::<HeaderText>().unwrap().to_value(), "a\tb");
    assert!(refused::<HeaderText>("a\r\nb").contains("visible ASCII"));
    assert!(refused::<HeaderText>("ü").contains("visible ASCII"));
    assert!(refused::<HeaderText>(" a").contains("white space"));
}

#[test]
fn methods_are_upper_case() {
    assert_eq!("PURGE".parse::<MethodName>().unwrap().to_method(), "PURGE");
    assert_eq!(
        refused::<MethodName>("get"),
        "methods are written in upper case: \"GET\""
    );
    assert!(refused::<MethodName>("G T").contains("not a request method"));
}

#[test]
fn a_status_is_a_number_of_three_digits() {
    assert_eq!(
        serde_json::from_str::<StatusNumber>("302").unwrap(),
        StatusNumber(302)
    );
    assert_eq!(serde_json::to_string(&StatusNumber(302)).unwrap(), "302");
    for wrong in ["99", "600", "\"302\"", "302.0"] {
        assert!(
            serde_json::from_str::<StatusNumber>(wrong).is_err(),
            "{wrong}"
        );
    }
    assert_eq!(StatusNumber(404).to_status(), http::StatusCode::NOT_FOUND);
}

proptest! {
    #[test]
    fn what_is_written_reads_back(millis: u64, bytes: u64) {
        reads_back(&Period::millis(millis));
        reads_back(&Size::of(bytes));
        reads_back(&Rate::per_second(bytes as u32));
    }

    #[test]
    fn rates_and_keys_are_refused_or_read_back(text in "[0-9]{0,8}/?[smhdx]?|(header|cookie|client):?[a-z :]{0,9}") {
        let _ = text.parse::<Rate>().map(|value| reads_back(&value));
        let _ = text.parse::<RateKey>().map(|value| reads_back(&value));
    }

    #[test]
    fn any_text_is_refused_or_reads_back(text in ".{0,40}") {
        let _ = text.parse::<Period>().map(|value| reads_back(&value));
        let _ = text.parse::<Size>().map(|value| reads_back(&value));
        let _ = text.parse::<Rate>().map(|value| reads_back(&value));
        let _ = text.parse::<RateKey>().map(|value| reads_back(&value));
        let _ = text.parse::<SizeBound>().map(|value| reads_back(&value));
        let _ = text.parse::<PeriodBound>().map(|value| reads_back(&value));
        let _ = text.parse::<HeaderText>().map(|value| reads_back(&value));
        let _ = text.parse::<HeaderTitle>().map(|value| reads_back(&value));
        let _ = text.parse::<MethodName>().map(|value| reads_back(&value));
        let _ = format!("http://{text}").parse::<OriginUrl>().map(|value| reads_back(&value));
        let _ = format!("unix:/{text}").parse::<OriginUrl>().map(|value| reads_back(&value));
    }
}

#[test]
fn web_origins_are_kept_as_browsers_write_them() {
    let kept = |text: &str| text.parse::<WebOrigin>().unwrap().to_string();
    for (written, meant) in [
        ("*", "*"),
        ("HTTPS://A.example", "https://a.example"),
        ("https://a.example:443", "https://a.example"),
        ("http://a.example:443", "http://a.example:443"),
        ("https://*.A.example:8443", "https://*.a.example:8443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("http://localhost", "http://localhost"),
        ("capacitor://localhost", "capacitor://localhost"),
    ] {
        assert_eq!(kept(written), meant);
    }
    for text in [
        "",
        "a.example",
        "https://",
        "https://a..example",
        "https://a.example/",
        "https://a.example/x",
        "https://a@b.example",
        "https://a.example:",
        "https://a.example:65536",
        "https://a.example:+1",
        "https://*",
        "https://*.[::1]",
        "https://[x]",
        "https://a.*.example",
        "null",
        "https://ä.example",
    ] {
        assert!(
            refused::<WebOrigin>(text).starts_with("not an origin"),
            "{text}"
        );
    }
}

#[test]
fn media_ranges_cover_types_whatever_their_case_and_parameters() {
    let range = |text: &str| text.parse::<MediaRange>().unwrap();
    assert!(range("Text/HTML").covers("text/html; charset=utf-8"));
    assert!(range("text/html").covers("TEXT/html"));
    assert!(range("text/*").covers("text/anything;a=b"));
    assert!(!range("text/*").covers("textual/anything"));
    assert!(!range("text/html").covers("text/html2"));
    assert!(!range("text/html").covers("text"));
    assert!(!range("text/*").covers("täxt/x"));
    for text in [
        "",
        "text",
        "text/",
        "/html",
        "*/*",
        "text/h*",
        "text/html; q=1",
        "a/b/c",
    ] {
        assert!(
            refused::<MediaRange>(text).starts_with("not a media type"),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn what_is_read_as_a_web_origin_reads_back(text in r"(https?|app)://(\*\.)?[a-zA-Z.:0-9\[\]-]{0,14}|\PC{0,12}") {
        if let Ok(origin) = text.parse::<WebOrigin>() {
            reads_back(&origin);
            // What names one origin covers that one.
            let written = origin.to_string();
            prop_assert_eq!(origin.covers(&written), !written.contains("*.") );
        }
        if let Ok(range) = text.parse::<MediaRange>() {
            reads_back(&range);
        }
    }
}
