mod oracle;

use proptest::prelude::*;

use super::*;

/// 2026-11-20 12:00:00 GMT, a whole second.
const NOW: Timestamp = Timestamp::from_secs(1_795_176_000);
const NOW_AS_DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

fn headers(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in text.split('|').filter_map(|line| line.split_once(':')) {
        let name = http::HeaderName::try_from(name.trim()).unwrap();
        headers.append(name, HeaderValue::from_str(value.trim()).unwrap());
    }
    headers
}

fn admitted(request: &str, status: u16, response: &str) -> Result<Freshness, Refusal> {
    admitted_by(&Rules::enabled(), request, status, response)
}

fn admitted_by(
    rules: &Rules,
    request: &str,
    status: u16,
    response: &str,
) -> Result<Freshness, Refusal> {
    let times = Times {
        asked: NOW,
        received: NOW,
        moment: crate::cache::Moment(0),
    };
    admit(
        &headers(request),
        StatusCode::from_u16(status).unwrap(),
        &headers(response),
        rules,
        times,
    )
}

fn lifetime_of(response: &str) -> u64 {
    admitted("", 200, &format!("etag: \"a\" | {response}"))
        .unwrap()
        .lifetime
        .as_secs()
}

#[test]
fn now_is_now() {
    assert_eq!(NOW.to_string(), NOW_AS_DATE);
}

#[test]
fn section_3_what_may_be_stored() {
    for (request, status, response) in [
        ("", 200, "cache-control: max-age=5"),
        ("", 200, "cache-control: s-maxage=5"),
        ("", 200, "expires: Fri, 20 Nov 2026 12:00:05 GMT"),
        ("", 404, "cache-control: max-age=5"),
        ("", 302, "cache-control: max-age=5"),
        ("", 503, "cache-control: max-age=5"),
        ("", 299, "cache-control: max-age=5"),
        ("cookie: a=b", 200, "cache-control: max-age=5"),
        ("", 200, "cache-control: no-cache | etag: \"a\""),
        (
            "",
            200,
            "cache-control: max-age=0 | last-modified: Fri, 20 Nov 2026 11:00:00 GMT",
        ),
        (
            "",
            200,
            "cache-control: max-age=0, stale-while-revalidate=5",
        ),
        ("", 200, "cache-control: max-age=5 | pragma: no-cache"),
    ] {
        assert!(
            admitted(request, status, response).is_ok(),
            "{request} → {status} {response}"
        );
    }
}

#[test]
fn section_3_what_must_not_be_stored() {
    use Refusal as R;
    for (status, response, refusal) in [
        (200, "", R::NoFreshness),
        (
            200,
            "last-modified: Fri, 20 Nov 2026 11:00:00 GMT",
            R::NoFreshness,
        ),
        (200, "cache-control: public", R::NoFreshness),
        (302, "", R::NoFreshness),
        (206, "cache-control: max-age=5", R::Status),
        (304, "cache-control: max-age=5", R::Status),
        (103, "cache-control: max-age=5", R::Status),
        (200, "cache-control: max-age=5, no-store", R::NoStore),
        (
            200,
            "cache-control: max-age=5 | cache-control: NO-STORE",
            R::NoStore,
        ),
        (200, "cache-control: max-age=5, ext=\"broken", R::NoStore),
        (
            200,
            "expires: Fri, 20 Nov 2026 12:00:05 GMT | pragma: no-cache",
            R::NoStore,
        ),
        (200, "cache-control: private, max-age=5", R::Private),
        (200, "cache-control: private=\"\", s-maxage=5", R::Private),
        (
            200,
            "cache-control: private=\"x y\", s-maxage=5",
            R::Private,
        ),
        (
            200,
            "cache-control: private=\"x\", private, max-age=5",
            R::Private,
        ),
        (
            200,
            "cache-control: private=\"set-cookie\", max-age=5 | set-cookie: a=b",
            R::SetCookie,
        ),
        (
            200,
            "cache-control: max-age=5 | cdn-cache-control: private",
            R::Private,
        ),
        (
            200,
            "cache-control: max-age=5 | surrogate-control: no-store",
            R::NoStore,
        ),
        (
            200,
            "cache-control: s-maxage=5, public | set-cookie: a=b",
            R::SetCookie,
        ),
        (
            200,
            "cache-control: max-age=5 | content-range: bytes 0-1/2",
            R::ContentRange,
        ),
        (200, "cache-control: max-age=0", R::Stale),
        (200, "cache-control: no-cache", R::Stale),
        (200, "cache-control: no-cache, max-age=5", R::Stale),
        (200, "cache-control: max-age=x", R::Stale),
        (200, "expires: 0", R::Stale),
        (404, "cache-control: max-age=0 | etag: \"a\"", R::Stale),
    ] {
        assert_eq!(
            admitted("", status, response),
            Err(refusal),
            "{status} {response}"
        );
    }
}

