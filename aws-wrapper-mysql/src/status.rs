//! The state of the transaction, from the flags in the server's answers.

use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::consts::StatusFlags;
use mysql_async::{Conn, ServerError};

/// Records the state that came with the last answer.
#[inline]
pub(crate) fn note_state(conn: &Conn, slot: &Slot) {
    let Some(ok) = conn.last_ok_packet() else { return };
    let state = if ok.status_flags().contains(StatusFlags::SERVER_STATUS_IN_TRANS) {
        TransactionState::InTransaction
    } else {
        TransactionState::Idle
    };
    note(state, slot);
}

/// An error carries no flags: the state stays what it was, except after a deadlock, which rolls everything back.
///
/// A lock wait that took too long (1205) undoes only its statement, unless `innodb_rollback_on_timeout` is set; then the
/// state is that of a transaction until the next answer, which errs to the careful side.
pub(crate) fn note_error(error: &ServerError, slot: &Slot) {
    match error.code {
        DEADLOCK => note(TransactionState::Idle, slot),
        _ => note(slot.last_known_transaction(), slot),
    }
}

const DEADLOCK: u16 = 1213;

/// Most calls change nothing, and then this is two loads.
#[inline]
fn note(state: TransactionState, slot: &Slot) {
    if slot.transaction() != state || slot.ending().is_some() {
        slot.set_ready(state);
    }
}
