//! Every stack, outermost layer first, each with its why.

use std::sync::Arc;

use tower::ServiceBuilder;
use tower_layer::Layer;

use super::compression::{CompressLayer, NegotiateLayer};
use super::dispatch::{Admit, Dispatch};
use super::forwarded::ForwardedLayer;
use super::limit::BodySizeLayer;
use super::rescue::RescueLayer;
use super::rewrite::RewriteLayer;
use super::{Compression, Edits, Handler, Rewrite, Stack};
use crate::cache::{CacheLayer, PeerLayer, Rules};
use crate::server::{Outer, Plug};
use crate::upstream::gateway::{Gateway, Through};
use crate::upstream::{StickyLayer, Target};

/// Where every request begins. `Record` is around it, since it must outlive the response.
pub(crate) fn front(plugs: Vec<Plug>) -> Stack {
    // Errors of routing and of origins are responses before the user's layers see them.
    let rest = Stack::new(ServiceBuilder::new().layer(RescueLayer).service(Dispatch));
    if plugs.is_empty() {
        return Stack::new(
            ServiceBuilder::new()
                .layer(RescueLayer)
                .service(Admit(Dispatch)),
        );
    }
    // Once more outside, for what hygiene refuses and for errors of the user's layers.
    Stack::new(
        ServiceBuilder::new()
            .layer(RescueLayer)
            .service(Admit(Outer::new(rest, plugs))),
    )
}

/// What is changed between the client and the origin.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// What site and route want in every request to the origin.
    pub(crate) request_headers: Edits,
    /// The path that the origin is asked for.
    pub(crate) rewrite: Option<Rewrite>,
    pub(crate) compression: Option<Arc<Compression>>,
    /// The largest body of a request.
    pub(crate) max_body: Option<u64>,
    /// Nothing above looks at a response's header.
    pub(crate) is_bare: bool,
}

/// The stack of a route to an origin.
pub(crate) fn upstream(cache: Rules, changes: Changes, target: Target) -> Stack {
    let is_sticky = target.is_sticky();
    // A cache, a compressor and sessions look at what the origin says.
    let is_bare = changes.is_bare && !cache.enable && changes.compression.is_none() && !is_sticky;
    let stack = match target.plain(is_bare) {
        Some(forward) => to_origin(cache, changes, forward),
        None => to_origin(cache, changes, target.stack(is_bare)),
    };
    if is_sticky {
        // Above the cache: a session is one client's own.
        return Stack::new(StickyLayer.layer(stack));
    }
    stack
}

/// The stack of a route to the services that paths name.
pub(crate) fn gateway(cache: Rules, changes: Changes, gateway: Arc<Gateway>) -> Stack {
    let is_bare = changes.is_bare && !cache.enable && changes.compression.is_none();
    to_origin(cache, changes, Through::new(gateway, is_bare))
}

fn to_origin(cache: Rules, changes: Changes, forward: impl Handler) -> Stack {
    let Changes {
        request_headers,
        rewrite,
        compression,
        max_body,
        is_bare: _,
    } = changes;
    let forward = ServiceBuilder::new()
        // Under the cache: what a client's address makes of the request must not decide what is stored.
        .layer(ForwardedLayer::new(request_headers))
        .service(forward);
    let size = BodySizeLayer::new(max_body);
    let Some(rewrite) = rewrite else {
        return compressed(cache, compression, size, forward);
    };
    // Under the cache: what is stored is found, and purged, by its public address.
    let forward = Stack::new(RewriteLayer::new(rewrite).layer(forward));
    compressed(cache, compression, size, forward)
}

fn compressed(
    cache: Rules,
    rules: Option<Arc<Compression>>,
    size: BodySizeLayer,
    origin: impl Handler,
) -> Stack {
    let Some(rules) = rules else {
        return cached(cache, size, origin);
    };
    // Under the cache: what is stored is compressed once.
    let origin = CompressLayer(Arc::clone(&rules)).layer(origin);
    // Above it: clients that write the same wish in different words share what is stored.
    Stack::new(NegotiateLayer(rules).layer(cached(cache, size, origin)))
}

/// Every route has a limit on bodies, so this layer is the one that costs no box.
fn cached(cache: Rules, size: BodySizeLayer, origin: impl Handler) -> Stack {
    if cache.enable || cache.invalidate {
        // Before everything that is done for the origin: another edge does that itself.
        let origin = PeerLayer.layer(origin);
        Stack::new(size.layer(CacheLayer::new(cache).layer(origin)))
    } else {
        Stack::new(size.layer(origin))
    }
}

/// The stack of a route that needs no origin.
pub(crate) fn answer(handler: impl Handler, changes: Changes) -> Stack {
    let size = BodySizeLayer::new(changes.max_body);
    compressed(Rules::default(), changes.compression, size, handler)
}
