//! From the origin into the store, at the origin's pace: no client drives it, and none stops it by leaving.

use http::HeaderMap;
use http_body_util::BodyExt;

use super::store::{Fill, StoreError};
use crate::body::Body;
use crate::error::BoxError;

/// How a fill came to nothing. Its readers have heard of it already.
#[derive(Debug, thiserror::Error)]
pub(super) enum Spilt {
    /// The origin broke off.
    #[error("the origin's response broke off")]
    Origin(#[source] BoxError),
    /// The origin sent more or less than it had announced.
    #[error("the origin announced {announced} bytes and sent {sent}")]
    Length { announced: u64, sent: u64 },
    /// The store gave up, or nobody wanted the rest.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Moves the whole of `body` into `fill`. If that fails, the fill is dropped: the object was never there.
pub(super) async fn pump(
    mut fill: Box<dyn Fill>,
    mut body: Body,
    length: Option<u64>,
) -> Result<(), Spilt> {
    let mut sent = 0;
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame.map_err(Spilt::Origin)?.into_data() {
            Ok(chunk) => {
                sent += chunk.len() as u64;
                fill.write(chunk).await?;
            }
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    match length {
        // A response that is not what it said it was must not be kept.
        Some(announced) if announced != sent => Err(Spilt::Length { announced, sent }),
        _ => Ok(fill.finish(trailers).await?),
    }
}

/// [`pump`] as a task of its own, which has nobody to answer to.
pub(super) async fn pump_alone(fill: Box<dyn Fill>, body: Body, length: Option<u64>) {
    match pump(fill, body, length).await {
        Ok(()) => {}
        Err(Spilt::Store(StoreError::Full)) => {
            tracing::trace!("nobody wants the rest of a large response");
        }
        Err(error) => {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(error, "a response was not stored");
        }
    }
}
