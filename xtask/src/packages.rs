//! The servers the commands need: installed where that is allowed, else named with the one command that installs them.

use std::path::Path;
use std::process::{Command, Stdio};

const PACKAGES: &str = "postgresql";

/// Makes sure that PostgreSQL's server programs are there.
pub(crate) fn ensure() -> Result<(), String> {
    if has_postgres() {
        return Ok(());
    }
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {PACKAGES}");
    if !may_install() {
        return Err(format!(
            "PostgreSQL's server programs are missing; install them with: sudo sh -c '{by_hand}'"
        ));
    }
    // A cluster of the distribution's own would start a server nobody asked for.
    let script = format!(
        "mkdir -p /etc/postgresql-common && \
         (test -e /etc/postgresql-common/createcluster.conf || \
          echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf) && \
         apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends {PACKAGES}"
    );
    let status = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() && has_postgres() => Ok(()),
        _ => Err(format!("PostgreSQL could not be installed; try: {by_hand}")),
    }
}

/// The server programs are outside the usual path on Debian.
fn has_postgres() -> bool {
    let on_path = |name: &str| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let debian = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("bin/initdb").exists()))
    });
    debian || on_path("initdb")
}

/// Root on a machine with Debian's package tool.
fn may_install() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}
