//! The servers of one cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::sync::Mutex;

use super::link::{Link, text};
use super::programs::Programs;
use super::template::template;
use super::{gtids, plugin, settings};
use crate::database::{Common, Database, Duty, Product};
use crate::error::{Error, Result};
use crate::files::{copy, remove_folder};
use crate::flavor::Flavor;
use crate::keeper::Server;
use crate::programs::ServerUser;

/// A reader applies what it has received; a client may have given it much to do.
const APPLY_DEADLINE: Duration = Duration::from_secs(60);

/// Seconds after which a writer's idle session with a reader looks around, and sees that it was told to end.
const HEARTBEAT: f64 = 0.05;

/// MySQL servers, one for each instance.
#[derive(Debug)]
pub(crate) struct MySql {
    programs: Programs,
    plugins: PathBuf,
    flavor: Flavor,
    template: PathBuf,
    pub(super) common: Common,
    links: Vec<Link>,
    /// Readers whose receipts the writer counts at this moment.
    pub(super) counted: Mutex<Vec<usize>>,
    /// Instances whose data holds transactions that the writer does not have.
    diverged: Vec<AtomicBool>,
}

/// MySQL as it was found on this machine.
#[derive(Debug)]
pub(crate) struct Installed {
    programs: Programs,
    flavor: Flavor,
    plugins: PathBuf,
}

impl Installed {
    /// Looks for MySQL. `folder` overrides the search.
    pub(crate) fn find(folder: Option<&Path>, flavor: Flavor) -> Result<Self> {
        let programs = Programs::find(folder)?;
        let plugins = plugin::folder(&programs);
        Ok(Self { programs, flavor, plugins })
    }
}

#[async_trait]
impl Product for Installed {
    fn user(&self) -> Option<&ServerUser> {
        self.programs.user.as_ref()
    }

    async fn template(&self, cache: &Path, scratch: &Path) -> Result<PathBuf> {
        plugin::prepare(&self.programs, &self.plugins, scratch).await?;
        template(&self.programs, &self.plugins, self.flavor, cache, scratch).await
    }

    fn servers(self: Box<Self>, template: PathBuf, common: Common) -> Box<dyn Database> {
        let links = common.sites.iter().map(|site| Link::new(&site.name, site.server)).collect();
        let diverged = common.sites.iter().map(|_| AtomicBool::new(false)).collect();
        let Self { programs, flavor, plugins } = *self;
        let counted = Mutex::default();
        Box::new(MySql { programs, plugins, flavor, template, common, links, counted, diverged })
    }
}

impl MySql {
    pub(super) fn link(&self, i: usize) -> &Link {
        &self.links[i]
    }

    pub(super) async fn executed(&self, i: usize) -> Result<String> {
        Ok(self.links[i].ask("SELECT @@GLOBAL.gtid_executed").await?.unwrap_or_default().replace('\n', ""))
    }

    /// What a reader has received from its source, since it follows that one.
    async fn retrieved(&self, i: usize) -> Result<String> {
        let mut status = self.links[i].fields("SHOW REPLICA STATUS").await?;
        Ok(status.remove("Retrieved_Gtid_Set").unwrap_or_default().replace('\n', ""))
    }

    /// Whether an instance has received or executed all of a set.
    pub(super) async fn has(&self, i: usize, set: &str) -> Result<bool> {
        let retrieved = self.retrieved(i).await?;
        let missing =
            format!("SELECT GTID_SUBTRACT(GTID_SUBTRACT('{set}', '{retrieved}'), @@GLOBAL.gtid_executed)");
        Ok(self.links[i].ask(&missing).await?.is_some_and(|missing| missing.is_empty()))
    }

