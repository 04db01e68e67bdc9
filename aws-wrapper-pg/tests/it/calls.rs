//! Every method of the client, the state it leaves, and cancelling.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use aws_wrapper_pg::core::error::DriverClass;
use aws_wrapper_pg::core::session::transaction::TransactionState;
use aws_wrapper_pg::tokio_postgres::SimpleQueryMessage;
use aws_wrapper_pg::tokio_postgres::types::{ToSql, Type};
use aws_wrapper_pg::{Connector, ErrorKind, GenericClient, pg_error, tokio_postgres};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use tokio::time::timeout;

use crate::server::Server;

const SETTLED: Duration = Duration::from_secs(5);

#[tokio::test]
async fn queries_answer_as_the_driver_does() {
    let server = Server::shared();
    let client = server.client().await;
    let text = String::from("select $1::int4 + 1");
    let statement = client.prepare(&text).await.unwrap();
    assert_eq!(statement.params(), [Type::INT4]);
    assert_eq!(statement.columns().len(), 1);

    for params in [[&1_i32 as &(dyn ToSql + Sync)]] {
        assert_eq!(client.query(&text, &params).await.unwrap()[0].get::<_, i32>(0), 2);
        assert_eq!(client.query(text.as_str(), &params).await.unwrap()[0].get::<_, i32>(0), 2);
        assert_eq!(client.query(&statement, &params).await.unwrap()[0].get::<_, i32>(0), 2);
        assert_eq!(client.query_one("select $1::int4 + 1", &params).await.unwrap().get::<_, i32>(0), 2);
        assert!(client.query_opt("select $1::int4 where false", &params).await.unwrap().is_none());
        assert_eq!(client.query_scalar::<i32, _>(&statement, &params).await.unwrap(), [2]);
        assert_eq!(client.query_one_scalar::<i32, _>(&statement, &params).await.unwrap(), 2);
        assert_eq!(client.query_opt_scalar::<i32, _>(&statement, &params).await.unwrap(), Some(2));
        assert_eq!(client.execute(&statement, &params).await.unwrap(), 1);
        assert_eq!(client.execute_raw(&statement, params).await.unwrap(), 1);
        let typed = [(params[0], Type::INT4)];
        assert_eq!(client.query_typed("select $1", &typed).await.unwrap()[0].get::<_, i32>(0), 1);
        assert_eq!(client.query_typed_one("select $1", &typed).await.unwrap().get::<_, i32>(0), 1);
        assert!(client.query_typed_opt("select $1 where false", &typed).await.unwrap().is_none());
        assert_eq!(client.execute_typed("select $1", &typed).await.unwrap(), 1);
        let rows: Vec<_> = client
            .query_raw(&statement, params)
            .await
            .unwrap()
            .map_ok(|row| row.get::<_, i32>(0))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(rows, [2]);
        let rows = client.query_typed_raw("select $1", [(7_i32, Type::INT4)]).await.unwrap();
        assert_eq!(rows.try_collect::<Vec<_>>().await.unwrap()[0].get::<_, i32>(0), 7);
    }
    let messages = client.simple_query("select 1; select 2").await.unwrap();
    assert_eq!(messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count(), 2);
    let messages: Vec<_> = client.simple_query_raw("select 1").await.unwrap().try_collect().await.unwrap();
    assert!(!messages.is_empty());
    client.batch_execute("select 1; select 2").await.unwrap();
    client.check_connection().await.unwrap();
    client.clear_type_cache();
    assert!(!client.is_closed());
}

#[tokio::test]
async fn data_is_copied_in_and_out() {
    let server = Server::shared();
    let client = server.client().await;
    client.batch_execute("create temp table copied (id int, name text)").await.unwrap();

    let mut sink = pin!(client.copy_in::<_, Bytes>("copy copied from stdin").await.unwrap());
    sink.send(Bytes::from_static(b"1\tone\n")).await.unwrap();
    sink.send(Bytes::from_static(b"2\ttwo\n")).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 2);
    sink.close().await.unwrap();

    let out: Vec<Bytes> =
        client.copy_out("copy copied to stdout").await.unwrap().try_collect().await.unwrap();
    assert_eq!(out.concat(), b"1\tone\n2\ttwo\n");

    let mut broken = pin!(client.copy_in::<_, Bytes>("copy copied from stdin").await.unwrap());
    broken.send(Bytes::from_static(b"no number\n")).await.unwrap();
    assert_eq!(broken.finish().await.unwrap_err().sqlstate(), Some("22P02"));
    assert_eq!(client.query_one_scalar::<i64, _>("select count(*) from copied", &[]).await.unwrap(), 2);
}

