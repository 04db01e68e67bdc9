//! Where the server has not said whether a transaction is open, the state is unknown until it has.

use aws_wrapper_core::error::TransactionOutcome;
use aws_wrapper_core::session::transaction::TransactionState::{Idle, InTransaction, Unknown};
use aws_wrapper_mysql::mysql_async::prelude::{Query, Queryable};
use aws_wrapper_mysql::mysql_async::{self, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Error};
use futures_util::StreamExt;
use integration_tests::{MySql, Session, TestCluster, on_cluster};

async fn prepared(cluster: &TestCluster) -> Conn {
    cluster.log_table::<MySql>().await;
    let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
    for sql in [
        "CREATE TABLE one (id INT PRIMARY KEY)",
        "INSERT INTO one VALUES (1)",
        "CREATE PROCEDURE opens() BEGIN START TRANSACTION; INSERT INTO log VALUES (1); SIGNAL SQLSTATE '45000'; END",
        "CREATE PROCEDURE two() BEGIN SELECT 1; START TRANSACTION; INSERT INTO log VALUES (2); END",
        "CREATE PROCEDURE fails() BEGIN SELECT 1; SIGNAL SQLSTATE '45000'; END",
    ] {
        conn.run(sql).await.unwrap();
    }
    conn
}

const DUPLICATE: &str = "INSERT INTO one VALUES (1)";

#[test]
fn only_a_plain_statement_under_autocommit_fails_and_leaves_nothing_open() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = prepared(cluster).await;
        for sql in [DUPLICATE, "SELECT nothing", "update one set id = 'x' where nothing = 1;"] {
            conn.run(sql).await.unwrap_err();
            assert_eq!(conn.transaction_state(), Idle, "{sql}");
            conn.exec_drop(sql, ()).await.unwrap_err();
            assert_eq!(conn.transaction_state(), Idle, "{sql}");
        }
        conn.prep("SELECT nothing").await.unwrap_err();
        assert_eq!(conn.transaction_state(), Idle, "nothing was executed");

        for (sql, after) in [
            ("CALL opens()", InTransaction),
            ("BEGIN; INSERT INTO log VALUES (1); BLABLA", InTransaction),
            ("SELECT 1; SELECT nothing", Idle),
            ("XA START 'a', 'b', 'c', 'd'", Idle),
        ] {
            conn.query_drop(sql).await.unwrap_err();
            assert_eq!(conn.transaction_state(), Unknown, "{sql}");
            conn.ping().await.unwrap();
            assert_eq!(conn.transaction_state(), after, "{sql}");
            conn.run("ROLLBACK").await.unwrap();
            assert_eq!(conn.transaction_state(), Idle, "{sql}");
        }
        // The text of what code generic over the driver's trait executes is hidden.
        Queryable::exec_drop(&mut conn, "CALL opens()", ()).await.unwrap_err();
        assert_eq!(conn.transaction_state(), Unknown);
        conn.ping().await.unwrap();
        assert_eq!(conn.transaction_state(), InTransaction);
        conn.run("ROLLBACK").await.unwrap();

        // Without autocommit whatever was executed before the error has begun a transaction.
        conn.run("SET autocommit = 0").await.unwrap();
        conn.run(DUPLICATE).await.unwrap_err();
        assert_eq!(conn.transaction_state(), Unknown);
        conn.ping().await.unwrap();
        assert_eq!(conn.transaction_state(), InTransaction);
        conn.run("ROLLBACK").await.unwrap();
        conn.run("SET autocommit = 1").await.unwrap();
        conn.run(DUPLICATE).await.unwrap_err();
        assert_eq!(conn.transaction_state(), Idle);

        conn.run("XA START 'a'").await.unwrap();
        assert_eq!(conn.transaction_state(), InTransaction);
        conn.run(DUPLICATE).await.unwrap_err();
        assert_eq!(conn.transaction_state(), Unknown);
        conn.run("XA END 'a'").await.unwrap();
        assert_eq!(conn.transaction_state(), InTransaction);
        conn.run("XA ROLLBACK 'a'").await.unwrap();
        assert_eq!(conn.transaction_state(), Idle);
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

