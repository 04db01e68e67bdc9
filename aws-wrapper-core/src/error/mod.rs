//! The one error type. Callers ask it questions; they never match on text.

mod kind;
mod report;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

pub use self::kind::{DriverClass, ErrorKind, FailoverOutcome, Phase, RetryAdvice, TransactionOutcome};
pub use self::report::FailoverReport;
use self::report::failover_message;
use crate::host::{HostKey, InvalidHost};
use crate::method::Method;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong in the wrapper or below it. One pointer wide.
///
/// Ask [`is_failover_success`](Self::is_failover_success), [`transaction_outcome`](Self::transaction_outcome) and
/// [`retry_advice`](Self::retry_advice) what to do next; the driver's own error is in the [`source`](StdError::source)
/// chain.
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    sqlstate: Option<Box<str>>,
    vendor_code: Option<u32>,
    host: Option<HostKey>,
    method: Option<Method>,
    plugin: Option<&'static str>,
    failover: Option<Box<FailoverReport>>,
    facts: Facts,
}

/// What is known of the call and its connection besides the error itself.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is known or not, apart from the others")]
struct Facts {
    /// The connection was found closed, or was never opened: nothing was sent.
    nothing_sent: bool,
    /// The connection is gone.
    connection_lost: bool,
    /// What became of the transaction with it.
    outcome: TransactionOutcome,
    /// The same call has ended its session twice in a row, on a host that is well.
    ends_sessions: bool,
    /// A prepared statement was out of date in a transaction; it has been forgotten.
    stale_statement: bool,
    /// A plugin leads connections out of the cluster: the next one would go there, too.
    misdirected: bool,
}

impl Facts {
    const NONE: Self = Self {
        nothing_sent: false,
        connection_lost: false,
        outcome: TransactionOutcome::NotInTransaction,
        ends_sessions: false,
        stale_statement: false,
        misdirected: false,
    };
}

/// So many characters of a wrong value are shown.
const LONGEST_SHOWN: usize = 200;

