//! The data directory that every server starts from: made once, kept in a cache.
//!
//! A new data directory with users and functions takes a second; a copy takes a tenth. A template never changes
//! after it was moved to its place, and its place is named after all that went into it, so no lock is needed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Result};
use crate::flavor::Flavor;
use crate::postgres::settings::{self, write};
use crate::programs::{Programs, run};

const COMMON: &str = include_str!("../sql/common.sql");
const USERS: &str = include_str!("../sql/users.sql");
const APP: &str = include_str!("../sql/app.sql");

/// Small segments: a new data directory is 28 instead of 44 MB.
const INITDB: [&str; 7] =
    ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1"];

/// The folder for templates: below `XDG_CACHE_HOME` or `~/.cache`.
pub(crate) fn default_cache() -> PathBuf {
    let home = || {
        std::env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".cache"))
    };
    let cache =
        std::env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    cache.unwrap_or_else(std::env::temp_dir).join("aurora-sim")
}

/// Gives the template's path, making it first where needed. `scratch` is a folder that the server user may write to.
pub(crate) async fn prepare(
    programs: &Programs,
    flavor: Flavor,
    cache: &Path,
    scratch: &Path,
) -> Result<PathBuf> {
    let template = cache.join(key(programs, flavor));
    if template.join("PG_VERSION").exists() {
        return Ok(template);
    }
    let draft = scratch.join("template");
    build(programs, flavor, &draft, scratch).await?;
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

/// Copies a data directory with its owner, sharing blocks where the file system can.
pub(crate) async fn copy(from: &Path, to: &Path) -> Result<()> {
    let words = ["cp", "-a", "--reflink=auto"].map(str::to_owned);
    let paths = [from.join("."), to.to_owned()].map(|path| path.display().to_string());
    if !to.exists() {
        fs::create_dir(to).attempt(|| format!("create {}", to.display()))?;
    }
    run(&[&words[..], &paths[..]].concat(), None).await.map(drop)
}

async fn build(programs: &Programs, flavor: Flavor, data: &Path, scratch: &Path) -> Result<()> {
    let path = data.display().to_string();
    let mut initdb = vec!["-D", &path];
    initdb.extend(INITDB);
    programs.run("initdb", &initdb, None).await?;
    load(programs, data, scratch, "template1", &format!("{COMMON}{}", flavor.sql())).await?;
    load(programs, data, scratch, "postgres", &format!("{COMMON}{}", flavor.sql())).await?;
    load(programs, data, scratch, "template1", USERS).await?;
    load(programs, data, scratch, "app", APP).await?;
    write(&data.join("pg_hba.conf"), settings::ACCESS)?;
    write(&data.join("postgresql.conf"), settings::MAIN)
}

/// Runs statements in a stand-alone backend, which needs no port.
async fn load(programs: &Programs, data: &Path, scratch: &Path, database: &str, sql: &str) -> Result<()> {
    let script = scratch.join("script.sql");
    write(&script, sql)?;
    let input = fs::File::open(&script).attempt(|| format!("open {}", script.display()))?;
    let data = data.display().to_string();
    let options = [
        "--single",
        "-j",
        "-F",
        "-c",
        "exit_on_error=true",
        "-c",
        "log_checkpoints=off",
        "-D",
        &data,
        database,
    ];
    programs.run("postgres", &options, Some(input)).await?;
    fs::remove_file(&script).attempt(|| format!("delete {}", script.display()))
}

fn key(programs: &Programs, flavor: Flavor) -> String {
    let ourselves = || rustix::process::geteuid().as_raw();
    let owner = programs.user.as_ref().map_or_else(ourselves, |user| user.uid).to_string();
    let parts = [
        &INITDB.concat(),
        COMMON,
        flavor.sql(),
        USERS,
        APP,
        &owner,
        settings::ACCESS,
        settings::MAIN,
        &programs.postgres.display().to_string(),
    ];
    format!("{}-{}-{:016x}", programs.version, flavor, fingerprint(&parts))
}

/// FNV-1a; unlike the standard library's hasher it is the same in every build.
fn fingerprint(parts: &[&str]) -> u64 {
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
