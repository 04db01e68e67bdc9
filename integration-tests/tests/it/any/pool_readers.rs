//! Pools and the readers of a cluster.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_wrapper_core::host::HostKey;
use aws_wrapper_deadpool::{ErrorKind, Health, Object, Pool, ReaderFallback, Target};
use integration_tests::{Adapter, SOON, Session, TestCluster, eventually, on_cluster};
use tokio::time::Instant;

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;

const LIMIT: Duration = Duration::from_secs(10);
/// So that the topology is news soon.
const FAST: (&str, &str) = ("cluster_topology_refresh_rate_ms", "100");

fn pool(cluster: &TestCluster, params: &[(&str, &str)]) -> Pool<Pooled> {
    Pool::builder(cluster.connector::<Driver>(params)).max_size(4).build().unwrap()
}

/// How often each host is given out in so many checkouts, each given back before the next.
async fn spread(pool: &Pool<Pooled>, checkouts: usize) -> BTreeMap<HostKey, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..checkouts {
        *counts.entry(Object::host(&pool.reader().await.unwrap())).or_default() += 1;
    }
    counts
}

#[test]
fn checkouts_are_spread_evenly_over_the_readers() {
    on_cluster::<Driver>(3, async |cluster| {
        for endpoint in [cluster.endpoint(), cluster.reader_endpoint()] {
            let connector = cluster.connector_to::<Driver>(&endpoint, &[]).unwrap();
            let pool = Pool::<Pooled>::builder(connector).max_size(4).build().unwrap();
            let counts = spread(&pool, 20).await;
            let even =
                [("instance-2", 10), ("instance-3", 10)].map(|(name, count)| (cluster.key(name), count));
            assert_eq!(counts.into_iter().collect::<Vec<_>>(), even, "{endpoint}");
            for name in ["instance-2", "instance-3"] {
                let status = pool.status();
                let sub = status.sub_pool(&Target::Reader(cluster.key(name))).unwrap();
                assert_eq!((sub.created, sub.recycled), (1, 9), "{sub:?}");
            }
            assert_eq!(pool.writer().await.unwrap().who().await.unwrap(), "instance-1");
        }
    });
}

#[test]
fn a_full_reader_is_passed_over_while_another_one_is_free() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = Pool::<Pooled>::builder(cluster.connector::<Driver>(&[]))
            .max_size(2)
            .wait_timeout(Duration::from_millis(300))
            .build()
            .unwrap();
        let mut objects = Vec::new();
        for _ in 0..4 {
            objects.push(pool.reader().await.unwrap());
        }
        assert_eq!(pool.reader().await.unwrap_err().kind(), ErrorKind::WaitTimeout);
        // Whichever reader's turn it is, the free one is given out.
        let free = objects.pop().unwrap();
        let host = Object::host(&free);
        drop(free);
        for _ in 0..6 {
            assert_eq!(Object::host(&pool.reader().await.unwrap()), host);
        }
    });
}

#[test]
fn a_reader_that_cannot_be_reached_is_passed_over() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster, &[]);
        drop(pool.writer().await.unwrap());
        cluster.kill("instance-2").await.unwrap();
        let start = Instant::now();
        for _ in 0..10 {
            let mut session = pool.reader().await.unwrap();
            assert_eq!(session.who().await.unwrap(), "instance-3");
        }
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    });
}

#[test]
fn a_reader_that_is_back_is_given_out_again() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster, &[]);
        assert_eq!(spread(&pool, 10).await.len(), 2);
        cluster.kill("instance-2").await.unwrap();
        let only = |counts: BTreeMap<HostKey, usize>| counts.into_keys().eq([cluster.key("instance-3")]);
        let left_out = async || {
            // MySQL's driver notices a loss with the next call only.
            if let Ok(mut session) = pool.reader().await {
                let _ = session.who().await;
            }
            only(spread(&pool, 10).await)
        };
        eventually(LIMIT, "no checkout goes to the lost reader", left_out).await;
        assert_ne!(pool.health(), Health::Down);

        cluster.start("instance-2").await.unwrap();
        cluster.complete().await;
        let back = async || spread(&pool, 4).await.contains_key(&cluster.key("instance-2"));
        eventually(2 * LIMIT, "checkouts go to the reader that is back", back).await;
        let counts = spread(&pool, 10).await;
        assert_eq!(counts.into_values().collect::<Vec<_>>(), [5, 5]);
        assert_eq!(pool.health(), Health::Up);
    });
}

