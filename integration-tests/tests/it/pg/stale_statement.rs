//! Prepared statements that the server has forgotten or refuses to run any more.

use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use aurora_sim::{Cluster, Flavor};
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::pg::Pool;
use aws_wrapper_pg::tokio_postgres::types::{ToSql, Type};
use aws_wrapper_pg::{Client, Error, Result, Statement, Transaction, pg_error};
use futures_util::{SinkExt, TryStreamExt};
use integration_tests::{Pg, TestCluster, host_down, on_built, on_cluster};

const QUERY: &str = "SELECT * FROM t WHERE a = $1";
const COPY_IN: &str = "COPY t (a) FROM STDIN";
const COPY_OUT: &str = "COPY t TO STDOUT";

const NO_PARAMS: [&(dyn ToSql + Sync); 0] = [];

/// Ways of execution that a client and a transaction have in common, each with its text.
const WAYS: &[(&str, &str)] = &[
    ("query", QUERY),
    ("query_one", QUERY),
    ("query_opt", QUERY),
    ("query_raw", QUERY),
    ("execute", QUERY),
    ("execute_raw", QUERY),
    ("copy_in", COPY_IN),
    ("copy_out", COPY_OUT),
];

macro_rules! run {
    ($on:expr, $way:expr, $statement:expr) => {{
        let (on, statement): (_, &Statement) = ($on, $statement);
        match $way {
            "query" => on.query(statement, &[&1]).await.map(drop),
            "query_one" => on.query_one(statement, &[&1]).await.map(drop),
            "query_opt" => on.query_opt(statement, &[&1]).await.map(drop),
            "query_raw" => match on.query_raw(statement, [1]).await {
                Ok(rows) => rows.try_for_each(|_| std::future::ready(Ok(()))).await,
                Err(error) => Err(error),
            },
            "execute" => on.execute(statement, &[&1]).await.map(drop),
            "execute_raw" => on.execute_raw(statement, [1]).await.map(drop),
            "copy_in" => match on.copy_in::<_, &[u8]>(statement).await {
                Ok(sink) => {
                    let mut sink = pin!(sink);
                    sink.send(&b"2\n"[..]).await.unwrap();
                    sink.finish().await.map(drop)
                }
                Err(error) => Err(error),
            },
            _ => match on.copy_out(statement).await {
                Ok(copy) => copy.try_for_each(|_| std::future::ready(Ok(()))).await,
                Err(error) => Err(error),
            },
        }
    }};
}

async fn on_client(client: &Client, way: &str, statement: &Statement) -> Result<()> {
    match way {
        "query_scalar" => client.query_scalar::<i32, _>(statement, &[]).await.map(drop),
        "query_one_scalar" => client.query_one_scalar::<i32, _>(statement, &[]).await.map(drop),
        "query_opt_scalar" => client.query_opt_scalar::<i32, _>(statement, &[]).await.map(drop),
        way => run!(client, way, statement),
    }
}

async fn on_transaction(transaction: &Transaction<'_>, way: &str, statement: &Statement) -> Result<()> {
    match way {
        "bind" => {
            let portal = transaction.bind(statement, &[&1]).await?;
            transaction.query_portal(&portal, 0).await.map(drop)
        }
        "bind_raw" => transaction.bind_raw(statement, [1]).await.map(drop),
        way => run!(transaction, way, statement),
    }
}

/// What makes statements stale, and with which code that shows. A copy runs whatever columns there are.
fn changes(sql: &str) -> Vec<(&'static str, &'static str)> {
    let mut changes = vec![("DISCARD ALL", "26000"), ("DEALLOCATE ALL", "26000")];
    if sql == QUERY {
        changes.push(("ALTER TABLE t ADD COLUMN IF NOT EXISTS b int; ALTER TABLE t RENAME b TO c", "0A000"));
    }
    changes
}

