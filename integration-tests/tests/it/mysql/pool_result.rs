//! A pool and what a connection leaves behind.

use aws_wrapper_deadpool::mysql::Pool;
use aws_wrapper_mysql::mysql_async::TxOpts;
use integration_tests::{MySql, SOON, on_cluster};
use tokio::time::Instant;

/// No connection is given up because the machine is busy.
const PATIENT: [(&str, &str); 1] = [("pool_recycle_timeout_ms", "10s")];

#[test]
fn a_result_that_was_read_in_part_does_not_disturb_the_next_user() {
    on_cluster::<MySql>(1, async |cluster| {
        let pool = Pool::builder(cluster.connector::<MySql>(&PATIENT)).max_size(1).build().unwrap();
        let start = Instant::now();
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..10 {
            let mut conn = pool.get().await.unwrap();
            ids.insert(conn.slot().id());
            let mut result = conn.query_iter("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3").await.unwrap();
            result.next().await.unwrap().unwrap();
            drop(result);
            drop(conn);
            let mut conn = pool.get().await.unwrap();
            assert_eq!(conn.query_first::<u32, _>("SELECT 7").await.unwrap(), Some(7));
        }
        assert_eq!(ids.len(), 1, "{:?}", pool.status());
        assert!(start.elapsed() < SOON, "nobody waits for what nobody reads: {:?}", start.elapsed());
    });
}

/// The driver sends the rollback with the next call, and in a pool that may be never.
#[test]
fn a_transaction_that_was_dropped_holds_no_locks() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let pool = Pool::builder(cluster.connector::<MySql>(&PATIENT)).max_size(1).build().unwrap();
        let mut conn = pool.get().await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        drop(transaction);
        let id = conn.slot().id();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_eq!((conn.slot().id(), pool.status().sub_pools[0].cleaned), (id, 1), "{:?}", pool.status());
        conn.query_drop("SET SESSION lock_wait_timeout = 3").await.unwrap();
        conn.query_drop("TRUNCATE TABLE log").await.unwrap();
    });
}
