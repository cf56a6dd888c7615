//! The same questions put to `http-cache-semantics`, where it answers them as RFC 9111 does.
//!
//! Left out, because it does not: directives in capitals or quotes, repeated or malformed numbers, `Age` beside others or
//! beyond a lifetime of man, `Date`s of the past, `proxy-revalidate`, `max-stale`, `Set-Cookie`, statuses that it does not
//! know, and everything of RFC 5861, RFC 9213 and `Vary`. A request's `max-age=0` is left out because it is taken for
//! `no-cache` here, as everybody means it, even while a response is less than a second old.

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_176_000);

/// What the two are asked about.
#[derive(Clone, Debug)]
struct Question {
    request: HeaderMap,
    status: u16,
    response: HeaderMap,
    /// What a later request asks for, and how much later.
    later: HeaderMap,
    after: Duration,
}

impl Question {
    fn ours(&self, rules: &Rules) -> Option<Verdict> {
        let status = StatusCode::from_u16(self.status).unwrap();
        let times = Times {
            asked: NOW,
            received: NOW,
            moment: Moment(0),
        };
        let freshness = admit(&self.request, status, &self.response, rules, times).ok()?;
        let control = Control::of_request(&self.later);
        Some(freshness.judge(&control, NOW.after(self.after)))
    }

    fn theirs(&self, options: CacheOptions) -> bool {
        let with = |headers: &HeaderMap| {
            let mut request = Request::get("http://a.example/").body(()).unwrap();
            *request.method_mut() = Method::GET;
            *request.headers_mut() = headers.clone();
            request
        };
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap();
        *response.headers_mut() = self.response.clone();
        let now = SystemTime::from(NOW);
        let policy = CachePolicy::new_options(&with(&self.request), &response, now, options);
        let decision = policy.before_request(&with(&self.later), now + self.after);
        policy.is_storable() && matches!(decision, BeforeRequest::Fresh(_))
    }
}

fn options(heuristic: f32) -> CacheOptions {
    CacheOptions {
        shared: true,
        cache_heuristic: heuristic,
        immutable_min_time_to_live: Duration::ZERO,
        ignore_cargo_cult: false,
    }
}

fn field(name: HeaderName, value: String) -> (HeaderName, HeaderValue) {
    (name, HeaderValue::try_from(value).unwrap())
}

fn date(distance: i64) -> String {
    Timestamp::from_secs(NOW.as_secs().saturating_add_signed(distance)).to_string()
}

prop_compose! {
    fn directives()(
        max_age in prop::option::of(0_u32..40),
        s_maxage in prop::option::of(0_u32..40),
        flags in prop::sample::subsequence(
            vec!["public", "private", "no-store", "no-cache", "must-revalidate", "no-transform", "immutable", "x-any=1"],
            0..3,
        ),
    ) -> String {
        let mut all: Vec<String> = flags.iter().map(ToString::to_string).collect();
        all.extend(max_age.map(|age| format!("max-age={age}")));
        all.extend(s_maxage.map(|age| format!("s-maxage={age}")));
        all.join(", ")
    }
}

prop_compose! {
    fn answer()(
        control in prop::option::of(directives()),
        expires in prop::option::of(-20_i64..40),
        modified in prop::option::of(0_i64..60),
        age in prop::option::of(0_u32..30),
    ) -> HeaderMap {
        let control = control.filter(|control| !control.is_empty());
        let fields = [
            Some(field(DATE, date(0))),
            control.map(|control| field(CACHE_CONTROL, control)),
            expires.map(|distance| field(EXPIRES, date(distance))),
            modified.map(|tens| field(LAST_MODIFIED, date(tens * -10))),
            age.map(|age| field(AGE, age.to_string())),
        ];
        fields.into_iter().flatten().collect()
    }
}

prop_compose! {
    fn question()(
        is_authorized: bool,
        status in prop::sample::select(vec![200_u16, 203, 204, 300, 301, 302, 307, 308, 404, 405, 410, 414, 501]),
        response in answer(),
        later in prop::sample::select(vec![
            "", "no-cache", "max-age=7", "min-fresh=5", "max-age=20, min-fresh=3", "no-transform",
        ]),
        after in 0_u64..50,
    ) -> Question {
        let credentials = is_authorized.then(|| field(AUTHORIZATION, "Basic YTpi".to_owned()));
        let wish = (!later.is_empty()).then(|| field(CACHE_CONTROL, later.to_owned()));
        Question {
            request: credentials.into_iter().collect(),
            status,
            response,
            later: wish.into_iter().collect(),
            after: Duration::from_secs(after),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn both_serve_the_same(question in question()) {
        let ours = question.ours(&Rules::enabled());
        prop_assert_eq!(ours == Some(Verdict::Serve), question.theirs(options(0.0)), "{:?}", ours);
    }

    #[test]
    fn both_guess_the_same(question in question()) {
        let mut rules = Rules::enabled();
        rules.lifetimes.heuristic = 10;
        rules.lifetimes.heuristic_max = Duration::from_secs(86_400);
        let ours = question.ours(&rules);
        prop_assert_eq!(ours == Some(Verdict::Serve), question.theirs(options(0.1)), "{:?}", ours);
    }
}
