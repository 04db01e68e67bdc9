//! Prepared statements: across failovers, resets and evictions, the wrapper's and the driver's own.
//!
//! The driver's own statement is a number, and the driver never looks whose. The worst that can happen is that another
//! statement has that number.

use std::time::Duration;

use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, ChangeUserOpts, Params, Row, TxOpts, params};
use aws_wrapper_mysql::{Conn, Error};
use futures_util::StreamExt;
use integration_tests::{MySql, Session, TestCluster, on_cluster};
use tokio::time::timeout;

/// The server does not know a statement of that number.
const UNKNOWN: Option<u32> = Some(1243);
/// What the driver's cache of statements holds unless told otherwise is 32.
const MANY: u32 = 40;

/// How often a session has prepared something, and how much of that was the server's own idea.
const PREPARED: &str = "SHOW SESSION STATUS LIKE 'Com_stmt_%prepare'";

#[test]
fn a_prepared_statement_works_on_the_new_writer() {
    on_cluster::<MySql>(3, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let named =
            conn.prep("SELECT CAST(:number + :number AS UNSIGNED), @@aurora_server_id").await.unwrap();
        let by_place = conn.prep("SELECT CAST(? + 1 AS UNSIGNED), @@aurora_server_id").await.unwrap();
        for _ in 0..2 {
            let report = cluster.replace_writer().await;
            let lost = conn.exec_drop(&named, params! { "number" => 1 }).await;
            assert!(Error::from(lost.unwrap_err()).is_failover_success());
            for number in [2, 3] {
                let who = report.new_writer.clone();
                let row: (u32, String) =
                    conn.exec_first(&named, params! { "number" => number }).await.unwrap().unwrap();
                assert_eq!(row, (2 * number, who.clone()));
                let row: (u32, String) = conn.exec_first(&by_place, (number,)).await.unwrap().unwrap();
                assert_eq!(row, (number + 1, who));
            }
            let counts: Vec<(String, u32)> = conn.query(PREPARED).await.unwrap();
            assert_eq!(counts[0].1 - counts[1].1, 2, "each is prepared once: {counts:?}");
            cluster.complete().await;
        }
    });
}

#[test]
fn a_statement_works_in_transactions_before_and_after_a_failover() {
    on_cluster::<MySql>(3, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let insert = conn.prep("INSERT INTO log VALUES (?)").await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.exec_drop(&insert, (1,)).await.unwrap();
        transaction.commit().await.unwrap();
        cluster.replace_writer().await;
        let lost = conn.start_transaction(TxOpts::default()).await.map(drop).unwrap_err();
        assert!(Error::from(lost).is_failover_success());
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.exec_drop(&insert, (2,)).await.unwrap();
        transaction.exec_batch(&insert, [(3,), (4,)]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "10");
    });
}

#[test]
fn more_statements_than_the_drivers_cache_holds_keep_working() {
    on_cluster::<MySql>(1, async |cluster| {
        for cache in ["1", "32"] {
            let mut conn = cluster.connector::<MySql>(&[("stmt_cache_size", cache)]).connect().await.unwrap();
            let mut statements = Vec::new();
            for number in 0..MANY {
                statements.push(conn.prep(format!("SELECT ? + {number}")).await.unwrap());
            }
            for round in [0, 1000] {
                for (number, statement) in (0..MANY).zip(&statements) {
                    let sum: u32 = conn.exec_first(statement, (round,)).await.unwrap().unwrap();
                    assert_eq!(sum, round + number, "cache of {cache}");
                }
            }
            // The same by results that are read as they come, and inside of a transaction.
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            for (number, statement) in (0..MANY).zip(&statements) {
                let mut result = transaction.exec_iter(statement, (7,)).await.unwrap();
                assert_eq!(result.collect::<u32>().await.unwrap(), [7 + number], "cache of {cache}");
            }
            transaction.commit().await.unwrap();
        }
    });
}

#[derive(Debug, Clone, Copy)]
enum Forgets {
    Reset,
    ChangeUser,
    /// A call that was dropped costs the connection.
    Dropped,
    /// So does a mistake, and nobody says a word.
    Mistake,
}

const FORGETS: [Forgets; 4] = [Forgets::Reset, Forgets::ChangeUser, Forgets::Dropped, Forgets::Mistake];

