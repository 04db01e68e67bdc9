//! Statements that survive the replacement of the connection they were prepared on.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_wrapper_core::driver::Family;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::lexer;
use aws_wrapper_core::session::transaction::TransactionState;
use parking_lot::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column};

/// A prepared statement. Cheap to clone.
///
/// It is logical, its SQL and types: on a connection that does not know it yet it is prepared again by itself, once. So
/// it is, outside of transactions, when a table it reads was altered or the server has forgotten it.
#[derive(Clone)]
pub struct Statement(Arc<Logical>);

struct Logical {
    sql: String,
    /// The parameter types that were asked for, as far as they mean the same on every server.
    types: Box<[Type]>,
    /// As it was prepared first; stays alive, so parameters and columns can be borrowed from it.
    first: tokio_postgres::Statement,
    /// The connection it was prepared on, known by its slot; nothing for a client that is not the wrapper's.
    first_on: Option<Weak<Slot>>,
    /// Whether the server has forgotten `first` or refuses to run it any more.
    first_is_stale: AtomicBool,
    /// Of text and types.
    hash: u64,
}

impl Statement {
    /// Prepares `sql` on the connection with the slot `on`, if it is one of the wrapper's.
    pub(crate) async fn prepare(
        client: &Client,
        on: Option<&Arc<Slot>>,
        sql: &str,
        types: &[Type],
    ) -> Result<Self, tokio_postgres::Error> {
        let first = client.prepare_typed(sql, types).await?;
        // The number of a type that is not built in belongs to one database. The server infers what is left out.
        let types: Box<[Type]> =
            types.iter().take_while(|type_| Type::from_oid(type_.oid()).is_some()).cloned().collect();
        let mut hasher = DefaultHasher::new();
        (sql, &types).hash(&mut hasher);
        let hash = hasher.finish();
        let first_on = on.map(Arc::downgrade);
        Ok(Self(Arc::new(Logical {
            sql: sql.to_owned(),
            types,
            first,
            first_on,
            first_is_stale: AtomicBool::new(false),
            hash,
        })))
    }

    /// The types of the parameters.
    pub fn params(&self) -> &[Type] {
        self.0.first.params()
    }

    /// The columns of the result, as they were when it was prepared first.
    pub fn columns(&self) -> &[Column] {
        self.0.first.columns()
    }

    /// The text.
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    fn has_text_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.sql == other.0.sql && self.0.types == other.0.types)
    }

    /// The driver's statement for a connection; prepared there if need be.
    pub(crate) async fn on(
        &self,
        client: &Client,
        slot: &Arc<Slot>,
        known: &Statements,
    ) -> Result<Cow<'_, tokio_postgres::Statement>, tokio_postgres::Error> {
        if self.is_first_on(slot) && !self.0.first_is_stale.load(Ordering::Relaxed) {
            // The common case: nothing is counted up and down, the driver does that once itself.
            return Ok(Cow::Borrowed(&self.0.first));
        }
        if let Some(statement) = known.find(self) {
            return Ok(Cow::Owned(statement));
        }
        let statement = Box::pin(client.prepare_typed(&self.0.sql, &self.0.types)).await?;
        known.insert(self, &statement);
        Ok(Cow::Owned(statement))
    }

    fn is_first_on(&self, slot: &Arc<Slot>) -> bool {
        self.0.first_on.as_ref().is_some_and(|first| std::ptr::eq(first.as_ptr(), Arc::as_ptr(slot)))
    }

    /// Whether executing it failed only because the server has forgotten it, or because a table has changed since; then
    /// it is forgotten here too, and executing it once more prepares it again.
    ///
    /// Nothing was executed in that case. Inside a transaction it is too late: the transaction has failed. And the error
    /// may come from inside a procedure, which may have committed before: that is never repeated.
    pub(crate) async fn is_stale(
        &self,
        error: &tokio_postgres::Error,
        slot: &Arc<Slot>,
        known: &Statements,
    ) -> bool {
        if !is_about_staleness(error) || lexer::may_commit(Family::Postgres, self.sql()) {
            return false;
        }
        if slot.settled(SETTLE_LIMIT).await != TransactionState::Idle {
            return false;
        }
        if self.is_first_on(slot) {
            self.0.first_is_stale.store(true, Ordering::Relaxed);
        }
        known.forget(self);
        true
    }

    /// For a client that is not the wrapper's: the driver's statement if one of those made it.
    pub(crate) async fn on_foreign(
        &self,
        client: &Client,
    ) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        if self.0.first_on.is_none() {
            return Ok(self.0.first.clone());
        }
        client.prepare_typed(&self.0.sql, &self.0.types).await
    }
}

/// The state after an error comes right behind the error.
const SETTLE_LIMIT: Duration = Duration::from_secs(1);

fn is_about_staleness(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else { return false };
    // The text of the second one is translated; the place in the server's source is not.
    *db.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        || (*db.code() == SqlState::FEATURE_NOT_SUPPORTED && db.routine() == Some("RevalidateCachedQuery"))
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.0.sql)
            .field("params", &self.params())
            .finish_non_exhaustive()
    }
}

