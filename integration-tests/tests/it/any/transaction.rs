//! Transactions that a failover meets.

use std::time::Duration;

use aurora_sim::FailoverOptions;
use aws_wrapper_core::error::TransactionOutcome;
use integration_tests::{Adapter, Expected, Session, eventually, on_cluster, spawn, switched};
use tokio::time::sleep;

use super::Driver;

/// The commit was answered, and only the transaction behind it was lost. Where calls are pipelined this is too cautious:
/// no answer says that none is open, and taking a commit for answered that was not would be worse.
const CHAINED: TransactionOutcome = if <Driver as Adapter>::Session::PIPELINES {
    TransactionOutcome::Unknown
} else {
    TransactionOutcome::RolledBack
};
const FAILS: &str = <Driver as Adapter>::Session::FAILS;

#[test]
fn an_open_transaction_is_rolled_back() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        let report = cluster.replace_writer().await;
        let error = session.run("INSERT INTO log VALUES (2)").await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key(&report.new_writer),
                transaction: TransactionOutcome::RolledBack,
            },
        );
        // The new connection is in no transaction, and nothing of the old one is there.
        assert_eq!(session.ask("SELECT count(*) FROM log").await.unwrap(), "0");
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (3)").await.unwrap();
        session.run("COMMIT").await.unwrap();
        assert_eq!(session.ask("SELECT sum(id) FROM log").await.unwrap(), "3");
    });
}

#[test]
fn a_failed_statement_and_a_savepoint_do_not_hide_the_transaction() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut sessions = Vec::new();
        for (statements, outcome) in [
            (&["BEGIN", FAILS][..], TransactionOutcome::RolledBack),
            (&["BEGIN", "SAVEPOINT a", FAILS, "ROLLBACK TO a"], TransactionOutcome::RolledBack),
            (&["BEGIN", "COMMIT AND CHAIN"], CHAINED),
        ] {
            let mut session = Driver::connect(&connector).await.unwrap();
            for statement in statements {
                // One of them fails as it should.
                let _ = session.run(statement).await;
            }
            sessions.push((session, statements, outcome));
        }
        cluster.replace_writer().await;
        for (mut session, statements, outcome) in sessions {
            let error = session.who().await.unwrap_err();
            assert_eq!(error.transaction_outcome(), outcome, "{statements:?}: {error:?}");
            session.who().await.unwrap();
        }
    });
}

#[test]
fn a_transaction_that_was_over_does_not_count() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut sessions = Vec::new();
        for end in ["COMMIT", "ROLLBACK"] {
            let mut session = Driver::connect(&connector).await.unwrap();
            session.run("BEGIN").await.unwrap();
            session.run(end).await.unwrap();
            sessions.push(session);
        }
        cluster.replace_writer().await;
        for mut session in sessions {
            let error = session.who().await.unwrap_err();
            assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        }
    });
}

/// The answer to the commit never arrives: the network swallows it, then the writer dies.
#[test]
fn a_commit_under_way_has_an_unknown_outcome() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        // The commit takes a second to get there.
        cluster.latency("instance-1", Duration::from_secs(1)).await.unwrap();
        let call = spawn(async move { (session.run("COMMIT").await.unwrap_err(), session) });
        sleep(Duration::from_millis(200)).await;
        let options = FailoverOptions::default().to("instance-2").restart_old(false);
        cluster.failover(options).await.unwrap();
        let (error, mut session) = call.await.unwrap();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-2"),
                transaction: TransactionOutcome::Unknown,
            },
        );
        assert!(error.failover_report().unwrap().commit_in_flight);
        // Here it did not happen; in the next test it does. The error is the same.
        assert_eq!(session.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

#[test]
fn a_commit_that_happened_without_an_answer_has_an_unknown_outcome() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let mut witness = cluster.admin::<Driver>("instance-2").await;
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        cluster.latency("instance-1", Duration::from_millis(500)).await.unwrap();
        let call = spawn(async move { (session.run("COMMIT").await.unwrap_err(), session) });
        eventually(Duration::from_secs(5), "the row is committed", async || {
            witness.ask("SELECT count(*) FROM log").await.unwrap() == "1"
        })
        .await;
        // The answer is on its way back for half a second; the network loses it.
        cluster.blackhole("instance-1").await.unwrap();
        cluster.failover(FailoverOptions::default().to("instance-2").restart_old(false)).await.unwrap();
        cluster.heal("instance-1").await.unwrap();
        let (error, mut session) = call.await.unwrap();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
        assert_eq!(session.ask("SELECT count(*) FROM log").await.unwrap(), "1");
    });
}

/// A single statement that commits by itself is no transaction, but it may have run.
#[test]
fn a_statement_of_its_own_is_no_transaction() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        cluster.latency("instance-1", Duration::from_secs(1)).await.unwrap();
        let call = spawn(async move { session.run("INSERT INTO log VALUES (1)").await.unwrap_err() });
        sleep(Duration::from_millis(200)).await;
        cluster.failover(FailoverOptions::default().restart_old(false)).await.unwrap();
        let error = call.await.unwrap();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        assert!(error.is_failover_success() && error.statement_may_have_run(), "{error:?}");
    });
}
