//! What an instrument is told of a pool.
#![allow(clippy::float_cmp, reason = "counts are whole numbers")]

use std::sync::Arc;

use aws_wrapper_core::services::Services;
use aws_wrapper_core::telemetry::metrics;
use aws_wrapper_core::testing::Recorder;

use crate::world::{Object, WRITER, World};

#[tokio::test(start_paused = true)]
async fn a_pool_tells_what_becomes_of_its_connections() {
    let recorder = Arc::<Recorder>::default();
    let services = Services::builder().instrument(recorder.clone()).build();
    let world = World { services, ..World::new() };
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
