//! What an error means: SQLSTATE to [`DriverClass`].

use std::error::Error as StdError;
use std::io;

use aws_wrapper_core::driver::Cause;
use aws_wrapper_core::error::DriverClass;
use tokio_postgres::error::{DbError, Severity};

use crate::error::DriverError;
use crate::status::CleartextRefused;

/// When an error came.
///
/// The severity and the socket say what became of a session, never the code of an error that leaves it alive: foreign
/// tables, `dblink` and procedures raise codes of every class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// While the connection was being opened. Nearly every error is FATAL here, so the severity says nothing.
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
    const ALIVE: &[Stage] = &[Connecting, Running];
    &[
        ("25006", ALIVE, Role),
        ("57014", ALIVE, Cancelled),
        ("28P01", &[Connecting], Login),
        ("28000", &[Connecting], Login),
        ("08004", &[Connecting], Login),
        ("57P01", &[Connecting], Network),
        ("57P02", &[Connecting], Network),
        ("57P03", &[Connecting], Network),
        ("08000", &[Connecting], Network),
        ("08001", &[Connecting], Network),
        ("08003", &[Connecting], Network),
        ("08006", &[Connecting], Network),
        ("08007", &[Connecting], Network),
        ("58000", &[Connecting], Network),
        ("58030", &[Connecting], Network),
        ("99", &[Connecting], Network),
        ("F0", &[Connecting], Network), // an old engine that reads a broken configuration file
        ("57P04", &[Ending], SessionTerminated), // database dropped: no other host has it
        ("57P05", &[Ending], SessionTerminated), // idle session
        ("25P03", &[Ending], SessionTerminated), // idle in transaction
        ("25P04", &[Ending], SessionTerminated), // transaction took too long
        ("40001", &[Ending], SessionTerminated), // in the way of what a replica has to replay
        // Any other end of an established session takes the connection with it. The end of one backend (57P01) looks like
        // a shutdown.
        ("", &[Ending], Network),
    ]
};

/// A refusal of a pooler, which has one code for all of them. The text says whether it is about who asks.
const REFUSED_BY_POOLER: &str = "08P01";

/// What the server's error with this code and text means at that stage.
pub(crate) fn class_of_code(code: &str, message: &str, stage: Stage) -> DriverClass {
    if stage == Stage::Connecting && code == REFUSED_BY_POOLER {
        return if is_about_login(message) { DriverClass::Login } else { DriverClass::Other };
    }
    CODES
        .iter()
        .find(|(prefix, stages, _)| code.starts_with(prefix) && stages.contains(&stage))
        .map_or(DriverClass::Other, |(_, _, class)| *class)
}

/// `PgBouncer` does not translate its texts. Its limits (`max_user_connections`) and its login time-out name the user or
/// the login inside a longer word.
fn is_about_login(message: &str) -> bool {
    message.split(|letter: char| !letter.is_alphanumeric() && letter != '_').any(|word| {
        ["authentication", "auth", "password", "user"].iter().any(|it| word.eq_ignore_ascii_case(it))
    })
}

/// Whether an error of this severity ends the session. `stable` is the field that every server since 9.6 sends;
/// `translated` follows the language of the server, and old servers and some poolers send only that. In a language that is
/// not known here the end shows at the socket.
pub(crate) fn ends_session(stable: Option<&[u8]>, translated: &[u8]) -> bool {
    matches!(stable.unwrap_or(translated), b"FATAL" | b"PANIC")
}

/// What an error means. Walks the whole chain of causes; the first class that is not `Other` counts.
pub(crate) fn classify(error: &DriverError) -> DriverClass {
    match error.cause() {
        Cause::Lookup(error) => error.class(),
        Cause::Dial(_) => DriverClass::Network,
        Cause::Connect(error) => class_while_connecting(error),
        Cause::Statement(error) => class_while_running(error),
        Cause::Ended { reason, .. } => reason.class,
    }
}

/// The code the server sent with an error, wherever in the chain it stands.
pub(crate) fn sqlstate(error: &DriverError) -> Option<&str> {
    match error.cause() {
        Cause::Lookup(_) | Cause::Dial(_) => None,
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
            Some(db) => class_of_code(db.code().code(), db.message(), stage_of(db)),
            None => DriverClass::Other,
        })
        .find(|class| *class != DriverClass::Other)
        .unwrap_or(DriverClass::Other)
}

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
                class_of_code(db.code().code(), db.message(), Stage::Connecting)
            } else if let Some(io) = cause.downcast_ref::<io::Error>() {
                class_of_io(io)
            } else {
                DriverClass::Other
            }
        })
        .find(|class| *class != DriverClass::Other)
        .unwrap_or(DriverClass::Other)
}

