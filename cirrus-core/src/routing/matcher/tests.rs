use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn at(path: &str) -> Matcher {
    Matcher::new(path.parse().unwrap())
}

fn methods(names: &[Method]) -> Matcher {
    at("/*").with_methods(names.iter().cloned())
}

fn name(text: &'static str) -> HeaderName {
    HeaderName::from_static(text)
}

fn has_query(matcher: &Matcher, query: &str) -> bool {
    let headers = &HeaderMap::new();
    matcher.is_match_but_method(&Asked {
        path: "/",
        query: Some(query),
        headers,
    })
}

#[test]
fn get_stands_for_head() {
    assert!(methods(&[Method::GET]).allows(&Method::HEAD));
    assert!(!methods(&[Method::HEAD]).allows(&Method::GET));
    assert!(!methods(&[Method::GET]).allows(&Method::POST));
    assert!(methods(&[]).allows(&Method::from_bytes(b"ANYTHING").unwrap()));
    assert_eq!(
        methods(&[Method::GET]),
        methods(&[Method::HEAD, Method::GET, Method::GET])
    );
}

#[test]
fn any_line_of_a_header_may_have_the_value() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_static("2"));
    headers.append("x-b", HeaderValue::from_bytes(b"\xff").unwrap());
    let matches = |matcher: Matcher| {
        matcher.is_match_but_method(&Asked {
            path: "/",
            query: None,
            headers: &headers,
        })
    };
    assert!(matches(at("/*").with_header(name("x-a"), "2")));
    assert!(!matches(at("/*").with_header(name("x-a"), "1, 2")));
    assert!(matches(at("/*").with_header(name("x-b"), "*")));
    assert!(!matches(at("/*").with_header(name("x-c"), "*")));
    assert!(!matches(
        at("/*")
            .with_header(name("x-a"), "1")
            .with_header(name("x-b"), "1")
    ));
    assert!(matches(
        at("/*")
            .with_header(name("x-a"), "3")
            .with_header(name("x-a"), "1")
    ));
}

#[test]
fn query_parameters_are_compared_decoded() {
    let wanted = at("/*").with_query("a b", "ü+1");
    for query in ["a+b=%C3%BC%2b1", "x&a%20b=%c3%bc%2B1", "a+b=0&a+b=ü%2B1"] {
        assert!(has_query(&wanted, query), "{query}");
    }
    for query in ["", "a+b", "a+b=ü+1", "a+b=ü%2B1x", "a%2Bb=ü%2B1"] {
        assert!(!has_query(&wanted, query), "{query}");
    }
}

#[test]
fn a_star_in_the_query_is_any_value() {
    let wanted = at("/*").with_query("a", "*");
    assert!(has_query(&wanted, "a") && has_query(&wanted, "b&a=") && has_query(&wanted, "a=1=2"));
    assert!(!has_query(&wanted, "aa=1") && !has_query(&wanted, "b=a"));
    assert!(!has_query(&at("/*").with_query("", "*"), "a&&b"));
    assert!(has_query(&at("/*").with_query("a", ""), "a"));
}

#[test]
fn a_broken_escape_stands_for_itself() {
    for broken in ["%", "%4", "%zz", "100%", "%%41"] {
        assert!(decodes_to(broken, &broken.replace("%41", "A")), "{broken}");
    }
}

#[test]
fn covering_needs_every_condition_implied() {
    let (any, one) = (
        at("/*").with_header(name("x"), "*"),
        at("/*").with_header(name("x"), "1"),
    );
    assert!(any.covers(&one) && !one.covers(&any));
    assert!(at("/*").covers(&any) && !any.covers(&at("/*")));

    let (q, qr) = (
        at("/*").with_query("q", "1"),
        at("/a").with_query("q", "1").with_query("r", "*"),
    );
    assert!(q.covers(&qr) && !qr.covers(&q));
    assert!(!q.covers(&at("/*").with_query("q", "2")));
    // A header is not a query parameter.
    assert!(!one.covers(&at("/*").with_query("x", "1")));

    assert!(methods(&[]).covers(&methods(&[Method::GET])));
    assert!(!methods(&[Method::GET]).covers(&methods(&[])));
    assert!(methods(&[Method::GET]).covers(&methods(&[Method::HEAD])));
    assert!(!methods(&[Method::GET, Method::PUT]).covers(&methods(&[Method::POST])));
}

#[test]
fn the_documented_order() {
    let order = [
        at("/a"),
        at("/*")
            .with_methods([Method::GET])
            .with_header(name("x"), "*"),
        at("/*").with_header(name("x"), "1"),
        at("/*").with_header(name("x"), "*"),
        at("/*").with_methods([Method::PUT]),
        at("/*").with_methods([Method::PUT, Method::POST]),
        at("/*"),
    ];
    assert!(order.iter().map(Matcher::rank).is_sorted_by(|a, b| a > b));
}

proptest! {
    #[test]
    fn decoding_never_panics(encoded in r"[%+a-f0-9&=]{0,12}|\PC{0,12}", text in r"\PC{0,4}") {
        let _ = has_query(&at("/*").with_query(&text, &text), &encoded);
        prop_assert!(decodes_to(&encoded, &encoded) || encoded.contains(['%', '+']));
    }
}
