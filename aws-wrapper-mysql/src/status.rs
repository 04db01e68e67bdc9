//! The state of the transaction: from the flags in the server's answers, and what is known where an answer has none.
//!
//! An error carries no flags. It may have ended the transaction, or a procedure that failed may have begun one; the number
//! of the error proves nothing, because any procedure can raise any number. So the state is unknown until the next
//! answer, and [`Conn`](crate::Conn) asks for one before the next call. What that answer says of a transaction that was
//! open before the error is its [`Fate`].

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::engine::Engine;
use aws_wrapper_core::error::{DriverClass, ErrorKind, TransactionOutcome};
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::Call;
use aws_wrapper_core::registry::{Ending, Slot, TransactionFailure};
use aws_wrapper_core::session::lexer;
use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::consts::StatusFlags;
use mysql_async::{Conn, OkPacket, QueryResult, ServerError, TextProtocol};

use crate::driver::MysqlDriver;

/// What was sent, as far as it tells what an answer means.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent<'a> {
    method: Method,
    /// `None` where the driver's trait does not show it.
    sql: Option<&'a str>,
    /// `None` for a question of the wrapper's own.
    call: Option<&'a Call<'a, MysqlDriver>>,
}

impl<'a> Sent<'a> {
    /// A question of the wrapper's own: it changes nothing.
    pub(crate) const QUESTION: Sent<'static> = Sent { method: Method::Ping, sql: Some("select"), call: None };

    #[inline]
    pub(crate) fn of(call: &'a Call<'_, MysqlDriver>) -> Self {
        Self { method: call.method(), sql: call.sql(), call: Some(call) }
    }

    /// The server has told how many rows were changed.
    #[inline]
    pub(crate) fn note_rows_affected(self, rows: u64) {
        if let Some(call) = self.call {
            call.note_rows_affected(rows);
        }
    }

    /// The server's answer to a PREPARE has no flags, but the driver takes it for one that has.
    fn has_flags(self) -> bool {
        self.method != Method::Prepare
    }

    /// Whether its failure outside of a transaction leaves none open.
    fn is_harmless(self) -> bool {
        matches!(self.method, Method::Prepare | Method::Ping)
            || self.sql.is_some_and(|sql| lexer::is_one_plain(Engine::MySql, sql))
    }

    /// Whether it begins a transaction or drops the one that is open.
    fn starts_over(self) -> bool {
        matches!(self.method, Method::Begin | Method::Rollback | Method::Reset)
            || self.sql.is_some_and(|sql| lexer::starts_over(Engine::MySql, sql))
    }

    /// Whether it asks by name to keep a transaction that was open before.
    fn asks_to_commit(self) -> bool {
        self.method == Method::Commit
            || self.sql.is_some_and(|sql| lexer::ends_in_commit(Engine::MySql, sql)) && !self.starts_over()
    }

    /// Whether it may have committed what was open before it failed.
    fn may_have_committed(self, slot: &Slot) -> bool {
        self.sql.is_none() && self.method != Method::Ping || slot.ending() == Some(Ending::Commit)
    }
}

/// What became of a transaction that was open when an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// There was no such error, or what came of it is known and over.
    Settled,
    /// The next answer tells whether the transaction is still open. What failed cannot have committed it, or may have.
    Doubtful { may_be_committed: bool },
    /// The server has ended it by itself.
    Over { may_be_committed: bool },
    /// So it has, and since then other statements ran on their own.
    OverAndOn { may_be_committed: bool },
    /// A commit was refused for that reason; what has begun since then is another half of the same work.
    Refused,
}

impl Fate {
    const ALL: [Self; 8] = [
        Self::Settled,
        Self::Doubtful { may_be_committed: false },
        Self::Doubtful { may_be_committed: true },
        Self::Over { may_be_committed: false },
        Self::Over { may_be_committed: true },
        Self::OverAndOn { may_be_committed: false },
        Self::OverAndOn { may_be_committed: true },
        Self::Refused,
    ];
}

/// What is known of the transaction on a connection besides the state in its slot.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// `autocommit` is off, as the server last said.
    is_manual: AtomicBool,
    /// A [`Fate`]; an index, so that asking costs a load.
    fate: AtomicU8,
    /// What opened the result that is lent may commit.
    rest_may_commit: AtomicBool,
    /// The result that is lent has been read to its end.
    rest_is_read: AtomicBool,
}

