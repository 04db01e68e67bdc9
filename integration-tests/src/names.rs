//! The wrapper's resolver on the simulator's names.

use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use aurora_sim::Names;
use aws_wrapper_core::resolver::{LookupError, Resolver};

/// Resolves the names of clusters; everything else is an address or does not exist.
#[derive(Debug, Clone)]
pub struct ClusterNames {
    clusters: Vec<Names>,
    aliases: Vec<(String, String)>,
}

impl ClusterNames {
    /// The names of these clusters.
    pub fn new(names: impl IntoIterator<Item = Names>) -> Self {
        Self { clusters: names.into_iter().collect(), aliases: Vec::new() }
    }

    /// Another name for one of theirs, as a CNAME record makes it.
    #[must_use]
    pub fn alias(mut self, alias: &str, name: &str) -> Self {
        self.aliases.push((alias.to_owned(), name.to_owned()));
        self
    }
}

#[async_trait]
impl Resolver for ClusterNames {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let alias = self.aliases.iter().find(|(alias, _)| alias == host);
        let host = alias.map_or(host, |(_, name)| name);
        let addresses: Vec<_> = self.clusters.iter().flat_map(|names| names.lookup(host)).collect();
        if addresses.is_empty() {
            return Err(LookupError::NoSuchName);
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}
