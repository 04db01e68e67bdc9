//! Code that was written for the driver, and the errors it looks at.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_mysql::mysql_async::prelude::{BatchQuery, Query, Queryable, WithParams};
use aws_wrapper_mysql::mysql_async::{self, Row, TxOpts, params};
use aws_wrapper_mysql::{Conn, Error, mysql_error, wrapper_error};
use futures_util::TryStreamExt;
use integration_tests::{MySql, Session, eventually, failovers, on_cluster, spawn};
use tokio::time::sleep;

/// For how long the server repeats what it has said of transactions.
const CACHED: Duration = Duration::from_millis(150);

/// All methods of the driver's trait, as a library would use them.
async fn everything<Q: Queryable>(conn: &mut Q, who: &str) -> mysql_async::Result<()> {
    conn.ping().await?;
    conn.query_drop("CREATE TEMPORARY TABLE all_methods (id INT PRIMARY KEY, name TEXT)").await?;
    let rows = [(1, "one"), (2, "two"), (3, "drei: größer")];
    conn.exec_batch("INSERT INTO all_methods VALUES (?, ?)", rows).await?;

    const NAMES: &str = "SELECT id, name FROM all_methods ORDER BY id";
    let all: Vec<(u32, String)> = conn.query(NAMES).await?;
    assert_eq!(all.len(), 3, "{who}");
    assert_eq!(all[2].1, "drei: größer", "{who}");
    let first: Option<(u32, String)> = conn.query_first(NAMES).await?;
    assert_eq!(first.unwrap(), (1, "one".to_owned()), "{who}");
    let ids = conn.query_map(NAMES, |(id, _): (u32, String)| id * 10).await?;
    assert_eq!(ids, [10, 20, 30], "{who}");
    let sum = conn.query_fold(NAMES, 100, |sum, (id, _): (u32, String)| sum + id).await?;
    assert_eq!(sum, 106, "{who}");
    let mut result = conn.query_iter("SELECT 1; SELECT 2, 3").await?;
    assert_eq!(result.collect::<u32>().await?, [1], "{who}");
    assert_eq!(result.collect::<(u32, u32)>().await?, [(2, 3)], "{who}");
    assert!(result.is_empty(), "{who}");
    drop(result);
    let rows: Vec<(u32, String)> = conn.query_stream::<(u32, String), _>(NAMES).await?.try_collect().await?;
    assert_eq!(rows, all, "{who}");

    const ABOVE: &str = "SELECT id, name FROM all_methods WHERE id > :least ORDER BY id";
    let above = || params! { "least" => 1 };
    let statement = conn.prep(ABOVE).await?;
    let some: Vec<(u32, String)> = conn.exec(&statement, above()).await?;
    assert_eq!(some, all[1..], "{who}");
    let first: Option<(u32, String)> = conn.exec_first(&statement, above()).await?;
    assert_eq!(first.unwrap().0, 2, "{who}");
    let ids = conn.exec_map(&statement, above(), |(id, _): (u32, String)| id * 10).await?;
    assert_eq!(ids, [20, 30], "{who}");
    let sum = conn.exec_fold(ABOVE, above(), 100, |sum, (id, _): (u32, String)| sum + id).await?;
    assert_eq!(sum, 105, "{who}");
    conn.exec_drop(&statement, above()).await?;
    let mut result = conn.exec_iter(&statement, above()).await?;
    let ids: Vec<u32> = result.map(|row| row.get(0).unwrap()).await?;
    assert_eq!(ids, [2, 3], "{who}");
    drop(result);
    let rows: Vec<(u32, String)> =
        conn.exec_stream::<(u32, String), _, _>(&statement, above()).await?.try_collect().await?;
    assert_eq!(rows, some, "{who}");
    conn.close(statement).await?;
    conn.query_drop("DROP TEMPORARY TABLE all_methods").await
}

#[test]
fn code_generic_over_the_drivers_trait_runs_on_connections_and_transactions() {
    on_cluster::<MySql>(3, async |cluster| {
        for plugins in ["none", "initial_connection,failover,query_log"] {
            let mut conn = cluster.connector::<MySql>(&[("plugins", plugins)]).connect().await.unwrap();
            everything(&mut conn, "connection").await.unwrap();
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            everything(&mut transaction, "transaction").await.unwrap();
            transaction.commit().await.unwrap();
        }
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        cluster.replace_writer().await;
        let lost = everything(&mut conn, "lost").await.unwrap_err();
        assert!(wrapper_error(&lost).is_some_and(aws_wrapper_core::Error::is_failover_success), "{lost:?}");
        everything(&mut conn, "replaced").await.unwrap();
    });
}

