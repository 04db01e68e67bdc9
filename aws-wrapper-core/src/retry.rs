//! When work may be repeated, and the one loop that repeats it.

use std::fmt::Display;
use std::future::Future;
use std::time::Duration;

use tokio::time::sleep;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::error::{Error, ErrorKind, RetryAdvice, TransactionOutcome};
use crate::plugin::Intent;
use crate::session::transaction::TransactionState;
use crate::telemetry::spans;

/// How often and when a retry helper runs its work again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Runs altogether, the first one included. Default 3.
    pub max_runs: u32,
    /// Whether running the work twice does no harm. Default false: what may have been done already is not repeated.
    pub idempotent: bool,
    /// The pause before the second run; it doubles with each further one. Between half of it and all of it is waited, so
    /// that those who failed together do not meet again. After a failover, which took its time, the next run begins at
    /// once. Default 10 ms.
    pub first_pause: Duration,
    /// No pause is longer. Default 1 s.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_runs: 3,
            idempotent: false,
            first_pause: Duration::from_millis(10),
            longest_pause: Duration::from_secs(1),
        }
    }
}

impl RetryPolicy {
    /// At most `runs` runs, the first one included; 0 counts as 1.
    #[must_use]
    pub fn max_runs(mut self, runs: u32) -> Self {
        self.max_runs = runs.max(1);
        self
    }

    /// Says that running the work twice does no harm: it is repeated even if it may have been done already.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sets the first pause, which doubles with each run, and the longest one.
    #[must_use]
    pub fn pauses(mut self, first: Duration, longest: Duration) -> Self {
        (self.first_pause, self.longest_pause) = (first, longest);
        self
    }

    /// Whether to run `work` again after `runs` runs, the last of which ended in `error`.
    ///
    /// | the error advises | a statement | a transaction | work of a pool |
    /// | --- | --- | --- | --- |
    /// | `RetryStatement` | if it cannot have run, or is idempotent | yes: it was lost as it began | as a statement |
    /// | `RetryTransaction` | yes, unless it was part of a lost transaction | yes | yes |
    /// | `CheckOutcome` | if it is idempotent | if it is idempotent | if it is idempotent |
    /// | `Reconnect` | no | no | as a statement; also if its transaction was rolled back |
    /// | `DoNotRetry` | no | no | no |
    pub fn permits(&self, work: Work, runs: u32, error: &impl Failure) -> bool {
        if runs >= self.max_runs {
            return false;
        }
        let is_harmless = self.idempotent || !error.statement_may_have_run();
        let is_rolled_back = error.transaction_outcome() == TransactionOutcome::RolledBack;
        match (error.retry_advice(), work) {
            (RetryAdvice::RetryStatement | RetryAdvice::RetryTransaction, Work::Transaction)
            | (RetryAdvice::RetryTransaction, Work::Checkout) => true,
            (RetryAdvice::RetryTransaction, Work::Statement) => !is_rolled_back,
            (RetryAdvice::RetryStatement, Work::Statement | Work::Checkout) => is_harmless,
            (RetryAdvice::CheckOutcome, _) => self.idempotent,
            (RetryAdvice::Reconnect, Work::Checkout) => is_harmless || is_rolled_back,
            (RetryAdvice::Reconnect, Work::Statement | Work::Transaction) | (RetryAdvice::DoNotRetry, _) => {
                false
            }
        }
    }

    /// For adapters: one statement in a transaction that is open, or may be, is run once.
    #[must_use]
    pub fn within(self, state: TransactionState) -> Self {
        if state == TransactionState::Idle { self } else { self.max_runs(1) }
    }

    fn pause(&self, runs: u32, error: &impl Failure) -> Duration {
        if error.has_new_connection() {
            return Duration::ZERO;
        }
        let doubled = 1_u32.checked_shl(runs.saturating_sub(1)).unwrap_or(u32::MAX);
        let full = self.first_pause.saturating_mul(doubled).min(self.longest_pause);
        full.mul_f64(0.5 + 0.5 * fastrand::f64())
    }
}

/// What is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a further one has to be thought of in every rule")]
pub enum Work {
    /// One statement, outside of a transaction, on a logical connection.
    Statement,
    /// A whole transaction on a logical connection.
    Transaction,
    /// One statement or one transaction on a connection that is checked out for each run.
    Checkout,
}

/// What the loop asks of an error: the answers of [`Error`] with these names.
pub trait Failure: Display {
    /// [`Error::retry_advice`].
    fn retry_advice(&self) -> RetryAdvice;
    /// [`Error::transaction_outcome`].
    fn transaction_outcome(&self) -> TransactionOutcome;
    /// [`Error::statement_may_have_run`].
    fn statement_may_have_run(&self) -> bool;
    /// [`Error::is_failover_success`].
    fn has_new_connection(&self) -> bool;
}

impl Failure for Error {
    fn retry_advice(&self) -> RetryAdvice {
        self.retry_advice()
    }

    fn transaction_outcome(&self) -> TransactionOutcome {
        self.transaction_outcome()
    }

    fn statement_may_have_run(&self) -> bool {
        self.statement_may_have_run()
    }

    fn has_new_connection(&self) -> bool {
        self.is_failover_success()
    }
}

/// Something that can be tried several times. For adapters and pools: what differs between them.
pub trait Attempt {
    /// What it comes to.
    type Output;
    /// Why it fails.
    type Error: Failure;

    /// Tries once; the calls of this run carry `intent`.
    fn attempt(&mut self, intent: Intent) -> impl Future<Output = Result<Self::Output, Self::Error>> + Send;
}

