//! The driver's own connection, opened through the whole chain of plugins.

use std::time::Duration;

use aws_wrapper_core::error::{ErrorKind, Phase};
use integration_tests::{
    Adapter, Bare, Polled, SOON, Session, drop_after, eventually, no_task_left, on_cluster,
};
use tokio::time::Instant;

use super::Driver;

const LIMIT: Duration = Duration::from_secs(5);
/// No connect has so many awaits.
const MOST: u32 = 300;
const WHO: &str = <Driver as Adapter>::Session::WHO;

#[test]
fn a_stale_name_leads_to_the_writer() {
    on_cluster::<Driver>(3, async |cluster| {
        // Nobody follows the move of the name for as long as the test runs.
        cluster.set_dns("my-cluster", Some("instance-1")).await.unwrap();
        let connector = cluster.connector::<Driver>(&[]);
        let mut first = Driver::connect_driver(&connector).await.unwrap();
        assert_eq!(first.ask(WHO).await.unwrap(), "instance-1");
        let report = cluster.replace_writer().await;
        first.ask(WHO).await.unwrap_err();
        cluster.complete().await;
        // Nothing is known of the cluster, and then a lot.
        let fresh = cluster.connector::<Driver>(&[]);
        for connector in [&fresh, &fresh, &connector] {
            let start = Instant::now();
            let mut bare = Driver::connect_driver(connector).await.unwrap();
            assert_eq!(bare.ask(WHO).await.unwrap(), report.new_writer);
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        }
    });
}

#[test]
fn a_host_of_another_role_is_refused() {
    on_cluster::<Driver>(2, async |cluster| {
        let reader = cluster.instance_endpoint("instance-2");
        let mut told = String::new();
        // The second one is long enough for a busy server to answer once, so that its role is what is told.
        for limit in ["1000", "15000"] {
            let params = [
                ("verify_opened_connection_type", "writer"),
                ("open_connection_retry_timeout_ms", limit),
                ("open_connection_retry_interval_ms", "100"),
            ];
            let connector = cluster.connector_to::<Driver>(&reader, &params).unwrap();
            let error = Driver::connect_driver(&connector).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect), "{error:?}");
            told = format!("{error:?}");
            if told.contains("is a Reader, but a Writer is wanted") {
                break;
            }
        }
        assert!(told.contains("is a Reader, but a Writer is wanted"), "{told}");
        let error = Driver::connect_driver(&cluster.connector::<Driver>(&[("password", "wrong")])).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Login);
    });
}

#[test]
fn a_connect_that_is_dropped_anywhere_leaves_nothing() {
    on_cluster::<Driver>(2, async |cluster| {
        for polls in 1..=MOST {
            let connector = cluster.connector::<Driver>(&[]);
            let polled = drop_after(polls, Driver::connect_driver(&connector)).await;
            let is_through = matches!(polled, Polled::Ready(Ok(_)));
            assert!(is_through || matches!(polled, Polled::Dropped), "{polled:?}");
            drop((polled, connector));
            eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
            eventually(LIMIT, "no task is left", async || no_task_left()).await;
            if is_through {
                break;
            }
            assert!(polls < MOST);
        }
    });
}

#[test]
fn it_ends_when_it_is_dropped() {
    on_cluster::<Driver>(1, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("plugins", "none")]);
        let mut bare = Driver::connect_driver(&connector).await.unwrap();
        bare.ask(WHO).await.unwrap();
        assert_eq!(cluster.sockets(), 1);
        drop(bare);
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        assert!(Driver::services(&connector).status().connections.is_empty());
    });
}

/// Or the next one would be led to the writer of an hour ago.
#[test]
fn the_monitor_of_the_cluster_runs_on_after_it() {
    on_cluster::<Driver>(1, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let services = Driver::services(&connector).clone();
        let sessions = || services.status().clusters.first().map(|cluster| cluster.sessions);
        for _ in 0..3 {
            drop(Driver::connect_driver(&connector).await.unwrap());
            assert_eq!(sessions(), Some(1));
        }
        drop(connector);
        assert_eq!(sessions(), Some(0));
    });
}
