//! Work that a pool runs again on another connection.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_wrapper_core::error::{RetryAdvice, TransactionOutcome};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::{Error, ErrorKind, Object, Pool};
use integration_tests::{Adapter, CallError, Session, TestCluster, on_cluster};

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;
type DriverSession = <Driver as Adapter>::Session;

fn pool(cluster: &TestCluster, params: &[(&str, &str)]) -> Pool<Pooled> {
    Pool::builder(cluster.connector::<Driver>(params)).max_size(4).build().unwrap()
}

async fn run(object: &mut Object<Pooled>, sql: &str) -> Result<u64, CallError<Driver>> {
    object.run(sql).await.map_err(Driver::call_error)
}

#[test]
fn a_transaction_that_was_lost_is_run_again() {
    for plugins in ["initial_connection,tracker,failover,efm", "initial_connection"] {
        on_cluster::<Driver>(3, async |cluster| {
            cluster.log_table::<Driver>().await;
            let pool = pool(cluster, &[("plugins", plugins)]);
            let runs = AtomicU32::new(0);
            let done = pool.run(Role::Writer, RetryPolicy::default().max_runs(20), |mut client| {
                let run_number = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    run(&mut client, "BEGIN").await?;
                    run(&mut client, "INSERT INTO log VALUES (1)").await?;
                    if run_number == 0 {
                        cluster.replace_writer().await;
                    }
                    run(&mut client, "INSERT INTO log VALUES (2)").await?;
                    run(&mut client, "COMMIT").await
                }
            });
            done.await.unwrap();
            assert!(runs.load(Ordering::SeqCst) > 1);
            let mut session = pool.writer().await.unwrap();
            assert_eq!(session.ask("SELECT sum(id) FROM log").await.unwrap(), "3", "{plugins}");
        });
    }
}

#[test]
fn a_statement_that_may_have_run_is_run_again_only_if_that_does_no_harm() {
    on_cluster::<Driver>(3, async |cluster| {
        let pool = pool(cluster, &[]);
        for policy in [RetryPolicy::default(), RetryPolicy::default().idempotent()] {
            let runs = AtomicU32::new(0);
            let done: Result<String, Error> = pool
                .run(Role::Writer, policy, |mut client| {
                    let run = runs.fetch_add(1, Ordering::SeqCst);
                    async move {
                        if run > 0 {
                            return client.who().await.map_err(Driver::call_error);
                        }
                        let lost = tokio::join!(client.run(DriverSession::SLEEP), cluster.replace_writer()).0;
                        Err(Driver::call_error(lost.unwrap_err()))
                    }
                })
                .await;
            if policy.idempotent {
                assert_eq!(done.unwrap(), cluster.writer());
                continue;
            }
            let error = done.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Work, "{error:?}");
            assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement);
            assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction);
            assert!(error.statement_may_have_run() && error.work_error().unwrap().is_failover_success());
            assert_eq!(runs.load(Ordering::SeqCst), 1);
            cluster.complete().await;
        }
    });
}

#[test]
fn the_servers_own_error_comes_back_at_once() {
    on_cluster::<Driver>(1, async |cluster| {
        let pool = pool(cluster, &[]);
        let runs = AtomicU32::new(0);
        let policy = RetryPolicy::default().idempotent();
        let done = pool.run(Role::Reader, policy, |mut client| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { run(&mut client, DriverSession::FAILS).await }
        });
        let error = done.await.unwrap_err();
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Work, RetryAdvice::DoNotRetry));
        assert!(error.connect_error().is_none());
        assert_eq!(runs.load(Ordering::SeqCst), 1);

        // Neither does a checkout that cannot succeed.
        pool.close();
        let done =
            pool.run(Role::Writer, policy, |mut client| async move { run(&mut client, "SELECT 1").await });
        let error = done.await.unwrap_err();
        assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Closed, RetryAdvice::DoNotRetry));
        assert!(!error.statement_may_have_run());
    });
}