#[test]
fn section_3_5_answers_to_authorized_requests() {
    for (control, expected) in [
        ("max-age=5", false),
        ("max-age=5, proxy-revalidate", false),
        ("max-age=5, public", true),
        ("s-maxage=5", true),
        ("max-age=5, must-revalidate", true),
        ("max-age=5, public, private", false),
    ] {
        let admitted = admitted(
            "authorization: Basic YTpi",
            200,
            &format!("cache-control: {control}"),
        );
        assert_eq!(admitted.is_ok(), expected, "{control}");
    }
}

#[test]
fn section_5_2_2_3_must_understand_lifts_no_store_for_understood_statuses() {
    let control = "cache-control: must-understand, no-store, max-age=5";
    assert!(admitted("", 200, control).is_ok());
    assert_eq!(admitted("", 299, control), Err(Refusal::NotUnderstood));
    assert_eq!(
        admitted("", 299, "cache-control: must-understand, max-age=5"),
        Err(Refusal::NotUnderstood)
    );
}

#[test]
fn section_4_2_1_freshness_lifetime() {
    for (response, seconds) in [
        ("cache-control: max-age=5", 5),
        ("cache-control: max-age=5, s-maxage=9", 9),
        ("cache-control: max-age=9, s-maxage=5", 5),
        ("cache-control: s-maxage=x, max-age=9", 0),
        ("cache-control: max-age=5, max-age=9", 5),
        ("cache-control: max-age=99999999999", 1 << 31),
        (
            "cache-control: max-age=5 | expires: Fri, 20 Nov 2026 13:00:00 GMT",
            5,
        ),
        ("expires: Fri, 20 Nov 2026 12:00:30 GMT", 30),
        ("expires: Friday, 20-Nov-26 12:00:30 GMT", 30),
        ("expires: Fri Nov 20 12:00:30 2026", 30),
        (
            "date: Fri, 20 Nov 2026 11:59:50 GMT | expires: Fri, 20 Nov 2026 12:00:30 GMT",
            40,
        ),
        ("expires: Fri, 20 Nov 2026 13:00:00 GMT | expires: 0", 0),
        ("expires: Fri, 20 Nov 2026 11:00:00 GMT", 0),
        ("expires: soon", 0),
        ("expires: Fri, 31 Dec 9999 23:59:59 GMT", 1 << 31),
    ] {
        assert_eq!(lifetime_of(response), seconds, "{response}");
    }
}

#[test]
fn a_default_applies_only_where_nothing_else_is_said() {
    let rules = Rules::enabled().with_default_ttl(Duration::from_secs(7));
    let lifetime = |status, response: &str| {
        admitted_by(&rules, "", status, response).map(|it| it.lifetime.as_secs())
    };
    assert_eq!(lifetime(200, ""), Ok(7));
    assert_eq!(lifetime(404, "cache-control: public"), Ok(7));
    assert_eq!(lifetime(200, "cache-control: max-age=5"), Ok(5));
    assert_eq!(lifetime(200, "expires: 0"), Err(Refusal::Stale));
    assert_eq!(
        lifetime(200, "cache-control: no-store"),
        Err(Refusal::NoStore)
    );
    assert_eq!(lifetime(500, ""), Err(Refusal::NoFreshness));
    assert_eq!(lifetime(302, ""), Err(Refusal::NoFreshness));
}

