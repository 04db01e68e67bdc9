//! What an instrument is told: every name of the table, and no other.
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::Error;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::telemetry::metrics::{self, METRICS};
use aws_wrapper_core::testing::Recorder;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use tokio::time::sleep;

use crate::world::{Object, SECOND, WRITER, World, until};

/// A cluster whose services tell `recorder` what they measure.
fn world(recorder: &Arc<Recorder>) -> World {
    World { services: Services::builder().instrument(recorder.clone()).build(), ..World::new() }
}

async fn client(world: &World, pairs: &[(&str, &str)]) -> FakeClient {
    let config = Config::from_pairs(pairs.iter().copied());
    let host = HostKey::new(WRITER, 5432).unwrap();
    let connector = Connector::builder(world.driver.clone(), config, vec![host]);
    FakeClient::connect(&connector.services(world.services.clone()).build().unwrap()).await.unwrap()
}

/// A call hangs on a host that has fallen silent, until the host is found dead and another one takes over.
async fn lose_a_silent_host(world: &World) {
    let client = client(world, &[("failure_detection_time_ms", "1000")]).await;
    let before = client.query("select").await.unwrap();
    world.driver.plan(On::Call, &before, 1, Outcome::Slow(Duration::from_secs(3600)));
    let (result, ()) = tokio::join!(client.query("select"), async {
        sleep(SECOND / 2).await;
        world.cluster.set_reach(&before, Reach::Silent);
        world.cluster.promote(if before == "i-2" { "i-1" } else { "i-2" });
    });
    assert!(result.unwrap_err().is_failover_success());
}

/// The monitor has time to read the topology now and then, and to see a change of the writer nobody asked for.
async fn switch_over(world: &World) {
    let _client = client(world, &[]).await;
    sleep(SECOND * 90).await;
    world.cluster.promote("i-3");
    let is_seen = |cluster: &aws_wrapper_core::topology::cluster::ClusterStatus| {
        cluster.writer.as_ref().is_some_and(|writer| writer.host().starts_with("i-3"))
    };
    until("the change is seen", || world.services.status().clusters.iter().any(is_seen)).await;
}

async fn restart_a_task(world: &World, recorder: &Recorder) {
    let mut fails = true;
    world.services.supervise("test", "test".to_owned(), move || {
        let fails = std::mem::replace(&mut fails, false);
        async move { if fails { Err(Error::config("once")) } else { Ok(()) } }
    });
    let is_restarted = || !recorder.of(metrics::MONITOR_RESTARTS.metric()).is_empty();
    until("it is started again", is_restarted).await;
}

#[tokio::test(start_paused = true)]
async fn every_name_is_measured_but_those_that_wait_for_a_capability() {
    let recorder = Arc::new(Recorder::of_calls());
    let world = world(&recorder);
    let pool = world.pool(&[]);
    for _ in 0..2 {
        drop(pool.writer().await.unwrap());
    }
    switch_over(&world).await;
    lose_a_silent_host(&world).await;
    restart_a_task(&world, &recorder).await;

    let expected = METRICS.iter().filter(|metric| metric.waits_for.is_none()).map(|metric| metric.name);
    let (measured, expected) = (recorder.names(), expected.collect::<BTreeSet<_>>());
    let missing: Vec<_> = expected.difference(&measured).collect();
    assert!(missing.is_empty(), "not measured, though it waits for nothing: {missing:?}");
    let early: Vec<_> = measured.difference(&expected).collect();
    assert!(early.is_empty(), "measured, though it waits for a capability: {early:?}");
    for measured in recorder.all() {
        for (name, _) in &measured.attributes {
            let is_declared = measured.metric.attributes.iter().any(|key| key.name() == *name);
            assert!(is_declared, "`{name}` of {}", measured.metric.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_tells_what_becomes_of_its_connections() {
    let recorder = Arc::<Recorder>::default();
    let world = world(&recorder);
    let pool = world.pool(&[("pool_max_size", "2"), ("pool_wait_timeout_ms", "100")]);
    let said = |metric, attribute: &str| {
        let measured = recorder.of(metric);
        measured.iter().map(|one| one.attribute(attribute).unwrap().to_owned()).collect::<Vec<_>>()
    };
    let sizes = || {
        let shown = recorder.of(metrics::POOL_CONNECTIONS.metric());
        ["idle", "in_use"]
            .map(|state| shown.iter().rev().find(|one| one.attribute("state") == Some(state)).unwrap().value)
    };

    let (first, second) = (pool.writer().await.unwrap(), pool.writer().await.unwrap());
    assert_eq!(sizes(), [0.0, 2.0]);
    pool.writer().await.unwrap_err();
    drop(first);
    assert_eq!(sizes(), [1.0, 1.0]);
    let again = pool.writer().await.unwrap();
    second.slot().mark_ended();
    drop(second);
    drop(Object::take(again));
    assert_eq!(sizes(), [0.0, 0.0]);
    world.cluster.set_login("app", false);
    pool.writer().await.unwrap_err();

    assert_eq!(said(metrics::POOL_CREATE_COUNT.metric(), "outcome"), ["ok", "ok", "login"]);
    assert_eq!(said(metrics::POOL_RECYCLE_COUNT.metric(), "reason"), ["reused", "ended"]);
    let waits = recorder.of(metrics::POOL_WAIT_DURATION.metric());
    let outcomes = said(metrics::POOL_WAIT_DURATION.metric(), "outcome");
    assert_eq!(outcomes, ["ok", "ok", "wait_timeout", "ok", "connect"]);
    assert!((0.1..0.2).contains(&waits[2].value), "{waits:?}");
    assert_eq!(waits[0].attribute("target"), Some("writer"));
    assert_eq!(waits[0].attribute("endpoint"), Some(&*format!("{WRITER}:5432")));

    world.cluster.set_login("app", true);
    drop(pool.reader().await.unwrap());
    let target = said(metrics::POOL_WAIT_DURATION.metric(), "target").pop().unwrap();
    assert!(target.contains(".rds.amazonaws.com:5432"), "a reader is known by its host: {target}");
}
