//! Why a checkout failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::{RetryAdvice, TransactionOutcome};
use deadpool::managed::{HookError, PoolError, TimeoutType};

use crate::target::Target;

/// A checkout failed, or the work of [`Pool::run`](crate::Pool::run). The [`source`](StdError::source) of a checkout's is the
/// last error of connecting, whatever the checkout itself ran into: a pool whose server is down says so, and not only that
/// nothing became free. That of work is the error of the work.
pub struct Error {
    kind: ErrorKind,
    target: Target,
    message: Option<String>,
    last: Option<Arc<CoreError>>,
    /// The same will happen as long as the pool and the server are what they are.
    is_lasting: bool,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// All connections were in use for as long as `pool_wait_timeout_ms`.
    WaitTimeout,
    /// No connection could be opened; the source says why.
    Connect,
    /// There is no reader, and `pool_reader_fallback` does not allow the writer in its place.
    NoReader,
    /// A hook of the application refused the new connection.
    Hook,
    /// The pool was closed.
    Closed,
    /// A time limit of deadpool's own, set past this crate's builder, ended the checkout.
    DeadpoolTimeout,
    /// There was a connection, and what was done on it failed; the source says why.
    Work,
}

impl ErrorKind {
    /// The word for it in metrics, in `snake_case`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::WaitTimeout => "wait_timeout",
            Self::Connect => "connect",
            Self::NoReader => "no_reader",
            Self::Hook => "hook",
            Self::Closed => "closed",
            Self::DeadpoolTimeout => "deadpool_timeout",
            Self::Work => "work",
        }
    }
}

impl Error {
    /// The cluster has no reader at the moment.
    pub(crate) fn no_reader(why: &str, last: Option<Arc<CoreError>>) -> Self {
        let (kind, target, message) = (ErrorKind::NoReader, Target::AnyReader, Some(why.to_owned()));
        Self { kind, target, message, last, is_lasting: false }
    }

    /// There is no cluster, so there never is a reader.
    pub(crate) fn never_a_reader(why: &str) -> Self {
        Self { is_lasting: true, ..Self::no_reader(why, None) }
    }

    pub(crate) fn closed(target: &Target) -> Self {
        let (kind, target) = (ErrorKind::Closed, target.clone());
        Self { kind, target, message: None, last: None, is_lasting: true }
    }

    pub(crate) fn new(
        error: PoolError<Arc<CoreError>>,
        target: &Target,
        known: impl FnOnce() -> Option<Arc<CoreError>>,
    ) -> Self {
        let (kind, message, last) = match error {
            PoolError::Timeout(TimeoutType::Wait) => (ErrorKind::WaitTimeout, None, None),
            PoolError::Timeout(TimeoutType::Create | TimeoutType::Recycle)
            | PoolError::NoRuntimeSpecified => (ErrorKind::DeadpoolTimeout, None, None),
            PoolError::Backend(error) => (ErrorKind::Connect, None, Some(error)),
            PoolError::Closed => (ErrorKind::Closed, None, None),
            PoolError::PostCreateHook(HookError::Message(message)) => {
                (ErrorKind::Hook, Some(message.into_owned()), None)
            }
            PoolError::PostCreateHook(HookError::Backend(error)) => (ErrorKind::Hook, None, Some(error)),
        };
        let is_lasting = match kind {
            ErrorKind::Connect | ErrorKind::Hook => last.as_deref().is_none_or(is_lasting),
            ErrorKind::WaitTimeout | ErrorKind::NoReader | ErrorKind::DeadpoolTimeout => false,
            ErrorKind::Closed | ErrorKind::Work => true,
        };
        Self { kind, target: target.clone(), message, last: last.or_else(known), is_lasting }
    }