async fn connect(cluster: &TestCluster) -> Client {
    let client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
    client.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    client
}

/// The changes take place again and again.
async fn undo(client: &Client) {
    client.batch_execute("ALTER TABLE t DROP COLUMN IF EXISTS c").await.unwrap();
}

#[test]
fn a_stale_statement_heals_in_every_way_of_execution() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        let scalars = ["query_scalar", "query_one_scalar", "query_opt_scalar"].map(|way| (way, "SELECT 1"));
        for &(way, sql) in WAYS.iter().chain(&scalars) {
            for (change, code) in changes(sql) {
                undo(&client).await;
                let statement = client.prepare(sql).await.unwrap();
                for _ in 0..2 {
                    on_client(&client, way, &statement).await.unwrap();
                    client.batch_execute(change).await.unwrap();
                    undo(&client).await;
                    let done = on_client(&client, way, &statement).await;
                    assert!(done.is_ok(), "{way} after {change}, {code}: {done:?}");
                }
            }
        }
    });
}

#[test]
fn a_stale_statement_costs_a_transaction_once_in_every_way_of_execution() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        let portals = ["bind", "bind_raw"].map(|way| (way, QUERY));
        for &(way, sql) in WAYS.iter().chain(&portals) {
            for (change, code) in changes(sql) {
                undo(&client).await;
                let statement = client.prepare(sql).await.unwrap();
                client.batch_execute(change).await.unwrap();
                let transaction = client.transaction().await.unwrap();
                let error = on_transaction(&transaction, way, &statement).await.unwrap_err();
                costs_a_transaction(&error, code);
                drop(transaction);
                let transaction = client.transaction().await.unwrap();
                let done = on_transaction(&transaction, way, &statement).await;
                assert!(done.is_ok(), "{way} after {change}: {done:?}");
                transaction.commit().await.unwrap();

                // Begun by text.
                client.batch_execute("DISCARD ALL").await.unwrap();
                client.batch_execute("BEGIN").await.unwrap();
                if !way.starts_with("bind") {
                    let error = on_client(&client, way, &statement).await.unwrap_err();
                    costs_a_transaction(&error, "26000");
                }
                client.batch_execute("ROLLBACK").await.unwrap();
            }
        }
    });
}

fn costs_a_transaction(error: &Error, code: &str) {
    assert_eq!(error.sqlstate(), Some(code), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction, "{error:?}");
    assert!(error.connection_usable(), "{error:?}");
}

#[test]
fn a_closure_with_many_stale_statements_runs_twice() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        for change in ["DISCARD ALL", "ALTER TABLE t ADD COLUMN b int"] {
            let mut statements = Vec::new();
            for number in 0..5 {
                statements.push(client.prepare(&format!("SELECT *, {number} FROM t")).await.unwrap());
            }
            client.batch_execute(change).await.unwrap();
            let runs = AtomicU32::new(0);
            client
                .retry_transaction(RetryPolicy::default(), async |transaction| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    for statement in &statements {
                        transaction.query(statement, &[]).await?;
                    }
                    Ok(())
                })
                .await
                .unwrap();
            assert_eq!(runs.load(Ordering::SeqCst), 2, "{change}");
        }
    });
}

/// The text names a statement of the session's that is never prepared again.
#[test]
fn the_advice_to_run_a_transaction_again_ends() {
    on_cluster::<Pg>(1, async |cluster| {
        let mut client = connect(cluster).await;
        client.batch_execute("PREPARE mine AS SELECT * FROM t").await.unwrap();
        let statement = client.prepare("EXECUTE mine").await.unwrap();
        client.query(&statement, &[]).await.unwrap();
        client.batch_execute("DEALLOCATE mine").await.unwrap();
        for _ in 0..2 {
            let error = client.query(&statement, &[]).await.unwrap_err();
            assert_eq!(error.sqlstate(), Some("26000"), "{error:?}");
            assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{error:?}");
        }
        let mut last = RetryAdvice::RetryTransaction;
        for _ in 0..3 {
            let transaction = client.transaction().await.unwrap();
            last = transaction.query(&statement, &[]).await.unwrap_err().retry_advice();
        }
        assert_eq!(last, RetryAdvice::DoNotRetry);
    });
}

