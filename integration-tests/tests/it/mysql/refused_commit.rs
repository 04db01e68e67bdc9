//! `Ok` to a commit means that the server has kept the transaction.

use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, TxOpts};
use aws_wrapper_mysql::{Conn, Error, mysql_error};
use integration_tests::{
    MySql, Session, TestCluster, eventually, failovers, host_down, on_built, on_cluster, spawn,
};
use tokio::time::sleep;

const LIMIT: Duration = Duration::from_secs(10);
/// How long the server answers questions about locks from a cache.
const CACHED: Duration = Duration::from_millis(150);

async fn locked(cluster: &TestCluster) -> (Conn, Conn) {
    cluster.log_table::<MySql>().await;
    let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
    let (mut first, second) = (connector.connect().await.unwrap(), connector.connect().await.unwrap());
    first.run("CREATE TABLE locked (id INT PRIMARY KEY, n INT)").await.unwrap();
    first.run("INSERT INTO locked VALUES (1, 0), (2, 0)").await.unwrap();
    (first, second)
}

/// Makes `victim`, which has begun a transaction, the victim of a deadlock with `other`.
async fn deadlock(cluster: &TestCluster, victim: &mut impl Queryable, mut other: Conn) -> Conn {
    victim.query_drop("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
    other.run("BEGIN").await.unwrap();
    // The one that has changed less is the victim.
    let rows: Vec<String> = (10..40).map(|id| format!("({id}, 0)")).collect();
    other.run(&format!("INSERT INTO locked VALUES {}", rows.join(", "))).await.unwrap();
    other.run("UPDATE locked SET n = 2 WHERE id = 2").await.unwrap();
    let other = spawn(async move {
        other.run("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap();
        other.run("ROLLBACK").await.unwrap();
        other
    });
    let mut witness = cluster.admin::<MySql>("instance-1").await;
    eventually(LIMIT, "the other session waits", async || {
        sleep(CACHED).await;
        let waits = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
        witness.ask(waits).await.unwrap() == "1"
    })
    .await;
    let error = victim.query_drop("UPDATE locked SET n = 1 WHERE id = 2").await.unwrap_err();
    assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1213), "{error:?}");
    other.await.unwrap()
}

fn is_rolled_back(error: mysql_async::Error, code: u32) {
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::RolledBack, "{error:?}");
    assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction, "{error:?}");
    assert!(!error.statement_may_have_run(), "{error:?}");
    assert!(error.connection_usable(), "{error:?}");
    let cause = error.find_source::<aws_wrapper_core::Error>().expect("the error has its cause");
    assert_eq!(cause.vendor_code(), Some(code), "{error:?}");
}

#[test]
fn a_transaction_object_refuses_all_calls_after_a_deadlock() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, mut other) = locked(cluster).await;
        for ends in ["commit", "rollback", "drop"] {
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
            other = deadlock(cluster, &mut transaction, other).await;
            const WRITE: &str = "INSERT INTO log VALUES (2)";
            is_rolled_back(transaction.query_drop(WRITE).await.unwrap_err(), 1213);
            is_rolled_back(transaction.query_iter(WRITE).await.map(drop).unwrap_err(), 1213);
            is_rolled_back(transaction.exec_drop(WRITE, ()).await.unwrap_err(), 1213);
            is_rolled_back(transaction.exec_batch(WRITE, [()]).await.unwrap_err(), 1213);
            is_rolled_back(transaction.exec_iter(WRITE, ()).await.map(drop).unwrap_err(), 1213);
            is_rolled_back(transaction.prep(WRITE).await.map(drop).unwrap_err(), 1213);
            is_rolled_back(Queryable::query_drop(&mut transaction, WRITE).await.unwrap_err(), 1213);
            is_rolled_back(Queryable::exec_drop(&mut transaction, WRITE, ()).await.unwrap_err(), 1213);
            is_rolled_back(Queryable::query_iter(&mut transaction, WRITE).await.map(drop).unwrap_err(), 1213);
            match ends {
                "commit" => is_rolled_back(transaction.commit().await.unwrap_err(), 1213),
                "rollback" => transaction.rollback().await.unwrap(),
                _ => drop(transaction),
            }
            // It is over with the object.
            conn.run("COMMIT").await.unwrap();
            assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0", "{ends}");
        }
    });
}

