//! What must be true after a failover.

use aws_wrapper_core::Error;
use aws_wrapper_core::error::{ErrorKind, FailoverOutcome, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::events::Event;
use aws_wrapper_core::host::HostKey;
use tokio::sync::broadcast::Receiver;

/// What the error of a successful failover has to say.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "made by tests field by field")]
pub struct Expected {
    /// Where the lost connection went.
    pub old: HostKey,
    /// Where the new one goes.
    pub new: HostKey,
    /// What became of the transaction.
    pub transaction: TransactionOutcome,
}

/// Checks every answer that the error of a successful failover gives.
///
/// # Panics
/// When one is wrong.
pub fn switched(error: &Error, expected: &Expected) {
    let (outcome, sqlstate, advice) = match expected.transaction {
        TransactionOutcome::NotInTransaction => {
            (FailoverOutcome::Succeeded, "08S02", RetryAdvice::RetryStatement)
        }
        TransactionOutcome::Unknown => {
            (FailoverOutcome::TransactionUnknown, "08007", RetryAdvice::CheckOutcome)
        }
        _ => (FailoverOutcome::TransactionUnknown, "08007", RetryAdvice::RetryTransaction),
    };
    assert_eq!(error.kind(), ErrorKind::Failover(outcome), "{error:?}");
    assert!(error.is_failover_success(), "{error:?}");
    assert!(error.connection_usable(), "{error:?}");
    assert_eq!(error.transaction_outcome(), expected.transaction, "{error:?}");
    assert_eq!(error.sqlstate(), Some(sqlstate), "{error:?}");
    assert_eq!(error.retry_advice(), advice, "{error:?}");
    assert_eq!(error.host(), Some(&expected.new), "{error:?}");
    let report = error.failover_report().expect("a failover has a report");
    assert_eq!(report.old_host.as_ref(), Some(&expected.old), "{report:?}");
    assert_eq!(report.new_host.as_ref(), Some(&expected.new), "{report:?}");
    assert!(report.attempts > 0, "{report:?}");
}

/// Events so far: failovers that started, and for those that are over how they ended.
///
/// # Panics
/// When events were lost.
pub fn failovers(events: &mut Receiver<Event>) -> (usize, Vec<FailoverOutcome>) {
    let (mut started, mut ended) = (0, Vec::new());
    for event in so_far(events) {
        match event {
            Event::FailoverStarted { .. } => started += 1,
            Event::FailoverFinished { outcome, .. } => ended.push(outcome),
            _ => {}
        }
    }
    (started, ended)
}

/// Events so far: the hosts that were marked down.
///
/// # Panics
/// When events were lost.
pub fn host_down(events: &mut Receiver<Event>) -> Vec<HostKey> {
    let down = |event| match event {
        Event::HostDown { host } => Some(host),
        _ => None,
    };
    so_far(events).into_iter().filter_map(down).collect()
}

fn so_far(events: &mut Receiver<Event>) -> Vec<Event> {
    let mut seen = Vec::new();
    loop {
        match events.try_recv() {
            Ok(event) => seen.push(event),
            Err(tokio::sync::broadcast::error::TryRecvError::Lagged(lost)) => {
                panic!("{lost} events were lost")
            }
            Err(_) => return seen,
        }
    }
}
