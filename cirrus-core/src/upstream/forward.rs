//! Sends a request to a cluster.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CONNECTION, TE, UPGRADE, VIA};
use http::{HeaderMap, HeaderValue, Method, Version};
use tokio::time::Instant;

use super::balance::{Busy, Selection, Wanted};
use super::cluster::{Backend, Cluster};
use super::connect::{word, word_of_broken};
use super::h1::{Answer, Failed, Form, Head, Talk, Why};
use super::link::{Found, Link, Wish};
use super::overdue::Overdue;
use super::pool::Wire;
use super::slots::{Entry, Slot};
use super::tried::Tried;
use super::watched::Passage;
use super::{h2, tunnel};
use crate::body::{Body, Request, Response};
use crate::downstream::{Bridged, Upgrade, hygiene};
use crate::error::{Error, Kind};
use crate::middleware::limit::is_too_large;
use crate::middleware::{Context, Handler};

/// How many endpoints are tried for one request. Only connecting is tried again: no byte was sent then.
const MAX_TRIES: usize = 3;

/// What a client is told to wait when there is nobody to ask and no ejected endpoint to wait for.
const NOBODY_WAIT: Duration = Duration::from_secs(5);

/// Upgrades are HTTP/1.1's (RFC 9113 §8.6).
const NO_SWITCH: &str = "HTTP/2 has no switch to another protocol";

/// The end of a stack: an endpoint of the cluster answers.
#[derive(Clone, Debug)]
pub(crate) struct Forward {
    cluster: Arc<Cluster>,
    /// By default all of its endpoints are asked.
    selection: Option<Arc<Selection>>,
    /// Nothing above looks at the header of what answers a GET.
    is_bare: bool,
}

/// Which endpoint answered, and how long it took.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) backend: Arc<Backend>,
    /// From the choice to the response's header, connecting included.
    pub(crate) took: Duration,
    /// Until the response's last byte.
    _busy: Option<Arc<Busy>>,
    /// What the client is told about its session.
    pub(super) tell: Option<HeaderValue>,
}

/// What is known of one request: whom it has gone to, and who wants to know what came of it.
#[derive(Debug)]
pub(super) struct Tries {
    /// Read once for all that happens before anybody waits: a look at the clock costs as much as two allocations.
    begun: Instant,
    /// Those of earlier tries of the same request first.
    backends: Vec<Arc<Backend>>,
    /// How many of them these are.
    earlier: usize,
    last: Option<Error>,
    wanted: Wanted,
    busy: Option<Busy>,
    passage: Passage,
}

// === impl Tries ===

impl Tries {
    fn new(begun: Instant, wanted: Wanted, earlier: Option<&Tried>, passage: Passage) -> Self {
        let backends = earlier.map_or_else(Vec::new, Tried::all);
        Self {
            begun,
            earlier: backends.len(),
            backends,
            last: None,
            wanted,
            busy: None,
            passage,
        }
    }

    /// It is given up, and that is the endpoint's doing.
    pub(super) fn overdue(&mut self) {
        if let Some(busy) = &self.busy {
            busy.load().failed(self.begun.elapsed());
        }
        self.passage.told(false);
    }

    fn failed(&mut self, backend: Arc<Backend>, error: Error) {
        self.backends.push(backend);
        self.last = Some(error);
    }
}

// === impl Forward ===

impl Forward {
    /// `is_bare`: nothing above looks at the header of what answers a GET.
    pub(crate) fn new(cluster: Arc<Cluster>, is_bare: bool) -> Self {
        Self {
            cluster,
            selection: None,
            is_bare,
        }
    }

