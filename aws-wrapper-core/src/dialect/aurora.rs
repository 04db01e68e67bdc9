//! Aurora: instances on one storage, which tell who the others are.

use crate::dialect::{
    DatabaseDialect, ProbeAnswer, TopologyDialect, TopologyRow, mysql, parse_bool, postgres, reader_flag,
};
use crate::host::Role;
use crate::table::Table;

/// Aurora PostgreSQL: `aurora_replica_status()` lists the instances.
///
/// The age of a row is computed by the server, so that neither clocks nor time zones matter.
pub static POSTGRES: Aurora = Aurora {
    code: "aurora-pg",
    port: postgres::PORT,
    role_sql: postgres::ROLE_SQL,
    whoami_sql: "SELECT pg_catalog.aurora_db_instance_identifier(), pg_catalog.pg_is_in_recovery()",
    probe_sql: "SELECT pg_catalog.aurora_db_instance_identifier(), pg_catalog.pg_is_in_recovery(), \
        r.server_id, r.session_id OPERATOR(pg_catalog.=) 'MASTER_SESSION_ID', r.cpu, r.replica_lag_in_msec, \
        pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) r.last_update_timestamp) \
        FROM (SELECT 1) AS one LEFT JOIN pg_catalog.aurora_replica_status() AS r ON true",
    grant: "EXECUTE on function pg_catalog.aurora_replica_status()",
};

/// Aurora MySQL: `information_schema.replica_host_status` lists the instances.
///
/// The age of a row is computed by the server too. Should the time of the row follow the time zone of the session, then
/// it and the present are brought to the same one by a hint, which holds for this statement: the session is the
/// application's, and a server that does not know the hint only warns.
pub static MYSQL: Aurora = Aurora {
    code: "aurora-mysql",
    port: mysql::PORT,
    role_sql: "SELECT @@innodb_read_only",
    whoami_sql: "SELECT @@aurora_server_id, @@innodb_read_only",
    probe_sql: "SELECT /*+ SET_VAR(time_zone = '+00:00') */ @@aurora_server_id, @@innodb_read_only, \
        r.SERVER_ID, r.SESSION_ID = 'MASTER_SESSION_ID', r.CPU, r.REPLICA_LAG_IN_MILLISECONDS, \
        TIMESTAMPDIFF(MICROSECOND, r.LAST_UPDATE_TIMESTAMP, NOW(6)) / 1000000 \
        FROM (SELECT 1) AS one LEFT JOIN information_schema.replica_host_status AS r ON TRUE",
    grant: "SELECT on information_schema.replica_host_status",
};

/// Aurora: the session `MASTER_SESSION_ID` marks the writer. The engines differ in the questions only.
///
/// The probe answers with name and role of the instance asked, then with one row for each instance it knows: name, mark,
/// processor use, lag, age. An outer join keeps the first two columns when there is no topology.
#[derive(Debug)]
pub struct Aurora {
    code: &'static str,
    port: u16,
    role_sql: &'static str,
    whoami_sql: &'static str,
    probe_sql: &'static str,
    grant: &'static str,
}

impl DatabaseDialect for Aurora {
    fn code(&self) -> &'static str {
        self.code
    }

    fn default_port(&self) -> u16 {
        self.port
    }

    fn role_sql(&self) -> &'static str {
        self.role_sql
    }

    fn parse_role(&self, table: &Table) -> Option<Role> {
        reader_flag(table.first_cell()?)
    }

    fn topology(&self) -> Option<&dyn TopologyDialect> {
        Some(self)
    }
}

