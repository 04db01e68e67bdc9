//! What the result of a probe says about the host.
//!
//! A host that refuses is alive: an expired password, a missing database or too many connections must never end the
//! healthy calls of others. And what went wrong on this side says nothing.

use std::error::Error as StdError;
use std::io;

use super::verdict::Outcome;
use crate::error::{DriverClass, Error, ErrorKind};

/// The server is starting or shutting down: it answers, but nobody is served.
const NOT_SERVING: &[&str] = &["57P01", "57P02", "57P03"];
/// MySQL's `ER_SERVER_SHUTDOWN`.
const SHUTTING_DOWN: u32 = 1053;

/// Judges the error of a probe.
pub(super) fn of_error(error: &Error) -> Outcome {
    if error.sqlstate().is_some_and(|code| NOT_SERVING.contains(&code))
        || error.vendor_code() == Some(SHUTTING_DOWN)
    {
        return Outcome::Unreachable;
    }
    if error.is_from_server() {
        return Outcome::Alive;
    }
    match error.kind() {
        ErrorKind::Login => Outcome::Alive,
        _ if is_local(error) => Outcome::Inconclusive,
        ErrorKind::Driver(DriverClass::Network | DriverClass::SessionTerminated)
        | ErrorKind::Timeout(_)
        | ErrorKind::HostUnavailable => Outcome::Unreachable,
        _ => Outcome::Inconclusive,
    }
}

/// Whether nothing was heard at all, as opposed to a refusal.
pub(super) fn is_timeout(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Timeout(_))
        || io_error(error).any(|io| io.kind() == io::ErrorKind::TimedOut)
}

/// Whether this machine lacks what a connection needs.
fn is_local(error: &Error) -> bool {
    // EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL.
    const CODES: &[i32] = &[24, 23, 105, 12, 99];
    io_error(error).filter_map(io::Error::raw_os_error).any(|code| CODES.contains(&code))
}

/// The operating system's errors behind one of the wrapper's.
fn io_error(error: &Error) -> impl Iterator<Item = &io::Error> {
    std::iter::successors(error.source(), |error| (*error).source()).filter_map(|error| error.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Phase;

    #[test]
    fn a_server_that_refuses_is_alive() {
        let from_server = |code: &str| Error::new(ErrorKind::Login, "refused").with_sqlstate(code);
        for code in ["28P01", "53300", "3D000", "42501"] {
            assert_eq!(of_error(&from_server(code)), Outcome::Alive, "{code}");
        }
        let too_many = Error::new(ErrorKind::Driver(DriverClass::Other), "too many").with_vendor_code(1040);
        assert_eq!(of_error(&too_many), Outcome::Alive);
        assert_eq!(of_error(&Error::new(ErrorKind::Login, "no such method")), Outcome::Alive);
    }

    #[test]
    fn a_server_that_serves_nobody_counts_as_unreachable() {
        for code in NOT_SERVING {
            let error = Error::new(ErrorKind::Driver(DriverClass::Network), "bye").with_sqlstate(code);
            assert_eq!(of_error(&error), Outcome::Unreachable, "{code}");
        }
        let stops =
            Error::new(ErrorKind::Driver(DriverClass::Network), "bye").with_vendor_code(SHUTTING_DOWN);
        assert_eq!(of_error(&stops), Outcome::Unreachable);
    }

    #[test]
    fn silence_and_refused_sockets_count_as_unreachable() {
        for kind in [
            ErrorKind::Driver(DriverClass::Network),
            ErrorKind::Timeout(Phase::Connect),
            ErrorKind::HostUnavailable,
        ] {
            assert_eq!(of_error(&Error::new(kind, "gone")), Outcome::Unreachable, "{kind:?}");
        }
    }

    #[test]
    fn what_fails_here_says_nothing_about_the_host() {
        let no_descriptor = Error::driver(DriverClass::Network, io::Error::from_raw_os_error(24));
        assert_eq!(of_error(&no_descriptor), Outcome::Inconclusive);
        assert_eq!(of_error(&Error::config("nobody to connect as")), Outcome::Inconclusive);
        assert_eq!(of_error(&Error::driver(DriverClass::Lookup, "no answer")), Outcome::Inconclusive);
    }
}
