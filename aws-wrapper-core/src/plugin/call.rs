//! What a hook may know about the running call.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures_util::future::BoxFuture;

use super::state::{CallState, States};
use crate::driver::DriverDialect;
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result, TransactionOutcome};
use crate::host::Role;
use crate::method::Method;
use crate::plugin::Logical;
use crate::registry::{Ending, Slot, TransactionFailure};
use crate::session::transaction::TransactionState;
use crate::session::{SessionChange, StatementKind, lexer};
use crate::table::Table;

/// One running call on a logical connection.
#[derive(Debug)]
pub struct Call<'a, D: DriverDialect> {
    method: Method,
    sql: Option<Cow<'a, str>>,
    logical: Held<'a, Logical<D>>,
    ask: Held<'a, dyn Ask + 'a>,
    /// The slot the call went out on; 0 until it did.
    used: AtomicU64,
    /// Whether it went out to commit a transaction that was open by then, as far as anybody can tell.
    commits_open: AtomicBool,
    /// Whether it says by name that a transaction is to be kept, so that the answer has to say so, too.
    asks_to_commit: AtomicBool,
    /// How many rows it changed; [`UNTOLD`] until the driver tells.
    rows_affected: AtomicU64,
    begin: BeginOptions,
    intent: Intent,
    kind: Option<&'a OnceLock<StatementKind>>,
    states: States,
}

const UNTOLD: u64 = u64::MAX;

/// The text of a call, and where a prepared statement keeps what it is for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Text<'a> {
    sql: Option<&'a str>,
    kind: Option<&'a OnceLock<StatementKind>>,
    begin: BeginOptions,
}

impl<'a> Text<'a> {
    /// The beginning of a transaction, whose options need not stand in the text.
    pub fn of_begin(sql: Option<&'a str>, options: BeginOptions) -> Self {
        Self { sql, kind: None, begin: options }
    }

    /// The text of a statement, which keeps its kind for further calls.
    pub fn of_statement(sql: &'a str, kind: &'a OnceLock<StatementKind>) -> Self {
        Self { sql: Some(sql), kind: Some(kind), begin: BeginOptions::default() }
    }
}

impl<'a> From<Option<&'a str>> for Text<'a> {
    fn from(sql: Option<&'a str>) -> Self {
        Self { sql, kind: None, begin: BeginOptions { read_only: None } }
    }
}

/// What a transaction is begun with. `None`: as the session has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BeginOptions {
    /// Whether it refuses writes.
    pub read_only: Option<bool>,
}

impl BeginOptions {
    /// A transaction that refuses writes, or one that takes them, or one as the session has it.
    pub const fn read_only(read_only: Option<bool>) -> Self {
        Self { read_only }
    }
}

/// What the caller has said of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Intent {
    /// Whether it does no harm to run it twice.
    pub is_idempotent: bool,
    /// Which run it belongs to: 1 for the first; more for a run that a retry helper repeats.
    pub attempt: u32,
}

impl Intent {
    /// A call that is run once, and of which nothing is known.
    pub const PLAIN: Self = Self { is_idempotent: false, attempt: 1 };

    /// One of a retry helper's runs.
    pub const fn of_run(is_idempotent: bool, attempt: u32) -> Self {
        Self { is_idempotent, attempt }
    }
}

/// What a call on the stack borrows and a call that a stream takes along shares.
enum Held<'a, T: ?Sized> {
    Borrowed(&'a T),
    Shared(Arc<T>),
}

impl<T: ?Sized> Deref for Held<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Borrowed(borrowed) => borrowed,
            Self::Shared(shared) => shared,
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Held<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Asks the server a question of the wrapper's own over the connection the call used.
///
/// Only for the failure path: the answer comes after whatever is queued on that connection.
pub trait Ask: fmt::Debug + Send + Sync {
    /// Runs `sql` and returns its rows as text.
    fn fetch_text<'a>(&'a self, sql: &'a str) -> BoxFuture<'a, Result<Table>>;
}