#[tokio::test]
async fn calls_of_several_tasks_are_pipelined() {
    let server = Server::shared();
    let client = server.client().await;
    let client = &client;
    let calls = (0..50_i32)
        .map(|n| async move { client.query_one_scalar::<i32, _>("select $1::int4", &[&n]).await.unwrap() });
    let answers = futures_util::future::join_all(calls).await;
    assert_eq!(answers, (0..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_state_follows_the_transaction() {
    let server = Server::shared();
    let client = server.client().await;
    let slot = client.slot();
    client.batch_execute("select 1").await.unwrap();
    assert_eq!(slot.transaction(), TransactionState::Idle);
    client.batch_execute("begin").await.unwrap();
    assert_eq!(slot.transaction(), TransactionState::InTransaction);
    for _ in 0..100 {
        // What the server says after an error comes later than the error.
        client.batch_execute("rollback; begin").await.unwrap();
        client.query("select 1/0", &[]).await.unwrap_err();
        assert_eq!(slot.settled(SETTLED).await, TransactionState::Failed);
    }
    client.batch_execute("rollback").await.unwrap();
    assert_eq!(client.transaction_state(), TransactionState::Idle);
}

#[tokio::test]
async fn an_error_says_what_the_server_said() {
    let server = Server::shared();
    let client = server.client().await;
    let error = client.query("select * from missing", &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other));
    assert_eq!(error.sqlstate(), Some("42P01"));
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(pg_error(&error).unwrap().code().unwrap().code(), "42P01");
    assert!(error.connection_usable());
    assert_eq!(error.method().unwrap().name(), "query");

    let error = client.query_one("select 1 where false", &[]).await.unwrap_err();
    assert!(error.to_string().contains("number of rows"), "{error}");
}

#[tokio::test]
async fn what_runs_can_be_cancelled() {
    let server = Server::shared();
    for parameters in ["sslmode=disable", "sslmode=require"] {
        let connector = server.builder_by_name(parameters).build().unwrap();
        let client = connector.connect().await.unwrap();
        let token = client.cancel_token();
        let pid: i32 = client.query_one_scalar("select pg_backend_pid()", &[]).await.unwrap();
        let sleep = client.batch_execute("select pg_sleep(60)");
        let cancel = async {
            let watcher = server.client().await;
            let active = "select state = 'active' from pg_stat_activity where pid = $1";
            while !watcher.query_one_scalar::<bool, _>(active, &[&pid]).await.unwrap() {}
            token.cancel_query().await.unwrap();
        };
        let (slept, ()) = tokio::join!(sleep, cancel);
        let error = slept.unwrap_err();
        assert_eq!(
            (error.kind(), error.sqlstate()),
            (ErrorKind::Driver(DriverClass::Cancelled), Some("57014"))
        );
        client.check_connection().await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_of_the_file_system_will_do() {
    let server = Server::shared();
    let connector = Connector::builder()
        .host(server.directory().to_str().unwrap())
        .port(server.port())
        .user("postgres")
        .build()
        .unwrap();
    let client = connector.connect().await.unwrap();
    let address: Option<std::net::IpAddr> =
        client.query_one("select inet_client_addr()", &[]).await.unwrap().get(0);
    assert_eq!(address, None);
    client.cancel_token().cancel_query().await.unwrap();
}

#[tokio::test]
async fn a_stream_may_outlive_its_client() {
    let server = Server::shared();
    let client = server.client().await;
    let mut rows =
        pin!(client.query_raw("select generate_series(1, 3000)", Vec::<i32>::new()).await.unwrap());
    assert_eq!(rows.next().await.unwrap().unwrap().get::<_, i32>(0), 1);
    drop(client);
    let rest: Vec<_> = rows.try_collect().await.unwrap();
    assert_eq!(rest.len(), 2999);
}

#[tokio::test]
async fn connections_are_counted_and_gone_when_dropped() {
    let server = Server::shared();
    let connector = server.builder().build().unwrap();
    let client = connector.connect().await.unwrap();
    assert_eq!(connector.services().status().connections.values().sum::<usize>(), 1);
    let slot = client.slot();
    drop(client);
    timeout(SETTLED, slot.wait_ended()).await.unwrap();
    assert!(connector.services().status().connections.is_empty());
}

#[tokio::test]
async fn a_statement_is_prepared_again_when_a_table_changed_or_the_server_forgot_it() {
    let server = Server::shared();
    let mut client = server.client().await;
    client
        .batch_execute("create temp table changing (a int); insert into changing values (1)")
        .await
        .unwrap();
    let statement = client.prepare("select * from changing").await.unwrap();
    client.query(&statement, &[]).await.unwrap();
    for (change, columns) in
        [("alter table changing add b int", 2), ("deallocate all", 2), ("alter table changing add c int", 3)]
    {
        client.batch_execute(change).await.unwrap();
        for _ in 0..2 {
            assert_eq!(client.query_one(&statement, &[]).await.unwrap().len(), columns, "{change}");
        }
    }
    // A transaction has failed by then, and says so.
    client.batch_execute("alter table changing add d int").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.query(&statement, &[]).await.unwrap_err().sqlstate(), Some("0A000"));
    drop(transaction);
    assert_eq!(client.query_one(&statement, &[]).await.unwrap().len(), 4);
}

async fn count(client: &impl GenericClient) -> aws_wrapper_pg::Result<i64> {
    let statement = client.prepare("select count(*) from generate_series(1, $1::int4)").await?;
    let row = client.query_one(&statement, &[&3_i32]).await?;
    let rows: Vec<_> = client.query_raw(&statement, [3_i32]).await?.try_collect().await?;
    assert_eq!(rows[0].get::<_, i64>(0), row.get::<_, i64>(0));
    Ok(row.get(0))
}

async fn count_inside(client: &mut impl GenericClient) -> aws_wrapper_pg::Result<i64> {
    let mut outer = client.transaction().await?;
    let inner = outer.transaction().await?;
    count(&inner).await
}

#[tokio::test]
async fn a_function_takes_clients_and_transactions_of_both_kinds() {
    let server = Server::shared();
    let mut client = server.client().await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port());
    let (mut bare, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    assert_eq!(count(&client).await.unwrap(), 3);
    assert_eq!(count(&bare).await.unwrap(), 3);
    assert_eq!(count_inside(&mut client).await.unwrap(), 3);
    assert_eq!(count_inside(&mut bare).await.unwrap(), 3);

    // A statement of one on the other.
    let statement = client.prepare("select 7").await.unwrap();
    assert_eq!(GenericClient::query_one(&bare, &statement, &[]).await.unwrap().get::<_, i32>(0), 7);
    let statement = GenericClient::prepare(&bare, "select 8").await.unwrap();
    assert_eq!(client.query_one(&statement, &[]).await.unwrap().get::<_, i32>(0), 8);
    drop(bare);
    tasks.join_next().await.unwrap().unwrap().unwrap();
}

/// Drops a future after so many polls; whether it was through before.
async fn cut_short<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_connect_dropped_at_any_point_leaves_nothing() {
    let server = Server::shared();
    let connector = server.builder_by_name("sslmode=require").build().unwrap();
    for polls in 0.. {
        let connected = cut_short(connector.connect(), polls).await;
        let is_through = connected.is_some();
        drop(connected);
        let gone = async {
            while connector.services().status().running_tasks > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(SETTLED, gone).await.unwrap();
        if is_through {
            assert!(polls > 3, "it was cut short at several points");
            return;
        }
    }
}

#[tokio::test]
async fn a_begin_dropped_at_any_point_is_rolled_back() {
    let server = Server::shared();
    let mut client = server.client().await;
    for polls in 0.. {
        let is_through = cut_short(client.transaction(), polls).await.is_some();
        client.check_connection().await.unwrap();
        assert_eq!(client.transaction_state(), TransactionState::Idle);
        if is_through {
            return;
        }
    }
}

#[tokio::test]
async fn a_procedure_that_may_have_committed_is_not_called_again() {
    let server = Server::shared();
    let client = server.client().await;
    let setup = "create temp table done (id int);
        create procedure pg_temp.p() language plpgsql as
        $$ begin insert into done values (1); commit; execute 'execute no_such_statement'; end $$";
    client.batch_execute(setup).await.unwrap();
    let statement = client.prepare("call pg_temp.p()").await.unwrap();
    let error = client.execute(&statement, &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("26000"));
    assert_eq!(client.query_one_scalar::<i64, _>("select count(*) from done", &[]).await.unwrap(), 1);
}
