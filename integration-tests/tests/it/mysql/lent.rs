//! Results that borrow the connection: read in part, cut off, left behind on a silent host.

use std::fmt::Debug;
use std::time::Duration;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::error::{FailoverOutcome, TransactionOutcome};
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Error, wrapper_error};
use futures_util::StreamExt;
use integration_tests::{
    Expected, MySql, Polled, SOON, Session, TestCluster, drop_after, eventually, failovers, no_task_left,
    on_cluster, spawn, switched,
};
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(5);

/// A gigabyte, a kilobyte a row; the server sends it as it is read.
const BIG: &str = "SELECT REPEAT('x', 1000) FROM log AS a, log AS b";
/// Numbers from 0, in a thousand rows that do not fit into one packet of the network.
const NUMBERS: &str = "SELECT id, REPEAT('x', 500) FROM log ORDER BY id";

/// A table `log` with the numbers from 0 to 999.
async fn thousand(cluster: &TestCluster) {
    cluster.log_table::<MySql>().await;
    let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
    let mut conn = connector.connect().await.unwrap();
    conn.query_drop(
        "INSERT INTO log WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 999) SELECT i FROM n",
    )
    .await
    .unwrap();
}

/// The ways to get a result that is read later.
#[derive(Debug, Clone, Copy)]
enum Way {
    Query,
    Exec,
    Stream,
    ExecStream,
    TraitQuery,
    TraitExec,
    TraitStream,
}

const WAYS: [Way; 7] =
    [Way::Query, Way::Exec, Way::Stream, Way::ExecStream, Way::TraitQuery, Way::TraitExec, Way::TraitStream];
const GUARDED: [Way; 4] = [Way::Query, Way::Exec, Way::Stream, Way::ExecStream];

impl Way {
    /// Opens a result, reads so many rows and drops it.
    async fn read(self, conn: &mut Conn, sql: &str, rows: usize) -> mysql_async::Result<usize> {
        macro_rules! rows {
            ($opened:expr) => {{
                let mut result = $opened;
                let mut read = 0;
                while read < rows && result.next().await?.is_some() {
                    read += 1;
                }
                Ok(read)
            }};
        }
        macro_rules! stream {
            ($opened:expr) => {{
                let mut stream = $opened;
                let mut read = 0;
                while read < rows
                    && let Some(row) = stream.next().await
                {
                    row?;
                    read += 1;
                }
                Ok(read)
            }};
        }
        match self {
            Self::Query => rows!(conn.query_iter(sql).await?),
            Self::Exec => rows!(conn.exec_iter(sql, ()).await?),
            Self::Stream => stream!(conn.query_stream::<Row, _>(sql).await?),
            Self::ExecStream => stream!(conn.exec_stream::<Row, _, _>(sql, ()).await?),
            Self::TraitQuery => rows!(Queryable::query_iter(conn, sql).await?),
            Self::TraitExec => rows!(Queryable::exec_iter(conn, sql, ()).await?),
            Self::TraitStream => stream!(Queryable::query_stream::<Row, _>(conn, sql).await?),
        }
    }
}

const ALL: usize = usize::MAX;

#[test]
fn what_is_left_of_a_result_is_read_by_the_next_call() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let id = conn.id();
        for way in WAYS {
            for rows in [0, 1, 500, 999, 1000, ALL] {
                let read = way.read(&mut conn, NUMBERS, rows).await.unwrap();
                assert_eq!(read, rows.min(1000), "{way:?}");
                let unique = format!("{way:?} {rows}");
                assert_eq!(conn.ask(&format!("SELECT '{unique}'")).await.unwrap(), unique);
                // A result after a result, and a transaction after one.
                way.read(&mut conn, NUMBERS, rows).await.unwrap();
                assert_eq!(way.read(&mut conn, NUMBERS, ALL).await.unwrap(), 1000, "{way:?}, {rows}");
                way.read(&mut conn, NUMBERS, rows).await.unwrap();
                let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
                let one: Option<String> = transaction.query_first("SELECT 'one'").await.unwrap();
                assert_eq!(one.unwrap(), "one", "{way:?}, {rows}");
                transaction.rollback().await.unwrap();
            }
        }
        assert_eq!(conn.id(), id, "it is the connection it was");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

