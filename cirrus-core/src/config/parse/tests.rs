use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::config::model::DiskCacheConfig;
use crate::config::reference::EXAMPLE;
use crate::config::value::Size;

/// All faults of a text, as an operator sees them.
fn faults(text: &str, format: Format) -> String {
    let file = match format {
        Format::Toml => "cirrus.toml",
        Format::Json => "cirrus.json",
    };
    match Config::parse_file_text(text, Path::new(file)) {
        Ok((config, _)) => panic!("accepted: {config:#?}"),
        Err(faults) => faults.to_string(),
    }
}

fn toml_faults(text: &str) -> String {
    faults(text, Format::Toml)
}

fn json_faults(text: &str) -> String {
    faults(text, Format::Json)
}

fn accepted(text: &str) -> Config {
    Config::parse(text, Format::Toml).unwrap().0
}

#[test]
fn an_empty_text_is_the_default() {
    let texts = [
        ("", Format::Toml),
        ("\u{feff}# nothing\n", Format::Toml),
        ("", Format::Json),
        ("{}", Format::Json),
    ];
    for (text, format) in texts {
        let (config, warnings) = Config::parse(text, format).unwrap();
        assert_eq!(
            Config {
                document: Written::default(),
                ..config
            },
            Config::default()
        );
        assert!(warnings.is_empty());
    }
}

#[test]
fn slices_have_a_range() {
    let text = |slice: &str| {
        format!(
            "[[site]]\nhosts = [\"a\"]\norigin = [{{ url = \"http://a\" }}]\n\
             cache = {{ enable = true, slice = \"{slice}\" }}\n"
        )
    };
    for allowed in ["64KiB", "1MiB", "1000000", "64MiB"] {
        let config = accepted(&text(allowed));
        assert_eq!(config.site[0].cache.slice.unwrap().to_string(), allowed);
    }
    for refused in ["0", "65535", "65MiB"] {
        let faults = toml_faults(&text(refused));
        let allowed = "is out of range: 64KiB to 64MiB is allowed";
        assert!(
            faults.contains("site[0].cache.slice") && faults.contains(allowed),
            "{faults}"
        );
    }
}

#[test]
fn unknown_keys_and_what_was_meant() {
    insta::assert_snapshot!(toml_faults(
        "[[lisen]]\naddress = \"127.0.0.1:80\"\n\n[server]\ndrian = \"1s\"\nfoo = 1\n\n[[site]]\nHosts = [\"a\"]\n"
    ));
}

#[test]
fn unknown_keys_in_json() {
    insta::assert_snapshot!(json_faults(
        "{\n  \"server\": {\"drian\": \"1s\"},\n  \"site\": [{\"host\": [\"a\"]}]\n}\n"
    ));
}

const WRONG_TYPES: &str = r#"
cache = { memory = 5, max_object = true }
listen = [80]

[server]
workers = "4"
drain = 1.5
trusted_proxies = "10.0.0.0/8"

[limits]
connections = -1
streams = 1.0
header_time = 2020-01-01

[access_log]
format = "jsn"
file = []

[certificates]
self_signed = "true"

[site]
hosts = ["a"]
"#;

#[test]
fn wrong_types() {
    insta::assert_snapshot!(toml_faults(WRONG_TYPES));
}

#[test]
fn wrong_types_in_json() {
    insta::assert_snapshot!(json_faults(
        r#"{
  "cache": {"memory": 5, "max_object": null},
  "server": {"workers": 1e1, "drain": null},
  "limits": [],
  "access_log": {"format": {"json": 1}},
  "certificates": "certs",
  "cluster": [{"name": "a", "health": {"failures": 99999999999999999999}}],
  "site": {"hosts": ["a"]}
}"#
    ));
}

const MANY: &str = r#"
[[site]]
hosts = ["a.example"]

[[site.origin]]
url = "127.0.0.1:3000"
weight = 70000

[[site.origin]]
url = "http://127.0.0.1:3001"

[[site]]
hosts = ["b.example"]

[[site]]
hosts = ["c.example", "", 7]
timeouts = { connect = "5", idle = "soon" }

[[site.origin]]
weight = "1"
sni = "x"

[[site.route]]
methods = ["get"]
headers = { "x y" = "1", "x-ok" = "a\nb" }
redirect = { status = 404 }

[[site.route]]
path = "about"
redirect = { to = "https://x", status = 304 }

[server]
workers = 0
"#;

#[test]
fn every_fault_of_a_file_at_once() {
    insta::assert_snapshot!(toml_faults(MANY));
}

