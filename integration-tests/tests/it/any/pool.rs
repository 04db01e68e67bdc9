//! Pools while all is well, and what they say when it is not.

use std::error::Error as _;
use std::time::Duration;

use aws_wrapper_core::ErrorKind as CoreKind;
use aws_wrapper_deadpool::{ErrorKind, Health, Pool, Target};
use integration_tests::{Adapter, SOON, Session, TestCluster, eventually, on_cluster, spawn};
use tokio::time::{Instant, timeout};

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;
type DriverSession = <Driver as Adapter>::Session;

const LIMIT: Duration = Duration::from_secs(5);
/// No connection is given up because the machine is busy.
const PATIENT: (&str, &str) = ("pool_recycle_timeout_ms", "10s");

fn pool(cluster: &TestCluster, params: &[(&str, &str)]) -> Pool<Pooled> {
    Pool::builder(cluster.connector::<Driver>(params)).build().unwrap()
}

/// How often connections were discarded for this reason.
fn discarded(pool: &Pool<Pooled>, reason: &str) -> u64 {
    pool.status().sub_pools.iter().filter_map(|sub| sub.discarded.get(reason)).sum()
}

#[test]
fn a_connection_that_is_given_back_is_given_out_again() {
    on_cluster::<Driver>(2, async |cluster| {
        let pool = pool(cluster, &[("pool_max_size", "3")]);
        let mut first = pool.get().await.unwrap();
        assert_eq!(first.who().await.unwrap(), "instance-1");
        let id = first.slot().id();
        drop(first);
        let again = pool.writer().await.unwrap();
        assert_eq!(again.slot().id(), id);
        let other = pool.get().await.unwrap();
        assert_ne!(other.slot().id(), id);
        let status = pool.status();
        assert_eq!((status.size, status.in_use, status.available), (2, 2, 0), "{status:?}");
        drop((again, other));
        let status = pool.status();
        assert_eq!((status.size, status.in_use, status.available), (2, 0, 2), "{status:?}");
        let writer = status.sub_pool(&Target::Writer).unwrap();
        assert_eq!((writer.created, writer.recycled, writer.max_size), (2, 1, 3), "{writer:?}");
        assert_eq!(pool.health(), Health::Up);
    });
}

#[test]
fn a_checkout_waits_for_a_free_connection_and_not_for_ever() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[("pool_max_size", "1"), ("pool_wait_timeout_ms", "300")]);
        let only = pool.get().await.unwrap();
        let start = Instant::now();
        let error = pool.get().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WaitTimeout, "{error:?}");
        assert!((250..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        assert!(error.source().is_none(), "nothing is wrong with the server: {error:?}");
        let waiting = spawn({
            let pool = pool.clone();
            async move { pool.get().await.map(|object| object.slot().id()) }
        });
        eventually(LIMIT, "the checkout waits", async || pool.status().waiting == 1).await;
        let id = only.slot().id();
        drop(only);
        assert_eq!(waiting.await.unwrap().unwrap(), id);
    });
}

#[test]
fn an_open_transaction_ends_when_its_connection_is_given_back() {
    on_cluster::<Driver>(1, async |cluster| {
        cluster.log_table::<Driver>().await;
        let pool = pool(cluster, &[PATIENT]);
        let mut session = pool.get().await.unwrap();
        let id = session.slot().id();
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        drop(session);
        eventually(LIMIT, "it goes back", async || pool.status().available == 1).await;
        // That took no checkout, and nothing holds the table.
        let mut admin = cluster.admin::<Driver>("instance-1").await;
        timeout(LIMIT, admin.run("TRUNCATE TABLE log")).await.unwrap().unwrap();
        let mut session = pool.get().await.unwrap();
        assert_eq!((session.slot().id(), discarded(&pool, "transaction")), (id, 0));
        timeout(LIMIT, session.run("TRUNCATE TABLE log")).await.unwrap().unwrap();
    });
}

#[test]
fn a_statement_that_failed_does_no_harm_to_its_connection() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[("pool_max_size", "1"), PATIENT]);
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let mut session = pool.get().await.unwrap();
            session.run(DriverSession::FAILS).await.unwrap_err();
            ids.insert(session.slot().id());
        }
        assert_eq!(ids.len(), 1);
    });
}

#[test]
fn a_connection_whose_call_was_dropped_never_goes_back() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[]);
        for _ in 0..5 {
            let mut session = pool.get().await.unwrap();
            let id = session.slot().id();
            assert!(timeout(Duration::from_millis(50), session.run(DriverSession::SLEEP)).await.is_err());
            drop(session);
            assert_eq!(pool.status().size, 0, "{:?}", pool.status());
            assert_ne!(pool.get().await.unwrap().slot().id(), id);
        }
    });
}

#[test]
fn a_wrong_password_is_the_source_of_the_pools_error() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[("password", "hunter2")]);
        for checkout in [pool.get().await, pool.writer().await, pool.reader().await] {
            let error = checkout.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
            assert_eq!(error.connect_error().unwrap().kind(), CoreKind::Login, "{error:?}");
            let source = error.source().unwrap().downcast_ref::<aws_wrapper_core::Error>().unwrap();
            assert!(source.sqlstate().is_some_and(|state| state.starts_with("28")), "{source:?}");
            assert!(!format!("{error} {error:?} {pool:?}").contains("hunter2"), "{error:?}");
        }
        assert_eq!(pool.health(), Health::Down);
    });
}

#[test]
fn a_server_that_is_down_is_the_source_of_the_pools_error() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[("pool_create_timeout_ms", "500"), ("pool_max_size", "1")]);
        let first = pool.get().await.unwrap();
        cluster.down_all().await.unwrap();
        drop(first);
        eventually(LIMIT, "the pool notices", async || {
            // MySQL's driver notices with the next call.
            if let Ok(mut session) = pool.get().await {
                let _ = timeout(Duration::from_millis(300), session.who()).await;
                return false;
            }
            true
        })
        .await;
        let start = Instant::now();
        let error = pool.get().await.unwrap_err();
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
        assert!(error.source().is_some(), "{error:?}");
        assert_eq!(pool.health(), Health::Down);

        // One waits for a connection, the other one for that one: both are told why.
        let both = tokio::join!(pool.get(), pool.get());
        for error in [both.0.unwrap_err(), both.1.unwrap_err()] {
            assert!(error.connect_error().is_some(), "{error:?}");
        }
        cluster.up_all().await.unwrap();
        eventually(Duration::from_secs(20), "it works again", async || pool.get().await.is_ok()).await;
        // The cluster's monitor has to find that out, too.
        eventually(Duration::from_secs(20), "it says so", async || pool.health() == Health::Up).await;
    });
}

#[test]
fn a_closed_pool_says_so_and_leaves_nothing() {
    on_cluster::<Driver>(2, async |cluster| {
        let pool = pool(cluster, &[]);
        let mut in_use = pool.get().await.unwrap();
        drop(pool.reader().await.unwrap());
        pool.close();
        assert!(pool.is_closed());
        for checkout in [pool.get().await, pool.reader().await, pool.writer().await] {
            assert_eq!(checkout.unwrap_err().kind(), ErrorKind::Closed);
        }
        assert_eq!(in_use.who().await.unwrap(), "instance-1");
        drop(in_use);
        assert_eq!(pool.status().size, 0);
    });
}