impl<D: DriverDialect> Call<'static, D> {
    /// A call that borrows nothing, for results that outlive the function that opened them.
    pub fn owned(method: Method, sql: Option<String>, logical: Arc<Logical<D>>, ask: Arc<dyn Ask>) -> Self {
        Self::unsent(method, sql.map(Cow::Owned), Held::Shared(logical), Held::Shared(ask))
    }
}

impl<'a, D: DriverDialect> Call<'a, D> {
    /// A call of `method` with `text`, where it has one.
    #[inline]
    pub fn new(method: Method, text: impl Into<Text<'a>>, logical: &'a Logical<D>, ask: &'a dyn Ask) -> Self {
        let Text { sql, kind, begin } = text.into();
        let call = Self::unsent(method, sql.map(Cow::Borrowed), Held::Borrowed(logical), Held::Borrowed(ask));
        Self { begin, kind, ..call }
    }

    #[inline]
    fn unsent(
        method: Method,
        sql: Option<Cow<'a, str>>,
        logical: Held<'a, Logical<D>>,
        ask: Held<'a, dyn Ask + 'a>,
    ) -> Self {
        let (used, commits_open, asks_to_commit) = Default::default();
        Self {
            method,
            sql,
            logical,
            ask,
            used,
            commits_open,
            asks_to_commit,
            rows_affected: AtomicU64::new(UNTOLD),
            begin: BeginOptions { read_only: None },
            intent: Intent::PLAIN,
            kind: None,
            states: States::new(),
        }
    }

    /// What the caller has said of it. For adapters.
    #[must_use]
    #[inline]
    pub fn with_intent(mut self, intent: Intent) -> Self {
        self.intent = intent;
        self
    }

    /// Which call it is.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The statement, where the call has its text.
    pub fn sql(&self) -> Option<&str> {
        self.sql.as_deref()
    }

    /// What its statement is for. Read from the text when it is first asked for; kept with a prepared statement.
    pub fn statement_kind(&self) -> StatementKind {
        match self.method {
            Method::Begin | Method::Commit | Method::Rollback | Method::Savepoint => {
                StatementKind::TransactionControl
            }
            Method::Listen | Method::Reset => StatementKind::SessionSetting,
            _ => {
                let read = || match self.sql() {
                    Some(sql) => lexer::statement_kind(D::ENGINE, sql),
                    None => StatementKind::Unknown,
                };
                self.kind.map_or_else(read, |kind| *kind.get_or_init(read))
            }
        }
    }

    /// What the transaction is begun with, if it is [`Method::Begin`].
    pub fn begin_options(&self) -> BeginOptions {
        self.begin
    }

    /// Whether it begins a transaction that refuses writes, by the method for it or as text.
    pub fn begins_read_only(&self) -> bool {
        match self.method {
            Method::Begin => self.begin.read_only == Some(true),
            _ => self.sql().is_some_and(|sql| lexer::begins_read_only(D::ENGINE, sql)),
        }
    }

    /// Whether the caller says that it does no harm to run it twice.
    pub fn is_idempotent(&self) -> bool {
        self.intent.is_idempotent
    }

    /// Which run of a retry helper it belongs to: 1 for the first, and for a call outside of one.
    pub fn attempt(&self) -> u32 {
        self.intent.attempt
    }

    /// The role the caller wants of its host, if any.
    pub fn wanted_role(&self) -> Option<Role> {
        self.logical.role()
    }

    /// Whether it was handed to a connection: a call that a plugin still holds was not.
    pub fn was_sent(&self) -> bool {
        self.carrier().is_some()
    }

    /// The id of the physical connection that carries it, once it was sent.
    pub fn carrier(&self) -> Option<u64> {
        Some(self.used.load(Ordering::Relaxed)).filter(|id| *id != 0)
    }

    /// How many rows it changed, where the driver tells.
    pub fn rows_affected(&self) -> Option<u64> {
        Some(self.rows_affected.load(Ordering::Relaxed)).filter(|rows| *rows != UNTOLD)
    }

