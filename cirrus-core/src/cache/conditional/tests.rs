use super::*;

const OLD: &str = "Fri, 20 Nov 2026 11:00:00 GMT";
const NEW: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
    fields
        .iter()
        .map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn stored(fields: &[(HeaderName, &str)]) -> Meta {
    Meta::new(StatusCode::OK, headers(fields))
}

#[test]
fn if_none_match_compares_weakly() {
    let has =
        |tag, asked| is_not_modified(&headers(&[(IF_NONE_MATCH, asked)]), &stored(&[(ETAG, tag)]));
    for asked in [
        "\"a\"",
        "W/\"a\"",
        "\"x\", \"a\"",
        "\"x,y\",W/\"a\" , \"z\"",
        "*",
    ] {
        assert!(has("\"a\"", asked), "{asked}");
        assert!(has("W/\"a\"", asked), "{asked}");
    }
    for asked in ["\"b\"", "a", "\"x, \"a\"\"", "", "\"A\""] {
        assert!(!has("\"a\"", asked), "{asked}");
    }
    assert!(
        has("\"a,b\"", "\"x\", \"a,b\""),
        "a comma within a tag separates nothing"
    );
}

#[test]
fn if_none_match_wins_over_if_modified_since() {
    let request = headers(&[(IF_NONE_MATCH, "\"b\""), (IF_MODIFIED_SINCE, NEW)]);
    assert!(!is_not_modified(
        &request,
        &stored(&[(ETAG, "\"a\""), (LAST_MODIFIED, OLD)])
    ));
    assert!(!is_not_modified(&request, &stored(&[(LAST_MODIFIED, OLD)])));
}

#[test]
fn if_modified_since_compares_dates() {
    let has = |since: &str, fields: &[_]| {
        is_not_modified(&headers(&[(IF_MODIFIED_SINCE, since)]), &stored(fields))
    };
    assert!(has(OLD, &[(LAST_MODIFIED, OLD)]));
    assert!(has(NEW, &[(LAST_MODIFIED, OLD)]));
    assert!(!has(OLD, &[(LAST_MODIFIED, NEW)]));
    assert!(
        has(NEW, &[(DATE, OLD)]),
        "the date stands in for a missing Last-Modified"
    );
    assert!(!has("yesterday", &[(LAST_MODIFIED, OLD)]));
    assert!(!has(NEW, &[]));
}

#[test]
fn only_successes_are_not_modified() {
    let mut stored = stored(&[(ETAG, "\"a\"")]);
    stored.status = StatusCode::NOT_FOUND;
    assert!(!is_not_modified(&headers(&[(IF_NONE_MATCH, "*")]), &stored));
    assert!(!validate(&mut HeaderMap::new(), &stored));
}

#[test]
fn if_range_compares_strongly() {
    let matches = |condition: &str, fields: &[_]| {
        matches_if_range(
            &HeaderValue::from_str(condition).unwrap(),
            &headers(fields).into(),
        )
    };
    assert!(matches("\"a\"", &[(ETAG, "\"a\"")]));
    assert!(!matches("\"b\"", &[(ETAG, "\"a\"")]));
    assert!(!matches("W/\"a\"", &[(ETAG, "W/\"a\"")]));
    assert!(!matches("\"a\"", &[(ETAG, "W/\"a\"")]));
    assert!(matches(OLD, &[(LAST_MODIFIED, OLD), (DATE, NEW)]));
    assert!(
        !matches(NEW, &[(LAST_MODIFIED, OLD), (DATE, NEW)]),
        "the exact date only"
    );
    assert!(
        !matches(OLD, &[(LAST_MODIFIED, OLD), (DATE, OLD)]),
        "it may have changed again within that second"
    );
    assert!(!matches("nonsense", &[(DATE, NEW)]));
}

#[test]
fn revalidation_asks_by_everything_stored() {
    let mut request = headers(&[
        (IF_NONE_MATCH, "\"client\""),
        (RANGE, "bytes=0-1"),
        (IF_RANGE, "\"client\""),
    ]);
    strip(&mut request);
    assert!(request.is_empty());
    assert!(!validate(&mut request, &stored(&[])));
    assert!(validate(
        &mut request,
        &stored(&[(ETAG, "\"a\""), (LAST_MODIFIED, OLD)])
    ));
    assert_eq!(
        request,
        headers(&[(IF_NONE_MATCH, "\"a\""), (IF_MODIFIED_SINCE, OLD)])
    );
}

#[test]
fn a_304_confirms_only_what_has_its_tag() {
    let confirms = |new: &[_], old: &[_]| confirms(&headers(new), &stored(old));
    assert!(confirms(&[], &[(ETAG, "\"a\"")]));
    assert!(confirms(&[(ETAG, "W/\"a\"")], &[(ETAG, "\"a\"")]));
    assert!(!confirms(&[(ETAG, "\"b\"")], &[(ETAG, "\"a\"")]));
    assert!(!confirms(&[(ETAG, "\"b\"")], &[(LAST_MODIFIED, OLD)]));
}

#[test]
fn section_3_2_a_304_updates_all_but_what_describes_the_content() {
    let x = HeaderName::from_static("x-a");
    let mut old = headers(&[
        (DATE, OLD),
        (CONTENT_LENGTH, "5"),
        (CONTENT_ENCODING, "gzip"),
        (x.clone(), "1"),
    ]);
    old.append(x.clone(), HeaderValue::from_static("2"));
    let new = headers(&[
        (CONTENT_LENGTH, "0"),
        (CONTENT_ENCODING, "br"),
        (CONNECTION, "close"),
        (x.clone(), "3"),
        (ETAG, "\"b\""),
    ]);
    let updated = updated(&old.into(), &new, &HeaderValue::from_static(NEW));
    let expected = [
        (DATE, NEW),
        (CONTENT_LENGTH, "5"),
        (CONTENT_ENCODING, "gzip"),
        (x, "3"),
        (ETAG, "\"b\""),
    ];
    assert_eq!(updated, headers(&expected));
}
