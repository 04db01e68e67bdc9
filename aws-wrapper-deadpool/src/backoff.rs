//! A pause before a host is connected to again after it could not be.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Full jitter: each pause is a random part of a ceiling that doubles with each failure, so that many who failed together
/// do not come back together.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    last: Option<Instant>,
}

const FIRST_CEILING: Duration = Duration::from_millis(50);
const LAST_CEILING: Duration = Duration::from_secs(2);

impl Backoff {
    /// How long to wait before the next attempt; nothing if the last one went well.
    pub(crate) fn pause(&self) -> Option<Duration> {
        let ceiling = ceiling(self.state.lock().failures)?;
        let micros = u64::try_from(ceiling.as_micros()).unwrap_or(u64::MAX);
        Some(Duration::from_micros(fastrand::u64(..=micros)))
    }

    /// An attempt that began at `begun` has failed. Attempts that ran at the same time count once.
    pub(crate) fn failed(&self, begun: Instant) {
        let mut state = self.state.lock();
        if state.last.is_none_or(|last| last <= begun) {
            state.failures = state.failures.saturating_add(1);
            state.last = Some(Instant::now());
        }
    }

    pub(crate) fn succeeded(&self) {
        self.state.lock().failures = 0;
    }

    #[cfg(test)]
    fn failures(&self) -> u32 {
        self.state.lock().failures
    }
}

fn ceiling(failures: u32) -> Option<Duration> {
    let doublings = failures.checked_sub(1)?.min(16);
    Some((FIRST_CEILING * (1 << doublings)).min(LAST_CEILING))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_two_seconds() {
        let ceilings: Vec<_> = (0..9).map(|n| ceiling(n).map_or(0, |ceiling| ceiling.as_millis())).collect();
        assert_eq!(ceilings, [0, 50, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(ceiling(u32::MAX), Some(LAST_CEILING));
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_that_fail_together_count_once() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(), None);
        let begun = Instant::now();
        tokio::time::sleep(Duration::from_millis(1)).await;
        for _ in 0..100 {
            backoff.failed(begun);
        }
        assert_eq!(backoff.failures(), 1);
        let all: Vec<_> = (0..100).filter_map(|_| backoff.pause()).collect();
        assert!(all.iter().all(|pause| *pause <= FIRST_CEILING), "{all:?}");
        assert!(all.iter().max() > all.iter().min(), "{all:?}");
        backoff.failed(Instant::now());
        assert_eq!(backoff.failures(), 2);
        backoff.succeeded();
        assert_eq!(backoff.pause(), None);
    }
}
