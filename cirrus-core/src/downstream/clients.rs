//! How many connections each client has: one address must not take the room of all.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use foldhash::fast::RandomState;
use parking_lot::Mutex;

/// Locks are shared by few clients; a worker holds one for a look-up only.
const SHARDS: usize = 64;

/// The connections of every client that has any, over all workers.
#[derive(Debug)]
pub(crate) struct Clients {
    shards: [Mutex<HashMap<IpAddr, u32, RandomState>>; SHARDS],
    hasher: RandomState,
}

/// Counts one connection of a client for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted {
    clients: Arc<Clients>,
    client: IpAddr,
}

// === impl Clients ===

impl Clients {
    /// Counts one more connection of a client, unless it has `most` already.
    pub(crate) fn count(self: &Arc<Self>, peer: IpAddr, most: u32) -> Option<Counted> {
        let client = client(peer);
        let mut shard = self.shard(client).lock();
        let count = shard.entry(client).or_insert(0);
        if *count >= most {
            // A client that has none is not kept, not even if none is allowed.
            if *count == 0 {
                shard.remove(&client);
            }
            return None;
        }
        *count += 1;
        drop(shard);
        Some(Counted {
            clients: Arc::clone(self),
            client,
        })
    }

    fn shard(&self, client: IpAddr) -> &Mutex<HashMap<IpAddr, u32, RandomState>> {
        // The maps themselves use the hash's low bits.
        &self.shards[(self.hasher.hash_one(client) >> 32) as usize % SHARDS]
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::default(),
        }
    }
}

/// Who stands behind an address: with IPv6, whoever has its /64.
fn client(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shard = self.clients.shard(self.client).lock();
        if let Entry::Occupied(mut entry) = shard.entry(self.client) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Clients {
        fn len(&self) -> usize {
            self.shards.iter().map(|shard| shard.lock().len()).sum()
        }
    }

    #[test]
    fn each_client_has_its_own_room_and_none_is_kept_without_connections() {
        let clients = Arc::new(Clients::default());
        let count = |address: &str| clients.count(address.parse().unwrap(), 2);
        let (a, b) = (count("192.0.2.1"), count("::ffff:192.0.2.1"));
        assert!(a.is_some() && b.is_some());
        assert!(count("192.0.2.1").is_none(), "IPv4 however it is written");
        assert!(count("192.0.2.2").is_some());
        drop(a);
        let again = count("192.0.2.1");
        assert!(again.is_some());
        let (c, d) = (count("2001:db8:0:1::1"), count("2001:db8:0:1:ffff::2"));
        assert!(c.is_some() && d.is_some());
        assert!(count("2001:db8:0:1::3").is_none(), "a /64 is one client");
        assert!(count("2001:db8:0:2::1").is_some());
        assert_eq!(clients.len(), 2);
        drop((b, c, d, again));
        assert_eq!(clients.len(), 0);
        assert!(clients.count([192, 0, 2, 1].into(), 0).is_none());
        assert_eq!(clients.len(), 0);
    }
}
