//! Switchover: another instance becomes the writer, the old one lives on and may not write.
//!
//! PostgreSQL cannot make a running primary a standby. So the old writer is fenced in four steps: new transactions
//! are read-only by default; a lock on every table holds up what is still writing or insists on writing; once
//! everything has reached the new writer, that one is promoted; then triggers take the lock's place and refuse
//! every write with the error of a reader, whatever a session has set. The triggers never reach the other instances,
//! because nobody copies the old writer any more, and vanish with its data when it settles.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::failover::FailoverReport;
use super::inner::{Inner, State};
use crate::error::{Error, Result};

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
struct Locked {
    session: Client,
    tables: Vec<String>,
}

impl Inner {
    pub(super) async fn switchover(self: Arc<Self>, to: Option<usize>) -> Result<FailoverReport> {
        let state = &mut *self.state.lock().await;
        let old = state.writer;
        if self.hosts.len() == 1 || !state.instances[old].is_responsive() {
            return Err(Error::invalid("a switchover needs a writer that answers and a reader"));
        }
        self.await_candidate(state, to).await?;
        let new = self.most_recent(state, to).await?;

        let killed_at = Instant::now();
        state.instances[old].demoted = true;
        let prepared = self.hand_over(state, old, new).await;
        let locked = match prepared {
            Ok(locked) => locked,
            Err(error) => {
                // Nobody was promoted: the writer is the writer again.
                state.instances[old].demoted = false;
                self.reload(state, old, "default_transaction_read_only", "off").await?;
                return Err(error);
            }
        };
        let promotion_at = Instant::now();
        self.promote(new).await?;
        let writable_at = Instant::now();
        let report = self.take_over(state, old, new, [killed_at, promotion_at, writable_at]).await?;
        self.reload(state, old, "synchronous_standby_names", "").await?;
        for database in locked {
            database.refuse_writes().await.map_err(|error| self.hosts[old].link.failed(error))?;
        }
        Ok(report)
    }

    /// Makes the old writer read-only and waits until the new one has everything.
    async fn hand_over(&self, state: &State, old: usize, new: usize) -> Result<Vec<Locked>> {
        let link = &self.hosts[old].link;
        self.reload(state, old, "default_transaction_read_only", "on").await?;
        let mut locked = Vec::new();
        for row in link.rows("SELECT datname FROM pg_catalog.pg_database WHERE datallowconn").await? {
            let database = row.into_iter().next().flatten().unwrap_or_default();
            locked.push(self.lock(old, &database).await?);
        }
        link.rows(END_WRITERS).await?;
        // The switch to another log file also writes out what was not yet on its way.
        let last = link.ask("SELECT pg_catalog.pg_switch_wal()").await?.unwrap_or_default();
        let caught_up = format!("SELECT pg_catalog.pg_last_wal_replay_lsn() >= '{last}'");
        let end = Instant::now() + DEADLINE;
        while self.hosts[new].link.ask(&caught_up).await?.as_deref() != Some("t") {
            if Instant::now() > end {
                return Err(Error::timeout(format!("{} to have everything", self.hosts[new].name), DEADLINE));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(locked)
    }

    /// Locks all tables of a database against writing. Sessions that do not let go in time are ended.
    async fn lock(&self, i: usize, database: &str) -> Result<Locked> {
        let link = &self.hosts[i].link;
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

    /// Makes a server read its settings and waits until one of them has its new value.
    async fn reload(&self, state: &State, i: usize, setting: &str, value: &str) -> Result<()> {
        self.write_settings(state, i)?;
        let Some(server) = state.instances[i].server else { return Ok(()) };
        server.reload()?;
        let end = Instant::now() + DEADLINE;
        while self.hosts[i].link.ask(&format!("SHOW {setting}")).await?.as_deref() != Some(value) {
            if Instant::now() > end {
                return Err(Error::timeout(format!("new settings of {}", self.hosts[i].name), DEADLINE));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }
}

impl Locked {
    /// Puts triggers on all tables and gives the lock up.
    async fn refuse_writes(self) -> Result<(), tokio_postgres::Error> {
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