/// Whether an error of which nothing else is known can only come from opening a connection. The kinds are private; their
/// texts are the only sign.
pub(crate) fn is_of_connecting(error: &tokio_postgres::Error) -> bool {
    const KINDS: &[&str] = &[
        "authentication error",
        "error communicating with the server",
        "error connecting to server",
        "error performing TLS handshake",
        "invalid configuration",
        "invalid connection string",
    ];
    match error.as_db_error() {
        // A session that is established does not end by these.
        Some(db) => {
            stage_of(db) == Stage::Ending
                && class_of_code(db.code().code(), db.message(), Stage::Connecting) == DriverClass::Login
        }
        None => KINDS.contains(&error.to_string().as_str()),
    }
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
    let stable = error.parsed_severity().map(|severity| match severity {
        Severity::Fatal => &b"FATAL"[..],
        Severity::Panic => b"PANIC",
        _ => b"",
    });
    if ends_session(stable, error.severity().as_bytes()) { Stage::Ending } else { Stage::Running }
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
            ("25006", Role, Role, Network),
            ("57014", Cancelled, Cancelled, Network),
            ("28P01", Login, Other, Network),
            ("28000", Login, Other, Network),
            ("08004", Login, Other, Network),
            ("57P01", Network, Other, Network),
            ("57P02", Network, Other, Network),
            ("57P03", Network, Other, Network),
            ("57P04", Other, Other, SessionTerminated),
            ("57P05", Other, Other, SessionTerminated),
            ("25P03", Other, Other, SessionTerminated),
            ("25P04", Other, Other, SessionTerminated),
            ("40001", Other, Other, SessionTerminated),
            ("08000", Network, Other, Network),
            ("08001", Network, Other, Network),
            ("08003", Network, Other, Network),
            ("08006", Network, Other, Network),
            ("08007", Network, Other, Network),
            ("08P01", Other, Other, Network),
            ("58000", Network, Other, Network),
            ("58030", Network, Other, Network),
            ("58P01", Other, Other, Network),
            ("99001", Network, Other, Network),
            ("F0000", Network, Other, Network),
            ("53300", Other, Other, Network),
            ("53200", Other, Other, Network),
            ("XX000", Other, Other, Network),
            ("3D000", Other, Other, Network),
            ("42P01", Other, Other, Network),
            ("25P02", Other, Other, Network),
        ] {
            let classes = [Stage::Connecting, Stage::Running, Stage::Ending]
                .map(|stage| class_of_code(code, "no", stage));
            assert_eq!(classes, [connecting, running, ending], "{code}");
        }
    }

    #[test]
    fn a_refusal_of_a_pooler_is_about_the_login_or_not_to_be_repeated() {
        use DriverClass::{Login, Network, Other};
        for (message, class) in [
            ("password authentication failed", Login),
            ("SASL authentication failed", Login),
            ("no such user: bob", Login),
            ("No such user", Login),
            ("auth failed", Login),
            ("server login failed: FATAL password authentication failed for user \"bob\"", Login),
            ("no such database: nowhere", Other),
            ("client_login_timeout (60s)", Other),
            ("no more connections allowed (max_user_client_connections)", Other),
            ("server login has been failing, try again later (server_login_retry)", Other),
            ("unsupported startup parameter: extra_float_digits", Other),
        ] {
            assert_eq!(class_of_code("08P01", message, Stage::Connecting), class, "{message}");
            assert_eq!(class_of_code("08P01", message, Stage::Running), Other, "{message}");
            assert_eq!(class_of_code("08P01", message, Stage::Ending), Network, "{message}");
        }
    }

    #[test]
    fn an_old_server_tells_the_severity_in_its_own_language_only() {
        assert!(ends_session(Some(b"FATAL"), b"FATAL") && ends_session(Some(b"PANIC"), b"PANIK"));
        assert!(ends_session(None, b"FATAL") && ends_session(None, b"PANIC"));
        assert!(!ends_session(Some(b"ERROR"), b"FATAL"), "the stable one counts");
        for translated in ["ERROR", "FEHLER", "ERREUR"] {
            assert!(!ends_session(None, translated.as_bytes()));
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
