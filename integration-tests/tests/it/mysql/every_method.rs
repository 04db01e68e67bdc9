//! Every method of a connection that sends something, each as one call: the inherent ones and those of the driver's trait.

use aws_wrapper_mysql::mysql_async::prelude::{Query, Queryable};
use aws_wrapper_mysql::mysql_async::{ChangeUserOpts, TxOpts};
use aws_wrapper_mysql::{Builder, Conn, MysqlDriver};
use futures_util::TryStreamExt;
use integration_tests::{MySql, Target, TestCluster};

use crate::parker::{PLUGINS, Parked, factories};

pub(super) const METHODS: &[&str] = &[
    "ping",
    "query",
    "query_first",
    "query_map",
    "query_fold",
    "query_drop",
    "query_iter",
    "query_stream",
    "prep",
    "exec",
    "exec prepared",
    "exec_first",
    "exec_map",
    "exec_fold",
    "exec_drop",
    "exec_batch",
    "exec_iter",
    "exec_stream",
    "trait ping",
    "trait query",
    "trait query_first",
    "trait query_fold",
    "trait query_drop",
    "trait query_iter",
    "trait prep",
    "trait exec",
    "trait exec_first",
    "trait exec_fold",
    "trait exec_drop",
    "trait exec_batch",
    "trait exec_iter",
    "helper trait",
    "start_transaction",
    "reset",
    "change_user",
    "retry_transaction",
];

pub(super) async fn session(cluster: &TestCluster, parked: &Parked) -> Conn {
    let host = cluster.instance_endpoint("instance-1");
    let target = Target {
        host: &host,
        port: cluster.port(),
        services: cluster.services(),
        params: &[("plugins", PLUGINS)],
    };
    let builder = MySql::builder(&target).unwrap().provide(parked.clone());
    let builder = factories::<MysqlDriver>().into_iter().fold(builder, Builder::register);
    builder.build().unwrap().connect().await.unwrap()
}

pub(super) async fn call(method: &str, conn: &mut Conn, arm: impl Fn()) {
    const ONE: &str = "SELECT 1";
    const INSERT: &str = "INSERT INTO log VALUES (?)";
    let prepared = conn.prep("SELECT ? + 0").await.unwrap();
    arm();
    match method {
        "ping" => conn.ping().await.unwrap(),
        "query" => assert_eq!(conn.query::<u32, _>(ONE).await.unwrap(), [1]),
        "query_first" => assert_eq!(conn.query_first::<u32, _>(ONE).await.unwrap(), Some(1)),
        "query_map" => assert_eq!(conn.query_map(ONE, |n: u32| n + 1).await.unwrap(), [2]),
        "query_fold" => assert_eq!(conn.query_fold(ONE, 1, |sum, n: u32| sum + n).await.unwrap(), 2),
        "query_drop" => conn.query_drop(ONE).await.unwrap(),
        "query_iter" => assert_eq!(conn.query_iter(ONE).await.unwrap().collect::<u32>().await.unwrap(), [1]),
        "query_stream" => {
            let rows = conn.query_stream::<u32, _>(ONE).await.unwrap();
            assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap(), [1]);
        }
        "prep" => drop(conn.prep(ONE).await.unwrap()),
        "exec" => assert_eq!(conn.exec::<u32, _, _>(ONE, ()).await.unwrap(), [1]),
        "exec prepared" => assert_eq!(conn.exec::<u32, _, _>(&prepared, (7,)).await.unwrap(), [7]),
        "exec_first" => assert_eq!(conn.exec_first::<u32, _, _>(ONE, ()).await.unwrap(), Some(1)),
        "exec_map" => assert_eq!(conn.exec_map(ONE, (), |n: u32| n + 1).await.unwrap(), [2]),
        "exec_fold" => assert_eq!(conn.exec_fold(ONE, (), 1, |sum, n: u32| sum + n).await.unwrap(), 2),
        "exec_drop" => conn.exec_drop(INSERT, (1,)).await.unwrap(),
        "exec_batch" => conn.exec_batch(INSERT, [(1,), (2,)]).await.unwrap(),
        "exec_iter" => {
            assert_eq!(conn.exec_iter(ONE, ()).await.unwrap().collect::<u32>().await.unwrap(), [1]);
        }
        "exec_stream" => {
            let rows = conn.exec_stream::<u32, _, _>(ONE, ()).await.unwrap();
            assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap(), [1]);
        }
        "trait ping" => Queryable::ping(conn).await.unwrap(),
        "trait query" => assert_eq!(Queryable::query::<u32, _>(conn, ONE).await.unwrap(), [1]),
        "trait query_first" => {
            assert_eq!(Queryable::query_first::<u32, _>(conn, ONE).await.unwrap(), Some(1));
        }
        "trait query_fold" => {
            assert_eq!(Queryable::query_fold(conn, ONE, 1, |sum, n: u32| sum + n).await.unwrap(), 2);
        }
        "trait query_drop" => Queryable::query_drop(conn, ONE).await.unwrap(),
        "trait query_iter" => {
            let mut result = Queryable::query_iter(conn, ONE).await.unwrap();
            assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
        }
        "trait prep" => drop(Queryable::prep(conn, ONE).await.unwrap()),
        "trait exec" => assert_eq!(Queryable::exec::<u32, _, _>(conn, ONE, ()).await.unwrap(), [1]),
        "trait exec_first" => {
            assert_eq!(Queryable::exec_first::<u32, _, _>(conn, ONE, ()).await.unwrap(), Some(1));
        }
        "trait exec_fold" => {
            assert_eq!(Queryable::exec_fold(conn, ONE, (), 1, |sum, n: u32| sum + n).await.unwrap(), 2);
        }
        "trait exec_drop" => Queryable::exec_drop(conn, INSERT, (1,)).await.unwrap(),
        "trait exec_batch" => Queryable::exec_batch(conn, INSERT, [(1,), (2,)]).await.unwrap(),
        "trait exec_iter" => {
            let mut result = Queryable::exec_iter(conn, ONE, ()).await.unwrap();
            assert_eq!(result.collect::<u32>().await.unwrap(), [1]);
        }
        "helper trait" => assert_eq!(ONE.first::<u32, _>(&mut *conn).await.unwrap(), Some(1)),
        "start_transaction" => {
            let transaction = conn.start_transaction(TxOpts::new()).await.unwrap();
            transaction.commit().await.unwrap();
        }
        "reset" => assert!(conn.reset().await.unwrap()),
        "change_user" => conn.change_user(ChangeUserOpts::default()).await.unwrap(),
        "retry_transaction" => {
            let policy = aws_wrapper_core::retry::RetryPolicy::default();
            let done = conn.retry_transaction(policy, TxOpts::new(), |mut handle| async move {
                handle.exec_drop(INSERT, (1,)).await
            });
            done.await.unwrap();
        }
        _ => unreachable!("{method} is none"),
    }
}

/// Changes a row in a transaction that finds another connection waiting.
pub(super) async fn in_transaction(conn: &mut Conn, arm: impl Fn()) {
    let mut transaction = conn.start_transaction(TxOpts::new()).await.unwrap();
    arm();
    transaction.query_drop("SELECT 1").await.unwrap();
    transaction.exec_drop("INSERT INTO log VALUES (?)", (1,)).await.unwrap();
    assert_eq!(transaction.affected_rows(), 1);
    transaction.commit().await.unwrap();
}
