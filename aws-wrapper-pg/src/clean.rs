//! What a pool does to a connection that is given back. All of it goes past the plugins: a server that does not answer starts
//! no failover, and the caller sets the deadline.

use aws_wrapper_core::session::transaction::TransactionState;

use crate::client::Client;
use crate::error::{Error, Result, already_ended, call_failed, checked};

/// What `DISCARD ALL` does, except that plans and prepared statements stay, and that a role which belongs to the user comes
/// back. In one text, which `DISCARD ALL` itself cannot be part of.
const RENEW: &str = "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ROLE; RESET ALL; UNLISTEN *; \
                     SELECT pg_catalog.pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES";

impl Client {
    /// Ends the transaction that is open or may be.
    ///
    /// # Errors
    /// The connection is gone, or the server does not roll back.
    pub async fn clear_up(&self) -> Result<()> {
        let slot = self.slot();
        if slot.transaction() == TransactionState::Unknown || slot.ending().is_some() {
            // An answer is on its way, perhaps that of a rollback.
            self.probe().await?;
        }
        if slot.transaction() == TransactionState::Idle { Ok(()) } else { self.quietly("ROLLBACK").await }
    }

    /// Brings the session back to what it was when the connection was opened, but for prepared statements. No transaction may
    /// be open. A stream of notifications that was made before ends.
    ///
    /// # Errors
    /// The connection is gone, or the server refuses.
    pub async fn renew(&self) -> Result<()> {
        self.shared.logical().session().forget();
        self.quietly(RENEW).await
    }

    async fn quietly(&self, sql: &str) -> Result<()> {
        let physical = self.newest()?;
        if physical.slot().has_ended() {
            return Err(already_ended(physical.slot()).into());
        }
        let in_flight = physical.slot().enter();
        in_flight
            .end(checked!(physical.client.batch_execute(sql).await, physical.slot()))
            .map_err(Error::from)
    }
}
