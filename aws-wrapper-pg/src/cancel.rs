//! Cancelling what runs on a connection.

use std::time::Duration;

use aws_wrapper_core::error::{Error, ErrorKind, Phase, Result};
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::connect::Dialled;
use crate::error::{DriverError, connect_failed, into_error};

/// Asks the server to cancel what runs on the connection the token was made from. Cheap to clone.
///
/// It goes to the address that connection was made to, encrypted in the same way. After a switch it is of no use: make
/// a new one.
#[derive(Debug, Clone)]
pub struct CancelToken {
    token: Token,
    dialled: Dialled,
    limit: Duration,
}

/// The driver's token has a secret in it and no `Debug`.
#[derive(Clone)]
struct Token(tokio_postgres::CancelToken);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl CancelToken {
    pub(crate) fn new(client: &tokio_postgres::Client, dialled: &Dialled, limit: Duration) -> Self {
        Self { token: Token(client.cancel_token()), dialled: dialled.clone(), limit }
    }

    /// Sends the request. Whether there was something to cancel nobody tells; what was cancelled fails with SQLSTATE
    /// `57014`.
    ///
    /// # Errors
    /// When the server cannot be reached, or not within the limit for opening a connection.
    pub async fn cancel_query(&self) -> Result<()> {
        let Ok(sent) = timeout(self.limit, self.send()).await else {
            let text =
                format!("the server did not take the cancel request within {} ms", self.limit.as_millis());
            return Err(Error::new(ErrorKind::Timeout(Phase::Connect), text));
        };
        sent.map_err(into_error)
    }

    async fn send(&self) -> Result<(), DriverError> {
        let socket = self.dialled.again().await?;
        let sent = match self.dialled.handshake() {
            Some(handshake) => self.token.0.cancel_query_raw(socket, handshake).await,
            None => self.token.0.cancel_query_raw(socket, NoTls).await,
        };
        sent.map_err(connect_failed)
    }
}
