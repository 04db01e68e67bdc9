//! The programs of the system that do the work: PostgreSQL's own and a few of util-linux.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Attempt, Error, ErrorKind, Result};

/// Oldest major version whose standbys can be pointed at another server without a restart.
pub(crate) const OLDEST_POSTGRES: u32 = 13;

/// Where Debian, Ubuntu and the PostgreSQL packages for them, Fedora, and Alpine put versions side by side.
const POSTGRES_FOLDERS: [&str; 3] = ["/usr/lib/postgresql", "/usr/pgsql", "/usr/libexec/postgresql"];

/// Users that PostgreSQL can run as when we are root, in order of preference.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

/// No helper program runs longer; the slowest is `pg_basebackup` on a loaded machine.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);

/// What was found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// Folder with `postgres`, `initdb`, `pg_basebackup`.
    pub(crate) postgres: PathBuf,
    /// `postgres --version` without the product name, such as `15.18`.
    pub(crate) version: String,
    /// The user that servers run as, when we are root; PostgreSQL refuses to run as root.
    pub(crate) user: Option<ServerUser>,
}

/// An unprivileged user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Programs {
    /// Looks for everything that a cluster needs. `folder` overrides the search for PostgreSQL's programs.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self> {
        let postgres = match folder {
            Some(folder) => folder.to_owned(),
            None => newest_postgres().ok_or_else(|| {
                Error::missing(
                    format!("PostgreSQL {OLDEST_POSTGRES} or newer"),
                    "apt-get install postgresql (Debian, Ubuntu)",
                )
            })?,
        };
        let version = version_of(&postgres.join("postgres"))?;
        let user = if rustix::process::geteuid().is_root() { Some(ServerUser::find()?) } else { None };
        Ok(Self { postgres, version, user })
    }

    /// Path of one of PostgreSQL's programs.
    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.postgres.join(program)
    }

    /// Words that run a program of PostgreSQL as the server user with a clean environment.
    pub(crate) fn as_server_user(&self, program: &str) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(user) = &self.user {
            words.push("setpriv".to_owned());
            words.push(format!("--reuid={}", user.uid));
            words.push(format!("--regid={}", user.gid));
            words.push("--clear-groups".to_owned());
        }
        let path = format!("PATH={}:/usr/bin:/bin", self.postgres.display());
        words.extend(["env".to_owned(), "-i".to_owned(), path, "LC_ALL=C.UTF-8".to_owned()]);
        words.push(self.path(program).display().to_string());
        words
    }

    /// Runs a program of PostgreSQL to its end.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut words = self.as_server_user(program);
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        run(&words, None, GivenUp::Killed).await
    }
}

impl ServerUser {
    fn find() -> Result<Self> {
        let passwd = fs::read_to_string("/etc/passwd").attempt(|| "read /etc/passwd".to_owned())?;
        SERVER_USERS.iter().find_map(|name| Self::parse(&passwd, name)).ok_or_else(|| {
            Error::missing("an unprivileged user for the servers", "apt-get install postgresql-common")
        })
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { uid, gid })
    }
}

/// Whether a program may be killed when nobody waits for it any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    Killed,
    /// It comes to its end, soon and perhaps with an error: killed, it would leave shared memory behind.
    LeftAlone,
}

/// Runs a program to its end and gives what it printed.
pub(crate) async fn run(words: &[String], input: Option<fs::File>, given_up: GivenUp) -> Result<String> {
    let (program, arguments) = words.split_first().expect("a command has a first word");
    let name =
        words.iter().rev().find(|word| word.starts_with('/') && word.contains("/bin/")).unwrap_or(program);
    let name = name.rsplit('/').next().unwrap_or(name);
    let mut command = Command::new(program);
    // A Ctrl-C is for us, not for our helpers.
    command.args(arguments).current_dir("/").process_group(0).kill_on_drop(given_up == GivenUp::Killed);
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
    let finished = tokio::time::timeout(PROGRAM_DEADLINE, command.output());
    let output = finished
        .await
        .map_err(|_| Error::timeout(name, PROGRAM_DEADLINE))?
        .attempt(|| format!("run {program}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(ErrorKind::Program { program: name.to_owned(), output: last_lines(&output) }.into())
}

fn last_lines(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.trim().lines().collect();
    format!("{}: {}", output.status, lines[lines.len().saturating_sub(5)..].join(" | "))
}

fn newest_postgres() -> Option<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for folder in POSTGRES_FOLDERS {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let version =
                entry.file_name().to_str().and_then(|name| name.trim_start_matches("pgsql-").parse().ok());
            let folder = entry.path().join("bin");
            if let Some(version) =
                version.filter(|&version| version >= OLDEST_POSTGRES && is_complete(&folder))
            {
                found.push((version, folder));
            }
        }
    }
    // One version only, in the usual place of a local build or of other distributions.
    for folder in ["/usr/local/pgsql/bin", "/usr/local/bin", "/usr/bin"] {
        if is_complete(Path::new(folder)) {
            found.push((0, PathBuf::from(folder)));
        }
    }
    found.into_iter().max_by_key(|(version, _)| *version).map(|(_, folder)| folder)
}

fn is_complete(folder: &Path) -> bool {
    ["postgres", "initdb", "pg_basebackup"].iter().all(|program| folder.join(program).is_file())
}

fn version_of(postgres: &Path) -> Result<String> {
    let output = std::process::Command::new(postgres)
        .arg("--version")
        .output()
        .attempt(|| format!("run {}", postgres.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
    version.map(str::to_owned).ok_or_else(|| Error::invalid(format!("cannot read the version in {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_user_is_read_from_passwd() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n";
        let user = ServerUser::parse(passwd, "postgres");
        assert_eq!(user, Some(ServerUser { uid: 101, gid: 104 }));
        assert_eq!(ServerUser::parse(passwd, "post"), None);
    }

    #[tokio::test]
    async fn a_failed_program_tells_what_it_wrote() {
        let words = ["sh", "-c", "echo some reason >&2; exit 3"].map(str::to_owned);
        let error = run(&words, None, GivenUp::Killed).await.unwrap_err().to_string();
        assert!(error.contains("some reason") && error.contains('3'), "{error}");
    }
}
