//! The well-meaning client beside an attack.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cirrus_core::testing::Client;
use tokio::runtime::Builder;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Asks for something small again and again, from a thread of its own.
pub(crate) struct Bystander {
    has_seen_enough: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

const EVERY: Duration = Duration::from_millis(20);

/// Requests of one kind on a connection: the next one is another worker's, maybe.
const IN_A_ROW: usize = 8;

/// Generous, because the attack is on the same processor; whoever starves waits far longer.
const NEARLY_ALWAYS: Duration = Duration::from_secs(1);
const ALWAYS: Duration = Duration::from_secs(3);

// === impl Bystander ===

impl Bystander {
    pub(crate) fn start(address: SocketAddr) -> Self {
        let has_seen_enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&has_seen_enough);
        let thread = thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(latencies(address, &until))
        });
        Self {
            has_seen_enough,
            thread,
        }
    }

    /// Ends it, and looks at how long it waited.
    pub(crate) fn was_served(self) {
        self.has_seen_enough.store(true, Ordering::Relaxed);
        let mut times = self.thread.join().expect("every request was answered");
        times.sort();
        let (p99, slowest) = (times[times.len() * 99 / 100], times[times.len() - 1]);
        let count = times.len();
        println!("bystander: {count} requests, p99 {p99:?}, slowest {slowest:?}");
        assert!(
            p99 <= NEARLY_ALWAYS && slowest <= ALWAYS,
            "of {count} requests 99 % were answered within {p99:?}, the slowest in {slowest:?}"
        );
    }
}

async fn latencies(address: SocketAddr, until: &AtomicBool) -> Vec<Duration> {
    let mut clients = [Client::to(address), Client::to(address)];
    let mut times = Vec::new();
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !until.load(Ordering::Relaxed) || times.is_empty() {
        ticks.tick().await;
        for (client, path) in clients.iter_mut().zip(["/cached", "/"]) {
            if times.len() / 2 % IN_A_ROW == 0 {
                client.leave();
            }
            let began = Instant::now();
            assert_eq!(client.get(path).await.text(), "hello");
            times.push(began.elapsed());
        }
    }
    times
}
