//! What every test needs.

use std::time::Duration;

use aurora_sim::Cluster;
use tokio_postgres::{Client, Error, NoTls};

/// Connects as the application to a host name of the cluster.
pub async fn connect(cluster: &Cluster, host: &str) -> Result<Client, Error> {
    let address = cluster.names().lookup(host)[0];
    let mut config = tokio_postgres::Config::new();
    config.host(address.to_string()).port(cluster.port());
    config.user("app").password("secret").dbname("app").connect_timeout(Duration::from_secs(2));
    let (client, connection) = config.connect(NoTls).await?;
    drop(tokio::runtime::Handle::current().spawn(connection));
    Ok(client)
}

/// First column of the only row.
pub async fn text(client: &Client, sql: &str) -> String {
    client.query_one(&format!("SELECT ({sql})::text"), &[]).await.unwrap().get(0)
}
