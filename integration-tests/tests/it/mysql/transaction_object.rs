//! Transactions: what is asked of them is in force, and what becomes of them is told.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, IsolationLevel, TxOpts};
use aws_wrapper_mysql::{Conn, Error};
use integration_tests::{Expected, MySql, Session, eventually, failovers, on_cluster, spawn, switched};
use tokio::time::{sleep, timeout};

const LIMIT: Duration = Duration::from_secs(5);
/// For how long the server repeats what it has said of transactions.
const CACHED: Duration = Duration::from_millis(150);

/// The state of the transaction, with what the server itself says about it.
const IN_FORCE: &str = "SELECT CONCAT_WS(',', trx_isolation_level, trx_is_read_only) FROM information_schema.innodb_trx \
                        WHERE trx_mysql_thread_id = ";

#[test]
fn what_is_asked_of_a_transaction_is_in_force_and_only_for_it() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let levels = [
            (None, "REPEATABLE READ"),
            (Some(IsolationLevel::ReadUncommitted), "READ UNCOMMITTED"),
            (Some(IsolationLevel::ReadCommitted), "READ COMMITTED"),
            (Some(IsolationLevel::RepeatableRead), "REPEATABLE READ"),
            (Some(IsolationLevel::Serializable), "SERIALIZABLE"),
        ];
        for (level, name) in levels {
            for read_only in [None, Some(true), Some(false)] {
                let mut options = TxOpts::new();
                options.with_isolation_level(level).with_readonly(read_only);
                let in_force = format!("{IN_FORCE}{}", conn.id());
                let mut transaction = conn.start_transaction(options).await.unwrap();
                let _: Option<i64> = transaction.query_first("SELECT id FROM log").await.unwrap();
                let expected = format!("{name},{}", i32::from(read_only == Some(true)));
                is_in_force(&mut admin, &in_force, &expected).await;
                let written = transaction.query_drop("INSERT INTO log VALUES (1)").await;
                assert_eq!(written.is_ok(), read_only != Some(true), "{read_only:?}: {written:?}");
                transaction.rollback().await.unwrap();
                // The next one has nothing of it.
                let mut next = conn.start_transaction(TxOpts::default()).await.unwrap();
                next.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
                is_in_force(&mut admin, &in_force, "REPEATABLE READ,0").await;
                next.rollback().await.unwrap();
            }
        }
    });
}

/// The server answers from a cache until nobody has asked for a tenth of a second.
async fn is_in_force(admin: &mut Conn, sql: &str, expected: &str) {
    let what = format!("{expected} is in force");
    eventually(LIMIT, &what, async || {
        sleep(CACHED).await;
        admin.ask(sql).await.unwrap() == expected
    })
    .await;
}

#[test]
fn a_consistent_snapshot_is_taken_when_the_transaction_begins() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let (mut reader, mut writer) =
            (connector.connect().await.unwrap(), connector.connect().await.unwrap());
        for (snapshot, expected) in [(true, 0), (false, 1)] {
            writer.run("DELETE FROM log").await.unwrap();
            let mut options = TxOpts::new();
            options.with_consistent_snapshot(snapshot);
            let mut transaction = reader.start_transaction(options).await.unwrap();
            writer.run("INSERT INTO log VALUES (1)").await.unwrap();
            let seen: Option<u32> = transaction.query_first("SELECT count(*) FROM log").await.unwrap();
            assert_eq!(seen, Some(expected));
            transaction.commit().await.unwrap();
        }
    });
}

