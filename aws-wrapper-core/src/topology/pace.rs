//! How often things are tried: the pace of panic mode and the pauses after refusals.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The pace of all workers of one cluster: it slows down the longer nothing changes.
///
/// Cloned receivers hear when something changed and the pace is quick again.
#[derive(Debug)]
pub(super) struct Pace {
    shortest: Duration,
    since: watch::Sender<Instant>,
}

/// A worker's view of the pace.
#[derive(Debug, Clone)]
pub(super) struct Beat {
    shortest: Duration,
    since: watch::Receiver<Instant>,
}

/// The period never falls below so many round trips: a fleet slows itself down when the server is busy.
const ROUND_TRIPS: u32 = 20;
const SLOWEST: Duration = Duration::from_secs(1);
/// After a minute without change the period doubles every so often until it is [`SLOWEST`].
const DOUBLING: Duration = Duration::from_secs(15);

impl Pace {
    pub(super) fn new(shortest: Duration) -> Self {
        Self { shortest, since: watch::Sender::new(Instant::now()) }
    }

    /// Something changed: be quick again.
    pub(super) fn quicken(&self) {
        self.since.send_replace(Instant::now());
    }

    pub(super) fn beat(&self) -> Beat {
        Beat { shortest: self.shortest, since: self.since.subscribe() }
    }
}

impl Beat {
    /// The period now for a host whose probes take `round_trip`, without jitter.
    pub(super) fn period(&self, round_trip: Duration) -> Duration {
        panic_period(self.shortest, round_trip, self.since.borrow().elapsed())
    }

    /// Waits until the pace is quick again; for ever when nobody can tell any more.
    pub(super) async fn changed(&mut self) {
        if self.since.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The time from one probe of a host to the next when nothing has changed for `unchanged`.
fn panic_period(shortest: Duration, round_trip: Duration, unchanged: Duration) -> Duration {
    let by_age = match unchanged.as_secs() {
        0..5 => Duration::ZERO,
        5..15 => Duration::from_millis(25),
        15..60 => Duration::from_millis(100),
        seconds => {
            let doublings = (seconds - 60) / DOUBLING.as_secs();
            let factor = 1_u32.checked_shl(u32::try_from(doublings).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
            Duration::from_millis(100).saturating_mul(factor).min(SLOWEST)
        }
    };
    shortest.max(round_trip.saturating_mul(ROUND_TRIPS)).max(by_age)
}

/// `period` give or take a fifth, so that many processes do not fall into step.
pub(super) fn jittered(period: Duration) -> Duration {
    period.mul_f64(0.8 + 0.4 * fastrand::f64())
}

/// Doubling pauses after refusals.
#[derive(Debug)]
pub(super) struct BackOff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl BackOff {
    pub(super) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to wait now; longer the next time. Between half of it and all of it, by chance.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        pause.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    pub(super) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period_ms(round_trip_us: u64, unchanged_secs: u64) -> u128 {
        let (trip, unchanged) = (Duration::from_micros(round_trip_us), Duration::from_secs(unchanged_secs));
        panic_period(Duration::from_millis(10), trip, unchanged).as_millis()
    }

    #[test]
    fn the_period_grows_with_time_and_with_the_round_trip() {
        assert_eq!(period_ms(100, 0), 10);
        assert_eq!(period_ms(1_000, 0), 20, "a slow server is asked less often");
        assert_eq!(period_ms(100, 5), 25);
        assert_eq!(period_ms(100, 15), 100);
        assert_eq!(period_ms(100, 60), 100);
        assert_eq!(period_ms(100, 75), 200);
        assert_eq!(period_ms(100, 120), 1_000);
        assert_eq!(period_ms(100, 1_000_000_000), 1_000);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for _ in 0..1_000 {
            let period = jittered(Duration::from_millis(10));
            assert!((8_000..=12_000).contains(&period.as_micros()), "{period:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut back_off = BackOff::new(Duration::from_secs(1), Duration::from_secs(10));
        let pauses: Vec<_> = (0..6).map(|_| back_off.pause()).collect();
        assert!(pauses[0] <= Duration::from_secs(1) && pauses[0] >= Duration::from_millis(500));
        assert!(pauses[5] >= Duration::from_secs(5) && pauses[5] <= Duration::from_secs(10));
        back_off.reset();
        assert!(back_off.pause() <= Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_makes_the_pace_quick_again() {
        let pace = Pace::new(Duration::from_millis(10));
        let mut beat = pace.beat();
        tokio::time::advance(Duration::from_secs(300)).await;
        assert_eq!(beat.period(Duration::ZERO), SLOWEST);
        pace.quicken();
        beat.changed().await;
        assert_eq!(beat.period(Duration::ZERO), Duration::from_millis(10));
    }
}
