//! `LOAD DATA LOCAL`: the application's files are not the server's network.
//!
//! The driver reports what goes wrong with a file as it reports a broken socket. Both handlers of the driver are wrapped,
//! so that the two can be told apart.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};
use mysql_async::prelude::GlobalHandler;
use mysql_async::{Error, InfileData, IoError, LocalInfileError};

/// A handler for the next statement, until there is a connection to give it to.
pub(crate) type Handler = Pin<Box<dyn Future<Output = mysql_async::Result<InfileData>> + Send + Sync>>;

/// The application's file, not the socket, failed.
#[derive(Debug)]
pub(crate) struct FileFailed(io::Error);

impl fmt::Display for FileFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the data of LOAD DATA LOCAL cannot be read: {}", self.0)
    }
}

impl std::error::Error for FileFailed {}

/// A handler for one connection whose errors are recognised.
pub(crate) fn local<T>(handler: T) -> Handler
where
    T: Future<Output = mysql_async::Result<InfileData>> + Send + Sync + 'static,
{
    Box::pin(async move {
        match handler.await {
            Ok(data) => Ok(marked(data)),
            Err(Error::Io(IoError::Io(error))) => Err(LocalInfileError::ReadError(error).into()),
            Err(error) => Err(error),
        }
    })
}

/// A handler for all connections whose errors are recognised.
pub(crate) struct Global(pub(crate) Arc<dyn GlobalHandler>);

impl GlobalHandler for Global {
    fn handle(&self, file_name: &[u8]) -> BoxFuture<'static, Result<InfileData, LocalInfileError>> {
        self.0.handle(file_name).map(|opened| opened.map(marked)).boxed()
    }
}

fn marked(data: InfileData) -> InfileData {
    data.map_err(|error| io::Error::other(FileFailed(error))).boxed()
}