#[test]
fn a_transaction_is_kept_dropped_or_rolled_back_by_the_next_call() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        let mut witness = connector.connect().await.unwrap();
        let mut seen = async || witness.ask("SELECT coalesce(sum(id), 0) FROM log").await.unwrap();

        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        assert_eq!(transaction.transaction_state(), TransactionState::InTransaction);
        transaction.commit().await.unwrap();
        assert_eq!(conn.transaction_state(), TransactionState::Idle);
        assert_eq!(seen().await, "1");

        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap();
        transaction.rollback().await.unwrap();
        assert_eq!(conn.transaction_state(), TransactionState::Idle);
        assert_eq!(seen().await, "1");

        for is_lent in [false, true] {
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (4)").await.unwrap();
            if is_lent {
                // Dropped with a result that was read in part.
                drop(transaction.query_iter("SELECT 1; SELECT 2").await.unwrap());
            }
            drop(transaction);
            conn.run("INSERT INTO log VALUES (0)").await.unwrap();
            assert_eq!(conn.transaction_state(), TransactionState::Idle);
            assert_eq!(seen().await, "1");
        }

        // The next call may be the next transaction.
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (8)").await.unwrap();
        drop(transaction);
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (16)").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(seen().await, "17");
    });
}

#[test]
#[expect(clippy::mem_forget, reason = "the only way to keep a transaction open and its connection free")]
fn a_transaction_in_a_transaction_is_refused() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        std::mem::forget(conn.start_transaction(TxOpts::default()).await.unwrap());
        let error = conn.start_transaction(TxOpts::default()).await.map(drop).unwrap_err();
        assert!(
            matches!(error, mysql_async::Error::Driver(mysql_async::DriverError::NestedTransaction)),
            "{error:?}"
        );
        assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept");
    });
}

#[test]
fn a_transaction_fails_once_and_the_session_goes_on() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        let report = cluster.replace_writer().await;
        let error = Error::from(transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err());
        let expected = Expected {
            old: cluster.key("instance-1"),
            new: cluster.key(&report.new_writer),
            transaction: TransactionOutcome::RolledBack,
        };
        switched(&error, &expected);
        // What belongs to the lost connection stays lost, whatever is tried, and says so without another failover.
        const WRITE: &str = "INSERT INTO log VALUES (4)";
        for error in [
            transaction.query_drop(WRITE).await.unwrap_err(),
            transaction.exec_drop(WRITE, ()).await.unwrap_err(),
            transaction.query_iter(WRITE).await.map(drop).unwrap_err(),
            transaction.prep(WRITE).await.map(drop).unwrap_err(),
            transaction.ping().await.unwrap_err(),
            Queryable::exec_drop(&mut transaction, WRITE, ()).await.unwrap_err(),
            Queryable::query_iter(&mut transaction, WRITE).await.map(drop).unwrap_err(),
        ] {
            let error = Error::from(error);
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        }
        let error = Error::from(transaction.commit().await.unwrap_err());
        assert_ne!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::TransactionUnknown]));

        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (8)").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "8");
    });
}

#[test]
fn a_transaction_that_began_on_a_lost_connection_has_lost_nothing() {
    on_cluster::<MySql>(3, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut options = TxOpts::new();
        options.with_isolation_level(IsolationLevel::ReadCommitted);
        for options in [TxOpts::default(), options] {
            let old = conn.who().await.unwrap();
            let report = cluster.replace_writer().await;
            let error = Error::from(conn.start_transaction(options).await.map(drop).unwrap_err());
            let expected = Expected {
                old: cluster.key(&old),
                new: cluster.key(&report.new_writer),
                transaction: TransactionOutcome::NotInTransaction,
            };
            switched(&error, &expected);
            conn.start_transaction(TxOpts::default()).await.unwrap().commit().await.unwrap();
            cluster.complete().await;
        }
    });
}

#[test]
fn a_lost_commit_of_a_transaction_object_is_unknown() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut witness = cluster.admin::<MySql>("instance-2").await;
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        cluster.latency("instance-1", Duration::from_millis(500)).await.unwrap();
        let lose = async {
            eventually(LIMIT, "the row is committed", async || {
                witness.ask("SELECT count(*) FROM log").await.unwrap() == "1"
            })
            .await;
            cluster.blackhole("instance-1").await.unwrap();
            cluster.replace_writer().await;
            cluster.heal("instance-1").await.unwrap();
        };
        let (committed, ()) = tokio::join!(transaction.commit(), lose);
        let error = Error::from(committed.unwrap_err());
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::TransactionUnknown), "{error:?}");
        assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "1");
    });
}

