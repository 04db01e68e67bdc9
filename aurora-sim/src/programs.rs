//! Programs of the system, and the user that servers run as.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::process::Command;

use crate::error::{Attempt, Error, ErrorKind, Result};

/// Users that servers can run as when we are root, in order of preference; database servers refuse to be root.
const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

/// No helper program runs longer; the slowest is a copy of a data directory on a loaded machine.
const PROGRAM_DEADLINE: Duration = Duration::from_secs(60);

/// An unprivileged user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl ServerUser {
    /// The user for servers; `None` when we are an ordinary user ourselves.
    pub(crate) fn find() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").attempt(|| "read /etc/passwd".to_owned())?;
        let found = SERVER_USERS.iter().find_map(|name| Self::parse(&passwd, name));
        found.map(Some).ok_or_else(|| {
            Error::missing("an unprivileged user for the servers", "apt-get install postgresql-common")
        })
    }

    /// Its number, or ours: what the files of a server belong to.
    pub(crate) fn owner(user: Option<&Self>) -> u32 {
        user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid)
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        let uid = fields.next()?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Self { uid, gid })
    }
}

/// Words that run a program as the server user with a clean environment; `path` is where it finds other programs.
pub(crate) fn as_server_user(user: Option<&ServerUser>, path: &Path, program: &Path) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(user) = user {
        words.push("setpriv".to_owned());
        words.push(format!("--reuid={}", user.uid));
        words.push(format!("--regid={}", user.gid));
        words.push("--clear-groups".to_owned());
    }
    words.extend(["env", "-i", "LC_ALL=C.UTF-8", "TZ=UTC"].map(str::to_owned));
    words.push(format!("PATH={}:/usr/bin:/bin", path.display()));
    words.push(program.display().to_string());
    words
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
    run_within(words, input, given_up, PROGRAM_DEADLINE).await
}

/// As [`run`], with a deadline.
pub(crate) async fn run_within(
    words: &[String],
    input: Option<fs::File>,
    given_up: GivenUp,
    deadline: Duration,
) -> Result<String> {
    let (program, arguments) = words.split_first().expect("a command has a first word");
    let name =
        words.iter().rev().find(|word| word.starts_with('/') && word.contains("/bin/")).unwrap_or(program);
    let name = name.rsplit('/').next().unwrap_or(name);
    let mut command = Command::new(program);
    // A Ctrl-C is for us, not for our helpers.
    command.args(arguments).current_dir("/").process_group(0).kill_on_drop(given_up == GivenUp::Killed);
    command.stdin(input.map_or_else(Stdio::null, Stdio::from));
    let finished = tokio::time::timeout(deadline, command.output());
    let output =
        finished.await.map_err(|_| Error::timeout(name, deadline))?.attempt(|| format!("run {program}"))?;
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
