//! Transactions, savepoints and portals.

use std::future::Future;
use std::task::{Context, Waker};

use aws_wrapper_pg::ErrorKind;
use aws_wrapper_pg::core::registry::Ending;
use aws_wrapper_pg::core::session::transaction::TransactionState;
use aws_wrapper_pg::tokio_postgres::IsolationLevel;

use crate::server::Server;

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_and_a_committed_one_stays() {
    let server = Server::shared();
    let mut client = server.client().await;
    client.batch_execute("create temp table t (id int)").await.unwrap();
    for commits in [false, true] {
        let transaction = client.transaction().await.unwrap();
        transaction.execute("insert into t values (1)", &[]).await.unwrap();
        assert_eq!(transaction.slot().transaction(), TransactionState::InTransaction);
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    let transaction = client.transaction().await.unwrap();
    transaction.execute("insert into t values (1)", &[]).await.unwrap();
    transaction.rollback().await.unwrap();
    assert_eq!(client.query_one_scalar::<i64, _>("select count(*) from t", &[]).await.unwrap(), 1);
    assert_eq!(client.transaction_state(), TransactionState::Idle);
}

#[tokio::test]
async fn savepoints_nest() {
    let server = Server::shared();
    let mut client = server.client().await;
    client.batch_execute("create temp table t (id int)").await.unwrap();
    let mut outer = client.transaction().await.unwrap();
    outer.execute("insert into t values (1)", &[]).await.unwrap();
    {
        let mut inner = outer.savepoint("named").await.unwrap();
        inner.execute("insert into t values (2)", &[]).await.unwrap();
        let innermost = inner.transaction().await.unwrap();
        innermost.execute("insert into t values (3)", &[]).await.unwrap();
        innermost.commit().await.unwrap();
    }
    let kept = outer.transaction().await.unwrap();
    kept.execute("insert into t values (4)", &[]).await.unwrap();
    kept.commit().await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(client.query_scalar::<i32, _>("select id from t order by id", &[]).await.unwrap(), [1, 4]);
}

#[tokio::test]
async fn settings_reach_the_server() {
    let server = Server::shared();
    let mut client = server.client().await;
    let builder = client.build_transaction().isolation_level(IsolationLevel::Serializable).read_only(true);
    let transaction = builder.deferrable(true).start().await.unwrap();
    for (setting, value) in [
        ("transaction_isolation", "serializable"),
        ("transaction_read_only", "on"),
        ("transaction_deferrable", "on"),
    ] {
        let row = transaction.query_one("select current_setting($1)", &[&setting]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{setting}");
    }
    let error = transaction.execute("create table refused ()", &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("25006"));
    assert!(error.connection_usable());
}

#[tokio::test]
async fn a_portal_is_read_in_pieces() {
    let server = Server::shared();
    let mut client = server.client().await;
    let statement = client.prepare("select generate_series(1, $1::int4)").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let portal = transaction.bind(&statement, &[&10_i32]).await.unwrap();
    let mut sizes = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 4).await.unwrap();
        sizes.push(rows.len());
        if rows.len() < 4 {
            break;
        }
    }
    assert_eq!(sizes, [4, 4, 2]);
}

#[tokio::test]
async fn committing_a_failed_transaction_fails_where_the_driver_says_ok() {
    let server = Server::shared();
    let mut client = server.client().await;
    let transaction = client.transaction().await.unwrap();
    transaction.query("select 1/0", &[]).await.unwrap_err();
    let error = transaction.commit().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "{error:?}");
    assert!(format!("{error:#}").contains("division by zero"), "{error:#}");
    assert_eq!(client.transaction_state(), TransactionState::Idle);
}

/// One thread: the connection's task runs only when the test waits.
#[tokio::test]
async fn an_end_nobody_waits_for_is_remembered_until_it_is_answered() {
    let server = Server::shared();
    let mut client = server.client().await;
    for ending in [None, Some(Ending::Commit), Some(Ending::Rollback)] {
        let mut transaction = client.transaction().await.unwrap();
        transaction.transaction().await.unwrap().commit().await.unwrap();
        drop(transaction.transaction().await.unwrap());
        transaction.query("select 1", &[]).await.unwrap();
        assert_eq!(transaction.slot().ending(), None, "savepoints do not count");
        match ending {
            None => transaction.commit().await.unwrap(),
            Some(Ending::Commit) => {
                let mut commit = Box::pin(transaction.commit());
                assert!(commit.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            }
            _ => drop(transaction),
        }
        assert_eq!(client.slot().ending(), ending);
        client.batch_execute("select 1").await.unwrap();
        assert_eq!(client.slot().ending(), None);
    }
}