    /// Asks these endpoints only, if that is said.
    pub(crate) fn of(mut self, selection: Option<Arc<Selection>>) -> Self {
        self.selection = selection;
        self
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    fn form(&self, cx: &Context, method: &Method) -> Form {
        // What answers another method may make stored responses void, or must say how long its content would be.
        if self.is_bare && cx.writes_lines && *method == Method::GET {
            Form::Lines
        } else {
            Form::Map
        }
    }

    /// Connects to one endpoint after the other until one can be reached.
    async fn reach(
        &self,
        cx: &Context,
        tries: &mut Tries,
        switches: bool,
    ) -> Result<(Arc<Backend>, Link), Error> {
        while tries.backends.len() - tries.earlier < MAX_TRIES {
            let Some(backend) = self.next(tries) else {
                break;
            };
            tries.busy = self.cluster.busy(&backend);
            if let Some(tried) = &cx.tried {
                tried.note(&backend);
            }
            let now = match tries.backends.len() == tries.earlier {
                true => tries.begun,
                false => Instant::now(),
            };
            if let Some(wire) = self.pooled(cx, &backend, switches, now) {
                cx.worker.cells.pool_hits.add(1);
                return Ok((backend, Link::Http1(wire)));
            }
            match self.connect(cx, &backend, switches, tries).await {
                Ok(link) => return Ok((backend, link)),
                // It was asked only because all of them are full: it has waited long enough.
                Err(error) if error.kind() == Kind::Overload => return Err(error),
                Err(error) => tries.failed(backend, error),
            }
        }
        Err(tries.last.take().unwrap_or_else(|| self.nobody()))
    }

    /// Rather one that has failed an earlier try than nobody.
    fn next(&self, tries: &Tries) -> Option<Arc<Backend>> {
        let selection = self.selection.as_ref();
        let pick = |tried| self.cluster.pick_for(tried, tries.wanted, selection);
        let others = pick(&tries.backends);
        if others.is_some() || tries.earlier == 0 {
            return others;
        }
        pick(&tries.backends[tries.earlier..])
    }

    /// An idle connection, if each request has one to itself.
    fn pooled(
        &self,
        cx: &Context,
        backend: &Backend,
        switches: bool,
        now: Instant,
    ) -> Option<Box<Wire>> {
        if self.wish(backend, switches).is_shared() {
            return None;
        }
        cx.worker.pool.take(&backend.transport, now)
    }

    fn wish<'a>(&self, backend: &'a Backend, switches: bool) -> Wish<'a> {
        Wish {
            transport: &backend.transport,
            switches,
            limit: self.cluster.rules.connect,
        }
    }

    /// A connection that no request has broken yet: a new one, or one that is shared.
    async fn connect(
        &self,
        cx: &Context,
        backend: &Backend,
        switches: bool,
        tries: &mut Tries,
    ) -> Result<Link, Error> {
        let (worker, wish) = (&cx.worker, self.wish(backend, switches));
        let connector = &worker.engine.connector;
        let opened = if wish.is_shared() {
            // Boxed, lest its state take room in the future of every request to HTTP/1 origins.
            let overdue = Overdue::connecting(self, cx, backend, tries);
            let found = Box::pin(wish.share(&worker.sessions, &worker.pool, connector)).await;
            Overdue::over(overdue);
            match found {
                Found::Pooled(link) => {
                    worker.cells.pool_hits.add(1);
                    return Ok(link);
                }
                Found::Failed(error) => return Err(unreachable(error)),
                Found::Opened(opened) => opened,
            }
        } else {
            let slot = match self.enter(cx, backend).await? {
                Some(Entry::Pooled(wire)) => {
                    worker.cells.pool_hits.add(1);
                    return Ok(Link::Http1(wire));
                }
                Some(Entry::Room(slot)) => Some(slot),
                None => None,
            };
            let overdue = Overdue::connecting(self, cx, backend, tries);
            // Boxed for the same reason: mostly there is an idle connection.
            let dialled = Box::pin(self.dial(cx, wish, slot)).await;
            Overdue::over(overdue);
            dialled
        };
        worker.cells.connects.add(1);
        opened.map_err(|error| self.failed(cx, backend, error))
    }

    async fn dial(&self, cx: &Context, wish: Wish<'_>, slot: Option<Slot>) -> io::Result<Link> {
        let transport = wish.transport.for_client(&cx.connection);
        let wire = wish.dial(&transport, &cx.worker.engine.connector).await?;
        Ok(Link::Http1(wire.within(slot)))
    }

    /// An endpoint could not be reached.
    pub(super) fn failed(&self, cx: &Context, backend: &Backend, error: io::Error) -> Error {
        self.cluster.unreached(backend, &error, &cx.worker);
        unreachable(error)
    }

    /// Where the endpoint's connections are limited: room for one more, or one that has become idle.
    async fn enter(&self, cx: &Context, backend: &Backend) -> Result<Option<Entry>, Error> {
        let Some(crowd) = &self.cluster.rules.crowd else {
            return Ok(None);
        };
        let worker = &cx.worker;
        let entry = backend
            .slots
            .enter(crowd, &worker.pool, &backend.transport, &worker.cells);
        entry.await.map(Some)
    }

    fn nobody(&self) -> Error {
        let wait = self.cluster.next_return().unwrap_or(NOBODY_WAIT);
        Error::because(Kind::NoEndpoint, format!("cluster `{}`", self.cluster.name))
            .retry_after(wait)
    }

    async fn exchange(
        &self,
        cx: &Context,
        backend: &Backend,
        link: Link,
        head: Head<'_>,
        body: Body,
    ) -> Result<Answer, Failed> {
        let rules = &self.cluster.rules;
        match link {
            Link::Http1(wire) => {
                let home = cx.worker.pool.home(&backend.transport, rules.keep);
                Talk::exchange(wire, head, body, rules.times, home).await
            }
            Link::Http2(lease) => {
                let cells = &cx.worker.cells;
                cells.upstream_streams.add(1);
                // Boxed for the same reason as in `connect`.
                let answered = Box::pin(h2::exchange(lease, head, body, rules.times)).await;
                if let Err(failed) = &answered
                    && matches!(failed.why, Why::Untaken | Why::Reset(_))
                {
                    cells.upstream_resets.add(1);
                }
                answered.map(|response| Answer::Response(response, Instant::now()))
            }
        }
    }

    async fn ask(
        &self,
        cx: &Context,
        mut request: Box<Request>,
        tries: &mut Tries,
    ) -> Result<(Arc<Backend>, Response, Instant), Error> {
        // Behind hygiene the field is there only if it is to be passed on.
        let switches = request.headers().contains_key(UPGRADE);
        let upgrade = switches.then(|| Upgrade::of(&mut request));
        let bridged = request.extensions_mut().remove::<Bridged>();
        if let Some(fields) = one_hop(switches, request.headers()) {
            request.headers_mut().insert(CONNECTION, fields);
        }
        // The rest stays where it is: moving it costs more than reaching it.
        let mut body = std::mem::take(request.body_mut());
        let claims = cx.claims.clone();
        let target = request
            .uri()
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let head = Head {
            method: request.method(),
            target,
            headers: request.headers(),
            claims: claims.as_deref(),
            form: self.form(cx, request.method()),
            switches,
        };
        let (mut backend, mut link) = self.reach(cx, tries, switches).await?;
        let mut sent = 0;
        loop {
            let reused = link.is_reused();
            let begun = self.cluster.is_watched().then(Instant::now);
            let held = self.cluster.held(&backend);
            if switches && matches!(link, Link::Http2(_)) {
                return Err(Error::because(Kind::Exchange, NO_SWITCH));
            }
            sent += 1;
            let overdue = Overdue::exchanging(self, cx, &backend, tries);
            let answered = self.exchange(cx, &backend, link, head, body).await;
            Overdue::over(overdue);
            let mut failed = match answered {
                Ok(Answer::Response(mut response, at)) => {
                    hygiene::strip(response.headers_mut());
                    return Ok((backend, response, at));
                }
                Ok(Answer::Switched(response, wire)) => {
                    let headers = response.headers();
                    if bridged.is_some_and(|bridged| !bridged.is_accepted(headers)) {
                        return Err(Error::because(Kind::Exchange, "no answer to our key"));
                    }
                    let response = tunnel::begin(cx, upgrade, response, wire)?;
                    return Ok((backend, response, Instant::now()));
                }
                Err(failed) => failed,
            };
            let stale = reused && failed.is_stale() && is_repeatable(head.method);
            match failed.body.take() {
                Some(again) if stale || (failed.is_untaken() && sent < MAX_TRIES) => body = *again,
                _ => {
                    let (error, checks) = (failed.into(), &cx.worker.engine.checks);
                    if let Some(begun) = begun {
                        self.cluster
                            .broke(&backend, &error, begun.elapsed(), checks);
                    }
                    return Err(error);
                }
            }
            drop(held);
            // The origin closed the idle connection under us; a fresh one tells whether it is well.
            cx.worker.cells.stale_retries.add(1);
            match self.connect(cx, &backend, switches, tries).await {
                Ok(fresh) => link = fresh,
                Err(error) => {
                    tries.failed(backend, error);
                    (backend, link) = self.reach(cx, tries, switches).await?;
                }
            }
        }
    }
}

