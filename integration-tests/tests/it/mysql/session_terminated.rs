//! The server ends one session; the host is fine.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, TransactionOutcome};
use aws_wrapper_mysql::mysql_async::{self, ChangeUserOpts};
use aws_wrapper_mysql::{Conn, Error, mysql_error};
use integration_tests::{
    Expected, MySql, SOON, Session, TestCluster, eventually, failovers, host_down, on_built, on_cluster,
    switched,
};
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_secs(5);

#[test]
fn a_session_that_was_idle_for_too_long_goes_on_at_the_same_host() {
    terminated(&["SET wait_timeout = 1"], TransactionOutcome::NotInTransaction);
}

#[test]
fn a_transaction_that_was_idle_for_too_long_is_rolled_back() {
    terminated(&["SET wait_timeout = 1", "BEGIN", "SELECT 1"], TransactionOutcome::RolledBack);
}

/// Waits until the server knows nothing of a session any more.
async fn is_gone(cluster: &TestCluster, instance: &str, id: u32) {
    let mut admin = cluster.admin::<MySql>(instance).await;
    let sql = format!("SELECT count(*) FROM information_schema.processlist WHERE id = {id}");
    eventually(LIMIT, "the server has ended the session", async || admin.ask(&sql).await.unwrap() == "0")
        .await;
}

fn terminated(statements: &[&str], transaction: TransactionOutcome) {
    on_cluster::<MySql>(3, async |cluster| {
        for reads in [false, true] {
            let host = if reads { cluster.reader_endpoint() } else { cluster.endpoint() };
            let connector = cluster.connector_to::<MySql>(&host, &[]).unwrap();
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let instance = conn.who().await.unwrap();
            for statement in statements {
                conn.run(statement).await.unwrap();
            }
            is_gone(cluster, &instance, conn.id()).await;

            let start = Instant::now();
            let error = conn.who().await.unwrap_err();
            let key = cluster.key(&instance);
            switched(&error, &Expected { old: key.clone(), new: key, transaction });
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            assert_eq!(conn.who().await.unwrap(), instance);
            let down = host_down(&mut events);
            assert!(down.is_empty(), "the host is not to blame: {down:?}");
        }
    });
}

/// Nobody fails over here, and yet it is told that the network is not to blame.
#[test]
fn without_a_plugin_the_end_of_an_idle_session_is_told() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("plugins", "none")]);
        let mut conn = connector.connect().await.unwrap();
        conn.run("SET wait_timeout = 1").await.unwrap();
        is_gone(cluster, "instance-1", conn.id()).await;
        let error = conn.who().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::SessionTerminated), "{error:?}");
        assert!(!error.connection_usable(), "{error:?}");
    });
}

/// The server just closes the connection, so the host is asked again before anybody believes that it is gone.
#[test]
fn a_session_ended_by_an_administrator_goes_on_at_the_same_writer() {
    on_cluster::<MySql>(3, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        for is_busy in [false, true] {
            for transaction in [TransactionOutcome::NotInTransaction, TransactionOutcome::RolledBack] {
                let mut conn = connector.connect().await.unwrap();
                if transaction == TransactionOutcome::RolledBack {
                    conn.run("BEGIN").await.unwrap();
                }
                let id = conn.id();
                let kill = format!("KILL {id}");
                let start = Instant::now();
                let error = if is_busy {
                    let (result, ()) = tokio::join!(conn.run(<Conn as Session>::SLEEP), async {
                        let sleeps = format!(
                            "SELECT count(*) FROM information_schema.processlist WHERE id = {id} AND info LIKE '%SLEEP%'"
                        );
                        eventually(LIMIT, "the call is under way", async || {
                            admin.ask(&sleeps).await.unwrap() == "1"
                        })
                        .await;
                        admin.run(&kill).await.unwrap();
                    });
                    result.unwrap_err()
                } else {
                    admin.run(&kill).await.unwrap();
                    is_gone(cluster, "instance-1", id).await;
                    conn.who().await.unwrap_err()
                };
                let key = cluster.key("instance-1");
                switched(&error, &Expected { old: key.clone(), new: key, transaction });
                assert!(start.elapsed() < SOON, "{is_busy}: {:?}", start.elapsed());
                assert_eq!(conn.who().await.unwrap(), "instance-1");
                let status = connector.services().status();
                assert!(status.clusters[0].last_error.is_none(), "{is_busy}: {status:?}");
            }
        }
    });
}

