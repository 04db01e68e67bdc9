//! Database products: what to ask them and how to read their answers.
//!
//! A dialect is mostly constants; what a product can do is a question to it ([`DatabaseDialect::topology`]), not an
//! ancestor. Every question is plain text in one round trip, fully qualified, and raises no error on another product.

pub mod aurora;
pub mod detect;
pub mod mysql;
pub mod postgres;
pub(crate) mod refusal;

use std::fmt::Debug;

use crate::endpoint::{Endpoint, EndpointKind};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::host::Role;
use crate::table::Table;

/// The database products that can be named.
pub(crate) const DIALECTS: &[&str] = &[
    "pg",
    "rds-pg",
    "aurora-pg",
    "global-aurora-pg",
    "rds-multi-az-pg-cluster",
    "mysql",
    "mariadb",
    "rds-mysql",
    "aurora-mysql",
    "global-aurora-mysql",
    "rds-multi-az-mysql-cluster",
];

/// One database product.
pub trait DatabaseDialect: Debug + Send + Sync {
    /// Its name in the `dialect` parameter.
    fn code(&self) -> &'static str;

    /// The port when none is given.
    fn default_port(&self) -> u16;

    /// Asks for the role of the server, as one value.
    fn role_sql(&self) -> &'static str;

    /// Reads the answer to [`role_sql`](Self::role_sql).
    fn parse_role(&self, table: &Table) -> Option<Role>;

    /// What it can tell about a cluster, if there is one.
    fn topology(&self) -> Option<&dyn TopologyDialect> {
        None
    }
}

/// What a product tells about its cluster.
pub trait TopologyDialect: Debug + Send + Sync {
    /// Asks for the instance's own name and role.
    fn whoami_sql(&self) -> &'static str;

    /// Reads the answer to [`whoami_sql`](Self::whoami_sql): name and role.
    fn parse_whoami(&self, table: &Table) -> Option<(String, Role)>;

    /// Asks for the instance's own name and role and for the whole topology, in one round trip.
    fn probe_sql(&self) -> &'static str;

    /// Reads the answer to [`probe_sql`](Self::probe_sql).
    fn parse_probe(&self, table: &Table) -> Option<ProbeAnswer>;

    /// What the user must be granted for these questions, for the error when it is missing.
    fn grant(&self) -> &'static str;
}

/// What one instance says about itself and its cluster.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ProbeAnswer {
    /// Its own name.
    pub host_id: String,
    /// Its role by the role query.
    pub role: Role,
    /// The cluster as it sees it; empty when it has no topology just now.
    pub rows: Vec<TopologyRow>,
}

impl ProbeAnswer {
    /// An answer as given.
    pub fn new(host_id: impl Into<String>, role: Role, rows: Vec<TopologyRow>) -> Self {
        Self { host_id: host_id.into(), role, rows }
    }

    /// Whether the instance is the writer: its topology names it, and its role says so too.
    ///
    /// Either alone may be wrong for a moment around a change of roles.
    pub fn is_writer(&self) -> bool {
        self.role == Role::Writer
            && self.rows.iter().any(|row| row.is_writer && row.host_id.eq_ignore_ascii_case(&self.host_id))
    }
}

/// One instance in the topology of another.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct TopologyRow {
    /// What the instance calls itself.
    pub host_id: String,
    /// The first label of its endpoint.
    pub instance_name: String,
    /// Whether it is marked as the writer.
    pub is_writer: bool,
    /// How far it is behind the writer, in milliseconds.
    pub lag_ms: f32,
    /// Processor use in percent.
    pub cpu_percent: f32,
    /// How old the row is, in seconds; `None` when the product does not say.
    pub age_secs: Option<f64>,
}

impl TopologyRow {
    /// A row of which only the name and the writer's mark are known.
    pub fn new(host_id: impl Into<String>, is_writer: bool) -> Self {
        let host_id = host_id.into();
        Self { instance_name: host_id.clone(), host_id, is_writer, ..Self::default() }
    }
}

/// The products of one engine.
struct Products {
    /// What people call the engine.
    name: &'static str,
    /// Every dialect of this version.
    dialects: &'static [&'static dyn DatabaseDialect],
    /// Codes that other versions of the wrappers know, so that the error can say so.
    not_yet: &'static [&'static str],
}

const POSTGRES: Products = Products {
    name: "PostgreSQL",
    dialects: &[&postgres::COMMUNITY, &postgres::RDS, &aurora::POSTGRES],
    not_yet: &["global-aurora-pg", "rds-multi-az-pg-cluster"],
};

const MYSQL: Products = Products {
    name: "MySQL",
    dialects: &[&mysql::COMMUNITY, &mysql::MARIADB, &mysql::RDS, &aurora::MYSQL],
    not_yet: &["global-aurora-mysql", "rds-multi-az-mysql-cluster"],
};

impl Products {
    fn of(engine: Engine) -> &'static Self {
        match engine {
            Engine::Postgres => &POSTGRES,
            Engine::MySql => &MYSQL,
        }
    }

    fn find(&self, code: &str) -> Option<&'static dyn DatabaseDialect> {
        self.dialects.iter().find(|dialect| dialect.code() == code).copied()
    }

    fn has(&self, code: &str) -> bool {
        self.find(code).is_some() || self.not_yet.contains(&code)
    }
}

/// The dialect of that code, in the engine of the driver.
///
/// # Errors
/// `Config` when there is none; it names those there are.
pub fn by_code(engine: Engine, code: &str) -> Result<&'static dyn DatabaseDialect> {
    let products = Products::of(engine);
    if let Some(dialect) = products.find(code) {
        return Ok(dialect);
    }
    let accepted = products.dialects.iter().map(|dialect| dialect.code()).collect::<Vec<_>>().join(", ");
    let remark = if products.has(code) {
        " (this one is not available yet)".to_owned()
    } else if let Some(other) = [&POSTGRES, &MYSQL].iter().find(|other| other.has(code)) {
        format!(" (this one is for {}, the driver for {})", other.name, products.name)
    } else {
        String::new()
    };
    Err(Error::parameter("dialect", code, &(accepted + &remark)))
}

