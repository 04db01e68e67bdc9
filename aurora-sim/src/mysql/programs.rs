//! MySQL's server program, as [`install`](super::install) has unpacked it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Error, Result};
use crate::programs::{ServerUser, as_server_user};
use crate::template::user_cache;

/// Folders of installations begin with this; the package's version follows.
pub(crate) const FOLDER: &str = "mysql-";

/// The dynamic loader that comes with the server, and the folder of its libraries, by architecture.
const LOADERS: [(&str, &str); 2] = [
    ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"),
    ("usr/lib/ld-linux-aarch64.so.1", "usr/lib/aarch64-linux-gnu"),
];

/// What was found on this machine.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    /// Where the packages are unpacked.
    pub(crate) root: PathBuf,
    /// Version of the server's package, such as `9.7.4-2`.
    pub(crate) version: String,
    /// The user that servers run as, when we are root; MySQL refuses to run as root.
    pub(crate) user: Option<ServerUser>,
    loader: PathBuf,
    libraries: PathBuf,
}

impl Programs {
    /// Looks for an installation. `folder` overrides the search.
    pub(crate) fn find(folder: Option<&Path>) -> Result<Self> {
        let root = match folder {
            Some(folder) => folder.to_owned(),
            None => newest(&default_folder()).ok_or_else(missing)?,
        };
        let loader = LOADERS.into_iter().find(|(loader, _)| root.join(loader).exists());
        let (loader, libraries) = loader.filter(|_| is_complete(&root)).ok_or_else(missing)?;
        let name = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(Self {
            version: name.strip_prefix(FOLDER).unwrap_or(name).to_owned(),
            loader: root.join(loader),
            libraries: root.join(libraries),
            user: ServerUser::find()?,
            root,
        })
    }

    /// Words that run the server as the server user with a clean environment: the program, and its first arguments.
    pub(crate) fn mysqld(&self) -> (Vec<String>, Vec<String>) {
        let program = as_server_user(self.user.as_ref(), &self.root.join("usr/sbin"), &self.loader);
        let path = format!("{}:{}", self.libraries.display(), self.root.join("usr/lib").display());
        let mysqld = self.root.join("usr/sbin/mysqld").display().to_string();
        (program, vec!["--library-path".to_owned(), path, mysqld])
    }

    /// Folder of the plugins that come with the server.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("usr/lib/mysql/plugin")
    }
}

/// Where installations are. Servers do not run as root and must be able to read theirs, which they cannot in root's
/// home.
pub(crate) fn default_folder() -> PathBuf {
    if rustix::process::geteuid().is_root() { PathBuf::from("/var/cache/aurora-sim") } else { user_cache() }
}

/// The newest installation in a folder.
pub(crate) fn newest(folder: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_ours = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(FOLDER)) && is_complete(path)
    };
    entries.filter(is_ours).max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok())
}

fn is_complete(root: &Path) -> bool {
    root.join("usr/sbin/mysqld").is_file()
}

fn missing() -> Error {
    Error::missing(
        "MySQL",
        "aurora-sim install --engine mysql (unpacks Debian's packages into a cache folder)",
    )
}

/// The version that a package file of the server is named after.
pub(crate) fn version_of(package: &Path) -> Result<String> {
    let name = package.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.split('_').nth(1).map(|version| version.replace("%3a", "-"));
    version
        .ok_or_else(|| std::io::Error::other("no version in its name"))
        .attempt(|| format!("read {name:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_file_tells_its_version() {
        let version = version_of(Path::new("/tmp/mysql-server-core_9.7.4-2_amd64.deb")).unwrap();
        assert_eq!(version, "9.7.4-2");
        assert!(version_of(Path::new("/tmp/x.deb")).is_err());
    }

    #[test]
    fn the_newest_installation_counts_and_half_ones_do_not() {
        let folder = std::env::temp_dir().join(format!("aurora-sim-newest-{:x}", fastrand::u64(..)));
        fs::create_dir_all(folder.join("mysql-9.9")).unwrap();
        assert_eq!(newest(&folder), None);
        fs::create_dir_all(folder.join("mysql-9.7/usr/sbin")).unwrap();
        fs::write(folder.join("mysql-9.7/usr/sbin/mysqld"), "").unwrap();
        assert_eq!(newest(&folder), Some(folder.join("mysql-9.7")));
        fs::remove_dir_all(&folder).unwrap();
    }
}
