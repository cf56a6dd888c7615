//! The model: what the origin has said, what was purged since, and so what a client may be given.
//!
//! All that happens gets a number, in one order. The model does not know what the cache has stored: it knows for each
//! content when the origin was asked for it, when it was given or confirmed, and under which rule. Where two things
//! happen at once, either order is allowed.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use cirrus_core::testing::Reply;
use cirrus_core::{Clock, ManualClock, Timestamp};
use parking_lot::Mutex;

use crate::ask::Ask;

/// A URL, as far as it names what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) host: &'static str,
    pub(crate) path: &'static str,
}

/// What an answer says about its use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) text: &'static str,
    lifetime: u64,
    while_revalidate: u64,
    if_error: u64,
    /// Not even `max-stale` has it served stale.
    is_strict: bool,
    /// It may be shared although it answered a request with `Authorization`.
    pub(crate) is_for_all: bool,
}

/// What was said about a content once.
#[derive(Clone, Debug)]
struct Event {
    /// Whose request the origin got.
    request: u64,
    asked: u64,
    answered: u64,
    at: Timestamp,
    rule: Rule,
    /// The content itself, not only that it is still so.
    is_content: bool,
}

/// One state of a place, for one language if it depends on that.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) id: u64,
    pub(crate) place: Place,
    pub(crate) language: Option<String>,
    pub(crate) status: u16,
    pub(crate) length: usize,
    /// For nobody but who asked.
    pub(crate) is_personal: bool,
    events: Vec<Event>,
}

struct Purged {
    what: Box<dyn Fn(Place) -> bool + Send>,
    called: u64,
    /// `None` until it is known to hold.
    resolved: Option<u64>,
    is_soft: bool,
}

#[derive(Default)]
struct State {
    number: u64,
    contents: HashMap<u64, Content>,
    current: HashMap<(Place, Option<String>), u64>,
    purges: Vec<Purged>,
    failures: HashMap<Place, u64>,
    cuts: HashSet<Place>,
}

pub(crate) struct Truth {
    pub(crate) clock: ManualClock,
    state: Mutex<State>,
}

/// What there is at this moment.
pub(crate) struct Asked {
    pub(crate) number: u64,
    pub(crate) content: Content,
}

const fn rule(text: &'static str, lifetime: u64) -> Rule {
    Rule {
        text,
        lifetime,
        while_revalidate: 0,
        if_error: 0,
        is_strict: false,
        is_for_all: false,
    }
}

const fn strict(rule: Rule) -> Rule {
    Rule {
        is_strict: true,
        ..rule
    }
}

const fn for_all(rule: Rule) -> Rule {
    Rule {
        is_for_all: true,
        ..rule
    }
}

/// What answers for everybody say.
pub(crate) const COMMON: [Rule; 12] = [
    rule("max-age=10", 10),
    rule("max-age=40", 40),
    rule("max-age=40", 40),
    for_all(rule("public, max-age=30", 30)),
    for_all(strict(rule("s-maxage=6, max-age=1", 6))),
    for_all(strict(rule("max-age=5, must-revalidate", 5))),
    Rule {
        while_revalidate: 10,
        ..rule("max-age=3, stale-while-revalidate=10", 3)
    },
    Rule {
        if_error: 20,
        ..rule("max-age=3, stale-if-error=20", 3)
    },
    strict(rule("no-cache", 0)),
    for_all(strict(rule("max-age=0, must-revalidate", 0))),
    for_all(strict(rule("max-age=8, proxy-revalidate, public", 8))),
    rule("max-age=2, private=\"x-nothing\"", 2),
];

/// What answers for one client say.
pub(crate) const PERSONAL: [Rule; 3] = [
    rule("private, max-age=60", 0),
    rule("no-store", 0),
    rule("max-age=60, private", 0),
];

// === impl Truth ===

impl Truth {
    pub(crate) fn new(clock: ManualClock) -> Self {
        Self {
            clock,
            state: Mutex::default(),
        }
    }

    pub(crate) fn number(&self) -> u64 {
        self.state.lock().next()
    }

