//! Name resolution behind a trait, so that names can be pointed anywhere without touching the machine.

use std::fmt::Debug;
use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;

/// Turns host names into addresses.
#[async_trait]
pub trait Resolver: Debug + Send + Sync {
    /// The addresses of `host`, in the order they should be tried.
    ///
    /// # Errors
    /// The system's error when the name does not resolve. An empty answer counts as not found.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver, through `getaddrinfo`.
///
/// A look-up runs on a blocking thread of the runtime; when the caller gives up, it ends by itself later.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
