//! Which readers a commit waits for.
//!
//! A semi-synchronous source waits for a number of receipts, whoever sends them. So the number always equals the number
//! of readers that send any: one that joins is counted before it sends its first receipt, and one that leaves has sent
//! its last one, and the others have caught up with it, before it is no longer counted.

use std::time::Duration;

use mysql_async::Row;
use tokio::time::{Instant, sleep};

use super::MySql;
use super::gtids;
use super::link::text;
use crate::error::{Error, Result};

/// Readers connect and catch up within some tens of milliseconds.
const DEADLINE: Duration = Duration::from_secs(3);

const POLL: Duration = Duration::from_millis(1);

impl MySql {
    /// Makes commits wait for exactly these readers; tells whether some have joined.
    pub(super) async fn count(&self, writer: usize, readers: &[usize]) -> Result<bool> {
        let counted = &mut *self.counted.lock().await;
        let leaving: Vec<usize> = counted.iter().copied().filter(|i| !readers.contains(i)).collect();
        if !leaving.is_empty() {
            self.release(writer, &leaving, readers).await?;
            counted.retain(|i| readers.contains(i));
        }
        let joining: Vec<usize> = readers.iter().copied().filter(|i| !counted.contains(i)).collect();
        if joining.is_empty() {
            return Ok(false);
        }
        self.set_number(writer, readers.len()).await?;
        if let Err(error) = self.admit(writer, &joining, readers.len()).await {
            self.release(writer, &joining, counted).await?;
            return Err(error);
        }
        counted.clear();
        counted.extend_from_slice(readers);
        Ok(true)
    }

    /// Commits something. A reader never sends a receipt for what it had received before it joined; one for what comes
    /// later is good for all before it.
    pub(super) async fn pulse(&self, writer: usize) -> Result<()> {
        self.link(writer).run(&["REPLACE INTO aurora_sim.pulse VALUES (1, NOW(6))"]).await
    }

    /// Makes readers send receipts, and waits until the writer knows of `number` that do.
    async fn admit(&self, writer: usize, joining: &[usize], number: usize) -> Result<()> {
        for &i in joining {
            let statements = [
                "SET GLOBAL rpl_semi_sync_replica_enabled = ON",
                "STOP REPLICA IO_THREAD",
                "START REPLICA IO_THREAD",
            ];
            self.link(i).run(&statements).await?;
        }
        self.until_senders(writer, |senders| senders == number).await
    }

    /// Makes readers send no more receipts, and lowers the number when those who stay have all that was receipted.
    async fn release(&self, writer: usize, leaving: &[usize], staying: &[usize]) -> Result<()> {
        let staying: Vec<usize> = staying.iter().copied().filter(|i| !leaving.contains(i)).collect();
        for &i in leaving {
            // An error means that it is dead, and sends nothing any more.
            let _ = self.link(i).run(&["SET GLOBAL rpl_semi_sync_replica_enabled = OFF"]).await;
            self.hang_up(writer, i).await?;
        }
        self.until_senders(writer, |senders| senders <= staying.len()).await?;
        if !staying.is_empty() {
            self.until_equal(writer, &staying).await?;
        }
        self.set_number(writer, staying.len()).await
    }

    /// Ends the writer's session with a reader; one that lives comes back by itself.
    async fn hang_up(&self, writer: usize, reader: usize) -> Result<()> {
        let address = format!("{}:", self.common.sites[reader].server.ip());
        let sessions = self.link(writer).rows("SHOW PROCESSLIST").await?;
        let is_dump = |row: &&Row| {
            text(row, 2).is_some_and(|host| host.starts_with(&address))
                && text(row, 4).is_some_and(|command| command.starts_with("Binlog Dump"))
        };
        for id in sessions.iter().filter(is_dump).filter_map(|row| text(row, 0)) {
            // An error means that it has ended by itself.
            let _ = self.link(writer).run(&[&format!("KILL {id}")]).await;
        }
        Ok(())
    }

    /// Waits until readers have received all that the writer has begun to commit.
    async fn until_equal(&self, writer: usize, readers: &[usize]) -> Result<()> {
        let begun = "SELECT CONCAT(@@GLOBAL.gtid_executed, '|', @@GLOBAL.gtid_owned)";
        let begun = self.link(writer).ask(begun).await?.unwrap_or_default().replace('\n', "");
        let (executed, owned) = begun.split_once('|').unwrap_or((&begun, ""));
        let all = [executed.to_owned(), gtids::owned(owned)].join(",");
        let end = Instant::now() + DEADLINE;
        for &i in readers {
            // One that does not answer is dead, which is found out by others.
            while !self.has(i, all.trim_matches(',')).await.unwrap_or(true) {
                if Instant::now() > end {
                    return Err(Error::timeout("readers to have what another one has", DEADLINE));
                }
                sleep(POLL).await;
            }
        }
        Ok(())
    }

    async fn until_senders(&self, writer: usize, enough: impl Fn(usize) -> bool) -> Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            let status =
                self.link(writer).rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_source_clients'").await?;
            let senders = status.first().and_then(|row| text(row, 1)).and_then(|number| number.parse().ok());
            if senders.is_some_and(&enough) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Error::timeout("readers to connect to the writer", DEADLINE));
            }
            sleep(POLL).await;
        }
    }

    /// Makes commits wait for so many receipts.
    pub(super) async fn set_number(&self, writer: usize, number: usize) -> Result<()> {
        let link = self.link(writer);
        if number == 0 {
            return link.run(&["SET GLOBAL rpl_semi_sync_source_enabled = OFF"]).await;
        }
        let set = format!("SET GLOBAL rpl_semi_sync_source_wait_for_replica_count = {number}");
        link.run(&[&set, "SET GLOBAL rpl_semi_sync_source_enabled = ON"]).await
    }
}
