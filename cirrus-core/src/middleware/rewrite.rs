//! Another path for the origin than the one that the client asked for.

use std::sync::Arc;

use http::Uri;
use http::uri::PathAndQuery;
use tower_layer::Layer;

use super::{Context, Handler};
use crate::body::{Request, Response};
use crate::downstream::hygiene;
use crate::error::{Error, Kind};
use crate::routing::{PathPattern, Template};

/// Rewrites the path of every request that passes it. Belongs below the cache, whose keys are the public addresses.
#[derive(Clone, Debug)]
pub(crate) struct RewriteLayer(Arc<Rule>);

/// See [`RewriteLayer`].
#[derive(Clone, Debug)]
pub(crate) struct Rewrite<H> {
    inner: H,
    rule: Arc<Rule>,
}

/// How a path is made from another.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    /// Without a prefix, then with another; either may be empty, and neither ends with a slash.
    Prefix { strip: Box<str>, add: Box<str> },
    /// A new one, made from the parts of the old.
    Whole { to: Template, path: PathPattern },
}

// === impl Rule ===

impl Rule {
    /// Both as they were written; without a slash at the end they are put together with what begins with one.
    pub(crate) fn prefix(strip: &str, add: &str) -> Self {
        Self::Prefix {
            strip: strip.trim_end_matches('/').into(),
            add: add.trim_end_matches('/').into(),
        }
    }

    /// In normal form again, whatever was put together: the parts were, but their sum need not be.
    fn apply(&self, host: &str, path: &str) -> Result<String, Error> {
        let rewritten = match self {
            Self::Prefix { strip, add } => prefixed(path, strip, add),
            Self::Whole { to, path: pattern } => {
                let params = pattern.matches(path);
                to.render(|name| match name {
                    "host" => Some(host),
                    "path" => Some(path),
                    name => params.as_ref().and_then(|params| params.get(name)),
                })
            }
        };
        Ok(hygiene::normal_path(&rewritten)?.into_owned())
    }
}

/// `/api` is the front of `/api` and `/api/x`, not of `/apis`.
fn prefixed(path: &str, strip: &str, add: &str) -> String {
    let rest = match path.strip_prefix(strip) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => path,
    };
    format!("{add}{rest}")
}

// === impl RewriteLayer ===

impl RewriteLayer {
    pub(crate) fn new(rule: Rule) -> Self {
        Self(Arc::new(rule))
    }
}

impl<H> Layer<H> for RewriteLayer {
    type Service = Rewrite<H>;

    fn layer(&self, inner: H) -> Rewrite<H> {
        Rewrite {
            inner,
            rule: Arc::clone(&self.0),
        }
    }
}

// === impl Rewrite ===

impl<H: Handler> Handler for Rewrite<H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        let uri = request.uri();
        // `OPTIONS *` has no path to rewrite.
        if uri.path().starts_with('/') {
            let path = self.rule.apply(cx.host.as_str(), uri.path())?;
            *request.uri_mut() = with_query(path, uri.query())?;
        }
        self.inner.handle(cx, request).await
    }
}

fn with_query(path: String, query: Option<&str>) -> Result<Uri, Error> {
    let target = match query {
        Some(query) => format!("{path}?{query}"),
        None => path,
    };
    PathAndQuery::try_from(target)
        .map(Uri::from)
        .map_err(|error| Error::because(Kind::BadRequest, error))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix(strip: &str, add: &str, path: &str) -> String {
        Rule::prefix(strip, add).apply("a.example", path).unwrap()
    }

    fn whole(to: &str, pattern: &str, path: &str) -> String {
        let rule = Rule::Whole {
            to: to.parse().unwrap(),
            path: pattern.parse().unwrap(),
        };
        rule.apply("a.example", path).unwrap()
    }

    #[test]
    fn prefixes_end_where_segments_do() {
        for (strip, add, path, to) in [
            ("/api", "", "/api/users", "/users"),
            ("/api", "", "/api", "/"),
            ("/api", "", "/api/", "/"),
            ("/api/", "", "/api/users", "/users"),
            ("/api", "", "/apis", "/apis"),
            ("/api", "", "/x/api", "/x/api"),
            ("/api", "", "/api//x", "//x"),
            ("", "/v2", "/x", "/v2/x"),
            ("", "/v2/", "/", "/v2/"),
            ("/api", "/v2", "/api", "/v2/"),
            ("/api", "/v2", "/api/x%2Fy", "/v2/x%2Fy"),
            ("/", "/v2", "/x", "/v2/x"),
        ] {
            assert_eq!(prefix(strip, add, path), to, "{strip} {add} {path}");
        }
    }

    #[test]
    fn a_whole_path_is_made_from_parts() {
        assert_eq!(whole("/u/{id}", "/user/{id}/*", "/user/7/x"), "/u/7");
        assert_eq!(whole("/{host}{path}", "/*", "/x/y"), "/a.example/x/y");
        assert_eq!(whole("/u/{id}", "/user/{id}", "/user/a%2Fb"), "/u/a%2Fb");
        assert_eq!(whole("/fixed", "/*", "/x"), "/fixed");
    }

    proptest! {
        /// What routes and origins take for the same is the same: no rewriting brings back what was resolved before.
        #[test]
        fn what_is_rewritten_is_in_normal_form(
            path in "(/[a-z.%2ef/]{0,6}){1,4}",
            strip in "(/[a-z]{1,2})?",
        ) {
            let Ok(path) = hygiene::normal_path(&path) else { return Ok(()) };
            let rules = [
                Rule::prefix(&strip, "/v2"),
                Rule::Whole { to: "/n/{a}{b}".parse().unwrap(), path: "/{a}/{b}/*".parse().unwrap() },
            ];
            for rule in rules {
                let Ok(rewritten) = rule.apply("a.example", &path) else { continue };
                prop_assert!(rewritten.starts_with('/'));
                prop_assert_eq!(&*hygiene::normal_path(&rewritten).unwrap(), &*rewritten);
                prop_assert!(!rewritten.split('/').any(|segment| matches!(segment, "." | "..")));
            }
        }
    }
}
