//! What connectors share, what they never share, and that everything ends.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::collections::BTreeSet;

use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::events::Event;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::testing::cluster::{FakeCluster, Reach};
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver};
use aws_wrapper_core::topology::cluster::{Mode, Verify};
use common::{CUSTOM, MS, READER, SECOND, WRITER, World, all, config, timed, until};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep};

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn until_all_tasks_have_ended() {
    until("all tasks have ended", || tasks() == 0).await;
}

mod the_end {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn dropping_the_last_handle_ends_every_task_and_connection() {
        let world = World::new();
        let (cluster, services) = (world.cluster.clone(), world.services.clone());
        let client = world.settled(&[]).await;
        assert!(services.status().running_tasks > 0 && tasks() > 0);
        drop((world, services));
        sleep(SECOND).await;
        assert_eq!(client.query("select 1").await.unwrap(), "i-1");
        assert!(tasks() > 0, "the client holds what it needs");
        drop(client);
        until_all_tasks_have_ended().await;
        for name in common::THREE {
            assert_eq!(cluster.open(name), 0, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn also_in_the_middle_of_a_search() {
        let world = World::new();
        let cluster = world.cluster.clone();
        let client = world.settled(&[]).await;
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Silent);
        }
        world.cluster.kill_connections("i-1");
        let _ = common::drop_after(5, client.query("select 1")).await;
        sleep(SECOND * 3).await;
        assert_eq!(world.services.status().clusters[0].mode, Mode::Panic);
        drop((world, client));
        until_all_tasks_have_ended().await;
        for name in common::THREE {
            assert_eq!(cluster.open(name), 0, "{name}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connector_that_never_connected_runs_nothing() {
        let world = World::new();
        let _connector = world.connector(WRITER, &[]);
        assert_eq!((world.services.status().running_tasks, tasks()), (0, 0));
        assert!(world.services.status().clusters.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_monitor_without_sessions_stops_after_a_minute_and_is_started_again_when_needed() {
        let world = World::new();
        let connector = world.connector(WRITER, &[]);
        let client = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        drop(client);
        sleep(SECOND * 50).await;
        assert_eq!(world.services.status().clusters[0].mode, Mode::Regular);
        sleep(SECOND * 20).await;
        let status = world.services.status();
        assert_eq!((status.clusters[0].mode, status.running_tasks), (Mode::Stopped, 0));
        assert_eq!(world.cluster.open("i-1"), 0);
        let client = FakeClient::connect(&connector).await.unwrap();
        assert_eq!(world.services.status().clusters[0].mode, Mode::Regular);
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-2");
        assert!(client.query("select 1").await.unwrap_err().is_failover_success());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_nobody_can_reach_any_more_is_forgotten() {
        let world = World::new();
        drop(world.settled(&[]).await);
        sleep(SECOND * 70).await;
        let other = FakeCluster::with_domain(&["i-1"], "abc.eu-west-1.rds.amazonaws.com");
        let connector = Connector::builder(FakeDriver::new(&other), config(&[]), vec![other.key("i-1")])
            .services(world.services.clone())
            .build()
            .unwrap();
        let _client = FakeClient::connect(&connector).await.unwrap();
        let clusters = world.services.status().clusters;
        assert_eq!(clusters.len(), 1, "{clusters:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_tasks_at_once_and_later_calls_do_not_hang() {
        let world = World::new();
        let connector = world.connector(WRITER, &[]);
        let client = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        let (result, took) = timed(world.services.shutdown(SECOND * 5)).await;
        result.unwrap();
        assert!(took < 10 * MS, "{took:?}");
        assert_eq!((world.services.status().running_tasks, tasks()), (0, 0));
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnavailable, "also the application's connections are closed");
        assert!(world.services.status().connections.is_empty());
        let (result, took) = timed(connector.connect()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        let (refreshed, refreshing) =
            timed(connector.topology().refresh(Verify::Writer, Instant::now() + SECOND * 30)).await;
        assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::HostUnavailable);
        world.cluster.set_reach("i-1", Reach::Refuses);
        let (lost, losing) = timed(client.query("select 1")).await;
        assert!(!lost.unwrap_err().is_failover_success());
        assert!(
            took < SECOND && refreshing < SECOND && losing < SECOND,
            "{took:?} {refreshing:?} {losing:?}"
        );
        world.services.shutdown(SECOND).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_failovers_that_are_under_way() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let shutting_down = async {
            sleep(SECOND * 3).await;
            world.services.shutdown(SECOND).await.unwrap();
        };
        let ((failed, took), ()) = tokio::join!(timed(client.query("select 1")), shutting_down);
        assert!(!failed.unwrap_err().connection_usable());
        assert!(took < SECOND * 4, "{took:?}");
        assert_eq!(heard.failovers().len(), 1);
    }
}

mod one_cluster {
    use super::*;

    /// One monitor whichever way its users came, and in whichever order.
    #[tokio::test(start_paused = true)]
    async fn all_endpoints_share_one_monitor_in_any_order() {
        let ways = [WRITER, READER, "i-1", "i-3", CUSTOM];
        for first in ways {
            for second in ways {
                let world = World::new();
                let one = world.client(first, &[]).await;
                sleep(SECOND).await;
                let other = world.client(second, &[]).await;
                sleep(SECOND).await;
                let clusters = world.services.status().clusters;
                assert_eq!(clusters.len(), 1, "{first} then {second}: {clusters:?}");
                assert_eq!(clusters[0].sessions, 2);
                drop((one, other));
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn custom_names_share_it_too() {
        let world = World::new();
        world.cluster.alias("db.example.com", "i-1");
        let pattern = format!("?.{}", common::DOMAIN);
        let _one = world.client(WRITER, &[]).await;
        let other = world.client("db.example.com", &[("cluster_instance_host_pattern", &pattern)]).await;
        assert_eq!(world.services.status().clusters.len(), 1);
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-2");
        assert!(other.query("select 1").await.unwrap_err().is_failover_success());
        assert_eq!(other.query("insert").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_connect_at_the_same_time_learn_once() {
        let world = World::new();
        let connector = world.connector(WRITER, &[]);
        let clients = all((0..50).map(|_| FakeClient::connect(&connector))).await;
        assert!(clients.iter().all(Result::is_ok));
        let clusters = world.services.status().clusters;
        assert_eq!((clusters.len(), clusters[0].sessions), (1, 50));
        sleep(SECOND).await;
        assert_eq!(world.cluster.open("i-1"), 51, "fifty sessions and one monitor");
    }

    #[tokio::test(start_paused = true)]
    async fn connectors_with_services_of_their_own_share_nothing() {
        let world = World::new();
        let lonely = World { services: Services::new(), ..world.clone() };
        let one = world.client(WRITER, &[]).await;
        let other = lonely.client(WRITER, &[]).await;
        for services in [&world.services, &lonely.services] {
            assert_eq!((services.status().clusters.len(), services.status().clusters[0].sessions), (1, 1));
        }
        let mut heard = lonely.listen();
        world.services.shutdown(SECOND).await.unwrap();
        assert_eq!(other.query("select 1").await.unwrap(), "i-1");
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-2");
        assert!(!one.query("select 1").await.unwrap_err().is_failover_success());
        assert!(other.query("select 1").await.unwrap_err().is_failover_success());
        assert_eq!(heard.failovers().len(), 1);
    }
}

mod two_clusters {
    use super::*;

    fn connector(
        cluster: &FakeCluster,
        services: &Services,
        pairs: &[(&str, &str)],
    ) -> Connector<FakeDriver> {
        Connector::builder(FakeDriver::new(cluster), config(pairs), vec![cluster.key("i-1")])
            .services(services.clone())
            .build()
            .unwrap()
    }

    /// The same instance names, the same region and account or another, one `Services`: never mixed.
    #[tokio::test(start_paused = true)]
    async fn they_are_never_mixed() {
        for (one, other) in [
            ("abc.eu-west-1.rds.amazonaws.com", "xyz.us-east-2.rds.amazonaws.com"),
            ("abc.eu-west-1.rds.amazonaws.com", "abc.us-east-2.rds.amazonaws.com"),
            ("one.example.com", "two.example.com"),
        ] {
            let services = Services::new();
            let clusters = [one, other].map(|domain| FakeCluster::with_domain(common::THREE, domain));
            let patterns = [one, other].map(|domain| format!("?.{domain}"));
            let mut clients = Vec::new();
            for (cluster, pattern) in clusters.iter().zip(&patterns) {
                let pairs = [("cluster_instance_host_pattern", pattern.as_str())];
                clients.push(FakeClient::connect(&connector(cluster, &services, &pairs)).await.unwrap());
            }
            sleep(SECOND).await;
            let mut heard = services.subscribe();
            clusters[0].set_reach("i-1", Reach::Refuses);
            clusters[0].promote("i-2");
            let error = clients[0].query("insert").await.unwrap_err();
            assert_eq!(error.host(), Some(&clusters[0].key("i-2")));
            assert_eq!(clients[1].query("insert").await.unwrap(), "i-1");
            let status = services.status().clusters;
            let writers: BTreeSet<_> = status.iter().map(|cluster| cluster.writer.clone().unwrap()).collect();
            assert_eq!(writers, [clusters[0].key("i-2"), clusters[1].key("i-1")].into(), "{status:?}");
            while let Ok(event) = heard.try_recv() {
                if let Event::WriterChanged { to, .. } = event {
                    assert_eq!(to, clusters[0].key("i-2"));
                }
            }
        }
    }

    /// Clusters of one account and region differ only in the names of their instances.
    #[tokio::test(start_paused = true)]
    async fn neighbours_in_one_region_are_two_clusters() {
        let services = Services::new();
        let domain = "xyz.us-east-2.rds.amazonaws.com";
        let one = FakeCluster::with_domain(&["a-1", "a-2"], domain);
        let other = FakeCluster::with_domain(&["b-1", "b-2"], domain);
        one.alias("a.cluster-xyz.us-east-2.rds.amazonaws.com", "a-1");
        other.alias("b.cluster-xyz.us-east-2.rds.amazonaws.com", "b-1");
        let mut clients = Vec::new();
        for (cluster, host) in [
            (&one, "a-1.xyz.us-east-2.rds.amazonaws.com"),
            (&other, "b.cluster-xyz.us-east-2.rds.amazonaws.com"),
            (&one, "a.cluster-xyz.us-east-2.rds.amazonaws.com"),
            (&other, "b-2.xyz.us-east-2.rds.amazonaws.com"),
        ] {
            let host = HostKey::new(host, 5432).unwrap();
            let connector = Connector::builder(FakeDriver::new(cluster), config(&[]), vec![host])
                .services(services.clone())
                .build()
                .unwrap();
            clients.push(FakeClient::connect(&connector).await.unwrap());
        }
        sleep(SECOND).await;
        let status = services.status().clusters;
        assert_eq!(status.len(), 2, "{status:?}");
        assert!(status.iter().all(|cluster| (cluster.hosts, cluster.sessions) == (2, 2)), "{status:?}");
    }

    /// One id for two clusters is the user's mistake: the second one is told, and the first one is not harmed.
    #[tokio::test(start_paused = true)]
    async fn an_id_given_to_two_clusters_is_refused() {
        let services = Services::new();
        let one = FakeCluster::with_domain(&["a-1", "a-2"], "abc.eu-west-1.rds.amazonaws.com");
        let other = FakeCluster::with_domain(&["b-1", "b-2"], "xyz.us-east-2.rds.amazonaws.com");
        let connect = |cluster: &FakeCluster, name: &str| {
            let config = config(&[("cluster_id", "mine")]);
            let connector = Connector::builder(FakeDriver::new(cluster), config, vec![cluster.key(name)])
                .services(services.clone())
                .build()
                .unwrap();
            async move { FakeClient::connect(&connector).await }
        };
        let first = connect(&one, "a-1").await.unwrap();
        sleep(SECOND).await;
        let error = connect(&other, "b-1").await.expect_err("it is another cluster");
        assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
        assert!(error.to_string().contains("cluster_id"), "{error}");
        one.set_reach("a-1", Reach::Refuses);
        one.promote("a-2");
        assert_eq!(first.query("insert").await.unwrap_err().host(), Some(&one.key("a-2")));
        assert_eq!(first.query("insert").await.unwrap(), "a-2");
    }
}

mod status {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_are_counted_by_instance_while_they_live() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let count =
            |name: &str| world.services.status().connections.get(&world.key(name)).copied().unwrap_or(0);
        assert_eq!(count("i-1"), 2, "the client's by its instance, not by the endpoint, and the monitor's");
        world.cluster.set_reach("i-1", Reach::Refuses);
        assert_eq!(count("i-1"), 0);
        world.cluster.promote("i-2");
        client.query("insert").await.unwrap_err();
        client.query("insert").await.unwrap();
        sleep(SECOND * 5).await;
        assert_eq!(count("i-2"), 2);
        drop(client);
        assert_eq!(count("i-2"), 1);
    }
}
