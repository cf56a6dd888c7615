//! Which nodes answer for a domain.
//!
//! Rendezvous hashing: every node has a score for every domain, and the highest ones answer. When a node comes or goes
//! only the domains change that it answers for; all others keep their nodes, and so their caches.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// How many nodes answer for a domain by default.
pub const DEFAULT_NODES: usize = 2;

/// The `count` nodes that answer for `domain`, best first; fewer if there are not so many.
///
/// The same on every machine and in every version: it depends on the names alone, compared without regard to the case
/// of the domain. Nodes must be named once; those that shall not answer (unhealthy ones) are left out by the caller.
///
/// ```
/// use cirrus_control::placement::{DEFAULT_NODES, choose};
///
/// let nodes = ["fra-1", "fra-2", "nyc-1", "sgp-1"];
/// let chosen = choose("shop.example", &nodes, DEFAULT_NODES);
/// assert_eq!(chosen.len(), 2);
/// assert_eq!(chosen, choose("Shop.Example", &nodes, DEFAULT_NODES));
/// ```
#[must_use]
pub fn choose<'a, N: AsRef<str>>(domain: &str, nodes: &'a [N], count: usize) -> Vec<&'a str> {
    let domain = domain.to_ascii_lowercase();
    let mut scored: Vec<(u64, &str)> = nodes
        .iter()
        .map(|node| (score(&domain, node.as_ref()), node.as_ref()))
        .collect();
    // Equal scores are all but impossible; the name decides then, so that the order of the list never does.
    scored.sort_unstable_by(|a, b| b.cmp(a));
    scored.truncate(count);
    scored.into_iter().map(|(_, node)| node).collect()
}

fn score(domain: &str, node: &str) -> u64 {
    xxh3_64_with_seed(domain.as_bytes(), xxh3_64_with_seed(node.as_bytes(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(count: usize) -> Vec<String> {
        (0..count).map(|n| format!("node-{n}")).collect()
    }

    fn domains() -> impl Iterator<Item = String> {
        (0..10_000).map(|n| format!("site-{n}.example"))
    }

    #[test]
    fn never_depends_on_the_order_or_on_the_machine() {
        let mut nodes = nodes(5);
        let chosen: Vec<String> = choose("shop.example", &nodes, 2)
            .into_iter()
            .map(str::to_owned)
            .collect();
        nodes.reverse();
        assert_eq!(choose("shop.example", &nodes, 2), chosen);
        assert_eq!(
            chosen,
            ["node-1", "node-4"],
            "as in every version: changing this moves every domain"
        );
    }

    #[test]
    fn gives_what_there_is() {
        assert!(choose("a", &nodes(0), 2).is_empty());
        assert_eq!(choose("a", &nodes(1), 2), ["node-0"]);
        assert!(choose("a", &nodes(3), 0).is_empty());
    }

    #[test]
    fn spreads_domains_evenly() {
        let nodes = nodes(10);
        let mut shares = std::collections::HashMap::new();
        for domain in domains() {
            for node in choose(&domain, &nodes, 2) {
                *shares.entry(node).or_insert(0) += 1;
            }
        }
        assert!(
            shares.values().all(|&share| (1800..2200).contains(&share)),
            "{shares:?}"
        );
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_own_domains() {
        let all = nodes(10);
        let (gone, rest) = all.split_last().unwrap();
        for domain in domains() {
            let before = choose(&domain, &all, 2);
            let after = choose(&domain, rest, 2);
            let kept = before
                .iter()
                .filter(|node| **node != gone)
                .all(|node| after.contains(node));
            assert!(kept, "{domain}: {before:?} → {after:?}");
        }
    }
}
