//! An error on a session that lives is the server's own answer, whatever its number.

use std::time::Duration;

use aurora_sim::{Cluster, Flavor};
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Error, Statement};
use integration_tests::{
    MySql, Session, TestCluster, eventually, failovers, host_down, on_built, on_cluster,
};

/// What a procedure may say: the state and number with which servers end sessions, refuse logins and packets.
const SAID: &[(&str, &str, u32)] = &[
    ("s08", "SIGNAL SQLSTATE '08S01'", 1644),
    ("s28", "SIGNAL SQLSTATE '28000'", 1644),
    ("e1045", "SIGNAL SQLSTATE '28000' SET MYSQL_ERRNO = 1045", 1045),
    ("e1053", "SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053", 1053),
    ("e1153", "SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1153", 1153),
    ("e1158", "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1158", 1158),
    ("e3169", "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 3169", 3169),
    ("e4031", "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 4031", 4031),
];

async fn procedures(cluster: &TestCluster) {
    let mut conn = cluster.connector::<MySql>(&[("plugins", "none")]).connect().await.unwrap();
    conn.run("CREATE TABLE log (id bigint)").await.unwrap();
    for (name, signal, _) in SAID {
        conn.run(&format!("CREATE PROCEDURE {name}() {signal}")).await.unwrap();
    }
    let mut admin = cluster.admin::<MySql>(&cluster.writer()).await;
    admin.run("CREATE FUNCTION fails() RETURNS INT DETERMINISTIC BEGIN SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1053; RETURN 1; END")
        .await
        .unwrap();
}

/// By text and prepared, inherent and through the driver's trait, by results that are read later and in batches.
async fn failures(conn: &mut Conn, sql: &str) -> Vec<mysql_async::Error> {
    let ours = conn.prep(sql).await.unwrap();
    let drivers = Queryable::prep(conn, sql).await.unwrap();
    vec![
        conn.query_drop(sql).await.unwrap_err(),
        conn.query::<u32, _>(sql).await.unwrap_err(),
        read(conn, sql).await.unwrap_err(),
        conn.exec_drop(sql, ()).await.unwrap_err(),
        conn.exec_drop(&ours, ()).await.unwrap_err(),
        conn.exec_drop(&drivers, ()).await.unwrap_err(),
        conn.exec_batch(&ours, [()]).await.unwrap_err(),
        read_prepared(conn, &ours).await.unwrap_err(),
        Queryable::query_drop(conn, sql).await.unwrap_err(),
        read_by_trait(conn, sql).await.unwrap_err(),
        Queryable::exec_drop(conn, sql, ()).await.unwrap_err(),
        Queryable::exec_drop(conn, &drivers, ()).await.unwrap_err(),
        Queryable::exec_batch(conn, sql, [()]).await.unwrap_err(),
        Queryable::exec::<Row, _, _>(conn, &drivers, ()).await.unwrap_err(),
    ]
}

async fn read(conn: &mut Conn, sql: &str) -> mysql_async::Result<()> {
    conn.query_iter(sql).await?.drop_result().await
}

async fn read_prepared(conn: &mut Conn, statement: &Statement) -> mysql_async::Result<()> {
    conn.exec_iter(statement, ()).await?.drop_result().await
}

async fn read_by_trait(conn: &mut impl Queryable, sql: &str) -> mysql_async::Result<()> {
    conn.query_iter(sql).await?.drop_result().await
}

