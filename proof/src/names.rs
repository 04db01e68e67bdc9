//! The names of a simulated cluster as a resolver for the wrapper.

use std::net::SocketAddr;

use async_trait::async_trait;
use aurora_sim::Names;
use aws_wrapper_core::resolver::{LookupError, Resolver, SystemResolver};

/// Resolves the names of simulated clusters, and all others by the system.
#[derive(Debug, Clone)]
pub struct SimResolver(Vec<Names>);

impl SimResolver {
    /// Resolves the names of these clusters.
    pub fn new(names: impl IntoIterator<Item = Names>) -> Self {
        Self(names.into_iter().collect())
    }
}

#[async_trait]
impl Resolver for SimResolver {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        let known: Vec<SocketAddr> =
            self.0.iter().flat_map(|names| names.lookup(host)).map(|ip| SocketAddr::new(ip, port)).collect();
        if known.is_empty() { SystemResolver.resolve(host, port).await } else { Ok(known) }
    }
}
