//! Where memory comes from, and that it goes back when nobody is served any more.

mod allocator;

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

/// mimalloc keeps what was freed for a second, in case that it is wanted again.
const EVERY: Duration = Duration::from_secs(1);

/// A block of this size has pages of its own. None of them is touched.
const BLOCK: usize = 4 * 1024 * 1024;

/// Gives freed memory back to the system, for as long as it is polled.
///
/// mimalloc does so only when pages are taken or freed: after a wave of connections a server without requests would keep
/// what they needed.
pub(crate) async fn give_back() -> Infallible {
    loop {
        tokio::time::sleep(EVERY).await;
        drop(black_box(Vec::<u8>::with_capacity(BLOCK)));
    }
}