fn is_an_answer(error: mysql_async::Error, code: u32, what: &str) {
    assert!(
        matches!(&error, mysql_async::Error::Server(server) if u32::from(server.code) == code),
        "{what}: {error:?}"
    );
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{what}: {error:?}");
    assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{what}: {error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{what}: {error:?}");
    assert!(error.connection_usable(), "{what}: {error:?}");
}

async fn whatever_is_said(cluster: &TestCluster, params: &[(&str, &str)]) {
    procedures(cluster).await;
    let connector = cluster.connector::<MySql>(params);
    let mut events = connector.services().subscribe();
    let mut conn = connector.connect().await.unwrap();
    let id = conn.id();
    for (name, _, code) in SAID {
        for error in failures(&mut conn, &format!("CALL {name}()")).await {
            is_an_answer(error, *code, name);
        }
    }
    for error in failures(&mut conn, "SELECT fails()").await {
        is_an_answer(error, 1053, "a function");
    }
    // A transaction stays, with its savepoints, and can be committed.
    for (name, _, code) in SAID {
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        transaction.query_drop("SAVEPOINT a").await.unwrap();
        let call = format!("CALL {name}()");
        is_an_answer(transaction.query_drop(&call).await.unwrap_err(), *code, name);
        is_an_answer(transaction.exec_drop(&call, ()).await.unwrap_err(), *code, name);
        is_an_answer(Queryable::exec_drop(&mut transaction, &call, ()).await.unwrap_err(), *code, name);
        transaction.query_drop("ROLLBACK TO SAVEPOINT a").await.unwrap();
        assert_eq!(transaction.transaction_state(), TransactionState::InTransaction);
        transaction.commit().await.unwrap();
    }
    let rows = conn.ask("SELECT count(*) FROM log").await.unwrap();
    assert_eq!(rows, SAID.len().to_string());
    assert_eq!(conn.id(), id, "it is the connection it was");
    assert_eq!(failovers(&mut events), (0, Vec::new()));
    assert!(host_down(&mut events).is_empty());
}

#[test]
fn whatever_a_procedure_says_on_a_cluster_the_session_stays() {
    on_cluster::<MySql>(2, async |cluster| whatever_is_said(cluster, &[]).await);
}

#[test]
fn whatever_a_procedure_says_on_a_plain_server_the_session_stays() {
    on_built::<MySql>(Cluster::builder().instances(1).flavor(Flavor::Plain), async |cluster| {
        whatever_is_said(cluster, &[("plugins", "none")]).await;
    });
}

/// Rows come first, so nothing can be asked when the error does.
#[test]
fn an_error_in_the_middle_of_rows_leaves_the_session_and_its_transaction() {
    on_cluster::<MySql>(2, async |cluster| {
        procedures(cluster).await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let id = conn.id();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        let mut result = transaction.query_iter("SELECT 1; CALL e1053()").await.unwrap();
        assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
        is_an_answer(result.collect::<u32>().await.unwrap_err(), 1053, "a later result");
        drop(result);
        transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(conn.ask("SELECT sum(id) FROM log").await.unwrap(), "3");
        assert_eq!(conn.id(), id, "it is the connection it was");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

/// A privilege that is missing is no refused login.
#[test]
fn an_access_that_is_denied_to_a_statement_is_no_login() {
    on_cluster::<MySql>(2, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        let error = conn.query_drop("SELECT 1 INTO OUTFILE '/tmp/not-allowed'").await.unwrap_err();
        // Before MySQL 9 it has the number of a refused login, 1045.
        let code = Error::from(error).vendor_code().unwrap();
        assert!(matches!(code, 1045 | 1227), "{code}");
        let error = conn.query_drop("SELECT 1 INTO OUTFILE '/tmp/not-allowed'").await.unwrap_err();
        is_an_answer(error, code, "the privilege FILE");
    });
}

/// Other sessions of a healthy host go on, and no event says that it is down.
#[test]
fn a_session_that_is_killed_does_not_make_its_host_one_that_is_down() {
    on_cluster::<MySql>(2, async |cluster| {
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let mut other = connector.connect().await.unwrap();
            conn.run("BEGIN").await.unwrap();
            let id = conn.id();
            admin.run(&format!("KILL {id}")).await.unwrap();
            let sql = format!("SELECT count(*) FROM information_schema.processlist WHERE id = {id}");
            eventually(Duration::from_secs(5), "the session is gone", async || {
                admin.ask(&sql).await.unwrap() == "0"
            })
            .await;
            let error = conn.run("DO 1").await.unwrap_err();
            assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{plugins}: {error:?}");
            let (id, one) = (other.id(), other.ask("SELECT 1").await.unwrap());
            assert_eq!((other.id(), one.as_str()), (id, "1"));
            assert!(host_down(&mut events).is_empty(), "{plugins}: the host is well");
        }
    });
}
