//! A cache between a scripted origin and a plain store, with a clock that stands still.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use parking_lot::Mutex;
use tower_layer::Layer;

use super::super::{Cache, CacheLayer};
use crate::body::{Body, Request, Response};
use crate::cache::buffer::{Buffer, Writer, growing};
use crate::cache::{
    CacheKey, CacheStore, Fill, Meta, Moment, ObjectId, Purge, Purged, Rules, Selection,
    StoreError, Stored,
};
use crate::clock::{ManualClock, Timestamp};
use crate::error::{BoxError, Error, Kind};
use crate::middleware::{Context, Handler};

pub(super) type Answer = Pin<Box<dyn Future<Output = Result<Response, Error>> + Send>>;
type Script = Box<dyn Fn(&Parts) -> Answer + Send + Sync>;

pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) store: Arc<Shelf>,
    pub(super) origin: Origin,
    cache: Cache<Origin>,
    cx: Context,
}

/// Answers as scripted and remembers what it was asked.
#[derive(Clone)]
pub(super) struct Origin(Arc<Inner>);

struct Inner {
    script: Mutex<Arc<Script>>,
    asked: Mutex<Vec<Parts>>,
}

/// A response as a client has it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `None` if it broke off.
    pub(super) body: Option<String>,
    pub(super) word: &'static str,
}

/// What can be wrong with a store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    Full,
    Damaged,
    Unavailable,
    /// It never answers.
    Hanging,
    /// It takes what is new, and never says that it is kept.
    Stuck,
}

/// A store that forgets nothing by itself.
pub(super) struct Shelf {
    objects: Mutex<Vec<(CacheKey, Stored)>>,
    ids: AtomicU64,
    pub(super) fault: Mutex<Fault>,
    pub(super) lookups: AtomicU64,
    /// How many of the next lookups have their answer at once, but take their time to give it.
    pub(super) slow: AtomicU64,
}

struct ShelfFill {
    shelf: Arc<Shelf>,
    key: CacheKey,
    stored: Stored,
    writer: Option<Writer>,
}

pub(super) fn world() -> World {
    World::ruled(Rules::enabled())
}

/// A response with this much of a header, `name: value` a line, separated by `|`.
pub(super) fn response(status: u16, header: &str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in header.split('|').filter_map(|line| line.split_once(':')) {
        let name = http::HeaderName::try_from(name.trim()).unwrap();
        response
            .headers_mut()
            .append(name, value.trim().parse().unwrap());
    }
    response
}

/// An answer that is there at once.
pub(super) fn at_once(response: Response) -> Answer {
    Box::pin(std::future::ready(Ok(response)))
}

/// An answer that is not.
pub(super) fn failure() -> Answer {
    Box::pin(std::future::ready(Err(Error::new(Kind::Connect))))
}

/// A body to be sent bit by bit.
pub(super) fn trickle() -> (Sender<Bytes, BoxError>, Body) {
    let (sender, body) = Channel::new(1);
    (sender, Body::stream(body))
}

/// Lets everything happen that can happen without waiting.
pub(super) async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

// === impl World ===

impl World {
    pub(super) fn ruled(rules: Rules) -> Self {
        let clock = ManualClock::at(Timestamp::from_secs(1_795_176_000));
        let store = Arc::new(Shelf::new());
        let origin = Origin::new();
        let cache = CacheLayer::new(rules).layer(origin.clone());
        let cx = Context::testing(Arc::new(clock.clone()), Some(Arc::new(Arc::clone(&store))));
        Self {
            clock,
            store,
            origin,
            cache,
            cx,
        }
    }

    /// The origin answers like this from now on.
    pub(super) fn serves(&self, status: u16, header: &'static str, body: &'static str) {
        self.origin
            .acts(move |_| at_once(response(status, header, body)));
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "").await
    }

    pub(super) async fn get_with(&self, path: &str, header: &str) -> Reply {
        self.ask("GET", path, header).await
    }

    pub(super) async fn ask(&self, method: &str, path: &str, header: &str) -> Reply {
        let (response, word) = self.begin(method, path, header).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .ok()
            .map(|body| String::from_utf8(body.to_bytes().to_vec()).unwrap());
        Reply {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body,
            word,
        }
    }

    /// The response's header; its body is still to be read.
    pub(super) async fn begin(
        &self,
        method: &str,
        path: &str,
        header: &str,
    ) -> Result<(Response, &'static str), Error> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        *request.headers_mut() = response(200, header, "").into_parts().0.headers;
        let mut cx = self.cx.detached();
        let response = self.cache.handle(&mut cx, Box::new(request)).await?;
        Ok((response, cx.cache.word()))
    }

    pub(super) fn advance(&self, secs: u64) {
        self.clock.advance(std::time::Duration::from_secs(secs));
    }
}

// === impl Origin ===

impl Origin {
    fn new() -> Self {
        let script: Script = Box::new(|_| at_once(response(500, "", "no script")));
        Self(Arc::new(Inner {
            script: Mutex::new(Arc::new(script)),
            asked: Mutex::default(),
        }))
    }

    pub(super) fn acts(&self, script: impl Fn(&Parts) -> Answer + Send + Sync + 'static) {
        *self.0.script.lock() = Arc::new(Box::new(script));
    }

    pub(super) fn calls(&self) -> usize {
        self.0.asked.lock().len()
    }

    /// The target of the last request.
    pub(super) fn target(&self) -> String {
        let asked = self.0.asked.lock();
        asked
            .last()
            .map(|asked| asked.uri.to_string())
            .unwrap_or_default()
    }