impl Forgets {
    async fn happen(self, conn: &mut Conn) {
        match self {
            Self::Reset => assert!(conn.reset().await.unwrap()),
            Self::ChangeUser => conn.change_user(ChangeUserOpts::default()).await.unwrap(),
            Self::Dropped => {
                let dropped = timeout(Duration::from_millis(100), conn.query_drop("SELECT SLEEP(60)"));
                assert!(dropped.await.is_err());
                conn.ping().await.unwrap_err();
            }
            Self::Mistake => {
                conn.exec_drop("SELECT ?", (1, 2)).await.unwrap_err();
            }
        }
    }
}

#[test]
fn a_statement_works_after_whatever_makes_the_server_forget_it() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            let mut conn = cluster.connector::<MySql>(&[("plugins", plugins)]).connect().await.unwrap();
            let ours = conn.prep("SELECT 'right', ?").await.unwrap();
            for forgets in FORGETS {
                forgets.happen(&mut conn).await;
                for number in 0..3 {
                    let _other = conn.prep(format!("SELECT 'wrong', {number} + ?")).await.unwrap();
                }
                for number in [1, 2] {
                    let row: (String, u32) = conn.exec_first(&ours, (number,)).await.unwrap().unwrap();
                    assert_eq!(row, ("right".to_owned(), number), "{forgets:?}, {plugins}");
                }
            }
        }
    });
}

/// A statement that was closed by hand is one that the server has forgotten, too.
#[test]
fn a_statement_that_was_closed_is_prepared_again() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        let ours = conn.prep("SELECT 'right', ?").await.unwrap();
        for number in [1, 2] {
            conn.close(&ours).await.unwrap();
            conn.prep("SELECT 'wrong', ?").await.unwrap();
            let row: (String, u32) = conn.exec_first(&ours, (number,)).await.unwrap().unwrap();
            assert_eq!(row, ("right".to_owned(), number));
        }
    });
}

/// The same number, said by a procedure about a statement of its own: what the procedure did before has been done.
#[test]
fn a_procedure_that_misses_a_statement_is_not_called_twice() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        conn.query_drop(
            "CREATE PROCEDURE misses() BEGIN INSERT INTO log VALUES (1); EXECUTE no_such_statement; END",
        )
        .await
        .unwrap();
        let call = conn.prep("CALL misses()").await.unwrap();
        let error = conn.exec_drop(&call, ()).await.unwrap_err();
        assert_eq!(Error::from(error).vendor_code(), UNKNOWN);
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "1");
    });
}

/// What an application does that is generic over connections.
async fn prepared<Q: Queryable>(conn: &mut Q, sql: &str) -> mysql_async::Statement {
    conn.prep(sql).await.unwrap()
}

async fn answer<Q: Queryable>(
    conn: &mut Q,
    statement: &mysql_async::Statement,
    params: impl Into<Params>,
) -> mysql_async::Result<Option<String>> {
    let params: Params = params.into();
    conn.exec_first(statement, params).await
}

/// By each method that takes a statement.
async fn is_unknown(conn: &mut Conn, statement: &mysql_async::Statement, what: &str) {
    let check = |error: mysql_async::Error| {
        assert_eq!(Error::from(error).vendor_code(), UNKNOWN, "{what}");
    };
    check(answer(conn, statement, ()).await.unwrap_err());
    check(Queryable::exec::<Row, _, _>(conn, statement, ()).await.unwrap_err());
    check(Queryable::exec_drop(conn, statement, ()).await.unwrap_err());
    check(Queryable::exec_batch(conn, statement, [()]).await.unwrap_err());
    check(Queryable::exec_iter(conn, statement, ()).await.map(drop).unwrap_err());
    check(conn.exec_first::<Row, _, _>(statement, ()).await.unwrap_err());
    check(conn.exec_iter(statement, ()).await.map(drop).unwrap_err());
    conn.ping().await.unwrap();
}

#[test]
fn a_statement_of_the_drivers_own_never_runs_another_one_after_a_failover() {
    on_cluster::<MySql>(3, async |cluster| {
        for prepares in [false, true] {
            let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
            let mut statements = Vec::new();
            for number in 0..5 {
                statements.push(prepared(&mut conn, &format!("SELECT 'right {number}'")).await);
            }
            assert_eq!(answer(&mut conn, &statements[3], ()).await.unwrap().unwrap(), "right 3");
            for _ in 0..2 {
                let report = cluster.replace_writer().await;
                let lost = answer(&mut conn, &statements[3], ()).await.unwrap_err();
                assert!(Error::from(lost).is_failover_success());
                if prepares {
                    prepares_others(&mut conn).await;
                }
                for statement in &statements {
                    is_unknown(&mut conn, statement, &format!("after a failover: {prepares}")).await;
                }
                assert_eq!(conn.who().await.unwrap(), report.new_writer);
                cluster.complete().await;
            }
        }
    });
}

