//! The server ends one session; the host is fine.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, TransactionOutcome};
use integration_tests::{Expected, Pg, SOON, Session, eventually, host_down, on_cluster, switched};
use tokio::time::{Instant, timeout};

#[test]
fn a_session_that_was_idle_for_too_long_goes_on_at_the_same_host() {
    terminated("SET idle_session_timeout = 100", TransactionOutcome::NotInTransaction);
}

#[test]
fn a_transaction_that_was_idle_for_too_long_is_rolled_back() {
    terminated("BEGIN; SET LOCAL idle_in_transaction_session_timeout = 100", TransactionOutcome::RolledBack);
}

fn terminated(sql: &str, transaction: TransactionOutcome) {
    on_cluster::<Pg>(3, async |cluster| {
        for reads in [false, true] {
            let host = if reads { cluster.reader_endpoint() } else { cluster.endpoint() };
            let connector = cluster.connector_to::<Pg>(&host, &[]).unwrap();
            let mut events = connector.services().subscribe();
            let mut session = connector.connect().await.unwrap();
            let instance = session.who().await.unwrap();
            session.ask(sql).await.unwrap();
            timeout(Duration::from_secs(5), session.slot().wait_ended())
                .await
                .expect("the server ends the session");

            let error = session.who().await.unwrap_err();
            let key = cluster.key(&instance);
            switched(&error, &Expected { old: key.clone(), new: key, transaction });
            let report = error.failover_report().unwrap();
            assert_eq!(report.attempts, 1, "the host itself is asked first: {report:?}");
            assert_eq!(session.who().await.unwrap(), instance);
            let down = host_down(&mut events);
            assert!(down.is_empty(), "the host is not to blame: {down:?}");
        }
    });
}

/// An administrator's message looks the same for one session and for a whole server; the host is asked again.
#[test]
fn a_session_ended_by_an_administrator_goes_on_at_the_same_writer() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut events = connector.services().subscribe();
        let mut session = connector.connect().await.unwrap();
        let mut admin = cluster.admin::<Pg>("instance-1").await;
        let mine = session.ask("SELECT pg_backend_pid()").await.unwrap();
        admin.ask(&format!("SELECT pg_terminate_backend({mine})")).await.unwrap();
        timeout(Duration::from_secs(5), session.slot().wait_ended())
            .await
            .expect("the server ends the session");
        let start = Instant::now();
        let error = session.who().await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-1"),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(session.who().await.unwrap(), "instance-1");
        let down = host_down(&mut events);
        assert!(down.is_empty(), "the host is well: {down:?}");
    });
}

/// A reader has to replay that a table is gone, and ends the session that still reads it.
#[test]
fn a_session_in_the_way_of_the_replication_goes_on_at_the_same_reader() {
    on_cluster::<Pg>(2, async |cluster| {
        cluster.log_table::<Pg>().await;
        let mut reader = cluster.admin::<Pg>("instance-2").await;
        reader.ask("ALTER SYSTEM SET max_standby_streaming_delay = 0").await.unwrap();
        reader.ask("SELECT pg_reload_conf()").await.unwrap();
        eventually(Duration::from_secs(10), "the table and the setting are there", async || {
            let there =
                "SELECT to_regclass('log') IS NOT NULL, current_setting('max_standby_streaming_delay') = '0'";
            let row = reader.query_one(there, &[]).await.unwrap();
            row.get(0) && row.get(1)
        })
        .await;
        let connector = cluster.reader_connector::<Pg>(&[]);
        let mut events = connector.services().subscribe();
        let mut session = connector.connect().await.unwrap();
        session.ask("BEGIN; SELECT count(*) FROM log").await.unwrap();
        let mut writer = cluster.admin::<Pg>("instance-1").await;
        writer.ask("DROP TABLE log").await.unwrap();
        timeout(Duration::from_secs(20), session.slot().wait_ended())
            .await
            .expect("the server ends the session");
        let reason = session.slot().end_reason().cloned().unwrap();
        assert_eq!(reason.sqlstate.as_deref(), Some("40001"), "{reason:?}");
        assert_eq!(reason.class, DriverClass::SessionTerminated, "{reason:?}");
        let error = session.who().await.unwrap_err();
        let key = cluster.key("instance-2");
        switched(
            &error,
            &Expected { old: key.clone(), new: key, transaction: TransactionOutcome::RolledBack },
        );
        assert_eq!(session.who().await.unwrap(), "instance-2");
        let down = host_down(&mut events);
        assert!(down.is_empty(), "the host is well: {down:?}");
    });
}
