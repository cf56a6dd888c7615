use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> PathPattern {
    text.parse().unwrap()
}

fn complaint(text: &str) -> String {
    text.parse::<PathPattern>().unwrap_err().to_string()
}

fn assert_matches(text: &str, yes: &[&str], no: &[&str]) {
    let pattern = pattern(text);
    for path in yes {
        assert!(
            pattern.matches(path).is_some(),
            "{text} should match {path}"
        );
    }
    for path in no {
        assert!(
            pattern.matches(path).is_none(),
            "{text} should not match {path}"
        );
    }
}

// === matching ===

#[test]
fn exact_is_only_itself() {
    assert_matches(
        "/a/b",
        &["/a/b"],
        &["/a", "/a/b/", "/a/bc", "/A/b", "/a/b/c"],
    );
    assert_matches("/", &["/"], &["//", "/a"]);
    assert_matches("/a/", &["/a/"], &["/a", "/a/b"]);
}

#[test]
fn a_prefix_ends_at_a_slash() {
    assert_matches(
        "/a/*",
        &["/a", "/a/", "/a/b", "/a/b/c"],
        &["/", "/ab", "/b/a"],
    );
    assert_matches("/*", &["/", "/a", "/a/b"], &["*"]);
}

#[test]
fn an_ending_spans_segments() {
    assert_matches(
        "*.jpg",
        &["/a.jpg", "/a/b/c.jpg", "/.jpg"],
        &["/a.jpeg", "/a.jpg/b", "/a.jpg/"],
    );
    assert_matches(
        "/img/*.jpg",
        &["/img/a.jpg", "/img/a/b.jpg"],
        &["/img.jpg", "/imgs/a.jpg", "/a.jpg"],
    );
    assert_matches(
        "/t/{x}/*.js",
        &["/t/1/a.js", "/t/1/a/b.js"],
        &["/t/1.js", "/t//a.js"],
    );
}

#[test]
fn a_parameter_is_one_segment_and_never_empty() {
    assert_matches(
        "/user/{id}/posts",
        &["/user/7/posts"],
        &["/user//posts", "/user/7", "/user/7/8/posts"],
    );
    assert_matches(
        "/user/{id}/*",
        &["/user/7", "/user/7/", "/user/7/a/b"],
        &["/user", "/user/", "/user//a"],
    );
}

#[test]
fn parameters_are_captured_as_they_stand() {
    let pattern = pattern("/{a}/x/{b}/*");
    let params = pattern.matches("/1%20/x/2/rest").unwrap();
    assert_eq!(
        params.iter().collect::<Vec<_>>(),
        [("a", "1%20"), ("b", "2")]
    );
    assert_eq!((params.get("b"), params.get("c")), (Some("2"), None));
    assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "b"]);
    assert!(PathPattern::default().matches("/1").unwrap().is_empty());
}

// === parsing ===

#[test]
fn escapes_are_in_normal_form() {
    assert_eq!(
        pattern("/%7euser/%c3%bc/a%2fb").to_string(),
        "/~user/%C3%BC/a%2Fb"
    );
    assert_eq!(pattern("/*%2Ejpg").to_string(), "*.jpg");
}

#[test]
fn faults_say_what_is_allowed() {
    assert!(complaint("").starts_with("a path begins with \"/\""));
    assert!(complaint("a/b").starts_with("a path begins with \"/\""));
    assert!(complaint("*").contains("\"/*\" for every path"));
    for star in ["/a*", "/*/b", "/a/*/", "/a/**", "*a*", "*/b", "/a/b*c"] {
        assert!(
            complaint(star).starts_with("a star stands only in the last segment"),
            "{star}"
        );
    }
    assert!(complaint("/a?b=c").contains("`query`"));
    assert!(complaint("/a#b").contains("fragment"));
    for dots in ["/a/../b", "/.", "/a/%2e%2E"] {
        assert!(complaint(dots).contains("resolved"), "{dots}");
    }
    for brace in ["/{a", "/a}", "/x-{a}", "/{{a}}", "/{a}{b}", "/*{a}"] {
        assert!(
            complaint(brace)
                .starts_with("a parameter is a whole segment in braces, such as \"/user/{id}\"")
        );
    }
    assert!(complaint("/{Id}").contains("\"{Id}\" does not"));
    assert!(complaint("/{}").contains("name"));
    assert_eq!(
        complaint("/{a}/{a}"),
        "the parameter \"{a}\" stands here twice"
    );
    for escape in ["/%", "/%4", "/%zz", "/%+1", "/%é"] {
        assert!(
            complaint(escape).contains("two hexadecimal digits"),
            "{escape}"
        );
    }
    assert!(complaint("/über").contains("'ü' is not allowed"));
    assert!(complaint("/a b").contains("%XX"));
}

#[test]
fn is_a_string_in_the_configuration() {
    let read: PathPattern = serde_json::from_str("\"/a/{id}/*\"").unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), "\"/a/{id}/*\"");
    assert!(serde_json::from_str::<PathPattern>("\"a\"").is_err());
    assert_eq!(
        schemars::schema_for!(PathPattern).get("type"),
        Some(&"string".into())
    );
    assert_eq!(PathPattern::default(), pattern("/*"));
}

