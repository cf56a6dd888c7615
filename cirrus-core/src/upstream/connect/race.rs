//! Connecting to all addresses of a name, the next without waiting for the last to fail (RFC 8305).

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How long one attempt has the field to itself (RFC 8305 §5).
const HEAD_START: Duration = Duration::from_millis(250);

/// The first connection that is made; the others are given up. The next address is tried when the one before has
/// failed, or has had its head start.
///
/// # Errors
///
/// That of the last address, if all fail.
///
/// # Cancel safety
///
/// A dropped future gives up all attempts.
pub(super) async fn race<A, T, F>(
    addresses: impl ExactSizeIterator<Item = A>,
    connect: impl Fn(A) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut waiting = addresses;
    let mut running = FuturesUnordered::new();
    let mut last = None;
    loop {
        running.extend(waiting.next().map(&connect));
        tokio::select! {
            biased;
            ended = running.next() => match ended {
                Some(Ok(winner)) => return Ok(winner),
                Some(Err(error)) => last = Some(error),
                None => return Err(last.unwrap_or_else(no_address)),
            },
            () = tokio::time::sleep(HEAD_START), if waiting.len() > 0 => {}
        }
    }
}

fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "the name has no address")
}

/// The families by turns, beginning with IPv6 or not; within a family the order stays.
pub(super) fn interleave(addresses: &[IpAddr], six_first: bool) -> Vec<IpAddr> {
    let (mut first, mut second): (Vec<IpAddr>, Vec<IpAddr>) = addresses
        .iter()
        .partition(|address| address.is_ipv6() == six_first);
    let mut all = Vec::with_capacity(addresses.len());
    let (mut first, mut second) = (first.drain(..), second.drain(..));
    while all.len() < addresses.len() {
        all.extend(first.next());
        all.extend(second.next());
    }
    all
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// What becomes of an attempt, and after how long.
    type Fate = (u64, Result<&'static str, io::ErrorKind>);

    async fn run(fates: &[Fate]) -> (Result<&'static str, io::ErrorKind>, u128) {
        let began = Instant::now();
        let attempt = |&(millis, outcome): &Fate| async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            outcome.map_err(io::Error::from)
        };
        let outcome = race(fates.iter(), attempt).await;
        (
            outcome.map_err(|error| error.kind()),
            began.elapsed().as_millis(),
        )
    }

    #[test]
    fn families_take_turns() {
        let all = ["::1", "::2", "::3", "10.0.0.1"].map(ip);
        let six = interleave(&all, true);
        assert_eq!(six, ["::1", "10.0.0.1", "::2", "::3"].map(ip));
        let four = interleave(&all, false);
        assert_eq!(four, ["10.0.0.1", "::1", "::2", "::3"].map(ip));
        assert!(interleave(&[], true).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_address_costs_its_head_start_and_no_more() {
        let never = 1_000_000;
        assert_eq!(
            run(&[(never, Ok("dead")), (10, Ok("b"))]).await,
            (Ok("b"), 260)
        );
        let two = [(never, Ok("dead")), (never, Ok("dead")), (10, Ok("c"))];
        assert_eq!(run(&two).await, (Ok("c"), 510));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_starts_the_next_at_once() {
        let refused = Err(io::ErrorKind::ConnectionRefused);
        assert_eq!(run(&[(0, refused), (10, Ok("b"))]).await, (Ok("b"), 10));
        let reset = Err(io::ErrorKind::ConnectionReset);
        assert_eq!(run(&[(5, refused), (5, reset)]).await, (reset, 10));
        assert_eq!(run(&[]).await, (Err(io::ErrorKind::NotFound), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_may_still_win() {
        assert_eq!(run(&[(300, Ok("a")), (100, Ok("b"))]).await, (Ok("a"), 300));
    }
}
