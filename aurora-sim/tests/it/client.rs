//! A client of the application, as every test needs one.

use std::net::IpAddr;
use std::time::Duration;

use aurora_sim::Cluster;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, NoTls};

/// Connects to a host name of the cluster.
pub(crate) async fn connect(cluster: &Cluster, host: &str) -> Result<Client, Error> {
    connect_to(cluster.names().lookup(host)[0], cluster.port()).await
}

pub(crate) async fn connect_to(address: IpAddr, port: u16) -> Result<Client, Error> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.to_string()).port(port).user("app").password("secret").dbname("app");
    config.connect_timeout(Duration::from_secs(1));
    let (client, connection) = config.connect(NoTls).await?;
    drop(tokio::runtime::Handle::current().spawn(connection));
    Ok(client)
}

pub(crate) async fn connect_instance(cluster: &Cluster, instance: &str) -> Client {
    connect(cluster, &cluster.instance_endpoint(instance)).await.unwrap()
}

/// The only value of a query, as text.
pub(crate) async fn text(client: &Client, sql: &str) -> String {
    client.query_one(&format!("SELECT ({sql})::text"), &[]).await.unwrap().get(0)
}

/// The SQLSTATE that a statement fails with.
pub(crate) async fn refused(client: &Client, sql: &str) -> SqlState {
    client.batch_execute(sql).await.unwrap_err().code().cloned().expect("the server refuses it")
}

/// Instances as the topology function of one server lists them, the writer marked with a star.
pub(crate) async fn topology(client: &Client) -> Vec<String> {
    let sql =
        "SELECT server_id, session_id = 'MASTER_SESSION_ID' FROM aurora_replica_status() ORDER BY server_id";
    let rows = client.query(sql, &[]).await.unwrap();
    let label =
        |row: &tokio_postgres::Row| format!("{}{}", row.get::<_, &str>(0), if row.get(1) { "*" } else { "" });
    rows.iter().map(label).collect()
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "{what}: not within 10 s");
        sleep(Duration::from_millis(5)).await;
    }
}
