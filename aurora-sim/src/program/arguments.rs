//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use aurora_sim::{Cluster, ClusterBuilder, Engine, Flavor};
use clap::{Args, Parser, Subcommand};

use super::command::Command;

/// Local clusters of real PostgreSQL and MySQL servers that answer, are named and fail like Amazon Aurora.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(super) task: Task,
}

#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Starts clusters, runs a command that sees their names, and stops them; the exit code is the command's.
    Run(Run),
    /// Starts a cluster, prints its endpoints as one line of JSON and stays until it is interrupted.
    Up(Up),
    /// Tells a running cluster what to do, or asks it; prints JSON.
    Ctl(Ctl),
    /// Says what is missing on this machine and how to get it.
    Doctor(Doctor),
    /// Downloads MySQL's packages, checks their signatures and unpacks them into a cache folder; prints that folder.
    Install(Install),
}

#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Number of clusters side by side; the second one has the name NAME-2 and the account UID2, and so on.
    #[arg(long, default_value_t = 1)]
    pub(super) clusters: usize,
    /// Let the command use this machine's network; otherwise it sees nothing but the clusters.
    #[arg(long)]
    pub(super) host_network: bool,
    /// Folder that a first stage has prepared.
    #[arg(long, hide = true)]
    pub(super) prepared: Option<PathBuf>,
    /// What to run, with its arguments.
    #[arg(required = true, last = true)]
    pub(super) command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(super) struct Up {
    #[command(flatten)]
    pub(super) shape: Shape,
    /// Folder for all files of the cluster; must be empty or absent and is deleted at the end.
    #[arg(long)]
    pub(super) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// Folder of the cluster. Default: the environment variable `AURORA_SIM_DIR`, which `run` sets.
    #[arg(long)]
    pub(super) dir: Option<PathBuf>,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Database product to look for. Default: postgres.
    #[arg(long, default_value = "postgres")]
    pub(super) engine: Engine,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Database product: mysql. PostgreSQL is installed by the system's package manager.
    #[arg(long)]
    pub(super) engine: Engine,
    /// URL of a Debian mirror. Default: the first one in apt's configuration.
    #[arg(long)]
    pub(super) mirror: Option<String>,
    /// Folder of installations. Default: where clusters look for them.
    #[arg(long)]
    pub(super) folder: Option<PathBuf>,
}

/// What a cluster shall be.
#[derive(Debug, Args)]
pub(super) struct Shape {
    /// Database product.
    #[arg(long, default_value = "postgres")]
    pub(super) engine: Engine,
    /// Number of instances, 1 to 6.
    #[arg(long, default_value_t = 3)]
    pub(super) instances: usize,
    /// Name of the cluster.
    #[arg(long, default_value = "my-cluster")]
    pub(super) cluster: String,
    /// What makes names of one account unique.
    #[arg(long, default_value = "xyz")]
    pub(super) uid: String,
    /// Offer TLS, with certificates for the names of the cluster.
    #[arg(long)]
    pub(super) tls: bool,
    /// How long names keep leading to the old instance after a change, such as 5s.
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub(super) dns_lag: Duration,
    /// What to imitate: aurora, rds, multi-az, plain.
    #[arg(long, default_value = "aurora")]
    pub(super) flavor: Flavor,
    /// Port of all instances. Default: the engine's.
    #[arg(long)]
    pub(super) port: Option<u16>,
    /// A further setting of all servers, NAME=VALUE, such as default-time-zone=+05:00 of MySQL.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(super) settings: Vec<(String, String)>,
    /// Folder with PostgreSQL's programs. Default: the newest version installed.
    #[arg(long)]
    pub(super) postgres: Option<PathBuf>,
    /// Folder that MySQL is unpacked in. Default: the newest one of `install`.
    #[arg(long)]
    pub(super) mysql: Option<PathBuf>,
}

impl Shape {
    /// The cluster of this number, counted from 1.
    pub(super) fn builder(&self, number: usize) -> ClusterBuilder {
        let (mut name, mut uid) = (self.cluster.clone(), self.uid.clone());
        if number > 1 {
            name = format!("{name}-{number}");
            uid = format!("{uid}{number}");
        }
        let builder = Cluster::builder().instances(self.instances).name(name).uid(uid).tls(self.tls);
        let mut builder = builder.dns_lag(self.dns_lag).flavor(self.flavor);
        if let Some(port) = self.port {
            builder = builder.port(port);
        }
        builder = builder.engine(self.engine);
        for (name, value) in &self.settings {
            builder = builder.setting(name, value);
        }
        if let Some(folder) = &self.postgres {
            builder = builder.postgres(folder);
        }
        if let Some(folder) = &self.mysql {
            builder = builder.mysql(folder);
        }
        builder
    }
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("NAME=VALUE is expected")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Reads `20ms`, `5s`, `1.5s`, `2m`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED: &str = "a duration such as 20ms, 5s or 2m is expected";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(EXPECTED),
    };
    let number: f64 = digits.parse().map_err(|_| EXPECTED)?;
    Duration::try_from_secs_f64(number * factor).map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("20ms"), Ok(Duration::from_millis(20)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        assert!(duration("5").is_err() && duration("-1s").is_err() && duration("s").is_err());
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
