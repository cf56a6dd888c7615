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
        (200, "cache-control: private=\"x\", s-maxage=5", R::Private),
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
    let lifetime = |status, response| {
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
