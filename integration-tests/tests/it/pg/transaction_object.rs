//! The driver's transaction objects in a failover.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_core::error::{ErrorKind, FailoverOutcome, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use integration_tests::{Expected, Pg, Session, eventually, failovers, on_cluster, switched};

#[test]
fn a_transaction_fails_once_and_the_client_goes_on() {
    on_cluster::<Pg>(3, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut events = connector.services().subscribe();
        let mut client = connector.connect().await.unwrap();
        let mut transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        let savepoint = transaction.transaction().await.unwrap();
        savepoint.execute("INSERT INTO log VALUES (2)", &[]).await.unwrap();
        let report = cluster.replace_writer().await;
        let error = savepoint.execute("INSERT INTO log VALUES (3)", &[]).await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key(&report.new_writer),
                transaction: TransactionOutcome::RolledBack,
            },
        );
        // What belongs to the lost connection stays lost, and says so without another failover.
        for _ in 0..2 {
            let error = savepoint.execute("INSERT INTO log VALUES (4)", &[]).await.unwrap_err();
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        }
        drop(savepoint);
        let error = transaction.commit().await.unwrap_err();
        assert_ne!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        assert_eq!(
            failovers(&mut events),
            (
                1,
                vec![FailoverOutcome::Succeeded; 0]
                    .into_iter()
                    .chain([FailoverOutcome::TransactionUnknown])
                    .collect()
            )
        );

        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (5)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(client.ask("SELECT sum(id) FROM log").await.unwrap(), "5");
    });
}

#[test]
fn a_lost_commit_of_a_transaction_object_is_unknown() {
    on_cluster::<Pg>(3, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let mut witness = cluster.admin::<Pg>("instance-2").await;
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        cluster.latency("instance-1", Duration::from_millis(500)).await.unwrap();
        let lose = async {
            eventually(Duration::from_secs(5), "the row is committed", async || {
                witness.ask("SELECT count(*) FROM log").await.unwrap() == "1"
            })
            .await;
            cluster.blackhole("instance-1").await.unwrap();
            cluster.replace_writer().await;
            cluster.heal("instance-1").await.unwrap();
        };
        let (committed, ()) = tokio::join!(transaction.commit(), lose);
        let error = committed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::TransactionUnknown), "{error:?}");
        assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
        assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "1");
    });
}

#[test]
fn a_transaction_that_was_rolled_back_is_run_again_and_an_unknown_one_is_not() {
    on_cluster::<Pg>(3, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let runs = AtomicU32::new(0);
        let done = client
            .retry_transaction(RetryPolicy::default(), |transaction| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    transaction.execute("INSERT INTO log VALUES (1)", &[]).await?;
                    if run == 0 {
                        cluster.replace_writer().await;
                    }
                    transaction.execute("INSERT INTO log VALUES (2)", &[]).await
                }
            })
            .await;
        assert_eq!(done.unwrap(), 1);
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(client.ask("SELECT sum(id) FROM log").await.unwrap(), "3");

        // The answer to the commit is lost: nobody knows, so nothing is repeated.
        cluster.complete().await;
        let writer = cluster.writer();
        let mut witness = cluster.admin::<Pg>(&cluster.readers()[0]).await;
        let runs = AtomicU32::new(0);
        cluster.latency(&writer, Duration::from_millis(300)).await.unwrap();
        let lose = async {
            eventually(Duration::from_secs(10), "the row is committed", async || {
                witness.ask("SELECT count(*) FROM log").await.unwrap() == "3"
            })
            .await;
            cluster.blackhole(&writer).await.unwrap();
            cluster.replace_writer().await;
            cluster.heal(&writer).await.unwrap();
        };
        let run = client.retry_transaction(RetryPolicy::default(), |transaction| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { transaction.execute("INSERT INTO log VALUES (4)", &[]).await }
        });
        let (done, ()) = tokio::join!(run, lose);
        assert_eq!(done.unwrap_err().transaction_outcome(), TransactionOutcome::Unknown);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(client.ask("SELECT sum(id) FROM log").await.unwrap(), "7");
    });
}
