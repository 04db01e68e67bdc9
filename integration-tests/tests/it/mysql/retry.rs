//! The retry helpers, as services use them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_mysql::mysql_async::TxOpts;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::{Conn, ConnHandle, Error, mysql_async};
use futures_util::TryStreamExt;
use integration_tests::{MySql, Session, eventually, on_cluster, spawn};

/// What an application has at hand when it books something: nothing of it is `'static`.
struct Order {
    id: i64,
}

/// Code that was written for the driver.
async fn insert(queryable: &mut impl Queryable, id: i64) -> mysql_async::Result<()> {
    queryable.exec_drop("INSERT INTO log VALUES (?)", (id,)).await
}

async fn book(conn: &mut Conn, order: &Order) -> mysql_async::Result<()> {
    conn.retry_transaction(RetryPolicy::default(), TxOpts::default(), |mut transaction| async move {
        insert(&mut transaction, order.id).await?;
        transaction.exec_drop("INSERT INTO log VALUES (?)", (order.id + 1,)).await
    })
    .await
}

#[test]
fn closures_that_borrow_run_in_a_task() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let booked = spawn::<Result<_, Error>>(async move {
            let mut conn = connector.connect().await?;
            let order = Order { id: 1 };
            book(&mut conn, &order).await?;
            let id = &order.id;
            let policy = RetryPolicy::default();
            let rows: Vec<i64> = conn
                .retry_statement(policy, |mut conn| async move {
                    let rows =
                        conn.exec_stream::<i64, _, _>("SELECT id + ? FROM log ORDER BY id", (*id,)).await?;
                    rows.try_collect().await
                })
                .await?;
            Ok(rows)
        });
        assert_eq!(booked.await.unwrap().unwrap(), [2, 3]);
    });
}

#[test]
fn a_handle_kept_beyond_its_run_is_of_no_use_and_does_no_harm() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let id = conn.id();
        let mut kept: ConnHandle = conn
            .retry_transaction(RetryPolicy::default(), TxOpts::default(), |mut transaction| async move {
                transaction.query_drop("INSERT INTO log VALUES (1)").await?;
                Ok(transaction)
            })
            .await
            .unwrap();
        let error = Error::from(kept.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::ConnectionSwitched, "{error:?}");
        assert!(!error.statement_may_have_run());
        // Neither the transaction nor the connection has suffered.
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "1");
        assert_eq!(conn.id(), id);
        drop(kept);
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "1");
    });
}

#[test]
fn a_call_kept_beyond_its_run_keeps_nothing_of_the_transaction() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut witness = cluster.admin::<MySql>("instance-1").await;
        let (call_started, call_is_running) = tokio::sync::oneshot::channel();
        let (started, mut call_is_running) =
            (std::cell::Cell::new(Some(call_started)), Some(call_is_running));
        let policy = RetryPolicy::default().max_runs(1);
        let done = conn.retry_transaction(policy, TxOpts::default(), |mut transaction| {
            let is_running = call_is_running.take();
            async move {
                transaction.query_drop("INSERT INTO log VALUES (1)").await?;
                let call = spawn(async move { transaction.query_drop("SELECT sleep(60)").await });
                is_running.unwrap().await.unwrap();
                Ok(call)
            }
        });
        let watch = eventually(Duration::from_secs(10), "the call has the connection", async || {
            let text = "SELECT count(*) FROM information_schema.processlist WHERE info = 'SELECT sleep(60)'";
            let is_running = witness.ask(text).await.unwrap() == "1";
            if is_running {
                started.take().unwrap().send(()).unwrap();
            }
            is_running
        });
        let (done, ()) = tokio::join!(done, watch);
        done.expect_err("the connection is with the call that was kept");
        let mut other = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        assert_eq!(other.ask("SELECT count(*) FROM log").await.unwrap(), "0");
        let _ = conn.ping().await;
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

#[test]
fn what_a_closure_gives_up_is_rolled_back() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let failed = conn
            .retry_transaction(RetryPolicy::default(), TxOpts::default(), |mut transaction| async move {
                transaction.query_drop("INSERT INTO log VALUES (1)").await?;
                let error =
                    Error::from(aws_wrapper_core::Error::new(ErrorKind::Unsupported, "changed my mind"));
                Err::<(), _>(error.into())
            })
            .await;
        assert_eq!(Error::from(failed.unwrap_err()).kind(), ErrorKind::Unsupported);
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");

        let dropped =
            conn.retry_transaction(RetryPolicy::default(), TxOpts::default(), |mut transaction| async move {
                transaction.query_drop("INSERT INTO log VALUES (1)").await?;
                std::future::pending::<mysql_async::Result<()>>().await
            });
        assert!(tokio::time::timeout(Duration::from_millis(300), dropped).await.is_err());
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

/// Adds one to two rows in that order; the first run waits for the other one in between.
async fn add(
    conn: &mut Conn,
    [first, second]: [u32; 2],
    met: &tokio::sync::Barrier,
    runs: &AtomicU32,
) -> mysql_async::Result<()> {
    let mut is_first = true;
    conn.retry_transaction(RetryPolicy::default(), TxOpts::default(), |mut transaction| {
        runs.fetch_add(1, Ordering::SeqCst);
        let waits = std::mem::take(&mut is_first);
        async move {
            transaction.exec_drop("UPDATE d SET n = n + 1 WHERE id = ?", (first,)).await?;
            if waits {
                met.wait().await;
            }
            transaction.exec_drop("UPDATE d SET n = n + 1 WHERE id = ?", (second,)).await
        }
    })
    .await
}

#[test]
fn a_deadlock_is_run_again() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        conn.query_drop("CREATE TABLE d (id int primary key, n int)").await.unwrap();
        conn.query_drop("INSERT INTO d VALUES (1, 0), (2, 0)").await.unwrap();
        let mut other = connector.connect().await.unwrap();
        let runs = AtomicU32::new(0);
        // Each takes one row and then the other one's; the server ends one of them.
        let met = tokio::sync::Barrier::new(2);
        let (one, two) =
            tokio::join!(add(&mut conn, [1, 2], &met, &runs), add(&mut other, [2, 1], &met, &runs));
        one.unwrap();
        two.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 3);
        assert_eq!(conn.ask("SELECT sum(n) FROM d").await.unwrap(), "4");
    });
}
