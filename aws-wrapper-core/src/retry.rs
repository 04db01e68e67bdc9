//! When a transaction may be run again.

use crate::error::{Error, RetryAdvice};

/// How often and when `retry_transaction` runs its closure again.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// Runs altogether, the first one included. Default 3.
    pub max_runs: u32,
    /// Whether the closure may run again although it may have been committed. Default false.
    pub idempotent: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_runs: 3, idempotent: false }
    }
}

impl RetryPolicy {
    /// At most `runs` runs, the first one included; 0 counts as 1.
    #[must_use]
    pub fn max_runs(mut self, runs: u32) -> Self {
        self.max_runs = runs.max(1);
        self
    }

    /// Says that running the closure twice does no harm, so it is repeated even if the commit may have happened.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Counts the runs of one closure.
    pub fn runs(self) -> Runs {
        Runs { policy: self, ended: 0 }
    }

    /// Whether to run again after `runs` runs, the last of which ended in `error`.
    ///
    /// Yes after a failover whose outcome is known to be "not committed" and after a serialization failure or deadlock
    /// (SQLSTATE `40001`, `40P01`); never after an unknown outcome, unless the closure is idempotent.
    pub fn permits(&self, runs: u32, error: &Error) -> bool {
        if runs >= self.max_runs {
            return false;
        }
        match error.retry_advice() {
            RetryAdvice::RetryTransaction => true,
            RetryAdvice::CheckOutcome => self.idempotent,
            // Lost before the transaction began: nothing has happened.
            RetryAdvice::RetryStatement => true,
            RetryAdvice::Reconnect | RetryAdvice::DoNotRetry => false,
        }
    }
}

/// The runs of one closure so far. Made by [`RetryPolicy::runs`], for adapters.
#[derive(Debug)]
pub struct Runs {
    policy: RetryPolicy,
    ended: u32,
}

impl Runs {
    /// A run ended in `error`: whether there is to be another one.
    pub fn go_on(&mut self, error: &Error) -> bool {
        self.ended += 1;
        let again = self.policy.permits(self.ended, error);
        if again {
            tracing::debug!(%error, runs = self.ended, "the transaction is run again");
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{DriverClass, FailoverOutcome, FailoverReport};

    fn lost(was_in_transaction: bool, commit_in_flight: bool, outcome: FailoverOutcome) -> Error {
        let report = FailoverReport { was_in_transaction, commit_in_flight, ..FailoverReport::default() };
        Error::failover(outcome, report, Error::driver(DriverClass::Network, "closed"))
    }

    #[test]
    fn only_what_was_certainly_not_committed_runs_again() {
        let policy = RetryPolicy::default();
        assert!(policy.permits(1, &lost(true, false, FailoverOutcome::TransactionUnknown)));
        assert!(policy.permits(1, &lost(false, false, FailoverOutcome::Succeeded)));
        assert!(!policy.permits(1, &lost(true, true, FailoverOutcome::TransactionUnknown)));
        assert!(policy.idempotent().permits(1, &lost(true, true, FailoverOutcome::TransactionUnknown)));
        assert!(!policy.permits(1, &lost(true, false, FailoverOutcome::Failed)));
        assert!(policy.permits(1, &Error::driver(DriverClass::Other, "conflict").with_sqlstate("40001")));
        assert!(
            !policy.permits(1, &Error::driver(DriverClass::Other, "no such table").with_sqlstate("42P01"))
        );
    }

    #[test]
    fn the_runs_are_counted() {
        let error = lost(true, false, FailoverOutcome::TransactionUnknown);
        assert!(RetryPolicy::default().permits(2, &error));
        assert!(!RetryPolicy::default().permits(3, &error));
        assert!(!RetryPolicy::default().max_runs(1).permits(1, &error));
    }
}
