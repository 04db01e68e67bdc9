//! What a pool does to a connection that is given back. All of it goes past the plugins: a server that does not answer starts
//! no failover, and the caller sets the deadline.

use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::prelude::Queryable as _;
use mysql_async::{QueryResult, TextProtocol};

use crate::conn::{Conn, failed};
use crate::driver::on_lane;
use crate::error::DriverError;
use crate::physical::Physical;

/// Under every `completion_type`, no transaction begins after it and the session stays.
const ROLLBACK: &str = "ROLLBACK AND NO CHAIN NO RELEASE";

impl Conn {
    /// Whether the slot does not tell how the last user left the connection: a result was not read to its end, the last thing
    /// that was read of one was an error, or the transaction of an object that was dropped is to be rolled back.
    ///
    /// Forgets what that user had put aside for later, and what the server said last. Does no I/O.
    pub fn is_left_open(&mut self) -> bool {
        self.infile_handler = None;
        // Its object is gone without a word.
        let was_forgotten = self.transaction.take().is_some();
        let is_unread = self.physical.has_unread();
        self.physical.reclaim();
        self.physical.last_ok = None;
        let slot = self.physical.slot();
        if slot.transaction() == TransactionState::Idle {
            // What the server ended by itself was that user's.
            self.physical.lane.status().settle(slot);
        }
        is_unread || was_forgotten || self.rollback_due.is_some()
    }

    /// Reads what is left of results and rolls back; the answer says whether a transaction is still open.
    ///
    /// # Errors
    /// The connection is gone, or the server does not roll back.
    pub async fn clear_up(&mut self) -> crate::Result<()> {
        self.physical.reclaim();
        self.physical.adopt(&self.link);
        let lane = &self.physical.lane;
        let in_flight = lane.slot().enter();
        let roll_back = || on_lane(lane, async |conn| conn.query_drop(ROLLBACK).await);
        let answer = match roll_back().await {
            // The driver reads what is left of a result first, and stops at an error in it, which was not for us.
            Err(_) if !lane.slot().has_ended() => roll_back().await,
            answer => answer,
        };
        in_flight.end(answer.map_err(|error| failed(error, lane)))?;
        self.rollback_due = None;
        lane.status().settle(lane.slot());
        Ok(())
    }

    /// Brings the session back to what it was when the connection was opened, the driver's options `init` and `setup`
    /// included. `false` if the server is too old to do so.
    ///
    /// # Errors
    /// The connection is gone, or a statement of `init` or `setup` fails.
    pub async fn renew(&mut self) -> crate::Result<bool> {
        self.physical.reclaim();
        self.physical.adopt(&self.link);
        let in_flight = self.physical.slot().enter_shared();
        let renewed = self.physical.renew().await;
        let is_fresh = in_flight.end(renewed.map_err(|error| failed(error, &self.physical.lane)))?;
        if is_fresh {
            self.forgets_statements();
            self.physical.lane.status().settle(self.physical.slot());
        }
        Ok(is_fresh)
    }
}

impl Physical {
    /// Whether there is something to be read yet, or the last thing that was read was an error.
    fn has_unread(&mut self) -> bool {
        self.lent_mut().is_some_and(|conn| {
            conn.last_ok_packet().is_none() || !QueryResult::<'_, '_, TextProtocol>::new(conn).is_empty()
        })
    }

    /// The server's reset leaves database and roles as they are, and forgets what the driver asked for when it connected.
    async fn renew(&mut self) -> Result<bool, DriverError> {
        let (opts, mut login_roles) = (&self.opts, self.login_roles);
        let renewed = on_lane(&self.lane, async |conn| {
            if !conn.reset().await? {
                return Ok(false);
            }
            if login_roles.is_none() {
                login_roles = Some(LoginRoles::ask(conn).await?);
            }
            let roles = login_roles.map_or("", LoginRoles::sql);
            let database = opts.db_name().map_or_else(String::new, |name| format!("USE {};", quoted(name)));
            conn.query_drop(format!("{CHARACTERS}{roles}{database}")).await?;
            // A database that was entered by one who came without cannot be left.
            let stays = opts.db_name().is_none()
                && conn.query_first::<Option<String>, _>("SELECT DATABASE()").await?.flatten().is_some();
            // The driver has run only what is `setup`, and too early.
            for sql in opts.init().iter().chain(opts.setup()) {
                conn.query_drop(sql.as_str()).await?;
            }
            Ok(!stays)
        });
        let is_fresh = renewed.await?;
        self.login_roles = login_roles;
        Ok(is_fresh)
    }
}

/// As the driver when it opens a connection. The server's own default may take the driver's UTF-8 for something else.
const CHARACTERS: &str = "SET NAMES utf8mb4 COLLATE utf8mb4_general_ci;";

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Which roles a user has right after logging in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LoginRoles {
    /// The server has no roles that could be reset.
    None,
    Default,
    All,
}

impl LoginRoles {
    async fn ask(conn: &mut mysql_async::Conn) -> mysql_async::Result<Self> {
        // MySQL has had roles since 8.0; from 10 on it is MariaDB.
        if !(8..10).contains(&conn.server_version().0) {
            return Ok(Self::None);
        }
        let all: Option<bool> = conn.query_first("SELECT @@activate_all_roles_on_login").await?;
        Ok(if all == Some(true) { Self::All } else { Self::Default })
    }

    const fn sql(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Default => "SET ROLE DEFAULT;",
            Self::All => "SET ROLE ALL;",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_whatever_is_in_it() {
        assert_eq!(quoted("my `db`; drop"), "`my ``db``; drop`");
    }
}
