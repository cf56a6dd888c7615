//! Values of arguments, each with a message that says what is allowed.

use std::net::SocketAddr;

use cirrus_core::config::{HeaderText, Size};

/// The least that `--cache` takes.
const LEAST: u64 = 1 << 20;

/// Memory for responses, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Memory(pub(super) Option<Size>);

/// `256MiB`, or `0` and `off` for none.
pub(super) fn memory(text: &str) -> Result<Memory, String> {
    if matches!(text, "0" | "off") {
        return Ok(Memory(None));
    }
    let size: Size = text.parse().map_err(|error| format!("{error}"))?;
    if size.bytes() < LEAST {
        return Err("at least 1MiB is allowed, or `off`".to_owned());
    }
    Ok(Memory(Some(size)))
}

/// An address of this machine that others cannot reach.
pub(super) fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address = address(text)?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("the admin listener has no authentication, so only loopback addresses are allowed, such as 127.0.0.1:9145".to_owned())
}

/// An address to listen on.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let invalid =
        |_| "an IP address and a port are allowed, such as 127.0.0.1:8080 or [::]:80".to_owned();
    text.parse().map_err(invalid)
}

/// The value of a `Host` field.
pub(super) fn host(text: &str) -> Result<String, String> {
    let uri: http::uri::Authority = text.parse().map_err(|_| NO_HOST.to_owned())?;
    let plain = !uri.as_str().contains('@') && text.parse::<HeaderText>().is_ok();
    plain
        .then(|| uri.to_string())
        .ok_or_else(|| NO_HOST.to_owned())
}

const NO_HOST: &str =
    "a host name and perhaps a port are allowed, such as shop.example or shop.example:8080";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_a_size_or_nothing() {
        assert_eq!(
            memory("64MiB").map(|m| m.0.map(Size::bytes)),
            Ok(Some(64 << 20))
        );
        assert_eq!(memory("off"), Ok(Memory(None)));
        assert_eq!(memory("0"), Ok(Memory(None)));
        assert_eq!(
            memory("12KiB"),
            Err("at least 1MiB is allowed, or `off`".to_owned())
        );
        assert!(memory("lots").is_err());
    }

    #[test]
    fn the_admin_listener_stays_on_this_machine() {
        assert!(loopback("127.0.0.1:0").is_ok() && loopback("[::1]:9145").is_ok());
        assert!(loopback("0.0.0.0:9145").is_err() && loopback("9145").is_err());
    }

    #[test]
    fn a_host_is_only_a_host() {
        assert_eq!(
            host("shop.example:8080"),
            Ok("shop.example:8080".to_owned())
        );
        for text in [
            "",
            "a b",
            "http://shop.example",
            "user@shop.example",
            "shop.example/x",
        ] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
