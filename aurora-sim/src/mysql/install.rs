//! Getting the server: Debian's packages, downloaded by apt, which checks their signatures, and unpacked into a folder.
//!
//! Nothing is installed into the system: lists, cache and status of the download are files of its own. An installation
//! appears by a rename when it is complete; a lock makes others who want one wait.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::programs::{FOLDER, default_folder, newest, version_of};
use crate::error::{Attempt, Error, Result};
use crate::files::write;
use crate::programs::{GivenUp, run, run_within};

/// The server alone; what it needs follows.
const PACKAGE: &str = "mysql-server-core";

/// The only suite that has it.
const SUITE: &str = "sid";

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// 80 MB have to arrive.
const DOWNLOAD_DEADLINE: Duration = Duration::from_secs(900);

/// Folders of installations in the making.
const DRAFT: &str = ".install-";

/// What the unpacked packages hold that no server reads.
const USELESS: [&str; 7] = [
    "usr/bin",
    "usr/share/doc",
    "usr/share/man",
    "usr/share/perl",
    "usr/lib/mysql-test",
    "usr/share/locale",
    "usr/share/lintian",
];

/// How to install MySQL. By default: from the Debian mirror that apt uses, into the default cache folder.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct InstallMySql {
    folder: Option<PathBuf>,
    mirror: Option<String>,
}

impl InstallMySql {
    /// Folder of installations. Default: `/var/cache/aurora-sim` for root, whose servers run as another user, else
    /// `~/.cache/aurora-sim`.
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// URL of a Debian mirror. Default: the first one in apt's configuration.
    pub fn mirror(mut self, url: impl Into<String>) -> Self {
        self.mirror = Some(url.into());
        self
    }
}

/// Makes sure that MySQL is installed and gives the folder it is in. Takes some ten seconds the first time, and waits
/// for whoever else is at it.
///
/// # Errors
/// When apt or a mirror is missing, or the download fails.
///
/// # Cancellation
/// Leaves nothing that counts as an installation; the next call tidies up.
pub async fn install_mysql(options: InstallMySql) -> Result<PathBuf> {
    let folder = options.folder.unwrap_or_else(default_folder);
    if let Some(installed) = newest(&folder) {
        return Ok(installed);
    }
    fs::create_dir_all(&folder).attempt(|| format!("create {}", folder.display()))?;
    let _lock = lock(folder.join("install.lock")).await?;
    if let Some(installed) = newest(&folder) {
        return Ok(installed);
    }
    remove_drafts(&folder)?;
    let draft = folder.join(format!("{DRAFT}{}", std::process::id()));
    let installed = download(&draft, options.mirror).await;
    let result = match installed {
        Ok((root, version)) => {
            let target = folder.join(format!("{FOLDER}{version}"));
            finish(&root, &target).attempt(|| format!("create {}", target.display())).map(|()| target)
        }
        Err(error) => Err(error),
    };
    remove_drafts(&folder)?;
    result
}

/// Waits for the lock; it ends with the file.
async fn lock(path: PathBuf) -> Result<fs::File> {
    let locked = tokio::task::spawn_blocking(move || {
        let file = fs::File::create(&path)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Ok::<_, std::io::Error>(file)
    });
    locked.await.map_err(|_| Error::stopped())?.attempt(|| "lock the cache folder".to_owned())
}

/// Deletes what others have left behind; we hold the lock.
fn remove_drafts(folder: &Path) -> Result<()> {
    let entries = fs::read_dir(folder).attempt(|| format!("read {}", folder.display()))?;
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(DRAFT) {
            let path = entry.path();
            fs::remove_dir_all(&path).attempt(|| format!("delete {}", path.display()))?;
        }
    }
    Ok(())
}

