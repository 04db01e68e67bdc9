//! `install`: the database product that no package manager has.

use std::process::ExitCode;

use aurora_sim::{Engine, InstallMySql, install_mysql};

use super::arguments::Install;
use super::{Result, print, runtime};

pub(super) fn install(install: Install) -> Result<ExitCode> {
    if install.engine != Engine::MySql {
        return Err("only mysql is installed this way; for PostgreSQL: apt-get install postgresql".into());
    }
    let mut options = InstallMySql::default();
    if let Some(folder) = install.folder {
        options = options.folder(folder);
    }
    if let Some(mirror) = install.mirror {
        options = options.mirror(mirror);
    }
    let folder = runtime()?.block_on(install_mysql(options))?;
    print(&folder.display().to_string());
    Ok(ExitCode::SUCCESS)
}
