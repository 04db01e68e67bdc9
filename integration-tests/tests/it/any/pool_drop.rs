//! Pools and their connections can be dropped anywhere, and leave nothing.

use std::time::Duration;

use aws_wrapper_deadpool::Pool;
use integration_tests::{Adapter, Session, TestCluster, eventually, no_task_left, on_cluster, spawn};
use tokio::runtime::Builder;
use tokio::time::{Instant, timeout};

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;
type DriverSession = <Driver as Adapter>::Session;

const LIMIT: Duration = Duration::from_secs(5);

fn pool(cluster: &TestCluster) -> Pool<Pooled> {
    Pool::builder(cluster.connector::<Driver>(&[])).max_size(8).build().unwrap()
}

async fn nothing_is_left(cluster: &TestCluster) {
    eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
    eventually(LIMIT, "no task is left", async || no_task_left()).await;
}

#[test]
fn dropping_the_pool_closes_what_lies_idle_and_later_what_is_in_use() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster);
        let mut in_use = pool.writer().await.unwrap();
        drop((pool.writer().await.unwrap(), pool.reader().await.unwrap()));
        assert!(pool.status().available >= 2);
        drop(pool);
        // One that is in use, and the monitor's.
        eventually(LIMIT, "idle connections are closed", async || cluster.sockets() <= 2).await;
        assert_eq!(in_use.who().await.unwrap(), "instance-1");
        drop(in_use);
        nothing_is_left(cluster).await;
    });
}

#[test]
fn pools_and_connections_can_be_dropped_outside_of_a_runtime() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster);
        let objects = [pool.writer().await.unwrap(), pool.reader().await.unwrap()];
        drop(pool.writer().await.unwrap());
        std::thread::spawn(move || {
            drop(objects);
            drop(pool);
        })
        .join()
        .expect("nothing panics");
        nothing_is_left(cluster).await;
    });
}

#[test]
fn a_connection_outlives_its_pool_and_is_dropped_outside_of_a_runtime() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster);
        let object = pool.writer().await.unwrap();
        drop(pool);
        std::thread::spawn(move || drop(object)).join().expect("nothing panics");
        nothing_is_left(cluster).await;
    });
}

/// A program's end: the runtime goes while connections are in use, lie idle and are being opened.
#[test]
fn a_runtime_that_ends_takes_everything_along() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster);
        let connections = pool.clone();
        let outliving = std::thread::spawn(move || {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let outliving = runtime.block_on(async {
                for _ in 0..3 {
                    let pool = connections.clone();
                    spawn(async move {
                        let mut session = pool.writer().await.unwrap();
                        let _ = session.run(DriverSession::SLEEP).await;
                    });
                    let pool = connections.clone();
                    spawn(async move {
                        loop {
                            let _ = pool.reader().await;
                        }
                    });
                }
                drop(connections.writer().await.unwrap());
                connections.writer().await.unwrap()
            });
            drop(runtime);
            outliving
        })
        .join()
        .expect("nothing panics");
        drop(outliving);
        // What is left of the pool works in another runtime, its task included.
        let mut session = timeout(LIMIT, pool.writer()).await.unwrap().unwrap();
        assert_eq!(session.who().await.unwrap(), "instance-1");
        drop((session, pool));
        nothing_is_left(cluster).await;
    });
}

#[test]
fn checkouts_that_are_dropped_anywhere_cost_no_place_in_the_pool() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = Pool::<Pooled>::builder(cluster.connector::<Driver>(&[])).max_size(2).build().unwrap();
        for micros in (0..4000).step_by(50) {
            let limit = Duration::from_micros(micros);
            let first = timeout(limit, pool.writer()).await;
            let second = timeout(limit, pool.reader()).await;
            drop((first, second));
            let status = pool.status();
            assert!(status.sub_pools.iter().all(|sub| sub.size <= 2 && sub.in_use == 0), "{status:?}");
            if micros % 400 == 0 {
                // Begin with an empty pool now and then.
                for sub_pool in pool.sub_pools() {
                    drop(sub_pool.retain(|_, _| false));
                }
            }
        }
        let all = [pool.writer().await.unwrap(), pool.writer().await.unwrap()];
        assert_eq!(pool.status().in_use, 2, "{:?}", pool.status());
        drop((all, pool));
        nothing_is_left(cluster).await;
    });
}

#[test]
fn a_shutdown_of_the_services_ends_the_pool() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster);
        let mut in_use = pool.writer().await.unwrap();
        drop(pool.reader().await.unwrap());
        Driver::services(pool.connector()).shutdown(LIMIT).await.unwrap();
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        in_use.who().await.unwrap_err();
        drop(in_use);
        let error = timeout(LIMIT, pool.writer()).await.unwrap().unwrap_err();
        assert!(error.connect_error().is_some(), "{error:?}");
    });
}

#[test]
fn calls_given_up_on_a_silent_host_cost_no_place_and_leave_no_task() {
    on_cluster::<Driver>(2, async |cluster| {
        let pool = Pool::<Pooled>::builder(cluster.connector::<Driver>(&[])).max_size(32).build().unwrap();
        let mut sessions = Vec::new();
        for _ in 0..32 {
            sessions.push(pool.writer().await.unwrap());
        }
        cluster.blackhole("instance-1").await.unwrap();
        let start = Instant::now();
        for mut session in sessions {
            assert!(timeout(Duration::from_millis(10), session.who()).await.is_err());
        }
        let status = pool.status();
        assert_eq!((status.size, status.in_use), (0, 0), "{status:?}");
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        let idle_tasks = async || tokio::runtime::Handle::current().metrics().num_alive_tasks() < 32;
        eventually(LIMIT, "the connections' tasks end though nobody answers", idle_tasks).await;
        cluster.heal("instance-1").await.unwrap();
        let usable = async || pool.writer().await.is_ok();
        eventually(2 * LIMIT, "the pool works again", usable).await;
        drop(pool);
        nothing_is_left(cluster).await;
    });
}
