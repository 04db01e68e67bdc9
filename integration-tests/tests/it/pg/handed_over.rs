//! The driver's own client, and what becomes of it: the services run its connection and see its bytes.

use std::time::Duration;

use aws_wrapper_pg::pg_error;
use aws_wrapper_pg::tokio_postgres::Client;
use integration_tests::{Bare, Pg, SOON, Session, eventually, no_task_left, on_cluster, spawn};
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(5);
/// Two looks at the topology follow each other so quickly.
const FAST: (&str, &str) = ("cluster_topology_refresh_rate_ms", "100");
/// A silent host is found dead after half a second.
const QUICK: &[(&str, &str)] = &[
    ("failure_detection_time_ms", "200"),
    ("failure_detection_interval_ms", "100"),
    ("failure_detection_count", "3"),
];

async fn ends(client: &Client) {
    eventually(LIMIT, "the connection ends", async || client.is_closed()).await;
}

#[test]
fn a_shutdown_of_the_services_ends_it() {
    on_cluster::<Pg>(2, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect_driver().await.unwrap();
        let services = connector.services().clone();
        assert!(
            services.status().connections.contains_key(&cluster.key("instance-1")),
            "{:?}",
            services.status()
        );
        services.shutdown(LIMIT).await.unwrap();
        ends(&client).await;
        client.ask("SELECT 1").await.unwrap_err();
        assert_eq!(services.status().running_tasks, 0);
    });
}

#[test]
fn the_last_handle_on_the_services_takes_it_along() {
    on_cluster::<Pg>(1, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect_driver().await.unwrap();
        let services = connector.services().clone();
        drop(connector);
        assert_eq!(client.ask("SELECT 1").await.unwrap(), "1", "one is left");
        drop(services);
        ends(&client).await;
        eventually(LIMIT, "no task is left", async || no_task_left()).await;
    });
}

/// A bare synchronization is answered by nothing but a second word that the server is ready.
#[test]
fn every_method_of_the_driver_is_answered() {
    on_cluster::<Pg>(1, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect_driver().await.unwrap();
        for _ in 0..3 {
            timeout(SOON, client.check_connection()).await.expect("it is answered").unwrap();
            assert_eq!(client.ask("SELECT 1").await.unwrap(), "1");
        }
        let transaction = client.transaction().await.unwrap();
        let one: i32 = transaction.query_one("SELECT $1::int4", &[&1]).await.unwrap().get(0);
        transaction.commit().await.unwrap();
        assert_eq!(one, 1);
    });
}

#[test]
fn it_is_closed_when_its_host_is_not_the_writer_any_more() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[FAST]);
        let idle = connector.connect_driver().await.unwrap();
        let busy = connector.connect_driver().await.unwrap();
        let between = connector.connect_driver().await.unwrap();
        between.batch_execute("BEGIN; SELECT 1").await.unwrap();
        // A call that lasts until the administrator lets it go, and then has a long answer.
        let mut admin = cluster.admin::<Pg>("instance-1").await;
        admin.ask("SELECT pg_catalog.pg_advisory_lock(7)").await.unwrap();
        let sql = "SELECT pg_catalog.pg_advisory_lock(7) FROM pg_catalog.generate_series(1, 10000)";
        let call = spawn(async move { (busy.simple_query(sql).await.map(|rows| rows.len()), busy) });
        let waiting = "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND NOT granted";
        eventually(LIMIT, "the call waits", async || admin.ask(waiting).await.unwrap() == "1").await;

        cluster.switchover(Some("instance-2")).await.unwrap();
        ends(&idle).await;
        assert!(!call.is_finished() && !between.is_closed(), "these are in use");
        admin.ask("SELECT pg_catalog.pg_advisory_unlock(7)").await.unwrap();
        let (rows, busy) = call.await.unwrap();
        assert!(rows.expect("a call is not cut") >= 10_000);
        ends(&busy).await;
        between.batch_execute("SELECT 1").await.expect("nor is a transaction");
        between.batch_execute("ROLLBACK").await.unwrap();
        ends(&between).await;
        let mut next = connector.connect_driver().await.unwrap();
        assert_eq!(next.ask(<aws_wrapper_pg::Client as Session>::WHO).await.unwrap(), "instance-2");
    });
}

#[test]
fn a_call_on_a_host_that_falls_silent_ends() {
    on_cluster::<Pg>(2, async |cluster| {
        let connector = cluster.connector::<Pg>(QUICK);
        let mut client = connector.connect_driver().await.unwrap();
        client.ask("SELECT 1").await.unwrap();
        cluster.freeze("instance-1").await.unwrap();
        let start = Instant::now();
        let answer = timeout(SOON * 2, client.ask("SELECT 1")).await.expect("it ends");
        answer.unwrap_err();
        assert!(start.elapsed() >= Duration::from_millis(400), "{:?}", start.elapsed());
        cluster.thaw("instance-1").await.unwrap();
    });
}

#[test]
fn an_error_of_connecting_has_the_drivers_inside() {
    on_cluster::<Pg>(1, async |cluster| {
        let connector = cluster.connector::<Pg>(&[("dbname", "nowhere")]);
        let error = connector.connect_driver().await.map(drop).unwrap_err();
        assert_eq!(pg_error(&error).unwrap().code().unwrap().code(), "3D000");
    });
}
