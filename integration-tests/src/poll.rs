//! Dropping a future at each of its awaits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// What became of a future that was polled only so often.
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "a test looks at both")]
pub enum Polled<T> {
    /// It was ready in time.
    Ready(T),
    /// It was dropped while it waited.
    Dropped,
}

/// Polls `future` up to `polls` times, whenever it is woken, then drops it.
///
/// A loop over growing numbers visits every await at which the future can be dropped.
pub async fn drop_after<T>(polls: u32, future: impl Future<Output = T>) -> Polled<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(Polled::Dropped);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Polled::Ready(output)),
            Poll::Pending if left == 0 => Poll::Ready(Polled::Dropped),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