impl Status {
    fn fate(&self) -> Fate {
        Fate::ALL[usize::from(self.fate.load(Ordering::Relaxed))]
    }

    fn set_fate(&self, fate: Fate) {
        let index = Fate::ALL.iter().position(|known| *known == fate).unwrap_or_default();
        self.fate.store(u8::try_from(index).unwrap_or_default(), Ordering::Relaxed);
    }

    /// Whether the next call has to be looked at: a transaction was ended by the server, or may have been.
    #[inline]
    pub(crate) fn is_remarkable(&self) -> bool {
        self.fate.load(Ordering::Relaxed) != 0
    }

    /// An exchange went well; `ok` is how its answer ended.
    #[inline]
    pub(crate) fn note_answer(&self, ok: Option<&OkPacket<'_>>, sent: Sent<'_>, slot: &Slot) {
        let Some(ok) = ok.filter(|_| sent.has_flags()) else { return };
        self.note_flags(ok.status_flags(), slot);
        if self.is_remarkable() {
            self.resolve(sent, slot);
        }
    }

    #[inline]
    fn note_flags(&self, flags: StatusFlags, slot: &Slot) {
        let is_manual = !flags.contains(StatusFlags::SERVER_STATUS_AUTOCOMMIT);
        if self.is_manual.load(Ordering::Relaxed) != is_manual {
            self.is_manual.store(is_manual, Ordering::Relaxed);
        }
        let is_open = flags.contains(StatusFlags::SERVER_STATUS_IN_TRANS);
        slot.set_answered(if is_open { TransactionState::InTransaction } else { TransactionState::Idle });
    }

    #[cold]
    fn resolve(&self, sent: Sent<'_>, slot: &Slot) {
        match self.fate() {
            _ if sent.starts_over() => self.settle(slot),
            Fate::Doubtful { may_be_committed } if slot.transaction() == TransactionState::Idle => {
                self.set_fate(Fate::Over { may_be_committed });
            }
            Fate::Doubtful { .. } if slot.transaction() == TransactionState::InTransaction => {
                self.settle(slot);
            }
            Fate::Over { may_be_committed } if sent.method != Method::Ping => {
                self.set_fate(Fate::OverAndOn { may_be_committed });
            }
            _ => {}
        }
    }

    /// What became of an earlier transaction does not matter any more.
    pub(crate) fn settle(&self, slot: &Slot) {
        if self.is_remarkable() {
            self.set_fate(Fate::Settled);
            slot.take_failure();
        }
    }

    /// The server answered with an error: only one plain statement under `autocommit` and outside of a transaction is sure
    /// to leave it at that.
    #[cold]
    pub(crate) fn note_error(&self, error: &ServerError, sent: Sent<'_>, slot: &Slot) {
        self.note_failure(Some(error), sent.is_harmless(), sent.may_have_committed(slot), slot);
    }

    /// What was left of a result ended with an error.
    #[cold]
    pub(crate) fn note_rest(&self, error: &ServerError, slot: &Slot) {
        self.note_failure(Some(error), false, self.rest_may_commit.load(Ordering::Relaxed), slot);
    }

    fn note_failure(
        &self,
        error: Option<&ServerError>,
        is_harmless: bool,
        may_be_committed: bool,
        slot: &Slot,
    ) {
        let is_idle = slot.transaction() == TransactionState::Idle;
        if is_idle && is_harmless && !self.is_manual.load(Ordering::Relaxed) {
            return slot.set_answered(TransactionState::Idle);
        }
        slot.set_unknown();
        let was_open = slot.last_known_transaction() == TransactionState::InTransaction;
        if was_open && self.fate() == Fate::Settled {
            self.set_fate(Fate::Doubtful { may_be_committed });
            slot.take_failure();
            if let Some(error) = error {
                let (code, text) = (Some(error.code.into()), error.to_string());
                slot.set_failure(TransactionFailure::new(error.state.as_str(), code, text));
            }
        }
    }

