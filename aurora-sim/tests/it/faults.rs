//! Every fault, as a client sees it.

use std::time::Duration;

use aurora_sim::{Engine, ErrorKind, FailoverOptions};
use tokio::time::{Instant, timeout};

use crate::client::{builder, connect, connect_instance, connect_to, eventually, for_each_engine};

for_each_engine! {
    a_killed_server_ends_its_connections_and_refuses_new_ones_until_it_is_back,
    a_graceful_restart_tells_clients_so_and_keeps_the_role,
    a_frozen_server_is_silent_and_goes_on_when_thawed,
    a_frozen_writer_that_is_replaced_stays_silent_and_never_writes_again,
    a_writer_in_a_black_hole_that_is_replaced_resets_its_clients_when_healed,
    a_black_hole_swallows_and_an_unreachable_host_does_not_even_connect,
    refuse_reset_and_latency_are_seen_by_clients,
    one_instance_can_have_an_old_view_of_the_cluster,
    all_servers_can_go_down_and_come_back,
    a_server_that_ends_by_itself_is_noticed_and_holds_up_nobody,
    an_unknown_instance_is_an_error,
}

const SHORT: Duration = Duration::from_millis(200);
const SOON: Duration = Duration::from_secs(10);

async fn a_killed_server_ends_its_connections_and_refuses_new_ones_until_it_is_back(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect_instance(&cluster, "instance-2").await;
    cluster.kill("instance-2").await.unwrap();
    assert!(timeout(SHORT, client.ask("SELECT 1")).await.unwrap().is_err());
    let address = cluster.names().lookup(&cluster.instance_endpoint("instance-2"))[0];
    assert!(timeout(SHORT, connect_to(engine, address, cluster.port())).await.unwrap().is_err());
    eventually("no connection is left", async || cluster.proxy_connections("instance-2") == 0).await;

    // The writer does not wait for the dead.
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    timeout(SHORT, writer.run("CREATE TABLE t (i int)")).await.unwrap().unwrap();
    // The only reader is gone, so its name leads to the writer.
    assert_eq!(
        cluster.names().lookup(&cluster.reader_endpoint()),
        cluster.names().lookup(&cluster.endpoint())
    );

    cluster.start("instance-2").await.unwrap();
    connect_instance(&cluster, "instance-2").await;
    cluster.wait_until_complete(SOON).await.unwrap();
    cluster.shutdown().await;
}

async fn a_graceful_restart_tells_clients_so_and_keeps_the_role(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    let (slept, restarted) = tokio::join!(client.sleep(), cluster.restart("instance-1"));
    restarted.unwrap();
    match engine {
        // Whoever sleeps is told 1, if there is time for an answer.
        Engine::MySql => assert!(slept.is_err() || slept.is_ok_and(|answer| answer == "1")),
        _ => assert_eq!(slept.unwrap_err().code.as_deref(), Some("57P01")),
    }
    assert!(client.ask("SELECT 1").await.is_err());
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();
    assert_eq!(cluster.writer(), "instance-1");
    cluster.shutdown().await;
}

async fn a_frozen_server_is_silent_and_goes_on_when_thawed(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    cluster.freeze("instance-1").await.unwrap();
    let question = client.ask("SELECT 1");
    tokio::pin!(question);
    assert!(timeout(SHORT, &mut question).await.is_err());
    let address = cluster.names().lookup(&cluster.endpoint())[0];
    assert!(timeout(SHORT, connect_to(engine, address, cluster.port())).await.is_err());
    assert!(cluster.status().await.unwrap().instances[0].frozen);
    cluster.thaw("instance-1").await.unwrap();
    timeout(SOON, question).await.unwrap().unwrap();
    timeout(SOON, client.run("CREATE TABLE t (i int)")).await.unwrap().unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    cluster.shutdown().await;
}

async fn a_frozen_writer_that_is_replaced_stays_silent_and_never_writes_again(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();
    cluster.freeze("instance-1").await.unwrap();
    let write = client.run("INSERT INTO t VALUES (1)");
    tokio::pin!(write);
    assert!(timeout(SHORT, &mut write).await.is_err());
    cluster.failover(FailoverOptions::default()).await.unwrap();
    assert!(timeout(SHORT, &mut write).await.is_err());
    cluster.thaw("instance-1").await.unwrap();
    assert!(timeout(SHORT, &mut write).await.unwrap().is_err());
    cluster.wait_until_complete(SOON).await.unwrap();
    let client = connect_instance(&cluster, "instance-1").await;
    assert_eq!(client.text("SELECT count(*) FROM t").await, "0");
    assert_eq!(client.role().await, "reader");
    cluster.shutdown().await;
}

