//! A response's body, relayed in the task of whoever reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use super::framing::Framing;
use super::talk::Talk;
use crate::codec::Malformed;
use crate::codec::chunked::{Chunked, Found};
use crate::error::BoxError;
use crate::upstream::pool::Home;

/// A response's body. At its end the connection goes home; dropped before, it is closed.
pub(super) struct ResponseBody {
    talk: Option<Talk>,
    state: State,
    reusable: bool,
    home: Option<Home>,
    idle: Duration,
    /// Made when the origin keeps us waiting for the first time.
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Length(u64),
    Chunked(Chunked),
    Close,
}

// === impl ResponseBody ===

impl ResponseBody {
    pub(super) fn new(
        talk: Talk,
        framing: Framing,
        reusable: bool,
        idle: Duration,
        home: Home,
    ) -> Self {
        let state = match framing {
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::Size),
            Framing::Close => State::Close,
        };
        Self {
            talk: Some(talk),
            state,
            reusable,
            home: Some(home),
            idle,
            timer: None,
        }
    }

    /// What the buffer holds of the body: content, trailers, its end, or nothing yet.
    fn decode(&mut self) -> Result<Step, Malformed> {
        let Some(talk) = &mut self.talk else {
            return Ok(Step::End);
        };
        let buffer = &mut talk.wire.read;
        Ok(match &mut self.state {
            State::Length(0) | State::Chunked(Chunked::Done) => Step::End,
            _ if buffer.is_empty() => Step::More,
            State::Length(left) => {
                let now = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(buffer.len());
                *left -= now as u64;
                Step::Frame(Frame::data(buffer.split_to(now).freeze()))
            }
            State::Close => Step::Frame(Frame::data(buffer.split().freeze())),
            State::Chunked(chunked) => match chunked.decode(buffer)? {
                Found::Data(data) => Step::Frame(Frame::data(data)),
                Found::End(trailers) if trailers.is_empty() => Step::End,
                Found::End(trailers) => Step::Frame(Frame::trailers(trailers)),
                Found::More => Step::More,
            },
        })
    }

    /// The body is complete.
    fn go_home(&mut self) {
        if let (Some(talk), Some(home)) = (self.talk.take(), self.home.take())
            && self.reusable
            && talk.is_clean()
        {
            home.put(talk.wire, Instant::now());
        }
    }

    fn is_whole(&self) -> bool {
        matches!(self.state, State::Length(0) | State::Chunked(Chunked::Done))
    }

    fn left(&self) -> Option<u64> {
        match self.state {
            State::Length(left) => Some(left),
            State::Chunked(_) | State::Close => None,
        }
    }

    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let idle = self.idle;
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)))
            .as_mut()
            .poll(cx)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            match self.decode()? {
                Step::Frame(frame) => return Poll::Ready(Some(Ok(frame))),
                Step::End => {
                    self.go_home();
                    return Poll::Ready(None);
                }
                Step::More => {}
            }
            let size = Talk::read_size(self.left());
            let Some(talk) = &mut self.talk else {
                return Poll::Ready(None);
            };
            let read = talk.poll_fill(cx, size)?;
            let Poll::Ready(read) = read else {
                ready!(self.poll_late(cx));
                return Poll::Ready(Some(Err("the origin stopped sending".into())));
            };
            if let Some(timer) = &mut self.timer {
                timer.as_mut().reset(Instant::now() + self.idle);
            }
            if read == 0 {
                return Poll::Ready(self.at_eof());
            }
        }
    }

    /// The end of the connection ends a body only if nothing else does.
    fn at_eof(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        self.talk = None;
        match self.state {
            State::Close => None,
            _ => Some(Err(
                "the origin closed the connection in the middle of the body".into(),
            )),
        }
    }
}

enum Step {
    Frame(Frame<Bytes>),
    End,
    More,
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(talk) = &mut self.talk {
            // The request may still be going up while the response comes down.
            if let Poll::Ready(Err(why)) = talk.poll_send(cx) {
                self.talk = None;
                return Poll::Ready(Some(Err(why.into())));
            }
        }
        let frame = self.poll(cx);
        if let Poll::Ready(Some(Err(_))) = frame {
            self.talk = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.talk.is_none() || self.is_whole()
    }

    fn size_hint(&self) -> SizeHint {
        self.left()
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for ResponseBody {
    /// Readers that know the length stop at the last byte without asking for the end behind it.
    fn drop(&mut self) {
        if self.is_whole() {
            self.go_home();
        }
    }
}