/// `COMMIT` as text in each way in which its text is seen.
async fn commit_by(conn: &mut Conn, way: u32) -> mysql_async::Result<()> {
    match way {
        0 => conn.query_drop("COMMIT").await,
        1 => conn.query_iter("commit work;").await.map(drop),
        2 => conn.exec_drop("COMMIT", ()).await,
        3 => conn.exec_iter("COMMIT", ()).await.map(drop),
        4 => conn.query_drop("DO 1; COMMIT; DO 2").await,
        5 => Queryable::query_drop(conn, "/* all of it */ COMMIT").await,
        _ => Queryable::query_iter(conn, "COMMIT").await.map(drop),
    }
}

#[test]
fn a_commit_as_text_after_a_deadlock_is_an_error() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, mut other) = locked(cluster).await;
        for way in 0..7 {
            for autocommit in [1, 0] {
                conn.run(&format!("SET autocommit = {autocommit}")).await.unwrap();
                conn.run(if autocommit == 1 { "START TRANSACTION" } else { "DO 1" }).await.unwrap();
                conn.run("INSERT INTO log VALUES (1)").await.unwrap();
                other = deadlock(cluster, &mut conn, other).await;
                if autocommit == 0 {
                    // Half of the work: without the other half it is not wanted.
                    conn.run("INSERT INTO log VALUES (2)").await.unwrap();
                }
                is_rolled_back(commit_by(&mut conn, way).await.unwrap_err(), 1213);
                assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0", "{way}, {autocommit}");
                conn.run("ROLLBACK").await.unwrap();
                // The refusal is reported once.
                conn.run("COMMIT").await.unwrap();
            }
        }
    });
}

#[test]
fn a_new_begin_or_rollback_makes_a_commit_good_again() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, mut other) = locked(cluster).await;
        for (index, begin) in
            ["BEGIN", "ROLLBACK", "START TRANSACTION READ WRITE", "ROLLBACK; BEGIN"].iter().enumerate()
        {
            conn.run("BEGIN").await.unwrap();
            other = deadlock(cluster, &mut conn, other).await;
            conn.run(begin).await.unwrap();
            conn.run("INSERT INTO log VALUES (1)").await.unwrap();
            conn.run("COMMIT").await.unwrap();
            assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), (index + 1).to_string());
        }
        // What ran on its own after the end is kept, so `RolledBack` would be wrong.
        conn.run("BEGIN").await.unwrap();
        deadlock(cluster, &mut conn, other).await;
        conn.run("INSERT INTO log VALUES (7)").await.unwrap();
        let error = conn.run("COMMIT").await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
        assert_eq!(error.retry_advice(), RetryAdvice::CheckOutcome, "{error:?}");
    });
}

/// With that option the server rolls all of it back, else only the statement.
#[test]
fn a_lock_waited_for_too_long_ends_the_transaction_where_the_server_is_told_so() {
    let builder = Cluster::builder().instances(1).setting("innodb-rollback-on-timeout", "ON");
    on_built::<MySql>(builder, async |cluster| {
        let (mut conn, mut other) = locked(cluster).await;
        other.run("BEGIN").await.unwrap();
        other.run("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        conn.run("SET innodb_lock_wait_timeout = 1").await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        let error = transaction.query_drop("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap_err();
        assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1205), "{error:?}");
        is_rolled_back(transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err(), 1205);
        is_rolled_back(transaction.commit().await.unwrap_err(), 1205);
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

/// The number alone proves nothing.
#[test]
fn a_deadlock_that_a_procedure_makes_up_ends_nothing() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, _other) = locked(cluster).await;
        conn.run("CREATE PROCEDURE lies() SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = 1213").await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        transaction.query_drop("CALL lies()").await.unwrap_err();
        transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "3");
    });
}

