//! Calls that are dropped: the rest of an answer must never be taken for the answer of another call.

use std::time::Duration;

use aws_wrapper_core::error::TransactionOutcome;
use integration_tests::{Expected, MySql, Session, eventually, host_down, on_cluster, switched};
use tokio::time::timeout;

use super::silence::Fault;

#[test]
fn a_dropped_call_costs_the_connection_and_one_error_but_not_the_host() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut session = connector.connect().await.unwrap();
        let mut events = connector.services().subscribe();
        for fault in [Fault::Freeze, Fault::BlackHole] {
            fault.begin(cluster, "instance-1").await;
            assert!(timeout(Duration::from_millis(200), session.ask("SELECT 'dropped'")).await.is_err());
            fault.end(cluster, "instance-1").await;
            let error = session.ask("SELECT 'refused'").await.unwrap_err();
            let expected = Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-1"),
                transaction: TransactionOutcome::NotInTransaction,
            };
            switched(&error, &expected);
            assert!(!error.statement_may_have_run(), "the second call was not sent: {error:?}");
            assert_eq!(session.ask("SELECT 'kept'").await.unwrap(), "kept", "{fault:?}");
        }
        assert!(host_down(&mut events).is_empty(), "the host is fine");
    });
}

#[test]
fn a_call_dropped_in_a_transaction_takes_the_transaction_with_it() {
    on_cluster::<MySql>(2, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut session = connector.connect().await.unwrap();
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        assert!(timeout(Duration::from_millis(100), session.ask("SELECT SLEEP(60)")).await.is_err());
        let error = session.ask("SELECT 1").await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        assert_eq!(session.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

/// Nobody fails over here: the call after the dropped one says what happened, the one after that works.
#[test]
fn without_a_plugin_the_connection_is_replaced_after_one_error() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        let mut session = connector.connect().await.unwrap();
        for _ in 0..3 {
            assert!(timeout(Duration::from_millis(100), session.ask("SELECT SLEEP(60)")).await.is_err());
            let error = session.ask("SELECT 1").await.unwrap_err();
            assert!(error.to_string().contains("dropped"), "{error}");
            assert_eq!(session.ask("SELECT 2").await.unwrap(), "2");
        }
        drop(session);
        eventually(Duration::from_secs(5), "no socket is left", async || cluster.sockets() == 0).await;
    });
}