/// The product to expect before any connection: the one asked for, else by the name of the endpoint.
pub(crate) fn initial(
    engine: Engine,
    endpoint: &Endpoint,
    asked: Option<&str>,
) -> Result<&'static dyn DatabaseDialect> {
    if let Some(code) = asked {
        return by_code(engine, code);
    }
    let [aurora, rds, community]: [&'static dyn DatabaseDialect; 3] = match engine {
        Engine::Postgres => [&aurora::POSTGRES, &postgres::RDS, &postgres::COMMUNITY],
        Engine::MySql => [&aurora::MYSQL, &mysql::RDS, &mysql::COMMUNITY],
    };
    Ok(match endpoint.kind() {
        EndpointKind::WriterCluster
        | EndpointKind::ReaderCluster
        | EndpointKind::CustomCluster
        | EndpointKind::GlobalWriterCluster
        | EndpointKind::LimitlessShardGroup => aurora,
        _ if endpoint.is_rds_dns() => rds,
        _ => community,
    })
}

/// Reads `t`/`f` and its spellings: PostgreSQL has letters, MySQL numbers, and words for its variables.
fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "t" | "true" | "1" | "on" => Some(true),
        "f" | "false" | "0" | "off" => Some(false),
        _ => None,
    }
}

/// A flag that is true on a reader.
fn reader_flag(text: &str) -> Option<Role> {
    parse_bool(text).map(|is_reader| if is_reader { Role::Reader } else { Role::Writer })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_dialect_is_found_by_its_code_and_unknown_codes_name_the_known_ones() {
        for (engine, port, known) in [
            (Engine::Postgres, 5432, "expected pg, rds-pg, aurora-pg"),
            (Engine::MySql, 3306, "expected mysql, mariadb, rds-mysql, aurora-mysql"),
        ] {
            let products = Products::of(engine);
            for dialect in products.dialects {
                assert_eq!(by_code(engine, dialect.code()).unwrap().code(), dialect.code());
                assert_eq!(dialect.default_port(), port);
            }
            for code in products.not_yet.iter().chain(&["oracle", ""]) {
                let error = by_code(engine, code).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                assert!(error.to_string().contains(known), "{error}");
                assert_eq!(error.to_string().contains("not available yet"), products.not_yet.contains(code));
            }
        }
    }

    #[test]
    fn a_dialect_of_another_family_is_refused_and_named_as_such() {
        for (engine, code, text) in [
            (Engine::Postgres, "aurora-mysql", "(this one is for MySQL, the driver for PostgreSQL)"),
            (Engine::MySql, "aurora-pg", "(this one is for PostgreSQL, the driver for MySQL)"),
            (Engine::MySql, "global-aurora-pg", "(this one is for PostgreSQL, the driver for MySQL)"),
        ] {
            let error = initial(engine, &Endpoint::parse("db.example.com"), Some(code)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().ends_with(text), "{error}");
        }
    }

    /// The parameter accepts what belongs to any engine; the driver tells which.
    #[test]
    fn the_parameter_knows_every_code() {
        let codes: Vec<_> = [&POSTGRES, &MYSQL]
            .iter()
            .flat_map(|products| {
                products.dialects.iter().map(|dialect| dialect.code()).chain(products.not_yet.iter().copied())
            })
            .collect();
        assert_eq!(DIALECTS, codes);
    }

    #[test]
    fn the_first_guess_follows_the_name_unless_one_is_asked_for() {
        for (host, pg, mysql) in [
            ("db.cluster-abc.us-east-2.rds.amazonaws.com", "aurora-pg", "aurora-mysql"),
            ("db.cluster-ro-abc.us-east-2.rds.amazonaws.com", "aurora-pg", "aurora-mysql"),
            ("db.cluster-custom-abc.us-east-2.rds.amazonaws.com", "aurora-pg", "aurora-mysql"),
            ("db.abc.us-east-2.rds.amazonaws.com", "rds-pg", "rds-mysql"),
            ("db.proxy-abc.us-east-2.rds.amazonaws.com", "rds-pg", "rds-mysql"),
            ("db.example.com", "pg", "mysql"),
            ("10.0.0.1", "pg", "mysql"),
        ] {
            let endpoint = Endpoint::parse(host);
            assert_eq!(initial(Engine::Postgres, &endpoint, None).unwrap().code(), pg, "{host}");
            assert_eq!(initial(Engine::Postgres, &endpoint, Some("pg")).unwrap().code(), "pg");
            assert_eq!(initial(Engine::MySql, &endpoint, None).unwrap().code(), mysql, "{host}");
            assert_eq!(initial(Engine::MySql, &endpoint, Some("mariadb")).unwrap().code(), "mariadb");
        }
        let limitless = Endpoint::parse("db.shardgrp-abc.us-east-2.rds.amazonaws.com");
        assert_eq!(initial(Engine::Postgres, &limitless, None).unwrap().code(), "aurora-pg");
    }

    #[test]
    fn roles_are_read_and_nonsense_is_no_role() {
        let role = |text: &str| {
            postgres::COMMUNITY.parse_role(&Table::new(vec![], vec![vec![Some(text.to_owned())]]))
        };
        assert_eq!((role("t"), role("f"), role("maybe")), (Some(Role::Reader), Some(Role::Writer), None));
        assert_eq!(postgres::COMMUNITY.parse_role(&Table::default()), None);
    }
}
