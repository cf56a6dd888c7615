//! Configurations.

use crate::config::{Abilities, Config, Format, check};

/// Whatever the text, there is a configuration or there are faults; and what was read is read again from what is
/// written.
pub fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else {
        return;
    };
    // Checks look into files that are named. Devices are not to be looked into.
    if text.contains("dev") || text.contains("proc") {
        return;
    }
    for format in [Format::Toml, Format::Json] {
        if let Ok((config, _)) = Config::parse(text, format) {
            checked(&config);
        }
    }
}

fn checked(config: &Config) {
    let faults = check(config, Abilities::new(true, true));
    let _ = faults.to_string();
    let written = serde_json::to_string(config).unwrap_or_default();
    match Config::parse(&written, Format::Json) {
        Ok((again, _)) => assert_eq!(&again, config),
        Err(faults) => panic!("{written}\n{faults}"),
    }
}
