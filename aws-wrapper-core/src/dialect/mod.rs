//! Database products: what to ask them and how to read their answers.
//!
//! A dialect is mostly constants; what a product can do is a question to it ([`DatabaseDialect::topology`]), not an
//! ancestor. Every question is plain text in one round trip, fully qualified, and raises no error on another product.

pub mod aurora;
pub mod detect;
pub mod postgres;

use std::fmt::Debug;

use crate::driver::Family;
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Role;
use crate::table::Table;

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

/// Every dialect of this version.
const ALL: &[&dyn DatabaseDialect] = &[&postgres::COMMUNITY, &postgres::RDS, &aurora::POSTGRES];

/// Codes of products that other versions of the wrappers know, so that the error can say so.
const NOT_YET: &[&str] = &[
    "global-aurora-pg",
    "rds-multi-az-pg-cluster",
    "mysql",
    "rds-mysql",
    "aurora-mysql",
    "global-aurora-mysql",
    "rds-multi-az-mysql-cluster",
    "mariadb",
];

/// The dialect of that code.
///
/// # Errors
/// `Config` when there is none.
pub fn by_code(code: &str) -> Result<&'static dyn DatabaseDialect> {
    if let Some(dialect) = ALL.iter().find(|dialect| dialect.code() == code) {
        return Ok(*dialect);
    }
    let known = ALL.iter().map(|dialect| dialect.code()).collect::<Vec<_>>().join(", ");
    let accepted =
        if NOT_YET.contains(&code) { format!("{known} (this one is not available yet)") } else { known };
    Err(Error::parameter("dialect", code, &accepted))
}

/// The product to expect before any connection: the one asked for, else by the name of the endpoint.
pub(crate) fn initial(
    family: Family,
    endpoint: &Endpoint,
    asked: Option<&str>,
) -> Result<&'static dyn DatabaseDialect> {
    if let Some(code) = asked {
        return by_code(code);
    }
    match (family, endpoint.kind()) {
        (
            Family::Postgres,
            EndpointKind::WriterCluster
            | EndpointKind::ReaderCluster
            | EndpointKind::CustomCluster
            | EndpointKind::GlobalWriterCluster
            | EndpointKind::LimitlessShardGroup,
        ) => Ok(&aurora::POSTGRES),
        (Family::Postgres, _) if endpoint.is_rds_dns() => Ok(&postgres::RDS),
        (Family::Postgres, _) => Ok(&postgres::COMMUNITY),
        (Family::MySql, _) => Err(Error::config("MySQL servers are not available in this version")),
    }
}

/// The error of a topology question, made clear when the user lacks a right: it then names the grant. Any other error is
/// returned as it is. SQLSTATE, host and source are kept.
pub fn explain_refusal(error: Error, topology: &dyn TopologyDialect) -> Error {
    let Some(code) = error.sqlstate().filter(|code| *code == INSUFFICIENT_PRIVILEGE).map(str::to_owned)
    else {
        return error;
    };
    let text = format!("the user may not read the cluster's topology; it needs {}", topology.grant());
    let host = error.host().cloned();
    let explained = Error::new(ErrorKind::Config, text).with_sqlstate(&code).with_source(error);
    match host {
        Some(host) => explained.with_host(&host),
        None => explained,
    }
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// Reads `t`/`f` and its spellings.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
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
    use crate::error::DriverClass;

    #[test]
    fn a_dialect_is_found_by_its_code_and_unknown_codes_name_the_known_ones() {
        for dialect in ALL {
            assert_eq!(by_code(dialect.code()).unwrap().code(), dialect.code());
            assert_eq!(dialect.default_port(), 5432);
        }
        for code in NOT_YET.iter().chain(&["oracle", ""]) {
            let error = by_code(code).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains("aurora-pg"), "{error}");
        }
        assert!(by_code("mariadb").unwrap_err().to_string().contains("not available yet"));
    }

    #[test]
    fn the_first_guess_follows_the_name_unless_one_is_asked_for() {
        for (host, code) in [
            ("db.cluster-abc.us-east-2.rds.amazonaws.com", "aurora-pg"),
            ("db.cluster-ro-abc.us-east-2.rds.amazonaws.com", "aurora-pg"),
            ("db.cluster-custom-abc.us-east-2.rds.amazonaws.com", "aurora-pg"),
            ("db.shardgrp-abc.us-east-2.rds.amazonaws.com", "aurora-pg"),
            ("db.abc.us-east-2.rds.amazonaws.com", "rds-pg"),
            ("db.proxy-abc.us-east-2.rds.amazonaws.com", "rds-pg"),
            ("db.example.com", "pg"),
            ("10.0.0.1", "pg"),
        ] {
            let endpoint = Endpoint::parse(host);
            assert_eq!(initial(Family::Postgres, &endpoint, None).unwrap().code(), code, "{host}");
            assert_eq!(initial(Family::Postgres, &endpoint, Some("pg")).unwrap().code(), "pg");
        }
    }

    #[test]
    fn roles_are_read_and_nonsense_is_no_role() {
        let role = |text: &str| {
            postgres::COMMUNITY.parse_role(&Table::new(vec![], vec![vec![Some(text.to_owned())]]))
        };
        assert_eq!((role("t"), role("f"), role("maybe")), (Some(Role::Reader), Some(Role::Writer), None));
        assert_eq!(postgres::COMMUNITY.parse_role(&Table::default()), None);
    }

    #[test]
    fn a_missing_right_is_named_and_other_errors_pass() {
        let refused =
            || Error::driver(DriverClass::Other, "permission denied for function aurora_replica_status");
        let explained = explain_refusal(refused().with_sqlstate("42501"), &aurora::POSTGRES);
        assert_eq!((explained.kind(), explained.sqlstate()), (ErrorKind::Config, Some("42501")));
        assert!(explained.to_string().contains("EXECUTE on function pg_catalog.aurora_replica_status()"));
        assert_eq!(explained.driver_class(), Some(DriverClass::Other));
        let other = explain_refusal(refused().with_sqlstate("57P01"), &aurora::POSTGRES);
        assert_eq!(other.kind(), ErrorKind::Driver(DriverClass::Other));
    }
}
