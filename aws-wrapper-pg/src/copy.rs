//! Bulk data in and out.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use aws_wrapper_core::error::{Error as CoreError, ErrorKind};
use bytes::{Buf, Bytes};
use futures_util::{Sink, Stream};
use pin_project_lite::pin_project;

use crate::error::{Error, Result};
use crate::lent::{Lent, Life};
use crate::row_stream::Opaque;

pin_project! {
    /// Takes the data of a `COPY … FROM STDIN`.
    ///
    /// The copy must be ended by [`finish`](Self::finish) or `Sink::close`; dropping it before aborts the copy. A loss
    /// of the connection shows at the next step, at the latest in `finish`.
    #[derive(Debug)]
    #[project(!Unpin)]
    pub struct CopyInSink<T> {
        #[pin]
        inner: Opaque<tokio_postgres::CopyInSink<T>>,
        life: Life,
    }
}

impl<T: Buf + 'static + Send> CopyInSink<T> {
    pub(crate) fn new(inner: tokio_postgres::CopyInSink<T>, lent: Lent) -> Self {
        Self { inner: Opaque { it: inner }, life: Life::Open(Some(lent)) }
    }

    /// The driver's sink, for what takes only that, such as its binary writer. The wrapper no longer looks after it:
    /// errors are the driver's, and a loss of the connection is noticed by the next call.
    pub fn into_driver(mut self) -> tokio_postgres::CopyInSink<T> {
        self.life.let_go();
        self.inner.it
    }

    /// A poll-based version of [`finish`](Self::finish).
    pub fn poll_finish(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<u64>> {
        let this = self.project();
        if matches!(this.life, Life::Done) {
            // As the driver: closing what is finished is fine.
            return Poll::Ready(Ok(0));
        }
        if matches!(this.life, Life::Open(_)) {
            match ready!(this.inner.project().it.poll_finish(cx)) {
                Ok(rows) => {
                    this.life.finish();
                    return Poll::Ready(Ok(rows));
                }
                Err(error) => this.life.fail(error),
            }
        }
        this.life.poll_failure(cx).map(|error| Err(error.unwrap_or_else(already_over)))
    }

    /// Completes the copy and returns how many rows were added.
    ///
    /// # Errors
    /// The server's, and the loss of the connection: then nothing of the data is there, unless the loss came after the
    /// last of it.
    pub async fn finish(mut self: Pin<&mut Self>) -> Result<u64> {
        poll_fn(|cx| self.as_mut().poll_finish(cx)).await
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        step: impl FnOnce(
            Pin<&mut tokio_postgres::CopyInSink<T>>,
            &mut Context<'_>,
        ) -> Poll<Result<(), tokio_postgres::Error>>,
    ) -> Poll<Result<()>> {
        let this = self.project();
        if matches!(this.life, Life::Open(_)) {
            match ready!(step(this.inner.project().it, cx)) {
                Ok(()) => return Poll::Ready(Ok(())),
                Err(error) => this.life.fail(error),
            }
        }
        this.life.poll_failure(cx).map(|error| Err(error.unwrap_or_else(already_over)))
    }
}

impl<T: Buf + 'static + Send> Sink<T> for CopyInSink<T> {
    type Error = Error;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll(cx, Sink::poll_ready)
    }

    /// Nothing can be waited for here, so a failure comes out of the next step.
    fn start_send(self: Pin<&mut Self>, item: T) -> Result<()> {
        let this = self.project();
        if matches!(this.life, Life::Open(_)) {
            if let Err(error) = this.inner.project().it.start_send(item) {
                this.life.fail(error);
            }
        }
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll(cx, Sink::poll_flush)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_finish(cx).map(|finished| finished.map(drop))
    }
}

fn already_over() -> Error {
    CoreError::new(ErrorKind::Unsupported, "the copy is over already").into()
}

pin_project! {
    /// The data of a `COPY … TO STDOUT` as it comes. What is said of [`RowStream`](crate::RowStream) holds here too.
    #[derive(Debug)]
    #[project(!Unpin)]
    pub struct CopyOutStream {
        #[pin]
        inner: Opaque<tokio_postgres::CopyOutStream>,
        life: Life,
    }
}

impl CopyOutStream {
    pub(crate) fn new(inner: tokio_postgres::CopyOutStream, lent: Lent) -> Self {
        Self { inner: Opaque { it: inner }, life: Life::Open(Some(lent)) }
    }

    /// The driver's stream, for what takes only that, such as its binary reader. The wrapper no longer looks after it.
    pub fn into_driver(mut self) -> tokio_postgres::CopyOutStream {
        self.life.let_go();
        self.inner.it
    }
}

impl Stream for CopyOutStream {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        this.life.poll_stream(cx, |cx| this.inner.project().it.poll_next(cx))
    }
}
