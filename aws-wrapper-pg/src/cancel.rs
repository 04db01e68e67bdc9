//! Cancelling what runs on a connection.

use std::time::Duration;

use aws_wrapper_core::error::{Error as CoreError, ErrorKind, Phase};
use aws_wrapper_core::retry::expired;
use tokio::time::timeout;
use tokio_postgres::NoTls;

use crate::connect::Dialled;
use crate::error::{DriverError, Result, connect_failed, into_error};

/// Asks the server to cancel what runs on the connection the token was made from. Cheap to clone.
///
/// It goes to the address that connection was made to, encrypted in the same way. After a switch it is of no use: make
/// a new one.
#[derive(Debug, Clone)]
pub struct CancelToken {
    /// Nothing for a handle that was kept beyond its run.
    target: Option<(Token, Dialled)>,
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
    pub(crate) fn new(target: Option<(&tokio_postgres::Client, &Dialled)>, limit: Duration) -> Self {
        let target = target.map(|(client, dialled)| (Token(client.cancel_token()), dialled.clone()));
        Self { target, limit }
    }

    /// Sends the request. Whether there was something to cancel nobody tells; what was cancelled fails with SQLSTATE
    /// `57014`.
    ///
    /// # Errors
    /// When the server cannot be reached, or not within the limit for opening a connection.
    pub async fn cancel_query(&self) -> Result<()> {
        let Some((Token(token), dialled)) = &self.target else { return Err(expired().into()) };
        let Ok(sent) = timeout(self.limit, send(token, dialled)).await else {
            let text =
                format!("the server did not take the cancel request within {} ms", self.limit.as_millis());
            return Err(CoreError::new(ErrorKind::Timeout(Phase::Connect), text).into());
        };
        Ok(sent.map_err(into_error)?)
    }
}

async fn send(token: &tokio_postgres::CancelToken, dialled: &Dialled) -> Result<(), DriverError> {
    let socket = dialled.again().await?;
    let sent = match dialled.handshake() {
        Some(handshake) => token.cancel_query_raw(socket, handshake).await,
        None => token.cancel_query_raw(socket, NoTls).await,
    };
    sent.map_err(connect_failed)
}