    /// What the origin has for this, which may be something new.
    pub(crate) fn ask(
        &self,
        place: Place,
        language: Option<String>,
        is_personal: bool,
        is_new: bool,
    ) -> Asked {
        let state = &mut *self.state.lock();
        let number = state.next();
        let current = (place, language.clone());
        let known = state.current.get(&current).copied();
        let known = known.filter(|_| !is_new && !is_personal);
        let id = known.unwrap_or_else(|| {
            state.add(place, language, is_personal);
            state.number
        });
        if !is_personal {
            state.current.insert(current, id);
        }
        let content = state.contents[&id].clone();
        Asked { number, content }
    }

    /// The origin answers.
    pub(crate) fn answered(&self, request: u64, asked: &Asked, rule: Rule, is_content: bool) {
        let state = &mut *self.state.lock();
        let event = Event {
            request,
            asked: asked.number,
            answered: state.next(),
            at: self.clock.now(),
            rule,
            is_content,
        };
        let content = state.contents.get_mut(&asked.content.id);
        content.expect("a content that was made").events.push(event);
    }

    /// The origin answers with an error.
    pub(crate) fn failed(&self, place: Place) {
        let state = &mut *self.state.lock();
        let number = state.next();
        state.failures.insert(place, number);
    }

    /// The origin breaks off in the middle.
    pub(crate) fn cut(&self, place: Place) {
        self.state.lock().cuts.insert(place);
    }

    /// Whether an answer may end early, and be seen to. What is sliced may also change or fail between two slices.
    pub(crate) fn may_break(&self, place: Place) -> bool {
        place.path.starts_with("/sliced") || self.state.lock().cuts.contains(&place)
    }

    /// What was there is no more.
    pub(crate) fn renew(&self, what: impl Fn(Place) -> bool) {
        self.state
            .lock()
            .current
            .retain(|(place, _), _| !what(*place));
    }

    /// A purge begins; it holds once it is [`resolved`](Self::resolved).
    pub(crate) fn purge(
        &self,
        is_soft: bool,
        what: impl Fn(Place) -> bool + Send + 'static,
    ) -> usize {
        let state = &mut *self.state.lock();
        let called = state.next();
        state.purges.push(Purged {
            what: Box::new(what),
            called,
            resolved: None,
            is_soft,
        });
        state.purges.len() - 1
    }

    pub(crate) fn resolved(&self, purge: usize) {
        let state = &mut *self.state.lock();
        let number = state.next();
        state.purges[purge].resolved = Some(number);
    }

    /// Some entity tag of this place that a client may remember.
    pub(crate) fn some_tag(&self, place: Place, nth: usize) -> Option<String> {
        let state = self.state.lock();
        let mut ids: Vec<_> = state
            .contents
            .values()
            .filter(|content| content.place == place)
            .map(|content| content.id)
            .collect();
        ids.sort_unstable_by(|one, two| two.cmp(one));
        let id = ids.get(nth % ids.len().clamp(1, 4))?;
        Some(format!("\"{id}\""))
    }

    /// Whether this client may have this reply, having begun to ask at `begun`, which was `now`.
    pub(crate) fn judge(
        &self,
        ask: &Ask,
        begun: u64,
        now: Timestamp,
        reply: &Reply,
    ) -> Result<(), String> {
        let state = self.state.lock();
        let tag = reply.header("etag");
        let id = tag.trim_matches('"').parse::<u64>();
        let content = id.ok().and_then(|id| state.contents.get(&id));
        let content = content.ok_or_else(|| format!("no content has the tag {tag:?}"))?;
        content.is_told_right(ask, reply)?;
        state.allows(content, ask, begun, now)
    }
}

// === impl State ===

impl State {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn add(&mut self, place: Place, language: Option<String>, is_personal: bool) {
        let id = self.number;
        let length = match place.path {
            "/sliced/film" => 200_000 + (id % 7) as usize * 1000,
            "/large" => 150_000 + (id % 5) as usize,
            "/empty" => 0,
            _ => 40 + (id % 50) as usize,
        };
        let content = Content {
            id,
            place,
            language,
            status: if place.path == "/gone" { 404 } else { 200 },
            length,
            is_personal,
            events: Vec::new(),
        };
        self.contents.insert(id, content);
    }

