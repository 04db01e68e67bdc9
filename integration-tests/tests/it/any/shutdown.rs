//! What is left when nobody needs the wrapper any more: nothing.

use std::time::Duration;

use aws_wrapper_core::error::ErrorKind;
use integration_tests::{Adapter, SOON, Session, eventually, no_task_left, on_cluster};

use tokio::time::Instant;

use super::Driver;

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn dropping_the_last_handle_ends_every_task_and_socket() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut sessions = Vec::new();
        for _ in 0..3 {
            sessions.push(Driver::connect(&connector).await.unwrap());
        }
        let services = Driver::services(&connector).clone();
        eventually(LIMIT, "the monitor has its connection", async || cluster.sockets() >= 4).await;
        let tasks = 1 + 3 * Driver::TASKS_PER_SESSION;
        assert!(services.status().running_tasks >= tasks, "{:?}", services.status());

        // A session is a handle too.
        drop((connector, services));
        let mut last = sessions.pop().unwrap();
        drop(sessions);
        last.who().await.unwrap();
        drop(last);
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        eventually(LIMIT, "no task is left", async || no_task_left()).await;
    });
}

#[test]
fn dropping_everything_in_the_middle_of_a_failover_leaves_nothing() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        cluster.down_all().await.unwrap();
        let call = tokio::time::timeout(Duration::from_millis(500), session.who());
        assert!(call.await.is_err(), "there is no host to go to");
        drop((session, connector));
        eventually(LIMIT, "no task is left", async || no_task_left()).await;
        cluster.up_all().await.unwrap();
    });
}

#[test]
fn after_a_shutdown_nothing_runs_and_nothing_hangs() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let services = Driver::services(&connector).clone();
        let mut session = Driver::connect(&connector).await.unwrap();
        services.shutdown(LIMIT).await.unwrap();
        assert_eq!(services.status().running_tasks, 0);
        assert!(services.status().tasks.is_empty(), "{:?}", services.status());
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;

        let start = Instant::now();
        let error = session.who().await.unwrap_err();
        assert!(!error.is_failover_success() && !error.connection_usable(), "{error:?}");
        let error = Driver::connect(&connector).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // Twice does no harm.
        services.shutdown(LIMIT).await.unwrap();
    });
}
