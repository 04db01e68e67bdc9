//! What the measurements share: names that lead to one server, and connectors.

use std::net::SocketAddr;

use async_trait::async_trait;
use aurora_sim::Cluster;
use aws_wrapper_core::resolver::{LookupError, Resolver};
use aws_wrapper_core::services::Services;

use crate::driver::{AnyError, Driver};

/// The name of a cluster, so that the default plugins are the ones of a cluster.
pub const NAME: &str = "my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com";

/// Every plugin there is.
pub const ALL_PLUGINS: &str =
    "initial_connection,tracker,stale_dns,failover,efm,query_log,connect_time,execution_time,developer";

/// Every name leads to one server.
#[derive(Debug)]
struct Always(SocketAddr);

#[async_trait]
impl Resolver for Always {
    async fn resolve(&self, _host: &str, _port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        Ok(vec![self.0])
    }
}

/// A connector whose names all lead to `server`; with no parameters it has the default plugins.
///
/// # Errors
/// The wrapper's.
pub fn connector<D: Driver>(
    server: SocketAddr,
    parameters: &[(&str, &str)],
) -> Result<D::Connector, AnyError> {
    connector_to::<D>(NAME, server, parameters)
}

/// The same for another name.
///
/// # Errors
/// The wrapper's.
pub fn connector_to<D: Driver>(
    host: &str,
    server: SocketAddr,
    parameters: &[(&str, &str)],
) -> Result<D::Connector, AnyError> {
    D::connector_with(host, server.port(), Services::with_resolver(Always(server)), parameters)
}

/// A cluster of one with room for thousands of connections, and where its server listens.
///
/// # Errors
/// The simulator's.
pub async fn single<D: Driver>() -> Result<(Cluster, SocketAddr), AnyError> {
    let cluster = roomy::<D>(1).await?;
    let server = cluster.direct_address(&cluster.writer());
    Ok((cluster, server))
}

/// A cluster with room for thousands of connections.
///
/// # Errors
/// The simulator's.
pub async fn roomy<D: Driver>(instances: usize) -> Result<Cluster, AnyError> {
    Ok(Cluster::builder()
        .engine(D::ENGINE)
        .instances(instances)
        .setting("max_connections", "2500")
        .start()
        .await?)
}
