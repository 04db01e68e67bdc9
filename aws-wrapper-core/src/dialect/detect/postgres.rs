//! PostgreSQL, told by its functions and by the extensions RDS and Aurora offer.

use super::{Detected, Instances, Question, Step, tell_of_multi_az};
use crate::dialect::{DatabaseDialect, aurora, postgres};
use crate::table::Table;

/// What exists on the server, as one row; raises nothing on any PostgreSQL.
///
/// Columns: the setting `rds.extensions`, then whether there are Aurora's status function and the function of Multi-AZ
/// clusters. It is the first question in a new session, so it reads nothing but the index of names: the view of all
/// settings and the list of all functions would take the server twice as long.
#[derive(Debug)]
pub(super) struct Facts;

const FACTS: &str = "SELECT pg_catalog.current_setting('rds.extensions', true), \
    pg_catalog.bool_or(p.proname OPERATOR(pg_catalog.=) 'aurora_replica_status'), \
    pg_catalog.bool_or(p.proname OPERATOR(pg_catalog.=) 'multi_az_db_cluster_source_dbi_resource_id') \
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
    WHERE p.proname OPERATOR(pg_catalog.=) ANY (ARRAY['aurora_replica_status', \
    'multi_az_db_cluster_source_dbi_resource_id']::pg_catalog.name[]) \
    AND n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog', 'rds_tools']::pg_catalog.name[])";

static AURORA: Instances = Instances { dialect: &aurora::POSTGRES, community: &postgres::COMMUNITY };

impl Question for Facts {
    fn sql(&self) -> &'static str {
        FACTS
    }

    fn next(&self, answer: &Table, expected: &'static dyn DatabaseDialect) -> Step {
        let extensions = Extensions::parse(answer.cell(0, 0).unwrap_or_default());
        let has = |column| answer.cell(0, column) == Some("t");
        if extensions.aurora && has(1) {
            return Step::Ask(&AURORA);
        }
        if has(2) {
            tell_of_multi_az();
        }
        Step::Done(if extensions.rds {
            Detected::plain(&postgres::RDS)
        } else {
            Detected::as_expected(expected, &postgres::COMMUNITY)
        })
    }
}

/// What `rds.extensions` says.
#[derive(Debug, Clone, Copy, Default)]
struct Extensions {
    aurora: bool,
    rds: bool,
}

impl Extensions {
    fn parse(setting: &str) -> Self {
        let has = |name| setting.split(',').any(|extension| extension.trim() == name);
        let aurora = has("aurora_stat_utils");
        Self { aurora, rds: has("rds_tools") && !aurora }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{detect, row};
    use super::*;
    use crate::dialect::TopologyDialect;
    use crate::engine::Engine::Postgres;

    const EXPECTATIONS: [&dyn DatabaseDialect; 3] = [&postgres::COMMUNITY, &postgres::RDS, &aurora::POSTGRES];

    /// Each deployment seen through each kind of name.
    #[test]
    fn the_product_is_told_by_the_server_whatever_the_name() {
        for expected in EXPECTATIONS {
            let facts = row(&[Some("aurora_stat_utils,rds_tools"), Some("t"), Some("t")]);
            let instances = row(&[Some("i-1"), Some("f"), Some("i-1"), Some("t"), None, None, None]);
            let aurora = detect(Postgres, expected, &[&facts, &instances]);
            assert_eq!(aurora.dialect.code(), "aurora-pg");
            assert_eq!(aurora.answer.unwrap().host_id, "i-1");

            let rds = row(&[Some("pg_stat_statements, rds_tools"), Some("f"), Some("f")]);
            assert_eq!(detect(Postgres, expected, &[&rds]).dialect.code(), "rds-pg");

            let community = detect(Postgres, expected, &[&row(&[None, Some("f"), None])]);
            let kept = if expected.topology().is_some() { "pg" } else { expected.code() };
            assert_eq!(community.dialect.code(), kept);
        }
    }

    #[test]
    fn the_function_without_the_extension_is_not_aurora() {
        let facts = row(&[None, Some("t"), None]);
        assert_eq!(detect(Postgres, &postgres::COMMUNITY, &[&facts]).dialect.code(), "pg");
    }

    #[test]
    fn aurora_without_a_topology_just_now_is_still_aurora() {
        let facts = row(&[Some("aurora_stat_utils"), Some("t"), Some("f")]);
        let empty = row(&[Some("i-1"), Some("t"), None, None, None, None, None]);
        let detected = detect(Postgres, &aurora::POSTGRES, &[&facts, &empty]);
        assert_eq!(detected.dialect.code(), "aurora-pg");
        assert!(detected.answer.unwrap().rows.is_empty());
        let nameless = detect(Postgres, &aurora::POSTGRES, &[&facts, &Table::default()]);
        assert_eq!(nameless.dialect.code(), "pg", "an instance without a name cannot be found in a topology");
    }

    #[test]
    fn no_question_depends_on_the_search_path() {
        for sql in
            [FACTS, aurora::POSTGRES.probe_sql(), aurora::POSTGRES.whoami_sql(), postgres::RDS.role_sql()]
        {
            for (at, _) in sql.match_indices('(') {
                let called =
                    sql[..at].rsplit(|c: char| !c.is_alphanumeric() && !"_.".contains(c)).next().unwrap();
                let is_qualified =
                    called.starts_with("pg_catalog.") || ["", "OPERATOR", "ANY"].contains(&called);
                assert!(is_qualified, "`{called}` in {sql}");
            }
            for operator in [" = ", " - ", " > ", " LIKE ", "::text"] {
                assert!(!sql.contains(operator), "`{operator}` in {sql}");
            }
        }
    }
}
