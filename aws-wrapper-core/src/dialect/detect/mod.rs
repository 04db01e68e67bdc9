//! Which product is this server?
//!
//! Detection asks at most two questions and decides; it does no I/O itself. An error of a question is never an answer:
//! the caller stops, and nothing is learned. What to ask, and what follows, is a matter of the engine: a file each.

mod mysql;
mod postgres;

use std::fmt::Debug;

use crate::dialect::refusal::explain;
use crate::dialect::{DatabaseDialect, ProbeAnswer};
use crate::engine::Engine;
use crate::error::Error;
use crate::table::Table;

/// What is known of the server so far.
#[derive(Debug)]
pub struct Detection {
    expected: &'static dyn DatabaseDialect,
    step: Step,
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

/// What comes next.
#[derive(Debug)]
enum Step {
    Ask(&'static dyn Question),
    Done(Detected),
}

/// A question to a server, and what its answer means.
trait Question: Debug + Sync {
    fn sql(&self) -> &'static str;

    /// What follows, when the endpoint's name made one expect that product.
    fn next(&self, answer: &Table, expected: &'static dyn DatabaseDialect) -> Step;

    /// The product whose topology it asks for. Only such a question needs a grant; the others are about what everybody
    /// may see.
    fn about(&self) -> Option<&'static dyn DatabaseDialect> {
        None
    }
}

impl Detection {
    /// Starts with the product the endpoint's name suggests.
    pub fn start(engine: Engine, expected: &'static dyn DatabaseDialect) -> Self {
        let first: &'static dyn Question = match engine {
            Engine::Postgres => &postgres::Facts,
            Engine::MySql => &mysql::Facts,
        };
        Self { expected, step: Step::Ask(first) }
    }

    /// The next question; `None` when the product is known.
    pub fn question(&self) -> Option<&'static str> {
        match &self.step {
            Step::Ask(question) => Some(question.sql()),
            Step::Done(_) => None,
        }
    }

    /// The server's answer to the last question.
    pub fn answer(&mut self, table: &Table) {
        if let Step::Ask(question) = &self.step {
            self.step = question.next(table, self.expected);
        }
    }

    /// The error of the last question, made clear where it can be.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match &self.step {
            Step::Ask(question) => match question.about() {
                Some(dialect) => explain(error, dialect),
                None => error,
            },
            Step::Done(_) => error,
        }
    }

    /// The product.
    pub fn finish(self) -> Detected {
        match self.step {
            Step::Done(detected) => detected,
            Step::Ask(_) => Detected::plain(self.expected),
        }
    }
}

impl Detected {
    /// A product without a topology, or one that was not asked for it.
    fn plain(dialect: &'static dyn DatabaseDialect) -> Self {
        Self { dialect, answer: None }
    }

    /// Nothing special was found. A name that promises a cluster is not believed against the server's own word; another
    /// name is.
    fn as_expected(expected: &'static dyn DatabaseDialect, community: &'static dyn DatabaseDialect) -> Self {
        if expected.topology().is_none() {
            return Self::plain(expected);
        }
        tracing::warn!(expected = expected.code(), "the server has no topology, whatever its name promises");
        Self::plain(community)
    }
}

/// The question that a product with a topology answers: who are you, and who are the others?
#[derive(Debug)]
struct Instances {
    dialect: &'static dyn DatabaseDialect,
    community: &'static dyn DatabaseDialect,
}

impl Question for Instances {
    fn sql(&self) -> &'static str {
        self.dialect.topology().map_or("", |topology| topology.probe_sql())
    }

    fn next(&self, answer: &Table, expected: &'static dyn DatabaseDialect) -> Step {
        // No row of another instance is no proof against a cluster: in the middle of a failover there may be none, and
        // what is learned now stays learned.
        Step::Done(match self.dialect.topology().and_then(|topology| topology.parse_probe(answer)) {
            Some(answer) => Detected { dialect: self.dialect, answer: Some(answer) },
            None => Detected::as_expected(expected, self.community),
        })
    }

    fn about(&self) -> Option<&'static dyn DatabaseDialect> {
        Some(self.dialect)
    }
}

fn tell_of_multi_az() {
    tracing::info!(
        "the server may be part of an RDS Multi-AZ cluster, whose topology this version does not read"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect;
    use crate::error::{DriverClass, ErrorKind};

    /// Runs a detection whose questions get these answers.
    pub(super) fn detect(
        engine: Engine,
        expected: &'static dyn DatabaseDialect,
        answers: &[&Table],
    ) -> Detected {
        let mut detection = Detection::start(engine, expected);
        for answer in answers {
            assert!(detection.question().is_some(), "another question is expected");
            detection.answer(answer);
        }
        assert_eq!(detection.question(), None);
        detection.finish()
    }

    /// One row.
    pub(super) fn row(cells: &[Option<&str>]) -> Table {
        let row = cells.iter().map(|cell| cell.map(str::to_owned)).collect();
        Table::new(vec![String::new(); cells.len()], vec![row])
    }

    const FAMILIES: [(Engine, [&dyn DatabaseDialect; 3]); 2] = [
        (
            Engine::Postgres,
            [&dialect::postgres::COMMUNITY, &dialect::postgres::RDS, &dialect::aurora::POSTGRES],
        ),
        (Engine::MySql, [&dialect::mysql::COMMUNITY, &dialect::mysql::RDS, &dialect::aurora::MYSQL]),
    ];

    #[test]
    fn a_server_that_answers_nothing_is_what_its_name_says_unless_that_is_a_cluster() {
        for (engine, [community, rds, aurora]) in FAMILIES {
            for (expected, code) in [(community, community), (rds, rds), (aurora, community)] {
                let detected = detect(engine, expected, &[&Table::default()]);
                assert_eq!(detected.dialect.code(), code.code());
                assert!(detected.answer.is_none());
            }
        }
    }

    #[test]
    fn an_unanswered_question_changes_nothing() {
        for (engine, [_, rds, _]) in FAMILIES {
            assert_eq!(Detection::start(engine, rds).finish().dialect.code(), rds.code());
        }
    }

    #[test]
    fn only_the_question_about_the_topology_needs_a_grant() {
        let refused = || Error::driver(DriverClass::Other, "permission denied").with_sqlstate("42501");
        let mut detection = Detection::start(Engine::Postgres, &dialect::postgres::COMMUNITY);
        assert_ne!(detection.explain(refused()).kind(), ErrorKind::Config);
        detection.answer(&row(&[Some("aurora_stat_utils"), Some("t"), Some("f")]));
        assert_eq!(detection.explain(refused()).kind(), ErrorKind::Config);
    }
}
