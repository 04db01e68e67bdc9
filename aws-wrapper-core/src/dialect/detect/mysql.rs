//! MySQL, told by its variables: a variable that does not exist is a row that is missing, not an error.

use super::{Detected, Instances, Question, Step, tell_of_multi_az};
use crate::dialect::{DatabaseDialect, aurora, mysql};
use crate::table::Table;

/// The variables that tell the products apart, a row each: name, value.
#[derive(Debug)]
pub(super) struct Facts;

const FACTS: &str = "SHOW VARIABLES WHERE Variable_name IN \
    ('aurora_version', 'report_host', 'version', 'version_comment')";

/// Whether there is the table of Multi-AZ clusters. It is not read: that would take a grant.
#[derive(Debug)]
struct MultiAz;

const MULTI_AZ: &str = "SELECT COUNT(*) FROM information_schema.tables \
    WHERE table_schema = 'mysql' AND table_name = 'rds_topology'";

static AURORA: Instances = Instances { dialect: &aurora::MYSQL, community: &mysql::COMMUNITY };

impl Question for Facts {
    fn sql(&self) -> &'static str {
        FACTS
    }

    fn next(&self, answer: &Table, expected: &'static dyn DatabaseDialect) -> Step {
        let value = |variable| value_of(answer, variable);
        if value("aurora_version").is_some() {
            return Step::Ask(&AURORA);
        }
        if value("version").is_some_and(|version| version.to_ascii_lowercase().contains("mariadb")) {
            return Step::Done(Detected::plain(&mysql::MARIADB));
        }
        match value("report_host") {
            // A member of a Multi-AZ cluster has its own address there, but so has many a replica elsewhere.
            Some(host) if !host.is_empty() => Step::Ask(&MultiAz),
            Some(_) if value("version_comment").is_some_and(is_rds) => {
                Step::Done(Detected::plain(&mysql::RDS))
            }
            _ => Step::Done(Detected::as_expected(expected, &mysql::COMMUNITY)),
        }
    }
}

/// MySQL on RDS is built from source. So is many another; together with the empty `report_host` it is what there is.
fn is_rds(version_comment: &str) -> bool {
    version_comment.trim().eq_ignore_ascii_case("source distribution")
}

impl Question for MultiAz {
    fn sql(&self) -> &'static str {
        MULTI_AZ
    }

    fn next(&self, answer: &Table, expected: &'static dyn DatabaseDialect) -> Step {
        if answer.first_cell().is_none_or(|count| count == "0") {
            return Step::Done(Detected::as_expected(expected, &mysql::COMMUNITY));
        }
        tell_of_multi_az();
        Step::Done(Detected::plain(&mysql::RDS))
    }
}

fn value_of<'a>(variables: &'a Table, name: &str) -> Option<&'a str> {
    let is_named =
        |row: &usize| variables.cell(*row, 0).is_some_and(|variable| variable.eq_ignore_ascii_case(name));
    variables.cell((0..variables.rows.len()).find(is_named)?, 1)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{detect, row};
    use super::*;
    use crate::engine::Engine::MySql;

    const EXPECTATIONS: [&dyn DatabaseDialect; 3] = [&mysql::COMMUNITY, &mysql::RDS, &aurora::MYSQL];

    fn variables(known: &[(&str, &str)]) -> Table {
        let rows = known.iter().map(|&(name, value)| vec![Some(name.to_owned()), Some(value.to_owned())]);
        Table::new(vec!["Variable_name".to_owned(), "Value".to_owned()], rows.collect())
    }

    fn plain(version: &str, comment: &str, report_host: &str) -> Table {
        variables(&[("report_host", report_host), ("version", version), ("version_comment", comment)])
    }

    /// Each deployment seen through each kind of name.
    #[test]
    fn the_product_is_told_by_the_server_whatever_the_name() {
        let (absent, present) = (row(&[Some("0")]), row(&[Some("1")]));
        for expected in EXPECTATIONS {
            let named = if expected.topology().is_some() { "mysql" } else { expected.code() };
            for (facts, more, code) in [
                (plain("8.0.40", "MySQL Community Server - GPL", ""), None, named),
                (plain("9.7.4-2", "(Debian)", ""), None, named),
                (plain("8.0.40", "MySQL Community Server - GPL", "10.0.0.7"), Some(&absent), named),
                (plain("8.0.40", "Source distribution", "10.0.0.7"), Some(&absent), named),
                (plain("8.0.40", "Source distribution", ""), None, "rds-mysql"),
                (plain("8.0.40", "source Distribution", "10.0.0.7"), Some(&present), "rds-mysql"),
                (
                    variables(&[("version", "8.0.40"), ("version_comment", "Source distribution")]),
                    None,
                    named,
                ),
                (plain("10.11.6-MariaDB-log", "managed by https://aws.amazon.com/rds/", ""), None, "mariadb"),
                (plain("11.4.2-mariadb", "Source distribution", "10.0.0.7"), None, "mariadb"),
                (variables(&[]), None, named),
            ] {
                let answers: Vec<_> = std::iter::once(&facts).chain(more).collect();
                let detected = detect(MySql, expected, &answers);
                assert_eq!(detected.dialect.code(), code, "{} and {facts:?}", expected.code());
                assert!(detected.answer.is_none());
            }
        }
    }

    #[test]
    fn aurora_is_told_by_its_version_whatever_the_name() {
        let facts = variables(&[
            ("AURORA_VERSION", "3.08.0"),
            ("report_host", "10.0.0.7"),
            ("version", "8.0.39"),
            ("version_comment", "Source distribution"),
        ]);
        let instances = row(&[Some("i-1"), Some("0"), Some("i-1"), Some("1"), Some("7.5"), Some("0"), None]);
        let empty = row(&[Some("i-1"), Some("1"), None, None, None, None, None]);
        for expected in EXPECTATIONS {
            let detected = detect(MySql, expected, &[&facts, &instances]);
            assert_eq!(detected.dialect.code(), "aurora-mysql");
            assert!(detected.answer.unwrap().is_writer());

            let without_topology = detect(MySql, expected, &[&facts, &empty]);
            assert_eq!(without_topology.dialect.code(), "aurora-mysql");
            assert!(without_topology.answer.unwrap().rows.is_empty());
        }
    }

    #[test]
    fn no_question_names_a_variable_that_may_not_exist() {
        for sql in [FACTS, MULTI_AZ] {
            assert!(!sql.contains("@@"), "{sql}");
        }
    }
}