#[test]
fn section_4_2_3_initial_age() {
    let age = |response: &str, asked: Timestamp, received: Timestamp| {
        initial_age(
            &headers(response),
            Times {
                asked,
                received,
                moment: crate::cache::Moment(0),
            },
        )
        .as_secs()
    };
    let later = NOW.after(Duration::from_secs(3));
    assert_eq!(age("", NOW, NOW), 0);
    assert_eq!(age("", NOW, later), 3, "the response's delay counts");
    assert_eq!(age("age: 10", NOW, later), 13);
    assert_eq!(
        age(&format!("date: {NOW_AS_DATE}"), later, later),
        3,
        "so does an old date"
    );
    assert_eq!(
        age("date: Fri, 20 Nov 2026 13:00:00 GMT", NOW, NOW),
        0,
        "a date to come makes nothing younger"
    );
    assert_eq!(age("age: 10, 20", NOW, NOW), 10);
    assert_eq!(age("age: 10 | age: 20", NOW, NOW), 10);
    for garbage in ["age: -1", "age: x", "age: 1.5", "age: ", "age: \"5\""] {
        assert_eq!(age(garbage, NOW, NOW), 0, "{garbage}");
    }
    assert_eq!(age("age: 18446744073709551616", NOW, NOW), 1 << 31);
    let half = NOW.after(Duration::from_millis(900));
    assert_eq!(
        initial_age(
            &headers(&format!("date: {NOW_AS_DATE}")),
            Times {
                asked: half,
                received: half,
                moment: crate::cache::Moment(0),
            }
        ),
        Duration::ZERO
    );
}

fn judge(response: &str, request: &str, after: u64) -> Verdict {
    let freshness = admitted("", 200, &format!("etag: \"a\" | cache-control: {response}")).unwrap();
    let control = Control::of_request(&headers(&format!("cache-control: {request}")));
    freshness.judge(&control, NOW.after(Duration::from_secs(after)))
}

#[test]
fn section_4_2_fresh_until_the_lifetime_is_over() {
    assert_eq!(judge("max-age=5", "", 4), Verdict::Serve);
    assert_eq!(judge("max-age=5", "", 5), Verdict::Stale);
    assert_eq!(judge("no-cache, max-age=5", "", 0), Verdict::Stale);
}

#[test]
fn section_5_2_1_what_requests_demand() {
    for (request, after, expected) in [
        ("no-cache", 0, Verdict::Demanded),
        ("max-age=0", 0, Verdict::Demanded),
        ("max-age=3", 3, Verdict::Serve),
        ("max-age=3", 4, Verdict::Demanded),
        ("max-age=x", 0, Verdict::Demanded),
        ("min-fresh=2", 3, Verdict::Serve),
        ("min-fresh=2", 4, Verdict::Demanded),
        ("max-stale=3", 8, Verdict::Serve),
        ("max-stale=3", 9, Verdict::Stale),
        ("max-stale", 9000, Verdict::Serve),
        ("max-stale=x", 6, Verdict::Stale),
        ("max-stale=30, max-age=6", 7, Verdict::Demanded),
    ] {
        assert_eq!(
            judge("max-age=5", request, after),
            expected,
            "{request} after {after} s"
        );
    }
}

#[test]
fn section_4_2_4_max_stale_does_not_lift_what_the_origin_forbids() {
    for control in [
        "max-age=5, must-revalidate",
        "max-age=5, proxy-revalidate",
        "s-maxage=5",
        "max-age=5, no-cache",
    ] {
        assert_eq!(judge(control, "max-stale", 6), Verdict::Stale, "{control}");
    }
}

#[test]
fn rfc_5861_windows_for_stale_responses() {
    assert_eq!(
        judge("max-age=5, stale-while-revalidate=3", "", 7),
        Verdict::ServeAndRevalidate
    );
    assert_eq!(
        judge("max-age=5, stale-while-revalidate=3", "", 8),
        Verdict::Stale
    );
    assert_eq!(
        judge("s-maxage=5, stale-while-revalidate=3", "", 7),
        Verdict::ServeAndRevalidate
    );
    assert_eq!(
        judge(
            "max-age=5, stale-while-revalidate=3, must-revalidate",
            "",
            6
        ),
        Verdict::Stale
    );
    assert_eq!(
        judge("max-age=5, stale-while-revalidate=3, no-cache", "", 0),
        Verdict::Stale
    );
    let outlives = |control: &str, after| {
        let freshness =
            admitted("", 200, &format!("etag: \"a\" | cache-control: {control}")).unwrap();
        freshness.outlives_errors(NOW.after(Duration::from_secs(after)))
    };
    assert!(outlives("max-age=5, stale-if-error=3", 8));
    assert!(!outlives("max-age=5, stale-if-error=3", 9));
    assert!(!outlives("max-age=5", 5));
    assert!(!outlives("max-age=5, stale-if-error=3, must-revalidate", 6));
}

