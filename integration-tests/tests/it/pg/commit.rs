//! `Ok` to a commit means that the server said so.

use std::error::Error as _;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_deadpool::pg::Pool;
use aws_wrapper_pg::tokio_postgres::types::ToSql;
use aws_wrapper_pg::{Client, Error, Result};
use futures_util::{StreamExt, TryStreamExt};
use integration_tests::{Pg, Session, TestCluster, on_cluster};

const NO_PARAMS: [&(dyn ToSql + Sync); 0] = [];
const FAILS: &str = "SELECT 1/0";
const FAILS_WITH: &str = "22012";

/// Every way in which a text can be executed.
const WAYS: &[&str] = &[
    "batch_execute",
    "simple_query",
    "simple_query_raw",
    "execute",
    "execute_raw",
    "execute_typed",
    "query",
    "query_opt",
    "query_raw",
    "query_typed",
    "query_typed_opt",
    "query_typed_raw",
    "statement",
    "statement, raw",
];

async fn run(client: &Client, way: &str, sql: &str) -> Result<()> {
    match way {
        "batch_execute" => client.batch_execute(sql).await,
        "simple_query" => client.simple_query(sql).await.map(drop),
        "simple_query_raw" => {
            client.simple_query_raw(sql).await?.try_for_each(|_| std::future::ready(Ok(()))).await
        }
        "execute" => client.execute(sql, &[]).await.map(drop),
        "execute_raw" => client.execute_raw(sql, NO_PARAMS).await.map(drop),
        "execute_typed" => client.execute_typed(sql, &[]).await.map(drop),
        "query" => client.query(sql, &[]).await.map(drop),
        "query_opt" => client.query_opt(sql, &[]).await.map(drop),
        "query_raw" => {
            client.query_raw(sql, NO_PARAMS).await?.try_for_each(|_| std::future::ready(Ok(()))).await
        }
        "query_typed" => client.query_typed(sql, &[]).await.map(drop),
        "query_typed_opt" => client.query_typed_opt(sql, &[]).await.map(drop),
        "query_typed_raw" => {
            let rows = client.query_typed_raw::<&(dyn ToSql + Sync), _>(sql, []).await?;
            rows.try_for_each(|_| std::future::ready(Ok(()))).await
        }
        "statement" => {
            let statement = client.prepare(sql).await?;
            client.execute(&statement, &[]).await.map(drop)
        }
        _ => {
            let statement = client.prepare(sql).await?;
            let rows = client.query_raw(&statement, NO_PARAMS).await?;
            rows.try_for_each(|_| std::future::ready(Ok(()))).await
        }
    }
}

fn is_refused(error: &Error, cause: &str, advice: RetryAdvice) {
    assert_eq!(error.kind(), ErrorKind::RolledBack, "{error:?}");
    assert_eq!(error.sqlstate(), Some("40000"), "{error:?}");
    assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
    assert_eq!(error.retry_advice(), advice, "{error:?}");
    assert!(error.connection_usable(), "{error:?}");
    let source = error.source().and_then(|source| source.downcast_ref::<CoreError>());
    assert_eq!(source.and_then(CoreError::sqlstate), Some(cause), "{error:?}");
}

async fn rows(client: &Client) -> i64 {
    client.query_one_scalar("SELECT count(*) FROM log", &[]).await.unwrap()
}

async fn connect(cluster: &TestCluster) -> Client {
    cluster.log_table::<Pg>().await;
    cluster.connector::<Pg>(&[]).connect().await.unwrap()
}

#[test]
fn a_transaction_with_an_ignored_error_cannot_be_committed() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        for _ in 0..2 {
            let transaction = client.transaction().await.unwrap();
            transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
            let _ = transaction.execute(FAILS, &[]).await;
            // This one is not the cause.
            let _ = transaction.execute("SELECT 1", &[]).await;
            let error = transaction.commit().await.unwrap_err();
            is_refused(&error, FAILS_WITH, RetryAdvice::DoNotRetry);
            assert_eq!(client.transaction_state(), TransactionState::Idle);
            assert_eq!(rows(&client).await, 0);
        }
        // A savepoint undoes the error.
        let mut transaction = client.transaction().await.unwrap();
        let savepoint = transaction.transaction().await.unwrap();
        savepoint.execute(FAILS, &[]).await.unwrap_err();
        savepoint.rollback().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(rows(&client).await, 1);
    });
}