/// The context of an error from inside tells that the statement was under way.
#[test]
fn a_statement_that_was_executed_is_not_repeated() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        let sql = "CREATE SEQUENCE calls;
            CREATE FUNCTION fails() RETURNS bigint LANGUAGE plpgsql AS
            $$ BEGIN PERFORM nextval('calls'); EXECUTE 'EXECUTE no_such_statement'; RETURN 1; END $$;
            CREATE FUNCTION raises() RETURNS bigint LANGUAGE plpgsql AS
            $$ BEGIN PERFORM nextval('calls'); RAISE EXCEPTION 'no' USING ERRCODE = '26000'; END $$";
        client.batch_execute(sql).await.unwrap();
        for (count, function) in [(1_i64, "fails"), (2, "raises")] {
            let statement = client.prepare(&format!("SELECT {function}()")).await.unwrap();
            let error = client.query(&statement, &[]).await.unwrap_err();
            assert_eq!(error.sqlstate(), Some("26000"), "{error:?}");
            let calls: i64 = client.query_one_scalar("SELECT last_value FROM calls", &[]).await.unwrap();
            assert_eq!(calls, count, "{function}");
        }
    });
}

#[test]
fn parameters_of_a_statement_that_cannot_be_encoded_are_the_drivers_error() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        let statement = client.prepare("SELECT $1::int, $2::text").await.unwrap();
        let of_text = client.query_raw(statement.sql(), ["x", "y"]).await.map(drop).unwrap_err();
        let error = client.query_raw(&statement, ["x", "y"]).await.map(drop).unwrap_err();
        assert_eq!(pg_error(&error).unwrap().to_string(), pg_error(&of_text).unwrap().to_string());
        for count in [0, 1, 3] {
            let of_text = client.execute_raw(statement.sql(), vec!["1"; count]).await.unwrap_err();
            let error = client.execute_raw(&statement, vec!["1"; count]).await.unwrap_err();
            assert_eq!(pg_error(&error).unwrap().to_string(), pg_error(&of_text).unwrap().to_string());
        }
        let params: [&(dyn ToSql + Sync); 2] = [&None::<i32>, &"y"];
        client.batch_execute("DISCARD ALL").await.unwrap();
        let rows: Vec<_> = client.query_raw(&statement, params).await.unwrap().try_collect().await.unwrap();
        assert_eq!((rows[0].get(0), rows[0].get(1)), (None::<i32>, "y"));
    });
}

/// Ways in which the driver reads the types of a text.
const READING_TYPES: &[&str] = &["prepare", "query", "execute_raw", "query_raw", "query_typed", "statement"];

/// A client whose driver has read one user-defined type, and is to read another one after everything was discarded.
async fn with_types_lost(client: &Client, other: &Statement) {
    client.query("SELECT 'a'::mood", &[]).await.unwrap();
    client.query(other, &[]).await.unwrap();
    client.clear_type_cache();
    client.batch_execute("DISCARD ALL").await.unwrap();
}

async fn read_types(client: &Client, way: &str, other: &Statement) -> Result<()> {
    const SQL: &str = "SELECT 'a'::mood";
    match way {
        "prepare" => client.prepare(SQL).await.map(drop),
        "query" => client.query(SQL, &[]).await.map(drop),
        "execute_raw" => client.execute_raw(SQL, NO_PARAMS).await.map(drop),
        "query_raw" => client.query_raw(SQL, NO_PARAMS).await.map(drop),
        "query_typed" => client.query_typed("SELECT 'a'::mood, $1", &[(&1, Type::INT4)]).await.map(drop),
        _ => client.query(other, &[]).await.map(drop),
    }
}

