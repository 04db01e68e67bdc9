//! MySQL's part of the template: a data directory with users, functions and views.

use std::fs;
use std::path::{Path, PathBuf};

use super::programs::Programs;
use super::{plugin, settings};
use crate::error::{Attempt, Error, Result};
use crate::files::write;
use crate::flavor::Flavor;
use crate::programs::{GivenUp, ServerUser};
use crate::template::{fingerprint, prepare, to_the_end};

const COMMON: &str = include_str!("../../sql/mysql/common.sql");
const USERS: &str = include_str!("../../sql/mysql/users.sql");

/// Gives the template's path, making it first where needed.
pub(crate) async fn template(
    programs: &Programs,
    plugins: &Path,
    flavor: Flavor,
    cache: &Path,
    scratch: &Path,
) -> Result<PathBuf> {
    let build = async |data: PathBuf| build(programs, plugins, flavor, &data, scratch).await;
    prepare(&key(programs, flavor), cache, scratch, build).await
}

/// Tables of one product only.
fn product(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Aurora => {
            concat!(
                include_str!("../../sql/mysql/aurora.sql"),
                include_str!("../../sql/mysql/blue_green.sql")
            )
        }
        Flavor::Rds => include_str!("../../sql/mysql/blue_green.sql"),
        Flavor::MultiAz => include_str!("../../sql/mysql/multi_az.sql"),
        Flavor::Plain => "",
    }
}

async fn build(
    programs: &Programs,
    plugins: &Path,
    flavor: Flavor,
    data: &Path,
    scratch: &Path,
) -> Result<()> {
    let (program, _) = programs.mysqld();
    to_the_end(&program, &settings::initialize(programs, data), None, scratch, GivenUp::Killed).await?;
    let script = scratch.join("script.sql");
    write(&script, &format!("{COMMON}{USERS}{}SHUTDOWN;\n", product(flavor)))?;
    let options = settings::script(programs, data, plugins, flavor, &script);
    to_the_end(&program, &options, None, scratch, GivenUp::Killed).await?;
    // An error in the script does not end the server with one.
    let log = fs::read_to_string(scratch.join("busy.log")).unwrap_or_default();
    if let Some(line) = log.lines().find(|line| line.contains("[ERROR]")) {
        return Err(Error::invalid(format!("the template's SQL failed: {line}")));
    }
    fs::remove_file(&script).attempt(|| format!("delete {}", script.display()))?;
    // Each copy makes a UUID of its own.
    let identity = data.join("auto.cnf");
    fs::remove_file(&identity).attempt(|| format!("delete {}", identity.display()))
}

fn key(programs: &Programs, flavor: Flavor) -> String {
    let owner = ServerUser::owner(programs.user.as_ref()).to_string();
    let parts = [&settings::key(), COMMON, USERS, product(flavor), &owner, &plugin::key(), &programs.version];
    format!("mysql-{}-{flavor}-{:016x}", programs.version, fingerprint(&parts))
}