    /// A result was opened that is read later: what it leaves is not known before its end.
    pub(crate) fn note_opened(&self, sent: Sent<'_>, slot: &Slot) {
        self.rest_is_read.store(false, Ordering::Relaxed);
        self.rest_may_commit.store(sent.may_have_committed(slot), Ordering::Relaxed);
        slot.set_unknown();
        if self.is_remarkable() {
            self.resolve(sent, slot);
        }
    }

    /// Whether there is nothing left of the result that is lent.
    pub(crate) fn note_read(&self, is_read: bool) {
        self.rest_is_read.store(is_read, Ordering::Relaxed);
    }

    /// The connection of a result that was read to its end, while it is still lent.
    pub(crate) fn note_while_lent(&self, conn: &Conn, slot: &Slot) {
        let flags = conn.last_ok_packet().map(OkPacket::status_flags);
        let is_last = |flags: &StatusFlags| !flags.contains(StatusFlags::SERVER_MORE_RESULTS_EXISTS);
        if let Some(flags) = flags.filter(is_last).filter(|_| self.rest_is_read.load(Ordering::Relaxed)) {
            self.note_flags(flags, slot);
        }
    }

    /// The connection comes back from a result, or, if `is_abroad`, from code of the driver's that did with it what it liked.
    pub(crate) fn note_returned(&self, conn: &mut Conn, is_abroad: bool, slot: &Slot) {
        let is_read = QueryResult::<'_, '_, TextProtocol>::new(&mut *conn).is_empty();
        match conn.last_ok_packet() {
            Some(ok) if is_read && !is_abroad => self.note_flags(ok.status_flags(), slot),
            Some(_) => slot.set_unknown(),
            // An error came last, and it may not have been seen yet.
            None => self.note_failure(None, false, self.rest_may_commit.load(Ordering::Relaxed), slot),
        }
    }

    /// The error of a call in a transaction that the server has ended: nothing must run outside of it unawares.
    pub(crate) fn end(&self, slot: &Slot) -> Option<CoreError> {
        let may_be_committed = match self.fate() {
            Fate::Settled | Fate::Doubtful { .. } | Fate::Refused => return None,
            Fate::Over { may_be_committed } => may_be_committed,
            // Without autocommit they began another transaction, which is not committed either.
            Fate::OverAndOn { may_be_committed } => {
                may_be_committed || !self.is_manual.load(Ordering::Relaxed)
            }
        };
        let failure = slot.take_failure();
        let cause = failure.clone().map(TransactionFailure::into_error);
        if let Some(failure) = failure {
            slot.set_failure(failure);
        }
        let because = cause.as_ref().map_or_else(String::new, |cause| format!(", because of: {cause}"));
        let (kind, fate, outcome) = if may_be_committed {
            let fate = "ended the transaction, which may be committed in part";
            (ErrorKind::Driver(DriverClass::Other), fate, TransactionOutcome::Unknown)
        } else {
            (ErrorKind::RolledBack, "rolled the transaction back", TransactionOutcome::RolledBack)
        };
        let text = format!("nothing was sent: the server has {fate} by itself{because}");
        let error =
            CoreError::new(kind, text).with_outcome(outcome).with_nothing_sent().with_host(slot.host());
        Some(match cause {
            Some(cause) => error.with_source(cause),
            None => error,
        })
    }

    /// The error of a commit by text for a transaction that the server has ended, instead of sending it.
    #[cold]
    pub(crate) fn refuse(&self, sent: Sent<'_>, slot: &Slot) -> Option<CoreError> {
        if !sent.asks_to_commit() {
            return None;
        }
        let error = self.end(slot)?;
        self.settle(slot);
        if slot.transaction() == TransactionState::InTransaction {
            self.set_fate(Fate::Refused);
        }
        Some(error)
    }

    /// Whether a transaction is open whose commit was refused.
    pub(crate) fn must_be_rolled_back(&self) -> bool {
        self.fate() == Fate::Refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_has_its_index() {
        for fate in Fate::ALL {
            let status = Status::default();
            assert!(!status.is_remarkable());
            status.set_fate(fate);
            assert_eq!(status.fate(), fate);
            assert_eq!(status.is_remarkable(), fate != Fate::Settled);
        }
    }
}
