//! Several clusters share the requests of a route.

use super::balance::{self, chance};
use crate::body::{Request, Response};
use crate::config::SplitKey;
use crate::error::{Error, Kind};
use crate::middleware::{Context, Handler, Stack};

/// See the module.
#[derive(Debug)]
pub(crate) struct Split {
    /// Each with the sum of the weights up to and with its own.
    parts: Box<[(u64, Stack)]>,
    total: u64,
    by: SplitKey,
}

// === impl Split ===

impl Split {
    pub(crate) fn new(by: SplitKey, parts: impl Iterator<Item = (u16, Stack)>) -> Self {
        let mut total = 0;
        let parts = parts.map(|(weight, stack)| {
            total += u64::from(weight);
            (total, stack)
        });
        Self {
            parts: parts.collect(),
            total,
            by,
        }
    }

    /// A part of the way through the clusters: a weight that changes moves what is between them, and nothing else.
    fn point(&self, cx: &Context, request: &Request) -> u64 {
        let key = match &self.by {
            SplitKey::Random => None,
            SplitKey::By(key) => balance::key(key, cx, request),
        };
        let key = key.unwrap_or_else(chance::bits);
        ((u128::from(key) * u128::from(self.total)) >> 64) as u64
    }
}

impl Handler for Split {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        let point = self.point(cx, &request);
        let place = self.parts.partition_point(|(end, _)| *end <= point);
        match self.parts.get(place) {
            Some((_, stack)) => stack.handle(cx, request).await,
            None => Err(Error::because(Kind::NoEndpoint, "nobody has a share")),
        }
    }
}