#[test]
fn a_savepoint_of_a_failed_transaction_cannot_be_kept_and_nor_can_the_transaction() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        let mut transaction = client.transaction().await.unwrap();
        let savepoint = transaction.transaction().await.unwrap();
        savepoint.execute(FAILS, &[]).await.unwrap_err();
        let error = savepoint.commit().await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("25P02"), "{error:?}");
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        is_refused(&transaction.commit().await.unwrap_err(), FAILS_WITH, RetryAdvice::DoNotRetry);
    });
}

#[test]
fn a_row_that_failed_after_its_stream_was_dropped_is_not_forgotten() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        {
            let sql = "SELECT 1/(50000 - x) FROM generate_series(1, 100000) AS x";
            let mut rows = pin!(transaction.query_raw(sql, NO_PARAMS).await.unwrap());
            rows.next().await.unwrap().unwrap();
        }
        is_refused(&transaction.commit().await.unwrap_err(), FAILS_WITH, RetryAdvice::DoNotRetry);
        assert_eq!(rows(&client).await, 0);
    });
}

#[test]
fn a_commit_in_text_fails_in_every_way_of_execution_when_it_is_refused() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        for way in WAYS {
            for commit in ["COMMIT", "end;", "PREPARE TRANSACTION 'a'", "COMMIT AND CHAIN"] {
                client.batch_execute("BEGIN; INSERT INTO log VALUES (1)").await.unwrap();
                client.batch_execute(FAILS).await.unwrap_err();
                let error = run(&client, way, commit).await.map(|()| panic!("{way}: {commit}")).unwrap_err();
                is_refused(&error, FAILS_WITH, RetryAdvice::DoNotRetry);
                if commit == "COMMIT AND CHAIN" {
                    assert_eq!(client.transaction_state(), TransactionState::InTransaction, "{way}");
                    client.batch_execute("ROLLBACK").await.unwrap();
                }
                assert_eq!(client.transaction_state(), TransactionState::Idle, "{way}: {commit}");
            }
            for commit in ["COMMIT", "END", "COMMIT AND CHAIN"] {
                client.batch_execute("BEGIN; INSERT INTO log VALUES (1)").await.unwrap();
                run(&client, way, commit).await.unwrap();
                client.batch_execute("ROLLBACK").await.unwrap();
            }
            run(&client, way, "COMMIT").await.unwrap();
        }
        assert_eq!(usize::try_from(rows(&client).await).unwrap(), 3 * WAYS.len());
    });
}

#[test]
fn a_commit_in_text_inside_a_transaction_object_fails_when_it_is_refused() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        for way in ["batch_execute", "simple_query", "execute", "query", "query_raw", "query_typed"] {
            let transaction = client.transaction().await.unwrap();
            transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
            transaction.execute(FAILS, &[]).await.unwrap_err();
            let done = match way {
                "batch_execute" => transaction.batch_execute("COMMIT").await,
                "simple_query" => transaction.simple_query("COMMIT").await.map(drop),
                "execute" => transaction.execute("COMMIT", &[]).await.map(drop),
                "query" => transaction.query("COMMIT", &[]).await.map(drop),
                "query_typed" => transaction.query_typed("COMMIT", &[]).await.map(drop),
                _ => {
                    let rows = transaction.query_raw("COMMIT", NO_PARAMS).await.unwrap();
                    rows.try_for_each(|_| std::future::ready(Ok(()))).await
                }
            };
            is_refused(&done.unwrap_err(), FAILS_WITH, RetryAdvice::DoNotRetry);
            drop(transaction);
            assert_eq!(rows(&client).await, 0, "{way}");
        }
    });
}

