//! The servers of one cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use rustix::process::Signal;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::link::Link;
use super::programs::Programs;
use super::settings::{Settings, all_of};
use super::switchover::Locked;
use super::template::template;
use crate::database::{Common, Database, Duty, Product, Site};
use crate::error::{Error, Result};
use crate::files::remove_folder;
use crate::flavor::Flavor;
use crate::keeper::Server;
use crate::programs::ServerUser;

/// A promotion takes a tenth of a second.
const PROMOTION_DEADLINE: Duration = Duration::from_secs(30);

/// A server reads new settings within milliseconds.
const SETTINGS_DEADLINE: Duration = Duration::from_secs(5);

/// PostgreSQL servers, one for each instance.
#[derive(Debug)]
pub(crate) struct Postgres {
    programs: Programs,
    flavor: Flavor,
    common: Common,
    links: Vec<Link>,
    /// Databases of a writer that is being replaced, locked against writing.
    pub(super) locked: Mutex<Vec<Locked>>,
}

/// PostgreSQL as it was found on this machine.
#[derive(Debug)]
pub(crate) struct Installed(Programs, Flavor);

impl Installed {
    /// Looks for PostgreSQL's programs. `folder` overrides the search.
    pub(crate) fn find(folder: Option<&Path>, flavor: Flavor) -> Result<Self> {
        Ok(Self(Programs::find(folder)?, flavor))
    }
}

#[async_trait]
impl Product for Installed {
    fn user(&self) -> Option<&ServerUser> {
        self.0.user.as_ref()
    }

    async fn template(&self, cache: &Path, scratch: &Path) -> Result<PathBuf> {
        template(&self.0, self.1, cache, scratch).await
    }

    fn servers(self: Box<Self>, _: PathBuf, common: Common) -> Box<dyn Database> {
        let link = |site: &Site| Link::new(&site.name, site.server, &common.tasks);
        let links = common.sites.iter().map(link).collect();
        Box::new(Postgres { programs: self.0, flavor: self.1, common, links, locked: Mutex::default() })
    }
}

impl Postgres {
    pub(super) fn link(&self, i: usize) -> &Link {
        &self.links[i]
    }

    /// Writes the settings that follow from an instance's duty. The server reads them at its start or when reloaded.
    fn write_settings(&self, i: usize, duty: &Duty) -> Result<()> {
        let site = &self.common.sites[i];
        let settings = Settings {
            instance: &site.name,
            listen: site.server,
            flavor: self.flavor,
            state: &self.common.state,
            tls: self.common.tls.as_deref(),
            more: &self.common.settings,
            sites: &self.common.sites,
            duty,
        };
        settings.write(&site.data)
    }

