//! Silent hosts, noticed by the host monitor.

use std::time::Duration;

use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::health::{HostMonitorStatus, Verdict};
use aws_wrapper_core::registry::{Fitness, Unfit};
use integration_tests::{Adapter, SOON, Session, TestCluster, eventually, failovers, on_cluster, spawn};
use tokio::time::{Instant, sleep};

use super::Driver;
use super::silence::Fault;

type Link = <Driver as Adapter>::Connector;

/// Grace 1 s, three probes 200 ms apart, each with 100 ms to answer; the monitor is connected before anything happens.
const QUICK: &[(&str, &str)] = &[
    ("failure_detection_time_ms", "1000"),
    ("failure_detection_interval_ms", "200"),
    ("failure_detection_count", "3"),
    ("failure_detection_eager_connect", "on"),
];
/// When the third probe has missed its deadline, for a host that is silent from the beginning of the call.
const NOMINAL: Duration = Duration::from_millis(1_500);

fn quick(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [QUICK, more].concat()
}

fn monitors(connector: &Link) -> Vec<HostMonitorStatus> {
    Driver::services(connector).status().host_monitors
}

fn monitor_of(connector: &Link, cluster: &TestCluster, instance: &str) -> Option<HostMonitorStatus> {
    monitors(connector).into_iter().find(|monitor| monitor.host == cluster.key(instance))
}

async fn connected(connector: &Link, cluster: &TestCluster, instance: &str) {
    eventually(Duration::from_secs(5), "the monitor is connected", async || {
        monitor_of(connector, cluster, instance).is_some_and(|monitor| monitor.is_connected)
    })
    .await;
}

#[test]
fn a_call_on_a_silent_host_is_ended_in_time_whatever_keeps_it_silent() {
    on_cluster::<Driver>(2, async |cluster| {
        for fault in [Fault::Freeze, Fault::BlackHole, Fault::Unreachable] {
            let host = cluster.instance_endpoint("instance-2");
            let connector = cluster.connector_to::<Driver>(&host, &quick(&[("plugins", "efm")])).unwrap();
            let mut session = Driver::connect(&connector).await.unwrap();
            let mut bystander = Driver::connect(&connector).await.unwrap();
            connected(&connector, cluster, "instance-2").await;
            fault.begin(cluster, "instance-2").await;
            let start = Instant::now();
            let error = session.who().await.unwrap_err();
            let elapsed = start.elapsed();
            assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{fault:?}: {error:?}");
            assert_eq!(error.host(), Some(&cluster.key("instance-2")), "{fault:?}");
            assert!(elapsed >= NOMINAL, "{fault:?}: {elapsed:?}");
            // How exact it is on a quiet machine is for the benchmark to show.
            assert!(elapsed < NOMINAL + SOON, "{fault:?}: {elapsed:?}");
            assert_eq!(session.slot().fitness(), Fitness::Unfit(Unfit::Aborted), "{fault:?}");
            let monitor = monitor_of(&connector, cluster, "instance-2").unwrap();
            assert_eq!((monitor.verdict, monitor.aborted), (Verdict::Down, 1), "{fault:?}");
            assert!(monitor.probes_unreachable >= 3, "{fault:?}: {monitor:?}");

            // Nobody waits a second time.
            assert_eq!(bystander.slot().fitness(), Fitness::Suspect, "{fault:?}");
            let start = Instant::now();
            assert_eq!(bystander.who().await.unwrap_err().kind(), ErrorKind::HostUnavailable, "{fault:?}");
            assert!(start.elapsed() < elapsed, "{fault:?}: {:?}", start.elapsed());

            fault.end(cluster, "instance-2").await;
            eventually(Duration::from_secs(10), "the host is up again", async || {
                monitor_of(&connector, cluster, "instance-2")
                    .is_some_and(|monitor| monitor.verdict == Verdict::Up)
            })
            .await;
            let mut session = Driver::connect(&connector).await.unwrap();
            assert_eq!(session.who().await.unwrap(), "instance-2", "{fault:?}");
        }
    });
}

