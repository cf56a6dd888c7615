//! Help, schema, completions, colours.

use std::path::Path;
use std::process::Command;

use crate::support::{cirrus, told};

fn printed(arguments: &[&str]) -> String {
    let output = cirrus(Path::new("."))
        .args(arguments)
        .assert()
        .success()
        .get_output()
        .clone();
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_shows_the_commands_and_examples() {
    insta::assert_snapshot!(printed(&["--help"]));
}

#[test]
fn every_command_has_help() {
    for command in [
        "demo",
        "proxy",
        "run",
        "check",
        "explain",
        "purge",
        "prefetch",
        "schema",
        "completions",
        "version",
    ] {
        let help = printed(&[command, "--help"]);
        assert!(help.contains(&format!("Usage: cirrus {command}")), "{help}");
    }
}

#[test]
fn an_unknown_command_is_wrong_usage() {
    insta::assert_snapshot!(told(cirrus(Path::new(".")).arg("prxy")));
}

#[test]
fn tells_its_version() {
    let version = format!("cirrus {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&["version"]), version);
    assert_eq!(printed(&["--version"]), version);
}

#[test]
fn the_schema_is_json_and_knows_the_sites() {
    let schema: serde_json::Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    assert!(schema["$schema"].is_string());
    assert!(schema["properties"]["site"].is_object());
}

#[test]
fn the_written_reference_is_the_generated_one() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let written = std::fs::read_to_string(path).unwrap();
    assert!(
        written == printed(&["schema", "--markdown"]),
        "write it again: `cargo run -- schema --markdown > docs/configuration.md`"
    );
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let text = printed(&["completions", shell]);
        assert!(
            text.contains("demo") && text.contains("completions"),
            "{shell}: {text}"
        );
    }
}

#[test]
fn a_log_filter_that_cannot_be_understood_is_told() {
    let mut command = cirrus(Path::new("."));
    command
        .env("CIRRUS_LOG", "inof")
        .args(["proxy", "--to", "http://127.0.0.1:1"]);
    insta::assert_snapshot!(told(&mut command));
}

#[test]
fn colours_are_for_terminals_without_no_color() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("cirrus.toml"), "lisen = 1\n").unwrap();
    let piped = told(cirrus(directory.path()).args(["check", "--config", "cirrus.toml"]));
    assert!(
        piped.contains("error") && !piped.contains('\u{1b}'),
        "{piped}"
    );
    let (coloured, plain) = (
        on_a_terminal(directory.path(), ""),
        on_a_terminal(directory.path(), "1"),
    );
    assert!(coloured.contains("\u{1b}[1m\u{1b}[31merror"), "{coloured}");
    assert!(
        plain.contains("error") && !plain.contains('\u{1b}'),
        "{plain}"
    );
}

/// `cirrus check` with a terminal of its own.
fn on_a_terminal(directory: &Path, no_color: &str) -> String {
    let line = format!(
        "'{}' check --config cirrus.toml",
        env!("CARGO_BIN_EXE_cirrus")
    );
    let mut command = Command::new("script");
    command
        .args(["-qec", &line, "/dev/null"])
        .current_dir(directory);
    command
        .env("TERM", "xterm")
        .env("NO_COLOR", no_color)
        .env_remove("CLICOLOR");
    let output = command.output().expect("`script` of util-linux");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
