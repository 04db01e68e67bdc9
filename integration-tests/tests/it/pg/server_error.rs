//! What the server says on a session that lives is its own error, whatever its code.

use std::sync::atomic::{AtomicU32, Ordering};

use aurora_sim::{Cluster, Flavor};
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::pg::Pool;
use aws_wrapper_pg::tokio_postgres::{self, NoTls};
use aws_wrapper_pg::{Client, Connector, Error};
use integration_tests::{Pg, Session, TestCluster, failovers, host_down, on_built, on_cluster, spawn};
use tokio::time::Instant;

/// Codes that mean a lost connection, a refused login or the end of a session where they are FATAL.
const CODES: &[&str] = &[
    "08000", "08001", "08003", "08004", "08006", "08007", "08P01", "25P03", "25P04", "28000", "28P01",
    "40002", "57P01", "57P02", "57P03", "57P04", "57P05", "58000", "58030", "58P01", "53300", "99001",
    "F0000", "XX000",
];

#[test]
fn an_error_on_a_session_that_lives_is_the_servers_own_in_a_cluster() {
    on_cluster::<Pg>(3, async |cluster| {
        set_up(cluster).await;
        let connector = cluster.connector::<Pg>(&[("plugins", "initial_connection,failover,efm")]);
        every_error_stays_the_servers_own(&connector).await;
    });
}

#[test]
fn an_error_on_a_session_that_lives_is_the_servers_own_on_a_plain_server() {
    on_built::<Pg>(Cluster::builder().instances(1).flavor(Flavor::Plain), async |cluster| {
        set_up(cluster).await;
        let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
        every_error_stays_the_servers_own(&cluster.connector_to::<Pg>(&address, &[]).unwrap()).await;
    });
}

async fn set_up(cluster: &TestCluster) {
    let admin = cluster.admin::<Pg>("instance-1").await;
    // Nothing listens on port 1.
    let sql = "CREATE TABLE log (id bigint); GRANT ALL ON log TO app;
        CREATE EXTENSION postgres_fdw; CREATE EXTENSION dblink;
        CREATE SERVER down FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'x');
        CREATE USER MAPPING FOR app SERVER down OPTIONS (user 'x', password 'y');
        CREATE FOREIGN TABLE elsewhere (id int) SERVER down; GRANT SELECT ON elsewhere TO app;
        CREATE FUNCTION fails(code text) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'said by a function' USING ERRCODE = code; END $$";
    admin.batch_execute(sql).await.unwrap();
}

fn failing() -> Vec<(String, &'static str)> {
    let mut failing: Vec<_> = CODES.iter().map(|&code| (format!("SELECT fails('{code}')"), code)).collect();
    failing.push(("SELECT * FROM elsewhere".to_owned(), "08001"));
    failing.push(("SELECT dblink_connect('host=127.0.0.1 port=1 password=x')".to_owned(), "08001"));
    failing
}

fn is_the_servers_own(error: &Error, code: &str) {
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
    assert_eq!(error.sqlstate(), Some(code), "{error:?}");
    assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction, "{error:?}");
    assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{error:?}");
    assert!(error.connection_usable(), "{error:?}");
}

async fn every_error_stays_the_servers_own(connector: &Connector) {
    let (mut events, mut more_events) = (connector.services().subscribe(), connector.services().subscribe());
    let mut client = connector.connect().await.unwrap();
    let pid = backend(&client).await;
    for (sql, code) in failing() {
        is_the_servers_own(&client.execute(&sql, &[]).await.unwrap_err(), code);
        is_the_servers_own(&client.batch_execute(&sql).await.unwrap_err(), code);

        client.batch_execute("TRUNCATE log").await.unwrap();
        let mut transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
        let savepoint = transaction.transaction().await.unwrap();
        savepoint.execute("INSERT INTO log VALUES (2)", &[]).await.unwrap();
        is_the_servers_own(&savepoint.query(&sql, &[]).await.unwrap_err(), code);
        savepoint.rollback().await.unwrap();
        transaction.execute("INSERT INTO log VALUES (4)", &[]).await.unwrap();
        transaction.commit().await.unwrap();
        assert_eq!(client.ask("SELECT sum(id) FROM log").await.unwrap(), "5", "{sql}");

        let runs = AtomicU32::new(0);
        let run = client.retry_transaction(RetryPolicy::default(), async |transaction| {
            runs.fetch_add(1, Ordering::SeqCst);
            transaction.execute(&sql, &[]).await
        });
        is_the_servers_own(&run.await.unwrap_err(), code);
        assert_eq!(runs.load(Ordering::SeqCst), 1, "{sql}");
    }
    for (code, class) in [("57014", DriverClass::Cancelled), ("25006", DriverClass::Role)] {
        let error = client.execute(&format!("SELECT fails('{code}')"), &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(class), "{error:?}");
    }
    assert_eq!(backend(&client).await, pid, "it is the same session");
    assert_eq!(failovers(&mut events), (0, Vec::new()));
    assert_eq!(host_down(&mut more_events), []);
}

async fn backend(client: &Client) -> i32 {
    client.query_one_scalar("SELECT pg_backend_pid()", &[]).await.unwrap()
}

/// A failover each would take a hundred times as long.
#[test]
fn failing_calls_through_a_pool_cost_what_they_cost_the_driver() {
    const CALLS: u32 = 200;
    const RATIO: u32 = 20;
    on_cluster::<Pg>(3, async |cluster| {
        set_up(cluster).await;
        let sql = "SELECT fails('08006')";
        let address = cluster.names().lookup(&cluster.endpoint())[0];
        let config = format!("host={address} port={} user=app password=secret dbname=app", cluster.port());
        let (bare, connection) = tokio_postgres::connect(&config, NoTls).await.unwrap();
        let task = spawn(connection);
        let start = Instant::now();
        for _ in 0..CALLS {
            bare.execute(sql, &[]).await.unwrap_err();
        }
        let of_the_driver = start.elapsed();
        drop(bare);
        task.await.unwrap().unwrap();

        let pool = Pool::builder(cluster.connector::<Pg>(&[])).max_size(1).build().unwrap();
        pool.get().await.unwrap().execute("SELECT 1", &[]).await.unwrap();
        let start = Instant::now();
        for _ in 0..CALLS {
            is_the_servers_own(&pool.get().await.unwrap().execute(sql, &[]).await.unwrap_err(), "08006");
        }
        let of_the_wrapper = start.elapsed();
        assert!(of_the_wrapper < of_the_driver * RATIO, "{of_the_wrapper:?}, bare {of_the_driver:?}");
        assert_eq!(pool.status().sub_pools[0].created, 1, "{:?}", pool.status());
    });
}
