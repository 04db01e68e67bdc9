//! What a server means when it does not answer a question about its topology.
//!
//! PostgreSQL says it by SQLSTATE. MySQL has one SQLSTATE for a missing right and for a syntax error, so its own numbers
//! count.

use crate::dialect::DatabaseDialect;
use crate::error::{Error, ErrorKind};

/// PostgreSQL: permission denied.
const NO_RIGHT: &[&str] = &["42501"];
/// MySQL: access denied to a database, a table, a column; without a global privilege; to a routine.
const NO_RIGHT_MYSQL: &[u32] = &[1044, 1142, 1143, 1227, 1370];

/// PostgreSQL: no such function, no such table.
const UNDEFINED: &[&str] = &["42883", "42P01"];
/// MySQL: no such table in `information_schema`, no such table, no such system variable.
const UNDEFINED_MYSQL: &[u32] = &[1109, 1146, 1193];

/// PostgreSQL: no such database.
const NO_DATABASE: &[&str] = &["3D000"];
/// MySQL: no such database, or not for this user.
const NO_DATABASE_MYSQL: &[u32] = &[1044, 1049];

/// Whether the user lacks a right.
pub(crate) fn is_missing_right(error: &Error) -> bool {
    is_one_of(error, NO_RIGHT, NO_RIGHT_MYSQL)
}

/// Whether the database to connect to does not exist, or not for this user.
pub(crate) fn is_missing_database(error: &Error) -> bool {
    is_one_of(error, NO_DATABASE, NO_DATABASE_MYSQL)
}

fn is_one_of(error: &Error, sqlstates: &[&str], vendor_codes: &[u32]) -> bool {
    error.sqlstate().is_some_and(|state| sqlstates.contains(&state))
        || error.vendor_code().is_some_and(|code| vendor_codes.contains(&code))
}

/// The error of a question that only `dialect` knows, made clear.
///
/// When the user lacks a right it names the grant; when the server does not know what was asked for, the dialect that
/// must be wrong. Any other error is returned as it is. Codes, host and source are kept.
pub(crate) fn explain(error: Error, dialect: &dyn DatabaseDialect) -> Error {
    let Some(topology) = dialect.topology() else { return error };
    let text = if is_missing_right(&error) {
        format!("the user may not read the cluster's topology; it needs {}", topology.grant())
    } else if is_one_of(&error, UNDEFINED, UNDEFINED_MYSQL) {
        format!(
            "the server does not know what every `{}` server knows ({error}); check parameter `dialect`, and whether the \
             cluster was replaced by one of another product",
            dialect.code()
        )
    } else {
        return error;
    };
    let mut explained = Error::new(ErrorKind::Config, text);
    if let Some(sqlstate) = error.sqlstate() {
        explained = explained.with_sqlstate(sqlstate);
    }
    if let Some(code) = error.vendor_code() {
        explained = explained.with_vendor_code(code);
    }
    if let Some(host) = error.host() {
        explained = explained.with_host(host);
    }
    explained.with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::{aurora, postgres};
    use crate::error::DriverClass;

    /// As PostgreSQL reports it.
    fn pg(sqlstate: &str) -> Error {
        Error::driver(DriverClass::Other, "refused").with_sqlstate(sqlstate)
    }

    /// As MySQL reports it.
    fn mysql(code: u32) -> Error {
        pg("42000").with_vendor_code(code)
    }

    #[test]
    fn a_missing_right_is_named() {
        for (error, dialect, grant) in [
            (pg("42501"), &aurora::POSTGRES, "EXECUTE on function pg_catalog.aurora_replica_status()"),
            (mysql(1044), &aurora::MYSQL, "SELECT on information_schema.replica_host_status"),
            (mysql(1142), &aurora::MYSQL, "SELECT on information_schema.replica_host_status"),
            (mysql(1143), &aurora::MYSQL, "SELECT on information_schema.replica_host_status"),
            (mysql(1227), &aurora::MYSQL, "SELECT on information_schema.replica_host_status"),
            (mysql(1370), &aurora::MYSQL, "SELECT on information_schema.replica_host_status"),
        ] {
            let (sqlstate, code) = (error.sqlstate().map(str::to_owned), error.vendor_code());
            let explained = explain(error, dialect);
            assert_eq!(explained.kind(), ErrorKind::Config);
            assert!(explained.to_string().contains(grant), "{explained}");
            assert_eq!((explained.sqlstate(), explained.vendor_code()), (sqlstate.as_deref(), code));
            assert_eq!(explained.driver_class(), Some(DriverClass::Other));
        }
    }

    #[test]
    fn a_server_of_another_product_is_called_so() {
        for (error, dialect) in [
            (pg("42883"), &aurora::POSTGRES),
            (pg("42P01"), &aurora::POSTGRES),
            (mysql(1109), &aurora::MYSQL),
            (mysql(1146), &aurora::MYSQL),
            (mysql(1193), &aurora::MYSQL),
        ] {
            let explained = explain(error, dialect);
            assert_eq!(explained.kind(), ErrorKind::Config);
            let text = explained.to_string();
            assert!(text.contains(dialect.code()) && text.contains("parameter `dialect`"), "{text}");
        }
    }

    #[test]
    fn other_errors_pass_and_a_syntax_error_is_no_refusal() {
        for error in [pg("57P01"), pg("42000"), mysql(1064), mysql(1205)] {
            assert!(!is_missing_right(&error) && !is_missing_database(&error));
            assert_eq!(explain(error, &aurora::MYSQL).kind(), ErrorKind::Driver(DriverClass::Other));
        }
        let unasked = explain(pg("42501"), &postgres::COMMUNITY);
        assert_eq!(unasked.kind(), ErrorKind::Driver(DriverClass::Other));
    }

    #[test]
    fn a_missing_database_is_recognised() {
        assert!([pg("3D000"), mysql(1049), mysql(1044)].iter().all(is_missing_database));
    }
}