impl Handler for Forward {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let begun = Instant::now();
        let passage = self.cluster.admit(&cx.worker.engine.checks)?;
        let wanted = self.cluster.wanted(cx, &request);
        let mut tries = Tries::new(begun, wanted, cx.tried.as_deref(), passage);
        let asked = self.ask(cx, request, &mut tries).await;
        let ended = asked
            .as_ref()
            .map_or_else(|_| Instant::now(), |asked| asked.2);
        let took = ended.saturating_duration_since(begun);
        if let Some(busy) = &tries.busy {
            match &asked {
                Ok(_) => busy.load().answered(took),
                Err(_) => busy.load().failed(took),
            }
        }
        let (backend, mut response, _) = match asked {
            Ok(answered) => answered,
            Err(error) => {
                tries.passage.failed(&error);
                return Err(error);
            }
        };
        add_via(&mut response);
        let checks = &cx.worker.engine.checks;
        let response = self
            .cluster
            .answered(tries.passage, &backend, response, took, checks);
        cx.asked = Some(Asked {
            _busy: tries.busy.take().map(Arc::new),
            tell: self.cluster.tell(&backend, tries.wanted),
            backend,
            took,
        });
        Ok(response)
    }
}

/// The value of `Connection` for what is passed on from hop to hop.
fn one_hop(switches: bool, headers: &HeaderMap) -> Option<HeaderValue> {
    match (switches, headers.contains_key(TE)) {
        (true, true) => Some(HeaderValue::from_static("upgrade, te")),
        (true, false) => Some(HeaderValue::from_static("upgrade")),
        (false, true) => Some(HeaderValue::from_static("te")),
        (false, false) => None,
    }
}