    /// Waits until an instance has executed all of a set.
    pub(super) async fn until_executed(&self, i: usize, set: &str) -> Result<()> {
        let seconds = APPLY_DEADLINE.as_secs();
        let wait = format!("SELECT WAIT_FOR_EXECUTED_GTID_SET('{set}', {seconds})");
        let rows = self.links[i].rows_within(&wait, APPLY_DEADLINE).await?;
        if rows.first().and_then(|row| text(row, 0)).as_deref() == Some("0") {
            return Ok(());
        }
        let what = format!("{} to apply what it has received", self.common.sites[i].name);
        Err(Error::timeout(what, APPLY_DEADLINE))
    }

    /// Whether an instance holds transactions that the writer does not have, and remembers it. A writer that does not answer
    /// has not changed since this was last asked: only a failover makes a difference, and its writer answers.
    async fn is_ahead(&self, i: usize, writer: usize) -> bool {
        let surplus = async {
            let theirs = self.executed(writer).await?;
            self.links[i].ask(&format!("SELECT GTID_SUBTRACT(@@GLOBAL.gtid_executed, '{theirs}')")).await
        };
        let ahead = surplus.await.ok().flatten().is_some_and(|surplus| !surplus.is_empty());
        self.diverged[i].store(ahead, Ordering::SeqCst);
        ahead
    }

    /// Makes a server a reader of another one. It does not count for commits yet.
    async fn copy_from(&self, i: usize, writer: usize) -> Result<()> {
        let (source, own) = (self.common.sites[writer].server, self.common.sites[i].server.ip());
        let change = format!(
            "CHANGE REPLICATION SOURCE TO SOURCE_HOST = '{}', SOURCE_PORT = {}, SOURCE_BIND = '{own}', \
             SOURCE_USER = 'root', SOURCE_AUTO_POSITION = 1, SOURCE_CONNECT_RETRY = 1, SOURCE_RETRY_COUNT = 0, \
             SOURCE_HEARTBEAT_PERIOD = {HEARTBEAT}, SOURCE_SSL = 0",
            source.ip(),
            source.port(),
        );
        // Its threads may run already: of a copy that was begun before and not seen to the end.
        let statements =
            ["STOP REPLICA", "SET GLOBAL rpl_semi_sync_replica_enabled = OFF", &change, "START REPLICA"];
        self.links[i].run(&statements).await
    }

    /// Lets a server take writes that count the receipts of readers.
    async fn open_writes(&self, i: usize) -> Result<()> {
        self.links[i].run(&["SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF"]).await
    }
}

#[async_trait]
impl Database for MySql {
    fn prepare(&self, i: usize, _: &Duty) -> Result<Vec<String>> {
        // Left behind by a kill; its process id may belong to another server by now.
        let _ = fs::remove_file(self.common.sites[i].data.join("mysqld.pid"));
        let (mut words, _) = self.programs.mysqld();
        words.extend(settings::member(&self.programs, &self.plugins, self.flavor, &self.common, i));
        Ok(words)
    }

    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    fn resource_id(&self, i: usize) -> String {
        settings::server_id(i).to_string()
    }

    async fn answers(&self, i: usize) -> Result<()> {
        self.links[i].ask("SELECT 1").await.map(drop)
    }

    async fn begin(&self, i: usize, duty: &Duty) -> Result<()> {
        match duty {
            Duty::Reader { writer } => {
                if self.is_ahead(i, *writer).await {
                    let name = &self.common.sites[i].name;
                    return Err(Error::invalid(format!(
                        "{name} holds transactions that the writer does not have"
                    )));
                }
                self.copy_from(i, *writer).await
            }
            Duty::Writer { in_step } => {
                self.links[i].run(&["STOP REPLICA", "RESET REPLICA ALL"]).await?;
                self.counted.lock().await.clear();
                if let Err(error) = self.count(i, in_step).await {
                    // Commits have to wait until it is known which readers are left.
                    tracing::warn!(%error, "readers do not connect to the writer that has started");
                    self.set_number(i, in_step.len()).await?;
                }
                self.open_writes(i).await
            }
            Duty::Demoted { .. } => Ok(()),
        }
    }

    async fn forget(&self, i: usize) {
        self.links[i].forget().await;
    }