/// Its commit has happened before it failed.
#[test]
fn a_statement_that_commits_and_fails_ends_the_transaction_with_an_unknown_outcome() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, _other) = locked(cluster).await;
        for by_trait in [false, true] {
            conn.run("DELETE FROM log").await.unwrap();
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
            const FAILS: &str = "CREATE TABLE log (id INT)";
            if by_trait {
                Queryable::exec_drop(&mut transaction, FAILS, ()).await.unwrap_err();
            } else {
                transaction.query_drop(FAILS).await.unwrap_err();
            }
            for error in [
                transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err(),
                if by_trait {
                    transaction.commit().await.unwrap_err()
                } else {
                    transaction.rollback().await.unwrap_err()
                },
            ] {
                let error = Error::from(error);
                assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
                assert_eq!(error.retry_advice(), RetryAdvice::CheckOutcome, "{error:?}");
                assert!(!error.statement_may_have_run(), "{error:?}");
            }
            assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "1", "{by_trait}");
        }
    });
}

/// The rest of a stream that failed is where the server rolled back.
#[test]
fn a_result_dropped_before_the_statement_that_failed_does_not_hide_the_failure() {
    on_cluster::<MySql>(1, async |cluster| {
        let (mut conn, mut other) = locked(cluster).await;
        conn.run("SET innodb_lock_wait_timeout = 1").await.unwrap();
        other.run("BEGIN").await.unwrap();
        other.run("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        drop(transaction.query_iter("SELECT 1; UPDATE locked SET n = 2 WHERE id = 1").await.unwrap());
        // The transaction goes on: the server undid only that statement.
        transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap();
        assert_eq!(transaction.transaction_state(), TransactionState::InTransaction);
        transaction.commit().await.unwrap();
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "3");
    });
}

/// The driver closes the connection, and with it goes what was open.
#[test]
fn a_packet_beyond_the_clients_limit_says_what_became_of_the_transaction() {
    let builder = Cluster::builder().instances(2).setting("max-allowed-packet", "1M");
    on_built::<MySql>(builder, async |cluster| {
        cluster.log_table::<MySql>().await;
        let large = format!("SELECT LENGTH('{}')", "x".repeat(3 << 20));
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut conn = connector.connect().await.unwrap();
            let error = Error::from(conn.query_drop(large.as_str()).await.unwrap_err());
            assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
            assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{error:?}");
            for by_text in [true, false] {
                if by_text {
                    conn.run("BEGIN").await.unwrap();
                    conn.run("INSERT INTO log VALUES (1)").await.unwrap();
                    let error = Error::from(conn.query_drop(large.as_str()).await.unwrap_err());
                    assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
                } else {
                    let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
                    transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
                    let error = transaction.query_drop(large.as_str()).await.unwrap_err();
                    let error = Error::from(error);
                    assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
                    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
                    assert!(mysql_error(&error).is_some(), "{error:?}");
                    transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap_err();
                }
                // By text the next call fails as well: it must not run outside of the transaction the caller believes in.
                let _ = conn.ping().await;
                assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0", "{plugins}");
            }
        }
    });
}

/// The loop of the README.
async fn repeated(conn: &mut Conn, sql: &str) -> (u32, Error) {
    let mut times = 0;
    loop {
        times += 1;
        assert!(times < 10, "it ends");
        let error = Error::from(conn.query_drop(sql).await.unwrap_err());
        if error.retry_advice() != RetryAdvice::RetryStatement {
            return (times, error);
        }
    }
}

#[test]
fn a_packet_beyond_the_servers_limit_is_not_repeated_for_ever() {
    for instances in [2, 1] {
        let builder = Cluster::builder().instances(instances).setting("max-allowed-packet", "1M");
        on_built::<MySql>(builder, async |cluster| {
            cluster.log_table::<MySql>().await;
            let large = format!("INSERT INTO log VALUES (LENGTH('{}'))", "x".repeat(8 << 20));
            let plugins = if instances == 1 { "none" } else { "initial_connection,failover" };
            let params = [("max_allowed_packet", "67108864"), ("plugins", plugins)];
            let connector = cluster.connector::<MySql>(&params);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let (times, error) = repeated(&mut conn, &large).await;
            assert!(times <= 2, "{times}: {error:?}");
            if instances > 1 {
                assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{error:?}");
                assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
                assert!(failovers(&mut events).0 <= 2);
            }
            assert!(host_down(&mut events).is_empty(), "the host is well");
        });
    }
}
