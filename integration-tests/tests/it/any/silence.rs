//! Hosts that neither answer nor go away.
//!
//! Without a plugin that watches hosts, a call on a silent host waits as long as the caller lets it: nobody knows whether
//! an answer is still to come. What must hold is that the wait harms nothing and that everybody else goes on.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, Phase};
use integration_tests::{Adapter, SOON, Session, TestCluster, eventually, failovers, on_cluster, spawn};
use tokio::time::{Instant, sleep, timeout};

use super::Driver;

#[test]
fn a_frozen_writer_does_not_poison_those_who_gave_up_waiting() {
    on_cluster::<Driver>(3, async |cluster| silent_writer(cluster, Fault::Freeze).await);
}

#[test]
fn a_writer_in_a_black_hole_does_not_poison_those_who_gave_up_waiting() {
    on_cluster::<Driver>(3, async |cluster| silent_writer(cluster, Fault::BlackHole).await);
}

#[test]
fn an_unreachable_writer_does_not_poison_those_who_gave_up_waiting() {
    on_cluster::<Driver>(3, async |cluster| silent_writer(cluster, Fault::Unreachable).await);
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Fault {
    Freeze,
    BlackHole,
    Unreachable,
}

impl Fault {
    pub(super) async fn begin(self, cluster: &TestCluster, instance: &str) {
        match self {
            Self::Freeze => cluster.freeze(instance).await,
            Self::BlackHole => cluster.blackhole(instance).await,
            Self::Unreachable => cluster.unreachable(instance).await,
        }
        .unwrap();
    }

    pub(super) async fn end(self, cluster: &TestCluster, instance: &str) {
        match self {
            Self::Freeze => cluster.thaw(instance).await,
            Self::BlackHole | Self::Unreachable => cluster.heal(instance).await,
        }
        .unwrap();
    }
}

async fn silent_writer(cluster: &TestCluster, fault: Fault) {
    let params = [("connect_timeout_ms", "1000"), ("topology_monitoring_connect_timeout_ms", "1000")];
    let connector = cluster.connector::<Driver>(&params);
    let mut session = Driver::connect(&connector).await.unwrap();
    let mut events = Driver::services(&connector).subscribe();
    fault.begin(cluster, "instance-1").await;
    let waited = timeout(Duration::from_millis(300), session.who()).await;
    assert!(waited.is_err(), "{fault:?}: nobody can have answered: {waited:?}");

    // The old writer keeps its silence; whoever connects now finds the new one all the same.
    let report = cluster.replace_writer().await;
    let start = Instant::now();
    let mut second = Driver::connect(&connector).await.unwrap();
    assert_eq!(second.who().await.unwrap(), report.new_writer);
    assert!(start.elapsed() < SOON, "{fault:?}: {:?}", start.elapsed());
    assert_eq!(failovers(&mut events), (0, Vec::new()), "{fault:?}: no call has failed");

    // When the silence ends the connection turns out to be lost.
    fault.end(cluster, "instance-1").await;
    let error = session.who().await.unwrap_err();
    assert!(error.is_failover_success(), "{fault:?}: {error:?}");
    assert_eq!(session.who().await.unwrap(), report.new_writer);
    drop((session, second, connector));
    cluster.complete().await;
}

#[test]
fn connecting_to_a_silent_host_has_a_deadline() {
    on_cluster::<Driver>(2, async |cluster| {
        for fault in [Fault::Freeze, Fault::BlackHole, Fault::Unreachable] {
            for plugins in ["none", "failover"] {
                let params = [("connect_timeout_ms", "500"), ("plugins", plugins)];
                let host = cluster.instance_endpoint("instance-2");
                let connector = cluster.connector_to::<Driver>(&host, &params).unwrap();
                fault.begin(cluster, "instance-2").await;
                let start = Instant::now();
                let error = Driver::connect(&connector).await.unwrap_err();
                let elapsed = start.elapsed();
                // The last address has all that is left of the time, so either deadline may be the first.
                let is_late = match error.kind() {
                    ErrorKind::Timeout(Phase::Connect) => true,
                    ErrorKind::Driver(DriverClass::Network) => error.to_string().contains("timed out"),
                    _ => false,
                };
                assert!(is_late, "{fault:?}, {plugins}: {error:?}");
                assert_eq!(error.host(), Some(&cluster.key("instance-2")), "{fault:?}, {plugins}: {error:?}");
                assert!(elapsed >= Duration::from_millis(400), "{fault:?}, {plugins}: {elapsed:?}");
                assert!(elapsed < SOON, "{fault:?}, {plugins}: {elapsed:?}");
                fault.end(cluster, "instance-2").await;
                // A dropped SYN is sent again only after a second.
                eventually(Duration::from_secs(15), "the host lets us in again", async || {
                    Driver::connect(&connector).await.is_ok()
                })
                .await;
            }
        }
    });
}

#[test]
fn a_failover_passes_by_a_silent_reader() {
    on_cluster::<Driver>(3, async |cluster| {
        let params = [("failover_connect_timeout_ms", "500"), ("connect_timeout_ms", "500")];
        let connector = cluster.reader_connector::<Driver>(&params);
        let mut session = Driver::connect(&connector).await.unwrap();
        let old = session.who().await.unwrap();
        let other = if old == "instance-2" { "instance-3" } else { "instance-2" };
        cluster.blackhole(other).await.unwrap();
        cluster.kill(&old).await.unwrap();
        let start = Instant::now();
        let error = session.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(session.who().await.unwrap(), "instance-1", "nobody else can answer");
    });
}

#[test]
fn a_failover_waits_for_a_writer_that_refuses_connections() {
    on_cluster::<Driver>(2, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        cluster.close("instance-1").await;
        cluster.cut("instance-1", &session).await;
        let call = spawn(async move { (session.who().await.unwrap_err(), session) });
        sleep(Duration::from_secs(1)).await;
        assert!(!call.is_finished(), "the writer takes no connection");
        cluster.heal("instance-1").await.unwrap();
        let (error, mut session) = call.await.unwrap();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), "instance-1");
    });
}