    /// What was done on a connection failed.
    pub(crate) fn work(error: CoreError, target: Target) -> Self {
        Self { kind: ErrorKind::Work, target, message: None, last: Some(Arc::new(error)), is_lasting: false }
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Which connections were asked for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The last error of connecting, since a connection was opened last: what stands behind the failure, if anything does.
    pub fn connect_error(&self) -> Option<&CoreError> {
        self.last.as_deref().filter(|_| self.kind != ErrorKind::Work)
    }

    /// What the work on a connection failed with.
    pub fn work_error(&self) -> Option<&CoreError> {
        self.last.as_deref().filter(|_| self.kind == ErrorKind::Work)
    }

    /// What to do: check out again, later, or give up because the same will happen again: the server refuses the user, the
    /// configuration is wrong, the pool is closed, a hook of the application refuses, or there is no cluster to have a reader.
    ///
    /// Of work: what its error advises.
    pub fn retry_advice(&self) -> RetryAdvice {
        if let Some(error) = self.work_error() {
            return error.retry_advice();
        }
        if self.is_lasting { RetryAdvice::DoNotRetry } else { RetryAdvice::Reconnect }
    }

    /// What became of the transaction of the work. A checkout is part of none.
    pub fn transaction_outcome(&self) -> TransactionOutcome {
        self.work_error().map_or(TransactionOutcome::NotInTransaction, CoreError::transaction_outcome)
    }

    /// Whether the failed statement of the work may have run. Without a connection nothing of the application's was sent.
    pub fn statement_may_have_run(&self) -> bool {
        self.work_error().is_some_and(CoreError::statement_may_have_run)
    }

    /// Another host cannot do better.
    pub(crate) fn is_final(&self) -> bool {
        use aws_wrapper_core::ErrorKind as CoreKind;
        match self.kind {
            ErrorKind::Connect => self.connect_error().is_some_and(|error| {
                matches!(error.kind(), CoreKind::Login | CoreKind::Config | CoreKind::PluginConflict)
            }),
            ErrorKind::WaitTimeout
            | ErrorKind::Hook
            | ErrorKind::NoReader
            | ErrorKind::DeadpoolTimeout
            | ErrorKind::Work => true,
            ErrorKind::Closed => false,
        }
    }
}

fn is_lasting(error: &CoreError) -> bool {
    let is_full = error.sqlstate() == Some(TOO_MANY_CONNECTIONS)
        || error.vendor_code().is_some_and(|code| TOO_MANY_CONNECTIONS_MYSQL.contains(&code));
    !is_full && error.retry_advice() == RetryAdvice::DoNotRetry
}

const TOO_MANY_CONNECTIONS: &str = "53300";
/// Of the server, of a user, of a user in an hour.
const TOO_MANY_CONNECTIONS_MYSQL: [u32; 3] = [1040, 1203, 1226];

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        match self.kind {
            ErrorKind::WaitTimeout => write!(f, "no connection to {target} became free in time")?,
            ErrorKind::Connect => write!(f, "no connection to {target} could be opened")?,
            ErrorKind::NoReader => f.write_str("no reader can be given out")?,
            ErrorKind::Hook => write!(f, "a hook refused a connection to {target}")?,
            ErrorKind::Closed => f.write_str("the pool is closed")?,
            ErrorKind::DeadpoolTimeout => write!(f, "deadpool's own limit ended a checkout of {target}")?,
            ErrorKind::Work => write!(f, "work on a connection to {target} failed")?,
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        // An error that is only printed should still say what is wrong.
        if let Some(error) = &self.last {
            let is_its_own = matches!(self.kind, ErrorKind::Connect | ErrorKind::Work);
            let lead = if is_its_own { "" } else { "; connecting failed last with" };
            write!(f, "{lead}: {error:#}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind)
            .field("target", &self.target)
            .field("message", &self.message)
            .field("error", &self.last)
            .field("is_lasting", &self.is_lasting)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_deref().map(|error| error as _)
    }
}

#[cfg(test)]
mod tests {
    use aws_wrapper_core::ErrorKind as CoreKind;
    use aws_wrapper_core::error::{DriverClass, FailoverOutcome, FailoverReport, Phase};

    use super::*;

    fn new(error: PoolError<Arc<CoreError>>) -> Error {
        // What connecting failed with earlier says nothing about this checkout.
        Error::new(error, &Target::Writer, || Some(Arc::new(CoreError::new(CoreKind::Login, "no"))))
    }

    fn driver(sqlstate: &str, code: u32) -> CoreError {
        CoreError::driver(DriverClass::Other, "refused").with_sqlstate(sqlstate).with_vendor_code(code)
    }

    #[test]
    fn a_checkout_is_worth_repeating_when_what_failed_may_pass() {
        use RetryAdvice::{DoNotRetry, Reconnect};
        let connect = |error| new(PoolError::Backend(Arc::new(error)));
        let hook = |error| new(PoolError::PostCreateHook(error));
        let failover = || {
            let cause = CoreError::driver(DriverClass::Network, "closed");
            CoreError::failover(FailoverOutcome::Succeeded, FailoverReport::default(), cause)
        };
        for (error, advice) in [
            (new(PoolError::Timeout(TimeoutType::Wait)), Reconnect),
            (new(PoolError::Timeout(TimeoutType::Create)), Reconnect),
            (new(PoolError::Closed), DoNotRetry),
            (Error::closed(&Target::Writer), DoNotRetry),
            (Error::no_reader("none now", None), Reconnect),
            (Error::never_a_reader("no cluster"), DoNotRetry),
            (connect(CoreError::new(CoreKind::Login, "no")), DoNotRetry),
            (connect(CoreError::config("wrong")), DoNotRetry),
            (connect(driver("3D000", 1049)), DoNotRetry),
            (connect(driver("53300", 0)), Reconnect),
            (connect(driver("08004", 1040)), Reconnect),
            (connect(CoreError::new(CoreKind::HostUnavailable, "down")), Reconnect),
            (connect(CoreError::new(CoreKind::Routing, "a reader")), Reconnect),
            (connect(CoreError::new(CoreKind::Timeout(Phase::Connect), "late")), Reconnect),
            (connect(CoreError::driver(DriverClass::Network, "reset")), Reconnect),
            (hook(HookError::message("not today")), DoNotRetry),
            (hook(HookError::Backend(Arc::new(failover()))), Reconnect),
            (hook(HookError::Backend(Arc::new(driver("42P01", 1146)))), DoNotRetry),
        ] {
            assert_eq!(error.retry_advice(), advice, "{error:?}");
            assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction);
            assert!(!error.statement_may_have_run());
        }
    }
}
