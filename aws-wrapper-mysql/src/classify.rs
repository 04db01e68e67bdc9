//! What an error means: the server's number to [`DriverClass`].

use std::io;

use aws_wrapper_core::driver::Cause;
use aws_wrapper_core::error::DriverClass;
use mysql_async::{DriverError as MysqlError, Error, IoError, ServerError};

use crate::error::DriverError;
use crate::infile::FileFailed;

/// The server's numbers that mean something for the connection while it is opened, and when it ends with them.
///
/// On a connection that goes on after it, an error is the answer to a statement, whatever its number: a procedure can raise
/// any. See [`class_of_answer`].
///
/// Not here on purpose: 1040 (too many connections), 1203 and 1226 (limits of a user) are answers of a server that
/// works, and 1792 refuses a write in the user's own read-only transaction.
const CODES: &[(u16, DriverClass)] = {
    use DriverClass::{Cancelled, Login, Network, Role, SessionTerminated};
    &[
        (1042, Network),           // cannot get host name
        (1043, Network),           // bad handshake
        (1045, Login),             // access denied
        (1047, Network),           // unknown command, as a server says that is starting or not synced
        (1053, Network),           // shutdown in progress
        (1077, Network),           // normal shutdown
        (1078, Network),           // got signal
        (1079, Network),           // shutdown complete
        (1080, Network),           // forcing close of a thread
        (1081, Network),           // cannot create a socket
        (1129, Login),             // this machine is blocked: permanent, as a refused login is
        (1130, Login),             // this machine is not allowed
        (1152, Network),           // aborted connection
        (1158, Network),           // error reading a packet
        (1159, Network),           // timeout reading
        (1160, Network),           // error writing
        (1161, Network),           // timeout writing
        (1184, Network),           // aborted connection
        (1189, Network),           // net error reading from the source
        (1190, Network),           // net error writing to the source
        (1251, Login),             // authentication protocol not supported
        (1317, Cancelled),         // query interrupted: the connection lives
        (1698, Login),             // access denied, no password possible
        (1836, Role),              // running in read-only mode
        (1862, Login),             // password expired
        (1927, SessionTerminated), // MariaDB: connection was killed
        (1969, Cancelled),         // MariaDB: statement took too long
        (3024, Cancelled),         // statement took too long
        (3032, Network),           // offline mode
        (3118, Login),             // account locked
        (3169, SessionTerminated), // session was killed
        (4031, SessionTerminated), // disconnected because it was idle
    ]
};

/// 1290 is said of several options; only these make a server a reader.
const OPTION_PREVENTS: u16 = 1290;
/// A client's packet that is too large says nothing about the host, though it costs the connection.
const PACKET_TOO_LARGE: u16 = 1153;

/// What an error means with which the connection ends, or was not opened.
fn class_of_end(error: &ServerError) -> DriverClass {
    if error.code == OPTION_PREVENTS {
        // `--read-only` and `--super-read-only`, not `--secure-file-priv` or `--skip-grant-tables`.
        let is_read_only = error.message.contains("read-only") || error.message.contains("read_only");
        return if is_read_only { DriverClass::Role } else { DriverClass::Other };
    }
    if error.code == PACKET_TOO_LARGE {
        return DriverClass::Other;
    }
    let known = CODES.iter().find(|(code, _)| *code == error.code).map(|(_, class)| *class);
    // The state of a refused login, whatever its number.
    known.unwrap_or(if error.state == "28000" { DriverClass::Login } else { DriverClass::Other })
}

/// What an error means that the server sent on a connection which goes on.
fn class_of_answer(error: &ServerError) -> DriverClass {
    match class_of_end(error) {
        // The role is verified by a question; a cancellation was wanted by the one who asked for it.
        class @ (DriverClass::Role | DriverClass::Cancelled) => class,
        _ => DriverClass::Other,
    }
}

/// Whether a server that says this may have closed the connection; only a question tells.
pub(crate) fn may_end_connection(error: &ServerError) -> bool {
    error.code == PACKET_TOO_LARGE
        || matches!(class_of_end(error), DriverClass::Network | DriverClass::SessionTerminated)
}

/// What an error means.
pub(crate) fn classify(error: &DriverError) -> DriverClass {
    match error.cause() {
        Cause::Lookup(error) => error.class(),
        Cause::Dial(_) => DriverClass::Network,
        Cause::Connect(error) => class_of(error, true),
        Cause::Statement(error) => class_of(error, false),
        Cause::Ended { reason, .. } => reason.class,
    }
}

