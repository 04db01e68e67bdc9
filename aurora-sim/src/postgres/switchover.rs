//! Making a primary that runs refuse writes.
//!
//! PostgreSQL cannot make a running primary a standby. So the old writer is fenced in four steps: new transactions
//! are read-only by default; a lock on every table holds up what is still writing or insists on writing; once
//! everything has reached the new writer, that one is promoted; then triggers take the lock's place and refuse
//! every write with the error of a reader, whatever a session has set. The triggers never reach the other instances,
//! because nobody copies the old writer any more, and vanish with its data when it settles.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::Postgres;
use crate::database::Duty;
use crate::error::{Error, Result};
use crate::keeper::Server;

/// Statements that are under way when a switchover begins have this long to end.
const GRACE: Duration = Duration::from_millis(100);

/// Everything a switchover waits for takes some milliseconds.
const DEADLINE: Duration = Duration::from_secs(10);

const TABLES: &str = "\
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

const END_WRITERS: &str = "\
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity \
    WHERE backend_xid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend' \
    AND application_name <> 'aurora-sim'";

/// One database of the old writer with all its tables locked.
#[derive(Debug)]
pub(super) struct Locked {
    session: Client,
    tables: Vec<String>,
}

impl Postgres {
    /// Makes the old writer read-only and waits until the new one has everything.
    pub(super) async fn lock_all(
        &self,
        old: usize,
        new: usize,
        in_step: &[usize],
        process: Server,
    ) -> Result<()> {
        let link = self.link(old);
        let duty = Duty::Demoted { in_step: in_step.to_vec() };
        self.reload(old, &duty, process, ["default_transaction_read_only", "on"]).await?;
        let mut locked = self.locked.lock().await;
        for row in link.rows("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn").await? {
            let database = row.into_iter().next().flatten().unwrap_or_default();
            locked.push(self.lock(old, &database).await?);
        }
        link.rows(END_WRITERS).await?;
        // The switch to another log file also writes out what was not yet on its way.
        let last = link.ask("SELECT pg_catalog.pg_switch_wal()").await?.unwrap_or_default();
        let caught_up = format!("SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{last}'");
        let end = Instant::now() + DEADLINE;
        while self.link(new).ask(&caught_up).await?.as_deref() != Some("t") {
            if Instant::now() > end {
                return Err(Error::timeout("the new writer to have everything", DEADLINE));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// Locks all tables of a database against writing. Sessions that do not let go in time are ended.
    async fn lock(&self, i: usize, database: &str) -> Result<Locked> {
        let link = self.link(i);
        let session = link.open(database).await?;
        let end = Instant::now() + DEADLINE;
        loop {
            let tables = texts(session.simple_query(TABLES).await.map_err(|error| link.failed(error))?);
            let mut sql = format!("BEGIN READ WRITE; SET LOCAL lock_timeout = {};", GRACE.as_millis());
            // Also against new tables.
            sql.push_str("LOCK TABLE pg_catalog.pg_class IN SHARE MODE;");
            for table in &tables {
                let _ = write!(sql, "LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;");
            }
            match session.batch_execute(&sql).await {
                Ok(()) => return Ok(Locked { session, tables }),
                Err(error) if Instant::now() > end => return Err(link.failed(error)),
                Err(_) => session.batch_execute("ROLLBACK").await.map_err(|error| link.failed(error))?,
            }
            link.rows(END_WRITERS).await?;
        }
    }
}

impl Locked {
    /// Puts triggers on all tables and gives the lock up.
    pub(super) async fn refuse_writes(self) -> Result<(), tokio_postgres::Error> {
        let mut sql = String::new();
        for table in &self.tables {
            let _ = write!(
                sql,
                "CREATE TRIGGER aurora_sim_demoted BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
                 FOR EACH STATEMENT EXECUTE FUNCTION aurora_sim.refuse_write();"
            );
        }
        sql.push_str(
            "CREATE EVENT TRIGGER aurora_sim_demoted ON ddl_command_start \
             EXECUTE FUNCTION aurora_sim.refuse_command(); COMMIT",
        );
        self.session.batch_execute(&sql).await
    }
}

fn texts(messages: Vec<SimpleQueryMessage>) -> Vec<String> {
    let text = |message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    };
    messages.into_iter().filter_map(text).collect()
}
