//! What a pool of tokio-postgres connections has to know to hand a session on.

use std::time::Duration;

use aws_wrapper_deadpool::PoolReset;
use aws_wrapper_deadpool::pg::Pool;
use futures_util::StreamExt;
use integration_tests::{Pg, Session, TestCluster, on_cluster};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);
const CHANNELS: &str = "SELECT count(*) FROM pg_listening_channels()";

/// A pool with one connection, which is not given up because the machine is busy.
fn pool(cluster: &TestCluster, reset: PoolReset) -> Pool {
    let builder = Pool::builder(cluster.connector::<Pg>(&[])).max_size(1).reset(reset);
    builder.recycle_timeout(Duration::from_secs(10)).build().unwrap()
}

fn cleaned(pool: &Pool) -> u64 {
    pool.status().sub_pools.iter().map(|sub| sub.cleaned).sum()
}

#[test]
fn an_untouched_session_costs_no_round_trip() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let mut admin = cluster.admin::<Pg>("instance-1").await;
        let pool = pool(cluster, PoolReset::Auto);
        let mut client = pool.get().await.unwrap();
        client.execute("INSERT INTO log (id) SELECT count(*) FROM log", &[]).await.unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction.execute("UPDATE log SET id = id + $1", &[&1_i64]).await.unwrap();
        transaction.commit().await.unwrap();
        let pid = client.ask("SELECT pg_backend_pid()").await.unwrap();
        // It changes with everything the server hears of the session.
        let trace = format!("SELECT state_change FROM pg_stat_activity WHERE pid = {pid}");
        let before = admin.ask(&trace).await.unwrap();
        let id = client.slot().id();
        drop(client);
        for _ in 0..5 {
            assert_eq!(pool.status().available, 1, "it goes back at once");
            assert_eq!(pool.get().await.unwrap().slot().id(), id);
        }
        assert_eq!((admin.ask(&trace).await.unwrap(), cleaned(&pool)), (before.clone(), 0));
        pool.get().await.unwrap().batch_execute("SELECT 1").await.unwrap();
        assert_ne!(admin.ask(&trace).await.unwrap(), before);
    });
}

#[test]
fn channels_of_one_user_are_not_listened_to_for_the_next() {
    on_cluster::<Pg>(3, async |cluster| {
        let pool = pool(cluster, PoolReset::Auto);
        let client = pool.writer().await.unwrap();
        client.listen("news").await.unwrap();
        let mut notifications = client.notifications();
        drop(client);
        assert!(
            timeout(LIMIT, notifications.next()).await.unwrap().is_none(),
            "the stream ends with its use"
        );
        let mut client = pool.writer().await.unwrap();
        assert_eq!(client.ask(CHANNELS).await.unwrap(), "0");
        cluster.replace_writer().await;
        assert!(client.ask(CHANNELS).await.unwrap_err().is_failover_success());
        assert_eq!(client.ask(CHANNELS).await.unwrap(), "0", "nor on the connection that takes its place");
    });
}

#[test]
fn a_stream_of_notifications_is_not_the_next_users() {
    on_cluster::<Pg>(1, async |cluster| {
        let pool = pool(cluster, PoolReset::Auto);
        let client = pool.get().await.unwrap();
        let mut notifications = client.notifications();
        drop(client);
        let client = pool.get().await.unwrap();
        client.listen("news").await.unwrap();
        client.batch_execute("NOTIFY news").await.unwrap();
        assert!(timeout(LIMIT, notifications.next()).await.unwrap().is_none());
    });
}

#[test]
fn prepared_statements_survive_the_reset() {
    on_cluster::<Pg>(1, async |cluster| {
        let pool = pool(cluster, PoolReset::Always);
        let mut client = pool.get().await.unwrap();
        let statement = client.prepare("SELECT $1::int4 + 1").await.unwrap();
        let count = "SELECT count(*) FROM pg_prepared_statements";
        let before = client.ask(count).await.unwrap();
        assert_ne!(before, "0");
        for number in 0..3 {
            drop(client);
            client = pool.get().await.unwrap();
            let row = client.query_one(&statement, &[&number]).await.unwrap();
            assert_eq!(
                (row.get::<_, i32>(0), client.ask(count).await.unwrap()),
                (number + 1, before.clone())
            );
        }
        assert_eq!(cleaned(&pool), 3);
    });
}

#[test]
fn a_role_that_belongs_to_the_user_comes_back() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut admin = cluster.admin::<Pg>("instance-1").await;
        for sql in [
            "CREATE ROLE own",
            "CREATE ROLE other",
            "GRANT own, other TO app",
            "ALTER ROLE app SET role = own",
        ] {
            admin.run(sql).await.unwrap();
        }
        let pool = pool(cluster, PoolReset::Auto);
        let mut client = pool.get().await.unwrap();
        assert_eq!(client.ask("SELECT current_user").await.unwrap(), "own");
        client.batch_execute("SET ROLE other").await.unwrap();
        drop(client);
        assert_eq!(pool.get().await.unwrap().ask("SELECT current_user").await.unwrap(), "own");
        assert_eq!(cleaned(&pool), 1);
    });
}

/// The driver's own stream is out of sight, and the connection cannot be used until it is read.
#[test]
fn a_stream_of_the_driver_holds_up_nobody() {
    on_cluster::<Pg>(1, async |cluster| {
        let connector = cluster.connector::<Pg>(&[("pool_recycle_timeout_ms", "500")]);
        let pool = Pool::builder(connector).max_size(1).build().unwrap();
        let client = pool.get().await.unwrap();
        let copy = client.copy_out("COPY (SELECT generate_series(1, 500000)) TO STDOUT").await.unwrap();
        let stream = copy.into_driver();
        drop(client);
        let mut next = pool.get().await.unwrap();
        assert_eq!(timeout(LIMIT, next.ask("SELECT 1")).await.unwrap().unwrap(), "1");
        drop(stream);
    });
}
