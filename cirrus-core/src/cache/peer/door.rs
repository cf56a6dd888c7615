//! Where peers come in.

use super::CIRRUS_PEER;
use super::told::Told;
use crate::body::{Request, Response};
use crate::error::Error;
use crate::middleware::{Context, Handler, Stack};

/// Leads peers past what is only for clients: the edge that asks has done all of that already, for its own client.
#[derive(Debug)]
pub(crate) struct Door {
    /// The route with everything around it.
    clients: Stack,
    /// What there is within.
    peers: Stack,
}

// === impl Door ===

impl Door {
    pub(crate) fn new(clients: Stack, peers: Stack) -> Self {
        Self { clients, peers }
    }
}

impl Handler for Door {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        request: Box<Request>,
    ) -> Result<Response, Error> {
        if !cx.peering.is_asked {
            return self.clients.handle(cx, request).await;
        }
        cx.worker.cells.peer_requests.add(1);
        // Before the store is asked: what it has heeds at least these purges.
        let log = cx
            .worker
            .engine
            .purger
            .as_ref()
            .and_then(|purger| purger.log());
        let position = log
            .filter(|log| !log.is_fenced())
            .and_then(|log| log.position());
        match self.peers.handle(cx, request).await {
            Ok(mut response) => {
                let told = Told::of(&cx.cache, position);
                response.headers_mut().insert(&CIRRUS_PEER, told.to_value());
                Ok(response)
            }
            Err(error) => Err(error.with_field(CIRRUS_PEER.clone(), Told::Failed.to_value())),
        }
    }
}
