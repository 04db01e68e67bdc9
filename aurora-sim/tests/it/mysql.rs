//! MySQL as the products of Amazon show it.

use std::time::Duration;

use aurora_sim::{Cluster, Engine, FailoverOptions, Flavor};
use mysql_async::prelude::Queryable;
use tokio::time::timeout;

use crate::client::{Client, builder, connect, connect_instance, connect_mysql, eventually};

const SHORT: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(20);

/// The server's codes for a user who may not come in, and for a variable and tables that do not exist.
const ACCESS_DENIED: &str = "1045";
const UNKNOWN_VARIABLE: &str = "1193";
const NO_SUCH_TABLES: [&str; 2] = ["1109", "1146"];

const AGES: &str = "SELECT MAX(ABS(TIMESTAMPDIFF(SECOND, last_update_timestamp, UTC_TIMESTAMP()))) \
                    FROM information_schema.replica_host_status";

async fn started(flavor: Flavor, instances: usize) -> Cluster {
    builder(Engine::MySql).flavor(flavor).instances(instances).start().await.unwrap()
}

/// What `SHOW VARIABLES` gives: names and values.
async fn variables(client: &Client, query: &str) -> Vec<(String, String)> {
    let Client::MySql(connection) = client else { unreachable!("MySQL only") };
    connection.lock().await.query(query).await.unwrap()
}

/// The value that `SHOW VARIABLES` gives; `None` when there is no such variable.
async fn variable(client: &Client, name: &str) -> Option<String> {
    let rows = variables(client, &format!("SHOW VARIABLES LIKE '{name}'")).await;
    rows.into_iter().next().map(|(_, value)| value)
}

/// Asks for what tells the products apart in every way that clients do. Each row has the variable's own name.
async fn assert_variables(cluster: &Cluster, client: &Client, flavor: Flavor, comment: &str) {
    let row = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for query in [
        "SHOW VARIABLES LIKE 'version_comment'",
        "show  global variables\nlike 'VERSION_COMMENT'",
        "SHOW SESSION VARIABLES LIKE 'version\\_comm%'",
        "SHOW VARIABLES WHERE Variable_name = 'version_comment'",
        "SHOW GLOBAL VARIABLES WHERE variable_name='Version_Comment'",
    ] {
        assert_eq!(variables(client, query).await, [row("version_comment", comment)], "{flavor}: {query}");
    }
    let mut expected = Vec::new();
    if flavor == Flavor::Aurora {
        expected.push(row("aurora_version", &client.text("SELECT @@aurora_version").await));
    }
    let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
    expected.push(row("report_host", if flavor == Flavor::MultiAz { &address } else { "" }));
    expected.push(row("version", &client.text("SELECT VERSION()").await));
    expected.push(row("version_comment", comment));
    for show in ["SHOW VARIABLES", "SHOW GLOBAL VARIABLES", "show session  variables"] {
        let query = format!(
            "{show} WHERE Variable_name IN ('aurora_version', 'report_host', 'version', 'version_comment')"
        );
        assert_eq!(variables(client, &query).await, expected, "{flavor}: {query}");
    }
    for variable in ["@@version_comment", "@@GLOBAL.version_comment"] {
        assert_eq!(client.text(&format!("SELECT {variable}")).await, comment, "{flavor}: {variable}");
    }
}

#[tokio::test]
async fn aurora_is_known_by_its_variables_and_tables() {
    let cluster = started(Flavor::Aurora, 2).await;
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert!(variable(&client, "aurora_version").await.unwrap().starts_with("3."));
    assert_variables(&cluster, &client, Flavor::Aurora, "Source distribution").await;
    // Blue/green tables exist and are empty; those of global databases do not exist.
    assert_eq!(client.text("SELECT COUNT(*) FROM mysql.rds_topology").await, "0");
    let state = r#"[{"id": "1", "endpoint": "a.b", "port": 3306, "role": "SOURCE", "status": "AVAILABLE"}]"#;
    std::fs::write(cluster.folder().join("state/bluegreen.json"), state).unwrap();
    let status = "SELECT CONCAT_WS(' ', id, endpoint, port, role, status, version) FROM mysql.rds_topology";
    assert_eq!(client.text(status).await, "1 a.b 3306 SOURCE AVAILABLE 1.0");
    let global = "SELECT COUNT(*) FROM information_schema.tables WHERE table_name LIKE 'aurora_global_db%'";
    assert_eq!(client.text(global).await, "0");
    cluster.shutdown().await;
}

#[tokio::test]
async fn statements_about_the_cluster_can_be_prepared() {
    let cluster = started(Flavor::Aurora, 2).await;
    let Client::MySql(connection) = connect_instance(&cluster, "instance-2").await else { unreachable!() };
    let mut connection = connection.into_inner();
    let query = "SELECT server_id, @@innodb_read_only FROM information_schema.replica_host_status WHERE server_id = ?";
    let row: Option<(String, u8)> = connection.exec_first(query, ("instance-1",)).await.unwrap();
    assert_eq!(row, Some(("instance-1".to_owned(), 1)));
    connection.disconnect().await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test]
