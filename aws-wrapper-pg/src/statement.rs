//! Statements that survive the replacement of the connection they were prepared on.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use aws_wrapper_core::plugin::Text;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::StatementKind;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Column};

use crate::stale::{Verdict, is_about_staleness, verdict};
use crate::statements::Statements;

/// A prepared statement. Cheap to clone.
///
/// It is logical, its SQL and types: on a connection that does not know it yet it is prepared again by itself, once. So
/// it is when a table it reads was altered or the server has forgotten it, in whichever way it is executed: outside of
/// transactions in the same call, and in one, which has failed by then, the next time; the error advises to run the
/// transaction again.
#[derive(Clone)]
pub struct Statement(Arc<Logical>);

struct Logical {
    sql: String,
    /// The parameter types that were asked for, as far as they mean the same on every server.
    types: Box<[Type]>,
    /// As it was prepared first; stays alive, so parameters and columns can be borrowed from it.
    first: tokio_postgres::Statement,
    origin: Origin,
    /// Of text and types.
    hash: u64,
    /// What it is for, once a plugin has asked.
    purpose: OnceLock<StatementKind>,
}

/// Where a statement was prepared first.
enum Origin {
    /// On a connection of the wrapper's, known by its slot, in this era of it.
    Ours { slot: Weak<Slot>, era: u64 },
    /// On a client that is not the wrapper's.
    Foreign { is_stale: AtomicBool },
}

/// The driver's statement for a connection.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    statement: Cow<'a, tokio_postgres::Statement>,
    /// Whether it was prepared just now: then it cannot be out of date.
    is_fresh: bool,
}

impl Deref for Found<'_> {
    type Target = tokio_postgres::Statement;

    fn deref(&self) -> &tokio_postgres::Statement {
        &self.statement
    }
}