    async fn follow(&self, i: usize, writer: usize, _: Server) -> Result<bool> {
        self.links[i].run(&["STOP REPLICA", "SET GLOBAL rpl_semi_sync_source_enabled = OFF"]).await?;
        if self.is_ahead(i, writer).await {
            return Ok(false);
        }
        self.copy_from(i, writer).await.map(|()| true)
    }

    async fn followers(&self, writer: usize) -> Result<Vec<usize>> {
        let mark = self.executed(writer).await?;
        let mut followers = Vec::new();
        for row in self.links[writer].rows("SHOW REPLICAS").await? {
            let id = text(&row, 0).and_then(|id| id.parse::<usize>().ok());
            let found = (0..self.links.len()).find(|&i| Some(settings::server_id(i)) == id);
            // One that does not answer is found to be dead by others.
            if let Some(i) = found.filter(|&i| i != writer)
                && self.has(i, &mark).await.unwrap_or(false)
            {
                followers.push(i);
            }
        }
        Ok(followers)
    }

    async fn wait_for(&self, writer: usize, in_step: &[usize], process: Option<Server>) -> Result<()> {
        match process {
            Some(_) => {
                if self.count(writer, in_step).await? {
                    self.pulse(writer).await?;
                }
                Ok(())
            }
            // It is told when it answers again.
            None => Ok(()),
        }
    }

    async fn written(&self, writer: usize) -> Result<String> {
        self.executed(writer).await
    }

    async fn have_received(&self, _: usize, readers: &[usize], mark: &str) -> Result<Vec<usize>> {
        let mut have = Vec::new();
        for &i in readers {
            if self.has(i, mark).await.unwrap_or(false) {
                have.push(i);
            }
        }
        Ok(have)
    }

    async fn received(&self, reader: usize) -> Result<u64> {
        let retrieved = self.retrieved(reader).await?;
        let more =
            format!("SELECT GTID_SUBTRACT('{retrieved}', @@GLOBAL.gtid_executed), @@GLOBAL.gtid_executed");
        let rows = self.links[reader].rows(&more).await?;
        let of = |column| rows.first().and_then(|row| text(row, column)).map_or(0, |set| gtids::count(&set));
        Ok(of(0) + of(1))
    }

    async fn promote(&self, reader: usize) -> Result<()> {
        self.links[reader].run(&["STOP REPLICA IO_THREAD"]).await?;
        let received = self.retrieved(reader).await?;
        self.until_executed(reader, &received).await?;
        self.counted.lock().await.clear();
        let statements = [
            "STOP REPLICA",
            "RESET REPLICA ALL",
            "SET GLOBAL rpl_semi_sync_replica_enabled = OFF",
            "SET GLOBAL rpl_semi_sync_source_enabled = OFF",
        ];
        self.links[reader].run(&statements).await?;
        self.open_writes(reader).await
    }

    fn turns_around(&self) -> bool {
        true
    }

    async fn close_writes(&self, old: usize, new: usize, _: &[usize], _: Server) -> Result<()> {
        self.make_read_only(old).await?;
        let all = self.executed(old).await?;
        self.until_executed(new, &all).await
    }

    async fn reopen_writes(&self, old: usize, _: &[usize], _: Server) -> Result<()> {
        self.open_writes(old).await
    }

    async fn seal(&self, _: usize, _: Server) -> Result<()> {
        Ok(())
    }

    async fn renew(&self, i: usize, _: usize) -> Result<()> {
        let data = &self.common.sites[i].data;
        if data.exists() && !self.diverged[i].load(Ordering::SeqCst) {
            return Ok(());
        }
        remove_folder(data).await?;
        copy(&self.template, data).await?;
        self.diverged[i].store(false, Ordering::SeqCst);
        Ok(())
    }

    async fn position(&self, i: usize, _: bool) -> Result<Option<String>> {
        self.executed(i).await.map(Some)
    }
}