#[test]
fn ttl_counts_down_past_zero() {
    let freshness = admitted("", 200, "age: 1 | cache-control: max-age=5").unwrap();
    assert_eq!(freshness.ttl(NOW), 4);
    assert_eq!(freshness.ttl(NOW.after(Duration::from_secs(10))), -6);
}

#[test]
fn intents_follow_method_and_header() {
    let intent = |method: &str, header: &str, has_content| {
        let headers = headers(header);
        Intent::of(
            &method.parse().unwrap(),
            &headers,
            has_content,
            &Control::of_request(&headers),
        )
    };
    assert_eq!(intent("GET", "", false), Intent::Lookup);
    assert_eq!(intent("HEAD", "range: bytes=0-1", false), Intent::Lookup);
    assert_eq!(intent("GET", "", true), Intent::Pass(Reason::Content));
    assert_eq!(
        intent("GET", "upgrade: websocket", false),
        Intent::Pass(Reason::Upgrade)
    );
    assert_eq!(intent("GET", "if-match: \"a\"", false), Intent::Lookup);
    assert_eq!(
        intent("GET", "cache-control: no-store", false),
        Intent::Pass(Reason::NoStore)
    );
    assert_eq!(intent("OPTIONS", "", false), Intent::Pass(Reason::Method));
    assert_eq!(intent("TRACE", "", false), Intent::Pass(Reason::Method));
    for method in ["POST", "PUT", "DELETE", "PATCH", "BREW", "get"] {
        assert_eq!(intent(method, "", false), Intent::Unsafe, "{method}");
    }
}

#[test]
fn section_3_1_named_fields_are_left_out() {
    let left = |rules: &Rules, response: &str| -> Vec<String> {
        assert!(admitted_by(rules, "", 200, response).is_ok(), "{response}");
        let names = left_out(&headers(response), rules);
        names.iter().map(ToString::to_string).collect()
    };
    let rules = Rules::enabled();
    for (response, expected) in [
        ("cache-control: max-age=5", &[][..]),
        (
            "cache-control: max-age=5, private=\"X-User\" | x-user: 1",
            &["x-user"],
        ),
        ("cache-control: max-age=5, no-cache=\" a , b\"", &["a", "b"]),
        ("cache-control: max-age=5, no-cache=a", &["a"]),
        (
            "cdn-cache-control: max-age=5, private=\"x-user\" | x-user: 1",
            &["x-user"],
        ),
    ] {
        assert_eq!(left(&rules, response), expected, "{response}");
    }
    let strip = Rules {
        set_cookie: SetCookie::Strip,
        ..Rules::enabled()
    };
    let cookie = "cache-control: max-age=5 | set-cookie: a=b";
    assert_eq!(left(&strip, cookie), ["set-cookie"]);
    let keep = Rules {
        set_cookie: SetCookie::Keep,
        ..Rules::enabled()
    };
    assert!(left(&keep, cookie).is_empty());
}

#[test]
fn section_4_2_2_heuristic_freshness() {
    let rules = Rules {
        lifetimes: Lifetimes {
            heuristic: 10,
            heuristic_max: Duration::from_secs(86_400),
            ..Lifetimes::default()
        },
        ..Rules::enabled().with_default_ttl(Duration::from_secs(7))
    };
    let lifetime = |status, response: &str| {
        admitted_by(&rules, "", status, response).map(|it| it.lifetime.as_secs())
    };
    let hour = "last-modified: Fri, 20 Nov 2026 11:00:00 GMT";
    assert_eq!(lifetime(200, hour), Ok(360));
    assert_eq!(lifetime(404, hour), Ok(360));
    assert_eq!(
        lifetime(200, "last-modified: Fri, 20 Nov 2020 11:00:00 GMT"),
        Ok(86_400),
        "the cap"
    );
    assert_eq!(lifetime(200, "last-modified: x"), Ok(7));
    assert_eq!(
        lifetime(
            200,
            "last-modified: Fri, 20 Nov 2026 13:00:00 GMT | etag: \"a\""
        ),
        Ok(0)
    );
    assert_eq!(
        lifetime(200, &format!("{hour} | cache-control: max-age=5")),
        Ok(5)
    );
    assert_eq!(lifetime(200, &format!("{hour} | expires: 0")), Ok(0));
    assert_eq!(
        lifetime(200, &format!("{hour} | cache-control: no-store")),
        Err(Refusal::NoStore)
    );
    for status in [302, 400, 500, 599] {
        assert_eq!(
            lifetime(status, hour),
            Err(Refusal::NoFreshness),
            "{status}"
        );
        assert_eq!(
            lifetime(status, &format!("{hour} | cache-control: public")),
            Ok(360),
            "{status}"
        );
    }
}

