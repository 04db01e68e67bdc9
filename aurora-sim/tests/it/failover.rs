//! Failover: speed, roles, names, and that nothing acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use aurora_sim::{Cluster, Engine, ErrorKind, FailoverOptions};
use tokio::time::{Instant, sleep};

use crate::client::{builder, connect, connect_instance, connect_to, eventually, for_each_engine};

for_each_engine! {
    a_failover_promotes_the_reader_that_was_named_and_the_old_writer_returns_as_a_reader,
    a_failover_takes_less_than_a_third_of_a_second,
    names_follow_after_the_dns_lag,
    a_name_set_by_hand_stays_until_it_is_set_again,
    there_is_no_writer_for_as_long_as_was_ordered,
    a_cluster_of_one_restarts_its_writer,
    a_reader_that_misses_data_cannot_take_over,
    a_frozen_reader_does_not_hold_up_a_failover_and_follows_when_it_thaws,
    no_acknowledged_write_is_lost_whatever_happens,
}

const SOON: Duration = Duration::from_secs(10);

async fn a_failover_promotes_the_reader_that_was_named_and_the_old_writer_returns_as_a_reader(
    engine: Engine,
) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.unwrap();
    let report = cluster.failover(FailoverOptions::default().to("instance-3")).await.unwrap();
    assert_eq!((report.old_writer.as_str(), report.new_writer.as_str()), ("instance-1", "instance-3"));
    assert_eq!(cluster.writer(), "instance-3");
    assert!(client.ask("SELECT 1").await.is_err());

    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("INSERT INTO t VALUES (2)").await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    for instance in cluster.instance_names() {
        let client = connect_instance(&cluster, &instance).await;
        assert_eq!(client.role().await, if instance == "instance-3" { "writer" } else { "reader" });
        assert_eq!(client.topology().await, ["instance-1", "instance-2", "instance-3*"]);
        eventually("both rows arrive", async || client.text("SELECT count(*) FROM t").await == "2").await;
    }
    cluster.shutdown().await;
}

async fn a_failover_takes_less_than_a_third_of_a_second(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    // Other tests share the machine: the best of some failovers counts.
    let mut best = Duration::MAX;
    for _ in 0..4 {
        let report = cluster.failover(FailoverOptions::default()).await.unwrap();
        best = best.min(report.writable_at - report.killed_at);
        if best < Duration::from_millis(300) {
            break;
        }
    }
    cluster.shutdown().await;
    assert!(best < Duration::from_millis(300), "{best:?}");
}

async fn names_follow_after_the_dns_lag(engine: Engine) {
    let lag = Duration::from_millis(400);
    let cluster = builder(engine).instances(2).dns_lag(lag).start().await.unwrap();
    let names = cluster.names();
    let address = |instance: &str| names.lookup(&cluster.instance_endpoint(instance));
    let report = cluster.failover(FailoverOptions::default()).await.unwrap();
    assert_eq!(names.lookup(&cluster.endpoint()), address("instance-1"));
    assert!(report.dns_changed_at > Instant::now());
    eventually("DNS follows", async || names.lookup(&cluster.endpoint()) == address("instance-2")).await;
    assert!(report.writable_at.elapsed() >= lag);
    cluster.shutdown().await;
}

async fn a_name_set_by_hand_stays_until_it_is_set_again(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let names = cluster.names();
    let address = |instance: &str| names.lookup(&cluster.instance_endpoint(instance));
    cluster.set_dns("my-cluster", Some("instance-1")).await.unwrap();
    cluster.failover(FailoverOptions::default()).await.unwrap();
    assert_eq!(names.lookup(&cluster.endpoint()), address("instance-1"));
    cluster.set_dns("my-cluster", None).await.unwrap();
    assert_eq!(names.lookup(&cluster.endpoint()), address("instance-2"));
    cluster.set_dns("my-cluster-ro", Some("instance-2")).await.unwrap();
    assert_eq!(names.lookup(&cluster.reader_endpoint()), address("instance-2"));
    cluster.shutdown().await;
}

async fn there_is_no_writer_for_as_long_as_was_ordered(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    let outage = Duration::from_millis(300);
    let options = FailoverOptions::default().promote_after(outage).restart_old(false);
    let report = cluster.failover(options).await.unwrap();
    assert!(report.writable_at - report.killed_at >= outage, "{report:?}");
    let address = cluster.names().lookup(&cluster.instance_endpoint("instance-1"))[0];
    assert!(connect_to(engine, address, cluster.port()).await.is_err());
    cluster.start("instance-1").await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    let client = connect_instance(&cluster, "instance-1").await;
    assert_eq!(client.role().await, "reader");
    cluster.shutdown().await;
}