/// Nothing is known to fail over, but what became of the work is known all the same.
#[test]
fn without_a_plugin_a_lost_transaction_is_not_continued_either() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        let given_up = timeout(Duration::from_millis(100), transaction.query_drop("SELECT SLEEP(60)")).await;
        assert!(given_up.is_err());
        for _ in 0..3 {
            let error = Error::from(transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err());
            assert!(!error.is_failover_success(), "{error:?}");
        }
        transaction.commit().await.unwrap_err();
        // One error at most.
        let _ = conn.ping().await;
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

#[test]
fn a_statement_that_commits_by_itself_ends_the_transaction() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        transaction.query_drop("CREATE TABLE implied (id INT)").await.unwrap();
        assert_eq!(transaction.transaction_state(), TransactionState::Idle);
        cluster.replace_writer().await;
        let error = Error::from(transaction.query_drop("SELECT 1").await.unwrap_err());
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
        drop(transaction);
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "1");
    });
}

/// The statement fails, but its commit has happened before that.
#[test]
fn a_failed_statement_that_commits_by_itself_ends_the_transaction() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        conn.run("BEGIN").await.unwrap();
        conn.run("INSERT INTO log VALUES (1)").await.unwrap();
        conn.run("CREATE TABLE log (id INT)").await.unwrap_err();
        cluster.replace_writer().await;
        // Nothing told that the transaction was over, so this may be too cautious, but not wrong.
        let error = conn.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "1");
        assert_ne!(
            error.transaction_outcome(),
            TransactionOutcome::RolledBack,
            "the row is there: {error:?}"
        );
    });
}

#[test]
fn without_autocommit_a_transaction_is_open_after_the_first_statement() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        conn.run("SET autocommit = 0").await.unwrap();
        assert_eq!(conn.transaction_state(), TransactionState::Idle);
        conn.run("INSERT INTO log VALUES (1)").await.unwrap();
        assert_eq!(conn.transaction_state(), TransactionState::InTransaction);
        cluster.replace_writer().await;
        let error = conn.run("INSERT INTO log VALUES (2)").await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

/// Two sessions and a row that both want.
async fn locked(conn: &mut Conn) {
    conn.run("CREATE TABLE locked (id INT PRIMARY KEY, n INT)").await.unwrap();
    conn.run("INSERT INTO locked VALUES (1, 0), (2, 0)").await.unwrap();
}

