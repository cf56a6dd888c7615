//! The routes of one site.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;
use http::{HeaderMap, Method};

use super::matcher::{Asked, Matcher};
use super::path::Params;

/// The routes of one site. The most specific match wins, whatever the order; see [`Matcher`].
///
/// A path without parameters or star is found by hash, the others one after the other.
#[derive(Clone, Debug)]
pub struct Table<T> {
    /// By their only path. Each list begins with the most specific.
    exact: HashMap<Box<str>, Vec<Route<T>>, RandomState>,
    /// All others. The most specific goes first.
    rest: Vec<Route<T>>,
}

/// What a table has for a request.
#[derive(Debug)]
pub enum Found<'t, 'p, T> {
    /// A route.
    Route {
        /// What was given for it.
        value: &'t T,
        /// Its place in the list that was compiled.
        index: usize,
        /// What the path gave to its parameters.
        params: Params<'p>,
    },
    /// There would be a route for one of these methods (RFC 9110 §15.5.6): what belongs into `Allow`.
    MethodNotAllowed(Vec<Method>),
    /// No route.
    None,
}

/// A route that can never match, because another one is preferred for everything that it could match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shadowed {
    /// Its place in the list that was compiled.
    pub route: usize,
    /// The place of the route that takes its requests.
    pub by: usize,
}

#[derive(Clone, Debug)]
struct Route<T> {
    matcher: Matcher,
    value: T,
    index: usize,
}

// === impl Table ===

impl<T> Table<T> {
    /// Sorts routes, and tells which of them can never match. They are kept all the same.
    #[must_use]
    pub fn compile(routes: Vec<(Matcher, T)>) -> (Self, Vec<Shadowed>) {
        let shadowed = shadowed(&routes);
        let mut sorted: Vec<_> = routes
            .into_iter()
            .enumerate()
            .map(|(index, (matcher, value))| Route {
                matcher,
                value,
                index,
            })
            .collect();
        // Stable: of equals, the one that was written first stays first.
        sorted.sort_by_cached_key(|route| std::cmp::Reverse(route.matcher.rank()));
        (sorted.into_iter().collect(), shadowed)
    }

    /// The route for a request. `path` is in normal form and begins with `/`.
    #[must_use]
    pub fn lookup<'t: 'p, 'p>(
        &'t self,
        method: &Method,
        path: &'p str,
        query: Option<&str>,
        headers: &HeaderMap,
    ) -> Found<'t, 'p, T> {
        let asked = Asked {
            path,
            query,
            headers,
        };
        let mut is_blocked = false;
        for route in self.matching(&asked) {
            if route.matcher.allows(method) {
                return route.found(path);
            }
            is_blocked = true;
        }
        if is_blocked {
            return Found::MethodNotAllowed(self.allowed(&asked));
        }
        Found::None
    }

    /// The routes that match but for their methods.
    fn matching(&self, asked: &Asked<'_>) -> impl Iterator<Item = &Route<T>> {
        let exact = self.exact.get(asked.path).map_or(&[][..], Vec::as_slice);
        let all = exact.iter().chain(&self.rest);
        all.filter(|route| route.matcher.is_match_but_method(asked))
    }

    /// The methods that have a route, in alphabetical order.
    fn allowed(&self, asked: &Asked<'_>) -> Vec<Method> {
        let routes = self.matching(asked);
        let mut methods: Vec<_> = routes
            .flat_map(|route| route.matcher.methods())
            .cloned()
            .collect();
        methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        methods.dedup();
        methods
    }
}

impl<T> FromIterator<Route<T>> for Table<T> {
    fn from_iter<I: IntoIterator<Item = Route<T>>>(routes: I) -> Self {
        let mut table = Self {
            exact: HashMap::default(),
            rest: Vec::new(),
        };
        for route in routes {
            match route.matcher.path().as_exact().map(Box::from) {
                Some(path) => table.exact.entry(path).or_default().push(route),
                None => table.rest.push(route),
            }
        }
        table
    }
}

/// A matcher that matches only some of another's requests goes before it, so only a route for the very same requests as
/// an earlier one never matches.
fn shadowed<T>(routes: &[(Matcher, T)]) -> Vec<Shadowed> {
    let mut seen = HashMap::new();
    let mut shadowed = Vec::new();
    for (route, (matcher, _)) in routes.iter().enumerate() {
        match seen.entry(matcher.shape()) {
            Entry::Occupied(first) => shadowed.push(Shadowed {
                route,
                by: *first.get(),
            }),
            Entry::Vacant(free) => {
                free.insert(route);
            }
        }
    }
    shadowed
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

// === impl Route ===

impl<T> Route<T> {
    fn found<'t: 'p, 'p>(&'t self, path: &'p str) -> Found<'t, 'p, T> {
        let params = self.matcher.path().capture(path);
        Found::Route {
            value: &self.value,
            index: self.index,
            params,
        }
    }
}

#[cfg(test)]
mod tests;
