//! PostgreSQL's part of the template: a data directory with users and functions.

use std::fs;
use std::path::{Path, PathBuf};

use super::programs::Programs;
use super::settings;
use crate::error::{Attempt, Result};
use crate::files::write;
use crate::flavor::Flavor;
use crate::programs::{GivenUp, ServerUser};
use crate::template::{fingerprint, prepare, to_the_end};

const COMMON: &str = include_str!("../../sql/postgres/common.sql");
const USERS: &str = include_str!("../../sql/postgres/users.sql");
const APP: &str = include_str!("../../sql/postgres/app.sql");

/// Small segments: a new data directory is 28 instead of 44 MB.
const INITDB: [&str; 7] =
    ["-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--wal-segsize=1"];

/// Gives the template's path, making it first where needed.
pub(crate) async fn template(
    programs: &Programs,
    flavor: Flavor,
    cache: &Path,
    scratch: &Path,
) -> Result<PathBuf> {
    let build = async |data: PathBuf| build(programs, flavor, &data, scratch).await;
    prepare(&key(programs, flavor), cache, scratch, build).await
}

/// Functions of one product only.
fn product(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Aurora => include_str!("../../sql/postgres/aurora.sql"),
        Flavor::Rds => include_str!("../../sql/postgres/rds.sql"),
        Flavor::MultiAz => include_str!("../../sql/postgres/multi_az.sql"),
        Flavor::Plain => "",
    }
}

async fn build(programs: &Programs, flavor: Flavor, data: &Path, scratch: &Path) -> Result<()> {
    let mut initdb = vec!["-D".to_owned(), data.display().to_string()];
    initdb.extend(INITDB.map(str::to_owned));
    to_the_end(&programs.as_server_user("initdb"), &initdb, None, scratch, GivenUp::LeftAlone).await?;
    load(programs, data, scratch, "template1", &format!("{COMMON}{}", product(flavor))).await?;
    load(programs, data, scratch, "postgres", &format!("{COMMON}{}", product(flavor))).await?;
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
    let mut options = ["--single", "-j", "-F", "-D"].map(str::to_owned).to_vec();
    options.push(data.display().to_string());
    for setting in ["exit_on_error=true", "log_checkpoints=off", "dynamic_shared_memory_type=mmap"] {
        options.extend(["-c", setting].map(str::to_owned));
    }
    options.push(database.to_owned());
    to_the_end(&programs.as_server_user("postgres"), &options, Some(input), scratch, GivenUp::LeftAlone)
        .await?;
    fs::remove_file(&script).attempt(|| format!("delete {}", script.display()))
}

fn key(programs: &Programs, flavor: Flavor) -> String {
    let owner = ServerUser::owner(programs.user.as_ref()).to_string();
    let parts = [
        &INITDB.concat(),
        COMMON,
        product(flavor),
        USERS,
        APP,
        &owner,
        settings::ACCESS,
        settings::MAIN,
        &programs.folder.display().to_string(),
    ];
    format!("{}-{}-{:016x}", programs.version, flavor, fingerprint(&parts))
}