#[test]
fn a_wait_for_a_lock_that_took_too_long_keeps_the_transaction() {
    on_cluster::<MySql>(3, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let (mut first, mut second) =
            (connector.connect().await.unwrap(), connector.connect().await.unwrap());
        locked(&mut first).await;
        first.run("BEGIN").await.unwrap();
        first.run("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        second.run("SET innodb_lock_wait_timeout = 1").await.unwrap();
        let mut transaction = second.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("UPDATE locked SET n = 2 WHERE id = 2").await.unwrap();
        let error = transaction.query_drop("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap_err();
        assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1205), "{error:?}");
        let error = Error::from(error);
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
        assert!(error.connection_usable(), "{error:?}");
        assert_eq!(transaction.transaction_state(), TransactionState::Unknown);
        transaction.ping().await.unwrap();
        assert_eq!(transaction.transaction_state(), TransactionState::InTransaction);
        transaction.commit().await.unwrap();
        first.run("ROLLBACK").await.unwrap();
        assert_eq!(first.ask("SELECT sum(n) FROM locked").await.unwrap(), "2");
        assert_eq!(failovers(&mut events), (0, Vec::new()));

        // It counts as open when the connection is lost after it.
        first.run("BEGIN").await.unwrap();
        first.run("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        second.run("BEGIN").await.unwrap();
        second.run("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap_err();
        cluster.replace_writer().await;
        let error = second.who().await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
    });
}

#[test]
fn a_deadlock_ends_the_transaction() {
    on_cluster::<MySql>(3, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let (mut first, mut second) =
            (connector.connect().await.unwrap(), connector.connect().await.unwrap());
        locked(&mut first).await;
        first.run("BEGIN").await.unwrap();
        first.run("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        second.run("BEGIN").await.unwrap();
        // The one that has changed less is the victim.
        second.run("INSERT INTO locked VALUES (3, 0), (4, 0), (5, 0)").await.unwrap();
        second.run("UPDATE locked SET n = 2 WHERE id = 2").await.unwrap();
        let other = spawn(async move {
            second.run("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap();
            second.run("COMMIT").await.unwrap();
        });
        let mut witness = cluster.admin::<MySql>("instance-1").await;
        eventually(LIMIT, "the second session waits", async || {
            // The server answers from a cache until nobody has asked for a tenth of a second.
            sleep(CACHED).await;
            let waits = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
            witness.ask(waits).await.unwrap() == "1"
        })
        .await;
        let error = first.run("UPDATE locked SET n = 1 WHERE id = 2").await.unwrap_err();
        assert_eq!(error.vendor_code(), Some(1213), "{error:?}");
        assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction, "{error:?}");
        assert_eq!(first.transaction_state(), TransactionState::Unknown);
        first.ping().await.unwrap();
        assert_eq!(first.transaction_state(), TransactionState::Idle);
        other.await.unwrap();
        cluster.replace_writer().await;
        let error = first.who().await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
    });
}

/// The user asked for it: no failover could help.
#[test]
fn a_write_in_the_users_own_read_only_transaction_is_refused_and_nothing_else() {
    on_cluster::<MySql>(2, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let id = conn.id();
        const WRITE: &str = "INSERT INTO log VALUES (1)";
        let refused = |error: mysql_async::Error| {
            assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1792), "{error:?}");
            let error = Error::from(error);
            assert!(error.connection_usable() && !error.is_failover_success(), "{error:?}");
        };
        let mut options = TxOpts::new();
        options.with_readonly(true);
        let mut transaction = conn.start_transaction(options).await.unwrap();
        refused(transaction.query_drop(WRITE).await.unwrap_err());
        refused(transaction.exec_drop(WRITE, ()).await.unwrap_err());
        refused(transaction.query_iter(WRITE).await.map(drop).unwrap_err());
        refused(Queryable::query_drop(&mut transaction, WRITE).await.unwrap_err());
        transaction.commit().await.unwrap();

        conn.run("SET SESSION TRANSACTION READ ONLY").await.unwrap();
        refused(conn.query_drop(WRITE).await.unwrap_err());
        conn.run("SET SESSION TRANSACTION READ WRITE").await.unwrap();
        assert_eq!(conn.run(WRITE).await.unwrap(), 1);
        assert_eq!(conn.id(), id, "it is the connection it was");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

#[test]
fn a_transaction_that_was_rolled_back_is_run_again_and_an_unknown_one_is_not() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let runs = AtomicU32::new(0);
        let options = TxOpts::default;
        let done = conn
            .retry_transaction(RetryPolicy::default(), options(), |mut transaction| {
                let run = runs.fetch_add(1, Ordering::SeqCst);
                async move {
                    transaction.query_drop("INSERT INTO log VALUES (1)").await?;
                    if run == 0 {
                        cluster.replace_writer().await;
                    }
                    transaction.query_drop("INSERT INTO log VALUES (2)").await
                }
            })
            .await;
        done.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "3");

        // The answer to the commit is lost: nobody knows, so nothing is repeated.
        cluster.complete().await;
        let writer = cluster.writer();
        let mut witness = cluster.admin::<MySql>(&cluster.readers()[0]).await;
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
        let run = conn.retry_transaction(RetryPolicy::default(), options(), |mut transaction| {
            runs.fetch_add(1, Ordering::SeqCst);
            async move { transaction.query_drop("INSERT INTO log VALUES (4)").await }
        });
        let (done, ()) = tokio::join!(run, lose);
        assert_eq!(Error::from(done.unwrap_err()).transaction_outcome(), TransactionOutcome::Unknown);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "7");
    });
}
