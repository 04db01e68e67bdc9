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
    slot.set_answered(state);
}

/// An error carries no flags: the state stays what it was, except after a deadlock, which rolls everything back.
///
/// What else an error did to the transaction the next answer tells: a statement that commits implicitly may have done so
/// before it failed, and a lock wait that took too long (1205) undoes only its statement, unless
/// `innodb_rollback_on_timeout` is set.
pub(crate) fn note_error(error: &ServerError, slot: &Slot) {
    if error.code == DEADLOCK || slot.last_known_transaction() == TransactionState::Idle {
        slot.set_answered(TransactionState::Idle);
    }
}

const DEADLOCK: u16 = 1213;