#[test]
fn an_error_in_a_later_result_is_the_statements_and_the_connection_stays() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let id = conn.id();
        const SQL: &str = "SELECT 1; SELECT * FROM nowhere; SELECT 3";
        let is_missing = |error: mysql_async::Error| {
            assert!(matches!(&error, mysql_async::Error::Server(error) if error.code == 1146), "{error:?}");
        };

        let mut result = conn.query_iter(SQL).await.unwrap();
        assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
        is_missing(result.collect::<u32>().await.unwrap_err());
        drop(result);
        assert_eq!(conn.ask("SELECT 'a'").await.unwrap(), "a");

        let mut result = Queryable::query_iter(&mut conn, SQL).await.unwrap();
        assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
        is_missing(result.collect::<u32>().await.unwrap_err());
        drop(result);
        assert_eq!(conn.ask("SELECT 'b'").await.unwrap(), "b");

        is_missing(conn.query_iter(SQL).await.unwrap().drop_result().await.unwrap_err());
        is_missing(conn.query_drop(SQL).await.unwrap_err());
        assert_eq!(conn.ask("SELECT 'c'").await.unwrap(), "c");

        // The error was not read, so it is dropped: the next call has its own, if any.
        drop(conn.query_iter(SQL).await.unwrap());
        assert_eq!(conn.ask("SELECT 'd'").await.unwrap(), "d");
        drop(Queryable::query_iter(&mut conn, SQL).await.unwrap());
        assert_eq!(conn.ask("SELECT 'e'").await.unwrap(), "e");
        assert_eq!(conn.id(), id, "it is the connection it was");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

/// The rollback that is due is the next call: it finds the error that nobody has read, and is still due.
#[test]
fn an_error_left_in_a_result_does_not_keep_a_dropped_transaction_open() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut conn = connector.connect().await.unwrap();
            let mut witness = connector.connect().await.unwrap();
            for guarded in [true, false] {
                let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
                transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
                const SQL: &str = "SELECT 1; SELECT * FROM nowhere";
                if guarded {
                    drop(transaction.query_iter(SQL).await.unwrap());
                } else {
                    drop(Queryable::query_iter(&mut transaction, SQL).await.unwrap());
                }
                drop(transaction);
                // One error at most; what succeeds is not a part of the transaction that nobody wanted.
                let sql = "INSERT INTO log VALUES (2)";
                if conn.run(sql).await.is_err() {
                    conn.run(sql).await.unwrap();
                }
                let seen = witness.ask("SELECT group_concat(id) FROM log").await.unwrap();
                assert_eq!(seen, "2", "{plugins}, {guarded}");
                witness.run("DELETE FROM log").await.unwrap();
            }
        }
    });
}

/// In a row, too: the server finds out in the middle.
#[test]
fn an_error_in_the_middle_of_a_result_is_the_statements() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let id = conn.id();
        let sql = "SELECT id, (SELECT a.id FROM log AS a WHERE a.id BETWEEN log.id AND IF(log.id < 900, log.id, log.id + 1)) \
                   FROM log";
        for way in WAYS {
            let error = way.read(&mut conn, sql, ALL).await.unwrap_err();
            assert!(
                matches!(&error, mysql_async::Error::Server(error) if error.code == 1242),
                "{way:?}: {error:?}"
            );
            assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept", "{way:?}");
        }
        assert_eq!(conn.id(), id, "it is the connection it was");
    });
}

