//! A pool and what a client lends.

use std::pin::pin;
use std::time::Duration;

use aws_wrapper_deadpool::pg::Pool;
use futures_util::TryStreamExt;
use integration_tests::{Pg, on_cluster};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);
const NOTHING: [&str; 0] = [];

#[test]
fn a_connection_from_which_rows_are_still_read_does_not_go_back() {
    on_cluster::<Pg>(1, async |cluster| {
        let pool = Pool::builder(cluster.connector::<Pg>(&[])).max_size(1).build().unwrap();
        let client = pool.get().await.unwrap();
        let rows = client.query_raw("SELECT generate_series(1, 200000)", NOTHING).await.unwrap();
        drop(client);
        assert_eq!(pool.status().sub_pools[0].discarded.get("busy"), Some(&1), "{:?}", pool.status());
        // The next one does not wait for somebody to read the rows, which can all be read.
        let next = pool.get().await.unwrap();
        timeout(LIMIT, next.query_one("SELECT 1", &[])).await.unwrap().unwrap();
        let mut rows = pin!(rows);
        let mut count = 0;
        while let Some(_row) = rows.try_next().await.unwrap() {
            count += 1;
        }
        assert_eq!(count, 200_000);
    });
}

#[test]
fn a_transaction_that_was_dropped_is_rolled_back_and_its_connection_used_again() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let pool =
            Pool::builder(cluster.connector::<Pg>(&[])).max_size(1).recycle_timeout(LIMIT).build().unwrap();
        let mut ids = std::collections::BTreeSet::new();
        for _ in 0..20 {
            let mut client = pool.get().await.unwrap();
            ids.insert(client.slot().id());
            let transaction = client.transaction().await.unwrap();
            transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        }
        assert_eq!(ids.len(), 1, "{:?}", pool.status());
        let client = pool.get().await.unwrap();
        let row = client.query_one("SELECT count(*) FROM log", &[]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    });
}

#[test]
fn parameters_of_the_pool_stand_in_the_url_and_the_builder_wins() {
    on_cluster::<Pg>(1, async |cluster| {
        let params = [("pool_max_size", "3"), ("pool_wait_timeout_ms", "50")];
        let pool = Pool::builder(cluster.connector::<Pg>(&params)).max_size(2).build().unwrap();
        let both = [pool.get().await.unwrap(), pool.get().await.unwrap()];
        pool.get().await.unwrap_err();
        drop(both);
    });
}
