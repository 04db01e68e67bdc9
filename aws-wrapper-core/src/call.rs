//! What a hook may know about the running call.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use crate::connection::Logical;
use crate::driver::DriverDialect;
use crate::error::Result;
use crate::method::Method;
use crate::registry::{Ending, Slot};
use crate::session::lexer;
use crate::session::transaction::TransactionState;
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
        let (logical, ask) = (Held::Shared(logical), Held::Shared(ask));
        Self {
            method,
            sql: sql.map(Cow::Owned),
            logical,
            ask,
            used: AtomicU64::new(0),
            commits_open: AtomicBool::new(false),
        }
    }
}

impl<'a, D: DriverDialect> Call<'a, D> {
    /// A call of `method`; `sql` is its text when it has one.
    pub fn new(method: Method, sql: Option<&'a str>, logical: &'a Logical<D>, ask: &'a dyn Ask) -> Self {
        let (sql, logical, ask) = (sql.map(Cow::Borrowed), Held::Borrowed(logical), Held::Borrowed(ask));
        Self { method, sql, logical, ask, used: AtomicU64::new(0), commits_open: AtomicBool::new(false) }
    }

    /// Which call it is.
    pub fn method(&self) -> Method {
        self.method
    }

    /// The statement, where the call has its text.
    pub fn sql(&self) -> Option<&str> {
        self.sql.as_deref()
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
            // Here and not when it fails: other calls fail with it, and it may be dropped before.
            slot.set_ending(Ending::Commit);
            let known = slot.last_known_transaction();
            // The driver's own transaction is open whatever is known; text may say `commit` to no transaction at all.
            let is_open = self.method == Method::Commit
                || matches!(known, TransactionState::InTransaction | TransactionState::Failed);
            self.commits_open.store(is_open, Ordering::Relaxed);
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
                self.sql().is_some_and(|sql| lexer::one_may_commit_open(D::FAMILY, sql))
            }
            Method::BatchExecute | Method::SimpleQuery => {
                self.sql().is_some_and(|sql| lexer::may_commit_open(D::FAMILY, sql))
            }
            _ => false,
        }
    }

    /// The newest connection behind the logical one, if the call used it; `None` when it was replaced meanwhile.
    pub fn current_slot(&self) -> Option<Arc<Slot>> {
        let newest = self.logical.newest();
        let used = self.used.load(Ordering::Relaxed);
        (used == 0 || used == newest.id()).then_some(newest)
    }
}