#[test]
fn missing_keys() {
    insta::assert_snapshot!(toml_faults(
        "[admin]\n[[listen]]\ntls = true\n[[cluster]]\n[[cluster.origin]]\n[[site]]\nroute = [{ files = {} }]\n"
    ));
}

#[test]
fn missing_keys_in_json() {
    insta::assert_snapshot!(json_faults(
        r#"{"listen": [{"tls": true}], "site": [{"origin": [{}, {"weight": 2}]}]}"#
    ));
}

#[test]
fn bad_urls_periods_and_sizes() {
    insta::assert_snapshot!(toml_faults(
        "cache = { memory = \"lots\", max_object = \"512MiB\" }\nserver = { drain = \"30\" }\n\
         site = [{ origin = [{ url = \"ftp://a\" }, { url = \"http://a/b\" }] }]\n"
    ));
}

#[test]
fn bad_urls_periods_and_sizes_in_json() {
    insta::assert_snapshot!(json_faults(
        "{\"cache\": {\"memory\": \"1 MiB\"},\n \"server\": {\"drain\": \"half an hour\"},\n \
         \"listen\": [{\"address\": \"localhost\"}],\n \"site\": [{\"origin\": [{\"url\": \"localhost:80\"}]}]}"
    ));
}

#[test]
fn syntax_errors_one_a_line() {
    insta::assert_snapshot!(toml_faults(
        "[server]\nworkers = \ndrain = \"30s\n\n[[site]]\nhosts = [\"a\" \"b\"]\n[site\nname = \"\\q\"\nx = 1 2 3\n"
    ));
}

#[test]
fn syntax_errors_in_json() {
    let texts = [
        "{\n  \"a\": 1,\n}",
        "{ // no\n}",
        "{\"a\": 007}",
        "{\"a\" 1}",
        "{'a': 1}",
        "[1, 2",
        "{\"a\": \"\\ud800\"}",
        "\n{}{}",
    ];
    let all: Vec<String> = texts.into_iter().map(json_faults).collect();
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn duplicate_keys_do_not_hide_other_faults() {
    insta::assert_snapshot!(toml_faults(
        "[server]\nworkers = 1\nworkers = 2\n\n[server]\ndrain = \"x\"\n\n[cache]\nmemori = 1\n"
    ));
    insta::assert_snapshot!(json_faults(
        "{\"server\": {\"workers\": 1, \"workers\": 2}, \"cache\": {\"memori\": 1}}"
    ));
}

#[test]
fn names_of_header_fields_are_the_same_in_any_case() {
    insta::assert_snapshot!(toml_faults(
        "[[site]]\nupstream_headers = { X-A = \"1\", x-a = \"2\" }\nquery = 1\n"
    ));
}

#[test]
fn ranges() {
    insta::assert_snapshot!(toml_faults(
        r#"
[server]
workers = 1025
[limits]
connections = 0
header_bytes = "4KiB"
header_time = "0s"
idle_time = "0s"
streams = 10001
[cache]
memory = "1KiB"
max_object = "2KiB"
[admin]
address = "0.0.0.0:9145"
[[cluster]]
name = "a"
health = { failures = 0, eject = "0ms" }
[[site]]
timeouts = { connect = "0s", first_byte = "0s", idle = "0s" }
[[site.route]]
respond = { status = 100 }
[[site.route]]
redirect = { to = "/", status = 200 }
"#
    ));
}

#[test]
fn ranges_of_a_sites_cache() {
    let faults = toml_faults(
        "[[site]]\nhosts = [\"a\"]\n[site.cache]\nheuristic_percent = 101\nset_cookie = \"drop\"\n\
         status_ttl = { \"404\" = \"soon\", \"6xx\" = \"1s\" }\n",
    );
    for part in [
        "heuristic_percent",
        "set_cookie",
        "not a set of statuses",
        "not a duration",
    ] {
        assert!(faults.contains(part), "{part} in {faults}");
    }
    let faults = toml_faults(
        "[[site]]\nhosts = [\"a\"]\norigin = [{ url = \"http://a\" }]\n\
         route = [{ cache = { heuristic_percent = 101 }, cluster = \"b\" }]\n",
    );
    assert!(faults.contains("0 to 100"), "{faults}");
}

#[test]
fn a_root_that_is_no_table() {
    insta::assert_snapshot!(json_faults("[1, 2]"));
}

#[test]
fn an_extension_names_the_format() {
    let faults = Config::parse_file_text("", Path::new("etc/cirrus.yaml")).unwrap_err();
    insta::assert_snapshot!(faults.to_string(), @"error: `etc/cirrus.yaml`: the name of a configuration file ends with `.toml` or `.json`");
}

#[test]
fn faults_of_a_hundred_and_more_are_cut() {
    let text = "[[site]]\nhost = 1\n".repeat(200);
    let faults = Config::parse(&text, Format::Toml).unwrap_err();
    assert_eq!(faults.len(), 101);
    assert!(
        faults
            .to_string()
            .ends_with("there are more than 100 faults; the others are not shown")
    );
}

#[test]
fn a_long_line_is_shown_in_part_and_without_control_characters() {
    let text = format!(
        "{{\"a\": \"{}\",\t\"cache\": {{\"memory\": 1}}}}",
        "x".repeat(500)
    );
    let faults = Config::parse(&text, Format::Json).unwrap_err();
    let memory = faults
        .iter()
        .find(|fault| fault.path == "cache.memory")
        .unwrap();
    let excerpt = memory.excerpt.as_ref().unwrap();
    assert!(excerpt.text.chars().count() <= 160 && !excerpt.text.contains('\t'));
    assert_eq!(&excerpt.text[excerpt.marked.clone()], "1");
}

#[test]
fn faults_are_told_as_data_too() {
    let faults = Config::parse("[server]\nworker = 1\n", Format::Toml).unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&faults).unwrap());
}