#[test]
fn after_a_switchover_the_old_writer_is_read_from_and_the_new_one_is_not() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let pool = pool(cluster, &[FAST]);
        spread(&pool, 4).await;
        cluster.switchover(Some("instance-2")).await.unwrap();
        let target = Target::Reader(cluster.key("instance-2"));
        let gone = async || pool.status().sub_pool(&target).is_none();
        eventually(LIMIT, "the new writer is no reader", gone).await;
        let hosts: Vec<_> = spread(&pool, 10).await.into_keys().collect();
        assert_eq!(hosts, [cluster.key("instance-1"), cluster.key("instance-3")]);
        let mut writer = pool.writer().await.unwrap();
        assert_eq!(writer.run("INSERT INTO log VALUES (1)").await.unwrap(), 1);
    });
}

#[test]
fn a_reader_that_changed_its_host_while_in_use_does_not_go_back() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster, &[]);
        drop(pool.writer().await.unwrap());
        let mut session = pool.reader().await.unwrap();
        let old = session.who().await.unwrap();
        cluster.kill(&old).await.unwrap();
        let error = session.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        let new = if old == "instance-2" { "instance-3" } else { "instance-2" };
        assert_eq!(session.who().await.unwrap(), new);
        drop(session);
        let moved: u64 = pool.status().sub_pools.iter().filter_map(|sub| sub.discarded.get("moved")).sum();
        let sub_pool_is_gone = pool.status().sub_pool(&Target::Reader(cluster.key(&old))).is_none();
        assert!(moved == 1 || sub_pool_is_gone, "{:?}", pool.status());
        assert_eq!(pool.reader().await.unwrap().who().await.unwrap(), new);
    });
}

#[test]
fn a_cluster_without_readers_gives_out_the_writer_or_an_error() {
    on_cluster::<Driver>(1, async |cluster| {
        let start = Instant::now();
        for endpoint in [cluster.endpoint(), cluster.reader_endpoint()] {
            let connector =
                cluster.connector_to::<Driver>(&endpoint, &[("open_connection_retry_timeout_ms", "2s")]);
            let pool = Pool::<Pooled>::builder(connector.unwrap()).max_size(4).build().unwrap();
            assert_eq!(pool.reader().await.unwrap().who().await.unwrap(), "instance-1", "{endpoint}");
            assert_eq!(pool.get().await.unwrap().who().await.unwrap(), "instance-1", "{endpoint}");
        }
        let pool = pool(cluster, &[("pool_reader_fallback", "error")]);
        let error = pool.reader().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoReader, "{error:?}");
        assert!(error.to_string().contains("pool_reader_fallback"), "{error}");
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        // The builder's word counts more than the parameter.
        let connector = cluster.connector::<Driver>(&[("pool_reader_fallback", "error")]);
        let pool =
            Pool::<Pooled>::builder(connector).reader_fallback(ReaderFallback::Writer).build().unwrap();
        assert_eq!(pool.reader().await.unwrap().who().await.unwrap(), "instance-1");
    });
}

#[test]
fn when_all_readers_are_down_the_writer_is_read_from_if_that_is_allowed() {
    on_cluster::<Driver>(2, async |cluster| {
        let lenient = pool(cluster, &[]);
        let strict = pool(cluster, &[("pool_reader_fallback", "error")]);
        for pool in [&lenient, &strict] {
            assert_eq!(pool.reader().await.unwrap().who().await.unwrap(), "instance-2");
        }
        cluster.kill("instance-2").await.unwrap();
        let start = Instant::now();
        let error = strict.reader().await;
        // MySQL's driver notices a loss with the next call only.
        if let Ok(mut session) = error {
            session.who().await.unwrap_err();
        }
        drop(lenient.reader().await.map(|mut session| async move { session.who().await }));
        let given = async || {
            let Ok(mut session) = lenient.reader().await else { return false };
            session.who().await.is_ok_and(|who| who == "instance-1")
        };
        eventually(LIMIT, "the writer is given out", given).await;
        let refused = async || strict.reader().await.is_err();
        eventually(LIMIT, "no reader is given out", refused).await;
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        cluster.start("instance-2").await.unwrap();
        let back = async || strict.reader().await.is_ok();
        eventually(LIMIT, "it is given out again", back).await;
    });
}