/// What an error of the driver means; `is_end` says that the connection was not opened or ends with it.
pub(crate) fn class_of(error: &Error, is_end: bool) -> DriverClass {
    match error {
        Error::Server(server) if is_end => class_of_end(server),
        Error::Server(server) => class_of_answer(server),
        Error::Io(IoError::Io(io)) => class_of_io(io),
        // A certificate that does not fit while connecting; later, what was encrypted is broken.
        Error::Io(IoError::Tls(_)) if is_end => DriverClass::Other,
        Error::Io(IoError::Tls(_)) => DriverClass::Network,
        Error::Driver(driver) => class_of_driver(driver),
        Error::Other(_) | Error::Url(_) => DriverClass::Other,
    }
}

fn class_of_driver(error: &MysqlError) -> DriverClass {
    match error {
        MysqlError::ConnectionClosed
        | MysqlError::PacketOutOfOrder
        | MysqlError::UnexpectedPacket { .. }
        | MysqlError::BadCompressedPacketHeader => DriverClass::Network,
        // What MySQL 9 leads to for a user it does not know: it offers a method at random.
        MysqlError::UnknownAuthPlugin { .. } => DriverClass::Login,
        _ => DriverClass::Other,
    }
}

/// What the driver's codec and rustls report comes as an I/O error too, but is not the network's fault.
fn class_of_io(error: &io::Error) -> DriverClass {
    match (error.get_ref(), error.kind()) {
        (Some(inner), _) if inner.is::<rustls::Error>() || inner.is::<FileFailed>() => DriverClass::Other,
        (Some(inner), io::ErrorKind::Other) => class_of_codec(&inner.to_string()),
        _ => DriverClass::Network,
    }
}

/// The codec's error has no public type, only a text.
fn class_of_codec(text: &str) -> DriverClass {
    if text.contains(TOO_LARGE) {
        DriverClass::Other
    } else if text.contains(OUT_OF_SYNC) {
        // The server had said something unasked before it closed the connection: that a session was idle for too long
        // (4031), was killed (3169), or that it shuts down. What it said cannot be had; whether the host is fine is found
        // out by asking it first.
        DriverClass::SessionTerminated
    } else {
        DriverClass::Network
    }
}

const TOO_LARGE: &str = "larger than max_allowed_packet";
/// What the codec says of a packet nobody asked for.
pub(crate) const OUT_OF_SYNC: &str = "out of sync";

/// Whether the caller made a mistake that the driver found by itself: wrong parameters, no handler for a file, a packet
/// that is too large. It costs the connection, but says nothing about the host.
pub(crate) fn is_mistake(error: &Error) -> bool {
    match error {
        Error::Driver(driver) => class_of_driver(driver) == DriverClass::Other,
        Error::Io(IoError::Io(io)) => class_of_io(io) == DriverClass::Other,
        Error::Server(server) => server.code == PACKET_TOO_LARGE,
        Error::Io(IoError::Tls(_)) => false,
        Error::Other(_) | Error::Url(_) => true,
    }
}

/// The state the server sent with an error.
pub(crate) fn sqlstate(error: &DriverError) -> Option<&str> {
    match error.cause() {
        Cause::Connect(error) | Cause::Statement(error) => sqlstate_of(error),
        Cause::Ended { reason, .. } => reason.sqlstate.as_deref(),
        Cause::Lookup(_) | Cause::Dial(_) => None,
    }
}

/// The state the server sent with an error of the driver.
pub(crate) fn sqlstate_of(error: &Error) -> Option<&str> {
    match error {
        Error::Server(server) => Some(&server.state),
        _ => None,
    }
}

