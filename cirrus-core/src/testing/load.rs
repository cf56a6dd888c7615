//! Requests at a steady pace, and what became of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::Client;
use crate::server::{Drain, Tasks};

/// The longest that anything is waited for.
const LIMIT: Duration = Duration::from_secs(60);

/// How often it is looked whether the clients have got on.
const TICK: Duration = Duration::from_millis(2);

/// Clients that ask for `/` until they are told to stop. Runs on the runtime it is made on, which has to have several
/// threads if the test blocks its own.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Tally>,
    drain: Drain,
    tasks: Tasks,
}

/// What became of the requests so far.
#[derive(Debug)]
struct Tally {
    /// How many each client has behind it.
    done: Box<[AtomicUsize]>,
    answers: Mutex<BTreeMap<String, usize>>,
    failures: Mutex<Vec<String>>,
}

// === impl Load ===

impl Load {
    /// So many clients, each with a connection of its own, that together ask so often a second at the most. Who is late
    /// does not catch up: a slow machine has less load, and never a burst.
    #[must_use]
    pub fn on(proxy: SocketAddr, clients: u32, per_second: u32) -> Self {
        let load = Self {
            tally: Arc::new(Tally {
                done: (0..clients).map(|_| AtomicUsize::new(0)).collect(),
                answers: Mutex::default(),
                failures: Mutex::default(),
            }),
            drain: Drain::default(),
            tasks: Tasks::default(),
        };
        let pace = Duration::from_secs(1) * clients / per_second;
        for number in 0..clients as usize {
            let (tally, drain) = (Arc::clone(&load.tally), load.drain.clone());
            load.tasks.spawn(async move {
                tally.ask(number, Client::to(proxy), pace, drain).await;
            });
        }
        load
    }

    /// How many answers of status 200 there were, by their bodies.
    #[must_use]
    pub fn answers(&self) -> BTreeMap<String, usize> {
        self.tally.answers.lock().clone()
    }

    /// How many requests there were.
    #[must_use]
    pub fn count(&self) -> usize {
        let each = self.tally.done.iter();
        each.map(|done| done.load(Ordering::Relaxed)).sum()
    }

    /// Until every client has made so many requests that began after this call. After one, whatever was in flight
    /// before is over.
    ///
    /// # Panics
    ///
    /// If that takes longer than a minute.
    pub async fn rounds(&self, rounds: usize) {
        let done = || {
            self.tally
                .done
                .iter()
                .map(|one| one.load(Ordering::Relaxed))
        };
        // The one that is on its way does not count.
        let wanted: Vec<usize> = done().map(|done| done + 1 + rounds).collect();
        let all = async {
            while done().zip(&wanted).any(|(done, wanted)| done < *wanted) {
                sleep(TICK).await;
            }
        };
        timeout(LIMIT, all).await.expect("the clients are answered");
    }

    /// What went wrong so far: broken responses, and those of another status than 200.
    #[must_use]
    pub fn failures(&self) -> Vec<String> {
        self.tally.failures.lock().clone()
    }

    /// Stops when every answer that is on its way is there; tells what went wrong.
    ///
    /// # Panics
    ///
    /// If the answers do not come within a minute.
    pub async fn end(self) -> Vec<String> {
        self.drain.begin();
        assert!(self.tasks.ended(LIMIT).await, "answers in time");
        self.failures()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.drain.begin();
    }
}

// === impl Tally ===

impl Tally {
    async fn ask(&self, number: usize, mut client: Client, pace: Duration, drain: Drain) {
        let mut turns = interval(pace);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !drain.has_begun() {
            turns.tick().await;
            client
                .send(b"GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n")
                .await;
            match client.reply_or_end("GET").await {
                Some(reply) if reply.status == 200 => {
                    let mut answers = self.answers.lock();
                    *answers.entry(reply.text().to_owned()).or_default() += 1;
                }
                Some(reply) => {
                    let failure = format!("{} {}", reply.status, reply.text());
                    self.failures.lock().push(failure);
                }
                None => {
                    self.failures.lock().push("a response broke off".to_owned());
                    client.leave();
                }
            }
            self.done[number].fetch_add(1, Ordering::Relaxed);
        }
    }
}