async fn a_writer_in_a_black_hole_that_is_replaced_resets_its_clients_when_healed(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();
    cluster.blackhole("instance-1").await.unwrap();
    let write = client.run("INSERT INTO t VALUES (1)");
    tokio::pin!(write);
    assert!(timeout(SHORT, &mut write).await.is_err());
    cluster.failover(FailoverOptions::default()).await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    assert!(timeout(SHORT, &mut write).await.is_err());
    cluster.heal("instance-1").await.unwrap();
    assert!(timeout(SHORT, &mut write).await.unwrap().is_err());
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(client.text("SELECT count(*) FROM t").await, "0");
    cluster.shutdown().await;
}

async fn a_black_hole_swallows_and_an_unreachable_host_does_not_even_connect(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let client = connect_instance(&cluster, "instance-2").await;
    let address = (cluster.names().lookup(&cluster.instance_endpoint("instance-2"))[0], cluster.port());
    cluster.blackhole("instance-2").await.unwrap();
    let question = client.ask("SELECT 1");
    tokio::pin!(question);
    assert!(timeout(SHORT, &mut question).await.is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_ok());
    cluster.unreachable("instance-2").await.unwrap();
    assert!(timeout(SHORT, tokio::net::TcpStream::connect(address)).await.is_err());
    // Replication does not go through the proxy.
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    timeout(SHORT, writer.run("CREATE TABLE t (i int)")).await.unwrap().unwrap();
    cluster.heal("instance-2").await.unwrap();
    timeout(SOON, question).await.unwrap().unwrap();
    cluster.shutdown().await;
}

async fn refuse_reset_and_latency_are_seen_by_clients(engine: Engine) {
    let cluster = builder(engine).instances(1).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    let address = cluster.names().lookup(&cluster.endpoint())[0];
    cluster.refuse("instance-1").await.unwrap();
    assert!(connect_to(engine, address, cluster.port()).await.is_err());
    client.ask("SELECT 1").await.unwrap();
    cluster.heal("instance-1").await.unwrap();
    connect_to(engine, address, cluster.port()).await.unwrap();

    cluster.latency("instance-1", Duration::from_millis(20)).await.unwrap();
    let start = Instant::now();
    client.ask("SELECT 1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(40));
    cluster.reset("instance-1").await.unwrap();
    assert!(timeout(SHORT, client.ask("SELECT 1")).await.unwrap().is_err());
    cluster.heal("instance-1").await.unwrap();
    connect(&cluster, &cluster.endpoint()).await.unwrap();
    cluster.shutdown().await;
}

async fn one_instance_can_have_an_old_view_of_the_cluster(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    cluster.set_stale_topology("instance-3", true).await.unwrap();
    cluster.failover(FailoverOptions::default().to("instance-2")).await.unwrap();
    let (fresh, stale) =
        (connect_instance(&cluster, "instance-2").await, connect_instance(&cluster, "instance-3").await);
    assert_eq!(fresh.topology().await, ["instance-1", "instance-2*", "instance-3"]);
    assert_eq!(stale.topology().await, ["instance-1*", "instance-2", "instance-3"]);
    cluster.set_stale_topology("instance-3", false).await.unwrap();
    assert_eq!(stale.topology().await, ["instance-1", "instance-2*", "instance-3"]);
    cluster.shutdown().await;
}

async fn all_servers_can_go_down_and_come_back(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t AS SELECT 1 AS i").await.unwrap();
    cluster.down_all().await.unwrap();
    assert!(connect(&cluster, &cluster.endpoint()).await.is_err());
    cluster.up_all().await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("INSERT INTO t VALUES (2)").await.unwrap();
    cluster.shutdown().await;
}

async fn a_server_that_ends_by_itself_is_noticed_and_holds_up_nobody(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let pid = cluster.status().await.unwrap().instances[1].pid.unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let writer = connect(&cluster, &cluster.endpoint()).await.unwrap();
    timeout(SOON, writer.run("CREATE TABLE t (i int)")).await.unwrap().unwrap();
    eventually("it counts as down", async || cluster.status().await.unwrap().instances[1].pid.is_none())
        .await;
    cluster.start("instance-2").await.unwrap();
    cluster.shutdown().await;
}

async fn an_unknown_instance_is_an_error(engine: Engine) {
    let cluster = builder(engine).instances(1).start().await.unwrap();
    let error = cluster.kill("instance-9").await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::UnknownInstance(_)), "{error}");
    cluster.shutdown().await;
}
