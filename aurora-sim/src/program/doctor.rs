//! `doctor`: what is missing on this machine.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aurora_sim::{Cluster, Engine};

use super::sandbox::Sandbox;
use super::{Failure, print, runtime};

/// Programs besides the databases', what needs them, and the package that has them on Debian and Ubuntu.
const PROGRAMS: [(&str, &str, &str); 6] = [
    ("cp", "every cluster", "coreutils"),
    ("setpriv", "every cluster", "util-linux"),
    ("unshare", "run", "util-linux"),
    ("mount", "run", "mount"),
    ("ip", "run", "iproute2"),
    ("openssl", "--tls", "openssl"),
];

/// What MySQL needs besides.
const MYSQL_PROGRAMS: [(&str, &str, &str); 3] = [
    ("apt-get", "install --engine mysql", "apt"),
    ("dpkg", "install --engine mysql", "dpkg"),
    ("cc", "the plugin of MySQL's servers", "gcc libc6-dev"),
];

struct Finding {
    good: bool,
    text: String,
}

pub(super) fn doctor(engine: Engine) -> ExitCode {
    let more = if engine == Engine::MySql { &MYSQL_PROGRAMS[..] } else { &[] };
    let programs = PROGRAMS.iter().chain(more);
    let mut findings: Vec<Finding> =
        programs.map(|&(name, user, package)| program(name, user, package)).collect();
    findings.push(namespaces());
    findings.push(trial(engine));
    for finding in &findings {
        print(&format!("{}  {}", if finding.good { "ok     " } else { "MISSING" }, finding.text));
    }
    ExitCode::from(u8::from(!findings.iter().all(|finding| finding.good)))
}

fn program(name: &str, user: &str, package: &str) -> Finding {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let sbin = [PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")];
    let found = std::env::split_paths(&folders).chain(sbin).any(|folder| folder.join(name).is_file());
    if found {
        return Finding { good: true, text: format!("{name} (for {user})") };
    }
    Finding { good: false, text: format!("{name} (for {user}): apt-get install {package}") }
}

fn namespaces() -> Finding {
    let (good, text) = match Sandbox::detect() {
        Sandbox::Root => (true, "namespaces, as root: `run` shows names to every program".to_owned()),
        Sandbox::User => (true, "user namespaces: `run` shows names to every program".to_owned()),
        Sandbox::Unavailable => {
            let setting =
                "sysctl -w kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0";
            let container = if Path::new("/.dockerenv").exists() { "; docker run --privileged" } else { "" };
            (false, format!("namespaces (for names in `run`): run as root, or {setting}{container}"))
        }
    };
    Finding { good, text }
}

/// The best test of all the rest: a cluster of one.
fn trial(engine: Engine) -> Finding {
    let started = runtime().and_then(|runtime| {
        runtime.block_on(async {
            let cluster = Cluster::builder().engine(engine).instances(1).start().await?;
            cluster.shutdown().await;
            Ok(())
        })
    });
    match started {
        Ok(()) => Finding { good: true, text: format!("{engine}: a cluster starts and stops") },
        Err(Failure(error)) => Finding { good: false, text: format!("{engine}: {error}") },
    }
}
