//! Several clusters, connectors and services in one process.

use aws_wrapper_core::services::Services;
use integration_tests::{Adapter, ClusterNames, Session, TestCluster, failovers, on_cluster, on_clusters};

use super::Driver;

#[test]
fn two_clusters_in_one_process_are_never_mixed() {
    on_clusters::<Driver>(2, 2, async |clusters: &[TestCluster]| {
        // One `Services` for both, with default settings and instances of the same names.
        let services =
            Services::with_resolver(ClusterNames::new(clusters.iter().map(|cluster| cluster.names())));
        let mut sessions = Vec::new();
        for cluster in clusters {
            let connector = cluster.connector_with::<Driver>(&services, &cluster.endpoint(), &[]).unwrap();
            let mut session = Driver::connect(&connector).await.unwrap();
            session.run("CREATE TABLE home (name text)").await.unwrap();
            session.run(&format!("INSERT INTO home VALUES ('{}')", cluster.endpoint())).await.unwrap();
            sessions.push(session);
        }
        assert_eq!(services.status().clusters.len(), 2);
        let mut events = services.subscribe();
        clusters[0].replace_writer().await;
        assert!(sessions[0].who().await.unwrap_err().is_failover_success());
        for (session, cluster) in sessions.iter_mut().zip(clusters) {
            assert_eq!(session.ask("SELECT name FROM home").await.unwrap(), cluster.endpoint());
        }
        assert_eq!(sessions[0].who().await.unwrap(), "instance-2");
        assert_eq!(sessions[1].who().await.unwrap(), "instance-1");
        assert_eq!(failovers(&mut events).0, 1);
        clusters[1].replace_writer().await;
        assert!(sessions[1].who().await.unwrap_err().is_failover_success());
        for (session, cluster) in sessions.iter_mut().zip(clusters) {
            assert_eq!(session.ask("SELECT name FROM home").await.unwrap(), cluster.endpoint());
        }
    });
}

#[test]
fn whatever_endpoint_leads_to_a_cluster_it_has_one_monitor() {
    on_cluster::<Driver>(2, async |cluster| {
        let services = cluster.services();
        let instance = cluster.instance_endpoint("instance-2");
        let mut sessions = Vec::new();
        for host in [cluster.endpoint(), cluster.reader_endpoint(), instance] {
            let connector = cluster.connector_with::<Driver>(&services, &host, &[]).unwrap();
            sessions.push(Driver::connect(&connector).await.unwrap());
        }
        let clusters = services.status().clusters;
        assert_eq!(clusters.len(), 1, "{clusters:?}");
        assert_eq!(clusters[0].sessions, 3, "{clusters:?}");
    });
}

#[test]
fn connectors_built_apart_share_nothing() {
    on_cluster::<Driver>(2, async |cluster| {
        let first = cluster.connector::<Driver>(&[]);
        let second = cluster.connector::<Driver>(&[]);
        let _session = Driver::connect(&first).await.unwrap();
        assert_eq!(Driver::services(&first).status().clusters.len(), 1);
        assert!(Driver::services(&second).status().clusters.is_empty());
        assert!(Driver::services(&second).status().connections.is_empty());
    });
}
