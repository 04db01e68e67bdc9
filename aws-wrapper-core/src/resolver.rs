//! Name resolution behind a trait, so that names can be pointed anywhere without touching the machine.
//!
//! There are three answers: addresses, no such name, and no answer at all. The last two are different things. A name that
//! does not exist takes its host out of use until it appears, while a look-up that failed says nothing about the host.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use dns_lookup::{AddrInfoHints, LookupErrorKind, SockType, getaddrinfo};
use tokio::task::spawn_blocking;
use tokio_util::task::AbortOnDropHandle;

use crate::error::DriverClass;

/// Turns host names into addresses.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of `host` with `port`, in the order in which they should be tried. None at all counts as
    /// [`NoSuchName`](LookupError::NoSuchName).
    ///
    /// # Errors
    /// Why there are no addresses.
    ///
    /// # Cancellation
    /// The caller sets the deadline; when it passes, the future is dropped.
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError>;
}

/// Why a name has led to no address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The name does not exist, or has no address. It may appear any moment, as names do after a failover.
    #[error("no such name, or no address for it")]
    NoSuchName,
    /// The question was not answered: a server of the domain name system failed or could not be reached, or this machine
    /// lacks something.
    #[error("the look-up failed: {0}")]
    Failed(#[source] Box<dyn StdError + Send + Sync>),
}

impl LookupError {
    /// A look-up that was not answered, for this reason.
    pub fn failed(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Failed(reason.into())
    }

    /// What it means for a connection to the host.
    pub fn class(&self) -> DriverClass {
        match self {
            Self::NoSuchName => DriverClass::Network,
            Self::Failed(_) => DriverClass::Lookup,
        }
    }
}

/// Always a look-up that failed, whatever the kind: no kind of the standard library's says that a name does not exist.
impl From<io::Error> for LookupError {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

/// The system's resolver, `getaddrinfo`: follows the hosts file and the system's settings as they change.
///
/// A look-up occupies a blocking thread of the runtime. When the caller gives up, the thread ends by itself once the system
/// gives up, which takes the GNU C library 10 s and more where no server answers. [`Services::shutdown`] does not wait for
/// it. Dropping a runtime does, as for all blocking work: `Runtime::shutdown_background` does not.
///
/// A system that is offline may say that a name does not exist; GNU/Linux says that the look-up failed.
///
/// [`Services::shutdown`]: crate::services::Services::shutdown
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let host = host.to_owned();
        // One that still waits for a thread when the caller gives up never runs.
        let found = AbortOnDropHandle::new(spawn_blocking(move || ask_system(&host))).await;
        let mut addresses = found.map_err(LookupError::failed)??;
        for address in &mut addresses {
            address.set_port(port);
        }
        Ok(addresses)
    }
}

fn ask_system(host: &str) -> Result<Vec<SocketAddr>, LookupError> {
    // Without the kind of socket each address comes once for each kind there is.
    let hints = AddrInfoHints { socktype: SockType::Stream.into(), ..AddrInfoHints::default() };
    let found = getaddrinfo(Some(host), None, Some(hints)).map_err(|error| meaning(error.kind(), error))?;
    let addresses: io::Result<Vec<_>> = found.map(|found| Ok(found?.sockaddr)).collect();
    Ok(addresses?)
}

/// What an error of `getaddrinfo` means.
fn meaning(kind: LookupErrorKind, error: impl Into<io::Error>) -> LookupError {
    match kind {
        LookupErrorKind::NoName | LookupErrorKind::NoData => LookupError::NoSuchName,
        _ => LookupError::failed(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_errors_of_the_system_say_that_a_name_does_not_exist() {
        use LookupErrorKind::{
            Again, Badflags, Fail, Family, IO, Memory, NoData, NoName, Service, Socktype, System, Unknown,
        };
        for (kind, class) in [
            (NoName, DriverClass::Network),
            (NoData, DriverClass::Network),
            (Again, DriverClass::Lookup),
            (Fail, DriverClass::Lookup),
            (System, DriverClass::Lookup),
            (Memory, DriverClass::Lookup),
            (Badflags, DriverClass::Lookup),
            (Family, DriverClass::Lookup),
            (Service, DriverClass::Lookup),
            (Socktype, DriverClass::Lookup),
            (Unknown, DriverClass::Lookup),
            (IO, DriverClass::Lookup),
        ] {
            let error = meaning(kind, io::Error::other("server failure"));
            assert_eq!(error.class(), class, "{kind:?}");
            let keeps_the_reason = error.to_string().contains("server failure");
            assert_eq!(keeps_the_reason, class == DriverClass::Lookup, "{error}");
        }
    }

    #[tokio::test]
    async fn the_system_knows_addresses_and_this_machine() {
        let resolve = |host| SystemResolver.resolve(host, 5432);
        let is_loopback = |addresses: &[SocketAddr]| {
            !addresses.is_empty() && addresses.iter().all(|it| it.ip().is_loopback() && it.port() == 5432)
        };
        for host in ["127.0.0.1", "::1", "localhost"] {
            let addresses = resolve(host).await.unwrap();
            assert!(is_loopback(&addresses), "{host}: {addresses:?}");
        }
        let once = resolve("localhost").await.unwrap();
        assert!(once.iter().enumerate().all(|(at, it)| !once[..at].contains(it)), "each once: {once:?}");
    }
}