impl Error {
    /// An error of `kind` with a message for people.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            source: None,
            sqlstate: None,
            vendor_code: None,
            host: None,
            method: None,
            plugin: None,
            failover: None,
            facts: Facts::NONE,
        }))
    }

    /// A wrong value of a parameter: names it, the value (never pass a secret) and what is accepted.
    pub fn parameter(name: &str, value: &str, accepted: &str) -> Self {
        let shown: String = value.chars().take(LONGEST_SHOWN).collect();
        let rest = if shown.len() < value.len() { "…" } else { "" };
        Self::new(
            ErrorKind::Config,
            format!("parameter `{name}`: `{shown}{rest}` is not accepted; expected {accepted}"),
        )
    }

    /// A configuration mistake that is not one value: a missing or contradictory setting.
    pub fn config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// A driver's error of a known class; login errors get their own kind.
    pub fn driver(class: DriverClass, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let kind = if class == DriverClass::Login { ErrorKind::Login } else { ErrorKind::Driver(class) };
        let source = source.into();
        let mut error = Self::new(kind, source.to_string());
        error.0.source = Some(source);
        error
    }

    /// The end of a failover, with what the caller needs to go on.
    pub fn failover(outcome: FailoverOutcome, report: FailoverReport, cause: Self) -> Self {
        let mut error = Self::new(ErrorKind::Failover(outcome), failover_message(outcome, &report));
        error.0.host = report.new_host.clone().or_else(|| report.old_host.clone());
        error.0.method = cause.0.method;
        error.0.failover = Some(Box::new(report));
        error.0.source = Some(Box::new(cause));
        error
    }

    /// A commit that the server answered by rolling back; `cause` is what it said before, as far as that is known.
    pub fn rolled_back(cause: Option<Self>) -> Self {
        const TEXT: &str = "the server answered the commit by rolling the transaction back";
        let mut error = match cause {
            Some(cause) => {
                Self::new(ErrorKind::RolledBack, format!("{TEXT}, because of: {cause}")).with_source(cause)
            }
            None => Self::new(ErrorKind::RolledBack, TEXT),
        };
        error.0.facts.outcome = TransactionOutcome::RolledBack;
        error
    }

    /// Adds the error below this one.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds the five-character SQLSTATE the server sent.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: &str) -> Self {
        self.0.sqlstate = Some(sqlstate.into());
        self
    }

    /// Adds the server's own number for the error, where the product has such numbers.
    #[must_use]
    pub fn with_vendor_code(mut self, code: u32) -> Self {
        self.0.vendor_code = Some(code);
        self
    }

    /// Adds the host it happened on, unless one is known already.
    #[must_use]
    pub fn with_host(mut self, host: &HostKey) -> Self {
        self.0.host.get_or_insert_with(|| host.clone());
        self
    }

    /// Adds the call it happened in, unless one is known already.
    #[must_use]
    pub fn with_method(mut self, method: Method) -> Self {
        self.0.method.get_or_insert(method);
        self
    }

    /// Adds the plugin that raised it, unless one is known already.
    #[must_use]
    pub fn with_plugin(mut self, plugin: &'static str) -> Self {
        self.0.plugin.get_or_insert(plugin);
        self
    }

    /// Says that nothing was sent: the connection was found closed, or could not be opened.
    #[must_use]
    pub fn with_nothing_sent(mut self) -> Self {
        self.0.facts.nothing_sent = true;
        self
    }

    /// Says what became of the transaction.
    #[must_use]
    pub fn with_outcome(mut self, outcome: TransactionOutcome) -> Self {
        self.0.facts.outcome = outcome;
        self
    }

    /// Says that the connection is gone, and what became of the transaction with it.
    #[must_use]
    pub(crate) fn with_connection_lost(mut self, outcome: TransactionOutcome) -> Self {
        self.0.facts.connection_lost = true;
        self.0.facts.outcome = outcome;
        self
    }

    /// Says that the same call has ended its session twice in a row, on a host that is well.
    #[must_use]
    pub(crate) fn with_ends_sessions(mut self) -> Self {
        self.0.facts.ends_sessions = true;
        self
    }

    /// Says that a prepared statement was out of date in a transaction, which has failed with it; the statement has been
    /// forgotten, so the transaction can be run again.
    #[must_use]
    pub fn with_stale_statement(mut self) -> Self {
        self.0.facts.stale_statement = true;
        self
    }

    /// Says that a plugin has led the connection out of the cluster, so that repeating does not help.
    #[must_use]
    pub(crate) fn with_misdirected(mut self) -> Self {
        self.0.facts.misdirected = true;
        self
    }

    /// Whether a plugin has led the connection out of the cluster.
    pub(crate) fn is_misdirected(&self) -> bool {
        self.0.facts.misdirected
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the connection was lost and a new one is in place (with or without a transaction lost).
    pub fn is_failover_success(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::Failover(FailoverOutcome::Succeeded | FailoverOutcome::TransactionUnknown)
        )
    }

    /// What became of the transaction in which the error came, as far as it is known.
    ///
    /// Never claims that a commit happened.
    pub fn transaction_outcome(&self) -> TransactionOutcome {
        match &self.0.failover {
            Some(report) if report.commit_in_flight => TransactionOutcome::Unknown,
            Some(report) if report.was_in_transaction => TransactionOutcome::RolledBack,
            Some(_) => TransactionOutcome::NotInTransaction,
            None => self.0.facts.outcome,
        }
    }

    /// What the caller can do now.
    ///
    /// It says what to do, not whether that is harmless: before repeating a statement ask
    /// [`statement_may_have_run`](Self::statement_may_have_run).
    pub fn retry_advice(&self) -> RetryAdvice {
        if self.0.facts.ends_sessions || self.0.facts.misdirected {
            return RetryAdvice::DoNotRetry;
        }
        if self.transaction_outcome() == TransactionOutcome::Unknown {
            return RetryAdvice::CheckOutcome;
        }
        match self.0.kind {
            ErrorKind::Failover(FailoverOutcome::Succeeded) => RetryAdvice::RetryStatement,
            ErrorKind::Failover(FailoverOutcome::TransactionUnknown) => RetryAdvice::RetryTransaction,
            ErrorKind::Failover(FailoverOutcome::Failed)
            | ErrorKind::HostUnavailable
            | ErrorKind::Routing
            | ErrorKind::ConnectionSwitched
            | ErrorKind::Timeout(_)
            | ErrorKind::Driver(
                DriverClass::Network | DriverClass::Lookup | DriverClass::SessionTerminated,
            ) => RetryAdvice::Reconnect,
            ErrorKind::RolledBack if self.cause().is_some_and(Self::may_succeed_again) => {
                RetryAdvice::RetryTransaction
            }
            ErrorKind::Driver(DriverClass::Other) if self.may_succeed_again() => {
                RetryAdvice::RetryTransaction
            }
            ErrorKind::RolledBack
            | ErrorKind::Config
            | ErrorKind::PluginConflict
            | ErrorKind::Login
            | ErrorKind::SessionTransfer
            | ErrorKind::Unsupported
            | ErrorKind::Driver(
                DriverClass::Login | DriverClass::Role | DriverClass::Cancelled | DriverClass::Other,
            ) => RetryAdvice::DoNotRetry,
        }
    }

    /// Whether the logical connection can be used for the next call without reconnecting.
    pub fn connection_usable(&self) -> bool {
        if self.0.facts.connection_lost && self.0.failover.is_none() {
            return false;
        }
        match self.0.kind {
            ErrorKind::Failover(outcome) => outcome != FailoverOutcome::Failed,
            ErrorKind::Driver(class) => !matches!(
                class,
                DriverClass::Network
                    | DriverClass::Lookup
                    | DriverClass::Login
                    | DriverClass::SessionTerminated
            ),
            ErrorKind::Routing
            | ErrorKind::SessionTransfer
            | ErrorKind::ConnectionSwitched
            | ErrorKind::RolledBack
            | ErrorKind::Unsupported => true,
            ErrorKind::Config
            | ErrorKind::PluginConflict
            | ErrorKind::Login
            | ErrorKind::HostUnavailable
            | ErrorKind::Timeout(_) => false,
        }
    }

    /// Whether an established connection is gone and no other has taken its place. A failure to connect is none of this.
    pub fn is_connection_lost(&self) -> bool {
        match self.0.kind {
            ErrorKind::Failover(outcome) => outcome == FailoverOutcome::Failed,
            _ => self.0.facts.connection_lost,
        }
    }

    /// Whether the failed statement may have run: false only when it is known that nothing was sent.
    pub fn statement_may_have_run(&self) -> bool {
        match &self.0.failover {
            Some(report) => report.statement_may_have_run,
            None => {
                !self.0.facts.nothing_sent
                    && matches!(
                        self.0.kind,
                        ErrorKind::Driver(_) | ErrorKind::HostUnavailable | ErrorKind::Timeout(Phase::Call)
                    )
            }
        }
    }

    /// Whether the wrapper knows more than the driver's error below says: what became of a transaction, or that the same call
    /// ends its session each time.
    pub fn says_more_than_the_driver(&self) -> bool {
        let facts = &self.0.facts;
        !matches!(self.0.kind, ErrorKind::Driver(_) | ErrorKind::Login)
            || facts.outcome != TransactionOutcome::NotInTransaction
            || facts.ends_sessions
            || facts.stale_statement
    }

    /// The server's SQLSTATE, or the one of this outcome of a failover.
    pub fn sqlstate(&self) -> Option<&str> {
        match self.0.kind {
            ErrorKind::Failover(FailoverOutcome::Succeeded) => Some("08S02"),
            ErrorKind::Failover(FailoverOutcome::TransactionUnknown) => Some("08007"),
            ErrorKind::Failover(FailoverOutcome::Failed) => Some("08001"),
            ErrorKind::RolledBack => Some("40000"),
            _ => self.0.sqlstate.as_deref(),
        }
    }

    /// The server's own number for the error, such as MySQL's 1142, which says more than its SQLSTATE. PostgreSQL has none.
    pub fn vendor_code(&self) -> Option<u32> {
        self.0.vendor_code
    }

    /// Whether the server sent it: then it is alive, whatever it says.
    pub(crate) fn is_from_server(&self) -> bool {
        self.0.sqlstate.is_some() || self.0.vendor_code.is_some()
    }

    /// The host it happened on; after a successful failover, the new one.
    pub fn host(&self) -> Option<&HostKey> {
        self.0.host.as_ref()
    }

    /// The call it happened in.
    pub fn method(&self) -> Option<Method> {
        self.0.method
    }

    /// The plugin that raised it.
    pub fn plugin(&self) -> Option<&'static str> {
        self.0.plugin
    }

    /// What happened in the failover, if this is the end of one.
    pub fn failover_report(&self) -> Option<&FailoverReport> {
        self.0.failover.as_deref()
    }

    /// The class the driver's error was given, walking down to the first one that has a class.
    pub fn driver_class(&self) -> Option<DriverClass> {
        match self.0.kind {
            ErrorKind::Driver(class) => Some(class),
            ErrorKind::Login => Some(DriverClass::Login),
            _ => self.0.source.as_deref()?.downcast_ref::<Self>()?.driver_class(),
        }
    }

    /// The first error of type `E` in the source chain, such as the driver's own.
    pub fn find_source<E: StdError + 'static>(&self) -> Option<&E> {
        let mut next = self.source();
        while let Some(error) = next {
            if let Some(found) = error.downcast_ref::<E>() {
                return Some(found);
            }
            next = error.source();
        }
        None
    }

    /// The error right below this one, if it is of type `E`; else this one unchanged.
    ///
    /// # Errors
    /// This one, when the source is none or of another type.
    pub fn into_source<E: StdError + 'static>(mut self) -> Result<E> {
        match self.0.source.take().map(<dyn StdError + Send + Sync>::downcast::<E>) {
            Some(Ok(source)) => Ok(*source),
            Some(Err(source)) => {
                self.0.source = Some(source);
                Err(self)
            }
            None => Err(self),
        }
    }

    /// The wrapper's error right below this one.
    fn cause(&self) -> Option<&Self> {
        self.0.source.as_deref()?.downcast_ref()
    }

    /// Whether the same transaction, run again from its beginning, may get through.
    fn may_succeed_again(&self) -> bool {
        self.0.facts.stale_statement
            || matches!(self.sqlstate(), Some("40001" | "40P01"))
            || self.0.vendor_code.is_some_and(|code| LOST_RACES.contains(&code))
    }
}