#[test]
fn a_connection_that_cannot_read_types_any_more_is_replaced() {
    on_cluster::<Pg>(1, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut events = connector.services().subscribe();
        let mut client = connector.connect().await.unwrap();
        client
            .batch_execute("CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a mood, b int)")
            .await
            .unwrap();
        for way in READING_TYPES {
            let other = client.prepare("SELECT row('a', 1)::pair").await.unwrap();
            with_types_lost(&client, &other).await;
            let before = client.slot().id();
            let error = read_types(&client, way, &other).await.unwrap_err();
            assert!(error.is_failover_success(), "{way}: {error:?}");
            assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement, "{way}: {error:?}");
            assert_eq!(error.statement_may_have_run(), *way == "query_typed", "{way}: {error:?}");
            assert!(format!("{error:?}").contains("DISCARD ALL"), "{way}: {error:?}");
            read_types(&client, way, &other).await.unwrap();
            assert_ne!(client.slot().id(), before, "{way}");
        }

        let other = client.prepare("SELECT row('a', 1)::pair").await.unwrap();
        with_types_lost(&client, &other).await;
        let runs = AtomicU32::new(0);
        client
            .retry_transaction(RetryPolicy::default(), async |transaction| {
                runs.fetch_add(1, Ordering::SeqCst);
                transaction.query("SELECT 'a'::mood", &[]).await
            })
            .await
            .unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        assert_eq!(host_down(&mut events), []);
    });
}

#[test]
fn a_pool_on_a_plain_server_does_not_hand_on_a_connection_that_cannot_read_types() {
    on_built::<Pg>(Cluster::builder().instances(1).flavor(Flavor::Plain), async |cluster| {
        let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
        let connector = cluster.connector_to::<Pg>(&address, &[]).unwrap();
        let pool = Pool::builder(connector).max_size(1).build().unwrap();
        let client = pool.get().await.unwrap();
        client
            .batch_execute("CREATE TYPE mood AS ENUM ('a'); CREATE TYPE pair AS (a mood, b int)")
            .await
            .unwrap();
        drop(client);
        for is_open in [false, true] {
            let client = pool.get().await.unwrap();
            let other = client.prepare("SELECT row('a', 1)::pair").await.unwrap();
            with_types_lost(&client, &other).await;
            if is_open {
                client.batch_execute("BEGIN").await.unwrap();
            }
            let error = read_types(&client, "query", &other).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::SessionTerminated), "{error:?}");
            assert_eq!(error.sqlstate(), Some("26000"), "{error:?}");
            assert_eq!(error.retry_advice(), RetryAdvice::Reconnect, "{error:?}");
            let outcome =
                if is_open { TransactionOutcome::RolledBack } else { TransactionOutcome::NotInTransaction };
            assert_eq!(error.transaction_outcome(), outcome, "{error:?}");
            assert!(!error.connection_usable(), "{error:?}");
            drop(client);
            let client = pool.get().await.unwrap();
            read_types(&client, "query", &other).await.unwrap();
        }
    });
}

/// Names like the driver's in a text of one's own.
#[test]
fn a_statement_that_a_text_asks_for_costs_no_connection() {
    on_cluster::<Pg>(1, async |cluster| {
        let client = connect(cluster).await;
        let before = client.slot().id();
        for sql in ["EXECUTE s999999", "DEALLOCATE s999999", "EXECUTE foo"] {
            for is_open in [false, true] {
                if is_open {
                    client.batch_execute("BEGIN").await.unwrap();
                }
                let error = client.execute(sql, &[]).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{sql}: {error:?}");
                assert_eq!(error.sqlstate(), Some("26000"), "{sql}: {error:?}");
                client.batch_execute("ROLLBACK").await.unwrap();
            }
        }
        assert_eq!(client.slot().id(), before);
    });
}
