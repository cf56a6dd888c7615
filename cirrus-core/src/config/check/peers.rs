//! The edges that fetch for each other.

use crate::config::faults::Faults;
use crate::config::model::{Config, PeersConfig};
use crate::config::value::Period;

/// Which of them this edge is must be said, and each can stand once: its share would be another one on other edges.
pub(super) fn peers(config: &Config, faults: &mut Faults) {
    let Some(peers) = &config.cache.peers else {
        return;
    };
    if !peers.group.iter().any(|peer| peer.url == peers.own) {
        let message = "this edge must be one of `group`, written in the same way there";
        faults.error("cache.peers.own", Some(peers.own.to_string()), message);
    }
    for (index, peer) in peers.group.iter().enumerate() {
        let before = &peers.group[..index];
        if let Some(first) = before.iter().position(|other| other.url == peer.url) {
            let message = format!("`cache.peers.group[{first}]` is this edge already");
            let field = format!("cache.peers.group[{index}].url");
            faults.error(&field, Some(peer.url.to_string()), message);
        }
        if !(1..=1000).contains(&peer.weight) {
            let weight = peer.weight.to_string();
            let message = format!("{weight} is out of range: 1 to 1000 is allowed");
            let field = format!("cache.peers.group[{index}].weight");
            faults.error(&field, Some(weight), message);
        }
    }
    times(peers, faults);
}

fn times(peers: &PeersConfig, faults: &mut Faults) {
    let (second, minute) = (Period::secs(1), Period::secs(60));
    let day = Period::secs(86_400);
    for (key, value, least, most) in [
        ("timeout", peers.timeout, Period::millis(10), minute),
        ("keep", peers.keep, second, day),
    ] {
        if !(least..=most).contains(&value) {
            let message = format!("{value} is out of range: {least} to {most} is allowed");
            faults.error(
                format!("cache.peers.{key}"),
                Some(value.to_string()),
                message,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Abilities, Config, Format, check};

    const WHOLE: &str = "[cache.peers]\nown = \"http://10.0.0.1:8080\"\n\
        group = [{ url = \"http://10.0.0.1:8080\" }, { url = \"http://10.0.0.2:8080\", weight = 2 }]\n\
        key = \"a-secret-of-theirs\"\n";

    fn faults(from: &str, to: &str) -> String {
        assert!(WHOLE.contains(from), "{from}");
        match Config::parse(&WHOLE.replace(from, to), Format::Toml) {
            Ok((config, _)) => check(&config, Abilities::default()).to_string(),
            Err(faults) => faults.to_string(),
        }
    }

    #[test]
    fn a_group_is_whole() {
        assert_eq!(faults("own", "own"), "");
        for (from, to, told) in [
            (
                "own = \"http://10.0.0.1:8080\"\n",
                "",
                "`own` is required here",
            ),
            (
                "own = \"http://10.0.0.1",
                "own = \"http://10.0.0.3",
                "must be one of `group`",
            ),
            (
                "{ url = \"http://10.0.0.2",
                "{ url = \"http://10.0.0.1",
                "is this edge already",
            ),
            ("weight = 2", "weight = 0", "0 is out of range: 1 to 1000"),
            ("a-secret-of-theirs", "", "at least 16 characters"),
            ("key = ", "timeout = \"1ms\"\nkey = ", "10ms to 1m"),
            ("key = ", "keep = \"0s\"\nkey = ", "1s to 1d"),
        ] {
            let faults = faults(from, to);
            assert!(faults.contains(told), "{told}: {faults}");
        }
    }
}
