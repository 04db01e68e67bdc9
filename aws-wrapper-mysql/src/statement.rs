//! Statements that survive the replacement of the connection they were prepared on.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Weak};

use aws_wrapper_core::registry::Slot;
use mysql_async::{Column, Conn};

use crate::physical::Physical;

/// A prepared statement. Cheap to clone.
///
/// It is logical, its SQL: on a connection that does not know it yet it is prepared again by itself, once. So it is when
/// the driver's cache of statements ([`stmt_cache_size`](mysql_async::Opts::stmt_cache_size)) or the server has forgotten
/// it.
#[derive(Clone)]
pub struct Statement(Arc<Logical>);

struct Logical {
    sql: String,
    /// As it was prepared first; its columns and parameters are shown.
    first: mysql_async::Statement,
    first_on: Binding,
}

/// A connection as it was when a statement was prepared on it.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    slot: Weak<Slot>,
    /// The server forgets all statements when a connection is reset.
    generation: u32,
}

impl Binding {
    pub(crate) fn of(physical: &Physical) -> Self {
        Self { slot: Arc::downgrade(physical.slot()), generation: physical.generation }
    }

    fn is(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.slot, &other.slot) && self.generation == other.generation
    }
}

impl Statement {
    /// Prepares `sql`.
    pub(crate) async fn prepare(
        conn: &mut Conn,
        first_on: Binding,
        sql: String,
    ) -> mysql_async::Result<Self> {
        let first = mysql_async::prelude::Queryable::prep(conn, sql.as_str()).await?;
        Ok(Self(Arc::new(Logical { sql, first, first_on })))
    }

    /// The text, with its named parameters.
    pub fn sql(&self) -> &str {
        &self.0.sql
    }

    /// The columns of the result, as they were when it was prepared first.
    pub fn columns(&self) -> Arc<[Column]> {
        self.0.first.columns()
    }

    /// The parameters.
    pub fn params(&self) -> &[Column] {
        self.0.first.params()
    }

    /// How many parameters it takes.
    pub fn num_params(&self) -> u16 {
        self.0.first.num_params()
    }

    /// The driver's statement, if it was prepared on the connection `on`.
    pub(crate) fn known_on(&self, on: &Binding) -> Option<&mysql_async::Statement> {
        self.0.first_on.is(on).then_some(&self.0.first)
    }
}

impl fmt::Debug for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Statement")
            .field("sql", &self.0.sql)
            .field("num_params", &self.num_params())
            .finish_non_exhaustive()
    }
}

/// What can be executed: SQL text, or a statement of the wrapper's or the driver's.
///
/// A statement of the driver's own runs only on the connection that made it. Sealed: cannot be implemented outside.
pub trait ToStatement: sealed::Sealed + Send + Sync {
    #[doc(hidden)]
    fn kind(&self) -> Kind<'_>;
}

mod sealed {
    #[expect(unnameable_types, reason = "that is what seals the trait")]
    pub trait Sealed {}
}

/// What a [`ToStatement`] is.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "not for use outside")]
pub enum Kind<'a> {
    Sql(&'a str),
    Bytes(&'a [u8]),
    Statement(&'a Statement),
    Driver(&'a mysql_async::Statement),
}

impl<'a> Kind<'a> {
    /// The text, where it is known.
    pub(crate) fn sql(self) -> Option<Cow<'a, str>> {
        match self {
            Kind::Sql(sql) => Some(Cow::Borrowed(sql)),
            Kind::Bytes(bytes) => Some(String::from_utf8_lossy(bytes)),
            Kind::Statement(statement) => Some(Cow::Borrowed(statement.sql())),
            Kind::Driver(_) => None,
        }
    }
}

macro_rules! to_statement {
    ($($kind:ident: $($type:ty),+;)+) => {
        $($(
            impl sealed::Sealed for $type {}
            impl ToStatement for $type {
                fn kind(&self) -> Kind<'_> {
                    Kind::$kind(self)
                }
            }
        )+)+
    };
}

to_statement! {
    Sql: &str, String, Box<str>, Arc<str>, Cow<'_, str>;
    Bytes: &[u8], Vec<u8>, Box<[u8]>, Arc<[u8]>, Cow<'_, [u8]>;
    Statement: Statement;
    Driver: mysql_async::Statement;
}

impl<T: ToStatement> sealed::Sealed for &T {}
impl<T: ToStatement> ToStatement for &T {
    fn kind(&self) -> Kind<'_> {
        (**self).kind()
    }
}

/// The server does not know a statement of that number.
const UNKNOWN_STATEMENT: u16 = 1243;

/// Whether the server has forgotten the statement; nothing was executed then.
///
/// The same number comes from inside a procedure that executes a statement nobody prepared. The text tells, in whatever
/// language: it names the statement in parentheses, and the server's function for the protocol's commands, such as
/// `mysql_stmt_precheck` or `mysqld_stmt_execute`, or else the command in SQL.
pub(crate) fn is_forgotten(error: &mysql_async::Error) -> bool {
    let mysql_async::Error::Server(server) = error else { return false };
    let names_function = |text: &str| text.contains("_stmt_");
    server.code == UNKNOWN_STATEMENT
        && match (server.message.split_once('('), server.message.rsplit_once(')')) {
            (Some((before, _)), Some((_, after))) => names_function(before) || names_function(after),
            _ => false,
        }
}

/// Awaits `$exchange` with the driver's form of a statement: `$driver` is bound to something it accepts, `$params` to
/// the parameters.
///
/// A statement that the server has forgotten is prepared again through the driver's cache of texts, which also serves
/// connections that never knew it.
macro_rules! with_statement {
    ($kind:expr, $binding:expr, $params:ident, |$driver:ident| $exchange:expr) => {
        match $kind {
            Kind::Sql($driver) => $exchange.await,
            Kind::Bytes($driver) => $exchange.await,
            Kind::Driver($driver) => $exchange.await,
            Kind::Statement(statement) => match statement.known_on($binding) {
                Some($driver) => {
                    let again = $params.clone();
                    match $exchange.await {
                        Err(error) if is_forgotten(&error) => {
                            let ($driver, $params) = (statement.sql(), again);
                            $exchange.await
                        }
                        result => result,
                    }
                }
                None => {
                    let $driver = statement.sql();
                    $exchange.await
                }
            },
        }
    };
}
pub(crate) use with_statement;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_protocols_own_miss_is_a_forgotten_statement() {
        let missed = |code, message: &str| {
            let (message, state) = (message.to_owned(), "HY000".to_owned());
            is_forgotten(&mysql_async::Error::Server(mysql_async::ServerError { code, message, state }))
        };
        assert!(missed(1243, "Unknown prepared statement handler (7) given to mysqld_stmt_execute"));
        assert!(missed(1243, "Unknown prepared statement handler (7) given to mysql_stmt_precheck"));
        assert!(!missed(1243, "Unknown prepared statement handler (my_stmt_1) given to EXECUTE"));
        assert!(!missed(1243, "Unknown prepared statement handler (a) given to DEALLOCATE PREPARE"));
        assert!(!missed(1064, "(7) mysqld_stmt_execute"));
    }
}
