//! Every metric and every span there is, from a connect to a checkout. A program of its own: which spans are opened depends
//! on all threads of a process.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod spans;
#[path = "../it/world.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::Error;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::plugin::Intent;
use aws_wrapper_core::retry::{Attempt, RetryPolicy, Work, run};
use aws_wrapper_core::services::Services;
use aws_wrapper_core::telemetry::metrics::{self, METRICS};
use aws_wrapper_core::telemetry::spans::SPANS;
use aws_wrapper_core::testing::Recorder;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use tokio::time::sleep;

use crate::spans::Spans;
use crate::world::{SECOND, WRITER, World, until};

#[tokio::test(start_paused = true)]
async fn every_name_is_there_but_those_that_wait_for_a_capability() {
    let (recorder, spans) = (Arc::new(Recorder::of_calls()), Spans::default());
    let services = Services::builder().instrument(recorder.clone()).build();
    let world = World { services, ..World::new() };
    let guard = spans.start();
    live(&world, &recorder).await;
    drop(guard);

    compare(&recorder.names(), METRICS.iter().map(|metric| (metric.name, metric.waits_for)));
    for measured in recorder.all() {
        for (name, _) in &measured.attributes {
            let is_declared = measured.metric.attributes.iter().any(|key| key.name() == *name);
            assert!(is_declared, "`{name}` of {}", measured.metric.name);
        }
    }

    let opened = spans.opened();
    compare(&opened.keys().copied().collect(), SPANS.iter().map(|span| (span.name, span.waits_for)));
    for (name, fields) in opened {
        let row = SPANS.iter().find(|span| span.name == name).unwrap();
        let declared: BTreeSet<_> = row.fields.iter().copied().collect();
        assert_eq!(fields, declared, "{name}");
    }
}

/// Those that wait for a capability are not there, and all others are.
fn compare(there: &BTreeSet<&str>, rows: impl Iterator<Item = (&'static str, Option<&'static str>)>) {
    let expected = rows.filter(|(_, waits_for)| waits_for.is_none()).map(|(name, _)| name);
    let expected = expected.collect::<BTreeSet<_>>();
    let missing: Vec<_> = expected.difference(there).collect();
    assert!(missing.is_empty(), "not there, though they wait for nothing: {missing:?}");
    let early: Vec<_> = there.difference(&expected).collect();
    assert!(early.is_empty(), "there, though they wait for a capability: {early:?}");
}

/// Everything there is to measure happens.
async fn live(world: &World, recorder: &Recorder) {
    let pool = world.pool(&[]);
    for _ in 0..2 {
        drop(pool.writer().await.unwrap());
    }
    switch_over(world).await;
    lose_a_silent_host(world).await;
    restart_a_task(world, recorder).await;
    run(RetryPolicy::default(), Work::Transaction, Transaction).await.unwrap();
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

/// A transaction that an adapter runs, which goes well.
struct Transaction;

impl Attempt for Transaction {
    type Output = ();
    type Error = Error;

    async fn attempt(&mut self, _: Intent) -> Result<(), Error> {
        Ok(())
    }
}
