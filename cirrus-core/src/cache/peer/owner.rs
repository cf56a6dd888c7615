//! Who of a group has a URL: rendezvous hashing.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// One of a group, as far as it matters to whom a key belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The same on all edges.
    seed: u64,
    weight: f64,
}

// === impl Member ===

impl Member {
    /// `name` is written in the same way on all edges.
    pub(super) fn new(name: &str, weight: u16) -> Self {
        Self {
            seed: xxh3_64(name.as_bytes()),
            weight: f64::from(weight),
        }
    }

    /// How much this key is its own. It depends on nobody else, so that a member who comes or goes moves its own share only.
    fn score(&self, key: &[u8]) -> f64 {
        let hash = xxh3_64_with_seed(key, self.seed);
        // Between 0 and 1, neither included; 53 bits are all that a float has.
        let uniform = ((hash >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        -self.weight / uniform.ln()
    }
}

/// The places of all members in the order in which this key is theirs, its owner first.
pub(super) fn order(members: impl Iterator<Item = Member>, key: &str) -> Vec<usize> {
    let scores = members.map(|member| member.score(key.as_bytes()));
    let mut order: Vec<(usize, f64)> = scores.enumerate().collect();
    order.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    order.into_iter().map(|(place, _)| place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn group(count: usize) -> Vec<(String, u16)> {
        (0..count)
            .map(|number| (format!("http://10.0.0.{number}:8080"), 1))
            .collect()
    }

    fn owner(group: &[(String, u16)], key: &str) -> String {
        let members = group
            .iter()
            .map(|(name, weight)| Member::new(name, *weight));
        group[order(members, key)[0]].0.clone()
    }

    proptest! {
        /// Whatever a member's leaving moves was its own, and goes to whoever came next.
        #[test]
        fn a_member_moves_its_own_share_only(
            count in 2..9_usize,
            gone in 0..9_usize,
            weights in proptest::collection::vec(1..1000_u16, 9),
            keys in proptest::collection::vec("[a-z/]{1,20}", 50),
        ) {
            let mut group = group(count);
            for (member, weight) in group.iter_mut().zip(weights) {
                member.1 = weight;
            }
            let mut fewer = group.clone();
            let (gone, _) = fewer.remove(gone % count);
            for key in keys {
                let members = || group.iter().map(|(name, weight)| Member::new(name, *weight));
                let order = order(members(), &key);
                let (before, after) = (owner(&group, &key), owner(&fewer, &key));
                if before == gone {
                    prop_assert_eq!(&after, &group[order[1]].0);
                } else {
                    prop_assert_eq!(after, before);
                }
            }
        }

        #[test]
        fn the_order_of_the_list_does_not_matter(key in "[a-z/]{1,20}") {
            let group = group(5);
            let mut turned = group.clone();
            turned.rotate_left(2);
            prop_assert_eq!(owner(&group, &key), owner(&turned, &key));
        }
    }

    #[test]
    fn shares_are_as_large_as_weights_say() {
        let mut group = group(3);
        group[1].1 = 2;
        let keys = 20_000;
        let of = |name: &str| {
            let is = |number: &i32| owner(&group, &format!("http a /{number}")) == name;
            (0..keys).filter(is).count() as f64 / f64::from(keys)
        };
        for (name, weight) in &group {
            let (share, wanted) = (of(name), f64::from(*weight) / 4.0);
            assert!((share - wanted).abs() < 0.02, "{name}: {share}");
        }
    }

    /// Edges of other versions must agree.
    #[test]
    fn the_order_is_the_same_everywhere() {
        let members = group(5);
        let members = members.iter().map(|(name, _)| Member::new(name, 1));
        let order = order(members, "http shop.example /film?x=1");
        assert_eq!(order, [3, 4, 0, 2, 1]);
    }
}
