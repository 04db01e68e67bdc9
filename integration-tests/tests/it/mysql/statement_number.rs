//! Statements of the driver's own are numbers of one connection. What keeps them apart on the next one costs the same,
//! however many there were.

use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_mysql::mysql_async::prelude::{Query, Queryable, WithParams};
use aws_wrapper_mysql::mysql_async::{self, ChangeUserOpts, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Error};
use integration_tests::{MySql, Session, TestCluster, on_cluster};

/// Brings the number of the next statement up, as a session does that has prepared so many.
async fn count_up(cluster: &TestCluster, conn: &mut Conn, number: u32) {
    let mut admin = cluster.admin::<MySql>(&cluster.writer()).await;
    admin
        .query_drop(
            "CREATE PROCEDURE IF NOT EXISTS count_up(n INT) BEGIN DECLARE i INT DEFAULT 0; WHILE i < n DO PREPARE s \
             FROM 'DO 0'; SET i = i + 1; END WHILE; END",
        )
        .await
        .unwrap();
    conn.query_drop(format!("CALL count_up({number})")).await.unwrap();
}

async fn executed(conn: &mut impl Queryable, statement: &mysql_async::Statement) -> mysql_async::Result<()> {
    conn.exec_drop(statement, ()).await
}

async fn prepares_others(conn: &mut Conn, how_many: u32) {
    for number in 0..how_many {
        conn.exec_drop(format!("SELECT 'wrong', {number}"), ()).await.unwrap();
    }
}

fn is_refused(error: mysql_async::Error) {
    let error = Error::from(error);
    assert_eq!(error.kind(), ErrorKind::ConnectionSwitched, "{error:?}");
    assert!(!error.statement_may_have_run() && error.connection_usable(), "{error:?}");
    let text = error.to_string();
    assert!(text.contains("text") && text.contains("`prep`") && text.contains("new connection"), "{text}");
}

/// On a session that has prepared so many statements.
fn after_many(number: u32) {
    on_cluster::<MySql>(3, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        let early = Queryable::prep(&mut conn, "SELECT 'right'").await.unwrap();
        count_up(cluster, &mut conn, number).await;
        let late = Queryable::prep(&mut conn, "SELECT 'right', 2").await.unwrap();
        assert!(late.id() > number, "{}", late.id());
        let ours = conn.prep("SELECT 'ours'").await.unwrap();
        for round in 0..2 {
            cluster.replace_writer().await;
            let lost = Error::from(executed(&mut conn, &late).await.unwrap_err());
            if round == 0 {
                assert!(lost.is_failover_success(), "{lost:?}");
            } else {
                // Refused before it is sent, so the loss is not noticed yet.
                assert!(Error::from(conn.ping().await.unwrap_err()).is_failover_success());
            }
            prepares_others(&mut conn, 5).await;
            for handle in [&early, &late] {
                is_refused(executed(&mut conn, handle).await.unwrap_err());
                is_refused(Queryable::exec::<Row, _, _>(&mut conn, handle, ()).await.unwrap_err());
                is_refused(
                    Queryable::exec_first::<Row, _, _>(&mut conn, handle.clone(), ()).await.unwrap_err(),
                );
                is_refused(Queryable::exec_batch(&mut conn, handle.clone(), [()]).await.unwrap_err());
                is_refused(Queryable::exec_iter(&mut conn, handle, ()).await.map(drop).unwrap_err());
                is_refused(
                    Queryable::exec_stream::<Row, _, _>(&mut conn, handle, ()).await.map(drop).unwrap_err(),
                );
                let folded = Queryable::exec_fold(&mut conn, handle, (), 0, |count, _: Row| count + 1).await;
                is_refused(folded.unwrap_err());
                is_refused(conn.exec_drop(handle, ()).await.unwrap_err());
                is_refused(conn.exec_first::<Row, _, _>(handle, ()).await.unwrap_err());
                is_refused(conn.exec_batch(handle, [()]).await.unwrap_err());
                is_refused(conn.exec_iter(handle, ()).await.map(drop).unwrap_err());
                is_refused(handle.with(()).run(&mut conn).await.map(drop).unwrap_err());
                // It went with its connection, and no other is closed in its place.
                conn.close(handle).await.unwrap();
                Queryable::close(&mut conn, handle.clone()).await.unwrap();
            }
            is_refused(Queryable::prep(&mut conn, "SELECT 1").await.unwrap_err());
            is_refused("SELECT 1".run(&mut conn).await.map(drop).unwrap_err());
            // Text and the wrapper's own go on, in a transaction, too.
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            is_refused(executed(&mut transaction, &early).await.unwrap_err());
            let answer: Option<String> = transaction.exec_first(&ours, ()).await.unwrap();
            assert_eq!(answer.as_deref(), Some("ours"));
            let answer: Option<String> =
                Queryable::exec_first(&mut transaction, "SELECT 'text'", ()).await.unwrap();
            assert_eq!(answer.as_deref(), Some("text"));
            transaction.commit().await.unwrap();
            let answer: Option<String> = Queryable::query_first(&mut conn, "SELECT 'text'").await.unwrap();
            assert_eq!(answer.as_deref(), Some("text"));
            // What the switch cost: nothing was prepared to bring the number up.
            let prepared = conn.ask("SHOW SESSION STATUS LIKE 'Com_prepare_sql'").await.unwrap();
            assert_eq!(prepared, "Com_prepare_sql");
            let count: (String, u32) =
                conn.query_first("SHOW SESSION STATUS LIKE 'Com_prepare_sql'").await.unwrap().unwrap();
            assert_eq!(count.1, 0);
            cluster.complete().await;
        }
        // A connection of its own starts anew.
        let mut fresh = connector.connect().await.unwrap();
        let handle = Queryable::prep(&mut fresh, "SELECT 'fresh'").await.unwrap();
        executed(&mut fresh, &handle).await.unwrap();
    });
}

#[test]
fn after_many_statements_a_new_connection_refuses_those_of_the_driver() {
    after_many(100);
}

#[test]
fn after_very_many_statements_a_new_connection_costs_no_more() {
    after_many(20_000);
}

/// The server goes on counting in a session that it has cleaned.
#[test]
fn after_a_reset_a_statement_of_the_driver_meets_no_other() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        count_up(cluster, &mut conn, 500).await;
        for change_user in [false, true] {
            let handle = Queryable::prep(&mut conn, "SELECT 'right'").await.unwrap();
            executed(&mut conn, &handle).await.unwrap();
            if change_user {
                conn.change_user(ChangeUserOpts::default()).await.unwrap();
            } else {
                conn.reset().await.unwrap();
            }
            prepares_others(&mut conn, 10).await;
            let error = Error::from(executed(&mut conn, &handle).await.unwrap_err());
            assert_eq!(error.vendor_code(), Some(1243), "{error:?}");
            let again = Queryable::prep(&mut conn, "SELECT 'again'").await.unwrap();
            assert!(again.id() > handle.id(), "the number goes on");
            executed(&mut conn, &again).await.unwrap();
        }
    });
}