impl TopologyDialect for Aurora {
    fn whoami_sql(&self) -> &'static str {
        self.whoami_sql
    }

    fn parse_whoami(&self, table: &Table) -> Option<(String, Role)> {
        Some((table.cell(0, 0)?.to_owned(), reader_flag(table.cell(0, 1)?)?))
    }

    fn probe_sql(&self) -> &'static str {
        self.probe_sql
    }

    fn parse_probe(&self, table: &Table) -> Option<ProbeAnswer> {
        let (host_id, role) = self.parse_whoami(table)?;
        let rows = (0..table.rows.len()).filter_map(|row| parse_row(table, row)).collect();
        Some(ProbeAnswer { host_id, role, rows })
    }

    fn grant(&self) -> &'static str {
        self.grant
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
    use crate::endpoint::HostPattern;
    use crate::host::{Availability, Host};
    use crate::topology::query;

    fn table(rows: &[[Option<&str>; 7]]) -> Table {
        let rows = rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect();
        Table::new(vec![String::new(); 7], rows)
    }

    #[test]
    fn one_answer_tells_who_i_am_and_who_the_others_are() {
        for (dialect, yes, no) in [(&POSTGRES, "t", "f"), (&MYSQL, "1", "0")] {
            let answer = dialect
                .parse_probe(&table(&[
                    [Some("i-1"), Some(no), Some("i-1"), Some(yes), Some("7.5"), None, None],
                    [Some("i-1"), Some(no), Some("i-2"), Some(no), Some("3"), Some("20"), Some("1.5")],
                ]))
                .unwrap();
            assert!(answer.is_writer());
            assert_eq!(answer.rows.len(), 2);
            assert_eq!(answer.rows[1].age_secs, Some(1.5));
            assert!(answer.rows[0].age_secs.is_none());
        }
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
        for dialect in [&POSTGRES, &MYSQL] {
            let answer = dialect
                .parse_probe(&table(&[[Some("i-1"), Some("1"), None, None, None, None, None]]))
                .unwrap();
            assert_eq!((answer.host_id.as_str(), answer.role), ("i-1", Role::Reader));
            assert!(answer.rows.is_empty());
        }
    }

    #[test]
    fn an_answer_without_columns_is_no_answer() {
        for dialect in [&POSTGRES, &MYSQL] {
            assert!(dialect.parse_probe(&Table::default()).is_none());
            assert!(dialect.parse_whoami(&Table::default()).is_none());
            assert!(dialect.parse_role(&Table::default()).is_none());
        }
    }

    /// Hosts that Aurora MySQL tells of, each as name, mark, processor use, lag and age.
    fn mysql_hosts(rows: &[[Option<&str>; 5]]) -> Option<Vec<Host>> {
        let told =
            rows.iter().map(|&[name, mark, cpu, lag, age]| [Some("w"), Some("0"), name, mark, cpu, lag, age]);
        let answer = MYSQL.parse_probe(&table(&told.collect::<Vec<_>>())).unwrap();
        let pattern = HostPattern::parse("?.xyz.us-east-2.rds.amazonaws.com").unwrap();
        query::hosts(&answer.rows, &pattern, MYSQL.default_port())
    }

    const WRITER: [Option<&str>; 5] = [Some("w"), Some("1"), Some("5.5"), Some("0"), Some("0.1")];

    #[test]
    fn numbers_of_every_type_are_read_and_nulls_count_as_fresh_and_idle() {
        let hosts = mysql_hosts(&[
            WRITER,
            [Some("a"), Some("0"), Some("1.25e1"), Some("20.000"), Some("299.9999")],
            [Some("b"), Some("0"), None, None, None],
            [Some("c"), Some("0"), Some("lots"), Some("-"), Some("never")],
            [Some("d"), None, Some("7"), Some("2E2"), Some("-3600")],
            [Some("gone"), Some("0"), Some("7"), Some("1"), Some("3.001e2")],
        ])
        .unwrap();
        let told: Vec<_> = hosts
            .iter()
            .map(|host| (host.instance_name.as_deref().unwrap(), host.cpu_percent, host.lag_ms))
            .collect();
        assert_eq!(
            told,
            [
                ("w", Some(5.5), Some(0.0)),
                ("a", Some(12.5), Some(20.0)),
                ("b", Some(0.0), Some(0.0)),
                ("c", Some(0.0), Some(0.0)),
                ("d", Some(7.0), Some(200.0)),
            ]
        );
        assert!(hosts.iter().all(|host| host.key.port() == 3306));
    }

    #[test]
    fn one_bad_row_does_not_spoil_the_others() {
        let bad = |name| [name, Some("0"), None, None, None];
        let hosts =
            mysql_hosts(&[bad(None), WRITER, bad(Some("")), bad(Some("a b")), bad(Some("evil.example.com"))]);
        assert_eq!(hosts.unwrap().len(), 1);
    }

    #[test]
    fn of_several_writers_the_newest_counts_and_a_host_twice_is_one() {
        let row = |name, mark, age| [Some(name), Some(mark), None, None, Some(age)];
        let hosts = mysql_hosts(&[row("w", "1", "9"), row("b", "1", "1.5"), row("b", "0", "30")]).unwrap();
        let told: Vec<_> = hosts.iter().map(|host| host.instance_name.as_deref().unwrap()).collect();
        assert_eq!(told, ["b", "w"]);
        assert_eq!((hosts[0].role, hosts[1].role), (Role::Writer, Role::Reader));
        assert_eq!(hosts[1].availability, Availability::NotAvailable);
        assert!(mysql_hosts(&[row("a", "0", "1")]).is_none(), "without a writer it is no topology");
    }

    #[test]
    fn a_deleted_replica_ranks_last() {
        let hosts =
            mysql_hosts(&[WRITER, [Some("a"), Some("0"), None, Some("900000.000"), Some("1")]]).unwrap();
        assert_eq!(hosts[1].load, Some(u64::MAX));
    }

    #[test]
    fn the_age_does_not_depend_on_the_time_zone_of_the_session() {
        assert!(MYSQL.probe_sql.contains("/*+ SET_VAR(time_zone = '+00:00') */"));
        for now in ["UTC_TIMESTAMP", "SYSDATE", "CURRENT_TIMESTAMP"] {
            assert!(!MYSQL.probe_sql.contains(now), "only what follows the hint");
        }
    }
}