#[test]
fn a_document_knows_where_fields_stand() {
    let config = accepted(MANY_GOOD);
    let document = config.document.0.unwrap();
    let line = |path: &str| {
        document
            .place(path)
            .map(|place| (place.line, place.column, place.length))
    };
    assert_eq!(line("site[0].origin[1].url"), Some((8, 7, 10)));
    assert_eq!(line("site[0].origin[1].weight"), Some((7, 1, 15)));
    assert_eq!(line("site[0].upstream_headers.\"x.y\""), Some((3, 30, 3)));
    assert_eq!(line("site[1].hosts[0]"), Some((11, 11, 3)));
    assert_eq!(line("site[1].route[0].query.\"ü\""), Some((12, 28, 3)));
    assert_eq!(line("site[1].route[0].cluster"), Some((12, 45, 3)));
    assert_eq!(line("cache.memory"), None);
}

const MANY_GOOD: &str = r#"
[[site]] # ü
upstream_headers = { "x.y" = "1" }

[[site.origin]]
url = "http://a"
[[site.origin]]
url = "http://b"

[[site]]
hosts = [ 'a', "b" ]
route = [{ query = { "ü" = "1" }, cluster = "c" }]
"#;

#[test]
fn faults_found_later_are_put_in_their_places() {
    let config = accepted(MANY_GOOD);
    let mut faults = Faults::default();
    faults.warning(
        "site[1].hosts[1]",
        Some("b".to_owned()),
        "nobody asks for it",
    );
    faults.error("site[0].origin[0].sni", None, "no TLS here");
    faults.error("", None, "something general");
    faults.locate(config.document.0.as_ref().unwrap());
    insta::assert_snapshot!(faults.to_string());
}

#[test]
fn a_disk_cache_has_its_limits() {
    let config = accepted("cache.disk = { path = \"store\", capacity = \"100GiB\" }\n");
    let disk = config.cache.disk.as_ref().unwrap();
    assert_eq!((disk.capacity, disk.min_uses), (Size::mib(100 << 10), 1));
    let mut config = config.clone();
    config.cache.disk = Some(DiskCacheConfig {
        capacity: Size::mib(63),
        max_object: Some(Size::mib(16)),
        min_uses: 0,
        ..disk.clone()
    });
    let mut faults = Faults::default();
    crate::config::parse::check_values(&config, &mut faults);
    let paths: Vec<_> = faults.iter().map(|fault| &*fault.path).collect();
    let at = |name: &str| format!("cache.disk.{name}");
    assert_eq!(paths, [at("min_uses"), at("capacity"), at("max_object")]);
}

#[test]
fn relative_paths_start_at_the_file() {
    let mut config = accepted(
        "certificates.directory = \"certs\"\naccess_log.file = \"/var/log/a\"\n\
         cache.disk.path = \"store\"\n\
         [[site]]\nroute = [{ files.directory = \"www\" }]\n[[site]]\nhosts = [\"a\"]\n",
    );
    let untouched = std::sync::Arc::clone(&config.site[1]);
    config.resolve_paths(Path::new("/etc/cirrus"));
    assert_eq!(
        config.certificates.directory.as_deref(),
        Some(Path::new("/etc/cirrus/certs"))
    );
    assert_eq!(
        config.access_log.file.as_deref(),
        Some(Path::new("/var/log/a"))
    );
    let disk = config.cache.disk.as_ref().unwrap();
    assert_eq!(disk.path, Path::new("/etc/cirrus/store"));
    let files = config.site[0].route[0].files.as_ref().unwrap();
    assert_eq!(files.directory, Path::new("/etc/cirrus/www"));
    assert!(std::sync::Arc::ptr_eq(&untouched, &config.site[1]));
}