#[test]
fn a_call_on_a_silent_writer_ends_on_the_new_one() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(QUICK);
        let mut session = Driver::connect(&connector).await.unwrap();
        connected(&connector, cluster, "instance-1").await;
        let mut events = Driver::services(&connector).subscribe();
        cluster.freeze("instance-1").await.unwrap();
        let call = spawn(async move { (session.who().await.unwrap_err(), session) });
        let report = cluster.replace_writer().await;
        let (error, mut session) = call.await.unwrap();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), report.new_writer);
        assert_eq!(failovers(&mut events).0, 1);
        cluster.thaw("instance-1").await.unwrap();
    });
}

#[test]
fn a_long_call_on_a_busy_host_is_left_alone_at_one_connection_for_all() {
    on_cluster::<Driver>(2, async |cluster| {
        let host = cluster.instance_endpoint("instance-2");
        let pairs = [
            ("plugins", "efm"),
            ("failure_detection_time_ms", "300"),
            ("failure_detection_interval_ms", "100"),
            ("failure_detection_count", "1"),
            ("failure_detection_idle_close_ms", "200"),
        ];
        let connector = cluster.connector_to::<Driver>(&host, &pairs).unwrap();
        let before = cluster.proxy_connections("instance-2");
        let mut calls = Vec::new();
        for _ in 0..10 {
            let mut session = Driver::connect(&connector).await.unwrap();
            calls.push(spawn(async move {
                let slept = session.run(<Driver as Adapter>::Session::SLEEP_TWO).await;
                slept.map(|_| session)
            }));
        }
        eventually(Duration::from_secs(2), "the monitor probes", async || {
            monitor_of(&connector, cluster, "instance-2").is_some_and(|monitor| monitor.probes_alive > 3)
        })
        .await;
        assert_eq!(cluster.proxy_connections("instance-2") - before, 11, "ten sessions and one monitor");
        let mut sessions = Vec::new();
        for call in calls {
            sessions.push(call.await.unwrap().unwrap());
        }
        let monitor = monitor_of(&connector, cluster, "instance-2").unwrap();
        assert_eq!((monitor.verdict, monitor.aborted, monitor.downs), (Verdict::Up, 0, 0), "{monitor:?}");
        // When nobody needs it any more nothing of it is left.
        eventually(Duration::from_secs(5), "the monitor has gone", async || {
            cluster.proxy_connections("instance-2") - before == 10
                && Driver::services(&connector).status().running_tasks
                    == 10 * <Driver as Adapter>::TASKS_PER_SESSION
        })
        .await;
    });
}

#[test]
fn a_monitor_that_cannot_log_in_kills_nobody() {
    on_cluster::<Driver>(1, async |cluster| {
        let host = cluster.instance_endpoint("instance-1");
        let pairs = [
            ("plugins", "efm"),
            ("failure_detection_time_ms", "200"),
            ("failure_detection_interval_ms", "100"),
            ("failure_detection_count", "1"),
            ("monitoring_user", "app"),
            ("monitoring_password", "not-its-password"),
        ];
        let connector = cluster.connector_to::<Driver>(&host, &pairs).unwrap();
        let mut session = Driver::connect(&connector).await.unwrap();
        session.run(<Driver as Adapter>::Session::SLEEP_TWO).await.unwrap();
        let monitor = monitor_of(&connector, cluster, "instance-1").unwrap();
        assert_eq!((monitor.verdict, monitor.aborted), (Verdict::Up, 0), "{monitor:?}");
        let refused = monitor.last_error.expect("it is told that the monitor is refused");
        assert!(refused.contains("app"), "{refused}");
        assert!(!refused.contains("not-its-password"), "{refused}");
    });
}

#[test]
fn a_dedicated_thread_watches_while_the_application_blocks_its_own() {
    on_cluster::<Driver>(2, async |cluster| {
        let host = cluster.instance_endpoint("instance-2");
        let params = quick(&[("plugins", "efm"), ("monitor_runtime", "dedicated")]);
        let connector = cluster.connector_to::<Driver>(&host, &params).unwrap();
        let mut session = Driver::connect(&connector).await.unwrap();
        connected(&connector, cluster, "instance-2").await;
        let call =
            spawn(async move { session.run(<Driver as Adapter>::Session::SLEEP_TWO).await.map(|_| session) });
        sleep(Duration::from_millis(100)).await;
        let mut session = call.await.unwrap().unwrap();
        cluster.freeze("instance-2").await.unwrap();
        let error = session.who().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{error:?}");
        cluster.thaw("instance-2").await.unwrap();
    });
}