/// The number the server sent with an error.
pub(crate) fn vendor_code(error: &DriverError) -> Option<u16> {
    match error.cause() {
        Cause::Connect(Error::Server(server))
        | Cause::Statement(Error::Server(server))
        | Cause::Ended { source: Some(Error::Server(server)), .. } => Some(server.code),
        Cause::Lookup(_) | Cause::Dial(_) | Cause::Connect(_) | Cause::Statement(_) | Cause::Ended { .. } => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{connect_failed, lost, statement_failed};

    fn server(code: u16, state: &str, message: &str) -> Error {
        Error::Server(ServerError { code, state: state.to_owned(), message: message.to_owned() })
    }

    #[test]
    fn a_number_means_what_the_table_says_only_where_the_connection_ends_with_it() {
        use DriverClass::{Cancelled, Login, Network, Other, Role, SessionTerminated};
        for (code, state, message, class) in [
            (1045, "28000", "Access denied for user 'a'@'b' (using password: YES)", Login),
            (1698, "28000", "Access denied for user 'a'@'b'", Login),
            (1862, "HY000", "Your password has expired.", Login),
            (3118, "HY000", "Access denied. Account is locked.", Login),
            (3159, "28000", "some refusal that is not in the table", Login),
            (1044, "42000", "Access denied for user 'a' to database 'd'", Other),
            (1053, "08S01", "Server shutdown in progress", Network),
            (3032, "HY000", "The server is currently in offline mode", Network),
            (3169, "HY000", "session killed", SessionTerminated),
            (
                4031,
                "HY000",
                "The client was disconnected by the server because of inactivity.",
                SessionTerminated,
            ),
            (1317, "70100", "Query execution was interrupted", Cancelled),
            (3024, "HY000", "maximum statement execution time exceeded", Cancelled),
            (1836, "HY000", "Running in read-only mode", Role),
            (1290, "HY000", "running with the --read-only option", Role),
            (1290, "HY000", "running with the --super-read-only option", Role),
            (1290, "HY000", "running with the --secure-file-priv option", Other),
            (1290, "HY000", "running with the --skip-grant-tables option", Other),
            (1792, "25006", "Cannot execute statement in a READ ONLY transaction.", Other),
            (1040, "08004", "Too many connections", Other),
            (1205, "HY000", "Lock wait timeout exceeded", Other),
            (1213, "40001", "Deadlock found", Other),
            (1153, "08S01", "Got a packet bigger than 'max_allowed_packet' bytes", Other),
            (1146, "42S02", "Table 'a.b' doesn't exist", Other),
        ] {
            assert_eq!(classify(&connect_failed(server(code, state, message))), class, "{code} {message}");
            assert_eq!(classify(&lost(server(code, state, message))), class, "{code} {message}");
            let answer = if matches!(class, Role | Cancelled) { class } else { Other };
            assert_eq!(classify(&statement_failed(server(code, state, message))), answer, "{code} {message}");
        }
    }

    #[test]
    fn the_table_is_in_order_and_names_no_number_twice() {
        assert!(CODES.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn only_a_lost_path_is_the_networks_fault() {
        let io = |error: io::Error| Error::Io(IoError::Io(error));
        for error in [
            io(io::ErrorKind::ConnectionReset.into()),
            io(io::ErrorKind::UnexpectedEof.into()),
            Error::Driver(MysqlError::ConnectionClosed),
            Error::Driver(MysqlError::PacketOutOfOrder),
        ] {
            assert!(!is_mistake(&error), "{error}");
            assert_eq!(classify(&statement_failed(error)), DriverClass::Network);
        }
        for error in [
            Error::Driver(MysqlError::StmtParamsMismatch { required: 1, supplied: 2 }),
            Error::Driver(MysqlError::MixedParams),
            Error::Driver(MysqlError::LocalInfile(mysql_async::LocalInfileError::NoHandler)),
            io(io::Error::other("Packet is larger than max_allowed_packet")),
        ] {
            assert!(is_mistake(&error), "{error}");
            assert_eq!(classify(&statement_failed(error)), DriverClass::Other);
        }
    }

    #[test]
    fn a_farewell_that_was_not_asked_for_ends_the_session_only() {
        let error = Error::Io(IoError::Io(io::Error::other("Packets out of sync")));
        assert!(!is_mistake(&error));
        assert_eq!(classify(&statement_failed(error)), DriverClass::SessionTerminated);
    }

    #[test]
    fn an_unknown_user_is_a_refused_login() {
        let error = Error::Driver(MysqlError::UnknownAuthPlugin { name: "sha256_password".to_owned() });
        assert_eq!(classify(&connect_failed(error)), DriverClass::Login);
        let error = Error::Driver(MysqlError::CleartextPluginDisabled);
        assert_eq!(classify(&connect_failed(error)), DriverClass::Other);
    }
}
