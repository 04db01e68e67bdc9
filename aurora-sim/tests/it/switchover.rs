//! Switchover: the old writer lives on and may not write.

use aurora_sim::{Cluster, Role};
use tokio_postgres::error::SqlState;

use crate::client::{connect, connect_instance, eventually, refused, text, topology};

#[tokio::test]
async fn clients_of_the_old_writer_stay_connected_and_get_read_only_errors() {
    let cluster = Cluster::builder().instances(3).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.batch_execute("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.unwrap();
    let idle = connect(&cluster, &cluster.endpoint()).await.unwrap();
    idle.batch_execute("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(text(&client, "SELECT pg_catalog.pg_is_in_recovery()").await, "false");

    let report = cluster.switchover(Some("instance-2")).await.unwrap();
    assert_eq!((report.new_writer.as_str(), cluster.writer().as_str()), ("instance-2", "instance-2"));
    for write in [
        "INSERT INTO t VALUES (2)",
        "BEGIN READ WRITE; INSERT INTO t VALUES (2)",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; UPDATE t SET i = 2",
        "CREATE TABLE u ()",
        "TRUNCATE t",
    ] {
        assert_eq!(refused(&client, write).await, SqlState::READ_ONLY_SQL_TRANSACTION, "{write}");
        client.batch_execute("ROLLBACK").await.unwrap();
    }
    assert_eq!(text(&client, "SELECT pg_catalog.pg_is_in_recovery()").await, "true");
    assert_eq!(text(&client, "SELECT i FROM t").await, "1");
    assert_eq!(topology(&client).await, ["instance-1", "instance-2*", "instance-3"]);
    // A transaction that was open but had not written goes on, and may not write either.
    assert_eq!(refused(&idle, "INSERT INTO t VALUES (3)").await, SqlState::READ_ONLY_SQL_TRANSACTION);

    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    writer.batch_execute("INSERT INTO t VALUES (4)").await.unwrap();
    let status = cluster.status().await.unwrap();
    assert_eq!(
        status.instances.iter().map(|i| i.role).collect::<Vec<_>>(),
        [Role::Demoted, Role::Writer, Role::Reader]
    );

    cluster.settle("instance-1").await.unwrap();
    assert!(client.simple_query("SELECT 1").await.is_err());
    let client = connect_instance(&cluster, "instance-1").await;
    eventually("new rows arrive", async || text(&client, "SELECT count(*) FROM t").await == "2").await;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'aurora_sim_demoted'";
    assert_eq!(text(&client, triggers).await, "0");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_transaction_that_has_written_is_ended_and_not_half_kept() {
    let cluster = Cluster::builder().instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.batch_execute("CREATE TABLE t (i int)").await.unwrap();
    client.batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    cluster.switchover(None).await.unwrap();
    assert!(client.batch_execute("COMMIT").await.is_err());
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(text(&writer, "SELECT count(*) FROM t").await, "0");
    cluster.shutdown().await;
}
