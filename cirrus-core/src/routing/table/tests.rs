use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

fn at(path: &str) -> Matcher {
    Matcher::new(path.parse().unwrap())
}

fn table(matchers: impl IntoIterator<Item = Matcher>) -> Table<usize> {
    let routes = matchers
        .into_iter()
        .enumerate()
        .map(|(i, matcher)| (matcher, i));
    Table::compile(routes.collect()).0
}

fn shadows(matchers: impl IntoIterator<Item = Matcher>) -> Vec<(usize, usize)> {
    let routes = matchers.into_iter().map(|matcher| (matcher, ()));
    let (_, shadowed) = Table::compile(routes.collect());
    shadowed.iter().map(|s| (s.route, s.by)).collect()
}

fn lookup<'a>(table: &'a Table<usize>, method: &Method, path: &'a str) -> Found<'a, 'a, usize> {
    table.lookup(method, path, None, &HeaderMap::new())
}

/// The index, or the allowed methods.
fn outcome(found: Found<'_, '_, usize>) -> Result<usize, Vec<Method>> {
    match found {
        Found::Route { value, index, .. } => {
            assert_eq!(*value, index);
            Ok(index)
        }
        Found::MethodNotAllowed(methods) => Err(methods),
        Found::None => Err(Vec::new()),
    }
}

fn get(table: &Table<usize>, path: &str) -> Option<usize> {
    outcome(lookup(table, &Method::GET, path)).ok()
}

// === lookup ===

#[test]
fn the_most_specific_wins_whatever_the_order() {
    let paths = ["/*", "*.jpg", "/a/*", "/a/{x}", "/a/b", "/a/*.jpg"];
    let expected = [
        ("/", 0),
        ("/b.jpg", 1),
        ("/a", 2),
        ("/a/c", 3),
        ("/a/b", 4),
        ("/a/b/c.jpg", 5),
        ("/a/c.jpg", 3),
    ];
    let forwards = table(paths.map(at));
    let backwards = table(paths.iter().rev().map(|path| at(path)));
    for (path, index) in expected {
        assert_eq!(get(&forwards, path), Some(index), "{path}");
        assert_eq!(get(&backwards, path), Some(5 - index), "{path}");
    }
}

#[test]
fn a_route_with_an_unmet_condition_gives_way() {
    let beta = HeaderName::from_static("x-beta");
    let table = table([
        at("/a"),
        at("/a").with_header(beta.clone(), "1"),
        at("/*").with_query("q", "*"),
        at("/*"),
    ]);
    let mut headers = HeaderMap::new();
    let ask = |path, query, headers: &HeaderMap| {
        outcome(table.lookup(&Method::GET, path, query, headers)).ok()
    };
    assert_eq!(ask("/a", None, &headers), Some(0));
    assert_eq!(ask("/a", Some("q=1"), &headers), Some(0));
    assert_eq!(ask("/b", Some("q=1"), &headers), Some(2));
    assert_eq!(ask("/b", Some("r=1"), &headers), Some(3));
    headers.insert(beta, HeaderValue::from_static("1"));
    assert_eq!(ask("/a", None, &headers), Some(1));
}

#[test]
fn of_equals_the_first_wins() {
    let table = table([at("/*").with_query("a", "1"), at("/*").with_query("b", "1")]);
    let found = table.lookup(&Method::GET, "/", Some("b=1&a=1"), &HeaderMap::new());
    assert_eq!(outcome(found), Ok(0));
}

#[test]
fn parameters_come_with_the_route() {
    let table = table([at("/user/{id}/*")]);
    let Found::Route { params, .. } = lookup(&table, &Method::GET, "/user/7/x") else {
        panic!("no route");
    };
    assert_eq!(params.get("id"), Some("7"));
}

#[test]
fn a_wrong_method_is_told_which_ones_are_right() {
    let table = table([
        at("/a").with_methods([Method::PUT]),
        at("/{x}").with_methods([Method::GET]),
        at("/b"),
    ]);
    let post = |path| outcome(lookup(&table, &Method::POST, path));
    assert_eq!(
        post("/a"),
        Err(vec![Method::GET, Method::HEAD, Method::PUT])
    );
    assert_eq!(post("/c"), Err(vec![Method::GET, Method::HEAD]));
    // A less specific route that takes the method is better than a refusal.
    assert_eq!(outcome(lookup(&table, &Method::HEAD, "/a")), Ok(1));
    assert_eq!(post("/b"), Ok(2));
    assert!(matches!(lookup(&table, &Method::POST, "/c/d"), Found::None));
}

#[test]
fn an_empty_table_has_nothing() {
    assert!(matches!(
        lookup(&Table::default(), &Method::GET, "/"),
        Found::None
    ));
}

#[test]
fn is_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<Table<usize>>();
    shared::<crate::routing::Hosts<usize>>();
    shared::<crate::routing::Template>();
}

// === shadows ===

#[test]
fn the_same_again_is_shadowed() {
    assert_eq!(
        shadows([at("/a"), at("/b"), at("/a"), at("/a")]),
        [(2, 0), (3, 0)]
    );
    assert_eq!(shadows([at("/{x}/*"), at("/{y}/*")]), [(1, 0)]);
    assert_eq!(shadows([at("*.jpg"), at("/*.jpg")]), [(1, 0)]);
    let (get, both) = ([Method::GET], [Method::HEAD, Method::GET]);
    assert_eq!(
        shadows([at("/a").with_methods(get), at("/a").with_methods(both)]),
        [(1, 0)]
    );
    let header = |value| at("/a").with_header(HeaderName::from_static("x"), value);
    assert_eq!(shadows([header("*"), header("1"), header("*")]), [(2, 0)]);
}

