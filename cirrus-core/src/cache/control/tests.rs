use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn of(lines: &[&str]) -> Control {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
    }
    Control::of_response(&headers)
}

#[test]
fn seconds_are_read_as_rfc_9111_section_1_2_2_says() {
    for (line, expected) in [
        ("max-age=60", Some(60)),
        ("MAX-Age=60", Some(60)),
        ("max-age=\"60\"", Some(60)),
        ("max-age=\"60\" ", Some(60)),
        ("max-age=60 , public", Some(60)),
        ("max-age=0060", Some(60)),
        ("max-age=2147483648", Some(FOREVER)),
        ("max-age=99999999999999999999", Some(FOREVER)),
        ("max-age", Some(0)),
        ("max-age=", Some(0)),
        ("max-age=-1", Some(0)),
        ("max-age=+1", Some(0)),
        ("max-age=60s", Some(0)),
        ("max-age=6.0", Some(0)),
        ("max-age= 60", Some(0)),
        ("max-age='60'", Some(0)),
        ("max-age=\"60\"0", Some(0)),
        ("max-age=60, max-age=30", Some(30)),
        ("max-age=60, max-age=x", Some(0)),
        ("x-max-age=60", None),
        ("max-age-x=60", None),
        ("ext=\"max-age=60\"", None),
        ("", None),
    ] {
        assert_eq!(of(&[line]).max_age, expected, "{line}");
    }
}

#[test]
fn the_stricter_of_contradicting_numbers_counts() {
    assert_eq!(of(&["s-maxage=5", "s-maxage=9"]).s_maxage, Some(5));
    assert_eq!(of(&["max-stale=5, max-stale"]).max_stale, Some(5));
    assert_eq!(of(&["max-stale"]).max_stale, Some(FOREVER));
    assert_eq!(of(&["max-stale=x"]).max_stale, Some(0));
    assert_eq!(of(&["min-fresh=5, min-fresh=9"]).min_fresh, Some(9));
    assert_eq!(of(&["min-fresh=x"]).min_fresh, Some(FOREVER));
    assert_eq!(
        of(&["stale-if-error=x, stale-while-revalidate"]).stale_if_error,
        Some(0)
    );
}

#[test]
fn commas_in_quoted_strings_separate_nothing() {
    let control = of(&["ext=\"a, no-store, \\\", private\", max-age=5"]);
    assert_eq!(
        control,
        Control {
            max_age: Some(5),
            ..Control::default()
        }
    );
}

#[test]
fn a_quote_inside_a_word_opens_no_string() {
    assert!(of(&["a\"b, no-store, c\""]).no_store);
    assert!(of(&["a=b\"c, no-store, d=\"e\""]).no_store);
}

#[test]
fn an_unterminated_string_forbids_storing() {
    assert!(of(&["max-age=5, ext=\"a, b"]).no_store);
    assert!(of(&["max-age=5, ext=\"a\\\""]).no_store);
}

#[test]
fn lines_make_one_list() {
    let control = of(&[
        "max-age=5",
        ",, ,",
        " Must-Revalidate ",
        "PRIVATE=\"set-cookie\"",
        "No-Cache",
    ]);
    let expected = Control {
        max_age: Some(5),
        must_revalidate: true,
        withholds: true,
        no_cache: true,
        ..Control::default()
    };
    assert_eq!(control, expected);
}

#[test]
fn what_permits_must_be_written_properly() {
    assert!(of(&["public, must-understand"]).public);
    let control = of(&["public=\"x\", must-understand=1"]);
    assert!(!control.public && !control.must_understand);
}

#[test]
fn pragma_stands_in_for_a_missing_cache_control_only() {
    let mut headers = HeaderMap::new();
    headers.insert(PRAGMA, HeaderValue::from_static("x, No-Cache"));
    assert!(Control::of_request(&headers).no_cache);
    assert!(Control::of_response(&headers).no_store);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=5"));
    assert_eq!(
        Control::of_request(&headers),
        Control {
            max_age: Some(5),
            ..Control::default()
        }
    );
    assert_eq!(
        Control::of_response(&headers),
        Control {
            max_age: Some(5),
            ..Control::default()
        }
    );
}

/// Written so that reading it gives the same again.
fn render(control: &Control) -> String {
    let mut list = Vec::new();
    for (name, number) in [
        ("max-age", control.max_age),
        ("s-maxage", control.s_maxage),
        ("min-fresh", control.min_fresh),
        ("max-stale", control.max_stale),
        ("stale-while-revalidate", control.stale_while_revalidate),
        ("stale-if-error", control.stale_if_error),
    ] {
        list.extend(number.map(|number| format!("{name}={number}")));
    }
    for (name, flag) in [
        ("no-store", control.no_store),
        ("no-cache", control.no_cache),
        ("private", control.private),
        ("public", control.public),
        ("must-revalidate", control.must_revalidate),
        ("proxy-revalidate", control.proxy_revalidate),
        ("must-understand", control.must_understand),
        ("only-if-cached", control.only_if_cached),
    ] {
        list.extend(flag.then(|| name.to_owned()));
    }
    list.join(", ")
}

proptest! {
    #[test]
    fn any_bytes_are_read_and_written_back_with_the_same_meaning(
        lines in prop::collection::vec("[a-z=\", \\\\0-9-]{0,40}|[\\x20-\\x7e\u{a1}-\u{ff}]{0,60}", 0..4)
    ) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            if let Ok(value) = HeaderValue::from_bytes(line.as_bytes()) {
                headers.append(CACHE_CONTROL, value);
            }
        }
        let control = Control::of_response(&headers);
        prop_assert_eq!(of(&[&render(&control)]), control);
    }

    #[test]
    fn directives_are_found_in_any_order_case_and_company(
        max_age in 0..FOREVER,
        s_maxage in 0..FOREVER,
        swr in 0..FOREVER,
        private in any::<bool>(),
        no_cache in any::<bool>(),
        noise in prop::collection::vec("[a-z]{1,8}(=[a-z0-9]{1,4}|=\"[a-z, =]{0,9}\")?", 0..4)
            .prop_filter("names a directive", |noise| noise.iter().all(|word| {
                !matches!(word.split('=').next(), Some("private" | "public"))
            })),
        seed in any::<u64>(),
    ) {
        let expected = Control {
            max_age: Some(max_age),
            s_maxage: Some(s_maxage),
            stale_while_revalidate: Some(swr),
            private,
            no_cache,
            ..Control::default()
        };
        let rendered = render(&expected);
        let mut list: Vec<String> = rendered.split(", ").map(str::to_uppercase).chain(noise).collect();
        let middle = usize::try_from(seed % 97).unwrap() % list.len();
        list.rotate_left(middle);
        prop_assert_eq!(of(&[&list.join(",")]), expected);
    }
}