    /// The driver tells how many rows it changed. For adapters.
    #[inline]
    pub fn note_rows_affected(&self, rows: u64) {
        self.rows_affected.store(rows, Ordering::Relaxed);
    }

    /// What a plugin keeps of this call, made when it is first asked for.
    pub fn state<T: Default + Send + Sync + 'static>(&self, place: &CallState<T>) -> &T {
        self.states.get(place.place())
    }

    /// The logical connection it runs on.
    pub fn logical(&self) -> &Logical<D> {
        &self.logical
    }

    /// Asks over the connection the call used.
    pub fn ask(&self) -> &dyn Ask {
        &*self.ask
    }

    /// The adapter tells which physical connection carries the call, before it is sent.
    #[inline]
    pub fn uses(&self, slot: &Slot) {
        self.used.store(slot.id(), Ordering::Relaxed);
        if self.may_commit() && !slot.has_ended() {
            self.will_commit(slot);
        }
        if slot.watches_session() {
            slot.note_session_change(self.session_change());
        }
        if slot.follows_a_loss() {
            self.logical.sends_after_a_loss(slot, self.fingerprint());
        }
    }

    #[cold]
    fn will_commit(&self, slot: &Slot) {
        // Here and not when it fails: other calls fail with it, and it may be dropped before.
        slot.set_ending(Ending::Commit);
        let known = slot.last_known_transaction();
        // The driver's own transaction is open whatever is known; text may say `commit` to no transaction at all.
        let is_open = self.method == Method::Commit
            || matches!(known, TransactionState::InTransaction | TransactionState::Failed);
        self.commits_open.store(is_open, Ordering::Relaxed);
        let asks = self.method == Method::Commit
            || self.sql().is_some_and(|sql| lexer::ends_in_commit(D::ENGINE, sql));
        self.asks_to_commit.store(asks, Ordering::Relaxed);
    }

    /// What it may leave behind in the session.
    fn session_change(&self) -> SessionChange {
        match (self.method, self.sql()) {
            (Method::Listen | Method::Reset, _) => SessionChange::Resettable,
            (
                Method::Query
                | Method::QueryStream
                | Method::Execute
                | Method::BatchExecute
                | Method::SimpleQuery
                | Method::CopyIn
                | Method::CopyOut,
                sql,
            ) => sql.map_or(SessionChange::Resettable, |sql| lexer::session_change(D::ENGINE, sql)),
            // A portal is bound to a text first.
            (Method::Portal, sql) => {
                sql.map_or(SessionChange::None, |sql| lexer::session_change(D::ENGINE, sql))
            }
            (
                Method::Prepare
                | Method::Begin
                | Method::Commit
                | Method::Rollback
                | Method::Savepoint
                | Method::Ping,
                _,
            ) => SessionChange::None,
        }
    }

    /// What makes it the same call as another one: its method and text. Parameters are not known here.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.method as u8, self.sql()).hash(&mut hasher);
        hasher.finish()
    }

    /// Whether the server was asked by name to keep a transaction. Its answer has to be looked at then.
    #[inline]
    pub fn asks_to_commit(&self) -> bool {
        self.asks_to_commit.load(Ordering::Relaxed)
    }

    /// The result of the exchange on `slot`: one that went well although the server answered the commit by rolling back is
    /// an error.
    ///
    /// # Errors
    /// Those of `result`, and [`ErrorKind::RolledBack`].
    #[inline]
    pub fn kept<T>(&self, slot: &Slot, result: Result<T>) -> Result<T> {
        match result {
            Ok(_) if self.asks_to_commit() => refused(slot).map_or(result, Err),
            result => result,
        }
    }

    /// Whether it went out to commit a transaction that was open by then.
    pub(crate) fn commits_open(&self) -> bool {
        self.commits_open.load(Ordering::Relaxed)
    }

    /// Whether it can end an open transaction by committing it.
    fn may_commit(&self) -> bool {
        match self.method {
            Method::Commit => true,
            Method::Query | Method::QueryStream | Method::Execute => {
                self.sql().is_some_and(|sql| lexer::one_may_commit_open(D::ENGINE, sql))
            }
            Method::BatchExecute | Method::SimpleQuery => {
                self.sql().is_some_and(|sql| lexer::may_commit_open(D::ENGINE, sql))
            }
            _ => false,
        }
    }

    /// What the failure of this call means for the transaction on its connection, as far as that is known now.
    pub(crate) fn with_fate(&self, error: Error) -> Error {
        // The server has said it, whatever became of the connection since.
        if error.kind() == ErrorKind::RolledBack {
            return error;
        }
        let Some(slot) = self.current_slot().filter(|_| self.used.load(Ordering::Relaxed) != 0) else {
            return error;
        };
        let is_lost = slot.has_ended()
            || matches!(
                error.kind(),
                ErrorKind::Driver(DriverClass::Network | DriverClass::SessionTerminated)
                    | ErrorKind::HostUnavailable
            );
        if is_lost {
            let may_have_run = error.statement_may_have_run();
            let (was_open, may_be_committed) =
                self.lost_work(&slot, slot.last_known_transaction(), may_have_run);
            return error.with_connection_lost(match (was_open, may_be_committed) {
                (_, true) => TransactionOutcome::Unknown,
                (true, false) => TransactionOutcome::RolledBack,
                (false, false) => TransactionOutcome::NotInTransaction,
            });
        }
        match error.kind() {
            // The answer was not waited for.
            ErrorKind::Timeout(Phase::Call) if self.commits_open() => {
                error.with_outcome(TransactionOutcome::Unknown)
            }
            // A commit that the server refuses ends the transaction.
            ErrorKind::Driver(_) if error.is_from_server() && self.was_refused_on(&slot) => {
                error.with_outcome(TransactionOutcome::RolledBack)
            }
            _ => error,
        }
    }

    /// Whether the server's error ended the transaction that the call was to commit. A text that is nothing but a commit may
    /// also have failed before: then the transaction is still there.
    fn was_refused_on(&self, slot: &Slot) -> bool {
        self.method == Method::Commit
            || (self.asks_to_commit()
                && self.commits_open()
                && self.sql().is_some_and(lexer::is_surely_one)
                && slot.transaction() == TransactionState::Idle)
    }

    /// Whether a transaction was open on the `lost` connection, and whether it, or this call, may have been committed.
    /// `known` is the last state that the server reported.
    pub(crate) fn lost_work(&self, lost: &Slot, known: TransactionState, may_have_run: bool) -> (bool, bool) {
        let commits = may_have_run && self.commits_open();
        // The state may have come with the answer to a commit that never got it.
        let was_open = commits || matches!(known, TransactionState::InTransaction | TransactionState::Failed);
        let may_be_committed = match lost.ending() {
            Some(Ending::Commit) => true,
            // The rollback went first, so this call ran outside of any transaction.
            Some(Ending::Rollback) => {
                may_have_run && !matches!(self.method, Method::Begin | Method::Rollback)
            }
            None => may_have_run && self.sql().is_some_and(|sql| lexer::may_commit(D::ENGINE, sql)),
        };
        (was_open, was_open && (commits || may_be_committed))
    }

    /// The newest connection behind the logical one, if the call used it; `None` when it was replaced meanwhile.
    pub fn current_slot(&self) -> Option<Arc<Slot>> {
        let newest = self.logical.newest();
        let used = self.used.load(Ordering::Relaxed);
        (used == 0 || used == newest.id()).then_some(newest)
    }
}

/// The error of a commit that `slot` says was answered by a rollback.
#[cold]
fn refused(slot: &Slot) -> Option<Error> {
    let cause = || slot.take_failure().map(TransactionFailure::into_error);
    (slot.answered_ending() == Some(Ending::Rollback))
        .then(|| Error::rolled_back(cause()).with_host(slot.host()))
}
