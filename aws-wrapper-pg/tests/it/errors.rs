//! Errors asked as code written for the driver asks them.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_pg::core::error::{DriverClass, RetryAdvice};
use aws_wrapper_pg::core::retry::RetryPolicy;
use aws_wrapper_pg::tokio_postgres::error::{DbError, SqlState};
use aws_wrapper_pg::{Client, Error, ErrorKind, GenericClient, pg_error, tokio_postgres};
use futures_util::TryStreamExt;
use tokio::time::timeout;

use crate::server::Server;

const LIMIT: Duration = Duration::from_secs(10);

/// The error of `sql` in each way in which an error can come.
async fn errors_of(client: &mut Client, sql: &str) -> Vec<Error> {
    let mut errors = vec![client.execute(sql, &[]).await.unwrap_err()];
    errors.push(client.batch_execute(sql).await.unwrap_err());
    let messages = client.simple_query_raw(sql).await;
    errors.push(match messages {
        Ok(messages) => messages.try_collect::<Vec<_>>().await.unwrap_err(),
        Err(error) => error,
    });
    let transaction = client.transaction().await.unwrap();
    errors.push(transaction.query(sql, &[]).await.unwrap_err());
    transaction.rollback().await.unwrap();
    let once = RetryPolicy::default().max_runs(1);
    let run = client.retry_transaction(once, async |transaction| transaction.query_one(sql, &[]).await);
    errors.push(run.await.unwrap_err());
    errors
}

#[tokio::test]
async fn the_servers_error_is_that_of_the_bare_driver() {
    let server = Server::shared();
    let mut client = server.client().await;
    let url = format!("postgresql://postgres@127.0.0.1:{}/postgres", server.port());
    let (bare, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(connection);
    let create = "create temporary table users (name text primary key); insert into users values ('ada')";
    client.batch_execute(create).await.unwrap();
    bare.batch_execute(create).await.unwrap();
    for (sql, code) in [
        ("insert into users values ('ada')", SqlState::UNIQUE_VIOLATION),
        ("insert intu users", SqlState::SYNTAX_ERROR),
    ] {
        let expected = bare.execute(sql, &[]).await.unwrap_err();
        let mut errors = errors_of(&mut client, sql).await;
        errors.push(GenericClient::execute(&bare, sql, &[]).await.unwrap_err());
        for error in errors {
            assert_eq!(error.code(), Some(&code), "{error:?}");
            assert_eq!(error.code(), expected.code());
            assert_eq!(error.sqlstate(), Some(code.code()));
            let said = |error: &DbError| (error.message().to_owned(), error.detail().map(str::to_owned));
            assert_eq!(error.as_db_error().map(said), expected.as_db_error().map(said));
            assert!(!error.is_closed() && error.connection_usable(), "{error:?}");
            assert!(pg_error(&error).is_some());
        }
    }
}

/// The question of the driver's users: is it there already?
async fn add<E>(client: &impl GenericClient, name: &str) -> Result<bool, E>
where
    E: From<Error> + From<tokio_postgres::Error>,
{
    let sql = "insert into ported values ($1) returning length(name)";
    match client.query_one(sql, &[&name]).await {
        Ok(row) => Ok(row.try_get::<_, i32>(0)? > 0),
        Err(error) if error.code() == Some(&SqlState::UNIQUE_VIOLATION) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[tokio::test]
async fn an_error_of_the_driver_ends_a_retried_transaction_at_once() {
    let server = Server::shared();
    let mut client = server.client().await;
    client.batch_execute("create temporary table ported (name text primary key)").await.unwrap();
    assert!(add::<Error>(&client, "ada").await.unwrap());
    assert!(!add::<Box<dyn std::error::Error>>(&client, "ada").await.unwrap());

    let runs = AtomicU32::new(0);
    let run = client.retry_transaction(RetryPolicy::default(), async |transaction| {
        runs.fetch_add(1, Ordering::Relaxed);
        add::<Error>(&*transaction, "grace").await?;
        let row = transaction.query_one("select 'not a number'", &[]).await?;
        let number: i32 = row.try_get(0)?;
        Ok(number)
    });
    let error = run.await.unwrap_err();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry);
    assert!(error.to_string().contains("deserializing column 0"), "{error}");
    assert_eq!((error.code(), error.is_closed()), (None, false));
    assert_eq!(client.query_one_scalar::<i64, _>("select count(*) from ported", &[]).await.unwrap(), 1);
}

#[tokio::test]
async fn a_closed_connection_says_so_in_the_call_that_lost_it_and_later() {
    let server = Server::shared();
    let (admin, client) = (server.client().await, server.client().await);
    let pid: i32 = client.query_one_scalar("select pg_backend_pid()", &[]).await.unwrap();
    let terminate = async {
        let is_active = "select state = 'active' from pg_stat_activity where pid = $1";
        while !admin.query_one_scalar::<bool, _>(is_active, &[&pid]).await.unwrap() {}
        admin.query("select pg_terminate_backend($1)", &[&pid]).await.unwrap();
    };
    let lost = async { tokio::join!(client.batch_execute("select pg_sleep(60)"), terminate).0 };
    let error = timeout(LIMIT, lost).await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
    assert!(error.as_db_error().is_some() && error.is_closed());

    timeout(LIMIT, client.slot().wait_ended()).await.unwrap();
    let error = client.query("select 1", &[]).await.unwrap_err();
    assert!(error.is_closed() && !error.connection_usable(), "{error:?}");
    assert!(error.code().is_none() && error.as_db_error().is_none(), "this call was not answered");
    assert_eq!(error.sqlstate(), Some("57P01"));
}
