//! Logins: the monitor's own, and one that changes.

use std::time::Duration;

use integration_tests::{MySql, Session, eventually, on_cluster};
use tokio::time::Instant;

const MONITORS: &str = "SELECT count(*) FROM information_schema.processlist WHERE user = 'watcher'";

/// The monitor proves the writer on connections of its own user; none of them may become a session of the application.
#[test]
fn a_session_never_gets_the_monitors_login() {
    on_cluster::<MySql>(3, async |cluster| {
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("CREATE USER watcher IDENTIFIED BY 'eyes'").await.unwrap();
        admin.run("GRANT SELECT ON aurora_sim.* TO watcher").await.unwrap();
        admin.run("GRANT SELECT ON app.* TO watcher").await.unwrap();
        let params = [("topology_monitoring_user", "watcher"), ("topology_monitoring_password", "eyes")];
        for plugins in ["initial_connection,failover", "failover", "failover,developer"] {
            let params = [params[0], params[1], ("plugins", plugins)];
            let connector = cluster.connector::<MySql>(&params);
            let mut conn = connector.connect().await.unwrap();
            let writer = conn.who().await.unwrap();
            let mut admin = cluster.admin::<MySql>(&writer).await;
            eventually(Duration::from_secs(5), "the monitor is there", async || {
                admin.ask(MONITORS).await.unwrap() != "0"
            })
            .await;
            for loses in [true, false] {
                if loses {
                    cluster.replace_writer().await;
                    cluster.complete().await;
                } else {
                    cluster.cut(&cluster.writer(), &conn).await;
                }
                assert!(conn.who().await.unwrap_err().is_failover_success());
                let who = conn.ask("SELECT CONCAT(CURRENT_USER(), ' in ', DATABASE())").await.unwrap();
                assert_eq!(who, "app@% in app", "{plugins}");
            }
        }
    });
}

/// A monitor that is not let in hurts nobody as long as nothing is lost, and says so.
#[test]
fn a_monitor_that_is_not_let_in_is_reported() {
    on_cluster::<MySql>(2, async |cluster| {
        let params = [
            ("topology_monitoring_user", "app"),
            ("topology_monitoring_password", "wrong"),
            ("failover_timeout_ms", "20000"),
        ];
        let connector = cluster.connector::<MySql>(&params);
        let mut conn = connector.connect().await.unwrap();
        eventually(Duration::from_secs(10), "the status has the monitor's error", async || {
            let status = connector.services().status();
            status.clusters[0].last_error.as_ref().is_some_and(|error| error.contains("Access denied"))
        })
        .await;
        conn.who().await.unwrap();
    });
}

/// The password was changed while the session lived: nobody lets it in again, and it says so soon.
#[test]
fn a_failover_with_a_password_that_is_no_longer_right_fails_soon() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut session = connector.connect().await.unwrap();
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("ALTER USER app IDENTIFIED BY 'another'").await.unwrap();
        let reader = cluster
            .connector_to::<MySql>(&cluster.instance_endpoint("instance-2"), &[("plugins", "none")])
            .unwrap();
        eventually(Duration::from_secs(5), "the reader knows the new password", async || {
            reader.connect().await.is_err()
        })
        .await;
        let start = Instant::now();
        cluster.cut("instance-1", &session).await;
        let error = session.who().await.unwrap_err();
        assert!(!error.is_failover_success() && !error.connection_usable(), "{error:?}");
        assert!(format!("{error:?}").contains("Access denied"), "the reason is told: {error:?}");
        assert!(start.elapsed() < Duration::from_secs(15), "{:?}", start.elapsed());

        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("ALTER USER app IDENTIFIED BY 'secret'").await.unwrap();
        let error = session.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), "instance-1");
    });
}