#[test]
fn a_guarded_result_that_is_cut_off_ends_with_the_failover() {
    on_cluster::<MySql>(3, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        for way in GUARDED {
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let old = cluster.key(&conn.who().await.unwrap());
            let (read, report) = tokio::join!(way.read(&mut conn, BIG, ALL), async {
                sleep(Duration::from_millis(100)).await;
                cluster.replace_writer().await
            });
            let error = Error::from(read.expect_err("a result does not end as if it were complete"));
            let expected = Expected {
                old,
                new: cluster.key(&report.new_writer),
                transaction: TransactionOutcome::NotInTransaction,
            };
            switched(&error, &expected);
            assert!(error.statement_may_have_run(), "{way:?}: {error:?}");
            assert_eq!(conn.who().await.unwrap(), report.new_writer, "{way:?}");
            assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]), "{way:?}");
            cluster.complete().await;
        }
    });
}

/// The driver's own types know nothing of a failover: the error is the driver's, and the next call deals with the loss.
#[test]
fn after_a_result_of_the_drivers_that_is_cut_off_the_session_goes_on() {
    on_cluster::<MySql>(3, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        for way in [Way::TraitQuery, Way::TraitExec, Way::TraitStream] {
            let mut conn = connector.connect().await.unwrap();
            let (read, report) = tokio::join!(way.read(&mut conn, BIG, ALL), async {
                sleep(Duration::from_millis(100)).await;
                cluster.replace_writer().await
            });
            read.expect_err("a result does not end as if it were complete");
            // One error at most.
            if let Err(error) = conn.who().await {
                assert!(error.is_failover_success(), "{way:?}: {error:?}");
                assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
            }
            assert_eq!(conn.who().await.unwrap(), report.new_writer, "{way:?}");
            cluster.complete().await;
        }
    });
}

#[test]
fn a_result_that_is_cut_off_takes_its_transaction_along() {
    on_cluster::<MySql>(3, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        for guarded in [true, false] {
            let mut conn = connector.connect().await.unwrap();
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (-1)").await.unwrap();
            if guarded {
                let mut result = transaction.query_iter(BIG).await.unwrap();
                let error = cut_off(cluster, result.for_each(drop)).await;
                assert_eq!(Error::from(error).transaction_outcome(), TransactionOutcome::RolledBack);
                drop(result);
            } else {
                let mut result = Queryable::query_iter(&mut transaction, BIG).await.unwrap();
                cut_off(cluster, result.for_each(drop)).await;
                drop(result);
            }
            // Nothing of it runs elsewhere.
            for _ in 0..2 {
                let error =
                    Error::from(transaction.query_drop("INSERT INTO log VALUES (-2)").await.unwrap_err());
                assert_eq!(
                    error.transaction_outcome(),
                    TransactionOutcome::RolledBack,
                    "{guarded}: {error:?}"
                );
            }
            drop(transaction);
            // One error at most.
            if let Err(error) = conn.ping().await {
                assert!(Error::from(error).is_failover_success());
            }
            assert_eq!(conn.ask("SELECT count(*) FROM log WHERE id < 0").await.unwrap(), "0", "{guarded}");
            cluster.complete().await;
        }
    });
}

async fn cut_off<T: Debug>(
    cluster: &TestCluster,
    reads: impl Future<Output = mysql_async::Result<T>>,
) -> mysql_async::Error {
    let kill = async {
        sleep(Duration::from_millis(100)).await;
        cluster.replace_writer().await;
    };
    tokio::join!(reads, kill).0.expect_err("a result does not end as if it were complete")
}