#[test]
fn deep_nesting_is_refused_and_harmless() {
    let dotted = vec!["a"; 70].join(".");
    let inline = format!("{}1{}", format!("{{{dotted}=").repeat(70), "}".repeat(70));
    let texts = [
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a = {inline}"),
        format!("b = 1\nb = {inline}"),
        format!("[{}]", vec!["a"; 100_000].join(".")),
    ];
    for text in texts {
        assert!(Config::parse(&text, Format::Toml).is_err());
    }
    for depth in [70, 400, 100_000] {
        let text = format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(json_faults(&text).contains("nest"));
    }
}

fn ten_thousand_sites() -> String {
    let site = |n: usize| {
        format!(
            "[[site]]\nhosts = [\"s{n}.example\", \"*.s{n}.example\"]\ncache = {{ enable = true }}\n\
                 [[site.origin]]\nurl = \"http://10.0.0.1:3000\"\nweight = 3\n\n"
        )
    };
    (0..10_000).map(site).collect()
}

#[test]
fn many_sites_with_a_few_faults_are_read_once() {
    let text = ten_thousand_sites().replace("\"s77.example\"", "7");
    let faults = Config::parse(&text, Format::Toml).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults.iter().next().unwrap().path, "site[77].hosts[0]");
}

/// Pieces of configurations, and of what goes wrong in them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("[[site]]\n"),
        Just("[[site.origin]]\n"),
        Just("[server]\n"),
        Just("[[site.route]]\n"),
        Just("[cache]\n"),
        Just("hosts = [\"a\", 'b']\n"),
        Just("url = \"http://a\"\n"),
        Just("url = 'a'\n"),
        Just("weight = 3\n"),
        Just("weight = -3\n"),
        Just("path = \"/a/*\"\n"),
        Just("workers = 0x10\n"),
        Just("memory = \"1GiB\"\n"),
        Just("redirect = { to = \"/\" }\n"),
        Just("respond.status = 204\n"),
        Just("drain = \"1m30s\"\n"),
        Just("headers = { x-a = \"*\" }\n"),
        Just("query.\"a b\" = \"é\"\n"),
        Just("default_ttl = \"0s\"\n"),
        Just("unknown = nan\n"),
        Just("a.b.c = 1\n"),
        Just("\""),
        Just("'''"),
        Just("ü"),
        Just("]"),
        Just("{"),
        Just("\r\n"),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn survives(text: &str, format: Format) -> Result<(), TestCaseError> {
    match Config::parse(text, format) {
        Ok((config, _)) => {
            let json = serde_json::to_string(&config).unwrap();
            let again = Config::parse(&json, Format::Json)
                .map_err(|faults| TestCaseError::fail(faults.to_string()))?;
            prop_assert_eq!(config, again.0);
        }
        Err(faults) => {
            prop_assert!(faults.is_fatal());
            prop_assert!(!faults.to_string().is_empty());
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_accepted_or_refused(text in "\\PC{0,60}", lines in "[a-c\"'=\\[\\]{}.,:#\n\r0-9-]{0,60}") {
        survives(&text, Format::Toml)?;
        survives(&text, Format::Json)?;
        survives(&lines, Format::Toml)?;
        survives(&lines, Format::Json)?;
    }

    #[test]
    fn what_is_accepted_means_the_same_in_json(text in pieces()) {
        survives(&text, Format::Toml)?;
    }
}

#[test]
fn the_example_means_the_same_in_json() {
    let config = accepted(EXAMPLE);
    assert_eq!(config.site[0].origin[0].weight, 3);
    let json = serde_json::to_string_pretty(&config).unwrap();
    assert_eq!(Config::parse(&json, Format::Json).unwrap().0, config);
}

#[test]
fn what_shapes_traffic_has_ranges() {
    insta::assert_snapshot!(toml_faults(
        r#"
[[site]]
hosts = ["a"]
deadline = "0s"
max_body = "10 MB"
rate_limit = [{ rate = "100" }, { rate = "1/s", burst = 0, entries = 1, key = "ip" }]
concurrency = { requests = 0, queue = 1000001, wait = "0s" }
request_id = { header = "Host" }
[[site.route]]
respond = {}
rate_limit = [{ burst = 2 }, { rate = "1/s", burst = 2000000 }]
deadline = "soon"
"#
    ));
}