/// Numbers of MySQL and MariaDB that have no SQLSTATE of their own: a lock that was waited for too long (1205; the
/// statement is undone, with `innodb_rollback_on_timeout` the transaction), and a record that another transaction has
/// changed (1020; since MariaDB 11.6 `InnoDB` rolls back with it, see `innodb_snapshot_isolation`).
const LOST_RACES: &[u32] = &[1020, 1205];

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        let mut out = f.debug_struct("Error");
        out.field("kind", &inner.kind).field("message", &inner.message);
        for (name, value) in [
            ("sqlstate", inner.sqlstate.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("vendor_code", inner.vendor_code.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("host", inner.host.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("method", inner.method.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("plugin", inner.plugin.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("failover", inner.failover.as_ref().map(|v| v as &dyn fmt::Debug)),
            ("source", inner.source.as_ref().map(|v| v as &dyn fmt::Debug)),
        ] {
            if let Some(value) = value {
                out.field(name, value);
            }
        }
        out.finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        f.write_str(&inner.message)?;
        if inner.failover.is_none() {
            if let Some(host) = &inner.host {
                write!(f, " (host {host})")?;
            }
        }
        if f.alternate() {
            let mut said = inner.message.to_string();
            let mut next = self.source();
            while let Some(error) = next {
                let text = error.to_string();
                // An error often lends its text to the one around it.
                if !said.contains(&text) {
                    write!(f, ": {text}")?;
                    said = text;
                }
                next = error.source();
            }
        }
        Ok(())
    }
}

impl From<InvalidHost> for Error {
    fn from(invalid: InvalidHost) -> Self {
        Self::parameter("host", invalid.text(), invalid.accepted())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_failover(outcome: FailoverOutcome, in_transaction: bool, commit: bool) -> Error {
        let report = FailoverReport {
            was_in_transaction: in_transaction,
            commit_in_flight: commit,
            statement_may_have_run: true,
            ..FailoverReport::default()
        };
        Error::failover(outcome, report, Error::driver(DriverClass::Network, "connection closed"))
    }

    #[test]
    fn it_is_one_pointer_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        fn is_send_sync<T: Send + Sync + 'static>() {}
        is_send_sync::<Error>();
    }

    #[test]
    fn the_three_outcomes_of_a_failover_answer_differently() {
        let ok = after_failover(FailoverOutcome::Succeeded, false, false);
        assert!(ok.is_failover_success() && ok.connection_usable() && !ok.is_connection_lost());
        assert_eq!(ok.retry_advice(), RetryAdvice::RetryStatement);
        assert_eq!(ok.transaction_outcome(), TransactionOutcome::NotInTransaction);
        assert_eq!(ok.sqlstate(), Some("08S02"));

        let lost = after_failover(FailoverOutcome::TransactionUnknown, true, false);
        assert_eq!(lost.transaction_outcome(), TransactionOutcome::RolledBack);
        assert_eq!(lost.retry_advice(), RetryAdvice::RetryTransaction);

        let commit = after_failover(FailoverOutcome::TransactionUnknown, true, true);
        assert_eq!(commit.transaction_outcome(), TransactionOutcome::Unknown);
        assert_eq!(commit.retry_advice(), RetryAdvice::CheckOutcome);

        let failed = after_failover(FailoverOutcome::Failed, false, false);
        assert!(!failed.is_failover_success() && !failed.connection_usable() && failed.is_connection_lost());
        assert_eq!(failed.retry_advice(), RetryAdvice::Reconnect);
    }

    #[test]
    fn a_lost_race_is_worth_another_run_of_the_transaction() {
        for (sqlstate, code, advice) in [
            ("40001", Some(1213), RetryAdvice::RetryTransaction),
            ("40001", None, RetryAdvice::RetryTransaction),
            ("40P01", None, RetryAdvice::RetryTransaction),
            ("HY000", Some(1205), RetryAdvice::RetryTransaction),
            ("HY000", Some(1020), RetryAdvice::RetryTransaction),
            ("23000", Some(1062), RetryAdvice::DoNotRetry),
        ] {
            let error = Error::driver(DriverClass::Other, "no").with_sqlstate(sqlstate);
            let error = code.into_iter().fold(error, Error::with_vendor_code);
            assert_eq!(error.retry_advice(), advice, "{error:?}");
            assert_eq!(error.vendor_code(), code);
            assert_eq!(format!("{error:?}").contains("vendor_code"), code.is_some());
        }
    }

    #[test]
    fn a_refused_commit_has_the_advice_of_its_cause() {
        for (sqlstate, advice) in
            [("40001", RetryAdvice::RetryTransaction), ("23505", RetryAdvice::DoNotRetry)]
        {
            let cause = Error::driver(DriverClass::Other, "said before").with_sqlstate(sqlstate);
            let error = Error::rolled_back(Some(cause));
            assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::RolledBack, Some("40000")));
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
            assert_eq!(error.retry_advice(), advice);
            assert!(error.connection_usable() && error.to_string().contains("said before"), "{error}");
        }
        assert_eq!(Error::rolled_back(None).retry_advice(), RetryAdvice::DoNotRetry);
    }

    #[test]
    fn a_lost_connection_says_what_became_of_the_transaction_without_a_failover_too() {
        use TransactionOutcome::{NotInTransaction, RolledBack, Unknown};
        for (outcome, advice) in [
            (NotInTransaction, RetryAdvice::Reconnect),
            (RolledBack, RetryAdvice::Reconnect),
            (Unknown, RetryAdvice::CheckOutcome),
        ] {
            let error = Error::driver(DriverClass::Network, "reset").with_connection_lost(outcome);
            assert_eq!((error.transaction_outcome(), error.retry_advice()), (outcome, advice));
            assert!(!error.connection_usable() && error.is_connection_lost());
        }
        // The caller's own mistake, which cost the connection.
        let error = Error::driver(DriverClass::Other, "too large").with_connection_lost(RolledBack);
        assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry);
        assert!(!error.connection_usable());
    }

    #[test]
    fn the_driver_error_and_its_class_are_found_through_the_chain() {
        let error = Error::driver(DriverClass::Network, std::io::Error::other("reset"));
        let outer = Error::failover(FailoverOutcome::Failed, FailoverReport::default(), error);
        assert_eq!(outer.driver_class(), Some(DriverClass::Network));
        assert_eq!(outer.find_source::<std::io::Error>().map(ToString::to_string).as_deref(), Some("reset"));
    }
}
