//! Community and RDS PostgreSQL.

use crate::dialect::{DatabaseDialect, reader_flag};
use crate::host::Role;
use crate::table::Table;

/// Community PostgreSQL: no topology, the hosts are those of the connection string.
pub static COMMUNITY: Postgres = Postgres { code: "pg" };

/// PostgreSQL on RDS, one instance.
pub static RDS: Postgres = Postgres { code: "rds-pg" };

/// PostgreSQL without a cluster of its own.
#[derive(Debug)]
pub struct Postgres {
    code: &'static str,
}

pub(super) const PORT: u16 = 5432;
pub(super) const ROLE_SQL: &str = "SELECT pg_catalog.pg_is_in_recovery()";

impl DatabaseDialect for Postgres {
    fn code(&self) -> &'static str {
        self.code
    }

    fn default_port(&self) -> u16 {
        PORT
    }

    fn role_sql(&self) -> &'static str {
        ROLE_SQL
    }

    fn parse_role(&self, table: &Table) -> Option<Role> {
        reader_flag(table.first_cell()?)
    }
}
