//! The data directory that every server starts from: made once, kept in a cache.
//!
//! A new data directory with users and functions takes a second or more; a copy takes a tenth. A template never changes
//! after it was moved to its place, and its place is named after all that went into it, so no lock is needed.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Error, Result};
use crate::files::copy;
use crate::programs::{GivenUp, run};

/// The folder for templates: below `XDG_CACHE_HOME` or `~/.cache`.
pub(crate) fn user_cache() -> PathBuf {
    let home = || {
        std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".cache"))
    };
    let cache =
        std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("aurora-sim")
}

/// Gives the path of the template `key`, making it first where needed: `build` makes a data directory in the folder that
/// it is given. `scratch` is a folder that the server user may write to.
pub(crate) async fn prepare<F: Future<Output = Result<()>>>(
    key: &str,
    cache: &Path,
    scratch: &Path,
    build: impl FnOnce(PathBuf) -> F,
) -> Result<PathBuf> {
    let template = cache.join(key);
    if template.exists() {
        return Ok(template);
    }
    let draft = scratch.join("template");
    build(draft.clone()).await?;
    fs::create_dir_all(cache).attempt(|| format!("create {}", cache.display()))?;
    let unique = cache.join(format!(".{}-{:x}", std::process::id(), fastrand::u64(..)));
    copy(&draft, &unique).await?;
    fs::remove_dir_all(&draft).attempt(|| format!("delete {}", draft.display()))?;
    if fs::rename(&unique, &template).is_err() {
        // Somebody else was quicker; theirs is the same.
        fs::remove_dir_all(&unique).attempt(|| format!("delete {}", unique.display()))?;
    }
    Ok(template)
}

/// Runs a server program that comes to its end even when we are killed: the keeper waits for the process whose number is
/// in the file `busy`, and the output goes to a file, because a pipe would end with us.
/// `as_server_user` are the words that make it the server user's, and the program.
pub(crate) async fn to_the_end(
    as_server_user: &[String],
    arguments: &[String],
    input: Option<fs::File>,
    scratch: &Path,
    given_up: GivenUp,
) -> Result<()> {
    let busy = scratch.join("busy").display().to_string();
    let (program, words) = as_server_user.split_last().expect("a command has words");
    let mut words = words.to_vec();
    words.extend(["sh", "-c", r#"echo $$ >"$0" && exec "$@" >"$0.log" 2>&1"#, &busy].map(str::to_owned));
    words.push(program.clone());
    words.extend_from_slice(arguments);
    let Err(error) = run(&words, input, given_up).await else { return Ok(()) };
    let log = fs::read_to_string(scratch.join("busy.log")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    Err(Error::invalid(format!("{error}; its output, last line first: {}", last.join(" | "))))
}

/// FNV-1a; unlike the standard library's hasher it is the same in every build.
pub(crate) fn fingerprint(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_the_published_one_and_sees_part_borders() {
        assert_eq!(fingerprint(&[]), 0xcbf2_9ce4_8422_2325);
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