impl Statement {
    /// Prepares `sql` on the connection with the slot and the statements `on`, if it is one of the wrapper's.
    pub(crate) async fn prepare(
        client: &Client,
        on: Option<(&Arc<Slot>, &Statements)>,
        sql: &str,
        types: &[Type],
    ) -> Result<Self, tokio_postgres::Error> {
        let origin = match on {
            // Before it is prepared: what is forgotten meanwhile may be this one.
            Some((slot, known)) => Origin::Ours { slot: Arc::downgrade(slot), era: known.era() },
            None => Origin::Foreign { is_stale: AtomicBool::new(false) },
        };
        let first = client.prepare_typed(sql, types).await?;
        // The number of a type that is not built in belongs to one database. The server infers what is left out.
        let types: Box<[Type]> =
            types.iter().take_while(|type_| Type::from_oid(type_.oid()).is_some()).cloned().collect();
        let mut hasher = DefaultHasher::new();
        (sql, &types).hash(&mut hasher);
        let hash = hasher.finish();
        Ok(Self(Arc::new(Logical {
            sql: sql.to_owned(),
            types,
            first,
            origin,
            hash,
            purpose: OnceLock::new(),
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

    pub(crate) fn has_text_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.sql == other.0.sql && self.0.types == other.0.types)
    }

    /// Of text and types.
    pub(crate) fn hash(&self) -> u64 {
        self.0.hash
    }

    /// The driver's statement for a connection; prepared there if need be.
    pub(crate) async fn on(
        &self,
        client: &Client,
        slot: &Arc<Slot>,
        known: &Statements,
    ) -> Result<Found<'_>, tokio_postgres::Error> {
        if self.is_first_on(slot, known) {
            // The common case: nothing is counted up and down, the driver does that once itself.
            return Ok(Found { statement: Cow::Borrowed(&self.0.first), is_fresh: false });
        }
        if let Some(statement) = known.find(self) {
            return Ok(Found { statement: Cow::Owned(statement), is_fresh: false });
        }
        let statement = Box::pin(client.prepare_typed(&self.0.sql, &self.0.types)).await?;
        known.insert(self, &statement);
        Ok(Found { statement: Cow::Owned(statement), is_fresh: true })
    }

    fn is_first_on(&self, on: &Arc<Slot>, known: &Statements) -> bool {
        match &self.0.origin {
            Origin::Ours { slot, era } => std::ptr::eq(slot.as_ptr(), Arc::as_ptr(on)) && *era == known.era(),
            Origin::Foreign { .. } => false,
        }
    }

    /// What it means that executing `found`, this statement on the connection of `slot`, failed. What is out of date is
    /// forgotten at once, and all others of the connection with it: one command takes them together, and a transaction is
    /// not to find out of one in each run.
    ///
    /// One that is fresh is not out of date, whatever the error says: that ends the repetitions.
    pub(crate) async fn failed(
        &self,
        error: tokio_postgres::Error,
        found: Found<'_>,
        slot: &Arc<Slot>,
        known: &Statements,
    ) -> Verdict {
        if !is_about_staleness(&error) {
            return Verdict::Fail(error.into());
        }
        if found.is_fresh {
            known.forget(self);
            return Verdict::Fail(error.into());
        }
        known.forget_all();
        verdict(error, self.sql(), slot).await
    }

    /// For a client that is not the wrapper's: the driver's statement if one of those made it.
    pub(crate) async fn on_foreign(
        &self,
        client: &Client,
    ) -> Result<tokio_postgres::Statement, tokio_postgres::Error> {
        match &self.0.origin {
            Origin::Foreign { is_stale } if !is_stale.load(Ordering::Relaxed) => Ok(self.0.first.clone()),
            _ => client.prepare_typed(&self.0.sql, &self.0.types).await,
        }
    }

    /// Executing it on a client that is not the wrapper's failed: one that is out of date is prepared again next time.
    pub(crate) fn failed_on_foreign(&self, error: &tokio_postgres::Error) {
        if let (Origin::Foreign { is_stale }, true) = (&self.0.origin, is_about_staleness(error)) {
            is_stale.store(true, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.0.sql)
            .field("params", &self.params())
            .finish_non_exhaustive()
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
    /// The text, as a call has it.
    #[inline]
    pub(crate) fn text(self) -> Text<'a> {
        match self {
            Kind::Statement(statement) => Text::of_statement(statement.sql(), &statement.0.purpose),
            kind => kind.sql().into(),
        }
    }

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

/// Runs `$exchange` with the driver's form of `$statement`, once more if the statement turned out to be out of date and
/// nothing is lost by that. `$driver` is bound to something the driver accepts.
///
/// With `$given`, parameters that can be taken only once, `$params` is bound to what the driver accepts for them.
macro_rules! with_statement {
    ($statement:expr, $client:expr, $slot:expr, $known:expr, |$driver:ident| $exchange:expr) => {
        match $statement {
            Kind::Sql($driver) => match $exchange {
                Ok(value) => Ok(value),
                Err(error) => Err(Box::pin(text_failed(error, $client, $slot, $driver)).await),
            },
            Kind::Driver($driver) => $exchange.map_err(Failed::from),
            Kind::Statement(statement) => {
                let mut is_first_try = true;
                loop {
                    let found = match statement.on($client, $slot, $known).await {
                        Ok(found) => found,
                        Err(error) => break Err(prepare_failed(error, statement.sql())),
                    };
                    let $driver: &tokio_postgres::Statement = &found;
                    let error = match $exchange {
                        Ok(value) => break Ok(value),
                        Err(error) => error,
                    };
                    match Box::pin(statement.failed(error, found, $slot, $known)).await {
                        Verdict::Repeat(_) if is_first_try => is_first_try = false,
                        verdict => break Err(Failed::from(verdict)),
                    }
                }
            }
        }
    };
    ($statement:expr, $client:expr, $slot:expr, $known:expr, $given:expr, |$driver:ident, $params:ident| $exchange:expr) => {
        match $statement {
            Kind::Sql($driver) => {
                let $params = $given;
                match $exchange {
                    Ok(value) => Ok(value),
                    Err(error) => Err(Box::pin(text_failed(error, $client, $slot, $driver)).await),
                }
            }
            Kind::Driver($driver) => {
                let $params = $given;
                $exchange.map_err(Failed::from)
            }
            Kind::Statement(statement) => match statement.on($client, $slot, $known).await {
                Err(error) => Err(prepare_failed(error, statement.sql())),
                Ok(found) => {
                    let types = found.params().to_vec();
                    let encoded = encode($given, &types);
                    let (mut found, mut is_first_try) = (found, true);
                    loop {
                        let ($driver, $params): (&tokio_postgres::Statement, _) = (&found, encoded.iter());
                        let error = match $exchange {
                            Ok(value) => break Ok(value),
                            Err(error) => error,
                        };
                        match Box::pin(statement.failed(error, found, $slot, $known)).await {
                            Verdict::Repeat(error) if is_first_try => {
                                is_first_try = false;
                                found = match statement.on($client, $slot, $known).await {
                                    Ok(again) if again.params() == types => again,
                                    // What is encoded is for other types.
                                    Ok(_) => break Err(Failed::from(error)),
                                    Err(error) => break Err(prepare_failed(error, statement.sql())),
                                };
                            }
                            verdict => break Err(Failed::from(verdict)),
                        }
                    }
                }
            },
        }
    };
}
pub(crate) use with_statement;
