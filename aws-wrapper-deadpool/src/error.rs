//! Why a checkout failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::Error as CoreError;
use deadpool::managed::{HookError, PoolError, TimeoutType};

use crate::target::Target;

/// A checkout failed. The [`source`](StdError::source) is the last error of connecting, whatever the checkout itself ran
/// into: a pool whose server is down says so, and not only that nothing became free.
pub struct Error {
    kind: ErrorKind,
    target: Target,
    message: Option<String>,
    last: Option<Arc<CoreError>>,
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
}

impl Error {
    pub(crate) fn no_reader(why: &str, last: Option<Arc<CoreError>>) -> Self {
        Self { kind: ErrorKind::NoReader, target: Target::AnyReader, message: Some(why.to_owned()), last }
    }

    pub(crate) fn closed(target: &Target) -> Self {
        Self { kind: ErrorKind::Closed, target: target.clone(), message: None, last: None }
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
        Self { kind, target: target.clone(), message, last: last.or_else(known) }
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
        self.last.as_deref()
    }

    /// Another host cannot do better.
    pub(crate) fn is_final(&self) -> bool {
        use aws_wrapper_core::ErrorKind as CoreKind;
        match self.kind {
            ErrorKind::Connect => self.connect_error().is_some_and(|error| {
                matches!(error.kind(), CoreKind::Login | CoreKind::Config | CoreKind::PluginConflict)
            }),
            ErrorKind::WaitTimeout | ErrorKind::Hook | ErrorKind::NoReader | ErrorKind::DeadpoolTimeout => {
                true
            }
            ErrorKind::Closed => false,
        }
    }
}

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
        }
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        // An error that is only printed should still say what is wrong.
        if let Some(error) = &self.last {
            let lead = if self.kind == ErrorKind::Connect { "" } else { "; connecting failed last with" };
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
            .field("connect_error", &self.last)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.last.as_deref().map(|error| error as _)
    }
}
