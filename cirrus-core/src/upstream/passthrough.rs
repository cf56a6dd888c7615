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
            Ok(io) => return Ok(io),
            Err(error) => {
                worker.cells.connect_failures.add(1);
                if backend.health.failed(cluster.rules.ejection) {
                    worker.cells.ejections.add(1);
                }
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
