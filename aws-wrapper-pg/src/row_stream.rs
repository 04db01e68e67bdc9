//! Rows as they come.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;
use pin_project_lite::pin_project;
use tokio_postgres::{Row, SimpleQueryMessage};

use crate::error::Result;
use crate::lent::{Lent, Life};

pin_project! {
    /// The rows of a query as they come.
    ///
    /// Read it to the end or drop it: while it is neither, nothing else that was sent over its connection gets an
    /// answer. A loss of the connection ends it with the error that says what became of it; rows already received come
    /// first.
    #[derive(Debug)]
    #[project(!Unpin)]
    pub struct RowStream {
        #[pin]
        inner: Opaque<tokio_postgres::RowStream>,
        life: Life,
    }
}

impl RowStream {
    pub(crate) fn new(inner: tokio_postgres::RowStream, lent: Option<Lent>) -> Self {
        Self { inner: Opaque { it: inner }, life: Life::Open(lent) }
    }

    /// How many rows the statement affected; known when the stream has ended.
    pub fn rows_affected(&self) -> Option<u64> {
        self.inner.it.rows_affected()
    }
}

impl Stream for RowStream {
    type Item = Result<Row>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        this.life.poll_stream(cx, |cx| this.inner.project().it.poll_next(cx))
    }
}

pin_project! {
    /// The results of statements as text, as they come. What is said of [`RowStream`] holds here too.
    #[derive(Debug)]
    #[project(!Unpin)]
    pub struct SimpleQueryStream {
        #[pin]
        inner: Opaque<tokio_postgres::SimpleQueryStream>,
        life: Life,
    }
}

impl SimpleQueryStream {
    pub(crate) fn new(inner: tokio_postgres::SimpleQueryStream, lent: Lent) -> Self {
        Self { inner: Opaque { it: inner }, life: Life::Open(Some(lent)) }
    }
}

impl Stream for SimpleQueryStream {
    type Item = Result<SimpleQueryMessage>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.project();
        this.life.poll_stream(cx, |cx| this.inner.project().it.poll_next(cx))
    }
}

pin_project! {
    /// The driver's streams have no `Debug`.
    pub(crate) struct Opaque<T> {
        #[pin]
        pub(crate) it: T,
    }
}

impl<T> std::fmt::Debug for Opaque<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("..")
    }
}