#[test]
fn a_ttl_by_status_goes_before_the_default() {
    let secs = Duration::from_secs;
    let set = |text: &str| text.parse().unwrap();
    let rules = Rules {
        lifetimes: Lifetimes {
            by_status: [
                (set("404"), secs(10)),
                (set("4xx"), secs(3)),
                (set("5xx"), secs(1)),
            ]
            .into(),
            ..Lifetimes::default()
        },
        ..Rules::enabled().with_default_ttl(secs(60))
    };
    let lifetime = |status, response: &str| {
        admitted_by(&rules, "", status, response).map(|it| it.lifetime.as_secs())
    };
    for (status, expected) in [
        (200, Ok(60)),
        (404, Ok(10)),
        (410, Ok(3)),
        (403, Ok(3)),
        (503, Ok(1)),
        (302, Err(Refusal::NoFreshness)),
    ] {
        assert_eq!(lifetime(status, ""), expected, "{status}");
    }
    assert_eq!(lifetime(404, "cache-control: max-age=5"), Ok(5));
    assert_eq!(
        lifetime(503, "cache-control: no-store"),
        Err(Refusal::NoStore)
    );
    assert_eq!(lifetime(503, "set-cookie: a=b"), Err(Refusal::SetCookie));
}

#[test]
fn an_overriding_ttl_lifts_nothing_that_forbids() {
    let rules = Rules {
        lifetimes: Lifetimes {
            overriding: Some(Duration::from_secs(9)),
            ..Lifetimes::default()
        },
        ..Rules::enabled()
    };
    let freshness = |status, response| admitted_by(&rules, "", status, response);
    for response in [
        "",
        "cache-control: max-age=1",
        "expires: 0",
        "cdn-cache-control: max-age=0",
    ] {
        let lifetime = freshness(200, response).unwrap().lifetime;
        assert_eq!(lifetime, Duration::from_secs(9), "{response}");
    }
    assert!(
        freshness(200, "cache-control: no-cache | etag: \"a\"")
            .unwrap()
            .no_cache
    );
    assert!(
        freshness(200, "cache-control: must-revalidate")
            .unwrap()
            .must_revalidate
    );
    assert_eq!(
        freshness(200, "cache-control: no-store"),
        Err(Refusal::NoStore)
    );
    assert_eq!(
        freshness(200, "cache-control: private"),
        Err(Refusal::Private)
    );
    assert_eq!(
        freshness(200, "age: 9"),
        Err(Refusal::Stale),
        "counted from when it was made"
    );
    assert_eq!(freshness(500, ""), Err(Refusal::NoFreshness));
    assert_eq!(
        freshness(302, "cache-control: max-age=2").unwrap().lifetime,
        Duration::from_secs(2)
    );
}

#[test]
fn a_sites_windows_are_for_origins_that_say_nothing() {
    let rules = Rules {
        lifetimes: Lifetimes {
            while_revalidate: Some(Duration::from_secs(3)),
            if_error: Some(Duration::from_secs(4)),
            ..Lifetimes::default()
        },
        ..Rules::enabled()
    };
    for (control, behind, error) in [
        ("max-age=5", 3, 4),
        ("max-age=5, stale-if-error=0", 3, 0),
        ("max-age=5, stale-while-revalidate=9", 9, 4),
        ("max-age=5, must-revalidate", 0, 0),
        ("max-age=5, proxy-revalidate", 0, 0),
        ("s-maxage=5", 0, 0),
        ("s-maxage=5, stale-if-error=1", 0, 1),
    ] {
        let freshness = admitted_by(&rules, "", 200, &format!("cache-control: {control}")).unwrap();
        let windows = (
            freshness.while_revalidate.as_secs(),
            freshness.if_error.as_secs(),
        );
        assert_eq!(windows, (behind, error), "{control}");
    }
}

