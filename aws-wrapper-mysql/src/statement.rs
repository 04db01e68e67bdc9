//! Statements that survive the replacement of the connection they were prepared on.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::engine::Engine;
use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::plugin::Text;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::StatementKind;
use aws_wrapper_core::session::lexer;
use mysql_async::prelude::Queryable;
use mysql_async::{Column, Conn};

use crate::physical::Physical;

/// A prepared statement. Cheap to clone.
///
/// It is logical, its SQL: on a connection that does not know it yet it is prepared again by itself, once. So it is when
/// the driver's cache of statements ([`stmt_cache_size`](mysql_async::Opts::stmt_cache_size)) or the server has forgotten
/// it, in a transaction, too.
#[derive(Clone)]
pub struct Statement(Arc<Logical>);

struct Logical {
    sql: String,
    /// As it was prepared first; its columns and parameters are shown.
    first: mysql_async::Statement,
    first_on: Binding,
    /// The server does not know it there any more.
    is_forgotten: AtomicBool,
    /// What it is for, once a plugin has asked.
    purpose: OnceLock<StatementKind>,
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

    pub(crate) fn is(&self, other: &Self) -> bool {
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
        let first = conn.prep(sql.as_str()).await?;
        Ok(Self(Arc::new(Logical {
            sql,
            first,
            first_on,
            is_forgotten: AtomicBool::new(false),
            purpose: OnceLock::new(),
        })))
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
        let is_known = !self.0.is_forgotten.load(Ordering::Relaxed) && self.0.first_on.is(on);
        is_known.then_some(&self.0.first)
    }

    /// From now on it is prepared by its text on the connection on which it was prepared first, too.
    pub(crate) fn forget_first(&self) {
        self.0.is_forgotten.store(true, Ordering::Relaxed);
    }

    /// The server does not know it, or not as it is: it is prepared anew the next time.
    pub(crate) async fn forget(&self, conn: &mut Conn, on: &Binding) -> mysql_async::Result<()> {
        if let Some(first) = self.known_on(on) {
            self.forget_first();
            return conn.close(first.clone()).await;
        }
        // It is in the driver's cache, by its text.
        let cached = conn.prep(self.sql()).await?;
        conn.close(cached).await
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
/// A statement of the driver's own runs only on the connection that made it: see [`Conn`](crate::Conn). Sealed: cannot be
/// implemented outside.
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
    /// The text, as a call has it.
    #[inline]
    pub(crate) fn text<'t>(self, sql: Option<&'t str>) -> Text<'t>
    where
        'a: 't,
    {
        match self {
            Kind::Statement(statement) => Text::of_statement(statement.sql(), &statement.0.purpose),
            _ => sql.into(),
        }
    }

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

/// A table or view has changed too often while the statement was about to run.
const TO_BE_PREPARED_AGAIN: u16 = 1615;

/// Whether the statement `sql` has to be prepared again, and nothing was executed. A procedure may have said so in the middle
/// of its work.
pub(crate) fn is_stale(error: &mysql_async::Error, sql: &str) -> bool {
    is_forgotten(error) || (is_outdated(error) && lexer::is_one_plain(Engine::MySql, sql))
}

fn is_outdated(error: &mysql_async::Error) -> bool {
    matches!(error, mysql_async::Error::Server(server) if server.code == TO_BE_PREPARED_AGAIN)
}

/// Awaits `$exchange` on `$conn` with the driver's form of a statement: `$form` is bound to something it accepts, `$params`
/// to the parameters.
///
/// A statement that the server has forgotten is prepared again through the driver's cache of texts, which also serves
/// connections that never knew it. In a transaction, too: MySQL goes on with it.
macro_rules! with_statement {
    ($kind:expr, $binding:expr, $params:ident, $conn:ident, |$form:ident| $exchange:expr) => {
        match $kind {
            Kind::Sql($form) => $exchange.await,
            Kind::Bytes($form) => $exchange.await,
            Kind::Driver($form) => $exchange.await,
            Kind::Statement(statement) => {
                let again = $params.clone();
                let result = match statement.known_on($binding) {
                    Some($form) => $exchange.await,
                    None => {
                        let $form = statement.sql();
                        $exchange.await
                    }
                };
                match result {
                    Err(error) if is_stale(&error, statement.sql()) => {
                        statement.forget($conn, $binding).await?;
                        let ($form, $params) = (statement.sql(), again);
                        $exchange.await
                    }
                    result => result,
                }
            }
        }
    };
}
pub(crate) use with_statement;

/// Whether `S`, which is generic code's, is a statement of the driver's own: a number of one connection.
pub(crate) fn is_number<S>() -> bool {
    std::any::type_name::<S>().trim_start_matches('&') == std::any::type_name::<mysql_async::Statement>()
}

/// The error of a statement of the driver's own on a connection that refuses all of them.
#[cold]
pub(crate) fn refused_number(slot: &Slot) -> CoreError {
    const TEXT: &str = "a statement that the driver's trait prepared belongs to one connection, which has been replaced; here \
                        it could stand for another one: use text, the wrapper's own `prep`, or a new connection";
    CoreError::new(ErrorKind::ConnectionSwitched, TEXT).with_nothing_sent().with_host(slot.host())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The compiler does not promise what a type's name looks like.
    #[test]
    fn a_statement_of_the_drivers_own_is_known_by_its_type() {
        assert!(is_number::<mysql_async::Statement>());
        assert!(is_number::<&mysql_async::Statement>());
        assert!(is_number::<&&mysql_async::Statement>());
        assert!(!is_number::<&str>() && !is_number::<String>() && !is_number::<&String>());
        assert!(!is_number::<Vec<u8>>() && !is_number::<Cow<'_, str>>() && !is_number::<Arc<str>>());
    }

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
