//! The data directory that every server starts from: made once, kept in a cache.
//!
//! A new data directory with users and functions takes a second; a copy takes a tenth. A template never changes
//! after it was moved to its place, and its place is named after all that went into it, so no lock is needed.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Attempt, Error, Result};
use crate::flavor::Flavor;
use crate::postgres::settings::{self, write};
use crate::programs::{GivenUp, Programs, run};

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
    run(&[&words[..], &paths[..]].concat(), None, GivenUp::Killed).await.map(drop)
}

async fn build(programs: &Programs, flavor: Flavor, data: &Path, scratch: &Path) -> Result<()> {
    let path = data.display().to_string();
    let mut initdb = vec!["-D", &path];
    initdb.extend(INITDB);
    to_the_end(programs, "initdb", &initdb, None, scratch).await?;
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
    let mut options = vec!["--single", "-j", "-F", "-D", &data];
    for setting in ["exit_on_error=true", "log_checkpoints=off", "dynamic_shared_memory_type=mmap"] {
        options.extend(["-c", setting]);
    }
    options.push(database);
    to_the_end(programs, "postgres", &options, Some(input), scratch).await?;
    fs::remove_file(&script).attempt(|| format!("delete {}", script.display()))
}

/// Runs a server program that must come to its end undisturbed, or it leaves shared memory behind: the keeper waits
/// for the process whose number is in the file `busy`, and the output goes to a file, because a pipe would end with us.
async fn to_the_end(
    programs: &Programs,
    program: &str,
    arguments: &[&str],
    input: Option<fs::File>,
    scratch: &Path,
) -> Result<()> {
    let busy = scratch.join("busy").display().to_string();
    let mut words = programs.as_server_user(program);
    let program_path = words.split_off(words.len() - 1);
    words.extend(["sh", "-c", r#"echo $$ >"$0" && exec "$@" >"$0.log" 2>&1"#, &busy].map(str::to_owned));
    words.extend(program_path);
    words.extend(arguments.iter().map(|&word| word.to_owned()));
    let Err(error) = run(&words, input, GivenUp::LeftAlone).await else { return Ok(()) };
    let log = fs::read_to_string(scratch.join("busy.log")).unwrap_or_default();
    let last: Vec<&str> = log.lines().rev().take(5).collect();
    Err(Error::invalid(format!("{error}; its output, last line first: {}", last.join(" | "))))
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
