//! The plugin that makes the server answer like Aurora: compiled once for each version of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::programs::{Programs, default_folder};
use crate::error::{Attempt, Error, Result};
use crate::files::{open_to, write};
use crate::programs::{GivenUp, run};
use crate::template::fingerprint;

const SOURCE: &str = include_str!("plugin.c");

/// Name of the library among the server's plugins.
pub(crate) const LIBRARY: &str = "aurora_sim.so";

/// What tells one version of the plugin from another.
pub(crate) fn key() -> String {
    format!("{:016x}", fingerprint(&[SOURCE]))
}

/// The folder with our plugin and the server's own, because a server looks into one folder only.
pub(crate) fn folder(programs: &Programs) -> PathBuf {
    let installation = fingerprint(&[&programs.root.display().to_string(), SOURCE]);
    default_folder().join(format!("plugins-{}-{installation:016x}", programs.version))
}

/// Makes that folder where needed.
pub(crate) async fn prepare(programs: &Programs, folder: &Path, scratch: &Path) -> Result<()> {
    if folder.exists() {
        return Ok(());
    }
    let source = scratch.join("plugin.c");
    write(&source, SOURCE)?;
    let unique = format!(".plugins-{}-{:x}", std::process::id(), fastrand::u64(..));
    let draft = folder.with_file_name(unique);
    fs::create_dir_all(&draft).attempt(|| format!("create {}", draft.display()))?;
    compile(&source, &draft.join(LIBRARY)).await?;
    let own = programs.plugins();
    for entry in fs::read_dir(&own).attempt(|| format!("read {}", own.display()))?.flatten() {
        let link = draft.join(entry.file_name());
        symlink(entry.path(), &link).attempt(|| format!("create {}", link.display()))?;
    }
    open_to(&draft, None)?;
    if fs::rename(&draft, folder).is_err() {
        // Somebody else was quicker; theirs is the same.
        fs::remove_dir_all(&draft).attempt(|| format!("delete {}", draft.display()))?;
    }
    Ok(())
}

async fn compile(source: &Path, library: &Path) -> Result<()> {
    let mut words = ["cc", "-O2", "-Wall", "-fPIC", "-shared", "-o"].map(str::to_owned).to_vec();
    words.extend([library, source].map(|path| path.display().to_string()));
    run(&words, None, GivenUp::Killed).await.map(drop).map_err(|error| match error.kind() {
        crate::ErrorKind::Io { .. } => {
            Error::missing("a C compiler for the plugin", "apt-get install gcc libc6-dev")
        }
        _ => error,
    })
}
