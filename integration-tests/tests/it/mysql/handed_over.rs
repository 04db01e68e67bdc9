//! The driver's own connection belongs to its caller: the services know it no more.

use std::time::Duration;

use integration_tests::{Bare, MySql, eventually, on_cluster};

const LIMIT: Duration = Duration::from_secs(5);
/// Two looks at the topology follow each other so quickly.
const FAST: (&str, &str) = ("cluster_topology_refresh_rate_ms", "100");

#[test]
fn it_outlives_the_services_and_is_not_in_their_status() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect_driver().await.unwrap();
        let services = connector.services().clone();
        eventually(LIMIT, "it is there, and the services know the monitor's", async || {
            services.status().connections.values().sum::<usize>() == 1 && cluster.sockets() == 2
        })
        .await;
        services.shutdown(LIMIT).await.unwrap();
        drop((connector, services));
        assert_eq!(conn.ask("SELECT @@aurora_server_id").await.unwrap(), "instance-1");
        conn.disconnect().await.unwrap();
        eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
    });
}

#[test]
fn it_stays_where_it_is_when_the_writer_moves() {
    on_cluster::<MySql>(2, async |cluster| {
        let connector = cluster.connector::<MySql>(&[FAST]);
        let mut conn = connector.connect_driver().await.unwrap();
        let session = connector.connect().await.unwrap();
        conn.ask("CREATE TABLE log (id bigint)").await.unwrap();
        cluster.switchover(Some("instance-2")).await.unwrap();
        eventually(LIMIT, "the session to the old writer is closed", async || session.slot().has_ended())
            .await;
        assert_eq!(conn.ask("SELECT @@aurora_server_id").await.unwrap(), "instance-1");
        let refused = conn.ask("INSERT INTO log VALUES (1)").await.unwrap_err();
        assert!(refused.contains("read-only"), "{refused}");
    });
}
