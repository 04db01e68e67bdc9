//! PostgreSQL's own programs.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Error, Result};
use crate::programs::{GivenUp, ServerUser, as_server_user, run};

/// Oldest major version whose standbys can be pointed at another server without a restart.
const OLDEST_POSTGRES: u32 = 13;

/// Where Debian, Ubuntu and the PostgreSQL packages for them, Fedora, and Alpine put versions side by side.
const POSTGRES_FOLDERS: [&str; 3] = ["/usr/lib/postgresql", "/usr/pgsql", "/usr/libexec/postgresql"];

/// What was found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// Folder with `postgres`, `initdb`, `pg_basebackup`.
    pub(crate) folder: PathBuf,
    /// `postgres --version` without the product name, such as `15.18`.
    pub(crate) version: String,
    /// The user that servers run as, when we are root; PostgreSQL refuses to run as root.
    pub(crate) user: Option<ServerUser>,
}

impl Programs {
    /// Looks for everything that a cluster needs. `folder` overrides the search for PostgreSQL's programs.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self> {
        let folder = match folder {
            Some(folder) => folder.to_owned(),
            None => newest_postgres().ok_or_else(|| {
                Error::missing(
                    format!("PostgreSQL {OLDEST_POSTGRES} or newer"),
                    "apt-get install postgresql (Debian, Ubuntu)",
                )
            })?,
        };
        let version = version_of(&folder.join("postgres"))?;
        Ok(Self { folder, version, user: ServerUser::find()? })
    }

    /// Words that run a program of PostgreSQL as the server user with a clean environment.
    pub(crate) fn as_server_user(&self, program: &str) -> Vec<String> {
        as_server_user(self.user.as_ref(), &self.folder, &self.folder.join(program))
    }

    /// Runs a program of PostgreSQL to its end.
    pub(crate) async fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut words = self.as_server_user(program);
        words.extend(arguments.iter().map(|&word| word.to_owned()));
        run(&words, None, GivenUp::Killed).await
    }
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
