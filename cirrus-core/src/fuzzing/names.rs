//! Hosts, paths, and the patterns that routes are made of.

use std::fmt::Display;
use std::str::FromStr;

use crate::cache::Scheme;
use crate::downstream::hygiene::normal_path;
use crate::routing::{Host, HostPattern, PathPattern, Template};

/// A host has one form, and reads as itself.
pub fn host(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    for scheme in [Scheme::Http, Scheme::Https] {
        let Some(host) = Host::parse(text, scheme) else {
            continue;
        };
        assert_eq!(Host::parse(host.as_str(), scheme).as_ref(), Some(&host));
        assert!(host.as_str().starts_with(host.name()) && !host.name().is_empty());
        assert!(!host.as_str().bytes().any(|byte| byte.is_ascii_uppercase()));
        let pattern: Option<HostPattern> = host.name().parse().ok();
        assert!(pattern.is_some_and(|pattern| pattern.matches(host.name())));
    }
}

/// A path in normal form stays as it is, and has nothing left that climbs.
pub fn path(bytes: &[u8]) {
    // A request's target has nothing else; see `downstream::hygiene`.
    let is_path = bytes.starts_with(b"/") && bytes.iter().all(|byte| (b'!'..=b'~').contains(byte));
    let Some(text) = str::from_utf8(bytes).ok().filter(|_| is_path) else {
        return;
    };
    let Ok(normal) = normal_path(text) else {
        return;
    };
    assert!(normal.starts_with('/'), "{normal}");
    assert!(
        normal
            .split('/')
            .all(|segment| segment != "." && segment != ".."),
        "{normal}"
    );
    let again = normal_path(&normal).map(|again| again.into_owned());
    assert!(again.is_ok_and(|again| again == *normal), "{normal}");
}

/// A pattern on the first line, a path on the second.
pub fn routes(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    let (pattern, path) = text.split_once('\n').unwrap_or((text, "/"));
    round_trip::<HostPattern>(pattern);
    round_trip::<Template>(pattern);
    let Some(pattern) = round_trip::<PathPattern>(pattern) else {
        return;
    };
    assert!(pattern.covers(&pattern) && PathPattern::default().covers(&pattern));
    if path.starts_with('/') {
        matching(&pattern, path);
    }
}

/// What is written reads as the same.
fn round_trip<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read: T = text.parse().ok()?;
    let written = read.to_string();
    assert_eq!(written.parse().ok().as_ref(), Some(&read), "{written}");
    Some(read)
}

fn matching(pattern: &PathPattern, path: &str) {
    if let Some(exact) = pattern.as_exact() {
        assert_eq!(pattern.matches(path).is_some(), exact == path);
    }
    let Some(params) = pattern.matches(path) else {
        return;
    };
    assert!(
        params
            .iter()
            .all(|(_, value)| !value.is_empty() && !value.contains('/'))
    );
    assert!(params.iter().map(|(name, _)| name).eq(pattern.names()));
    // With its parameters filled in, it is a pattern that is covered by the first. In a path, these stand for themselves.
    if path.contains(['*', '{', '}']) {
        return;
    }
    let filled =
        Template::parse(&pattern.to_string()).map(|text| text.render(|name| params.get(name)));
    if let Some(filled) = filled
        .ok()
        .and_then(|filled| filled.parse::<PathPattern>().ok())
    {
        assert!(pattern.covers(&filled), "{pattern} {filled}");
    }
}