    /// When the last purge was called that held when the request began.
    fn purged(&self, place: Place, begun: u64, is_soft: bool) -> u64 {
        let held = self.purges.iter().filter(|purge| {
            purge.is_soft == is_soft
                && purge.resolved.is_some_and(|at| at < begun)
                && (purge.what)(place)
        });
        held.map(|purge| purge.called).max().unwrap_or_default()
    }

    fn allows(
        &self,
        content: &Content,
        ask: &Ask,
        begun: u64,
        now: Timestamp,
    ) -> Result<(), String> {
        let told = |why: &str| Err(format!("{why}: {content:?}, asked at {begun}, now {now:?}"));
        if content.place != ask.place {
            return told("another URL's");
        }
        if content
            .language
            .as_ref()
            .is_some_and(|it| it != ask.language)
        {
            return told("another variant");
        }
        if content.events.iter().any(|event| event.request == ask.id) {
            return Ok(());
        }
        if content.is_personal {
            return told("another client's");
        }
        let purged = self.purged(content.place, begun, false);
        let mut given = content.events.iter().filter(|event| event.is_content);
        if !given.any(|event| event.asked > purged) {
            return told(&format!("purged at {purged}"));
        }
        let softly = self.purged(content.place, begun, true);
        let fails = self.failures.get(&content.place).copied();
        let fails = fails.is_some_and(|at| at > begun);
        let mut events = content.events.iter();
        if events.any(|event| event.answered > begun || event.lasts(ask, now, softly, fails)) {
            Ok(())
        } else {
            told(&format!("stale, or purged softly at {softly}"))
        }
    }
}

// === impl Event ===

impl Event {
    /// Whether what was said may still be used, without the origin being asked.
    fn lasts(&self, ask: &Ask, now: Timestamp, softly_purged: u64, origin_fails: bool) -> bool {
        let rule = self.rule;
        let max_stale = ask.max_stale.filter(|_| !rule.is_strict).unwrap_or(0);
        let in_error = if origin_fails { rule.if_error } else { 0 };
        if ask.insists {
            return self.age(now) <= secs(rule.lifetime + in_error) && in_error > 0;
        }
        let grace = max_stale.max(rule.while_revalidate).max(in_error);
        if grace > 0 {
            return self.age(now) <= secs(rule.lifetime + grace);
        }
        self.asked > softly_purged && self.age(now) < secs(rule.lifetime)
    }

    fn age(&self, now: Timestamp) -> Duration {
        let millis = now.as_millis().saturating_sub(self.at.as_millis());
        Duration::from_millis(millis)
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

// === impl Content ===

impl Content {
    /// Bytes that no other content has.
    pub(crate) fn bytes(&self) -> Bytes {
        let line = format!(
            "{}|{}|{}|{:?} ",
            self.id, self.place.host, self.place.path, self.language
        );
        line.bytes().cycle().take(self.length).collect()
    }

    /// Whether status and bytes are this content's.
    fn is_told_right(&self, ask: &Ask, reply: &Reply) -> Result<(), String> {
        let wrong = |why: &str| Err(format!("{why}: {self:?}"));
        let whole = self.bytes();
        match reply.status {
            304 if !reply.body.is_empty() => wrong("a 304 with content"),
            304 if !ask.is_conditional() => wrong("a 304 that nobody asked for"),
            304 => Ok(()),
            206 => match part(reply) {
                Some((start, end, size)) => {
                    let is_right = size == whole.len()
                        && whole.get(start..end).is_some_and(|it| it == reply.body)
                        || ask.method == "HEAD";
                    if is_right {
                        Ok(())
                    } else {
                        wrong("other bytes")
                    }
                }
                None => wrong("a part of nothing"),
            },
            status if status != self.status => wrong("another status"),
            _ if ask.method == "HEAD" => Ok(()),
            _ if whole != reply.body => wrong("other bytes"),
            _ => Ok(()),
        }
    }
}

/// The first byte of a part, the one behind its last, and how many there are in all.
fn part(reply: &Reply) -> Option<(usize, usize, usize)> {
    let told = reply.header("content-range");
    let (range, size) = told.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    Some((
        first.parse().ok()?,
        last.parse::<usize>().ok()? + 1,
        size.parse().ok()?,
    ))
}
