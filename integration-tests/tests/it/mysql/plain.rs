//! Servers that are no Aurora cluster, and how each product is recognised.

use aurora_sim::{Cluster, Flavor};
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use integration_tests::{MySql, SOON, Session, failovers, on_built};
use tokio::time::Instant;

/// Asks a server that is not Aurora for its name.
const WHO: &str = "SELECT @@sim_instance";

#[test]
fn with_a_plain_server_the_wrapper_simply_works() {
    on_built::<MySql>(Cluster::builder().instances(1).flavor(Flavor::Plain), async |cluster| {
        let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
        for params in
            [&[][..], &[("plugins", "failover")], &[("plugins", "initial_connection,failover,query_log")]]
        {
            let connector = cluster.connector_to::<MySql>(&address, params).unwrap();
            let mut session = connector.connect().await.unwrap();
            assert_eq!(session.ask("SELECT 1").await.unwrap(), "1");
            assert!(connector.services().status().clusters.is_empty(), "{params:?}");
            drop((session, connector));
        }
    });
}

/// By whatever name one comes; the server itself knows best.
#[test]
fn each_product_is_recognised_by_every_name() {
    for (flavor, by_cluster, by_instance, by_address) in [
        (Flavor::Plain, "mysql", "rds-mysql", "mysql"),
        (Flavor::Rds, "rds-mysql", "rds-mysql", "rds-mysql"),
        (Flavor::MultiAz, "rds-mysql", "rds-mysql", "rds-mysql"),
        (Flavor::Aurora, "aurora-mysql", "aurora-mysql", "aurora-mysql"),
    ] {
        on_built::<MySql>(Cluster::builder().instances(2).flavor(flavor), async |cluster| {
            let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
            let pattern = cluster.instance_endpoint("?");
            let params = [
                ("plugins", "initial_connection,failover"),
                ("cluster_instance_host_pattern", pattern.as_str()),
            ];
            for (host, code) in [
                (cluster.endpoint(), by_cluster),
                (cluster.instance_endpoint("instance-1"), by_instance),
                (address, by_address),
            ] {
                let connector = cluster.connector_to::<MySql>(&host, &params).unwrap();
                let mut session = connector.connect().await.unwrap();
                assert_eq!(session.ask(WHO).await.unwrap(), "instance-1", "{flavor} by {host}");
                assert_eq!(connector.core().topology().dialect().code(), code, "{flavor} by {host}");
                let hosts: Vec<usize> =
                    connector.services().status().clusters.iter().map(|cluster| cluster.hosts).collect();
                let expected = if flavor == Flavor::Aurora { vec![2] } else { Vec::new() };
                assert_eq!(hosts, expected, "{flavor} by {host}");
            }
        });
    }
}

/// A name of RDS promises a cluster; the server itself knows better, and without another host there is no failover.
#[test]
fn a_single_server_behind_a_name_of_rds_has_nowhere_to_fail_over_to() {
    for flavor in [Flavor::Plain, Flavor::Rds, Flavor::MultiAz] {
        on_built::<MySql>(Cluster::builder().instances(1).flavor(flavor), async |cluster| {
            let host = cluster.instance_endpoint("instance-1");
            let connector = cluster.connector_to::<MySql>(&host, &[]).unwrap();
            let mut events = connector.services().subscribe();
            let mut session = connector.connect().await.unwrap();
            assert_eq!(session.ask("SELECT 1").await.unwrap(), "1");
            cluster.cut("instance-1", &session).await;
            let start = Instant::now();
            let error = session.ask("SELECT 1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{flavor}: {error:?}");
            assert!(!error.connection_usable(), "{flavor}: {error:?}");
            assert!(start.elapsed() < SOON, "{flavor}: {:?}", start.elapsed());
            assert_eq!(failovers(&mut events), (0, Vec::new()), "{flavor}");
        });
    }
}

/// Without a topology each host of the connection string is asked.
#[test]
fn a_list_of_plain_servers_is_failed_over_by_asking_each() {
    on_built::<MySql>(Cluster::builder().instances(2).flavor(Flavor::Plain), async |cluster| {
        let address =
            |instance: &str| cluster.names().lookup(&cluster.instance_endpoint(instance))[0].to_string();
        let (first, second) = (address("instance-1"), address("instance-2"));
        let params = [("host", second.as_str()), ("plugins", "failover")];
        let connector = cluster.connector_to::<MySql>(&first, &params).unwrap();
        let mut session = connector.connect().await.unwrap();
        assert_eq!(session.ask(WHO).await.unwrap(), "instance-1");
        cluster.replace_writer().await;
        let error = session.ask("SELECT 1").await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.ask(WHO).await.unwrap(), "instance-2");
        session.run("CREATE TABLE written (id INT)").await.unwrap();
    });
}