/// The old writer refuses while the result is lent, so nobody can ask it for its role.
#[test]
fn a_write_that_a_former_writer_refuses_fails_over_whatever_its_result_is() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        const WRITE: &str = "INSERT INTO log VALUES (1)";
        for way in [Way::Query, Way::Exec, Way::TraitQuery, Way::TraitExec] {
            let mut conn = connector.connect().await.unwrap();
            let old = conn.who().await.unwrap();
            let new = if old == "instance-1" { "instance-2" } else { "instance-1" };
            cluster.switchover(Some(new)).await.unwrap();
            let error = Error::from(way.read(&mut conn, WRITE, ALL).await.unwrap_err());
            let expected = Expected {
                old: cluster.key(&old),
                new: cluster.key(new),
                transaction: TransactionOutcome::NotInTransaction,
            };
            switched(&error, &expected);
            way.read(&mut conn, WRITE, ALL).await.unwrap();
            assert_eq!(conn.who().await.unwrap(), new, "{way:?}");
            cluster.complete().await;
        }
        let mut conn = connector.connect().await.unwrap();
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "4");
    });
}

/// One of the traps: the driver would read the rest in a task of its own, which on a silent host never ends.
#[test]
fn a_half_read_result_on_a_frozen_host_leaves_neither_task_nor_socket() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        for way in WAYS {
            let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
            let mut conn = connector.connect().await.unwrap();
            way.read(&mut conn, BIG, 100).await.unwrap();
            cluster.freeze("instance-1").await.unwrap();
            drop(conn);
            eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
            eventually(LIMIT, "no task is left", async || no_task_left()).await;
            cluster.thaw("instance-1").await.unwrap();
        }
    });
}

/// So is dropping what reads on a host that says nothing more.
#[test]
fn a_read_that_was_given_up_on_a_silent_host_costs_one_error_at_most() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        for way in WAYS {
            let mut conn = connector.connect().await.unwrap();
            cluster.freeze("instance-1").await.unwrap();
            let given_up = timeout(Duration::from_millis(200), way.read(&mut conn, BIG, ALL)).await;
            assert!(given_up.is_err(), "nobody answers: {given_up:?}");
            // The next call reads the rest, as long as it may.
            let given_up = timeout(Duration::from_millis(200), conn.ask("SELECT 'given up'")).await;
            assert!(!matches!(given_up, Ok(Ok(_))), "nobody answers: {given_up:?}");
            cluster.thaw("instance-1").await.unwrap();
            if let Err(error) = conn.ask("SELECT 'refused'").await {
                assert!(error.to_string().contains("dropped"), "{way:?}: {error:?}");
            }
            assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept", "{way:?}");
        }
    });
}

/// A shutdown does not wait for the host.
#[test]
fn a_shutdown_ends_a_guarded_result_on_a_silent_host() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        for way in GUARDED {
            let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
            let services = connector.services().clone();
            let mut conn = connector.connect().await.unwrap();
            let read = spawn(async move {
                let error = way.read(&mut conn, BIG, ALL).await.unwrap_err();
                (error, Instant::now(), conn)
            });
            sleep(Duration::from_millis(100)).await;
            cluster.freeze("instance-1").await.unwrap();
            sleep(Duration::from_millis(300)).await;
            assert!(!read.is_finished(), "{way:?}: nobody has answered");
            let start = Instant::now();
            services.shutdown(LIMIT).await.unwrap();
            let (error, end, mut conn) = timeout(LIMIT, read).await.expect("the read ends").unwrap();
            assert!(end - start < Duration::from_secs(1), "{way:?}: {:?}", end - start);
            let error = Error::from(error);
            assert!(!error.connection_usable() && !error.is_failover_success(), "{way:?}: {error:?}");
            // Whoever has read it lends the connection to nobody any more.
            conn.ping().await.unwrap_err();
            eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
            cluster.thaw("instance-1").await.unwrap();
        }
    });
}

/// Whoever has a result and does nothing with it still holds the connection; it ends with the result.
#[test]
fn a_shutdown_ends_a_result_that_nobody_reads() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        let mut result = conn.query_iter(BIG).await.unwrap();
        result.next().await.unwrap();
        cluster.freeze("instance-1").await.unwrap();
        connector.services().shutdown(LIMIT).await.unwrap();
        // Rows that have arrived may still be read.
        let start = Instant::now();
        while result.next().await.is_ok_and(|row| row.is_some()) {}
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        drop(result);
        conn.ping().await.unwrap_err();
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        cluster.thaw("instance-1").await.unwrap();
    });
}