    /// A field of the last request.
    pub(super) fn saw(&self, name: &str) -> Option<String> {
        let asked = self.0.asked.lock();
        Some(
            asked
                .last()?
                .headers
                .get(name)?
                .to_str()
                .unwrap()
                .to_owned(),
        )
    }
}

impl Handler for Origin {
    fn handle<'a>(
        &'a self,
        _: &'a mut Context,
        request: Box<Request>,
    ) -> impl Future<Output = Result<Response, Error>> + Send + 'a {
        let script = Arc::clone(&*self.0.script.lock());
        let (parts, _) = request.into_parts();
        let answer = script(&parts);
        self.0.asked.lock().push(parts);
        answer
    }
}

// === impl Reply ===

impl Reply {
    pub(super) fn is(self, status: u16, body: &str) -> Self {
        assert_eq!((self.status, self.body.as_deref()), (status, Some(body)));
        self
    }

    /// All lines of a field as one; empty without any.
    pub(super) fn field(&self, name: &str) -> String {
        let lines: Vec<_> = self
            .headers
            .get_all(name)
            .iter()
            .map(|line| line.to_str().unwrap())
            .collect();
        lines.join(", ")
    }

    pub(super) fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.field(name), value, "{name}");
        self
    }

    pub(super) fn cached(self, status: &str) -> Self {
        self.has("cache-status", &format!("cirrus; {status}"))
    }
}

// === impl Shelf ===

impl Shelf {
    fn new() -> Self {
        Self {
            objects: Mutex::default(),
            ids: AtomicU64::new(1),
            fault: Mutex::new(Fault::None),
            lookups: AtomicU64::new(0),
            slow: AtomicU64::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.objects.lock().len()
    }

    pub(super) fn has(&self, fault: Fault) {
        *self.fault.lock() = fault;
    }

    async fn hang(&self) {
        if *self.fault.lock() == Fault::Hanging {
            std::future::pending::<()>().await;
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match *self.fault.lock() {
            Fault::None | Fault::Hanging | Fault::Stuck => Ok(()),
            Fault::Full => Err(StoreError::Full),
            Fault::Damaged => Err(StoreError::Damaged("damaged".into())),
            Fault::Unavailable => Err(StoreError::Unavailable("away".into())),
        }
    }
}

#[async_trait]
impl CacheStore for Arc<Shelf> {
    async fn lookup(&self, key: &CacheKey) -> Result<Vec<Stored>, StoreError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        // `Full` concerns inserting only.
        self.hang().await;
        if *self.fault.lock() != Fault::Full {
            self.check()?;
        }
        let found: Vec<_> = {
            let objects = self.objects.lock();
            let all = objects.iter().rev().filter(|(other, _)| other == key);
            all.map(|(_, stored)| stored.clone()).collect()
        };
        let is_slow = self
            .slow
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        if is_slow.is_ok() {
            settle().await;
        }
        Ok(found)
    }

    async fn insert(&self, key: &CacheKey, meta: Meta) -> Result<Box<dyn Fill>, StoreError> {
        self.hang().await;
        self.check()?;
        let (writer, body): (Writer, Buffer) = growing(meta.length);
        let id = ObjectId(self.ids.fetch_add(1, Ordering::Relaxed));
        let stored = Stored::new(id, Arc::new(meta), Arc::new(body));
        self.objects.lock().push((key.clone(), stored.clone()));
        Ok(Box::new(ShelfFill {
            shelf: Arc::clone(self),
            key: key.clone(),
            stored,
            writer: Some(writer),
        }))
    }

    fn moment(&self) -> Moment {
        Moment(0)
    }

    async fn refresh(&self, _: &CacheKey, id: ObjectId, meta: Meta) -> Result<bool, StoreError> {
        self.check()?;
        let mut objects = self.objects.lock();
        let Some((_, stored)) = objects.iter_mut().find(|(_, stored)| stored.id == id) else {
            return Ok(false);
        };
        stored.meta = Arc::new(meta);
        Ok(true)
    }

    async fn purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.hang().await;
        self.check()?;
        let mut objects = self.objects.lock();
        let before = objects.len();
        objects.retain(|(key, stored)| match &purge.what {
            Selection::Url(url) => key != url,
            Selection::Tag(tag) => !stored.meta.tags.contains(tag),
            _ => panic!("only URLs and tags are purged here"),
        });
        Ok(Purged::counted((before - objects.len()) as u64))
    }
}

#[async_trait]
impl Fill for ShelfFill {
    fn stored(&self) -> Stored {
        self.stored.clone()
    }

    async fn write(&mut self, chunk: Bytes) -> Result<(), StoreError> {
        self.writer.as_mut().unwrap().write(chunk).await
    }

    async fn finish(mut self: Box<Self>, trailers: HeaderMap) -> Result<(), StoreError> {
        self.writer.take().unwrap().finish(trailers)?;
        if *self.shelf.fault.lock() == Fault::Stuck {
            std::future::pending::<()>().await;
        }
        let (key, stored) = (&self.key, &self.stored);
        let retired = |other: &Stored| other.id < stored.id && other.meta.vary == stored.meta.vary;
        self.shelf
            .objects
            .lock()
            .retain(|(other, object)| other != key || !retired(object));
        Ok(())
    }
}

impl Drop for ShelfFill {
    fn drop(&mut self) {
        if self.writer.is_some() {
            self.shelf
                .objects
                .lock()
                .retain(|(_, stored)| stored.id != self.stored.id);
        }
    }
}
