//! Settings of a server. The files are ours alone: written whole, never edited.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use crate::database::{Duty, Site};
use crate::error::{Attempt, Result};
use crate::files::write;
use crate::flavor::Flavor;

/// Name of the file with what differs between instances.
const FILE: &str = "aurora-sim.conf";

/// `pg_hba.conf`: the superuser is ours, all others log in with a password.
pub(crate) const ACCESS: &str = "\
host all         postgres 127.0.0.0/8 trust
host replication postgres 127.0.0.0/8 trust
host all         all      127.0.0.0/8 scram-sha-256
";

/// `postgresql.conf`: what all instances of all clusters share.
///
/// Nothing here survives a crash of the whole machine (`fsync`), everything survives the end of a process.
/// Shared memory is in the data directory, so that nothing stays behind in `/dev/shm` after a kill.
pub(crate) const MAIN: &str = "\
max_connections = 500
max_wal_senders = 20
shared_buffers = 32MB
unix_socket_directories = ''
dynamic_shared_memory_type = mmap
password_encryption = scram-sha-256
timezone = 'UTC'
lc_messages = 'C.UTF-8'
jit = off
fsync = off
full_page_writes = off
synchronous_commit = remote_write
wal_level = replica
min_wal_size = 32MB
max_wal_size = 512MB
wal_keep_size = 128MB
hot_standby = on
hot_standby_feedback = on
wal_retrieve_retry_interval = 50ms
wal_receiver_status_interval = 1s
wal_receiver_timeout = 10s
wal_sender_timeout = 0
log_checkpoints = off
log_line_prefix = '%m [%p] %u@%d '
include_if_exists = 'aurora-sim.conf'
";

/// What differs between instances and changes in their life.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) instance: &'a str,
    pub(crate) listen: SocketAddr,
    pub(crate) flavor: Flavor,
    /// Folder of the state that functions read.
    pub(crate) state: &'a Path,
    /// Folder with `server.crt` and `server.key`.
    pub(crate) tls: Option<&'a Path>,
    /// Further settings.
    pub(crate) more: &'a [(String, String)],
    pub(crate) sites: &'a [Site],
    pub(crate) duty: &'a Duty,
}

impl Settings<'_> {
    /// Writes the file of a data directory, by rename: the server may read it at any time.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let draft = data.join(format!("{FILE}.new"));
        write(&draft, &self.text())?;
        let file = data.join(FILE);
        fs::rename(&draft, &file).attempt(|| format!("write {}", file.display()))?;
        let signal = data.join("standby.signal");
        match self.duty {
            Duty::Reader { .. } => write(&signal, ""),
            // PostgreSQL removes it itself when it promotes.
            Duty::Writer { .. } | Duty::Demoted { .. } => match fs::remove_file(&signal) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(error).attempt(|| format!("delete {}", signal.display()))
                }
                _ => Ok(()),
            },
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
        };
        line("cluster_name", self.instance);
        line("listen_addresses", &self.listen.ip().to_string());
        line("port", &self.listen.port().to_string());
        line("aurora_sim.state_dir", &self.state.display().to_string());
        if let Some(extensions) = self.flavor.extensions() {
            line("rds.extensions", extensions);
        }
        if let Some(folder) = self.tls {
            line("ssl", "on");
            line("ssl_cert_file", &folder.join("server.crt").display().to_string());
            line("ssl_key_file", &folder.join("server.key").display().to_string());
        }
        for (name, value) in self.more {
            line(name, value);
        }
        match self.duty {
            Duty::Writer { in_step } => line("synchronous_standby_names", &all_of(self.sites, in_step)),
            Duty::Reader { writer } => line(
                "primary_conninfo",
                &format!(
                    "host={} port={} user=postgres application_name={} sslmode=disable connect_timeout=2",
                    self.sites[*writer].server.ip(),
                    self.sites[*writer].server.port(),
                    self.instance
                ),
            ),
            Duty::Demoted { in_step } => {
                line("synchronous_standby_names", &all_of(self.sites, in_step));
                line("default_transaction_read_only", "on");
                line("aurora_sim.demoted", "on");
            }
        }
        text
    }
}

/// Value of `synchronous_standby_names` that waits for all of them.
pub(crate) fn all_of(sites: &[Site], standbys: &[usize]) -> String {
    if standbys.is_empty() {
        return String::new();
    }
    let names: Vec<String> = standbys.iter().map(|&i| format!("\"{}\"", sites[i].name)).collect();
    format!("ANY {} ({})", names.len(), names.join(", "))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn site(n: u8) -> Site {
        Site {
            name: format!("instance-{n}"),
            server: format!("127.1.2.10{n}:5432").parse().unwrap(),
            public: format!("127.1.2.{n}").parse().unwrap(),
            data: PathBuf::new(),
        }
    }

    #[test]
    fn a_writer_waits_for_every_reader_in_step() {
        let sites = [site(1), site(2), site(3)];
        assert_eq!(all_of(&sites, &[]), "");
        assert_eq!(all_of(&sites, &[1, 2]), r#"ANY 2 ("instance-2", "instance-3")"#);
    }

    #[test]
    fn values_are_quoted() {
        let settings = Settings {
            instance: "instance-1",
            listen: "127.1.2.101:5432".parse().unwrap(),
            flavor: Flavor::Plain,
            state: Path::new("/tmp/it's"),
            tls: None,
            more: &[("work_mem".to_owned(), "8MB".to_owned())],
            sites: &[site(1), site(2)],
            duty: &Duty::Reader { writer: 1 },
        };
        let text = settings.text();
        assert!(text.contains("aurora_sim.state_dir = '/tmp/it''s'\n"), "{text}");
        assert!(text.contains("primary_conninfo = 'host=127.1.2.102 port=5432 user=postgres"), "{text}");
        assert!(text.contains("work_mem = '8MB'"), "{text}");
        assert!(!text.contains("rds.extensions"), "{text}");
    }
}
