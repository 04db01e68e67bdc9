//! Switchover: the old writer lives on and may not write.

use aurora_sim::{Engine, Role};

use crate::client::{builder, connect, connect_instance, eventually, for_each_engine, read_only};

for_each_engine! {
    clients_of_the_old_writer_stay_connected_and_get_read_only_errors,
    a_transaction_that_has_written_is_ended_and_not_half_kept,
}

async fn clients_of_the_old_writer_stay_connected_and_get_read_only_errors(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.unwrap();
    let idle = connect(&cluster, &cluster.endpoint()).await.unwrap();
    idle.run("BEGIN; SELECT 1").await.unwrap();
    assert_eq!(client.role().await, "writer");

    let report = cluster.switchover(Some("instance-2")).await.unwrap();
    assert_eq!((report.new_writer.as_str(), cluster.writer().as_str()), ("instance-2", "instance-2"));
    let (begin, insist) = match engine {
        Engine::MySql => ("START TRANSACTION READ WRITE", "SET SESSION transaction_read_only = OFF"),
        _ => ("BEGIN READ WRITE", "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE"),
    };
    for write in [
        "INSERT INTO t VALUES (2)",
        &format!("{begin}; INSERT INTO t VALUES (2)"),
        &format!("{insist}; UPDATE t SET i = 2"),
        "CREATE TABLE u (i int)",
        "TRUNCATE t",
    ] {
        assert_eq!(client.refused(write).await, read_only(engine), "{write}");
        client.run("ROLLBACK").await.unwrap();
    }
    assert_eq!(client.role().await, "reader");
    assert_eq!(client.text("SELECT i FROM t").await, "1");
    assert_eq!(client.topology().await, ["instance-1", "instance-2*", "instance-3"]);
    // A transaction that was open but had not written goes on, and may not write either.
    assert_eq!(idle.refused("INSERT INTO t VALUES (3)").await, read_only(engine));

    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    writer.run("INSERT INTO t VALUES (4)").await.unwrap();
    let status = cluster.status().await.unwrap();
    let roles: Vec<Role> = status.instances.iter().map(|instance| instance.role).collect();
    // A MySQL server turns around at once, one of PostgreSQL waits to be settled.
    let old = if engine == Engine::MySql { Role::Reader } else { Role::Demoted };
    assert_eq!(roles, [old, Role::Writer, Role::Reader]);

    cluster.settle("instance-1").await.unwrap();
    assert_eq!(client.ask("SELECT 1").await.is_ok(), old == Role::Reader);
    let client = connect_instance(&cluster, "instance-1").await;
    eventually("new rows arrive", async || client.text("SELECT count(*) FROM t").await == "2").await;
    if engine == Engine::Postgres {
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'aurora_sim_demoted'";
        assert_eq!(client.text(triggers).await, "0");
    }
    cluster.shutdown().await;
}

async fn a_transaction_that_has_written_is_ended_and_not_half_kept(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();
    client.run("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    cluster.switchover(None).await.unwrap();
    assert!(client.run("COMMIT").await.is_err());
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(writer.text("SELECT count(*) FROM t").await, "0");
    cluster.shutdown().await;
}
