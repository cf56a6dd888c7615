//! Who may come. One policy a file; whoever passes none of them learns from the response what is missing.

mod address;
mod api_key;
mod basic;
mod check_file;
mod entries;
mod forward_auth;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod gate;
mod identity;
mod jwks;
mod jwt;
mod parameter;
mod watched;

use std::future::Future;
use std::sync::Arc;

use tower_layer::Layer;

pub(crate) use address::Address;
pub(crate) use api_key::ApiKeys;
pub(crate) use basic::BasicAuth;
pub(crate) use check_file::{jwks_fault, keys_fault, users_fault};
pub(crate) use entries::name_fault;
pub(crate) use forward_auth::ForwardAuth;
pub(crate) use jwt::Jwt;
#[cfg(fuzzing)]
pub use jwt::fuzz::jwt;
pub(crate) use parameter::decoded;

use super::{Context, Handler};
use crate::body::{Request, Response};
use crate::error::Error;

/// Decides about a request before anything else is done with it.
pub(crate) trait Check: Send + Sync + 'static {
    /// What refusals are counted as.
    const REASON: Reason;

    /// Lets the request pass, without what it must not carry further and with what it is to tell.
    fn check<'a>(
        &'a self,
        cx: &'a mut Context,
        request: &'a mut Request,
    ) -> impl Future<Output = Result<(), Refused>> + Send + 'a;
}

/// Why requests are refused, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    Address,
    Basic,
    ApiKey,
    Jwt,
    ForwardAuth,
}

/// What the client gets instead.
#[derive(Debug)]
pub(crate) enum Refused {
    Error(Error),
    /// As another service says it.
    Response(Box<Response>),
}

/// Has a policy decide before what is inside.
#[derive(Debug)]
pub(crate) struct AccessLayer<C>(Arc<C>);

/// See [`AccessLayer`].
#[derive(Debug)]
pub(crate) struct Access<C, H> {
    policy: Arc<C>,
    inner: H,
}

// === impl Reason ===

impl Reason {
    pub(crate) const COUNT: usize = Self::ALL.len();

    pub(crate) const ALL: [Self; 5] = [
        Self::Address,
        Self::Basic,
        Self::ApiKey,
        Self::Jwt,
        Self::ForwardAuth,
    ];

    /// Its label in metrics.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Basic => "basic",
            Self::ApiKey => "api_key",
            Self::Jwt => "jwt",
            Self::ForwardAuth => "forward_auth",
        }
    }
}

// === impl Refused ===

impl<E: Into<Error>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}

// === impl AccessLayer ===

impl<C> AccessLayer<C> {
    pub(crate) fn new(policy: Arc<C>) -> Self {
        Self(policy)
    }
}

impl<C, H> Layer<H> for AccessLayer<C> {
    type Service = Access<C, H>;

    fn layer(&self, inner: H) -> Access<C, H> {
        Access {
            policy: Arc::clone(&self.0),
            inner,
        }
    }
}

// === impl Access ===

impl<C: Check, H: Handler> Handler for Access<C, H> {
    async fn handle<'a>(
        &'a self,
        cx: &'a mut Context,
        mut request: Box<Request>,
    ) -> Result<Response, Error> {
        match self.policy.check(cx, &mut request).await {
            Ok(()) => self.inner.handle(cx, request).await,
            Err(refused) => {
                cx.worker.cells.access_refused[C::REASON as usize].add(1);
                match refused {
                    Refused::Error(error) => Err(error),
                    Refused::Response(response) => Ok(*response),
                }
            }
        }
    }
}
