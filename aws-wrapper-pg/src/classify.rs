//! What an error means: SQLSTATE to [`DriverClass`].

use std::error::Error as StdError;
use std::io;

use aws_wrapper_core::driver::Cause;
use aws_wrapper_core::error::DriverClass;
use tokio_postgres::error::{DbError, Severity};

use crate::error::DriverError;
use crate::status::CleartextRefused;

/// When an error came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// While the connection was being opened.
    Connecting,
    /// On an established connection that goes on.
    Running,
    /// On an established connection, which it ends.
    Ending,
}

/// Codes by their beginning; the first line that fits at that stage counts.
///
/// Not here on purpose: `XX` (internal errors) and `53` (out of resources, too many connections) are ordinary errors of
/// a server that works, and so is `58P01` (a file that does not exist).
const CODES: &[(&str, &[Stage], DriverClass)] = {
    use DriverClass::{Cancelled, Login, Network, Role, SessionTerminated};
    use Stage::{Connecting, Ending, Running};
    const ANY: &[Stage] = &[Connecting, Running, Ending];
    &[
        ("28P01", ANY, Login),
        ("28000", ANY, Login),
        ("08004", ANY, Login),
        ("25006", ANY, Role),
        ("57014", ANY, Cancelled),
        ("57P04", ANY, SessionTerminated), // database dropped: no other host has it
        ("57P05", &[Ending], SessionTerminated), // idle session
        ("25P03", &[Ending], SessionTerminated), // idle in transaction
        ("25P04", &[Ending], SessionTerminated), // transaction took too long
        ("57P01", ANY, Network),           // cannot be told apart from a shutdown when one backend is ended
        ("57P02", ANY, Network),
        ("57P03", ANY, Network),
        ("08000", ANY, Network),
        ("08001", ANY, Network),
        ("08003", ANY, Network),
        ("08006", ANY, Network),
        ("08007", ANY, Network),
        ("08P01", ANY, Network),
        ("58000", ANY, Network),
        ("58030", ANY, Network),
        ("99", ANY, Network),
        ("F0", &[Connecting], Network), // an old engine that reads a broken configuration file
        ("", &[Ending], Network),       // whatever ends an established session takes the connection with it
    ]
};

fn class_of_code(code: &str, stage: Stage) -> DriverClass {
    CODES
        .iter()
        .find(|(prefix, stages, _)| code.starts_with(prefix) && stages.contains(&stage))
        .map_or(DriverClass::Other, |(_, _, class)| *class)
}

/// What a FATAL or PANIC with this code means for an established connection.
pub(crate) fn class_of_end(code: &str) -> DriverClass {
    class_of_code(code, Stage::Ending)
}

/// What an error means. Walks the whole chain of causes; the first class that is not `Other` counts.
pub(crate) fn classify(error: &DriverError) -> DriverClass {
    match error.cause() {
        Cause::Dial(_) => DriverClass::Network,
        Cause::Connect(error) => class_while_connecting(error),
        Cause::Statement(error) => class_while_running(error),
        Cause::Ended { reason, .. } => reason.class,
    }
}

/// The code the server sent with an error, wherever in the chain it stands.
pub(crate) fn sqlstate(error: &DriverError) -> Option<&str> {
    match error.cause() {
        Cause::Dial(_) => None,
        Cause::Connect(error) | Cause::Statement(error) => {
            chain(error).find_map(|cause| cause.downcast_ref::<DbError>()).map(|db| db.code().code())
        }
        Cause::Ended { reason, .. } => reason.sqlstate.as_deref(),
    }
}

fn class_while_running(error: &tokio_postgres::Error) -> DriverClass {
    if error.is_closed() {
        return DriverClass::Network;
    }
    chain(error)
        .map(|cause| match cause.downcast_ref::<DbError>() {
            Some(db) => class_of_code(db.code().code(), stage_of(db)),
            None => DriverClass::Other,
        })
        .find(|class| *class != DriverClass::Other)
        .unwrap_or(DriverClass::Other)
}

/// While connecting nearly every error is FATAL, so the severity says nothing.
fn class_while_connecting(error: &tokio_postgres::Error) -> DriverClass {
    if error.is_closed() {
        return DriverClass::Network;
    }
    // The kind is private; its text is the only sign of a password that is missing or a server that cannot prove that
    // it knows the password.
    if matches!(error.to_string().as_str(), "authentication error" | "invalid configuration") {
        return DriverClass::Login;
    }
    chain(error)
        .map(|cause| {
            if let Some(db) = cause.downcast_ref::<DbError>() {
                class_of_code(db.code().code(), Stage::Connecting)
            } else if let Some(io) = cause.downcast_ref::<io::Error>() {
                class_of_io(io)
            } else {
                DriverClass::Other
            }
        })
        .find(|class| *class != DriverClass::Other)
        .unwrap_or(DriverClass::Other)
}

/// A certificate that does not fit and a refusal of our own are not the network's fault.
fn class_of_io(error: &io::Error) -> DriverClass {
    match error.get_ref() {
        Some(inner) if inner.is::<CleartextRefused>() => DriverClass::Login,
        Some(inner) if inner.is::<rustls::Error>() => DriverClass::Other,
        _ => DriverClass::Network,
    }
}

fn stage_of(error: &DbError) -> Stage {
    match error.parsed_severity() {
        Some(Severity::Fatal | Severity::Panic) => Stage::Ending,
        _ => Stage::Running,
    }
}

fn chain<'e>(error: &'e (dyn StdError + 'static)) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |error: &&'e (dyn StdError + 'static)| (*error).source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_mean_what_the_table_says() {
        use DriverClass::{Cancelled, Login, Network, Other, Role, SessionTerminated};
        for (code, connecting, running, ending) in [
            ("28P01", Login, Login, Login),
            ("28000", Login, Login, Login),
            ("08004", Login, Login, Login),
            ("25006", Role, Role, Role),
            ("57014", Cancelled, Cancelled, Cancelled),
            ("57P01", Network, Network, Network),
            ("57P02", Network, Network, Network),
            ("57P03", Network, Network, Network),
            ("57P04", SessionTerminated, SessionTerminated, SessionTerminated),
            ("57P05", Other, Other, SessionTerminated),
            ("25P03", Other, Other, SessionTerminated),
            ("25P04", Other, Other, SessionTerminated),
            ("08000", Network, Network, Network),
            ("08006", Network, Network, Network),
            ("08P01", Network, Network, Network),
            ("58000", Network, Network, Network),
            ("58030", Network, Network, Network),
            ("58P01", Other, Other, Network),
            ("99001", Network, Network, Network),
            ("F0000", Network, Other, Network),
            ("53300", Other, Other, Network),
            ("53200", Other, Other, Network),
            ("XX000", Other, Other, Network),
            ("3D000", Other, Other, Network),
            ("40001", Other, Other, Network),
            ("42P01", Other, Other, Network),
            ("25P02", Other, Other, Network),
        ] {
            let classes =
                [Stage::Connecting, Stage::Running, Stage::Ending].map(|stage| class_of_code(code, stage));
            assert_eq!(classes, [connecting, running, ending], "{code}");
        }
    }

    #[test]
    fn a_refused_certificate_is_not_a_broken_network() {
        let refused = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer),
        );
        assert_eq!(class_of_io(&refused), DriverClass::Other);
        assert_eq!(class_of_io(&io::Error::other(CleartextRefused)), DriverClass::Login);
        assert_eq!(class_of_io(&io::ErrorKind::ConnectionReset.into()), DriverClass::Network);
        assert_eq!(class_of_io(&io::ErrorKind::UnexpectedEof.into()), DriverClass::Network);
    }
}