    /// Makes a server read its settings and waits until one of them has its new value.
    pub(super) async fn reload(
        &self,
        i: usize,
        duty: &Duty,
        process: Server,
        [setting, value]: [&str; 2],
    ) -> Result<()> {
        self.write_settings(i, duty)?;
        process.reload()?;
        let end = Instant::now() + SETTINGS_DEADLINE;
        while self.links[i].ask(&format!("SHOW {setting}")).await?.as_deref() != Some(value) {
            if !process.is_alive() {
                return Ok(());
            }
            if Instant::now() > end {
                let what = format!("new settings of {}", self.common.sites[i].name);
                return Err(Error::timeout(what, SETTINGS_DEADLINE));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn numbers(&self, rows: &[Vec<Option<String>>]) -> Vec<usize> {
        let number = |row: &Vec<Option<String>>| {
            let name = row.first()?.as_deref()?;
            self.common.sites.iter().position(|site| site.name == name)
        };
        rows.iter().filter_map(number).collect()
    }
}

#[async_trait]
impl Database for Postgres {
    fn prepare(&self, i: usize, duty: &Duty) -> Result<Vec<String>> {
        let data = &self.common.sites[i].data;
        self.write_settings(i, duty)?;
        // Left behind by a kill; its process id may belong to another server by now.
        let _ = fs::remove_file(data.join("postmaster.pid"));
        let mut words = self.programs.as_server_user("postgres");
        words.extend(["-D".to_owned(), data.display().to_string()]);
        Ok(words)
    }

    fn stop_signal(&self) -> Signal {
        Signal::INT
    }

    fn resource_id(&self, i: usize) -> String {
        format!("db-{}", self.common.sites[i].name.to_ascii_uppercase())
    }

    async fn answers(&self, i: usize) -> Result<()> {
        self.links[i].ask("SELECT 1").await.map(drop)
    }

    async fn begin(&self, _: usize, _: &Duty) -> Result<()> {
        Ok(())
    }

    async fn forget(&self, i: usize) {
        self.links[i].forget().await;
    }

    async fn follow(&self, i: usize, writer: usize, process: Server) -> Result<bool> {
        self.write_settings(i, &Duty::Reader { writer })?;
        process.reload().map(|()| true)
    }

    async fn followers(&self, writer: usize) -> Result<Vec<usize>> {
        let query = "SELECT application_name FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'";
        Ok(self.numbers(&self.links[writer].rows(query).await?))
    }

    async fn wait_for(&self, writer: usize, in_step: &[usize], process: Option<Server>) -> Result<()> {
        let duty = Duty::Writer { in_step: in_step.to_vec() };
        let Some(process) = process else { return self.write_settings(writer, &duty) };
        let wanted = all_of(&self.common.sites, in_step);
        self.reload(writer, &duty, process, ["synchronous_standby_names", &wanted]).await
    }

    async fn written(&self, writer: usize) -> Result<String> {
        let position = self.links[writer].ask("SELECT pg_catalog.pg_current_wal_flush_lsn()").await?;
        Ok(position.unwrap_or_default())
    }

    async fn have_received(&self, writer: usize, _: &[usize], mark: &str) -> Result<Vec<usize>> {
        let query = format!(
            "SELECT application_name FROM pg_catalog.pg_stat_replication \
             WHERE sync_state <> 'async' AND write_lsn >= '{mark}'"
        );
        Ok(self.numbers(&self.links[writer].rows(&query).await?))
    }

    async fn received(&self, reader: usize) -> Result<u64> {
        let query = "SELECT GREATEST(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn()) - '0/0'";
        Ok(self.links[reader].ask(query).await?.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    async fn promote(&self, reader: usize) -> Result<()> {
        let link = &self.links[reader];
        link.ask("SELECT pg_catalog.pg_promote(false)").await?;
        let end = Instant::now() + PROMOTION_DEADLINE;
        while link.ask("SELECT pg_catalog.pg_is_in_recovery_builtin()").await?.as_deref() != Some("f") {
            if Instant::now() > end {
                let what = format!("the promotion of {}", self.common.sites[reader].name);
                return Err(Error::timeout(what, PROMOTION_DEADLINE));
            }
            sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    fn turns_around(&self) -> bool {
        false
    }

    async fn close_writes(&self, old: usize, new: usize, in_step: &[usize], process: Server) -> Result<()> {
        self.lock_all(old, new, in_step, process).await
    }

    async fn reopen_writes(&self, old: usize, in_step: &[usize], process: Server) -> Result<()> {
        self.locked.lock().await.clear();
        let duty = Duty::Writer { in_step: in_step.to_vec() };
        self.reload(old, &duty, process, ["default_transaction_read_only", "off"]).await
    }

    async fn seal(&self, old: usize, process: Server) -> Result<()> {
        let duty = Duty::Demoted { in_step: Vec::new() };
        self.reload(old, &duty, process, ["synchronous_standby_names", ""]).await?;
        for database in self.locked.lock().await.drain(..) {
            database.refuse_writes().await.map_err(|error| self.links[old].failed(error))?;
        }
        Ok(())
    }

    async fn renew(&self, i: usize, writer: usize) -> Result<()> {
        let data = &self.common.sites[i].data;
        remove_folder(data).await?;
        let source = self.common.sites[writer].server;
        let (address, port, path) =
            (source.ip().to_string(), source.port().to_string(), data.display().to_string());
        let from = ["-h", &address, "-p", &port, "-U", "postgres", "-D", &path];
        let how = ["-X", "stream", "-c", "fast", "--no-sync", "--no-manifest"];
        self.programs.run("pg_basebackup", &[&from[..], &how[..]].concat()).await.map(drop)
    }

    async fn position(&self, i: usize, reader: bool) -> Result<Option<String>> {
        let query = if reader {
            "SELECT pg_catalog.pg_last_wal_replay_lsn()"
        } else {
            "SELECT pg_catalog.pg_current_wal_lsn()"
        };
        self.links[i].ask(query).await
    }
}
