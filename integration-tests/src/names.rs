//! The wrapper's resolver on the simulator's names.

use std::io;
use std::net::{IpAddr, SocketAddr};

use async_trait::async_trait;
use aurora_sim::Names;
use aws_wrapper_core::resolver::Resolver;

/// Resolves the names of clusters; everything else is an address or does not exist.
#[derive(Debug, Clone)]
pub struct ClusterNames(Vec<Names>);

impl ClusterNames {
    /// The names of these clusters.
    pub fn new(names: impl IntoIterator<Item = Names>) -> Self {
        Self(names.into_iter().collect())
    }
}

#[async_trait]
impl Resolver for ClusterNames {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let addresses: Vec<_> = self.0.iter().flat_map(|names| names.lookup(host)).collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "name or service not known"));
        }
        Ok(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }
}
