//! Every stack, outermost layer first, each with its why.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use tower::ServiceBuilder;

use super::dispatch::{Admit, Dispatch};
use super::forwarded::ForwardedLayer;
use super::rescue::RescueLayer;
use super::{Handler, Stack};
use crate::cache::{CacheLayer, Rules};
use crate::server::{Outer, Plug};
use crate::upstream::{Cluster, Forward};

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

/// The stack of a route to an origin.
pub(crate) fn upstream(
    cache: Rules,
    fields: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    cluster: Arc<Cluster>,
) -> Stack {
    let forward = ServiceBuilder::new()
        // Under the cache: what a client's address makes of the request must not decide what is stored.
        .layer(ForwardedLayer::new(fields))
        .service(Forward::new(cluster));
    if cache.enable || cache.invalidate {
        Stack::new(
            ServiceBuilder::new()
                .layer(CacheLayer::new(cache))
                .service(forward),
        )
    } else {
        Stack::new(forward)
    }
}

/// The stack of a route that needs no origin.
pub(crate) fn answer(handler: impl Handler) -> Stack {
    Stack::new(handler)
}