/// Downloads and unpacks the packages; gives the folder with the files and the server's version.
async fn download(draft: &Path, mirror: Option<String>) -> Result<(PathBuf, String)> {
    if !Path::new(KEYRING).exists() {
        return Err(Error::missing(KEYRING, "apt-get install debian-archive-keyring"));
    }
    let mirror = match mirror {
        Some(mirror) => mirror,
        None => configured_mirror().await?,
    };
    for folder in ["lists/partial", "cache/archives/partial", "root"] {
        let folder = draft.join(folder);
        fs::create_dir_all(&folder).attempt(|| format!("create {}", folder.display()))?;
    }
    write(&draft.join("status"), "")?;
    write(&draft.join("sources.list"), &format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"))?;
    let config = draft.join("apt.conf");
    write(&config, &apt_configuration(draft))?;

    let config = config.display().to_string();
    apt(&["-c", &config, "-q", "update"]).await?;
    apt(&["-c", &config, "-q", "-y", "--download-only", "install", PACKAGE]).await?;

    let (archives, root) = (draft.join("cache/archives"), draft.join("root"));
    let mut version = None;
    for entry in fs::read_dir(&archives).attempt(|| format!("read {}", archives.display()))?.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "deb") {
            continue;
        }
        let words =
            ["dpkg", "-x", &path.display().to_string(), &root.display().to_string()].map(str::to_owned);
        run(&words, None, GivenUp::Killed).await?;
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{PACKAGE}_"))) {
            version = Some(version_of(&path)?);
        }
    }
    for useless in USELESS {
        let _ = fs::remove_dir_all(root.join(useless));
    }
    let version = version.ok_or_else(|| Error::missing(PACKAGE, "a mirror that has it"))?;
    Ok((root, version))
}

/// Dates the folder of today, by which the newest is found, and puts it into its place.
fn finish(root: &Path, target: &Path) -> std::io::Result<()> {
    fs::File::open(root)?.set_modified(std::time::SystemTime::now())?;
    fs::rename(root, target)
}

/// Everything of its own but the ways to reach a mirror, such as proxies, which are the system's.
fn apt_configuration(draft: &Path) -> String {
    let draft = draft.display();
    format!(
        r#"Dir::Etc::SourceList "{draft}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
Dir::State::Lists "{draft}/lists";
Dir::State::Status "{draft}/status";
Dir::Cache "{draft}/cache";
APT::Default-Release "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
Acquire::AllowInsecureRepositories "false";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
"#
    )
}

/// The mirror that apt would get Debian's own packages from.
async fn configured_mirror() -> Result<String> {
    let listed = apt(&["indextargets", "--format", "$(REPO_URI) $(ORIGIN)", "Created-By: Packages"]).await?;
    mirror_in(&listed).ok_or_else(|| {
        Error::missing(
            "a Debian mirror in apt's configuration",
            "aurora-sim install --engine mysql --mirror URL",
        )
    })
}

/// Debian's archive by its origin, or, before the first update, by its usual path.
fn mirror_in(listed: &str) -> Option<String> {
    let lines = || listed.lines().filter_map(|line| line.split_once(' '));
    let by_origin = lines().find(|(_, origin)| *origin == "Debian");
    let by_path = || lines().find(|(url, _)| url.trim_end_matches('/').ends_with("/debian"));
    by_origin.or_else(by_path).map(|(url, _)| url.to_owned())
}

async fn apt(words: &[&str]) -> Result<String> {
    let words: Vec<String> = ["apt-get"].iter().chain(words).map(|&word| word.to_owned()).collect();
    run_within(&words, None, GivenUp::Killed, DOWNLOAD_DEADLINE).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_debian_itself() {
        let listed = "http://a/debian-security/ Debian-Security\nhttp://b/ftp/ Debian\nhttp://c/x/ Other\n";
        assert_eq!(mirror_in(listed).as_deref(), Some("http://b/ftp/"));
        assert_eq!(
            mirror_in("http://a/debian-security/ \nhttp://b/debian/ \n").as_deref(),
            Some("http://b/debian/")
        );
        assert_eq!(mirror_in("http://a/ubuntu/ Ubuntu\n"), None);
    }
}