#[test]
fn rfc_9213_the_most_specific_valid_field_decides() {
    for (response, seconds) in [
        ("cdn-cache-control: max-age=9 | cache-control: max-age=5", 9),
        (
            "cdn-cache-control: max-age=9 | cirrus-cdn-cache-control: max-age=3",
            3,
        ),
        ("cdn-cache-control: max-age=9 | cache-control: no-store", 9),
        ("cdn-cache-control: max-age=9 | cache-control: private", 9),
        (
            "cdn-cache-control: max-age=9 | cache-control: no-cache | pragma: no-cache",
            9,
        ),
        ("cdn-cache-control: max-age=9;x=1, ext | expires: 0", 9),
        ("cdn-cache-control: max-age=99999999999", 1 << 31),
        ("cdn-cache-control: s-maxage=4, max-age=9", 4),
        (
            "cdn-cache-control: max-age=9 | surrogate-control: max-age=7",
            9,
        ),
        // No dictionary: as if it were not there.
        ("cdn-cache-control: MaX-aGe=9 | cache-control: max-age=5", 5),
        (
            "cdn-cache-control: max-age =9 | cache-control: max-age=5",
            5,
        ),
        (
            "cdn-cache-control: max-age=9, &&& | cache-control: max-age=5",
            5,
        ),
        (
            "cdn-cache-control: max-age=9, | cache-control: max-age=5",
            5,
        ),
        (
            "cdn-cache-control: max-age=9999999999999999 | cache-control: max-age=5",
            5,
        ),
        ("cdn-cache-control: | cache-control: max-age=5", 5),
        (
            "cirrus-cdn-cache-control: ( | cdn-cache-control: max-age=9",
            9,
        ),
        (
            "other-cdn-cache-control: max-age=9 | cache-control: max-age=5",
            5,
        ),
        // A dictionary of the wrong types: none is a lifetime.
        (
            "cdn-cache-control: max-age=\"9\" | cache-control: max-age=5",
            0,
        ),
        (
            "cdn-cache-control: max-age=-9 | cache-control: max-age=5",
            0,
        ),
        (
            "cdn-cache-control: max-age=9.5 | cache-control: max-age=5",
            0,
        ),
    ] {
        assert_eq!(lifetime_of(response), seconds, "{response}");
    }
    use Refusal as R;
    for (response, refusal) in [
        (
            "cdn-cache-control: no-store, max-age=9 | cache-control: max-age=5",
            R::NoStore,
        ),
        (
            "cdn-cache-control: private, max-age=9 | cache-control: max-age=5",
            R::Private,
        ),
        (
            "cdn-cache-control: foo | cache-control: max-age=5 | expires: Fri, 20 Nov 2026 13:00:00 GMT",
            R::NoFreshness,
        ),
        (
            "cdn-cache-control: max-age=9 | set-cookie: a=b",
            R::SetCookie,
        ),
    ] {
        assert_eq!(admitted("", 200, response), Err(refusal), "{response}");
    }
    assert!(admitted("", 200, "cdn-cache-control: max-age=9, no-store=?0").is_ok());
    let stale = "cdn-cache-control: max-age=9 | age: 9";
    assert_eq!(
        admitted("", 200, stale),
        Err(R::Stale),
        "age counts all the same"
    );
}