/// Tries until it goes well or `policy` does not permit another run.
///
/// # Errors
/// That of the last run.
///
/// # Cancellation
/// As that of one attempt.
pub async fn run<A: Attempt>(policy: RetryPolicy, work: Work, attempt: A) -> Result<A::Output, A::Error> {
    let span = match work {
        Work::Transaction => {
            tracing::debug_span!(spans::RETRY_TRANSACTION, attempts = Empty, outcome = Empty)
        }
        Work::Statement | Work::Checkout => Span::none(),
    };
    let mut runs = 0;
    let result = repeat(policy, work, attempt, &mut runs).instrument(span.clone()).await;
    span.record("attempts", runs).record("outcome", if result.is_ok() { "ok" } else { "failed" });
    result
}

async fn repeat<A: Attempt>(
    policy: RetryPolicy,
    work: Work,
    mut attempt: A,
    runs: &mut u32,
) -> Result<A::Output, A::Error> {
    loop {
        *runs += 1;
        let error = match attempt.attempt(Intent::of_run(policy.idempotent, *runs)).await {
            Ok(output) => return Ok(output),
            Err(error) => error,
        };
        if !policy.permits(work, *runs, &error) {
            return Err(error);
        }
        tracing::debug!(%error, ?work, runs, "it is run again");
        sleep(policy.pause(*runs, &error)).await;
    }
}

/// The error of a handle that was kept beyond its run. For adapters.
#[cold]
pub fn expired() -> Error {
    let text = "the handle was kept beyond the run it was made for; the connection is not its own any more";
    Error::new(ErrorKind::ConnectionSwitched, text).with_nothing_sent()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::error::{DriverClass, FailoverOutcome, FailoverReport};

    fn failed_over(was_in_transaction: bool, commit_in_flight: bool, may_have_run: bool) -> Error {
        let report = FailoverReport {
            was_in_transaction,
            commit_in_flight,
            statement_may_have_run: may_have_run,
            ..FailoverReport::default()
        };
        let outcome =
            if was_in_transaction { FailoverOutcome::TransactionUnknown } else { FailoverOutcome::Succeeded };
        Error::failover(outcome, report, Error::driver(DriverClass::Network, "closed"))
    }

    fn server(sqlstate: &str) -> Error {
        Error::driver(DriverClass::Other, "no").with_sqlstate(sqlstate)
    }

    /// Whether a statement, a transaction and the work of a pool are run again; by default, and if they are idempotent.
    fn again(error: &Error) -> [[bool; 3]; 2] {
        [RetryPolicy::default(), RetryPolicy::default().idempotent()].map(|policy| {
            [Work::Statement, Work::Transaction, Work::Checkout].map(|work| policy.permits(work, 1, error))
        })
    }

    #[test]
    fn only_what_was_certainly_not_done_is_done_again() {
        const T: bool = true;
        const F: bool = false;
        let lost = |outcome| Error::driver(DriverClass::Network, "lost").with_connection_lost(outcome);
        for (error, expected) in [
            (failed_over(F, F, F), [[T, T, T], [T, T, T]]),
            (failed_over(F, F, T), [[F, T, F], [T, T, T]]),
            (failed_over(T, F, T), [[F, T, T], [F, T, T]]),
            (failed_over(T, T, T), [[F, F, F], [T, T, T]]),
            (failed_over(F, F, T).with_ends_sessions(), [[F; 3]; 2]),
            (server("40001"), [[T; 3]; 2]),
            (server("23505"), [[F; 3]; 2]),
            (Error::rolled_back(Some(server("40001"))), [[F, T, T], [F, T, T]]),
            (Error::rolled_back(Some(server("23505"))), [[F; 3]; 2]),
            (lost(TransactionOutcome::NotInTransaction), [[F, F, F], [F, F, T]]),
            (lost(TransactionOutcome::NotInTransaction).with_nothing_sent(), [[F, F, T], [F, F, T]]),
            (lost(TransactionOutcome::RolledBack), [[F, F, T], [F, F, T]]),
            (lost(TransactionOutcome::Unknown), [[F; 3], [T; 3]]),
            (Error::new(ErrorKind::Login, "wrong password"), [[F; 3]; 2]),
        ] {
            assert_eq!(again(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn the_runs_are_counted() {
        let error = server("40001");
        assert!(RetryPolicy::default().permits(Work::Transaction, 2, &error));
        assert!(!RetryPolicy::default().permits(Work::Transaction, 3, &error));
        assert!(!RetryPolicy::default().max_runs(0).permits(Work::Transaction, 1, &error));
    }

    /// Fails as often as it is given errors.
    struct Script(Vec<Error>);

    impl Attempt for Script {
        type Output = usize;
        type Error = Error;

        async fn attempt(&mut self, _intent: Intent) -> Result<usize, Error> {
            self.0.pop().map_or(Ok(self.0.len()), Err)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_none_follows_a_failover() {
        let policy =
            RetryPolicy::default().max_runs(9).pauses(Duration::from_millis(100), Duration::from_millis(250));
        let started = Instant::now();
        let all = (0..4).map(|_| server("40001")).collect();
        run(policy, Work::Transaction, Script(all)).await.unwrap();
        // 100, 200, 250 and 250 ms, each between half of it and all of it.
        let paused = started.elapsed();
        assert!((400..=804).contains(&paused.as_millis()), "{paused:?}");

        let started = Instant::now();
        run(policy, Work::Transaction, Script(vec![failed_over(true, false, true)])).await.unwrap();
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