#[test]
fn a_statement_of_the_drivers_own_never_runs_another_one_after_the_server_forgot_it() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            for forgets in FORGETS {
                let mut conn = cluster.connector::<MySql>(&[("plugins", plugins)]).connect().await.unwrap();
                let statement = prepared(&mut conn, "SELECT 'right'").await;
                forgets.happen(&mut conn).await;
                prepares_others(&mut conn).await;
                is_unknown(&mut conn, &statement, &format!("{plugins}, {forgets:?}")).await;
                // What is prepared from now on works, and is as safe.
                let again = prepared(&mut conn, "SELECT 'again'").await;
                assert_eq!(answer(&mut conn, &again, ()).await.unwrap().unwrap(), "again");
                forgets.happen(&mut conn).await;
                prepares_others(&mut conn).await;
                is_unknown(&mut conn, &again, &format!("{plugins}, {forgets:?}, again")).await;
            }
        }
    });
}

/// In each way in which one can prepare.
async fn prepares_others(conn: &mut Conn) {
    let _ours = conn.prep("SELECT 'wrong 1'").await.unwrap();
    prepared(conn, "SELECT 'wrong 2'").await;
    conn.exec_drop("SELECT 'wrong 3'", ()).await.unwrap();
    Queryable::exec_drop(conn, "SELECT 'wrong 4'", ()).await.unwrap();
    conn.query_drop("PREPARE by_text FROM 'SELECT ''wrong 5'''").await.unwrap();
}

/// Also where the connection is lost inside of a transaction, on which it was prepared.
#[test]
fn a_statement_prepared_in_a_transaction_is_lost_with_its_connection() {
    on_cluster::<MySql>(3, async |cluster: &TestCluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        let statement = prepared(&mut transaction, "SELECT 'right'").await;
        let ours = transaction.prep("SELECT 'ours'").await.unwrap();
        assert_eq!(answer(&mut transaction, &statement, ()).await.unwrap().unwrap(), "right");
        cluster.replace_writer().await;
        let lost = answer(&mut transaction, &statement, ()).await.unwrap_err();
        assert!(Error::from(lost).is_failover_success());
        drop(transaction);
        prepares_others(&mut conn).await;
        is_unknown(&mut conn, &statement, "prepared in a transaction").await;
        let row: String = conn.exec_first(&ours, ()).await.unwrap().unwrap();
        assert_eq!(row, "ours");
    });
}

/// Executes `$select`, which has one parameter and finds one row for 1, in one of six ways.
macro_rules! executed {
    ($on:ident, $way:expr, $select:expr) => {
        match $way {
            0 => assert_eq!($on.exec::<Row, _, _>($select, (1,)).await.unwrap().len(), 1),
            1 => assert!($on.exec_first::<Row, _, _>($select, (1,)).await.unwrap().is_some()),
            2 => $on.exec_drop($select, (1,)).await.unwrap(),
            3 => $on.exec_batch($select, [(1,), (2,), (3,)]).await.unwrap(),
            4 => {
                let mut result = $on.exec_iter($select, (1,)).await.unwrap();
                assert_eq!(result.collect::<Row>().await.unwrap().len(), 1);
            }
            _ => {
                let stream = $on.exec_stream::<Row, _, _>($select, (1,)).await.unwrap();
                assert_eq!(stream.count().await, 1);
            }
        }
    };
}

/// The server has forgotten it, or its table has another shape.
#[test]
fn a_statement_heals_in_every_way_of_execution() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        conn.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        for way in 0..6 {
            for in_transaction in [false, true] {
                for alters in [false, true] {
                    let select = conn.prep("SELECT * FROM log WHERE id = ?").await.unwrap();
                    if alters {
                        let column = format!("c{way}{in_transaction}");
                        admin.run(&format!("ALTER TABLE log ADD COLUMN {column} INT")).await.unwrap();
                    } else {
                        // Past the wrapper, so that it does not know.
                        let handle = prepared(&mut conn, select.sql()).await;
                        Queryable::close(&mut conn, handle).await.unwrap();
                    }
                    if in_transaction {
                        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
                        transaction.query_drop("DELETE FROM log WHERE id = 2").await.unwrap();
                        executed!(transaction, way, &select);
                        transaction.commit().await.unwrap();
                    } else {
                        executed!(conn, way, &select);
                    }
                }
            }
        }
    });
}