#[test]
fn surrogate_control_goes_before_cache_control() {
    for (response, seconds) in [
        (
            "surrogate-control: max-age=9 | cache-control: max-age=5, private",
            9,
        ),
        ("surrogate-control: MAX-AGE=9 | expires: 0", 9),
        ("surrogate-control: content=\"ESI/1.0\", max-age=9", 9),
        (
            "surrogate-control: max-age=9;cirrus, max-age=3 | cache-control: no-store",
            9,
        ),
        (
            "surrogate-control: max-age=9;other | cache-control: max-age=5",
            5,
        ),
        ("surrogate-control: max-age=9;other, max-age=3;cirrus", 3),
        ("surrogate-control: max-age=x | cache-control: max-age=5", 0),
        (
            "surrogate-control: content=\"ESI/1.0\" | cache-control: max-age=5",
            5,
        ),
        (
            "surrogate-control: content=\"a, max-age=9\" | cache-control: max-age=5",
            5,
        ),
    ] {
        assert_eq!(lifetime_of(response), seconds, "{response}");
    }
    for response in [
        "no-store",
        "max-age=9, no-store",
        "no-store-remote",
        "NO-STORE;cirrus",
    ] {
        let response = format!("surrogate-control: {response} | cache-control: max-age=5");
        assert_eq!(
            admitted("", 200, &response),
            Err(Refusal::NoStore),
            "{response}"
        );
    }
    let freshness = admitted("", 200, "surrogate-control: max-age=9+30").unwrap();
    let windows = (
        freshness.while_revalidate.as_secs(),
        freshness.if_error.as_secs(),
    );
    assert_eq!((freshness.lifetime.as_secs(), windows), (9, (30, 30)));
}

#[test]
fn rfc_8246_immutable_does_not_outlast_freshness() {
    assert_eq!(judge("max-age=5, immutable", "", 4), Verdict::Serve);
    assert_eq!(judge("max-age=5, immutable", "", 5), Verdict::Stale);
    assert_eq!(
        judge("max-age=5, immutable", "no-cache", 0),
        Verdict::Demanded
    );
}

prop_compose! {
    /// Fields that matter here, with values that may be anything.
    fn anything()(fields in prop::collection::vec((
        prop::sample::select(vec![
            "age", "cache-control", "cdn-cache-control", "cirrus-cdn-cache-control", "content-length", "content-range",
            "date", "etag", "expires", "last-modified", "location", "pragma", "set-cookie", "surrogate-control", "vary",
            "accept-encoding", "accept-language", "authorization", "if-modified-since", "if-none-match", "if-range", "range",
        ]),
        prop_oneof![
            "[ -~]{0,24}",
            "[0-9]{1,25}",
            "(max-age|s-maxage|no-cache|private|stale-if-error|min-fresh)[=]?\"?[0-9a-z, ]{0,12}\"?",
            "(Mon|Friday), [0-9]{1,2}[- ](Feb|Nov)[- ][0-9]{2,5} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
        ],
    ), 0..8)) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }
}

proptest! {
    /// Nothing panics, nothing is served past its lifetime, and nobody gets what is stale without leave.
    #[test]
    fn any_header_gets_a_decision_that_holds(
        request in anything(),
        response in anything(),
        later in anything(),
        status in 200_u16..600,
        delay in 0_u64..100_000,
        after in 0_u64..1 << 33,
    ) {
        let times = Times {
            asked: NOW,
            received: NOW.after(Duration::from_millis(delay)),
            moment: crate::cache::Moment(0),
        };
        let mut rules = Rules::enabled();
        rules.lifetimes.heuristic = 50;
        rules.lifetimes.heuristic_max = Duration::from_secs(86_400);
        let status = StatusCode::from_u16(status).unwrap();
        let now = times.received.after(Duration::from_secs(after));
        let meta = crate::cache::admission::describe(&request, status, &response, &rules, times);
        let Ok(meta) = meta else { return Ok(()) };
        let freshness = meta.freshness();
        prop_assert!(freshness.lifetime <= secs(FOREVER) && freshness.initial_age <= secs(FOREVER));
        prop_assert!(!meta.headers.contains_key("surrogate-control"));
        prop_assert!(!meta.headers.contains_key(SET_COOKIE));
        prop_assert!(meta.vary.matches(&request));
        let control = Control::of_request(&later);
        let is_stale = freshness.age(now) >= freshness.lifetime;
        match freshness.judge(&control, now) {
            Verdict::Serve if is_stale => {
                prop_assert!(control.max_stale.is_some() && !freshness.must_revalidate);
            }
            Verdict::Serve | Verdict::ServeAndRevalidate => prop_assert!(!freshness.no_cache),
            Verdict::Stale | Verdict::Demanded => {}
        }
    }
}