// === order ===

#[test]
fn the_documented_order() {
    let order = [
        "/a/b",
        "/a",
        "/a/b/{x}",
        "/a/{x}",
        "/{x}/a",
        "/{x}/{y}",
        "/{x}",
        "/a/b/*.gz",
        "/a/*.gz",
        "*.tar.gz",
        "*.gz",
        "/a/b/*",
        "/a/{x}/*",
        "/a/*",
        "/{x}/{y}/*",
        "/{x}/*",
        "/*",
    ];
    let ranks: Vec<_> = order
        .iter()
        .map(|text| pattern(text).specificity())
        .collect();
    assert!(ranks.is_sorted_by(|a, b| a > b), "{ranks:#?}");
}

#[test]
fn covering_is_matching_everything_the_other_does() {
    let covers = |a, b| pattern(a).covers(&pattern(b));
    for (wide, narrow) in [
        ("/*", "*.jpg"),
        ("/*", "/{a}/b"),
        ("/a/*", "/a"),
        ("/a/*", "/a/{x}/*.jpg"),
        ("/{x}/*", "/a/b/*"),
        ("/{x}", "/a"),
        ("*.gz", "/a/*.tar.gz"),
        ("*.gz", "/{x}/a.gz"),
    ] {
        assert!(covers(wide, narrow), "{wide} covers {narrow}");
        assert!(!covers(narrow, wide), "{narrow} does not cover {wide}");
    }
    for (a, b) in [
        ("/{x}/*", "/"),
        ("*.gz", "/a/{x}"),
        ("/{x}/*", "*.gz"),
        ("/a", "/b"),
        ("/a/*.gz", "/a.gz"),
    ] {
        assert!(!covers(a, b) && !covers(b, a), "{a} and {b}");
    }
    assert!(covers("/{x}/*", "/{y}/*") && covers("/{y}/*", "/{x}/*"));
}

// === properties ===

/// What the documentation says, without any of the shortcuts.
fn naive(pattern: &str, path: &str) -> bool {
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    let pattern = if pattern.starts_with('*') {
        pattern
    } else {
        &pattern[1..]
    };
    let (wanted, given): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    let same = |wanted: &[&str]| {
        wanted.len() <= given.len()
            && wanted
                .iter()
                .zip(&given)
                .all(|(w, g)| w == g || (w.starts_with('{') && !g.is_empty()))
    };
    let (last, above) = wanted.split_last().unwrap();
    match last.strip_prefix('*') {
        Some("") => same(above),
        Some(ending) => {
            same(above) && given.len() > above.len() && given.last().unwrap().ends_with(ending)
        }
        None => same(&wanted) && wanted.len() == given.len(),
    }
}

fn patterns() -> impl Strategy<Value = String> {
    let segments =
        prop::collection::vec(prop::sample::select(vec!["", "a", "b", "x.a", "{}"]), 0..4);
    let tail = prop::sample::select(vec!["", "/*", "/*a", "/*.a"]);
    (segments, tail).prop_map(|(segments, tail)| {
        let named = segments.iter().enumerate().map(|(i, s)| match *s {
            "{}" => format!("/{{p{i}}}"),
            literal => format!("/{literal}"),
        });
        let text = named.collect::<String>() + tail;
        if text.is_empty() {
            "/".to_owned()
        } else {
            text
        }
    })
}

fn paths() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop::sample::select(vec!["", "a", "b", "x.a", ".a", "c"]),
        1..5,
    )
    .prop_map(|segments| format!("/{}", segments.join("/")))
}

proptest! {
    #[test]
    fn matching_agrees_with_the_documentation(text in patterns(), path in paths()) {
        prop_assert_eq!(pattern(&text).matches(&path).is_some(), naive(&text, &path), "{} {}", text, path);
    }

    #[test]
    fn covering_is_never_claimed_wrongly(a in patterns(), b in patterns(), path in paths()) {
        let (a, b) = (pattern(&a), pattern(&b));
        if a.covers(&b) && b.matches(&path).is_some() {
            prop_assert!(a.matches(&path).is_some(), "{} {} {}", a, b, path);
        }
    }

    #[test]
    fn the_narrower_is_the_more_specific(a in patterns(), b in patterns()) {
        let (a, b) = (pattern(&a), pattern(&b));
        match (a.covers(&b), b.covers(&a)) {
            (true, true) => prop_assert_eq!(a.shape(), b.shape()),
            (true, false) => prop_assert!(b.specificity() > a.specificity(), "{} {}", a, b),
            (false, true) => prop_assert!(a.specificity() > b.specificity(), "{} {}", a, b),
            (false, false) => prop_assert_ne!(a.shape(), b.shape()),
        }
    }

    #[test]
    fn what_is_read_is_written_back(text in r"/[a-z{}*./%0-9]{0,12}|\PC{0,12}", path in r"\PC{0,12}") {
        if let Ok(pattern) = text.parse::<PathPattern>() {
            prop_assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
            let _ = pattern.matches(&path);
        }
    }

    #[test]
    fn generated_patterns_are_written_back(text in patterns()) {
        let pattern = pattern(&text);
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern));
    }
}