/// What a dropped read has not read is read later: no row is lost and none comes twice.
#[test]
fn reading_a_row_can_be_dropped_anywhere() {
    on_cluster::<MySql>(1, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        let mut conn = connector.connect().await.unwrap();
        cluster.latency("instance-1", Duration::from_millis(1)).await.unwrap();
        // The server sends a row as soon as it fills a buffer, and then takes its time.
        const SLOW: &str = "SELECT id, REPEAT('x', 20000), SLEEP(0.001) FROM log LIMIT 200";
        let mut result = conn.query_iter(SLOW).await.unwrap();
        let mut drops = 0;
        for expected in 0..200 {
            let row = loop {
                match drop_after(1, result.next()).await {
                    Polled::Ready(row) => break row.unwrap().expect("there are two hundred rows"),
                    Polled::Dropped => drops += 1,
                }
                tokio::task::yield_now().await;
            };
            assert_eq!(row.get::<i64, _>(0), Some(expected), "after {drops} drops");
        }
        assert!(drops > 0, "some of it was waited for");
        drop(result);
        assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept");
    });
}

/// Between two results, too; where that is impossible it is an error, and never an empty result.
#[test]
fn going_to_the_next_result_can_be_dropped_anywhere() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        cluster.latency("instance-1", Duration::from_millis(1)).await.unwrap();
        const SQL: &str = "SELECT 1; DO SLEEP(0.02); SELECT 2; DO SLEEP(0.02); SELECT 3";
        for polls in 1..10 {
            let mut conn = connector.connect().await.unwrap();
            let mut result = conn.query_iter(SQL).await.unwrap();
            let (mut seen, mut failed) = (Vec::new(), None);
            let mut reads = 0;
            while !result.is_empty() && failed.is_none() {
                reads += 1;
                assert!(reads < 1000, "{polls}: there is more, but it never comes: {seen:?}");
                match drop_after(polls, result.next()).await {
                    Polled::Ready(Ok(Some(row))) => seen.push(row.get::<u32, _>(0).unwrap()),
                    Polled::Ready(Ok(None)) => {}
                    Polled::Ready(Err(error)) => failed = Some(error),
                    Polled::Dropped => sleep(Duration::from_millis(5)).await,
                }
                assert!(seen.len() <= 3, "{polls}: {seen:?}");
            }
            drop(result);
            assert!(seen == [1, 2, 3] || failed.is_some(), "{polls}: {seen:?} without an error");
            assert!([1, 2, 3].starts_with(&seen), "{polls}: {seen:?}");
            // One error at most.
            if conn.ask("SELECT 'refused'").await.is_err() {
                assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept", "{polls}");
            }
        }
    });
}

/// The server closes the session while a part of its answer is unread. It says nothing, so the host is suspected until it
/// lets somebody in again.
#[test]
fn a_session_that_is_killed_under_a_lent_result_goes_on_at_the_same_host() {
    on_cluster::<MySql>(2, async |cluster| {
        thousand(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        for way in WAYS {
            let mut conn = connector.connect().await.unwrap();
            let kill = format!("KILL {}", conn.id());
            let (read, ()) = tokio::join!(way.read(&mut conn, BIG, ALL), async {
                sleep(Duration::from_millis(100)).await;
                admin.run(&kill).await.unwrap();
            });
            let error = read.expect_err("a result does not end as if it were complete");
            if wrapper_error(&error).is_none_or(|error| !CoreError::is_failover_success(error))
                && let Err(error) = conn.who().await
            {
                assert!(error.is_failover_success(), "{way:?}: {error:?}");
            }
            assert_eq!(conn.who().await.unwrap(), "instance-1", "{way:?}");
            assert_eq!(connector.connect().await.unwrap().who().await.unwrap(), "instance-1", "{way:?}");
        }
    });
}