#[test]
fn what_the_server_said_about_a_statement_is_known() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        conn.query_drop("CREATE TABLE counted (id INT PRIMARY KEY AUTO_INCREMENT, name TEXT)").await.unwrap();
        conn.query_drop("INSERT INTO counted (name) VALUES ('a'), ('b')").await.unwrap();
        assert_eq!((conn.affected_rows(), conn.last_insert_id()), (2, Some(1)));
        assert_eq!(conn.info(), "Records: 2  Duplicates: 0  Warnings: 0");
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.exec_drop("INSERT INTO counted (name) VALUES (?)", ("c",)).await.unwrap();
        assert_eq!((transaction.affected_rows(), transaction.last_insert_id()), (1, Some(3)));
        transaction.commit().await.unwrap();
        conn.query_drop("SELECT 1/0").await.unwrap();
        assert_eq!(conn.get_warnings(), 1);
        // Of a result that was read in part, too.
        {
            let result = conn.query_iter("UPDATE counted SET name = 'd'; SELECT 1").await.unwrap();
            assert_eq!(result.affected_rows(), 3);
        }
        conn.query_drop("DO 0").await.unwrap();
        assert_eq!((conn.affected_rows(), conn.last_insert_id(), &*conn.info()), (0, None, ""));
        conn.query_drop("SELECT * FROM nowhere").await.unwrap_err();
        assert!(conn.last_ok_packet().is_none(), "an error says nothing of it");
    });
}

/// The match that stands in a thousand programs.
#[test]
fn an_error_of_the_server_comes_out_as_the_driver_made_it() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            conn.query_drop("CREATE TABLE IF NOT EXISTS once (id INT PRIMARY KEY)").await.unwrap();
            conn.query_drop("REPLACE INTO once VALUES (1)").await.unwrap();
            let again = "INSERT INTO once VALUES (1)";
            is_duplicate(conn.query_drop(again).await);
            is_duplicate(conn.exec_drop("INSERT INTO once VALUES (?)", (1,)).await);
            is_duplicate(conn.query_iter(again).await.map(drop));
            is_duplicate(conn.exec_iter(again, ()).await.map(drop));
            is_duplicate(Queryable::query_drop(&mut conn, again).await);
            is_duplicate(Queryable::query_iter(&mut conn, again).await.map(drop));
            is_duplicate(Queryable::exec_batch(&mut conn, again, [()]).await);
            let mut result = conn.query_iter(format!("SELECT 1; {again}")).await.unwrap();
            assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
            is_duplicate(result.collect::<Row>().await);
            drop(result);
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            is_duplicate(transaction.query_drop(again).await);
            transaction.commit().await.unwrap();
            assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept");
            assert_eq!(failovers(&mut events), (0, Vec::new()));
        }
    });
}

fn is_duplicate<T: std::fmt::Debug>(result: mysql_async::Result<T>) {
    match result {
        Err(mysql_async::Error::Server(error)) if error.code == 1062 => {
            assert_eq!(error.state, "23000");
            let error = Error::from(mysql_async::Error::Server(error));
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other));
            assert_eq!((error.vendor_code(), error.sqlstate()), (Some(1062), Some("23000")));
            assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry);
            assert!(error.connection_usable());
            let core = error.into_core();
            assert!(matches!(mysql_error(&core), Some(mysql_async::Error::Server(_))));
        }
        other => panic!("a duplicate key is an error of the server: {other:?}"),
    }
}

#[test]
fn the_wrappers_own_error_is_found_in_the_drivers() {
    on_cluster::<MySql>(3, async |cluster| {
        // Without the tracker: it may close the idle connection first, and then the driver has no error to show.
        let plugins = [("plugins", "initial_connection,failover,efm")];
        let mut conn = cluster.connector::<MySql>(&plugins).connect().await.unwrap();
        cluster.replace_writer().await;
        let error = conn.query_drop("SELECT 1").await.unwrap_err();
        let found = wrapper_error(&error).expect("a failover is told by the wrapper");
        assert!(found.is_failover_success());
        assert!(mysql_error(found).is_some(), "the driver's reason is behind it: {found:?}");
        // Those who walk the chain find it, too, and there and back nothing is lost.
        let source = std::error::Error::source(&error).expect("it has a source");
        assert!(source.downcast_ref::<aws_wrapper_core::Error>().is_some(), "{source:?}");
        let back = mysql_async::Error::from(Error::from(error));
        assert!(wrapper_error(&back).is_some_and(aws_wrapper_core::Error::is_failover_success), "{back:?}");
    });
}

