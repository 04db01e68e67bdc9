//! Real servers, started and broken.

mod common;

use std::time::{Duration, Instant};

use aurora_sim::{Cluster, FailoverOptions};
use common::{connect, text};

#[tokio::test]
async fn three_instances_start_quickly_and_fail_over() {
    let start = Instant::now();
    let cluster = Cluster::builder().instances(3).start().await.unwrap();
    eprintln!("start {:?}", start.elapsed());
    for instance in cluster.instance_names() {
        let client = connect(&cluster, &cluster.instance_endpoint(&instance)).await.unwrap();
        assert_eq!(text(&client, "SELECT pg_catalog.aurora_db_instance_identifier()").await, instance);
    }
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    client.batch_execute("CREATE TABLE t (i int); INSERT INTO t VALUES (1)").await.unwrap();
    for _ in 0..3 {
        let report = cluster.failover(FailoverOptions::default()).await.unwrap();
        eprintln!(
            "promotion {:?}, failover {:?}",
            report.writable_at - report.promotion_at,
            report.writable_at - report.killed_at
        );
        let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
        client.batch_execute("INSERT INTO t VALUES (2)").await.unwrap();
        let start = Instant::now();
        cluster.wait_until_complete(Duration::from_secs(10)).await.unwrap();
        eprintln!("complete {:?}", start.elapsed());
    }
    let folder = cluster.folder().to_owned();
    let start = Instant::now();
    cluster.shutdown().await;
    eprintln!("stop {:?}", start.elapsed());
    assert!(!folder.exists());
}