/// Safe to send twice: nothing is done twice by it (RFC 9110 §9.2.2).
fn is_repeatable(method: &Method) -> bool {
    method.is_idempotent()
}

/// RFC 9110 §7.6.3. From here on nobody cares which version the origin spoke.
fn add_via(response: &mut Response) {
    let via = match std::mem::take(response.version_mut()) {
        Version::HTTP_2 => "2.0 cirrus",
        _ => "1.1 cirrus",
    };
    let via = HeaderValue::from_static(via);
    match response.body_mut().relayed_mut() {
        Some(lines) => lines.add(&VIA, &via),
        None => drop(response.headers_mut().append(VIA, via)),
    }
}

/// No connection, and why.
fn unreachable(error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::TimedOut {
        Kind::ConnectTimeout
    } else {
        Kind::Connect
    };
    let word = word(&error);
    Error::because(kind, error).with_word(word)
}

// === impl Failed ===

impl Failed {
    /// A reused connection broke before the origin said anything.
    fn is_stale(&self) -> bool {
        self.silent && matches!(self.why, Why::Io(_) | Why::Closed)
    }

    /// Nothing was done about the request.
    fn is_untaken(&self) -> bool {
        matches!(self.why, Why::Untaken)
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        let kind = match &failed.why {
            Why::Late => Kind::Deadline,
            Why::Upload(error) if is_too_large(&**error) => Kind::TooLarge,
            Why::Upload(error) if is_malformed(&**error) => Kind::BadRequest,
            Why::Upload(error) if is_late(&**error) => Kind::Stalled,
            Why::Upload(_) => Kind::Client,
            Why::Stalled => Kind::Stalled,
            Why::Io(_) | Why::Closed | Why::Malformed(_) | Why::Untaken | Why::Reset(_) => {
                Kind::Exchange
            }
        };
        let word = match &failed.why {
            Why::Io(error) => Some(word_of_broken(error)),
            Why::Closed => Some("connection_terminated"),
            _ => None,
        };
        let error = Self::because(kind, failed.why);
        match word {
            Some(word) => error.with_word(word),
            None => error,
        }
    }
}

/// Whether the client's own framing broke its body, and not the connection.
fn is_malformed(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{InvalidData, InvalidInput};
    io_kinds(error).any(|kind| matches!(kind, InvalidInput | InvalidData))
}

/// Whether the client sent its body too slowly.
fn is_late(error: &(dyn std::error::Error + 'static)) -> bool {
    io_kinds(error).any(|kind| kind == std::io::ErrorKind::TimedOut)
}

/// The kinds of I/O error among an error and its causes.
fn io_kinds<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = std::io::ErrorKind> + 'a {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.filter_map(|error| Some(error.downcast_ref::<std::io::Error>()?.kind()))
}
