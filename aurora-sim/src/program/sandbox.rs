//! Namespaces for `run`: an own network, an own `/etc/hosts`, own process ids.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{Failure, Result};

/// File in the folder of a run that is mounted over `/etc/hosts`.
pub(super) const HOSTS: &str = "hosts";

/// What happens in the new namespaces before the program starts again: `$1` is the folder.
const PRELUDE: &str = r#"
folder=$1; shift
{ ip link set lo up && mount --bind "$folder/hosts" /etc/hosts; } || { rm -rf -- "$folder"; exit 125; }
exec "$@"
"#;

/// Deletes the folder `$1` when its standard input closes.
const WATCH: &str = r#"trap '' HUP INT TERM; cat >/dev/null; rm -rf -- "$1""#;

/// Runs the words after it as an ordinary child: the first process of a PID namespace ignores most signals.
const FIRST_PROCESS: &str = r#""$@"; exit $?"#;

/// Which namespaces this system lets us have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sandbox {
    /// We are root.
    Root,
    /// We are not, but may have a user namespace.
    User,
    /// None.
    Unavailable,
}

impl Sandbox {
    pub(super) fn detect() -> Self {
        let works = |words: &[&str]| {
            let mut command = Command::new("unshare");
            command.args(words).args(["--mount", "--net", "--", "true"]);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            command.status().is_ok_and(|status| status.success())
        };
        if rustix::process::geteuid().is_root() {
            return if works(&[]) { Self::Root } else { Self::Unavailable };
        }
        if works(&["--user", "--map-root-user"]) { Self::User } else { Self::Unavailable }
    }

    /// Starts this program again inside new namespaces, in place of this process. Returns only when that fails.
    pub(super) fn enter(self, folder: &Path, host_network: bool) -> Failure {
        let mut command = Command::new("unshare");
        if self == Self::User {
            command.args(["--user", "--map-root-user"]);
        }
        command.arg("--mount");
        if !host_network {
            command.arg("--net");
        }
        command.args(["--", "sh", "-c", PRELUDE, "aurora-sim"]).arg(folder);
        if self == Self::User {
            // Root only as long as mounting needs it.
            let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
            command.args([
                "unshare",
                "--user",
                &format!("--map-user={uid}"),
                &format!("--map-group={gid}"),
                "--",
            ]);
        }
        let this = match std::env::current_exe() {
            Ok(this) => this,
            Err(error) => return error.into(),
        };
        let mut arguments = std::env::args_os().skip(1);
        command.arg(this).args(arguments.next()).arg("--prepared").arg(folder).args(arguments);
        command.exec().into()
    }
}

/// Makes a folder for a run, with a copy of the system's hosts file. The clusters have their own folders.
pub(super) fn prepare() -> Result<PathBuf> {
    let name = format!("aurora-sim-run-{}-{:x}", std::process::id(), fastrand::u32(..));
    let folder = std::env::temp_dir().join(name);
    fs::create_dir(&folder)?;
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    let mut hosts = fs::read_to_string("/etc/hosts").unwrap_or_else(|_| "127.0.0.1 localhost\n".to_owned());
    if !hosts.ends_with('\n') {
        hosts.push('\n');
    }
    let path = folder.join(HOSTS);
    fs::File::create(&path)?.write_all(hosts.as_bytes())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644))?;
    Ok(folder)
}

/// Deletes a folder when this process ends, however that happens.
#[derive(Debug)]
pub(super) struct Watch(Child);

impl Watch {
    pub(super) fn start(folder: &Path) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", WATCH, "aurora-sim-watch"]).arg(folder).current_dir("/").process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map(Self)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Words that run a command so that it ends with us, with all that it has started where namespaces allow that.
pub(super) fn bound_to_us(command: &[OsString]) -> Vec<OsString> {
    let mut isolation = vec!["unshare"];
    if !rustix::process::geteuid().is_root() {
        isolation.extend(["--user", "--map-current-user"]);
    }
    isolation.extend(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    let mut probe = Command::new(isolation[0]);
    probe.args(&isolation[1..]).arg("true").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());

    let mut words = vec!["setpriv", "--pdeathsig", "KILL", "--"];
    if probe.status().is_ok_and(|status| status.success()) {
        words.extend(isolation);
        words.extend(["sh", "-c", FIRST_PROCESS, "aurora-sim"]);
    }
    words.into_iter().map(OsString::from).chain(command.iter().cloned()).collect()
}
