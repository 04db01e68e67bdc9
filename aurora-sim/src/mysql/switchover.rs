//! Making a writer that runs refuse writes.

use std::future::Future;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use tokio::time::{Instant, timeout};

use super::MySql;
use super::link::text;
use crate::error::{Error, Result};

/// Statements that are under way when a switchover begins have this long to end.
const GRACE: Duration = Duration::from_millis(100);

/// Everything a switchover waits for takes some milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

/// Sessions in the middle of a transaction that has written. The table shows what was true when it was first read in the
/// last 0.1 s, so it is of no use to look again and again.
const WRITERS: &str =
    "SELECT trx_mysql_thread_id FROM information_schema.innodb_trx WHERE trx_rows_modified > 0";

/// Sessions of clients that do something.
const BUSY: &str = "SELECT id FROM information_schema.processlist WHERE user NOT IN ('root', 'system user', \
                    'event_scheduler') AND command <> 'Sleep'";

/// All sessions of clients: one that sleeps may hold tables locked.
const ANYBODY: &str = "SELECT id FROM information_schema.processlist WHERE user NOT IN ('root', 'system user', 'event_scheduler')";

impl MySql {
    /// Makes a writer read-only for everybody. Sessions that hold this up are ended, first those that have written; who is
    /// in the middle of such a transaction is ended in any case, or its locks would hold up replication.
    pub(super) async fn make_read_only(&self, writer: usize) -> Result<()> {
        let link = self.link(writer);
        let mut session = link.open().await?;
        let id = session.id();
        let change = session.query_drop("SET GLOBAL super_read_only = ON");
        if let Err(error) = self.until_changed(writer, change).await {
            // Else it would go on waiting, and succeed when nobody expects it.
            link.run(&[&format!("KILL {id}")]).await?;
            return Err(error);
        }
        self.end_sessions(writer, WRITERS).await
    }

    async fn until_changed(
        &self,
        writer: usize,
        change: impl Future<Output = Result<(), mysql_async::Error>>,
    ) -> Result<()> {
        let mut change = std::pin::pin!(change);
        let end = Instant::now() + DEADLINE;
        for who in [WRITERS, BUSY].iter().chain(std::iter::repeat(&ANYBODY)) {
            if let Ok(changed) = timeout(GRACE, &mut change).await {
                return changed.map_err(|error| self.link(writer).failed(error));
            }
            if Instant::now() > end {
                break;
            }
            self.end_sessions(writer, who).await?;
        }
        Err(Error::timeout(format!("{} to be read-only", self.common.sites[writer].name), DEADLINE))
    }

    /// Ends the sessions that a query names.
    async fn end_sessions(&self, writer: usize, query: &str) -> Result<()> {
        let sessions = self.link(writer).rows(query).await?;
        for id in sessions.iter().filter_map(|row| text(row, 0)) {
            // An error means that it has ended by itself.
            let _ = self.link(writer).run(&[&format!("KILL {id}")]).await;
        }
        Ok(())
    }
}