/// A statement that is interrupted is an error of that statement.
#[test]
fn an_interrupted_statement_is_no_failover() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        let kill = format!("KILL QUERY {}", conn.id());
        const ENDLESS: &str = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                               SELECT /*+ SET_VAR(cte_max_recursion_depth = 4000000000) */ count(*) FROM n";
        let (result, ()) = tokio::join!(conn.run(ENDLESS), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            admin.run(&kill).await.unwrap();
        });
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Cancelled), "{error:?}");
        assert_eq!(error.vendor_code(), Some(1317), "{error:?}");
        let error = conn.run(&ENDLESS.replace("/*+", "/*+ MAX_EXECUTION_TIME(100)")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Cancelled), "{error:?}");
        assert_eq!(error.vendor_code(), Some(3024), "{error:?}");
        assert!(error.connection_usable(), "{error:?}");
        assert_eq!(conn.who().await.unwrap(), "instance-1");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

/// After a refused change of user the server closes the connection; the host has done nothing wrong.
#[test]
fn a_refused_change_of_user_is_told_and_leaves_the_host_alone() {
    on_cluster::<MySql>(2, async |cluster| {
        for plugins in ["initial_connection,failover", "none"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let wrong = ChangeUserOpts::new().with_pass(Some("hunter2-wrong".to_owned()));
            let error = conn.change_user(wrong).await.unwrap_err();
            let error = Error::from(error);
            assert_eq!(error.kind(), ErrorKind::Login, "{error:?}");
            assert_eq!(error.vendor_code(), Some(1045), "{error:?}");
            assert!(matches!(mysql_error(&error), Some(mysql_async::Error::Server(_))), "{error:?}");
            // One error at most, and then the session is the old user's.
            let _ = conn.ping().await;
            let user = timeout(LIMIT, conn.ask("SELECT CURRENT_USER()")).await.expect("it does not hang");
            assert_eq!(user.unwrap(), "app@%", "{plugins}");
            let down = host_down(&mut events);
            assert!(down.is_empty(), "{plugins}: the host is not to blame: {down:?}");
        }
    });
}

#[test]
fn who_the_session_has_become_it_stays_on_the_next_connection() {
    on_cluster::<MySql>(3, async |cluster| {
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("CREATE USER other IDENTIFIED BY 'different'").await.unwrap();
        admin.run("CREATE DATABASE elsewhere").await.unwrap();
        admin.run("GRANT ALL ON elsewhere.* TO other").await.unwrap();
        admin.run("GRANT SELECT ON aurora_sim.* TO other").await.unwrap();
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        let other = ChangeUserOpts::new()
            .with_user(Some("other".to_owned()))
            .with_pass(Some("different".to_owned()))
            .with_db_name(Some("elsewhere".to_owned()));
        conn.change_user(other).await.unwrap();
        const WHO: &str = "SELECT CONCAT(CURRENT_USER(), ' in ', DATABASE())";
        assert_eq!(conn.ask(WHO).await.unwrap(), "other@% in elsewhere");
        for _ in 0..2 {
            let report = cluster.replace_writer().await;
            assert!(conn.ask(WHO).await.unwrap_err().is_failover_success());
            assert_eq!(conn.ask(WHO).await.unwrap(), "other@% in elsewhere");
            assert_eq!(conn.who().await.unwrap(), report.new_writer);
            cluster.complete().await;
        }
        // A session of its own is not concerned.
        let mut second = connector.connect().await.unwrap();
        assert_eq!(second.ask(WHO).await.unwrap(), "app@% in app");
    });
}

/// What is too large for a packet says nothing about the host.
#[test]
fn a_packet_that_is_too_large_is_the_callers_mistake() {
    let builder = aurora_sim::Cluster::builder().instances(2).setting("max-allowed-packet", "1M");
    on_built::<MySql>(builder, async |cluster| {
        let large = "x".repeat(3 << 20);
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        for _ in 0..2 {
            let error = Error::from(conn.query_drop(format!("SELECT LENGTH('{large}')")).await.unwrap_err());
            assert!(!error.is_failover_success(), "{error:?}");
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
            assert_eq!(conn.ask("SELECT 'at once'").await.unwrap(), "at once");
            let error = Error::from(conn.exec_drop("SELECT LENGTH(?)", (&large,)).await.unwrap_err());
            assert!(!error.is_failover_success(), "{error:?}");
            assert_eq!(conn.ask("SELECT 'at once'").await.unwrap(), "at once");
        }
        assert_eq!(failovers(&mut events), (0, Vec::new()));
        assert!(host_down(&mut events).is_empty());

        // A client that believes in a larger limit is cut off while it writes, which may look like a lost network.
        let connector = cluster.connector::<MySql>(&[("max_allowed_packet", "67108864")]);
        let mut conn = connector.connect().await.unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            conn.query_drop(format!("SELECT LENGTH('{large}')")).await.unwrap_err();
            assert_eq!(conn.ask("SELECT 'at once'").await.unwrap(), "at once");
            assert_eq!(conn.who().await.unwrap(), "instance-1");
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        }
    });
}
