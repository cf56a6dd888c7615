//! Connections that are handed to a cluster as they are: TLS ends at the origin.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::balance::Wanted;
use super::cluster::{Backend, Cluster};
use super::pool::Io;
use super::tunnel::Moved;
use crate::downstream::Connection;
use crate::server::Worker;

/// How many endpoints are tried. Nothing was sent to those that could not be reached.
const MAX_TRIES: usize = 3;

/// Carries bytes both ways until both sides have ended, or nothing was said for too long. `said` is what the client has
/// said already. The time for draining ends it.
pub(crate) async fn pass<C>(
    client: C,
    said: Vec<u8>,
    cluster: Arc<Cluster>,
    connection: &Connection,
    worker: &Worker,
) where
    C: AsyncRead + AsyncWrite + Unpin + Send,
{
    let origin = match reach(&cluster, connection, worker).await {
        Ok(origin) => origin,
        Err(error) => {
            let (name, peer) = (&cluster.name, connection.peer);
            return tracing::warn!(cluster = %name, %peer, %error, "a connection cannot be passed on");
        }
    };
    worker.cells.tunnels.add(1);
    tokio::select! {
        carried = carry(client, said, origin) => match carried {
            Ok((up, down)) => tracing::debug!(up, down, "a connection that was passed on ended"),
            Err(error) => tracing::debug!(%error, "a connection that was passed on broke"),
        },
        () = worker.drain.over() => {}
    }
}

async fn reach(cluster: &Cluster, connection: &Connection, worker: &Worker) -> io::Result<Io> {
    let mut tried: Vec<Arc<Backend>> = Vec::new();
    let mut last = io::Error::other("no endpoint may be asked");
    while tried.len() < MAX_TRIES {
        let Some(backend) = cluster.pick_for(&tried, Wanted::default(), None) else {
            break;
        };
        let transport = backend.transport.for_client(connection);
        let connector = &worker.engine.connector;
        worker.cells.connects.add(1);
        match connector
            .connect_plain(&transport, cluster.rules.connect)
            .await
        {
            Ok(io) => {
                // Nothing else of it is seen: whoever can be reached is back.
                backend.health.succeeded();
                return Ok(io);
            }
            Err(error) => {
                cluster.unreached(&backend, &error, worker);
                last = error;
                tried.push(backend);
            }
        }
    }
    Err(last)
}

async fn carry<C>(client: C, said: Vec<u8>, mut origin: Io) -> io::Result<(u64, u64)>
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    origin.write_all(&said).await?;
    let moved = Moved::now();
    let (mut client, mut origin) = (moved.watch(client), moved.watch(origin));
    tokio::select! {
        carried = copy_bidirectional(&mut client, &mut origin) => {
            carried.map(|(up, down)| (up + said.len() as u64, down))
        }
        () = moved.rest() => Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said for too long")),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Duration;

    use super::super::cluster::tests::RULES;
    use super::*;
    use crate::clock::SystemClock;
    use crate::discovery::Endpoint;
    use crate::middleware::Context;

    #[tokio::test(start_paused = true)]
    async fn endpoints_that_can_be_reached_again_are_back() {
        let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let endpoints = listeners.iter().map(|listener| {
            let url = format!("http://{}", listener.local_addr().unwrap());
            Endpoint::new(url.parse().unwrap())
        });
        let cluster = Cluster::new("db".into(), RULES, None, &endpoints.collect(), None);
        let cx = Context::testing(Arc::new(SystemClock), None);
        for backend in cluster.backends() {
            backend.health.failed(RULES.ejection);
        }
        let error = reach(&cluster, &cx.connection, &cx.worker).await.err();
        assert_eq!(error.unwrap().to_string(), "no endpoint may be asked");
        tokio::time::advance(RULES.ejection.time + Duration::from_millis(1)).await;
        for connection in 0..5 {
            let reached = reach(&cluster, &cx.connection, &cx.worker).await;
            assert!(reached.is_ok(), "connection {connection}");
        }
    }
}
