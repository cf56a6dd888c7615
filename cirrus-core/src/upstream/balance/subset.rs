//! Each edge asks only some of very many endpoints, so that not everybody is connected to everybody.

use super::hash::{hash, mix};
use crate::discovery::{Endpoint, Endpoints};

/// How many endpoints an edge asks, and which edge it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Subset {
    pub(crate) size: usize,
    pub(crate) edge: u64,
}

// === impl Subset ===

impl Subset {
    /// Those that this edge asks: an endpoint that comes or goes changes at most one of them. Over many edges all
    /// endpoints are asked about equally often.
    pub(crate) fn of(&self, all: &Endpoints) -> Endpoints {
        if all.len() <= self.size {
            return all.clone();
        }
        let bid = |endpoint: &Endpoint| mix(name(endpoint) ^ self.edge);
        let mut bids: Vec<u64> = all.iter().map(bid).collect();
        let (_, &mut least, _) = bids.select_nth_unstable_by(self.size - 1, |a, b| b.cmp(a));
        all.iter()
            .filter(|endpoint| bid(endpoint) >= least)
            .take(self.size)
            .cloned()
            .collect()
    }
}

/// What names an endpoint in every hash: the same in all processes.
pub(crate) fn name(endpoint: &Endpoint) -> u64 {
    let name = hash(endpoint.url.to_string().as_bytes());
    match &endpoint.sni {
        Some(sni) => mix(name ^ hash(sni.as_bytes())),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(ports: impl Iterator<Item = u32>) -> Endpoints {
        ports
            .map(|port| Endpoint::new(format!("http://10.0.0.1:{port}").parse().unwrap()))
            .collect()
    }

    #[test]
    fn one_that_goes_changes_one_at_most() {
        let subset = Subset { size: 20, edge: 7 };
        let before = subset.of(&endpoints(1..=200));
        assert_eq!(before.len(), 20);
        for gone in 1..=200 {
            let after = subset.of(&endpoints((1..=200).filter(|port| *port != gone)));
            let stayed = |one: &&Endpoint| after.iter().any(|other| other == *one);
            assert!(before.iter().filter(stayed).count() >= 19);
            assert_eq!(after.len(), 20);
        }
    }

    #[test]
    fn edges_choose_differently_and_together_evenly() {
        let all = endpoints(1..=50);
        let mut asked = std::collections::HashMap::new();
        for edge in 0..1000 {
            for endpoint in &(Subset { size: 10, edge }).of(&all) {
                *asked.entry(endpoint.url.port()).or_insert(0) += 1;
            }
        }
        // 200 each, and what chance makes of it.
        assert!(
            asked.len() == 50 && asked.values().all(|n| (140..260).contains(n)),
            "{asked:?}"
        );
    }

    #[test]
    fn few_are_all_asked() {
        assert_eq!(Subset { size: 5, edge: 1 }.of(&endpoints(1..=5)).len(), 5);
        assert!(
            Subset { size: 5, edge: 1 }
                .of(&Endpoints::default())
                .is_empty()
        );
    }
}
