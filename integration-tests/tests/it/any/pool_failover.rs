//! Pools when the writer changes: what lies idle costs nobody an error, what is in use costs one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aurora_sim::FailoverOptions;
use aws_wrapper_core::error::FailoverOutcome;
use aws_wrapper_deadpool::{Object, Pool, Target};
use integration_tests::{Adapter, Session, TestCluster, eventually, failovers, on_cluster, spawn};
use tokio::time::sleep;

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;
type DriverSession = <Driver as Adapter>::Session;

const LIMIT: Duration = Duration::from_secs(10);

fn pool(cluster: &TestCluster, params: &[(&str, &str)]) -> Pool<Pooled> {
    Pool::builder(cluster.connector::<Driver>(params)).max_size(16).build().unwrap()
}

/// A pool in which so many connections lie idle.
async fn filled(pool: &Pool<Pooled>, count: usize) {
    let mut objects = Vec::new();
    for _ in 0..count {
        objects.push(pool.writer().await.unwrap());
    }
    drop(objects);
    assert_eq!(pool.status().available, count);
}

#[test]
fn idle_connections_to_a_dead_writer_cost_nobody_an_error() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let pool = pool(cluster, &[]);
        let mut events = Driver::services(pool.connector()).subscribe();
        filled(&pool, 8).await;
        let mut busy = pool.writer().await.unwrap();
        let call = spawn(async move { (busy.run(DriverSession::SLEEP).await, busy) });
        sleep(Duration::from_millis(100)).await;

        let report = cluster.replace_writer().await;
        let (error, busy) = call.await.unwrap();
        assert!(error.unwrap_err().is_failover_success());
        // The one that was in use goes on, and goes back.
        assert_eq!(Object::host(&busy), cluster.key(&report.new_writer));
        let id = busy.slot().id();
        drop(busy);
        let mut ids = Vec::new();
        let mut objects = Vec::new();
        for row in 0..8 {
            let mut session = pool.writer().await.unwrap();
            assert_eq!(session.run(&format!("INSERT INTO log VALUES ({row})")).await.unwrap(), 1);
            ids.push(session.slot().id());
            objects.push(session);
        }
        assert!(ids.contains(&id), "the one that was moved is used again");
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]));
    });
}

/// The server goes on, so no host is suspected, and nobody used a connection when they were all cut.
#[test]
fn idle_connections_that_were_cut_cost_nobody_an_error() {
    const COUNT: usize = 8;
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[]);
        filled(&pool, COUNT).await;
        // What was used a moment ago is not idle.
        sleep(Duration::from_millis(600)).await;
        cluster.reset(&cluster.writer()).await.unwrap();
        let calls: Vec<_> = (0..COUNT)
            .map(|_| {
                let pool = pool.clone();
                spawn(async move { pool.writer().await.unwrap().who().await })
            })
            .collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap(), cluster.writer());
        }
        let status = pool.status();
        let discarded = &status.sub_pool(&Target::Writer).unwrap().discarded;
        assert_eq!(discarded.values().sum::<u64>(), COUNT as u64, "{status:?}");
    });
}

#[test]
fn each_connection_in_use_fails_once_and_one_search_serves_them_all() {
    const BUSY: usize = 16;
    on_cluster::<Driver>(3, async |cluster| {
        // None is to be given up because the machine is busy.
        let pool = pool(cluster, &[("pool_recycle_timeout_ms", "10s")]);
        let services = Driver::services(pool.connector()).clone();
        let mut events = services.subscribe();
        let mut calls = Vec::new();
        for _ in 0..BUSY {
            let mut session = pool.writer().await.unwrap();
            calls.push(spawn(async move {
                let error = session.run(DriverSession::SLEEP).await.unwrap_err();
                (error, session.who().await.unwrap())
            }));
        }
        sleep(Duration::from_millis(200)).await;
        let before = services.status().clusters[0].clone();
        let report = cluster.replace_writer().await;
        for call in calls {
            let (error, who) = call.await.unwrap();
            assert!(error.is_failover_success(), "{error:?}");
            assert_eq!(who, report.new_writer);
        }
        let after = services.status().clusters[0].clone();
        assert!(after.panics - before.panics <= 2, "{before:?} {after:?}");
        assert_eq!(failovers(&mut events), (BUSY, vec![FailoverOutcome::Succeeded; BUSY]));
        // All of them go back, clean, and none had to be opened anew.
        eventually(LIMIT, "all are clean", async || pool.status().in_use == 0).await;
        let status = pool.status();
        let writer = status.sub_pool(&Target::Writer).unwrap();
        assert_eq!((writer.created, writer.available), (BUSY as u64, BUSY), "{status:?}");
    });
}

