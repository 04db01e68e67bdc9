//! What the monitor learns by itself.

use std::time::Duration;

use aurora_sim::FailoverOptions;
use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::events::Event;
use aws_wrapper_core::services::Services;
use integration_tests::{Adapter, ClusterNames, Session, eventually, on_cluster, spawn};
use tokio::time::{sleep, timeout};

use super::Driver;

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn a_new_writer_is_noticed_without_any_call() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("cluster_topology_refresh_rate_ms", "200")]);
        let services = Driver::services(&connector).clone();
        let mut events = services.subscribe();
        let _session = Driver::connect(&connector).await.unwrap();
        eventually(LIMIT, "the monitor has proved the writer", async || {
            services.status().clusters[0].version > 0
        })
        .await;
        cluster.switchover(Some("instance-3")).await.unwrap();
        let changed = async {
            loop {
                if let Event::WriterChanged { from, to, .. } = events.recv().await.unwrap() {
                    return (from, to);
                }
            }
        };
        let (from, to) = timeout(LIMIT, changed).await.expect("the change is told");
        assert_eq!((from, to), (Some(cluster.key("instance-1")), cluster.key("instance-3")));
    });
}

#[test]
fn the_monitor_recovers_from_a_cluster_that_was_down() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("cluster_topology_refresh_rate_ms", "200")]);
        let services = Driver::services(&connector).clone();
        let _session = Driver::connect(&connector).await.unwrap();
        cluster.down_all().await.unwrap();
        eventually(LIMIT, "the monitor complains", async || {
            services.status().clusters[0].last_error.is_some()
        })
        .await;
        let before = services.status().clusters[0].probes;
        sleep(Duration::from_secs(2)).await;
        cluster.up_all().await.unwrap();
        eventually(LIMIT, "the monitor is content", async || {
            let status = &services.status().clusters[0];
            status.last_error.is_none() && status.probes > before
        })
        .await;
        assert!(services.status().tasks.values().all(|task| task.restarts == 0), "{:?}", services.status());
    });
}

/// A writer counts when it says so itself; what others remember of the old one does not.
#[test]
fn a_stale_topology_delays_the_failover_and_misleads_nobody() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        for instance in ["instance-2", "instance-3"] {
            cluster.set_stale_topology(instance, true).await.unwrap();
        }
        cluster.failover(FailoverOptions::default().to("instance-2").restart_old(false)).await.unwrap();
        let call = spawn(async move { (session.who().await.unwrap_err(), session) });
        sleep(Duration::from_secs(1)).await;
        assert!(!call.is_finished(), "no topology names the new writer");
        cluster.set_stale_topology("instance-2", false).await.unwrap();
        let (error, mut session) = call.await.unwrap();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), "instance-2");
        cluster.set_stale_topology("instance-3", false).await.unwrap();
    });
}

#[test]
fn a_name_of_ones_own_needs_a_pattern_and_then_fails_over() {
    on_cluster::<Driver>(3, async |cluster| {
        let names = ClusterNames::new([cluster.names()]).alias("db.example.com", &cluster.endpoint());
        let services = Services::with_resolver(names);
        let bare = [("plugins", "initial_connection,failover")];
        let connector = cluster.connector_with::<Driver>(&services, "db.example.com", &bare).unwrap();
        let error = Driver::connect(&connector).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains("cluster_instance_host_pattern"), "{error}");
        drop(connector);

        let pattern = cluster.instance_endpoint("?");
        let params = [("cluster_instance_host_pattern", pattern.as_str())];
        let connector = cluster.connector_with::<Driver>(&services, "db.example.com", &params).unwrap();
        let mut session = Driver::connect(&connector).await.unwrap();
        let report = cluster.replace_writer().await;
        let error = session.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(error.host(), Some(&cluster.key(&report.new_writer)), "{error:?}");
        assert_eq!(session.who().await.unwrap(), report.new_writer);
    });
}
