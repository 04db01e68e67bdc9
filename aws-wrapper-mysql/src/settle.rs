//! What happens between two calls: the connection is brought into a state that is known.
//!
//! Usually it is in one, and then a call pays a few loads. Else the rest of a result is read, a connection that waits is put to
//! use, a transaction whose object was dropped is rolled back, and a state that the server has not said is asked for.

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::Call;
use aws_wrapper_core::retry::expired;
use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::prelude::Queryable as _;

use crate::conn::{Conn, enter, exchange, failed};
use crate::driver::on_lane;
use crate::error::to_driver;
use crate::lane::{Lane, Loss};

impl Conn {
    /// Brings the connection into a state in which a call can be made: usually it is.
    #[inline]
    pub(crate) async fn ready(&mut self) -> mysql_async::Result<()> {
        let slot = self.physical.slot();
        let is_known = self.physical.lent().is_none()
            && slot.transaction() != TransactionState::Unknown
            && !self.physical.lane.status().is_remarkable();
        let is_usual = match &self.pass {
            None => {
                // A connection that waits is put to use when the call goes out.
                self.rollback_due.is_none() && self.infile_handler.is_none() && !slot.has_ended()
            }
            // A handle stays on its connection.
            Some(pass) => pass.is_valid(),
        };
        if is_known && is_usual { Ok(()) } else { Box::pin(self.settle_and_go_on()).await }
    }

    async fn settle_and_go_on(&mut self) -> mysql_async::Result<()> {
        self.settle().await?;
        match self.end_of_transaction() {
            Some(error) => Err(to_driver(error)),
            None => Ok(()),
        }
    }

    /// The error of all further calls in a [`Transaction`] that the server has ended by itself.
    pub(crate) fn end_of_transaction(&self) -> Option<CoreError> {
        let slot = self.physical.slot();
        (self.transaction == Some(slot.id())).then(|| self.physical.lane.status().end(slot)).flatten()
    }

    /// Brings the connection into a state that is known.
    pub(crate) async fn settle(&mut self) -> mysql_async::Result<()> {
        self.physical.reclaim();
        if self.pass.as_ref().is_some_and(|pass| !pass.is_valid()) {
            return Err(to_driver(expired()));
        }
        // What is left of a transaction must not run outside of it: its calls fail on the lost connection. So do those of a
        // handle.
        if self.transaction != Some(self.physical.slot().id()) && self.pass.is_none() {
            self.physical.adopt(&self.link);
            if self.physical.slot().has_ended() && self.may_replace() {
                self.physical = self.link.connect().await.map_err(to_driver)?;
                self.told = false;
            }
        }
        if self.transaction != Some(self.physical.slot().id()) {
            if self.physical.lane.status().must_be_rolled_back() {
                self.rollback_due = Some(self.physical.slot().id());
            }
            self.roll_back().await?;
        }
        self.ask().await?;
        if let Some(handler) = self.infile_handler.take() {
            if let Ok(mut taken) = self.physical.lane.take() {
                taken.conn().set_infile_handler(handler);
                self.physical.lane.put_back(taken.keep());
            }
        }
        Ok(())
    }

    /// Asks for the state of the transaction if it is not known, and reads what is left of a result.
    async fn ask(&mut self) -> mysql_async::Result<()> {
        let slot = self.physical.slot();
        if slot.has_ended() || slot.transaction() != TransactionState::Unknown {
            return Ok(());
        }
        // On the connection in question, whatever waits.
        let (lane, link) = (&*self.physical.lane, &*self.link);
        let call = Call::new(Method::Ping, None, link.logical(), lane);
        let answer = link.pipeline().call(&call, || async {
            let in_flight = lane.slot().enter();
            let mut taken = enter(lane, &call)?;
            let result = lane.unless_aborted(ask_behind_rest(taken.conn(), lane)).await;
            let answer = taken.finish(result, &mut None);
            in_flight.end(answer.map_err(|error| failed(error, lane).with_nothing_sent()))
        });
        match answer.await {
            Ok(()) => Ok(()),
            Err(error) => {
                drop(call);
                Err(self.fail(error))
            }
        }
    }

    /// Asks the server for a sign of life past the plugins: silence starts no failover. For pools; the caller sets the
    /// deadline.
    ///
    /// After that the state of the transaction is known, and what the last user left behind of one is forgotten.
    ///
    /// # Errors
    /// The connection is gone; a later call may still find another one.
    pub async fn probe(&mut self) -> crate::Result<()> {
        self.physical.reclaim();
        self.physical.adopt(&self.link);
        let lane = &self.physical.lane;
        let in_flight = lane.slot().enter();
        let answer = on_lane(lane, async |conn| ask_behind_rest(conn, lane).await).await;
        in_flight.end(answer.map_err(|error| failed(error, lane)))?;
        lane.status().settle(lane.slot());
        Ok(())
    }

    /// Whether a connection that was lost by what was done on this side may be replaced without a word: nothing was lost
    /// with it but the session, or the caller knows.
    fn may_replace(&self) -> bool {
        let was_idle = self.physical.slot().last_known_transaction() == TransactionState::Idle;
        match self.physical.lane.loss() {
            Some(Loss::Mistake) => was_idle || self.told,
            Some(Loss::Dropped) => self.told,
            None => false,
        }
    }

    /// Ends the transaction whose object was dropped, if there is one. A connection that is gone has taken its along.
    async fn roll_back(&mut self) -> mysql_async::Result<()> {
        let slot = self.physical.slot();
        if self.rollback_due != Some(slot.id()) || slot.has_ended() {
            self.rollback_due = None;
            return Ok(());
        }
        let mut is_first_try = true;
        loop {
            let result = exchange!(
                self,
                Method::Rollback,
                Some("ROLLBACK"),
                |_| Ok(()) => (),
                |driver| driver.query_drop("ROLLBACK"),
                |taken, result| taken.finish(result, &mut None)
            );
            match result {
                Ok(()) => break,
                // The driver reads what is left of a result first, and stops at an error in it.
                Err(error) if is_first_try && !self.physical.slot().has_ended() => {
                    tracing::debug!(%error, "what was left of a result failed; the transaction is rolled back again");
                    is_first_try = false;
                }
                Err(error) => return Err(self.fail(error)),
            }
        }
        self.rollback_due = None;
        Ok(())
    }
}

/// Asks for a sign of life. The driver reads what is left of a result first and stops at an error in it, which belongs to
/// the call that was given up.
async fn ask_behind_rest(conn: &mut mysql_async::Conn, lane: &Lane) -> mysql_async::Result<()> {
    match conn.ping().await {
        Err(mysql_async::Error::Server(error)) => {
            tracing::debug!(%error, "what was left of a result failed");
            lane.status().note_rest(&error, lane.slot());
            conn.ping().await
        }
        answer => answer,
    }
}
