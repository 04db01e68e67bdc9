//! What is said of a failover.

use std::time::Duration;

use super::FailoverOutcome;
use crate::host::HostKey;

/// What happened in a failover.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct FailoverReport {
    /// Where the lost connection went.
    pub old_host: Option<HostKey>,
    /// Where the new connection goes, if there is one.
    pub new_host: Option<HostKey>,
    /// From the error to the end of the failover.
    pub elapsed: Duration,
    /// Whether a transaction was open when the connection was lost.
    pub was_in_transaction: bool,
    /// Whether a commit may have been on its way when the connection was lost.
    pub commit_in_flight: bool,
    /// Whether the failed statement had been sent, so that it may have run.
    pub statement_may_have_run: bool,
    /// How many connections were tried.
    pub attempts: u32,
    /// What the last of them ran into, when none succeeded.
    pub last_error: Option<String>,
}

pub(super) fn failover_message(outcome: FailoverOutcome, report: &FailoverReport) -> String {
    let old = report.old_host.as_ref().map_or_else(String::new, |host| format!(" to {host}"));
    let ms = report.elapsed.as_millis();
    match (outcome, &report.new_host) {
        (FailoverOutcome::Succeeded, Some(new)) => {
            format!(
                "the connection{old} was lost and is replaced by one to {new} after {ms} ms; repeat the statement"
            )
        }
        (FailoverOutcome::TransactionUnknown, Some(new)) => {
            let fate = if report.commit_in_flight { "may or may not be committed" } else { "is rolled back" };
            format!(
                "the connection{old} was lost and is replaced by one to {new} after {ms} ms; the transaction {fate}"
            )
        }
        _ => {
            let why = report.last_error.as_ref().map_or_else(String::new, |last| format!("; last: {last}"));
            format!("the connection{old} was lost and no other host could be used within {ms} ms{why}")
        }
    }
}
