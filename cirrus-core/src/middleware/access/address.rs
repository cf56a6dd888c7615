//! By the client's address.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Check, Reason, Refused};
use crate::body::Request;
use crate::config::AccessConfig;
use crate::error::Kind;
use crate::middleware::Context;
use crate::middleware::client::client_address;

/// Allowed and denied networks; the most specific one decides.
#[derive(Debug)]
pub(crate) struct Address {
    /// By length of the prefix, longest first: a lookup takes as many steps as there are lengths, not networks.
    lengths: Vec<(u8, HashMap<IpNet, bool>)>,
    /// What holds for everybody else.
    others: bool,
}

// === impl Address ===

impl Address {
    pub(crate) fn new(config: &AccessConfig) -> Self {
        let mut address = Self {
            lengths: Vec::new(),
            others: config.allow.is_empty(),
        };
        config.allow.iter().for_each(|net| address.add(*net, true));
        // Later, so that what is in both lists is denied.
        config.deny.iter().for_each(|net| address.add(*net, false));
        address
            .lengths
            .sort_by_key(|(length, _)| std::cmp::Reverse(*length));
        address
    }

    /// These networks may come, and nobody else.
    pub(crate) fn allowing(networks: &[IpNet]) -> Self {
        Self::new(&AccessConfig {
            allow: networks.to_vec(),
            ..AccessConfig::default()
        })
    }

    fn add(&mut self, network: IpNet, allowed: bool) {
        let network = canonical(network);
        let length = network.prefix_len();
        match self.lengths.iter_mut().find(|(known, _)| *known == length) {
            Some((_, networks)) => {
                networks.insert(network, allowed);
            }
            None => self
                .lengths
                .push((length, HashMap::from([(network, allowed)]))),
        }
    }

    fn allows(&self, client: IpAddr) -> bool {
        let client = client.to_canonical();
        let decided = self.lengths.iter().find_map(|(length, networks)| {
            let network = IpNet::new(client, *length).ok()?.trunc();
            networks.get(&network).copied()
        });
        decided.unwrap_or(self.others)
    }
}

impl Check for Address {
    const REASON: Reason = Reason::Address;

    async fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> Result<(), Refused> {
        if self.allows(client_address(cx, request.headers())) {
            Ok(())
        } else {
            Err(Kind::Forbidden.into())
        }
    }
}

/// `::ffff:10.0.0.0/104` is `10.0.0.0/8`; what is behind the prefix does not count.
fn canonical(network: IpNet) -> IpNet {
    let mapped = match network.addr().to_canonical() {
        IpAddr::V4(address) if network.prefix_len() >= 96 => {
            IpNet::new(IpAddr::V4(address), network.prefix_len() - 96).ok()
        }
        _ => None,
    };
    match network {
        IpNet::V6(_) => mapped.unwrap_or(network).trunc(),
        IpNet::V4(_) => network.trunc(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn nets(list: &[&str]) -> Vec<IpNet> {
        list.iter().map(|net| net.parse().unwrap()).collect()
    }

    fn rules(allow: &[&str], deny: &[&str]) -> Address {
        let mut config = AccessConfig::default();
        (config.allow, config.deny) = (nets(allow), nets(deny));
        Address::new(&config)
    }

    fn allows(rules: &Address, client: &str) -> bool {
        rules.allows(client.parse().unwrap())
    }

    #[test]
    fn the_most_specific_network_decides() {
        let rules = rules(&["10.0.0.0/8", "10.1.2.0/24"], &["10.1.0.0/16"]);
        assert!(allows(&rules, "10.9.0.1") && allows(&rules, "10.1.2.3"));
        assert!(!allows(&rules, "10.1.3.3") && !allows(&rules, "192.0.2.1"));
        assert!(!allows(&rules, "::1"));
    }

    #[test]
    fn without_an_allowance_all_others_may_come() {
        let rules = rules(&[], &["192.0.2.0/24"]);
        assert!(allows(&rules, "10.0.0.1") && allows(&rules, "2001:db8::1"));
        assert!(!allows(&rules, "192.0.2.9"));
    }

    #[test]
    fn what_is_both_is_denied() {
        assert!(!allows(
            &rules(&["10.0.0.0/8"], &["10.0.0.0/8"]),
            "10.0.0.1"
        ));
    }

    #[test]
    fn ipv4_in_ipv6_is_ipv4() {
        let from_v4 = rules(&["10.0.0.0/8"], &[]);
        assert!(allows(&from_v4, "::ffff:10.0.0.1"));
        let from_v6 = rules(&["::ffff:10.0.0.0/104"], &[]);
        assert!(allows(&from_v6, "10.255.0.1") && !allows(&from_v6, "11.0.0.1"));
        assert!(
            allows(&rules(&["10.9.9.9/8"], &[]), "10.0.0.1"),
            "bits behind the prefix"
        );
        assert!(
            !allows(&rules(&["::/0"], &[]), "10.0.0.1"),
            "IPv6 is not IPv4"
        );
    }

    proptest! {
        #[test]
        fn decides_as_going_through_all_of_them_would(
            networks in proptest::collection::vec((any::<u32>(), 0u8..=32, any::<bool>()), 0..12),
            client in any::<u32>(),
        ) {
            // Close together, so that they meet.
            let near = |bits: u32| std::net::Ipv4Addr::from(bits & 0x0f00_00ff);
            let client = IpAddr::V4(near(client));
            let mut config = AccessConfig::default();
            for &(bits, length, allowed) in &networks {
                let network = IpNet::new(near(bits).into(), length).unwrap();
                let list = if allowed { &mut config.allow } else { &mut config.deny };
                list.push(network);
            }
            let longest = |list: &[IpNet]| {
                list.iter().filter(|net| net.contains(&client)).map(IpNet::prefix_len).max()
            };
            let expected = match (longest(&config.allow), longest(&config.deny)) {
                (None, None) => config.allow.is_empty(),
                (allowed, denied) => allowed > denied,
            };
            prop_assert_eq!(Address::new(&config).allows(client), expected);
        }
    }
}
