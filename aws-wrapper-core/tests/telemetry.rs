//! What an instrument is told, on a cluster by script with a paused clock.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, Error};
use aws_wrapper_core::services::Services;
use aws_wrapper_core::telemetry::metrics;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use aws_wrapper_core::testing::{Measured, Recorder};
use common::{MS, SECOND, WRITER, World, drop_after, meanwhile, until};
use tokio::time::sleep;

/// A cluster whose services tell `recorder` what they measure.
fn world(recorder: &Arc<Recorder>) -> World {
    let services = Services::builder().instrument(recorder.clone()).build();
    World { services, ..World::new() }
}

fn attributes(measured: &Measured) -> Vec<(&str, &str)> {
    measured.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// No value has an attribute that its metric does not declare.
fn check_attributes(recorder: &Recorder) {
    for measured in recorder.all() {
        for (name, _) in &measured.attributes {
            let declared = measured.metric.attributes.iter().any(|key| key.name() == *name);
            assert!(declared, "{name} of {}", measured.metric.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connect_is_measured_as_a_whole_and_by_attempt() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    world.client(WRITER, &[]).await;
    let connects = recorder.of(metrics::CONNECT_DURATION.metric());
    assert_eq!(connects.len(), 1);
    assert!(connects[0].value >= 0.001, "{connects:?}");
    let endpoint = format!("{WRITER}:5432");
    assert_eq!(attributes(&connects[0]), [("endpoint", &*endpoint), ("role", "writer"), ("outcome", "ok")]);

    let attempts = recorder.of(metrics::CONNECT_ATTEMPT_DURATION.metric());
    let initial = attempts.iter().find(|attempt| attempt.attribute("purpose") == Some("initial")).unwrap();
    assert_eq!(attributes(initial), [("host", &*endpoint), ("purpose", "initial"), ("outcome", "ok")]);
    check_attributes(&recorder);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_fails_says_why() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    world.cluster.set_login("app", false);
    FakeClient::connect(&world.connector(WRITER, &[])).await.unwrap_err();
    world.cluster.set_reach("i-1", Reach::Refuses);
    FakeClient::connect(&world.connector("i-1", &[("plugins", "")])).await.unwrap_err();
    let outcomes = |metric| {
        let measured = recorder.of(metric);
        measured.iter().map(|one| one.attribute("outcome").unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(outcomes(metrics::CONNECT_DURATION.metric()), ["login", "driver_network"]);
    assert_eq!(outcomes(metrics::CONNECT_ATTEMPT_DURATION.metric()), ["login", "driver_network"]);
}

#[tokio::test(start_paused = true)]
async fn a_failover_that_begins_ends_once_also_when_it_is_dropped() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    let client = world.settled(&[]).await;
    client.begin().await.unwrap();
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
    assert!(client.query("insert").await.unwrap_err().is_failover_success());
    client.query("select").await.unwrap();

    world.cluster.set_reach("i-2", Reach::Refuses);
    drop_after(2, client.query("select")).await;

    assert_eq!(recorder.sum(metrics::FAILOVER_TRIGGERED_COUNT.metric()), 2.0);
    let ended = recorder.of(metrics::FAILOVER_COUNT.metric());
    let ended: Vec<_> = ended.iter().map(attributes).collect();
    assert_eq!(
        ended,
        [
            [("kind", "strict-writer"), ("outcome", "transaction_unknown"), ("in_transaction", "true")],
            [("kind", "strict-writer"), ("outcome", "failed"), ("in_transaction", "false")],
        ]
    );
    let durations = recorder.of(metrics::FAILOVER_DURATION.metric());
    assert_eq!(durations.len(), 2);
    assert!(durations[0].value >= 0.001, "{durations:?}");
    let searches = recorder.of(metrics::FAILOVER_SEARCH_DURATION.metric());
    assert!(searches[0].value <= durations[0].value, "{searches:?} {durations:?}");
    let transfers = recorder.of(metrics::SESSION_TRANSFER_DURATION.metric());
    assert_eq!(attributes(&transfers[0]), [("engine", "postgresql"), ("outcome", "ok")]);
    check_attributes(&recorder);
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_is_measured_from_its_first_probe_to_the_end_of_its_calls() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    let timings = [
        ("plugins", "efm"),
        ("failure_detection_time_ms", "1000"),
        ("failure_detection_interval_ms", "200"),
        ("failure_detection_count", "3"),
    ];
    let client = world.client("i-1", &timings).await;
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(Duration::from_secs(3600)));
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    meanwhile(client.query("select"), MS, silence).await.unwrap_err();

    let host = world.key("i-1").to_string();
    assert_eq!(recorder.sum(metrics::EFM_CONNECTIONS_ABORTED.metric()), 1.0);
    assert_eq!(recorder.sum(metrics::EFM_HOST_UNHEALTHY_COUNT.metric()), 1.0);
    let probes = recorder.of(metrics::EFM_PROBES.metric());
    assert_eq!(probes.len(), 3, "{probes:?}");
    assert_eq!(attributes(&probes[0]), [("host", &*host), ("outcome", "unreachable")]);
    let verdicts: Vec<_> = recorder.of(metrics::EFM_HOST_VERDICT.metric());
    let verdicts: Vec<_> = verdicts.iter().map(|verdict| verdict.value).collect();
    assert_eq!(verdicts, [2.0, 3.0]);
    let detection = recorder.of(metrics::EFM_DETECTION_TIME.metric());
    assert!((1_400.0..2_800.0).contains(&detection[0].value), "in milliseconds: {detection:?}");
    let available = recorder.of(metrics::HOST_AVAILABLE.metric());
    assert_eq!((available[0].value, attributes(&available[0])), (0.0, vec![("host", &*host)]));
    let last = |metric| recorder.of(metric).last().unwrap().value;
    assert_eq!(last(metrics::EFM_MONITORS.metric()), 1.0);
    check_attributes(&recorder);

    drop(client);
    until("its connection is gone", || last(metrics::EFM_SLOTS.metric()) == 0.0).await;
}

#[tokio::test(start_paused = true)]
async fn retired_connections_are_counted_once() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    let plugins = [("plugins", "tracker,failover")];
    let _clients = [world.settled(&plugins).await, world.settled(&plugins).await];
    world.cluster.promote("i-2");
    let retired = || recorder.sum(metrics::TRACKER_RETIRED_COUNT.metric());
    until("both are retired", || retired() == 2.0).await;
    // There and back again.
    world.cluster.promote("i-1");
    until("the writer is back", || {
        world.services.status().clusters.iter().any(|cluster| cluster.writer == Some(world.key("i-1")))
    })
    .await;
    sleep(SECOND).await;
    assert_eq!(retired(), 2.0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_started_again_is_counted_by_what_it_does() {
    let recorder = Arc::<Recorder>::default();
    let services = Services::builder().instrument(recorder.clone()).build();
    let mut fails = true;
    services.supervise("pool", "pool of a test".to_owned(), move || {
        let fails = std::mem::replace(&mut fails, false);
        async move { if fails { Err(Error::driver(DriverClass::Other, "once")) } else { Ok(()) } }
    });
    let restarts = || recorder.of(metrics::MONITOR_RESTARTS.metric());
    until("it is started again", || restarts().len() == 1).await;
    assert_eq!(attributes(&restarts()[0]), [("type", "pool")]);
}

#[tokio::test(start_paused = true)]
async fn calls_are_measured_only_if_somebody_wants_to_know() {
    let (silent, curious) = (Arc::<Recorder>::default(), Arc::new(Recorder::of_calls()));
    for recorder in [&silent, &curious] {
        let world = world(recorder);
        let client = world.client("i-1", &[("plugins", ""), ("socket_timeout_ms", "1000")]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(MS * 5));
        client.query("select").await.unwrap();
        world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Other));
        client.query("select").await.unwrap_err();
        world.driver.plan(On::Call, "i-1", 2, Outcome::Never);
        client.query("select").await.unwrap_err();
        drop_after(1, client.begin()).await;
        check_attributes(recorder);
    }
    assert!(silent.of(metrics::CALL_DURATION.metric()).is_empty());

    let calls = curious.of(metrics::CALL_DURATION.metric());
    let said = |name| calls.iter().map(|call| call.attribute(name)).collect::<Vec<_>>();
    assert_eq!(said("error.type"), [None, Some("driver_other"), Some("timeout_call"), Some("dropped")]);
    assert_eq!(said("db.operation.name"), ["query", "query", "query", "begin"].map(Some));
    assert_eq!(said("db.system.name"), [Some("postgresql"); 4]);
    assert_eq!(said("server.address"), [Some("i-1.xyz.us-east-2.rds.amazonaws.com"); 4]);
    assert_eq!(said("server.port"), [Some("5432"); 4]);
    assert!((0.005..0.010).contains(&calls[0].value), "in seconds: {calls:?}");
}
