//! When a host counts as dead: the arithmetic, without clocks and tasks.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Verdict {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answered last time.
    Up,
    /// It has not answered lately, but not for long enough.
    Failing,
    /// It is dead.
    Down,
}

/// What came of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The host answered, be it by refusing the login.
    Alive,
    /// It did not.
    Unreachable,
    /// This side could not ask, or could not hear the answer.
    Inconclusive,
}

impl Outcome {
    /// The word for it in metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Unreachable => "unreachable",
            Self::Inconclusive => "inconclusive",
        }
    }
}

/// Failures in a row, as one set of timings counts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Window {
    /// When the first failing probe began.
    since: Option<Instant>,
    failures: u32,
    verdict: Verdict,
}

impl Window {
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// A probe from `began` to `ended`. `count` probes in a row must fail, over at least `interval` times one less.
    pub(super) fn add(
        &mut self,
        outcome: Outcome,
        (began, ended): (Instant, Instant),
        (interval, count): (Duration, u32),
    ) {
        match outcome {
            Outcome::Alive => *self = Self { verdict: Verdict::Up, ..Self::default() },
            Outcome::Unreachable => {
                let since = *self.since.get_or_insert(began);
                self.failures += 1;
                let is_long = ended.duration_since(since) >= interval * (count - 1);
                // A host that is dead stays so until it answers.
                let is_down = self.verdict == Verdict::Down || self.failures >= count && is_long;
                self.verdict = if is_down { Verdict::Down } else { Verdict::Failing };
            }
            Outcome::Inconclusive => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(1);

    /// The verdicts after each of these probes, which begin one second apart and take half of one.
    fn verdicts(count: u32, outcomes: &[Outcome]) -> Vec<Verdict> {
        let (mut window, mut began) = (Window::default(), Instant::now());
        let mut verdicts = Vec::new();
        for outcome in outcomes {
            window.add(*outcome, (began, began + INTERVAL / 2), (INTERVAL, count));
            verdicts.push(window.verdict());
            began += INTERVAL;
        }
        verdicts
    }

    use Outcome::{Alive, Inconclusive, Unreachable};
    use Verdict::{Down, Failing, Unknown, Up};

    #[test]
    fn as_many_probes_as_were_asked_for_have_to_fail_in_a_row() {
        assert_eq!(verdicts(1, &[Unreachable]), [Down]);
        assert_eq!(verdicts(3, &[Unreachable; 4]), [Failing, Failing, Down, Down]);
        assert_eq!(
            verdicts(3, &[Unreachable, Unreachable, Alive, Unreachable, Unreachable]),
            [Failing, Failing, Up, Failing, Failing]
        );
    }

    #[test]
    fn one_answer_brings_a_dead_host_back() {
        assert_eq!(
            verdicts(2, &[Unreachable, Unreachable, Alive, Unreachable]),
            [Failing, Down, Up, Failing]
        );
    }

    #[test]
    fn what_is_not_known_neither_counts_nor_clears() {
        assert_eq!(
            verdicts(2, &[Inconclusive, Unreachable, Inconclusive, Unreachable]),
            [Unknown, Failing, Failing, Down]
        );
    }

    #[test]
    fn failures_that_come_quickly_have_to_last() {
        let (mut window, now) = (Window::default(), Instant::now());
        let mut add = |at: u64| {
            let at = now + Duration::from_millis(at);
            window.add(Unreachable, (at, at), (INTERVAL, 3));
            window.verdict()
        };
        assert_eq!(
            [add(0), add(100), add(200), add(1_999), add(2_000)],
            [Failing, Failing, Failing, Failing, Down]
        );
    }
}
