//! Handshakes take turns, so that requests have theirs.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::BoxFuture;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::server::Tasks;

/// One handshake of a worker computes at a time, and then everything else that is ready has its turn before the next
/// one: a flood of handshakes makes handshakes wait, and a request no longer than one of them takes.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    next: Arc<Semaphore>,
    tasks: Tasks,
}

/// A handshake that takes turns.
struct Taking<'a, F> {
    turns: &'a Turns,
    waiting: BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>>,
    handshake: F,
}

// === impl Turns ===

impl Turns {
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self {
            next: Arc::new(Semaphore::new(1)),
            tasks,
        }
    }

    /// Drives `handshake`, each step in a turn of its own. Steps end where it waits for its client, so no turn does.
    pub(crate) async fn take<F: Future + Unpin>(&self, handshake: F) -> F::Output {
        let taking = Taking {
            turns: self,
            waiting: self.wait(),
            handshake,
        };
        pin!(taking).await
    }

    fn wait(&self) -> BoxFuture<'static, Result<OwnedSemaphorePermit, AcquireError>> {
        Box::pin(Arc::clone(&self.next).acquire_owned())
    }

    /// The next one's turn comes when everything that is ready now has been seen to.
    fn pass(&self, turn: OwnedSemaphorePermit) {
        self.tasks.spawn(async move {
            tokio::task::yield_now().await;
            drop(turn);
        });
    }
}

// === impl Taking ===

impl<F: Future + Unpin> Future for Taking<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let turn = ready!(self.waiting.as_mut().poll(cx));
        let step = Pin::new(&mut self.handshake).poll(cx);
        // It is never closed; if it were, nobody would have to wait.
        if let Ok(turn) = turn {
            self.turns.pass(turn);
        }
        if step.is_pending() {
            self.waiting = self.turns.wait();
        }
        step
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    /// A request that is always ready has a turn between any two steps of a crowd of handshakes.
    #[tokio::test]
    async fn requests_have_their_turn_between_handshakes() {
        let turns = Turns::new(Tasks::default());
        let steps = Rc::new(Cell::new(0));
        let most = Rc::new(Cell::new(0));
        let crowd = tokio::task::LocalSet::new();
        for _ in 0..50 {
            let (turns, steps) = (turns.clone(), Rc::clone(&steps));
            crowd.spawn_local(async move {
                let mut left = 3;
                let handshake = std::future::poll_fn(|cx| {
                    steps.set(steps.get() + 1);
                    left -= 1;
                    cx.waker().wake_by_ref();
                    if left == 0 {
                        Poll::Ready(())
                    } else {
                        Poll::Pending
                    }
                });
                turns.take(handshake).await;
            });
        }
        let (seen, largest) = (Rc::clone(&steps), Rc::clone(&most));
        crowd.spawn_local(async move {
            while seen.get() < 150 {
                let before = seen.get();
                tokio::task::yield_now().await;
                largest.set(largest.get().max(seen.get() - before));
            }
        });
        crowd.await;
        assert_eq!(steps.get(), 150, "every step was made");
        assert!(most.get() <= 1, "{} steps in a row", most.get());
    }
}