#[test]
fn a_commit_among_other_statements_fails_when_it_is_refused() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        // The error came with the text that began the transaction.
        client.batch_execute("BEGIN; SELECT 1/0").await.unwrap_err();
        let error = client.batch_execute("COMMIT; SELECT 1").await.unwrap_err();
        is_refused(&error, FAILS_WITH, RetryAdvice::DoNotRetry);
        client.batch_execute("BEGIN").await.unwrap();
        client.batch_execute("SELECT fails()").await.unwrap_err();
        let error = client.simple_query("COMMIT; BEGIN").await.unwrap_err();
        is_refused(&error, "42883", RetryAdvice::DoNotRetry);
        client.batch_execute("ROLLBACK; BEGIN; INSERT INTO log VALUES (1); COMMIT").await.unwrap();
        client.batch_execute("BEGIN; COMMIT; BEGIN; ROLLBACK").await.unwrap();
        assert_eq!(rows(&client).await, 1);
    });
}

#[test]
fn a_constraint_that_fails_at_the_commit_ends_the_transaction() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        let table = "CREATE TABLE one (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)";
        client.batch_execute(table).await.unwrap();
        let is_final = |error: &Error| {
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
            assert_eq!(error.sqlstate(), Some("23505"), "{error:?}");
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        };
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO one VALUES (1), (1)", &[]).await.unwrap();
        is_final(&transaction.commit().await.unwrap_err());
        for way in WAYS {
            for commit in ["COMMIT", "END", "COMMIT AND CHAIN"] {
                client.batch_execute("BEGIN; INSERT INTO one VALUES (1), (1)").await.unwrap();
                is_final(&run(&client, way, commit).await.unwrap_err());
                assert_eq!(client.transaction_state(), TransactionState::Idle, "{way}: {commit}");
            }
        }
        // This one was never begun, so the transaction is still there.
        client.batch_execute("BEGIN").await.unwrap();
        let error = client.batch_execute("COMMIT nonsense").await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        client.batch_execute("ROLLBACK").await.unwrap();
    });
}

#[test]
fn a_commit_over_a_pooled_connection_is_refused_too() {
    on_cluster::<Pg>(1, async |cluster| {
        drop(connect(cluster).await);
        let pool = Pool::builder(cluster.connector::<Pg>(&[])).max_size(1).build().unwrap();
        for _ in 0..2 {
            let mut client = pool.get().await.unwrap();
            let transaction = client.transaction().await.unwrap();
            transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
            transaction.execute(FAILS, &[]).await.unwrap_err();
            is_refused(&transaction.commit().await.unwrap_err(), FAILS_WITH, RetryAdvice::DoNotRetry);
            assert_eq!(rows(&client).await, 0);
        }
        assert_eq!(pool.status().sub_pools[0].created, 1, "{:?}", pool.status());
    });
}

#[test]
fn a_run_whose_error_was_ignored_fails_and_is_repeated_as_its_cause_permits() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        let sql = "CREATE FUNCTION fails(code text) RETURNS int LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'said by a function' USING ERRCODE = code; END $$";
        client.batch_execute(sql).await.unwrap();
        for (code, runs_expected) in [("22012", 1), ("40001", 2)] {
            client.batch_execute("TRUNCATE log").await.unwrap();
            let runs = AtomicU32::new(0);
            let done = client
                .retry_transaction(RetryPolicy::default(), async |transaction| {
                    transaction.execute("INSERT INTO log VALUES (1)", &[]).await?;
                    if runs.fetch_add(1, Ordering::SeqCst) == 0 {
                        let _ = transaction.execute("SELECT fails($1)", &[&code]).await;
                    }
                    Ok(())
                })
                .await;
            assert_eq!(runs.load(Ordering::SeqCst), runs_expected, "{code}");
            if runs_expected == 1 {
                is_refused(&done.unwrap_err(), code, RetryAdvice::DoNotRetry);
                assert_eq!(rows(&client).await, 0);
            } else {
                done.unwrap();
                assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "1");
            }
        }
    });
}
