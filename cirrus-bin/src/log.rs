//! The program's own log, on standard error: for people on a terminal, JSON for everybody else.

use std::env::{self, VarError};
use std::io::{self, IsTerminal};

use anstream::{AutoStream, ColorChoice};
use cirrus_core::BoxError;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

const VARIABLE: &str = "CIRRUS_LOG";

/// Begins to log what `CIRRUS_LOG` lets through, or else `default`.
///
/// # Errors
///
/// `CIRRUS_LOG` cannot be understood.
pub(crate) fn begin(default: LevelFilter) -> Result<(), BoxError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(default)?)
        .with_writer(io::stderr);
    if io::stderr().is_terminal() {
        let colours = AutoStream::choice(&io::stderr()) != ColorChoice::Never;
        builder.with_ansi(colours).with_target(false).try_init()
    } else {
        builder.json().flatten_event(true).try_init()
    }
}

fn filter(default: LevelFilter) -> Result<EnvFilter, BoxError> {
    match env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => parse(&text),
        Ok(_) | Err(VarError::NotPresent) => Ok(EnvFilter::default().add_directive(default.into())),
        Err(VarError::NotUnicode(_)) => Err(invalid("it is not UTF-8")),
    }
}

fn parse(text: &str) -> Result<EnvFilter, BoxError> {
    let parts = text.split(',').map(str::trim);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    // A lone word would be taken for a module that nobody has, and the log would be silent.
    let lone =
        |part: &&&str| !part.contains(['=', '[', ']']) && part.parse::<LevelFilter>().is_err();
    if let Some(word) = parts.iter().find(lone) {
        return Err(invalid(&format!("`{word}` is no level")));
    }
    EnvFilter::try_new(parts.join(",")).map_err(|error| invalid(&error.to_string()))
}

fn invalid(reason: &str) -> BoxError {
    format!(
        "{VARIABLE}: {reason}; allowed are `off`, `error`, `warn`, `info`, `debug` and `trace`, \
         for everything or for a module, such as `info,cirrus_core::upstream=debug`"
    )
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_levels_for_everything_and_for_modules() {
        for text in [
            "info",
            "WARN",
            "off",
            "info,cirrus_core::upstream=debug",
            "warn, h2=off,",
        ] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn names_the_word_that_is_no_level() {
        let error = parse("info,inof").unwrap_err().to_string();
        assert!(
            error.starts_with("CIRRUS_LOG: `inof` is no level; allowed are"),
            "{error}"
        );
        let error = parse("cirrus_core=loud").unwrap_err().to_string();
        assert!(error.starts_with("CIRRUS_LOG: "), "{error}");
    }
}
