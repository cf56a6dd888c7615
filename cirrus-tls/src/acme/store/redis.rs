//! A Redis server, for many nodes.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use redis::aio::{ConnectionManager, ConnectionManagerConfig, PubSub};
use redis::{Client, FromRedisValue, Script, ScriptInvocation};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use super::{CertStore, Lease, Slot, StoreError};

/// Keeps everything under the keys `cdn:cert:{name}`, `cdn:acme:{name}`, `cdn:acmecertkey:{name}` and
/// `cdn:acmeacct:global`; leases are `cdn:acme:lock:{name}`. Changes of certificates are told on the channel
/// `cdn:cert:dirty`.
///
/// It connects when it is first asked, and again whenever the connection is lost.
pub struct RedisStore {
    client: Client,
    /// Made when it is first needed: that takes a runtime, which whoever opens the store may not have yet.
    connection: OnceLock<ConnectionManager>,
    prefix: String,
    listener: Mutex<Option<PubSub>>,
    scripts: Scripts,
}

struct Scripts {
    acquire: Script,
    extend: Script,
    release: Script,
    write: Script,
}

/// For one command.
const LIMIT: Duration = Duration::from_secs(2);

/// Between two tries to listen for changes.
const PAUSE: Duration = Duration::from_secs(1);

/// Names asked for at once.
const AT_ONCE: usize = 1000;

const ACQUIRE: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local fence = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], fence, 'PX', ARGV[1])
return fence";

const EXTEND: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])";

const RELEASE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])";

/// Whether the lease is still held, and the change, are one step: nobody can take over between the two.
const WRITE: &str = "
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[2], ARGV[2])
if ARGV[3] ~= '' then redis.call('PUBLISH', ARGV[4], ARGV[3]) end
return 1";

// === impl RedisStore ===

impl RedisStore {
    /// At this URL, under keys that begin with `prefix`, usually `cdn:`. Connects later.
    ///
    /// # Errors
    ///
    /// The URL is none.
    pub fn new(url: &str, prefix: impl Into<String>) -> Result<Self, StoreError> {
        let client = Client::open(url).map_err(StoreError::unavailable)?;
        Ok(Self {
            client,
            connection: OnceLock::new(),
            prefix: prefix.into(),
            listener: Mutex::default(),
            scripts: Scripts {
                acquire: Script::new(ACQUIRE),
                extend: Script::new(EXTEND),
                release: Script::new(RELEASE),
                write: Script::new(WRITE),
            },
        })
    }

    fn key(&self, slot: &Slot<'_>) -> String {
        let prefix = &self.prefix;
        match slot {
            Slot::Cert(name) => format!("{prefix}cert:{name}"),
            Slot::State(name) => format!("{prefix}acme:{name}"),
            Slot::CertKey(name) => format!("{prefix}acmecertkey:{name}"),
            Slot::Account => format!("{prefix}acmeacct:global"),
            Slot::Token(token) => format!("{prefix}acme:token:{token}"),
            Slot::Alpn(name) => format!("{prefix}acme:alpn:{name}"),
        }
    }

    fn lock(&self, name: &str) -> String {
        format!("{}acme:lock:{name}", self.prefix)
    }

    fn channel(&self) -> String {
        format!("{}cert:dirty", self.prefix)
    }

    fn connection(&self) -> Result<ConnectionManager, StoreError> {
        if let Some(connection) = self.connection.get() {
            return Ok(connection.clone());
        }
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT))
            .set_number_of_retries(1);
        let made = ConnectionManager::new_lazy_with_config(self.client.clone(), config);
        let made = made.map_err(StoreError::unavailable)?;
        // Somebody else may have been faster: then that one is used.
        Ok(self.connection.get_or_init(|| made).clone())
    }

    async fn command<T: FromRedisValue>(&self, command: &redis::Cmd) -> Result<T, StoreError> {
        let mut connection = self.connection()?;
        let answer = timeout(LIMIT * 2, command.query_async(&mut connection)).await;
        let answer = answer.map_err(|_| too_slow())?;
        answer.map_err(StoreError::unavailable)
    }

    async fn script<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, StoreError> {
        let mut connection = self.connection()?;
        let answer = timeout(LIMIT * 2, script.invoke_async(&mut connection)).await;
        let answer = answer.map_err(|_| too_slow())?;
        answer.map_err(StoreError::unavailable)
    }

    async fn listen(&self) -> Result<PubSub, StoreError> {
        let listening = async {
            let mut listener = self.client.get_async_pubsub().await?;
            listener.subscribe(self.channel()).await?;
            Ok::<_, redis::RedisError>(listener)
        };
        let listening = timeout(LIMIT, listening).await.map_err(|_| too_slow())?;
        listening.map_err(StoreError::unavailable)
    }
}

impl fmt::Debug for RedisStore {
    /// Never shows the URL, which may have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CertStore for RedisStore {
    async fn read(&self, slot: &Slot<'_>) -> Result<Option<String>, StoreError> {
        self.command(redis::cmd("GET").arg(self.key(slot))).await
    }

    async fn write(&self, slot: &Slot<'_>, text: &str, lease: &Lease) -> Result<(), StoreError> {
        let changed = match slot {
            Slot::Cert(name) => name,
            _ => "",
        };
        let mut write = self.scripts.write.key(self.lock(&lease.name));
        write
            .key(self.key(slot))
            .arg(lease.fence)
            .arg(text)
            .arg(changed)
            .arg(self.channel());
        fenced(self.script(&write).await?, lease)
    }

