//! Options of a server: all on its command line, no file.

use std::path::Path;

use super::plugin::LIBRARY;
use super::programs::Programs;
use crate::database::Common;
use crate::flavor::Flavor;

/// What the template and all servers share.
///
/// Nothing here survives a crash of the whole machine (`nosync`), everything survives the end of a process: redo is
/// written with each commit (2), so that the data is never behind the binary log.
const COMMON: [&str; 17] = [
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--innodb-flush-method=nosync",
    "--innodb-doublewrite=OFF",
    "--innodb-buffer-pool-size=64M",
    "--innodb-redo-log-capacity=16M",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--performance-schema=OFF",
    "--mysqlx=OFF",
    "--secure-file-priv=",
    "--default-time-zone=+00:00",
    "--auto-generate-certs=OFF",
    "--character-set-server=utf8mb4",
    "--skip-replica-start",
    "--enforce-gtid-consistency=ON",
    "--gtid-mode=ON",
];

/// What a server in a cluster has besides. It begins as a reader; its duty follows by SQL.
///
/// Relay logs survive a restart: they may hold the only other copy of what was acknowledged. Binary logs are kept for
/// ever: a reader that has to begin anew gets all of them, also what it has written itself in a former life
/// (`replicate-same-server-id`).
const MEMBER: [&str; 13] = [
    "--read-only=ON",
    "--super-read-only=ON",
    "--log-bin=binlog",
    "--relay-log=relay",
    "--relay-log-recovery=OFF",
    "--binlog-expire-logs-seconds=0",
    "--replica-net-timeout=10",
    "--replicate-same-server-id=ON",
    "--skip-name-resolve",
    "--max-connections=500",
    "--socket=",
    "--rpl-semi-sync-source-timeout=4294967295",
    "--rpl-semi-sync-source-wait-point=AFTER_SYNC",
];

/// Options for making the template, before anything else.
pub(crate) fn initialize(programs: &Programs, data: &Path) -> Vec<String> {
    let mut options = base(programs, data);
    options.push("--initialize-insecure".to_owned());
    options
}

/// Options for running a script in the template. Nothing of it is in the binary log, so that all copies begin with the
/// same, empty history.
pub(crate) fn script(
    programs: &Programs,
    data: &Path,
    plugins: &Path,
    flavor: Flavor,
    script: &Path,
) -> Vec<String> {
    let mut options = base(programs, data);
    options.extend(load(plugins, flavor));
    options.extend(["--skip-log-bin", "--skip-networking"].map(str::to_owned));
    options.push(format!("--socket={}", data.join("socket").display()));
    options.push(format!("--init-file={}", script.display()));
    options
}

/// Options of the server of one instance.
pub(crate) fn member(
    programs: &Programs,
    plugins: &Path,
    flavor: Flavor,
    common: &Common,
    i: usize,
) -> Vec<String> {
    let site = &common.sites[i];
    let mut options = base(programs, &site.data);
    options.extend(load(plugins, flavor));
    options.extend(MEMBER.map(str::to_owned));
    let mut option = |name: &str, value: &str| options.push(format!("--{name}={value}"));
    option("bind-address", &site.server.ip().to_string());
    option("port", &site.server.port().to_string());
    option("pid-file", &site.data.join("mysqld.pid").display().to_string());
    option("server-id", &server_id(i).to_string());
    option("sim-instance", &site.name);
    option("sim-state-dir", &common.state.display().to_string());
    option("sim-comment", comment(flavor));
    match flavor {
        Flavor::Aurora => {
            option("aurora-server-id", &site.name);
            option("aurora-version", AURORA_VERSION);
        }
        Flavor::MultiAz => option("report-host", &site.public.to_string()),
        Flavor::Rds | Flavor::Plain => {}
    }
    match &common.tls {
        Some(folder) => {
            for (name, file) in [("ssl-ca", "ca.pem"), ("ssl-cert", "server.crt"), ("ssl-key", "server.key")]
            {
                option(name, &folder.join(file).display().to_string());
            }
        }
        None => option("tls-version", ""),
    }
    for (name, value) in &common.settings {
        option(name, value);
    }
    options
}

/// The number by which servers know each other, and RDS knows the instances of a Multi-AZ cluster.
pub(crate) fn server_id(i: usize) -> usize {
    i + 1
}

/// Of Aurora MySQL 3, which is the newest there is.
const AURORA_VERSION: &str = "3.10.0";

/// What `version_comment` says, by which programs tell the products apart.
fn comment(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Plain => "MySQL Community Server - GPL",
        Flavor::Aurora | Flavor::Rds | Flavor::MultiAz => "Source distribution",
    }
}

fn base(programs: &Programs, data: &Path) -> Vec<String> {
    let share = programs.root.join("usr/share/mysql");
    let (_, mut options) = programs.mysqld();
    options.push("--no-defaults".to_owned());
    for (name, path) in [
        ("datadir", data),
        ("basedir", &programs.root.join("usr")),
        ("lc-messages-dir", &share),
        ("character-sets-dir", &share.join("charsets")),
    ] {
        options.push(format!("--{name}={}", path.display()));
    }
    options.extend(COMMON.map(str::to_owned));
    options
}

fn load(plugins: &Path, flavor: Flavor) -> Vec<String> {
    let mut options = vec![format!("--plugin-dir={}", plugins.display())];
    let ours = ["sim", "AWSAuthenticationPlugin", "aurora"].into_iter();
    for plugin in ours.filter(|plugin| *plugin != "aurora" || flavor == Flavor::Aurora) {
        options.push(format!("--plugin-load-add={plugin}={LIBRARY}"));
    }
    for library in ["semisync_source.so", "semisync_replica.so"] {
        options.push(format!("--plugin-load-add={library}"));
    }
    options
}

/// What tells one way of making the template from another.
pub(crate) fn key() -> String {
    COMMON.concat()
}
