//! The connection: one for all requests, made again when it is lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cirrus_core::cache::StoreError;
use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError};
use redis::{RedisResult, ScriptInvocation, ServerErrorKind};
use tokio::sync::{Notify, Semaphore};

/// The longest time for a new connection, log-in included.
const CONNECT: Duration = Duration::from_secs(2);

/// After as many calls in a row that took too long, the connection is given up.
const PATIENCE: u32 = 3;

/// The connection, if there is one.
pub(super) struct Link {
    client: Client,
    current: RwLock<Option<Arc<Connection>>>,
    lost: Notify,
    slow: AtomicU32,
    room: Semaphore,
}

/// A connection, and to which run of the server.
pub(super) struct Connection {
    connection: MultiplexedConnection,
    pub(super) run: String,
}

#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("Redis is not connected")]
    NotConnected,
    #[error("Redis did not answer within {0:?}")]
    TooSlow(Duration),
    #[error("Redis does not say which run it is")]
    NoRun,
}

// === impl Link ===

impl Link {
    pub(super) fn new(client: Client, concurrency: usize) -> Self {
        Self {
            client,
            current: RwLock::default(),
            lost: Notify::new(),
            slow: AtomicU32::new(0),
            room: Semaphore::new(concurrency),
        }
    }

    /// A new connection, not yet used by anybody.
    pub(super) async fn dial(&self) -> Result<Connection, StoreError> {
        let dialled = tokio::time::timeout(CONNECT, self.greet()).await;
        dialled.map_err(|_| unavailable(Trouble::TooSlow(CONNECT)))?
    }

    async fn greet(&self) -> Result<Connection, StoreError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            // Every call has its own limit.
            .set_response_timeout(None);
        let dialling = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let mut connection = dialling.await.map_err(unavailable)?;
        let mut ask = redis::cmd("INFO");
        ask.arg("server");
        let info: String = ask
            .query_async(&mut connection)
            .await
            .map_err(unavailable)?;
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:"));
        let run = run.ok_or_else(|| unavailable(Trouble::NoRun))?.to_owned();
        Ok(Connection { connection, run })
    }

    /// From now on this one is used.
    pub(super) fn set(&self, connection: Connection) {
        self.slow.store(0, Ordering::Relaxed);
        *self.current.write() = Some(Arc::new(connection));
    }

    pub(super) fn is_up(&self) -> bool {
        self.current.read().is_some()
    }

    /// Resolves when the connection was lost.
    pub(super) async fn lost(&self) {
        while self.is_up() {
            self.lost.notified().await;
        }
    }

    pub(super) fn current(&self) -> Result<Arc<Connection>, StoreError> {
        let current = self.current.read().clone();
        current.ok_or_else(|| unavailable(Trouble::NotConnected))
    }

    /// Runs a script.
    pub(super) async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        limit: Duration,
    ) -> Result<T, StoreError> {
        let used = self.current()?;
        let mut connection = used.connection.clone();
        let call = script.invoke_async(&mut connection);
        self.within(&used, limit, call).await
    }

    /// Runs a command.
    pub(super) async fn command<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T, StoreError> {
        let used = self.current()?;
        let mut connection = used.connection.clone();
        let call = command.query_async(&mut connection);
        self.within(&used, limit, call).await
    }

    async fn within<T>(
        &self,
        used: &Arc<Connection>,
        limit: Duration,
        call: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, StoreError> {
        let call = async {
            let _room = self.room.acquire().await;
            call.await
        };
        match tokio::time::timeout(limit, call).await {
            Ok(Ok(answer)) => {
                self.slow.store(0, Ordering::Relaxed);
                Ok(answer)
            }
            Ok(Err(error)) => {
                if is_fatal(&error) {
                    self.give_up(used);
                }
                Err(refused(error))
            }
            Err(_) => {
                if self.slow.fetch_add(1, Ordering::Relaxed) + 1 >= PATIENCE {
                    self.give_up(used);
                }
                Err(unavailable(Trouble::TooSlow(limit)))
            }
        }
    }

    /// Unless it has been replaced already.
    fn give_up(&self, used: &Arc<Connection>) {
        let mut current = self.current.write();
        if current.as_ref().is_some_and(|now| Arc::ptr_eq(now, used)) {
            *current = None;
            self.lost.notify_one();
        }
    }
}

// === impl Connection ===

impl Connection {
    /// Runs a script before the connection is anybody else's.
    pub(super) async fn first<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection.clone();
        let call = script.invoke_async(&mut connection);
        match tokio::time::timeout(CONNECT, call).await {
            Ok(answer) => answer.map_err(refused),
            Err(_) => Err(unavailable(Trouble::TooSlow(CONNECT))),
        }
    }
}

/// Whether another connection may do better.
fn is_fatal(error: &RedisError) -> bool {
    use ServerErrorKind::{BusyLoading, MasterDown, ReadOnly};
    error.is_io_error()
        || error.is_unrecoverable_error()
        || matches!(
            error.kind(),
            ErrorKind::Server(BusyLoading | MasterDown | ReadOnly)
        )
}

fn refused(error: RedisError) -> StoreError {
    if error.code() == Some("OOM") {
        return StoreError::Full;
    }
    unavailable(error)
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::Unavailable(error.into())
}