    async fn publish(&self, slot: &Slot<'_>, text: &str, life: Duration) -> Result<(), StoreError> {
        let mut set = redis::cmd("SET");
        set.arg(self.key(slot)).arg(text);
        self.command(set.arg("PX").arg(millis(life))).await
    }

    async fn remove(&self, slot: &Slot<'_>) -> Result<(), StoreError> {
        let _: u64 = self.command(redis::cmd("DEL").arg(self.key(slot))).await?;
        if let Slot::Cert(name) = slot {
            let mut tell = redis::cmd("PUBLISH");
            let _: u64 = self.command(tell.arg(self.channel()).arg(*name)).await?;
        }
        Ok(())
    }

    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let begin = self.key(&Slot::Cert(""));
        let mut names = Vec::new();
        let mut cursor = 0u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(format!("{}*", glob(&begin)));
            let (next, keys): (u64, Vec<String>) =
                self.command(scan.arg("COUNT").arg(AT_ONCE)).await?;
            let found = keys.iter().filter_map(|key| key.strip_prefix(&begin));
            names.extend(found.map(str::to_owned));
            if next == 0 {
                // A scan may show a key twice.
                names.sort_unstable();
                names.dedup();
                return Ok(names);
            }
            cursor = next;
        }
    }

    async fn acquire(&self, name: &str, life: Duration) -> Result<Option<Lease>, StoreError> {
        let mut acquire = self.scripts.acquire.key(self.lock(name));
        acquire
            .key(format!("{}acme:fence", self.prefix))
            .arg(millis(life));
        let fence: Option<u64> = self.script(&acquire).await?;
        Ok(fence.map(|fence| Lease::new(name, fence)))
    }

    async fn extend(&self, lease: &Lease, life: Duration) -> Result<(), StoreError> {
        let mut extend = self.scripts.extend.key(self.lock(&lease.name));
        extend.arg(lease.fence).arg(millis(life));
        fenced(self.script(&extend).await?, lease)
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        let mut release = self.scripts.release.key(self.lock(&lease.name));
        // If it has been lost, there is nothing to give back.
        let _: u64 = self.script(release.arg(lease.fence)).await?;
        Ok(())
    }

    async fn changed(&self) -> Option<String> {
        let mut listener = self.listener.lock().await;
        if let Some(listening) = &mut *listener {
            if let Some(message) = listening.on_message().next().await {
                return message.get_payload().ok();
            }
            *listener = None;
        }
        loop {
            match self.listen().await {
                Ok(listening) => {
                    *listener = Some(listening);
                    // Nobody knows what was missed.
                    return None;
                }
                Err(_) => sleep(PAUSE).await,
            }
        }
    }
}

fn fenced(done: u64, lease: &Lease) -> Result<(), StoreError> {
    match done {
        0 => Err(StoreError::Fenced(lease.name.clone())),
        _ => Ok(()),
    }
}

fn millis(life: Duration) -> u64 {
    u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1)
}

/// Taken literally by `MATCH`.
fn glob(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for letter in text.chars() {
        if "*?[]\\^".contains(letter) {
            literal.push('\\');
        }
        literal.push(letter);
    }
    literal
}

fn too_slow() -> StoreError {
    StoreError::unavailable("Redis did not answer in time")
}

#[cfg(test)]
mod tests {
    use cirrus_core::testing::process::RedisServer;

    use super::*;
    use crate::acme::store::suite::{self, store_suite};

    store_suite!({
        let server = RedisServer::start();
        let open = || RedisStore::new(&server.url(), "cdn:").unwrap();
        (open(), open(), server)
    });

    #[tokio::test]
    async fn a_lost_lease_writes_nothing() {
        let server = RedisServer::start();
        let open = || RedisStore::new(&server.url(), "cdn:").unwrap();
        suite::a_lost_lease_writes_nothing(&open(), &open()).await;
    }

    #[tokio::test]
    async fn keys_are_those_of_the_system_before() {
        let server = RedisServer::start();
        let store = RedisStore::new(&server.url(), "cdn:").unwrap();
        let lease = store.acquire("a.example", LIMIT).await.unwrap().unwrap();
        assert_eq!(server.ask(&["EXISTS", "cdn:acme:lock:a.example"]), ":1");
        for (slot, key) in [
            (Slot::Cert("a.example"), "cdn:cert:a.example"),
            (Slot::State("a.example"), "cdn:acme:a.example"),
            (Slot::CertKey("a.example"), "cdn:acmecertkey:a.example"),
            (Slot::Account, "cdn:acmeacct:global"),
        ] {
            store.write(&slot, "text", &lease).await.unwrap();
            assert_eq!(server.ask(&["GET", key]), "text", "{key}");
        }
        store.release(lease).await.unwrap();
        assert_eq!(server.ask(&["EXISTS", "cdn:acme:lock:a.example"]), ":0");
    }

    #[tokio::test]
    async fn comes_back_with_redis() {
        let mut server = RedisServer::start();
        let store = RedisStore::new(&server.url(), "cdn:").unwrap();
        let slot = Slot::Cert("a.example");
        assert_eq!(store.read(&slot).await.unwrap(), None);
        server.kill();
        assert!(matches!(
            store.read(&slot).await,
            Err(StoreError::Unavailable(_))
        ));
        server.restart();
        timeout(Duration::from_secs(10), async {
            while store.read(&slot).await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .expect("it connects again");
    }

    #[tokio::test]
    async fn starts_without_redis() {
        let nobody = cirrus_core::testing::ports::free();
        let store = RedisStore::new(&format!("redis://{nobody}"), "cdn:").unwrap();
        let read = store.read(&Slot::Account).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    }
}
