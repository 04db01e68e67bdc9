//! PostgreSQL: streaming replication, synchronous where it has to be.

mod database;
mod link;
mod programs;
mod settings;
mod switchover;
mod template;

pub(crate) use self::database::Installed;
use self::database::Postgres;