async fn times_of_the_topology_are_utc_in_every_time_zone() {
    let shifted = builder(Engine::MySql).instances(2).setting("default-time-zone", "+05:00");
    let cluster = shifted.start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(client.text("SELECT TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW())").await, "5");
    let age: u32 = client.text(AGES).await.parse().unwrap();
    assert!(age < 60, "{age}");
    cluster.kill("instance-2").await.unwrap();
    let age: u32 = client.text(AGES).await.parse().unwrap();
    assert!(age < 60, "{age}");
    cluster.shutdown().await;
}

#[tokio::test]
async fn other_products_lack_what_is_auroras() {
    for (flavor, comment, blue_green) in [
        (Flavor::Plain, "MySQL Community Server - GPL", false),
        (Flavor::Rds, "Source distribution", true),
        (Flavor::MultiAz, "Source distribution", true),
    ] {
        let cluster = started(flavor, 2).await;
        let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
        assert_variables(&cluster, &client, flavor, comment).await;
        assert_eq!(variable(&client, "aurora_version").await, None, "{flavor}");
        assert_eq!(client.refused("SELECT @@aurora_server_id").await, UNKNOWN_VARIABLE, "{flavor}");
        let code = client.refused("SELECT * FROM information_schema.replica_host_status").await;
        assert!(NO_SUCH_TABLES.contains(&code.as_str()), "{flavor}: {code}");
        let table = "SELECT COUNT(*) FROM information_schema.tables \
                     WHERE table_schema = 'mysql' AND table_name = 'rds_topology'";
        assert_eq!(client.text(table).await, u8::from(blue_green).to_string(), "{flavor}");
        cluster.shutdown().await;
    }
}

#[tokio::test]
async fn a_multi_az_cluster_tells_its_writer_by_replication() {
    let cluster = started(Flavor::MultiAz, 3).await;
    let reader = connect_instance(&cluster, "instance-2").await;
    let id = reader.text("SELECT @@server_id").await;
    let own = format!("SELECT endpoint FROM mysql.rds_topology WHERE id = {id}");
    assert_eq!(reader.text(&own).await, cluster.instance_endpoint("instance-2"));
    assert_eq!(reader.text("SELECT COUNT(*) FROM mysql.rds_topology").await, "3");
    let source = async |client: &Client| {
        let Client::MySql(connection) = client else { unreachable!("MySQL only") };
        let row: Option<mysql_async::Row> =
            connection.lock().await.query_first("SHOW REPLICA STATUS").await.unwrap();
        row.map(|row| row.get::<u32, _>("Source_Server_Id").unwrap())
    };
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(source(&writer).await, None);
    assert_eq!(source(&reader).await, Some(writer.text("SELECT @@server_id").await.parse().unwrap()));
    cluster.switchover(Some("instance-2")).await.unwrap();
    assert_eq!(source(&reader).await, None);
    assert_eq!(source(&writer).await, Some(id.parse().unwrap()));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_token_is_accepted_in_place_of_a_password() {
    let cluster = started(Flavor::Aurora, 1).await;
    let address = cluster.names().lookup(&cluster.endpoint())[0];
    connect_mysql(address, cluster.port(), "iam").await.unwrap();
    let token = cluster.folder().join("state/iam_token");
    std::fs::write(&token, "another\n").unwrap();
    let denied = connect_mysql(address, cluster.port(), "iam").await.err().expect("the token is wrong");
    assert_eq!(denied.code.as_deref(), Some(ACCESS_DENIED));
    std::fs::write(&token, "secret\n").unwrap();
    connect_mysql(address, cluster.port(), "iam").await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test]
async fn an_old_writer_with_a_transaction_that_nobody_else_has_begins_anew() {
    let cluster = started(Flavor::Aurora, 3).await;
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i INT); INSERT INTO t VALUES (1)").await.unwrap();
    let identity = client.text("SELECT @@server_uuid").await;
    for reader in cluster.readers() {
        let address = cluster.direct_address(&reader);
        let options = mysql_async::OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(Some("root"))
            .prefer_socket(Some(false));
        let mut administrator = mysql_async::Conn::new(options).await.unwrap();
        administrator.query_drop("STOP REPLICA IO_THREAD").await.unwrap();
        administrator.disconnect().await.unwrap();
    }
    // It is in the binary log, and is never acknowledged.
    let write = client.run("INSERT INTO t VALUES (2)");
    assert!(timeout(SHORT, write).await.is_err());

    cluster.failover(FailoverOptions::default()).await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    let client = connect_instance(&cluster, "instance-1").await;
    assert_ne!(client.text("SELECT @@server_uuid").await, identity);
    // What it wrote itself in its former life comes back from the others.
    eventually("the history arrives", async || {
        client.ask("SELECT GROUP_CONCAT(i) FROM t").await.is_ok_and(|rows| rows == "1")
    })
    .await;
    cluster.shutdown().await;
}
