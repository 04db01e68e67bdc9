//! A client without a lifetime, for one run of a retry helper.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::client::Client;

/// A handle on a [`Client`] for one run of [`Client::retry_statement`] or [`Client::retry_transaction`], in which it is inside
/// of the transaction. It has all methods of a client that need no `&mut`.
///
/// It has no lifetime, so a closure that is given one can be used wherever a future has to be `Send`. It stays on one
/// connection; kept beyond its run it fails with
/// [`ConnectionSwitched`](aws_wrapper_core::ErrorKind::ConnectionSwitched), and nothing it is asked for is sent.
pub struct ClientHandle(Arc<Client>);

impl Deref for ClientHandle {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClientHandle").field(&self.0).finish()
    }
}

/// The time of a handle: when it is dropped the handle's is over.
#[derive(Debug)]
pub(crate) struct Run(Arc<Client>);

impl Run {
    /// `client` is one that a handle may have.
    pub(crate) fn new(client: Client) -> Self {
        Self(Arc::new(client))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    pub(crate) fn handle(&self) -> ClientHandle {
        ClientHandle(Arc::clone(&self.0))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.0.take_away();
    }
}
