//! What a reference asks the DNS for.

use std::net::IpAddr;
use std::sync::Arc;

use cirrus_core::BoxError;
use cirrus_core::discovery::Endpoint;
use hickory_resolver::proto::rr::Name;

use crate::reference::Reference;

/// What to ask for, and how to speak to what is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) name: Arc<str>,
    pub(super) form: Form,
    is_tls: bool,
    sni: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Addresses; the port is given.
    Addresses(u16),
    /// SRV records.
    Targets,
}

// === impl Question ===

impl Question {
    pub(super) fn parse(text: &str) -> Result<Self, BoxError> {
        let form = "write `dns://api.internal:8080` or `dns+srv://_http._tcp.api.internal`";
        let reference = Reference::parse(text).ok_or(form)?;
        if !matches!(reference.path, "" | "/") || reference.fragment.is_some() {
            return Err(format!("there is nothing behind the name: {form}").into());
        }
        let (mut is_tls, mut sni) = (false, None);
        for (option, value) in reference.options() {
            match (&*option, &*value) {
                ("scheme", "http") => is_tls = false,
                ("scheme", "https") => is_tls = true,
                ("sni", name) if !name.is_empty() => sni = Some(name.into()),
                _ => {
                    let known = "there are `scheme=https`, `scheme=http` and `sni=NAME`";
                    return Err(format!("`{option}={value}` is no option: {known}").into());
                }
            }
        }
        let (name, port) = match reference.authority.rsplit_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (reference.authority, None),
        };
        let form = if reference.scheme.eq_ignore_ascii_case("dns+srv") {
            if port.is_some() {
                return Err("SRV records have ports of their own: write none".into());
            }
            Form::Targets
        } else {
            Form::Addresses(match port {
                None => [80, 443][usize::from(is_tls)],
                Some(port) => {
                    let port = port.parse().ok().filter(|port| *port != 0);
                    port.ok_or("a port is a number from 1 to 65535")?
                }
            })
        };
        Ok(Self {
            name: checked(name)?,
            form,
            is_tls,
            sni,
        })
    }

    /// What is at this address, found by way of `target`.
    pub(super) fn endpoint(&self, address: IpAddr, port: u16, target: &str) -> Option<Endpoint> {
        let scheme = if self.is_tls { "https" } else { "http" };
        let host = match address {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let endpoint = Endpoint::new(format!("{scheme}://{host}:{port}").parse().ok()?);
        Some(match &self.sni {
            _ if !self.is_tls => endpoint,
            Some(sni) => endpoint.with_sni(Arc::clone(sni)),
            None => endpoint.with_sni(target.trim_end_matches('.')),
        })
    }
}

fn checked(name: &str) -> Result<Arc<str>, BoxError> {
    if name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
        return Err("an address is not looked up: write it as an origin".into());
    }
    match Name::from_utf8(name) {
        Ok(parsed) if !name.is_empty() && !parsed.is_root() => Ok(name.into()),
        _ => Err(format!("`{name}` is no name").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_say_what_to_ask_for() {
        let parse = |text: &str| Question::parse(text).unwrap();
        assert_eq!(parse("dns://a.b:8080").form, Form::Addresses(8080));
        assert_eq!(parse("dns://a.b").form, Form::Addresses(80));
        assert_eq!(parse("dns://a.b?scheme=https").form, Form::Addresses(443));
        let targets = parse("dns+srv://_http._tcp.a.b");
        assert_eq!(targets.form, Form::Targets);
        assert_eq!(&*targets.name, "_http._tcp.a.b");
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, told) in [
            ("dns://", "no name"),
            ("dns://10.0.0.1:80", "not looked up"),
            ("dns://[::1]:80", "not looked up"),
            ("dns://a:0", "from 1 to 65535"),
            ("dns://a:x", "from 1 to 65535"),
            ("dns://a/b", "nothing behind"),
            ("dns://a?tls=1", "`tls=1` is no option"),
            ("dns+srv://a:1", "write none"),
            ("dns+srv://a..b", "no name"),
        ] {
            let error = Question::parse(text).unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn tls_asks_for_the_name_that_led_there() {
        let address = "::1".parse().unwrap();
        let endpoint = |text: &str| {
            let question = Question::parse(text).unwrap();
            question.endpoint(address, 7, "t.example.").unwrap()
        };
        let plain = endpoint("dns://a");
        assert_eq!((plain.url.as_str(), plain.sni), ("http://[::1]:7", None));
        let tls = endpoint("dns+srv://a?scheme=https");
        assert_eq!(tls.url.as_str(), "https://[::1]:7");
        assert_eq!(tls.sni.as_deref(), Some("t.example"));
        let named = endpoint("dns://a?scheme=https&sni=b.example");
        assert_eq!(named.sni.as_deref(), Some("b.example"));
    }

    proptest::proptest! {
        #[test]
        fn parsing_never_panics(text in "dns(\\+srv)?://\\PC*") {
            let _ = Question::parse(&text);
        }
    }
}
