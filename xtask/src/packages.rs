//! The servers the commands need: installed where that is allowed, else named with the one command that installs them.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run;

/// Makes sure that PostgreSQL's server programs are there.
pub(crate) fn ensure() -> Result<(), String> {
    if has_postgres() {
        return Ok(());
    }
    // A cluster of the distribution's own would start a server nobody asked for.
    let no_cluster = "mkdir -p /etc/postgresql-common && \
         (test -e /etc/postgresql-common/createcluster.conf || \
          echo 'create_main_cluster = false' > /etc/postgresql-common/createcluster.conf) && ";
    install("PostgreSQL's server programs", "postgresql", no_cluster, has_postgres)
}

/// Makes sure that the servers of the engine are there that these words name.
pub(crate) fn ensure_for(words: &[String]) -> Result<(), String> {
    let is_named = |name: &str| words.iter().any(|word| word == name);
    if is_named("mysql") {
        return ensure_mysql();
    }
    ensure()?;
    if is_named("both") { ensure_mysql() } else { Ok(()) }
}

/// Makes sure that MySQL is there, too. Without it all tests run nevertheless, and those that need it fail.
#[expect(clippy::print_stderr, reason = "a program that talks to people")]
pub(crate) fn ensure_all() -> Result<(), String> {
    ensure()?;
    if let Err(error) = ensure_mysql() {
        eprintln!(
            "xtask: MySQL is missing ({error}), tests that need it will fail; \
             see `cargo run -p aurora-sim -- doctor --engine mysql`"
        );
    }
    Ok(())
}

/// Debian's packages in a cache folder, and a compiler for the simulator's plugin.
fn ensure_mysql() -> Result<(), String> {
    if !has_compiler() {
        install("a C compiler", "gcc libc6-dev", "", has_compiler)?;
    }
    run::install_mysql()
}

/// Installs packages where that is allowed. `before` is a shell command that comes first.
fn install(what: &str, packages: &str, before: &str, is_there: impl Fn() -> bool) -> Result<(), String> {
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {packages}");
    if !may_install() {
        return Err(format!("{what}: missing; install with: sudo sh -c '{by_hand}'"));
    }
    let script = format!(
        "{before}apt-get update -q && \
         DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends {packages}"
    );
    let status = Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() && is_there() => Ok(()),
        _ => Err(format!("{what}: not installed; try: {by_hand}")),
    }
}

fn has_compiler() -> bool {
    answers("cc")
}

/// The server programs are outside the usual path on Debian.
fn has_postgres() -> bool {
    let debian = std::fs::read_dir("/usr/lib/postgresql").is_ok_and(|mut versions| {
        versions.any(|version| version.is_ok_and(|version| version.path().join("bin/initdb").exists()))
    });
    debian || answers("initdb")
}

fn answers(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

/// Root on a machine with Debian's package tool.
fn may_install() -> bool {
    let is_root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout.trim_ascii() == b"0");
    is_root && Path::new("/usr/bin/apt-get").exists()
}
