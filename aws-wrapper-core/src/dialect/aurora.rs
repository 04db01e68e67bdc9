//! Aurora: instances on one storage, which tell who the others are.

use crate::dialect::postgres::{PORT, ROLE_SQL};
use crate::dialect::{DatabaseDialect, ProbeAnswer, TopologyDialect, TopologyRow, parse_bool, reader_flag};
use crate::host::Role;
use crate::table::Table;

/// Aurora PostgreSQL.
pub static POSTGRES: AuroraPostgres = AuroraPostgres;

/// Aurora PostgreSQL: `aurora_replica_status()` lists the instances, `MASTER_SESSION_ID` marks the writer.
#[derive(Debug)]
pub struct AuroraPostgres;

/// Name, role.
const WHOAMI: &str = "SELECT pg_catalog.aurora_db_instance_identifier(), pg_catalog.pg_is_in_recovery()";

/// Name and role of the instance asked, then one row for each instance it knows. The age is computed by the server, so
/// that neither clocks nor time zones matter; the join keeps the first two columns when there is no topology.
const PROBE: &str = "SELECT pg_catalog.aurora_db_instance_identifier(), pg_catalog.pg_is_in_recovery(), \
    r.server_id, r.session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID', r.cpu, r.replica_lag_in_msec, \
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) r.last_update_timestamp) \
    FROM (SELECT 1) AS one LEFT JOIN pg_catalog.aurora_replica_status() AS r ON true";

impl DatabaseDialect for AuroraPostgres {
    fn code(&self) -> &'static str {
        "aurora-pg"
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

    fn topology(&self) -> Option<&dyn TopologyDialect> {
        Some(self)
    }
}

impl TopologyDialect for AuroraPostgres {
    fn whoami_sql(&self) -> &'static str {
        WHOAMI
    }

    fn parse_whoami(&self, table: &Table) -> Option<(String, Role)> {
        Some((table.cell(0, 0)?.to_owned(), reader_flag(table.cell(0, 1)?)?))
    }

    fn probe_sql(&self) -> &'static str {
        PROBE
    }

    fn parse_probe(&self, table: &Table) -> Option<ProbeAnswer> {
        let (host_id, role) = self.parse_whoami(table)?;
        let rows = (0..table.rows.len()).filter_map(|row| parse_row(table, row)).collect();
        Some(ProbeAnswer { host_id, role, rows })
    }

    fn grant(&self) -> &'static str {
        "EXECUTE on function pg_catalog.aurora_replica_status()"
    }
}

/// A row without a name is the join's placeholder, or not usable.
fn parse_row(table: &Table, row: usize) -> Option<TopologyRow> {
    let host_id = table.cell(row, 2)?.to_owned();
    Some(TopologyRow {
        instance_name: host_id.clone(),
        host_id,
        is_writer: table.cell(row, 3).and_then(parse_bool).unwrap_or(false),
        cpu_percent: number(table.cell(row, 4)),
        lag_ms: number(table.cell(row, 5)),
        age_secs: table.cell(row, 6).and_then(|age| age.parse().ok()),
    })
}

/// The types of these columns differ between engine versions; null and nonsense count as 0.
fn number(text: Option<&str>) -> f32 {
    text.and_then(|text| text.parse().ok()).filter(|number: &f32| number.is_finite()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rows: &[[Option<&str>; 7]]) -> Table {
        let rows = rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect();
        Table::new(vec![String::new(); 7], rows)
    }

    #[test]
    fn one_answer_tells_who_i_am_and_who_the_others_are() {
        let answer = POSTGRES
            .parse_probe(&table(&[
                [Some("i-1"), Some("f"), Some("i-1"), Some("t"), Some("7.5"), None, None],
                [Some("i-1"), Some("f"), Some("i-2"), Some("f"), Some("3"), Some("20"), Some("1.5")],
            ]))
            .unwrap();
        assert!(answer.is_writer());
        assert_eq!(answer.rows.len(), 2);
        assert_eq!(answer.rows[1].age_secs, Some(1.5));
        assert!(answer.rows[0].age_secs.is_none());
    }

    #[test]
    fn the_topologys_word_alone_does_not_make_a_writer() {
        let row = [Some("i-1"), Some("t"), Some("i-1"), Some("t"), None, None, None];
        assert!(!POSTGRES.parse_probe(&table(&[row])).unwrap().is_writer());
        let row = [Some("i-1"), Some("f"), Some("i-2"), Some("t"), None, None, None];
        assert!(!POSTGRES.parse_probe(&table(&[row])).unwrap().is_writer());
    }

    #[test]
    fn without_a_topology_the_instance_still_says_who_it_is() {
        let answer =
            POSTGRES.parse_probe(&table(&[[Some("i-1"), Some("t"), None, None, None, None, None]])).unwrap();
        assert_eq!((answer.host_id.as_str(), answer.role), ("i-1", Role::Reader));
        assert!(answer.rows.is_empty());
    }
}
