//! How connections end, and who gets to know why.

use std::pin::pin;
use std::time::Duration;

use aws_wrapper_pg::core::error::{DriverClass, Phase};
use aws_wrapper_pg::core::registry::EndReason;
use aws_wrapper_pg::{Client, Connector, ErrorKind};
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use crate::server::Server;

const LIMIT: Duration = Duration::from_secs(10);

async fn backend(client: &Client) -> i32 {
    client.query_one_scalar("select pg_backend_pid()", &[]).await.unwrap()
}

/// Waits until so many backends run `query`.
async fn running(admin: &Client, pid: i32) {
    let state = "select state = 'active' from pg_stat_activity where pid = $1";
    while !admin.query_one_scalar::<bool, _>(state, &[&pid]).await.unwrap() {}
}

#[tokio::test]
async fn every_call_in_flight_learns_why_the_server_ended_it() {
    let server = Server::shared();
    let (admin, client) = (server.client().await, server.client().await);
    let pid = backend(&client).await;
    let calls = futures_util::future::join_all((0..5).map(|_| client.batch_execute("select pg_sleep(60)")));
    let terminate = async {
        running(&admin, pid).await;
        admin.query("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    };
    let (results, ()) = timeout(LIMIT, async { tokio::join!(calls, terminate) }).await.unwrap();
    for result in results {
        let error = result.unwrap_err();
        assert_eq!(error.sqlstate(), Some("57P01"), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network));
        assert!(error.statement_may_have_run());
    }
    let late = client.query("select 1", &[]).await.unwrap_err();
    assert_eq!(late.sqlstate(), Some("57P01"), "{late:?}");
    assert!(!late.statement_may_have_run(), "nothing was sent");
    assert!(client.is_closed());
}

#[tokio::test]
async fn an_idle_connection_learns_it_too() {
    let server = Server::shared();
    for (setting, code, class) in [
        ("idle_session_timeout", "57P05", DriverClass::SessionTerminated),
        ("idle_in_transaction_session_timeout", "25P03", DriverClass::SessionTerminated),
    ] {
        let client = server.client().await;
        client.batch_execute(&format!("set {setting} = '50ms'")).await.unwrap();
        if setting.contains("transaction") {
            client.batch_execute("begin").await.unwrap();
        }
        timeout(LIMIT, client.slot().wait_ended()).await.unwrap();
        let error = client.query("select 1", &[]).await.unwrap_err();
        assert_eq!((error.sqlstate(), error.kind()), (Some(code), ErrorKind::Driver(class)));
    }
}

#[tokio::test]
async fn an_abort_ends_calls_at_once_and_is_told_apart() {
    let server = Server::shared();
    let client = server.client().await;
    let admin = server.client().await;
    let pid = backend(&client).await;
    let slot = client.slot();
    let abort = async {
        running(&admin, pid).await;
        slot.abort(EndReason::aborted("given up by a test"));
        Instant::now()
    };
    let call = async {
        let error = client.batch_execute("select pg_sleep(60)").await.unwrap_err();
        (error, Instant::now())
    };
    let ((error, ended), aborted) = timeout(LIMIT, async { tokio::join!(call, abort) }).await.unwrap();
    assert!(ended.saturating_duration_since(aborted) < Duration::from_secs(1));
    assert_eq!(error.kind(), ErrorKind::HostUnavailable);
    assert_eq!(error.driver_class(), Some(DriverClass::Network));
    assert!(error.to_string().contains("given up by a test"), "{error}");
    assert!(slot.has_ended());
}

#[tokio::test]
async fn an_abort_frees_a_stream_nobody_reads() {
    let server = Server::shared();
    let client = server.client().await;
    let mut rows =
        pin!(client.query_raw("select generate_series(1, 10000000)", Vec::<i32>::new()).await.unwrap());
    rows.next().await.unwrap().unwrap();
    client.slot().abort(EndReason::aborted("given up by a test"));
    let error = timeout(LIMIT, rows.as_mut().try_collect::<Vec<_>>()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnavailable);
    assert!(rows.next().await.is_none(), "the error is told once");
}

#[tokio::test]
async fn a_dropped_client_closes_its_socket_even_if_the_server_is_frozen() {
    let server = Server::start();
    let client = server.client().await;
    let pid = backend(&client).await;
    let slot = client.slot();
    let signal = |name: &str| {
        let status = std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap();
        assert!(status.success());
    };
    signal("-STOP");
    // A call that was sent and forgotten: the driver alone would wait for its answer for ever.
    let mut call = Box::pin(client.batch_execute("select 1"));
    assert!(timeout(Duration::from_millis(50), &mut call).await.is_err());
    drop(call);
    drop(client);
    timeout(LIMIT, slot.wait_ended()).await.unwrap();
    signal("-CONT");
}

#[test]
fn a_client_may_be_dropped_after_its_runtime() {
    let server = Server::shared();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(server.client());
    drop(runtime);
    assert!(client.slot().has_ended());
    drop(client);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(server.client());
    let slot = client.slot();
    drop(client);
    runtime.block_on(async { timeout(LIMIT, slot.wait_ended()).await.unwrap() });
}

#[tokio::test]
async fn a_silent_server_is_given_up_at_the_deadline_and_its_socket_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for parameters in ["sslmode=disable", "sslmode=require"] {
        let url = format!("postgresql://u@127.0.0.1:{port}/d?connect_timeout_ms=200&{parameters}");
        let connector = Connector::builder().url(&url).unwrap().build().unwrap();
        let started = Instant::now();
        let (error, ()) = tokio::join!(connector.connect(), async {
            let (mut silent, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            // Ends when the other side closes.
            timeout(LIMIT, silent.read_to_end(&mut heard)).await.unwrap().unwrap();
            assert!(!heard.is_empty());
        });
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect), "{error:?}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(connector.services().status().running_tasks, 0);
    }
}

#[tokio::test]
async fn nobody_listening_is_a_network_error_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let url = format!("postgresql://u@127.0.0.1:{port}/d");
    let error = Connector::builder().url(&url).unwrap().build().unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network));
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
}

#[tokio::test]
async fn a_database_that_is_not_there_is_no_network_error() {
    let server = Server::shared();
    let error = server.builder().dbname("nowhere").build().unwrap().connect().await.unwrap_err();
    assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Driver(DriverClass::Other), Some("3D000")));
}