async fn a_cluster_of_one_restarts_its_writer(engine: Engine) {
    let cluster = builder(engine).instances(1).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t AS SELECT 1 AS i").await.unwrap();
    cluster.failover(FailoverOptions::default()).await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(client.text("SELECT count(*) FROM t").await, "2");
    assert_eq!(cluster.reader_endpoint(), "my-cluster.cluster-ro-xyz.us-east-2.rds.amazonaws.com");
    assert_eq!(
        cluster.names().lookup(&cluster.reader_endpoint()),
        cluster.names().lookup(&cluster.endpoint())
    );
    cluster.shutdown().await;
}

async fn a_reader_that_misses_data_cannot_take_over(engine: Engine) {
    let cluster = builder(engine).instances(2).start().await.unwrap();
    cluster.freeze("instance-2").await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t (i int)").await.unwrap();
    cluster.kill("instance-1").await.unwrap();
    cluster.thaw("instance-2").await.unwrap();
    let error = cluster.failover(FailoverOptions::default()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Invalid(_)), "{error}");
    cluster.start("instance-1").await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    cluster.failover(FailoverOptions::default()).await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert_eq!(client.text("SELECT count(*) FROM t").await, "0");
    cluster.shutdown().await;
}

/// Writes numbers for as long as it may, each in a commit of its own, reconnecting by the instances' addresses.
struct Load {
    acknowledged: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(cluster: &Cluster, number: u64) -> Self {
        let (acknowledged, end) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (names, port, host) = (cluster.names(), cluster.port(), cluster.endpoint());
        let engine = cluster.engine();
        let task = tokio::runtime::Handle::current().spawn({
            let (acknowledged, end) = (acknowledged.clone(), end.clone());
            async move {
                let mut next = 1_u64;
                while !end.load(Ordering::SeqCst) {
                    let Ok(client) = connect_to(engine, names.lookup(&host)[0], port).await else {
                        sleep(Duration::from_millis(2)).await;
                        continue;
                    };
                    // A failed number is tried again only with a new one: its outcome is unknown.
                    while client.run(&format!("INSERT INTO t VALUES ({number}, {next})")).await.is_ok() {
                        acknowledged.fetch_add(1, Ordering::SeqCst);
                        client.run(&format!("INSERT INTO acknowledged VALUES ({number}, {next})")).await.ok();
                        next += 1;
                        if end.load(Ordering::SeqCst) {
                            return;
                        }
                    }
                    next += 1;
                }
            }
        });
        Self { acknowledged, end, task }
    }

    async fn stop(self) -> u64 {
        self.end.store(true, Ordering::SeqCst);
        self.task.await.unwrap();
        self.acknowledged.load(Ordering::SeqCst)
    }
}

async fn no_acknowledged_write_is_lost_whatever_happens(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client
        .run("CREATE TABLE t (w int, i bigint); CREATE TABLE acknowledged (w int, i bigint)")
        .await
        .unwrap();
    let loads: Vec<Load> = (0..3).map(|number| Load::start(&cluster, number)).collect();
    let reader = |cluster: &Cluster| cluster.readers().into_iter().next().unwrap();
    for round in 0..8 {
        sleep(Duration::from_millis(60)).await;
        match round % 4 {
            0 => drop(cluster.failover(FailoverOptions::default()).await.unwrap()),
            1 => {
                // A dead reader does not hold up commits.
                let reader = reader(&cluster);
                cluster.kill(&reader).await.unwrap();
                cluster.start(&reader).await.unwrap();
            }
            2 => drop(cluster.switchover(None).await.unwrap()),
            _ => {
                let writer = cluster.writer();
                cluster.kill(&writer).await.unwrap();
                cluster.start(&writer).await.unwrap();
            }
        }
        for instance in cluster.instance_names() {
            cluster.settle(&instance).await.unwrap();
        }
        cluster.wait_until_complete(SOON).await.unwrap();
    }
    let mut acknowledged = 0;
    for load in loads {
        acknowledged += load.stop().await;
    }
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    let found: u64 = client.text("SELECT count(*) FROM t").await.parse().unwrap();
    assert!(acknowledged > 100, "{acknowledged}");
    assert!(found >= acknowledged, "{acknowledged} acknowledged, {found} found");
    let missing = "SELECT count(*) FROM (SELECT w, i FROM acknowledged EXCEPT SELECT w, i FROM t) x";
    assert_eq!(client.text(missing).await, "0");
    cluster.shutdown().await;
}

async fn a_frozen_reader_does_not_hold_up_a_failover_and_follows_when_it_thaws(engine: Engine) {
    let cluster = builder(engine).instances(3).start().await.unwrap();
    cluster.freeze("instance-3").await.unwrap();
    let start = Instant::now();
    cluster.failover(FailoverOptions::default()).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.run("CREATE TABLE t AS SELECT 1 AS i").await.unwrap();
    cluster.thaw("instance-3").await.unwrap();
    cluster.wait_until_complete(SOON).await.unwrap();
    let client = connect_instance(&cluster, "instance-3").await;
    eventually("the table arrives", async || client.ask("SELECT i FROM t").await.is_ok_and(|i| i == "1"))
        .await;
    cluster.shutdown().await;
}
