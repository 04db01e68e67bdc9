//! Every method of a client that sends something, each as one call.

use std::pin::pin;

use aws_wrapper_pg::{Builder, Client, PgDriver};
use bytes::Bytes;
use futures_util::{SinkExt, TryStreamExt};
use integration_tests::{Pg, Target, TestCluster};

use crate::parker::{PLUGINS, Parked, factories};

pub(super) const METHODS: &[&str] = &[
    "prepare",
    "prepare_typed",
    "query",
    "query prepared",
    "query_one",
    "query_one_scalar",
    "query_opt",
    "query_opt_scalar",
    "query_scalar",
    "query_raw",
    "query_typed",
    "query_typed_one",
    "query_typed_opt",
    "query_typed_raw",
    "execute",
    "execute prepared",
    "execute_raw",
    "execute_typed",
    "copy_in",
    "copy_out",
    "simple_query",
    "simple_query_raw",
    "batch_execute",
    "check_connection",
    "listen",
    "unlisten",
    "transaction",
    "build_transaction",
    "retry_statement",
];

pub(super) async fn session(cluster: &TestCluster, parked: &Parked) -> Client {
    let host = cluster.instance_endpoint("instance-1");
    let target = Target {
        host: &host,
        port: cluster.port(),
        services: cluster.services(),
        params: &[("plugins", PLUGINS)],
    };
    let builder = Pg::builder(&target).unwrap().provide(parked.clone());
    let builder = factories::<PgDriver>().into_iter().fold(builder, Builder::register);
    builder.build().unwrap().connect().await.unwrap()
}

pub(super) async fn call(method: &str, client: &mut Client, arm: impl Fn()) {
    const ONE: &str = "select 1::int4";
    const INSERT: &str = "insert into log values (1)";
    let prepared = client.prepare(ONE).await.unwrap();
    let insert = client.prepare("insert into log values ($1)").await.unwrap();
    let none = Vec::<i64>::new;
    arm();
    match method {
        "prepare" => drop(client.prepare(ONE).await.unwrap()),
        "prepare_typed" => drop(client.prepare_typed(ONE, &[]).await.unwrap()),
        "query" => assert_eq!(client.query(ONE, &[]).await.unwrap().len(), 1),
        "query prepared" => assert_eq!(client.query(&prepared, &[]).await.unwrap().len(), 1),
        "query_one" => drop(client.query_one(ONE, &[]).await.unwrap()),
        "query_one_scalar" => assert_eq!(client.query_one_scalar::<i32, _>(ONE, &[]).await.unwrap(), 1),
        "query_opt" => assert!(client.query_opt(ONE, &[]).await.unwrap().is_some()),
        "query_opt_scalar" => {
            assert_eq!(client.query_opt_scalar::<i32, _>(ONE, &[]).await.unwrap(), Some(1));
        }
        "query_scalar" => assert_eq!(client.query_scalar::<i32, _>(ONE, &[]).await.unwrap(), [1]),
        "query_raw" => {
            let rows: Vec<_> = client.query_raw(ONE, none()).await.unwrap().try_collect().await.unwrap();
            assert_eq!(rows.len(), 1);
        }
        "query_typed" => assert_eq!(client.query_typed(ONE, &[]).await.unwrap().len(), 1),
        "query_typed_one" => drop(client.query_typed_one(ONE, &[]).await.unwrap()),
        "query_typed_opt" => assert!(client.query_typed_opt(ONE, &[]).await.unwrap().is_some()),
        "query_typed_raw" => {
            let none = Vec::<(i64, _)>::new();
            let rows: Vec<_> = client.query_typed_raw(ONE, none).await.unwrap().try_collect().await.unwrap();
            assert_eq!(rows.len(), 1);
        }
        "execute" => assert_eq!(client.execute(INSERT, &[]).await.unwrap(), 1),
        "execute prepared" => assert_eq!(client.execute(&insert, &[&1_i64]).await.unwrap(), 1),
        "execute_raw" => assert_eq!(client.execute_raw(INSERT, none()).await.unwrap(), 1),
        "execute_typed" => assert_eq!(client.execute_typed(INSERT, &[]).await.unwrap(), 1),
        "copy_in" => {
            let mut sink = pin!(client.copy_in::<_, Bytes>("copy log from stdin").await.unwrap());
            sink.send(Bytes::from_static(b"7\n")).await.unwrap();
            assert_eq!(sink.finish().await.unwrap(), 1);
        }
        "copy_out" => {
            let data = client.copy_out("copy (select 7) to stdout").await.unwrap();
            assert_eq!(data.try_collect::<Vec<_>>().await.unwrap().concat(), b"7\n");
        }
        "simple_query" => assert!(!client.simple_query(ONE).await.unwrap().is_empty()),
        "simple_query_raw" => {
            let messages = client.simple_query_raw(ONE).await.unwrap();
            assert!(!messages.try_collect::<Vec<_>>().await.unwrap().is_empty());
        }
        "batch_execute" => client.batch_execute(ONE).await.unwrap(),
        "check_connection" => client.check_connection().await.unwrap(),
        "listen" => client.listen("news").await.unwrap(),
        "unlisten" => client.unlisten("news").await.unwrap(),
        "transaction" => client.transaction().await.unwrap().commit().await.unwrap(),
        "build_transaction" => {
            let transaction = client.build_transaction().read_only(true).start().await.unwrap();
            transaction.rollback().await.unwrap();
        }
        "retry_statement" => {
            let policy = aws_wrapper_core::retry::RetryPolicy::default();
            // A handle stays on its connection, so the call before it has moved the client.
            client.batch_execute(ONE).await.unwrap();
            client
                .retry_statement(policy, |client| async move { client.batch_execute(ONE).await })
                .await
                .unwrap();
        }
        _ => unreachable!("{method} is none"),
    }
}

/// Changes a row in a transaction that finds another connection waiting.
pub(super) async fn in_transaction(client: &mut Client, arm: impl Fn()) {
    let transaction = client.transaction().await.unwrap();
    arm();
    transaction.batch_execute("select 1").await.unwrap();
    assert_eq!(transaction.execute("insert into log values (1)", &[]).await.unwrap(), 1);
    transaction.commit().await.unwrap();
}
