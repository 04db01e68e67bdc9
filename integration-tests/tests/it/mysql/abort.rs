//! Connections that are given up while the server is silent: whoever waits hears of it at once.

use std::time::Duration;

use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, ChangeUserOpts, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Error};
use integration_tests::{MySql, SOON, eventually, no_task_left, on_cluster, spawn};
use tokio::time::{Instant, sleep, timeout};

const LIMIT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
enum Waits {
    Query,
    Exec,
    Prep,
    Ping,
    Begin,
    Commit,
    Reset,
    ChangeUser,
    Open,
    TraitQuery,
    TraitExec,
    TraitPrep,
    TraitOpen,
}

const ALL: [Waits; 13] = [
    Waits::Query,
    Waits::Exec,
    Waits::Prep,
    Waits::Ping,
    Waits::Begin,
    Waits::Commit,
    Waits::Reset,
    Waits::ChangeUser,
    Waits::Open,
    Waits::TraitQuery,
    Waits::TraitExec,
    Waits::TraitPrep,
    Waits::TraitOpen,
];

impl Waits {
    async fn wait(self, conn: &mut Conn) -> mysql_async::Result<()> {
        match self {
            Self::Query => conn.query_drop("SELECT 1").await,
            Self::Exec => conn.exec_drop("SELECT ?", (1,)).await,
            Self::Prep => conn.prep("SELECT ?").await.map(drop),
            Self::Ping => conn.ping().await,
            Self::Begin => conn.start_transaction(TxOpts::default()).await.map(drop),
            Self::Commit => conn.query_drop("COMMIT").await,
            Self::Reset => conn.reset().await.map(drop),
            Self::ChangeUser => conn.change_user(ChangeUserOpts::default()).await,
            Self::Open => conn.query_iter("SELECT 1").await.map(drop),
            Self::TraitQuery => Queryable::query::<Row, _>(conn, "SELECT 1").await.map(drop),
            Self::TraitExec => Queryable::exec::<Row, _, _>(conn, "SELECT ?", (1,)).await.map(drop),
            Self::TraitPrep => Queryable::prep(conn, "SELECT ?").await.map(drop),
            Self::TraitOpen => Queryable::exec_iter(conn, "SELECT ?", (1,)).await.map(drop),
        }
    }
}

#[test]
fn a_shutdown_ends_every_call_on_a_silent_host() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            for waits in ALL {
                let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
                let services = connector.services().clone();
                let mut conn = connector.connect().await.unwrap();
                cluster.freeze("instance-1").await.unwrap();
                let call = spawn(async move { (waits.wait(&mut conn).await, Instant::now(), conn) });
                sleep(Duration::from_millis(50)).await;
                assert!(!call.is_finished(), "{waits:?}: nobody has answered");
                let start = Instant::now();
                services.shutdown(LIMIT).await.unwrap();
                let (result, end, mut conn) = timeout(LIMIT, call).await.expect("the call ends").unwrap();
                assert!(end - start < Duration::from_secs(1), "{waits:?}, {plugins}: {:?}", end - start);
                let error = Error::from(result.unwrap_err());
                assert!(!error.is_failover_success(), "{waits:?}, {plugins}: {error:?}");
                assert!(!error.connection_usable(), "{waits:?}, {plugins}: {error:?}");
                eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
                assert!(waits.wait(&mut conn).await.is_err(), "{waits:?}, {plugins}");
                drop((conn, connector, services));
                eventually(LIMIT, "no task is left", async || no_task_left()).await;
                cluster.thaw("instance-1").await.unwrap();
            }
        }
    });
}

/// Nobody uses them, so nobody has to wake up.
#[test]
fn a_shutdown_closes_idle_connections_of_a_silent_host() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        let mut conns = Vec::new();
        for _ in 0..5 {
            conns.push(connector.connect().await.unwrap());
        }
        // One is inside of a transaction.
        conns[0].query_drop("BEGIN").await.unwrap();
        cluster.freeze("instance-1").await.unwrap();
        let start = Instant::now();
        connector.services().shutdown(LIMIT).await.unwrap();
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        for conn in &mut conns {
            assert!(conn.is_disconnected());
            let error = Error::from(conn.ping().await.unwrap_err());
            assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{error:?}");
        }
        cluster.thaw("instance-1").await.unwrap();
    });
}

#[test]
fn a_hundred_connections_dropped_on_a_silent_host_leave_nothing() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        let mut conns = Vec::new();
        for _ in 0..100 {
            conns.push(connector.connect().await.unwrap());
        }
        cluster.freeze("instance-1").await.unwrap();
        // Some idle, some in a call, some in a transaction whose end nobody has asked for.
        for (index, mut conn) in conns.into_iter().enumerate() {
            if index % 2 == 0 {
                let given_up = timeout(Duration::from_millis(5), conn.query_drop("SELECT 1")).await;
                assert!(given_up.is_err(), "nobody answers: {given_up:?}");
            }
            drop(conn);
        }
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
        eventually(LIMIT, "no task is left", async || no_task_left()).await;
        cluster.thaw("instance-1").await.unwrap();
    });
}

#[test]
fn a_connection_that_is_being_opened_does_not_outlive_a_shutdown() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let services = connector.services().clone();
            cluster.freeze("instance-1").await.unwrap();
            let opening = spawn(async move { connector.connect().await.map(drop) });
            sleep(Duration::from_millis(100)).await;
            services.shutdown(LIMIT).await.unwrap();
            let opened = timeout(Duration::from_secs(12), opening).await.expect("it has a deadline").unwrap();
            assert!(opened.is_err(), "{plugins}");
            eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
            cluster.thaw("instance-1").await.unwrap();
        }
    });
}