/// The answer to it looks like one that says no transaction is open.
#[test]
fn a_statement_prepared_in_a_transaction_leaves_it_open() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = prepared(cluster).await;
        let mut witness = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
        for by_trait in [false, true] {
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
            if by_trait {
                Queryable::prep(&mut transaction, "SELECT ? + 1").await.unwrap();
                Queryable::exec_batch(&mut transaction, "SELECT 1 + ?", Vec::<(u32,)>::new()).await.unwrap();
            } else {
                transaction.prep("SELECT ?").await.unwrap();
                transaction.exec_batch("SELECT 2 + ?", Vec::<(u32,)>::new()).await.unwrap();
            }
            assert_eq!(transaction.transaction_state(), InTransaction);
            drop(transaction);
            conn.run("INSERT INTO log VALUES (2)").await.unwrap();
            assert_eq!(witness.ask("SELECT group_concat(id) FROM log").await.unwrap(), "2", "{by_trait}");
            witness.run("DELETE FROM log").await.unwrap();
        }
    });
}

/// Opens a result, reads the first row at most, and drops it.
async fn leave(conn: &mut Conn, way: u32, sql: &str) {
    match way {
        0 => drop(conn.query_iter(sql).await.unwrap()),
        1 => drop(conn.query_iter(sql).await.unwrap().next().await.unwrap()),
        2 => drop(conn.query_stream::<Row, _>(sql).await.unwrap().next().await.unwrap().unwrap()),
        3 => drop(Queryable::query_iter(conn, sql).await.unwrap()),
        4 => drop(Queryable::query_stream::<Row, _>(conn, sql).await.unwrap().next().await),
        5 => drop(sql.run(conn).await.unwrap()),
        6 => drop(conn.exec_iter(sql, ()).await.unwrap()),
        _ => drop(Queryable::exec_iter(conn, sql, ()).await.unwrap()),
    }
}

#[test]
fn a_result_that_is_not_read_to_its_end_is_asked_after() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = prepared(cluster).await;
        for way in 0..8 {
            leave(&mut conn, way, "CALL two()").await;
            assert_eq!(conn.transaction_state(), Unknown, "{way}");
            assert_eq!(conn.ask("SELECT 1").await.unwrap(), "1");
            assert_eq!(conn.transaction_state(), InTransaction, "{way}");
            conn.run("ROLLBACK").await.unwrap();

            // The error belongs to the call that was given up.
            leave(&mut conn, way, "CALL fails()").await;
            assert_eq!(conn.ask("SELECT 1").await.unwrap(), "1", "{way}");
            assert_eq!(conn.transaction_state(), Idle, "{way}");
        }
        assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0");
    });
}

#[test]
fn a_result_that_is_read_to_its_end_says_what_is_open() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = prepared(cluster).await;
        for _ in 0..2 {
            conn.query_iter("CALL two()").await.unwrap().drop_result().await.unwrap();
            assert_eq!(conn.transaction_state(), InTransaction);
            assert_eq!(conn.slot().transaction(), InTransaction);
            let mut stream = conn.query_stream::<u32, _>("SELECT 1").await.unwrap();
            while let Some(row) = stream.next().await {
                row.unwrap();
            }
            drop(stream);
            assert_eq!(conn.transaction_state(), InTransaction);
            drop(conn.query_iter("ROLLBACK").await.unwrap());
            assert_eq!(conn.transaction_state(), Idle);
        }
    });
}

/// What a procedure began and left is lost with the connection, and the error says so.
#[test]
fn a_transaction_that_a_failed_procedure_left_counts_when_the_connection_is_lost() {
    on_cluster::<MySql>(3, async |cluster| {
        drop(prepared(cluster).await);
        for plugins in ["none", "initial_connection,failover"] {
            let mut conn = cluster.connector::<MySql>(&[("plugins", plugins)]).connect().await.unwrap();
            conn.query_drop("CALL opens()").await.unwrap_err();
            conn.run("INSERT INTO log VALUES (3)").await.unwrap();
            cluster.replace_writer().await;
            let error = conn.run("INSERT INTO log VALUES (4)").await.unwrap_err();
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{plugins}: {error:?}");
            cluster.complete().await;
        }
    });
}

/// The driver's own error, which its trait returns, cannot say it.
#[test]
fn without_a_plugin_a_lost_connection_says_what_became_of_the_transaction() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        for (begins, outcome) in
            [(false, TransactionOutcome::NotInTransaction), (true, TransactionOutcome::RolledBack)]
        {
            let mut conn = connector.connect().await.unwrap();
            if begins {
                conn.run("BEGIN").await.unwrap();
                conn.run("INSERT INTO log VALUES (1)").await.unwrap();
            }
            cluster.cut("instance-1", &conn).await;
            let error: mysql_async::Error = conn.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err();
            let error = Error::from(error);
            assert_eq!(error.transaction_outcome(), outcome, "{error:?}");
            assert!(!error.connection_usable(), "{error:?}");
        }
    });
}
