//! The retry helpers, as services use them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::{ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_pg::tokio_postgres::IsolationLevel;
use aws_wrapper_pg::{Client, ClientHandle, Error};
use integration_tests::{Pg, Session, on_cluster, spawn};

/// What an application has at hand when it books something: nothing of it is `'static`.
struct Order {
    id: i64,
}

async fn book(client: &mut Client, order: &Order) -> Result<u64, Error> {
    client
        .retry_transaction(RetryPolicy::default(), |transaction| async move {
            transaction.execute("INSERT INTO log VALUES ($1)", &[&order.id]).await?;
            transaction.execute("INSERT INTO log VALUES ($1)", &[&(order.id + 1)]).await
        })
        .await
}

#[test]
fn closures_that_borrow_run_in_a_task() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let booked = spawn(async move {
            let mut client = connector.connect().await?;
            let order = Order { id: 1 };
            book(&mut client, &order).await?;
            let id = &order.id;
            let policy = RetryPolicy::default();
            client
                .retry_statement(policy, |client| async move {
                    client.execute("INSERT INTO log VALUES ($1)", &[id]).await
                })
                .await?;
            client.ask("SELECT sum(id) FROM log").await
        });
        assert_eq!(booked.await.unwrap().unwrap(), "4");
    });
}

#[test]
fn a_handle_kept_beyond_its_run_is_of_no_use_and_does_no_harm() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        let pid = client.ask("SELECT pg_backend_pid()").await.unwrap();
        let kept: ClientHandle = client
            .retry_transaction(RetryPolicy::default(), |transaction| async move {
                transaction.execute("INSERT INTO log VALUES (1)", &[]).await?;
                Ok(transaction)
            })
            .await
            .unwrap();
        let error = kept.execute("INSERT INTO log VALUES (2)", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionSwitched, "{error:?}");
        assert!(!error.statement_may_have_run());
        assert!(kept.cancel_token().cancel_query().await.is_err());
        assert!(kept.is_closed());
        // Neither the transaction nor the connection has suffered.
        let mut transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (4)", &[]).await.unwrap();
        transaction.savepoint("a").await.unwrap().commit().await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(client.ask("SELECT sum(id) FROM log").await.unwrap(), "5");
        assert_eq!(client.ask("SELECT pg_backend_pid()").await.unwrap(), pid);
    });
}

#[test]
fn what_a_closure_gives_up_is_rolled_back() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        let policy = RetryPolicy::default;
        let failed = client
            .retry_transaction(policy(), |transaction| async move {
                transaction.execute("INSERT INTO log VALUES (1)", &[]).await?;
                Err::<(), _>(CoreError::new(ErrorKind::Unsupported, "changed my mind").into())
            })
            .await;
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "0");

        let dropped = client.retry_transaction(policy(), |transaction| async move {
            transaction.execute("INSERT INTO log VALUES (1)", &[]).await?;
            std::future::pending::<Result<(), Error>>().await
        });
        assert!(tokio::time::timeout(Duration::from_millis(300), dropped).await.is_err());
        assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "0");
        assert_eq!(client.ask("SELECT pg_current_xact_id_if_assigned()").await.unwrap(), "");
    });
}

#[test]
fn a_lost_race_is_run_again_in_the_isolation_that_was_asked_for() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let other = Arc::new(connector.connect().await.unwrap());
        client.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        let runs = AtomicU32::new(0);
        let sum: i64 = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .retry(RetryPolicy::default(), |transaction| {
                let (run, other) = (runs.fetch_add(1, Ordering::SeqCst), Arc::clone(&other));
                async move {
                    let seen: i64 = transaction.query_one("SELECT max(id) FROM log", &[]).await?.get(0);
                    if run == 0 {
                        other.execute("UPDATE log SET id = id + 1", &[]).await?;
                    }
                    transaction.execute("UPDATE log SET id = id + 10", &[]).await?;
                    Ok(seen)
                }
            })
            .await
            .unwrap();
        assert_eq!((sum, runs.load(Ordering::SeqCst)), (2, 2));
        assert_eq!(client.ask("SELECT max(id) FROM log").await.unwrap(), "12");
    });
}

#[test]
fn a_statement_that_may_have_run_is_repeated_only_if_that_does_no_harm() {
    on_cluster::<Pg>(3, async |cluster| {
        cluster.log_table::<Pg>().await;
        let client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        for (policy, expected) in [(RetryPolicy::default(), 1), (RetryPolicy::default().idempotent(), 2)] {
            let runs = AtomicU32::new(0);
            let lost = client
                .retry_statement(policy, |client| {
                    let run = runs.fetch_add(1, Ordering::SeqCst);
                    async move {
                        let statement = client.query_one("SELECT pg_sleep(60)", &[]);
                        if run > 0 {
                            return Ok(());
                        }
                        // It has been handed to the connection when the writer dies.
                        tokio::join!(statement, cluster.replace_writer()).0.map(drop)
                    }
                })
                .await;
            assert_eq!(runs.load(Ordering::SeqCst), expected, "{lost:?}");
            match lost {
                Ok(()) => assert!(policy.idempotent),
                Err(error) => {
                    assert!(error.statement_may_have_run(), "{error:?}");
                    assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement);
                    assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction);
                }
            }
            cluster.complete().await;
        }
    });
}
