//! Which product is this server?
//!
//! Detection asks at most two questions and decides; it does no I/O itself. An error of a question is never an answer:
//! the caller stops, and nothing is learned.

use crate::dialect::{DatabaseDialect, ProbeAnswer, TopologyDialect, aurora, postgres};
use crate::table::Table;

/// What is known of the server so far.
#[derive(Debug)]
pub struct Detection {
    expected: &'static dyn DatabaseDialect,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Facts,
    AuroraAnswers,
    Done(Detected),
}

/// The product, and what it said about itself on the way.
#[derive(Debug)]
#[non_exhaustive]
pub struct Detected {
    /// The product.
    pub dialect: &'static dyn DatabaseDialect,
    /// What the instance said, if it has a topology.
    pub answer: Option<ProbeAnswer>,
}

/// What exists on the server, as one row; raises nothing on any PostgreSQL.
///
/// Columns: the setting `rds.extensions`, then whether there are Aurora's status function and the function of Multi-AZ
/// clusters.
const FACTS: &str = "SELECT \
    (SELECT s.setting FROM pg_catalog.pg_settings AS s WHERE s.name OPERATOR(pg_catalog.=) 'rds.extensions' LIMIT 1), \
    pg_catalog.bool_or(p.proname OPERATOR(pg_catalog.=) 'aurora_replica_status'), \
    pg_catalog.bool_or(p.proname OPERATOR(pg_catalog.=) 'multi_az_db_cluster_source_dbi_resource_id') \
    FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_namespace AS n ON n.oid OPERATOR(pg_catalog.=) p.pronamespace \
    WHERE n.nspname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_catalog', 'rds_tools']::pg_catalog.name[])";

impl Detection {
    /// Starts with the product the endpoint's name suggests.
    pub fn start(expected: &'static dyn DatabaseDialect) -> Self {
        Self { expected, step: Step::Facts }
    }

    /// The next question; `None` when the product is known.
    pub fn question(&self) -> Option<&'static str> {
        match self.step {
            Step::Facts => Some(FACTS),
            Step::AuroraAnswers => Some(aurora::POSTGRES.probe_sql()),
            Step::Done(_) => None,
        }
    }

    /// The server's answer to the last question.
    pub fn answer(&mut self, table: &Table) {
        self.step = match &self.step {
            Step::Facts => self.by_facts(table),
            // No row is no proof against Aurora: in the middle of a failover there may be none, and what is learned now
            // stays learned.
            Step::AuroraAnswers => match aurora::POSTGRES.parse_probe(table) {
                Some(answer) => Step::Done(Detected { dialect: &aurora::POSTGRES, answer: Some(answer) }),
                None => Step::Done(self.without_topology(Extensions::default())),
            },
            Step::Done(_) => return,
        };
    }

    /// The product.
    pub fn finish(self) -> Detected {
        match self.step {
            Step::Done(detected) => detected,
            _ => Detected { dialect: self.expected, answer: None },
        }
    }

    fn by_facts(&self, table: &Table) -> Step {
        let extensions = Extensions::parse(table.cell(0, 0).unwrap_or_default());
        let has = |column| table.cell(0, column) == Some("t");
        if extensions.aurora && has(1) {
            return Step::AuroraAnswers;
        }
        if has(2) {
            tracing::info!(
                "the server may be part of an RDS Multi-AZ cluster, whose topology this version does not read"
            );
        }
        Step::Done(self.without_topology(extensions))
    }

    /// The rest of the family. A name that promises a cluster is not believed against the server's own word.
    fn without_topology(&self, extensions: Extensions) -> Detected {
        let dialect: &'static dyn DatabaseDialect = if extensions.rds {
            &postgres::RDS
        } else if self.expected.topology().is_some() {
            tracing::warn!(
                expected = self.expected.code(),
                "the server has no topology, whatever its name promises"
            );
            &postgres::COMMUNITY
        } else {
            self.expected
        };
        Detected { dialect, answer: None }
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
    use super::*;

    fn table(cells: &[Option<&str>]) -> Table {
        let row = cells.iter().map(|cell| cell.map(str::to_owned)).collect();
        Table::new(vec![String::new(); cells.len()], vec![row])
    }

    fn detect(
        expected: &'static dyn DatabaseDialect,
        facts: &[Option<&str>],
        probe: Option<Table>,
    ) -> Detected {
        let mut detection = Detection::start(expected);
        assert_eq!(detection.question(), Some(FACTS));
        detection.answer(&table(facts));
        if let Some(probe) = probe {
            assert!(detection.question().is_some(), "a second question is expected");
            detection.answer(&probe);
        }
        assert!(detection.question().is_none());
        detection.finish()
    }

    fn aurora_answer() -> Table {
        table(&[Some("i-1"), Some("f"), Some("i-1"), Some("t"), None, None, None])
    }

    /// Each deployment seen through each kind of name.
    #[test]
    fn the_product_is_told_by_the_server_whatever_the_name() {
        let expectations: [&'static dyn DatabaseDialect; 3] =
            [&postgres::COMMUNITY, &postgres::RDS, &aurora::POSTGRES];
        for expected in expectations {
            let aurora = detect(
                expected,
                &[Some("aurora_stat_utils,rds_tools"), Some("t"), Some("t")],
                Some(aurora_answer()),
            );
            assert_eq!(aurora.dialect.code(), "aurora-pg");
            assert_eq!(aurora.answer.unwrap().host_id, "i-1");

            let rds = detect(expected, &[Some("pg_stat_statements, rds_tools"), Some("f"), Some("f")], None);
            assert_eq!(rds.dialect.code(), "rds-pg");

            let community = detect(expected, &[None, Some("f"), None], None);
            let kept = if expected.topology().is_some() { "pg" } else { expected.code() };
            assert_eq!(community.dialect.code(), kept);
        }
    }

    #[test]
    fn the_function_without_the_extension_is_not_aurora() {
        assert_eq!(detect(&postgres::COMMUNITY, &[None, Some("t"), None], None).dialect.code(), "pg");
    }

    #[test]
    fn aurora_without_a_topology_just_now_is_still_aurora() {
        let facts = [Some("aurora_stat_utils"), Some("t"), Some("f")];
        let empty = table(&[Some("i-1"), Some("t"), None, None, None, None, None]);
        let detected = detect(&aurora::POSTGRES, &facts, Some(empty));
        assert_eq!(detected.dialect.code(), "aurora-pg");
        assert!(detected.answer.unwrap().rows.is_empty());
        let nameless = detect(&aurora::POSTGRES, &facts, Some(Table::default()));
        assert_eq!(nameless.dialect.code(), "pg", "an instance without a name cannot be found in a topology");
    }

    #[test]
    fn a_server_that_answers_nothing_is_what_its_name_says_unless_that_is_a_cluster() {
        for (expected, code) in
            [(&postgres::RDS as &'static dyn DatabaseDialect, "rds-pg"), (&aurora::POSTGRES, "pg")]
        {
            let mut detection = Detection::start(expected);
            detection.answer(&Table::default());
            assert_eq!(detection.finish().dialect.code(), code);
        }
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

    #[test]
    fn an_unanswered_question_changes_nothing() {
        assert_eq!(Detection::start(&postgres::RDS).finish().dialect.code(), "rds-pg");
    }
}
