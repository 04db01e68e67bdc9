//! Community MySQL, MariaDB, and MySQL on RDS.

use crate::dialect::{DatabaseDialect, reader_flag};
use crate::host::Role;
use crate::table::Table;

/// Community MySQL: no topology, the hosts are those of the connection string.
pub static COMMUNITY: MySql = MySql { code: "mysql" };

/// MariaDB, on RDS too.
pub static MARIADB: MySql = MySql { code: "mariadb" };

/// MySQL on RDS, one instance.
pub static RDS: MySql = MySql { code: "rds-mysql" };

/// A server of the MySQL engine without a cluster of its own.
#[derive(Debug)]
pub struct MySql {
    code: &'static str,
}

pub(super) const PORT: u16 = 3306;

/// A server that is `super_read_only`, which MariaDB does not know, is `read_only` as well.
const ROLE_SQL: &str = "SELECT @@global.read_only";

impl DatabaseDialect for MySql {
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
        let flag = table.first_cell()?;
        // MariaDB 12 has degrees of it: `NO_LOCK`, `NO_LOCK_NO_ADMIN`.
        if flag.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("no_lock")) {
            return Some(Role::Reader);
        }
        reader_flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_read_in_every_spelling_and_nonsense_is_no_role() {
        let role = |text: &str| COMMUNITY.parse_role(&Table::new(vec![], vec![vec![Some(text.to_owned())]]));
        for (text, expected) in [
            ("1", Some(Role::Reader)),
            ("ON", Some(Role::Reader)),
            ("NO_LOCK", Some(Role::Reader)),
            ("NO_LOCK_NO_ADMIN", Some(Role::Reader)),
            ("0", Some(Role::Writer)),
            ("OFF", Some(Role::Writer)),
            ("", None),
            ("2", None),
            ("öööö", None),
        ] {
            assert_eq!(role(text), expected, "{text}");
        }
        assert_eq!(COMMUNITY.parse_role(&Table::default()), None);
    }
}