#[test]
fn the_victim_of_a_deadlock_is_told_to_begin_again() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut first = connector.connect().await.unwrap();
        let mut second = connector.connect().await.unwrap();
        first.query_drop("CREATE TABLE locked (id INT PRIMARY KEY, n INT)").await.unwrap();
        first.query_drop("INSERT INTO locked VALUES (1, 0), (2, 0)").await.unwrap();
        // The one that has changed less is the victim.
        second.query_drop("INSERT INTO locked VALUES (3, 0), (4, 0), (5, 0), (6, 0)").await.unwrap();
        let mut witness = cluster.admin::<MySql>("instance-1").await;
        let mut transaction = first.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("UPDATE locked SET n = 1 WHERE id = 1").await.unwrap();
        second.query_drop("BEGIN").await.unwrap();
        second.query_drop("UPDATE locked SET n = 2 WHERE id >= 2").await.unwrap();
        let other = spawn(async move {
            second.query_drop("UPDATE locked SET n = 2 WHERE id = 1").await.unwrap();
            second.query_drop("COMMIT").await.unwrap();
        });
        eventually(Duration::from_secs(5), "the second session waits", async || {
            // The server answers from a cache until nobody has asked for a tenth of a second.
            sleep(CACHED).await;
            let waits = "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
            witness.ask(waits).await.unwrap() == "1"
        })
        .await;
        let error = transaction.query_drop("UPDATE locked SET n = 1 WHERE id = 2").await.unwrap_err();
        assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1213), "{error:?}");
        let error = Error::from(error);
        assert_eq!((error.vendor_code(), error.sqlstate()), (Some(1213), Some("40001")), "{error:?}");
        assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction, "{error:?}");
        assert!(error.connection_usable(), "{error:?}");
        assert_ne!(error.transaction_outcome(), TransactionOutcome::Unknown, "{error:?}");
        other.await.unwrap();
        drop(transaction);
        assert_eq!(first.ask("SELECT sum(n) FROM locked").await.unwrap(), "12");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

/// A library that takes the connection by value and one that keeps it in a structure.
#[test]
fn a_connection_can_be_sent_and_kept() {
    on_cluster::<MySql>(1, async |cluster| {
        struct Repository<Q> {
            conn: Q,
        }
        impl<Q: Queryable> Repository<Q> {
            async fn double(&mut self, number: u32) -> mysql_async::Result<Option<u32>> {
                self.conn.exec_first("SELECT ? * 2", (number,)).await
            }
        }
        let conn: Conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut repository = Repository { conn };
        let doubled = spawn(async move { repository.double(21).await.unwrap() });
        assert_eq!(doubled.await.unwrap(), Some(42));
    });
}

/// `"select 1".first(&mut conn)`: the query comes first, the connection is lent to the driver.
#[test]
fn a_query_can_be_given_the_connection() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        for _ in 0..2 {
            let one: Option<u32> = "SELECT 1".first(&mut conn).await.unwrap();
            assert_eq!(one, Some(1));
            let sum: Option<u32> =
                "SELECT CAST(? + ? AS UNSIGNED)".with((1, 2)).first(&mut conn).await.unwrap();
            assert_eq!(sum, Some(3));
            let named: Vec<u32> = "SELECT :a UNION SELECT :b"
                .with(params! { "a" => 1, "b" => 2 })
                .fetch(&mut conn)
                .await
                .unwrap();
            assert_eq!(named, [1, 2]);
            "INSERT INTO log VALUES (?)".with([(1,), (2,), (3,)]).batch(&mut conn).await.unwrap();
            let ids: Vec<i64> =
                "SELECT id FROM log ORDER BY id".map(&mut conn, |id: i64| id * 10).await.unwrap();
            assert_eq!(ids, [10, 20, 30]);
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            "INSERT INTO log VALUES (4)".ignore(&mut transaction).await.unwrap();
            assert_eq!("SELECT sum(id) FROM log".first(&mut transaction).await.unwrap(), Some(10));
            transaction.rollback().await.unwrap();
            // A result that was read in part, and one that failed.
            drop("SELECT 1; SELECT 2".run(&mut conn).await.unwrap());
            assert_eq!(conn.ask("SELECT 'kept'").await.unwrap(), "kept");
            is_duplicate("SIGNAL SQLSTATE '23000' SET MYSQL_ERRNO = 1062".ignore(&mut conn).await);
            assert_eq!("DELETE FROM log".run(&mut conn).await.unwrap().affected_rows(), 3);

            // Lost under the driver's hands: one error, and then the session goes on.
            let report = cluster.replace_writer().await;
            "SELECT 1".ignore(&mut conn).await.unwrap_err();
            if let Err(error) = conn.who().await {
                assert!(error.is_failover_success(), "{error:?}");
            }
            assert_eq!("SELECT @@aurora_server_id".first(&mut conn).await.unwrap(), Some(report.new_writer));
            cluster.complete().await;
        }
    });
}

/// What the driver does with the lent connection nobody sees; what was open on it is known all the same.
#[test]
fn a_transaction_begun_on_the_lent_connection_is_known() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        "BEGIN".ignore(&mut conn).await.unwrap();
        "INSERT INTO log VALUES (1)".ignore(&mut conn).await.unwrap();
        cluster.replace_writer().await;
        // One error at most before the one that tells, and never a write of its own.
        let error = Error::from("INSERT INTO log VALUES (2)".ignore(&mut conn).await.unwrap_err());
        let told = match error.transaction_outcome() {
            TransactionOutcome::NotInTransaction => {
                conn.run("INSERT INTO log VALUES (3)").await.unwrap_err().transaction_outcome()
            }
            told => told,
        };
        // Nobody knows what the driver was given to do when the connection was lost: it may have been a commit.
        assert_ne!(told, TransactionOutcome::NotInTransaction, "{error:?}");
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}
