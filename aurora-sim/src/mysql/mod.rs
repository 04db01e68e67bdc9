//! MySQL 9: replication by GTIDs, semi-synchronous where it has to be.
//!
//! The server is Debian's, unpacked into a cache folder ([`install`]) and run by its own dynamic loader, so that the
//! machine's libraries do not matter. What makes it answer like Aurora is a small plugin ([`plugin`]) and SQL.

mod database;
mod gtids;
mod install;
mod link;
mod plugin;
mod programs;
mod semi_sync;
mod settings;
mod switchover;
mod template;

pub(crate) use self::database::Installed;
use self::database::MySql;
pub use self::install::{InstallMySql, install_mysql};
