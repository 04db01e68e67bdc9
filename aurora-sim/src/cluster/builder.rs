//! What a cluster shall be.

use std::path::PathBuf;
use std::time::Duration;

use super::Cluster;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::flavor::Flavor;

/// Largest number of instances; a machine with two cores can serve them.
const MOST_INSTANCES: usize = 6;

/// Describes a cluster and starts it.
#[derive(Debug, Clone)]
#[must_use]
pub struct ClusterBuilder {
    pub(super) instances: usize,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) dns_lag: Duration,
    pub(super) tls: bool,
    pub(super) flavor: Flavor,
    pub(super) engine: Engine,
    pub(super) settings: Vec<(String, String)>,
    pub(super) port: Option<u16>,
    pub(super) folder: Option<PathBuf>,
    pub(super) cache: Option<PathBuf>,
    pub(super) postgres: Option<PathBuf>,
    pub(super) mysql: Option<PathBuf>,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        Self {
            instances: 3,
            name: "my-cluster".to_owned(),
            uid: "xyz".to_owned(),
            dns_lag: Duration::ZERO,
            tls: false,
            flavor: Flavor::Aurora,
            engine: Engine::Postgres,
            settings: Vec::new(),
            port: None,
            folder: None,
            cache: None,
            postgres: None,
            mysql: None,
        }
    }
}

impl ClusterBuilder {
    /// Number of instances, 1 to 6; one is the writer. Default: 3.
    pub fn instances(mut self, instances: usize) -> Self {
        self.instances = instances;
        self
    }

    /// Name of the cluster, the first part of its endpoints. Default: `my-cluster`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// What makes the names of one account and region unique, as in `….cluster-xyz.us-east-2.rds.amazonaws.com`.
    /// Clusters that one program sees at the same time need different ones. Default: `xyz`.
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.uid = uid.into();
        self
    }

    /// How long the names of the cluster keep leading to the old instance after a change. Default: 0.
    pub fn dns_lag(mut self, lag: Duration) -> Self {
        self.dns_lag = lag;
        self
    }

    /// Whether servers offer TLS, with a certificate for their names from an authority made for this cluster
    /// ([`Cluster::ca_pem_path`]). Connections without TLS stay possible. Default: no.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Which product to imitate. Default: [`Flavor::Aurora`].
    pub fn flavor(mut self, flavor: Flavor) -> Self {
        self.flavor = flavor;
        self
    }

    /// Which database product to run. Default: [`Engine::Postgres`].
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// A further setting of all servers, as their product names it, such as `default-time-zone` of MySQL or `work_mem`
    /// of PostgreSQL. May be called more than once; the last value of a name counts.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.settings.push((name.into(), value.into()));
        self
    }

    /// Port of all instances; each has its own address. Default: the engine's, 5432 or 3306.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Folder for everything that the cluster writes; must not exist or be empty, and is deleted with the cluster.
    /// Default: a new one in `/dev/shm` if 2 GiB are free there, else in the system's folder for temporary files.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Folder that keeps the template of data directories between runs. Default: `~/.cache/aurora-sim`.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache = Some(folder.into());
        self
    }

    /// Folder with PostgreSQL's programs. Default: the newest version that is installed.
    pub fn postgres(mut self, folder: impl Into<PathBuf>) -> Self {
        self.postgres = Some(folder.into());
        self
    }

    /// Folder that MySQL is unpacked in. Default: the newest one that [`install_mysql`](crate::install_mysql) has made.
    /// As root, it must be readable for everybody, because servers run as another user.
    pub fn mysql(mut self, folder: impl Into<PathBuf>) -> Self {
        self.mysql = Some(folder.into());
        self
    }

    pub(super) fn chosen_port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.engine.default_port())
    }

    /// Starts the servers and returns when all of them answer and every reader follows the writer.
    ///
    /// The first start on a machine takes a second longer because it makes the template.
    ///
    /// # Errors
    /// When PostgreSQL or a helper program is missing, a value is out of range, or a server does not start.
    ///
    /// # Cancellation
    /// Dropping the future undoes everything.
    pub async fn start(self) -> Result<Cluster> {
        if !(1..=MOST_INSTANCES).contains(&self.instances) {
            return Err(Error::invalid(format!(
                "{} instances: 1 to {MOST_INSTANCES} are possible",
                self.instances
            )));
        }
        for (what, label) in [("name", &self.name), ("uid", &self.uid)] {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if label.is_empty() || label.len() > 40 || !label.chars().all(valid) {
                return Err(Error::invalid(format!(
                    "{what} {label:?}: lower case letters, digits and - are possible"
                )));
            }
        }
        Cluster::boot(self).await
    }
}