/// The old writer lives on as a reader: its connections are healthy, and every one of them is wrong.
#[test]
fn after_a_switchover_no_idle_connection_to_the_old_writer_is_given_out() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        for plugins in
            [None, Some("initial_connection,failover"), Some("initial_connection,tracker,failover")]
        {
            for reader in cluster.readers() {
                cluster.settle(&reader).await.unwrap();
            }
            let old = cluster.writer();
            let params: Vec<_> = plugins.map(|plugins| ("plugins", plugins)).into_iter().collect();
            let pool = pool(cluster, &params);
            filled(&pool, 8).await;
            // One that fails tells the rest.
            let mut session = pool.writer().await.unwrap();
            let report = cluster.switchover(None).await.unwrap();
            assert!(session.run("INSERT INTO log VALUES (1)").await.unwrap_err().is_failover_success());
            drop(session);
            let gone = async || pool.status().sub_pool(&Target::Writer).unwrap().size <= 1;
            eventually(LIMIT, "idle connections are dropped at once", gone).await;
            for row in 0..8 {
                let mut session = pool.writer().await.unwrap();
                session.run(&format!("INSERT INTO log VALUES ({row})")).await.unwrap();
                assert_eq!(session.who().await.unwrap(), report.new_writer, "{plugins:?}, {old}");
            }
            cluster.complete().await;
        }
    });
}

#[test]
fn a_pool_by_another_name_than_the_clusters_finds_the_writer() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let host = cluster.instance_endpoint("instance-2");
        let address = cluster.names().lookup(&host)[0].to_string();
        let pattern = cluster.instance_endpoint("?");
        let by_address = [("cluster_instance_host_pattern", pattern.as_str())];
        let connector = cluster.connector_to::<Driver>(&address, &by_address).unwrap();
        let pool = Pool::<Pooled>::builder(connector).max_size(4).build().unwrap();
        assert_eq!(pool.writer().await.unwrap().who().await.unwrap(), "instance-1");
        assert_eq!(pool.get().await.unwrap().who().await.unwrap(), "instance-2");

        let connector = cluster.connector_to::<Driver>(&host, &[]).unwrap();
        let pool = Pool::<Pooled>::builder(connector).max_size(4).build().unwrap();
        assert_eq!(pool.writer().await.unwrap().who().await.unwrap(), "instance-1");
        assert_eq!(pool.get().await.unwrap().who().await.unwrap(), "instance-2");
        assert_eq!(pool.status().sub_pools.len(), 2);
        cluster.switchover(Some("instance-3")).await.unwrap();
        // Nobody has noticed yet: the first one finds out.
        let mut session = pool.writer().await.unwrap();
        if let Err(error) = session.run("INSERT INTO log VALUES (0)").await {
            assert!(error.is_failover_success(), "{error:?}");
        }
        drop(session);
        for row in 1..4 {
            let mut session = pool.writer().await.unwrap();
            session.run(&format!("INSERT INTO log VALUES ({row})")).await.unwrap();
        }
    });
}

/// Short jobs, as a service has them: each checks out, writes a row and gives back.
#[test]
fn jobs_through_a_failover_see_at_most_one_error_for_each_connection_in_use() {
    const WORKERS: usize = 8;
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let pool = pool(cluster, &[]);
        let (stop, rows, errors) =
            (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (pool, stop, rows, errors) = (pool.clone(), stop.clone(), rows.clone(), errors.clone());
                spawn(async move {
                    let mut acknowledged = Vec::new();
                    for id in (worker * 1_000_000).. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let mut session = pool.writer().await.unwrap();
                        match session.run(&format!("INSERT INTO log VALUES ({id})")).await {
                            Ok(_) => {
                                acknowledged.push(id);
                                rows.fetch_add(1, Ordering::Relaxed);
                            }
                            Err(error) => {
                                assert!(error.is_failover_success(), "{error:?}");
                                errors.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        drop(session);
                        sleep(Duration::from_millis(2)).await;
                    }
                    acknowledged
                })
            })
            .collect();
        for round in 1..=2 {
            let before = rows.load(Ordering::Relaxed);
            eventually(LIMIT, "rows come in", async || rows.load(Ordering::Relaxed) > before + 100).await;
            let options = FailoverOptions::default().promote_after(Duration::from_millis(500));
            cluster.failover(options).await.unwrap();
            let before = rows.load(Ordering::Relaxed);
            eventually(LIMIT, "rows come in again", async || rows.load(Ordering::Relaxed) > before + 100)
                .await;
            assert!(errors.load(Ordering::Relaxed) <= round * WORKERS, "{errors:?}");
            cluster.complete().await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut acknowledged = Vec::new();
        for worker in workers {
            acknowledged.extend(worker.await.unwrap());
        }
        let mut session = pool.writer().await.unwrap();
        let count: usize = session.ask("SELECT count(DISTINCT id) FROM log").await.unwrap().parse().unwrap();
        let all: usize = session.ask("SELECT count(*) FROM log").await.unwrap().parse().unwrap();
        assert_eq!(count, all, "nothing twice");
        assert!((acknowledged.len()..=acknowledged.len() + errors.load(Ordering::Relaxed)).contains(&count));
    });
}
