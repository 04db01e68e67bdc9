//! Files and folders that the servers read, which run as another user than we do.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::error::{Attempt, Result};
use crate::programs::{GivenUp, ServerUser, run};

/// Writes a file that the server user can read, whatever our umask is.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).attempt(|| format!("write {}", path.display()))?;
    let everybody = fs::Permissions::from_mode(0o644);
    fs::set_permissions(path, everybody).attempt(|| format!("change the mode of {}", path.display()))
}

/// Creates a folder for the server user.
pub(crate) fn new_owned_folder(folder: &Path, user: Option<&ServerUser>) -> Result<()> {
    fs::create_dir(folder).attempt(|| format!("create {}", folder.display()))?;
    open_to(folder, user)
}

/// Lets everybody look into a folder, and `user` write to it.
pub(crate) fn open_to(folder: &Path, user: Option<&ServerUser>) -> Result<()> {
    let everybody = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder, everybody).attempt(|| format!("change the mode of {}", folder.display()))?;
    match user {
        Some(user) => chown(folder, Some(user.uid), Some(user.gid))
            .attempt(|| format!("give {} away", folder.display())),
        None => Ok(()),
    }
}

/// Deletes a folder with everything in it; it need not exist.
pub(crate) async fn remove_folder(folder: &Path) -> Result<()> {
    let path = folder.to_owned();
    let removed = tokio::task::spawn_blocking(move || fs::remove_dir_all(&path)).await;
    match removed.map_err(|_| crate::error::Error::stopped())? {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).attempt(|| format!("delete {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Copies a data directory with its owner, sharing blocks where the file system can.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let words = ["cp", "-a", "--reflink=auto"].map(str::to_owned);
    let paths = [from.join("."), to.to_owned()].map(|path| path.display().to_string());
    if !to.exists() {
        fs::create_dir(to).attempt(|| format!("create {}", to.display()))?;
    }
    run(&[&words[..], &paths[..]].concat(), None, GivenUp::Killed).await.map(drop)
}
