//! What outlives the call that opened it: the guard that streams and sinks carry.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_wrapper_core::error::{Error as CoreError, ErrorKind, Result as CoreResult};
use aws_wrapper_core::method::Method;
use aws_wrapper_core::pipeline::call::Lent as CoreLent;
use aws_wrapper_core::plugin::{Ask, Call};
use aws_wrapper_core::registry::{InFlight, Slot};
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::table::Table;
use futures_util::future::BoxFuture;

use crate::driver::{PgDriver, Shared};
use crate::error::{Error, Result, exchange_failed};
use crate::physical::Lease;

/// The call of a stream: it is over when the stream is, and recovery is asked for when the stream fails.
#[derive(Debug)]
pub(crate) struct Lent {
    call: CoreLent<PgDriver>,
    in_flight: InFlight<Arc<Slot>>,
    lease: Arc<Lease>,
    shared: Arc<Shared>,
}

impl Lent {
    pub(crate) fn new(
        call: CoreLent<PgDriver>,
        in_flight: InFlight<Arc<Slot>>,
        lease: Arc<Lease>,
        shared: Arc<Shared>,
    ) -> Self {
        Self { call, in_flight, lease, shared }
    }

    /// Ends a call that went well. What is left to do if the server refused what the call asked for.
    fn finish(self) -> Option<BoxFuture<'static, CoreError>> {
        self.in_flight.answered();
        let refused = self.call.call().kept(&self.lease.slot, Ok(())).err()?;
        let (call, shared) = (self.call, self.shared);
        Some(Box::pin(async move { call.recover(shared.pipeline(), refused).await }))
    }

    /// Ends the call and finds out what becomes of the error.
    async fn fail(self, error: tokio_postgres::Error) -> CoreError {
        let error = exchange_failed(error, &self.lease.slot, self.call.call()).await;
        let failed = self.in_flight.end::<()>(Err(error));
        let error = failed.expect_err("it is handed through");
        self.call.recover(self.shared.pipeline(), error).await
    }
}

/// Where a stream or sink is in its life.
pub(crate) enum Life {
    /// It works. `None`: it belongs to a client that is not the wrapper's.
    Open(Option<Lent>),
    /// It failed; recovery goes on while it is polled.
    Failing(BoxFuture<'static, CoreError>),
    /// It ended as it should.
    Done,
    /// It failed, and the error has been told.
    Over,
}

impl Life {
    /// Says that it failed; the error comes from [`poll_failure`](Self::poll_failure).
    pub(crate) fn fail(&mut self, error: tokio_postgres::Error) {
        *self = match std::mem::replace(self, Self::Over) {
            Self::Open(Some(lent)) => Self::Failing(Box::pin(lent.fail(error))),
            Self::Open(None) => {
                let error = Error::from(error).into_core();
                Self::Failing(Box::pin(std::future::ready(error)))
            }
            other @ (Self::Failing(_) | Self::Done | Self::Over) => other,
        };
    }

    /// The error, once recovery is through with it; `None` while it works and when it is over.
    pub(crate) fn poll_failure(&mut self, cx: &mut Context<'_>) -> Poll<Option<Error>> {
        let Self::Failing(recovery) = self else { return Poll::Ready(None) };
        let error = std::task::ready!(Pin::new(recovery).poll(cx));
        *self = Self::Over;
        Poll::Ready(Some(error.into()))
    }

    /// The call is over and went well, unless it was a commit that the server refused: that error comes from
    /// [`poll_failure`](Self::poll_failure).
    pub(crate) fn finish(&mut self) {
        if let Self::Open(Some(lent)) = std::mem::replace(self, Self::Done) {
            if let Some(refused) = lent.finish() {
                *self = Self::Failing(refused);
            }
        }
    }

    /// The driver's own is handed out, and nobody knows any more when the call is over.
    pub(crate) fn let_go(&mut self) {
        if let Self::Open(Some(lent)) = std::mem::replace(self, Self::Over) {
            // What the driver reads or writes now is not seen here.
            lent.lease.slot.note_session_change(SessionChange::Resettable);
            lent.in_flight.release();
        }
    }

    /// Polls a stream of the driver as one of the wrapper.
    pub(crate) fn poll_stream<T>(
        &mut self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<Option<Result<T, tokio_postgres::Error>>>,
    ) -> Poll<Option<Result<T>>> {
        if matches!(self, Self::Open(_)) {
            match std::task::ready!(poll(cx)) {
                Some(Ok(item)) => return Poll::Ready(Some(Ok(item))),
                Some(Err(error)) => self.fail(error),
                None => self.finish(),
            }
        }
        self.poll_failure(cx).map(|error| error.map(Err))
    }
}

impl fmt::Debug for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "Open",
            Self::Failing(_) => "Failing",
            Self::Done => "Done",
            Self::Over => "Over",
        })
    }
}

/// For calls during which nothing can be asked: a stream is not the owner of its connection, and a transaction being
/// opened has the connection for itself.
#[derive(Debug)]
pub(crate) struct NoAsk;

impl Ask for NoAsk {
    fn fetch_text<'a>(&'a self, _sql: &'a str) -> BoxFuture<'a, CoreResult<Table>> {
        let error = CoreError::new(ErrorKind::Unsupported, "nothing can be asked on this connection now");
        Box::pin(std::future::ready(Err(error)))
    }
}

/// A call that a stream can take along.
pub(crate) fn owned_call(method: Method, sql: Option<&str>, shared: &Shared) -> Call<'static, PgDriver> {
    Call::owned(method, sql.map(str::to_owned), Arc::clone(shared.logical()), Arc::new(NoAsk))
}
