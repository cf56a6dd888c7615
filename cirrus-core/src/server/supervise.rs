//! Owns every task, so that drain can end them.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks that belong together: counted, and waited for at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(TaskTracker);

/// Where work goes that no worker does: watches that a request begins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Background {
    /// By default the runtime of whoever spawns.
    pub(crate) runtime: Option<Handle>,
    pub(crate) tasks: Tasks,
    /// Ends it.
    pub(crate) drain: Drain,
}

/// Spawns the streams of HTTP/2 connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskExecutor;

/// Two signals: draining has begun, and its time is over.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain {
    begun: CancellationToken,
    over: CancellationToken,
}

// === impl Tasks ===

impl Tasks {
    /// Runs a task on the runtime of whoever calls.
    #[expect(clippy::disallowed_methods, reason = "the one place that spawns")]
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.0.track_future(task));
    }

    /// Runs a task on a runtime that may be another one.
    pub(crate) fn spawn_on(
        &self,
        runtime: &Handle,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        runtime.spawn(self.0.track_future(task));
    }

    /// Until all of them have ended; `false` if `limit` was over before.
    pub(crate) async fn ended(&self, limit: Duration) -> bool {
        self.0.close();
        tokio::time::timeout(limit, self.0.wait()).await.is_ok()
    }
}

// === impl Background ===

impl Background {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match &self.runtime {
            Some(runtime) => self.tasks.spawn_on(runtime, task),
            None => self.tasks.spawn(task),
        }
    }
}

// === impl TaskExecutor ===

impl<F> hyper::rt::Executor<F> for TaskExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    #[expect(
        clippy::disallowed_methods,
        reason = "a stream's task ends with its connection, which is supervised"
    )]
    fn execute(&self, stream: F) {
        tokio::spawn(stream);
    }
}

// === impl Drain ===

impl Drain {
    /// The same signals for one worker: waiting for them touches nothing that other workers touch.
    pub(crate) fn child(&self) -> Self {
        Self {
            begun: self.begun.child_token(),
            over: self.over.child_token(),
        }
    }

    /// Finish what is in flight, take nothing new.
    pub(crate) fn begin(&self) {
        self.begun.cancel();
    }

    /// Finish at once.
    pub(crate) fn end(&self) {
        self.begun.cancel();
        self.over.cancel();
    }

    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Resolves once draining has begun.
    pub(crate) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Resolves once the time for draining is over.
    pub(crate) async fn over(&self) {
        self.over.cancelled().await;
    }
}
