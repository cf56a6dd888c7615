//! Threads that wait for the disk, so that no worker does.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// A fixed number of threads, which end once this is dropped and they have done all there was to do.
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

struct Job(Box<dyn FnOnce() + Send>);

/// Most jobs that wait before new requests are turned away.
const MOST_WAITING: usize = 4096;

// === impl Pool ===

impl Pool {
    pub(super) fn start(name: &str, threads: usize) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            ready: Condvar::new(),
        });
        let pool = Self(Arc::clone(&shared));
        for _ in 0..threads {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || shared.work())?;
        }
        Ok(pool)
    }

    /// Whether so much waits that new requests had better do without the disk.
    pub(super) fn is_swamped(&self) -> bool {
        self.0.queue.lock().jobs.len() >= MOST_WAITING
    }

    /// Does `job` on one of the threads; it is done even if nobody waits for its result.
    pub(super) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (done, result) = oneshot::channel();
        let job = Job(Box::new(move || {
            let _ = done.send(job());
        }));
        self.0.queue.lock().jobs.push_back(job);
        self.0.ready.notify_one();
        result
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.0.queue.lock().closed = true;
        self.0.ready.notify_all();
    }
}

// === impl Shared ===

impl Shared {
    fn work(&self) {
        while let Some(Job(job)) = self.next() {
            // Whoever waits for it hears of it; the thread is needed further.
            if catch_unwind(AssertUnwindSafe(job)).is_err() {
                tracing::error!("disk cache: a job panicked");
            }
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            self.ready.wait(&mut queue);
        }
    }
}