/// The logical statements a physical connection has been taught, at most [`Statements::LIMIT`].
#[derive(Debug, Default)]
pub(crate) struct Statements(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// By the hash of text and types: two statements of the same text share one on the server.
    by_hash: HashMap<u64, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    logical: Statement,
    prepared: tokio_postgres::Statement,
    used: u64,
}

impl Statements {
    const LIMIT: usize = 256;

    fn find(&self, statement: &Statement) -> Option<tokio_postgres::Statement> {
        let mut known = self.0.lock();
        known.clock += 1;
        let now = known.clock;
        let entry =
            known.by_hash.get_mut(&statement.0.hash).filter(|entry| entry.logical.has_text_of(statement))?;
        entry.used = now;
        Some(entry.prepared.clone())
    }

    fn forget(&self, statement: &Statement) {
        let forgotten = self.0.lock().by_hash.remove(&statement.0.hash);
        drop(forgotten);
    }

    fn insert(&self, statement: &Statement, prepared: &tokio_postgres::Statement) {
        let dropped = {
            let mut known = self.0.lock();
            known.clock += 1;
            let entry = Entry { logical: statement.clone(), prepared: prepared.clone(), used: known.clock };
            let replaced = known.by_hash.insert(statement.0.hash, entry);
            // Looking at all of them is nothing beside the round trip that preceded.
            let oldest = known.by_hash.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| *hash);
            let evicted = oldest
                .filter(|_| known.by_hash.len() > Self::LIMIT)
                .and_then(|hash| known.by_hash.remove(&hash));
            (replaced, evicted)
        };
        // Dropping a statement sends a message: not under the lock.
        drop(dropped);
    }
}

/// What can be executed: SQL text, or a statement of the wrapper's or the driver's.
///
/// A statement of the driver's own runs only on the connection that made it. Sealed: cannot be implemented outside.
pub trait ToStatement: sealed::Sealed {
    #[doc(hidden)]
    fn kind(&self) -> Kind<'_>;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}

    impl Sealed for str {}
    impl Sealed for String {}
    impl Sealed for super::Statement {}
    impl Sealed for tokio_postgres::Statement {}
}

/// What a [`ToStatement`] is.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "not for use outside")]
pub enum Kind<'a> {
    Sql(&'a str),
    Statement(&'a Statement),
    Driver(&'a tokio_postgres::Statement),
}

impl<'a> Kind<'a> {
    /// The text, where it is known.
    pub(crate) fn sql(self) -> Option<&'a str> {
        match self {
            Kind::Sql(sql) => Some(sql),
            Kind::Statement(statement) => Some(statement.sql()),
            Kind::Driver(_) => None,
        }
    }
}

impl ToStatement for str {
    fn kind(&self) -> Kind<'_> {
        Kind::Sql(self)
    }
}

impl ToStatement for String {
    fn kind(&self) -> Kind<'_> {
        Kind::Sql(self)
    }
}

impl ToStatement for Statement {
    fn kind(&self) -> Kind<'_> {
        Kind::Statement(self)
    }
}

impl ToStatement for tokio_postgres::Statement {
    fn kind(&self) -> Kind<'_> {
        Kind::Driver(self)
    }
}

/// Runs `$exchange` with the driver's form of `$statement`: `$driver` is bound to something it accepts.
macro_rules! with_statement {
    ($statement:expr, $client:expr, $slot:expr, $known:expr, |$driver:ident| $exchange:expr) => {
        match $statement {
            Kind::Sql($driver) => $exchange,
            Kind::Driver($driver) => $exchange,
            Kind::Statement(statement) => match statement.on($client, $slot, $known).await {
                Ok(statement) => {
                    let $driver: &tokio_postgres::Statement = &statement;
                    $exchange
                }
                Err(error) => Err(error),
            },
        }
    };
}
pub(crate) use with_statement;

/// As [`with_statement`], and once more if the statement turned out to be stale. What `$exchange` takes is borrowed.
macro_rules! with_fresh_statement {
    ($statement:expr, $client:expr, $slot:expr, $known:expr, |$driver:ident| $exchange:expr) => {
        match $statement {
            Kind::Sql($driver) => $exchange,
            Kind::Driver($driver) => $exchange,
            Kind::Statement(statement) => {
                let mut is_first_try = true;
                loop {
                    let result = match statement.on($client, $slot, $known).await {
                        Ok(statement) => {
                            let $driver: &tokio_postgres::Statement = &statement;
                            $exchange
                        }
                        Err(error) => Err(error),
                    };
                    match result {
                        Err(error) if is_first_try => {
                            if !Box::pin(statement.is_stale(&error, $slot, $known)).await {
                                break Err(error);
                            }
                            is_first_try = false;
                        }
                        result => break result,
                    }
                }
            }
        }
    };
}
pub(crate) use with_fresh_statement;
