//! Settings of a server. The files are ours alone: written whole, never edited.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::error::{Attempt, Result};
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
    pub(crate) role: RoleSettings<'a>,
}

/// Settings that follow the role.
#[derive(Debug)]
pub(crate) enum RoleSettings<'a> {
    /// The writer, and the readers whose copy every commit waits for.
    Writer { in_step: &'a [&'a str] },
    /// A reader, and the server that it copies.
    Reader { writer: SocketAddr },
    /// A former writer that still runs, and may not write. Until the new one has taken over, its last commits wait for
    /// the same readers as before.
    Demoted { in_step: &'a [&'a str] },
}

impl Settings<'_> {
    /// Writes the file of a data directory, by rename: the server may read it at any time.
    pub(crate) fn write(&self, data: &Path) -> Result<()> {
        let draft = data.join(format!("{FILE}.new"));
        write(&draft, &self.text())?;
        let file = data.join(FILE);
        fs::rename(&draft, &file).attempt(|| format!("write {}", file.display()))?;
        let signal = data.join("standby.signal");
        match self.role {
            RoleSettings::Reader { .. } => write(&signal, ""),
            // PostgreSQL removes it itself when it promotes.
            RoleSettings::Writer { .. } | RoleSettings::Demoted { .. } => match fs::remove_file(&signal) {
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
        match self.role {
            RoleSettings::Writer { in_step } => line("synchronous_standby_names", &all_of(in_step)),
            RoleSettings::Reader { writer } => line(
                "primary_conninfo",
                &format!(
                    "host={} port={} user=postgres application_name={} sslmode=disable connect_timeout=2",
                    writer.ip(),
                    writer.port(),
                    self.instance
                ),
            ),
            RoleSettings::Demoted { in_step } => {
                line("synchronous_standby_names", &all_of(in_step));
                line("default_transaction_read_only", "on");
                line("aurora_sim.demoted", "on");
            }
        }
        text
    }
}

/// Value of `synchronous_standby_names` that waits for all of them.
pub(crate) fn all_of(standbys: &[&str]) -> String {
    if standbys.is_empty() {
        return String::new();
    }
    let names: Vec<String> = standbys.iter().map(|name| format!("\"{name}\"")).collect();
    format!("ANY {} ({})", names.len(), names.join(", "))
}

/// Writes a file that the server user can read, whatever our umask is.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).attempt(|| format!("write {}", path.display()))?;
    let everybody = fs::Permissions::from_mode(0o644);
    fs::set_permissions(path, everybody).attempt(|| format!("change the mode of {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_waits_for_every_reader_in_step() {
        assert_eq!(all_of(&[]), "");
        assert_eq!(all_of(&["instance-2", "instance-3"]), r#"ANY 2 ("instance-2", "instance-3")"#);
    }

    #[test]
    fn values_are_quoted() {
        let settings = Settings {
            instance: "instance-1",
            listen: "127.1.2.101:5432".parse().unwrap(),
            flavor: Flavor::Plain,
            state: Path::new("/tmp/it's"),
            tls: None,
            role: RoleSettings::Reader { writer: "127.1.2.102:5432".parse().unwrap() },
        };
        let text = settings.text();
        assert!(text.contains("aurora_sim.state_dir = '/tmp/it''s'\n"), "{text}");
        assert!(text.contains("primary_conninfo = 'host=127.1.2.102 port=5432 user=postgres"), "{text}");
        assert!(!text.contains("rds.extensions"), "{text}");
    }
}