#[test]
fn the_wider_one_shadows_nothing_even_when_it_comes_first() {
    let wide_first = [
        at("/*"),
        at("/a/*"),
        at("/a"),
        at("/*").with_methods([Method::GET]),
        at("/*").with_methods([Method::HEAD]),
        at("/*").with_query("a", "*"),
        at("/*").with_query("a", "1"),
        at("/*").with_query("a", "2"),
        at("/{x}/b"),
        at("/a/{x}"),
    ];
    assert_eq!(shadows(wide_first), []);
}

// === properties ===

/// One request's method, path, query and value of `x`.
type Ask = (Method, String, &'static str, Option<&'static str>);

fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
    let path = prop::sample::select(vec![
        "/*", "/", "/a", "/b", "/a/b", "/a/*", "/a/b/*", "/{x}", "/{y}", "/a/{x}", "/{x}/b",
        "/{x}/{y}", "/{x}/*", "*.j", "*x.j", "/a/*.j", "/{x}/*.j",
    ]);
    let methods = prop::collection::vec(methods(), 0..3);
    let value = || prop::option::of(prop::sample::select(vec!["*", "1", "2"]));
    let matcher = (path, methods, value(), value()).prop_map(|(path, methods, header, query)| {
        let mut matcher = at(path).with_methods(methods);
        if let Some(value) = header {
            matcher = matcher.with_header(HeaderName::from_static("x"), value);
        }
        match query {
            Some(value) => matcher.with_query("q", value),
            None => matcher,
        }
    });
    prop::collection::vec(matcher, 0..12)
}

fn methods() -> impl Strategy<Value = Method> {
    prop::sample::select(vec![Method::GET, Method::HEAD, Method::POST])
}

fn asks() -> impl Strategy<Value = Ask> {
    let segments =
        prop::collection::vec(prop::sample::select(vec!["", "a", "b", "x.j", "c"]), 1..4);
    let path = segments.prop_map(|segments| format!("/{}", segments.join("/")));
    let query = prop::sample::select(vec!["", "q=1", "q=2&z", "q=3", "q=3&q=%31"]);
    let header = prop::option::of(prop::sample::select(vec!["1", "2", "3"]));
    (methods(), path, query, header)
}

fn headers(ask: &Ask) -> HeaderMap {
    ask.3
        .iter()
        .map(|value| {
            (
                HeaderName::from_static("x"),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

/// All routes in the order of the list; the first of the most specific ones counts.
fn naive(matchers: &[Matcher], ask: &Ask) -> Result<usize, Vec<Method>> {
    let headers = headers(ask);
    let asked = Asked {
        path: &ask.1,
        query: Some(ask.2),
        headers: &headers,
    };
    let matching = || {
        matchers
            .iter()
            .enumerate()
            .filter(|(_, matcher)| matcher.is_match_but_method(&asked))
    };
    let allowed = matching().filter(|(_, matcher)| matcher.allows(&ask.0));
    match allowed.max_by_key(|(index, matcher)| (matcher.rank(), std::cmp::Reverse(*index))) {
        Some((index, _)) => Ok(index),
        None => {
            let mut methods: Vec<_> = matching()
                .flat_map(|(_, matcher)| matcher.methods().to_vec())
                .collect();
            methods.sort_by_key(Method::to_string);
            methods.dedup();
            Err(methods)
        }
    }
}

proptest! {
    #[test]
    fn agrees_with_a_scan_of_all_routes(matchers in matchers(), asks in prop::collection::vec(asks(), 1..20)) {
        let table = table(matchers.clone());
        for ask in &asks {
            let found = table.lookup(&ask.0, &ask.1, Some(ask.2), &headers(ask));
            prop_assert_eq!(outcome(found), naive(&matchers, ask), "{:?}", ask);
        }
    }

    /// Exactly those are shadowed that another route covers and is preferred to.
    #[test]
    fn shadows_are_what_a_preferred_route_covers(matchers in matchers()) {
        let rank = |index: usize| (matchers[index].rank(), std::cmp::Reverse(index));
        let all = 0..matchers.len();
        let expected: Vec<_> = all
            .clone()
            .filter(|route| all.clone().any(|by| rank(by) > rank(*route) && matchers[by].covers(&matchers[*route])))
            .collect();
        let found = shadows(matchers.clone());
        for (route, by) in &found {
            prop_assert!(matchers[*by].covers(&matchers[*route]) && rank(*by) > rank(*route));
        }
        prop_assert_eq!(found.into_iter().map(|(route, _)| route).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_shadowed_route_is_never_found(matchers in matchers(), asks in prop::collection::vec(asks(), 1..20)) {
        let table = table(matchers.clone());
        let shadowed = shadows(matchers);
        for ask in &asks {
            if let Ok(index) = outcome(table.lookup(&ask.0, &ask.1, Some(ask.2), &headers(ask))) {
                prop_assert!(shadowed.iter().all(|(route, _)| *route != index));
            }
        }
    }
}
