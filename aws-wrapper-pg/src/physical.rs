//! One physical connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::host::Role;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::runtime::Shared;

use crate::connect::Dialled;
use crate::owner::Owner;
use crate::statements::Statements;

/// One connection to one server: the driver's client and what the wrapper knows about it.
///
/// Dropping it closes it, once the streams it lent are gone too: politely if the server still answers, else by force
/// after a second.
pub struct Physical {
    pub(crate) client: tokio_postgres::Client,
    pub(crate) lease: Arc<Lease>,
    pub(crate) startup_role: Option<Role>,
    pub(crate) dialled: Dialled,
    pub(crate) owner: Arc<Owner>,
    pub(crate) statements: Statements,
}

impl Physical {
    pub(crate) fn new(
        client: tokio_postgres::Client,
        slot: Arc<Slot>,
        startup_role: Option<Role>,
        dialled: Dialled,
        owner: Arc<Owner>,
        shared: Arc<Shared>,
    ) -> Self {
        let lease = Arc::new(Lease { slot, shared: Some(shared) });
        Self { client, lease, startup_role, dialled, owner, statements: Statements::default() }
    }

    /// The driver's client.
    ///
    /// Its `check_connection` is not answered: that is a bare synchronization, and of two answers to one the second is kept
    /// from the driver, because a `COPY` that is refused makes one too many. Run an empty statement in its place, as
    /// [`Client::check_connection`](crate::Client::check_connection) does.
    pub fn client(&self) -> &tokio_postgres::Client {
        &self.client
    }

    /// The driver's client alone, for the application. The connection ends when that is dropped, when the services are shut
    /// down, and, where it is tracked, when its host is not the writer any more.
    pub(crate) fn into_driver(self) -> tokio_postgres::Client {
        let Self { client, lease, owner, .. } = self;
        owner.set_driver();
        // Nothing that was lent is left, and the connection outlives the lease.
        if let Some(mut lease) = Arc::into_inner(lease) {
            lease.shared = None;
        }
        client
    }

    /// What the registry knows about the connection.
    pub fn slot(&self) -> &Arc<Slot> {
        &self.lease.slot
    }
}

impl fmt::Debug for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Physical")
            .field("slot", self.slot())
            .field("peer", &self.dialled.peer)
            .finish_non_exhaustive()
    }
}

/// Held by the client and by each stream: whoever is last sees to it that the connection ends.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) slot: Arc<Slot>,
    /// Nothing when the driver's client goes on alone.
    shared: Option<Arc<Shared>>,
}

/// How long a server has to answer what is still on its way before the socket is closed.
const LINGER: Duration = Duration::from_secs(1);

impl Drop for Lease {
    fn drop(&mut self) {
        // Whether a call is in flight cannot be asked; an idle connection is gone long before the limit.
        if let Some(shared) = self.shared.take().filter(|_| !self.slot.has_ended()) {
            shared.linger(Arc::clone(&self.slot), LINGER);
        }
    }
}
