//! Which connections are given out again.

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::error::ErrorKind as CoreKind;
use aws_wrapper_core::registry::EndReason;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_deadpool::ErrorKind;
use tokio::time::sleep;

use crate::world::{SECOND, World, discarded, fill, timed};

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_used_lately_is_not_asked_anything() {
    let world = World::new();
    let pool = world.pool(&[]);
    let ids = fill(&pool, 1).await;
    sleep(29 * SECOND).await;
    // Whoever asks it now waits for ever.
    let connects = world.driver.application_connects();
    world.driver.plan(
        aws_wrapper_core::testing::driver::On::Question,
        "i-1",
        1,
        aws_wrapper_core::testing::driver::Outcome::Never,
    );
    let (object, took) = timed(pool.writer()).await;
    assert_eq!(object.unwrap().id(), ids[0]);
    assert_eq!((took, world.driver.application_connects()), (Duration::ZERO, connects));
}

/// The network has brought the end of a connection, and the task that reads it has not run yet.
#[tokio::test(start_paused = true)]
async fn an_end_that_has_arrived_is_seen_before_the_connection_is_given_out() {
    let world = World::new();
    let pool = world.pool(&[]);
    let object = pool.writer().await.unwrap();
    let slot = Arc::clone(object.slot());
    drop(object);
    sleep(SECOND).await;
    #[expect(clippy::disallowed_methods, reason = "the test owns its task")]
    tokio::spawn(async move { slot.mark_ended() });
    let object = pool.writer().await.unwrap();
    assert!(!object.slot().has_ended());
    assert_eq!(discarded(&pool.status(), "ended"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lay_idle_for_long_is_asked_and_used() {
    let world = World::new();
    for after in [("pool_idle_check_after_ms", "30s"), ("pool_idle_check_after_ms", "0")] {
        let pool = world.pool(&[after]);
        let ids = fill(&pool, 1).await;
        sleep(31 * SECOND).await;
        world.cluster.set_delays("i-1", Duration::ZERO, Duration::from_millis(8));
        let (object, took) = timed(pool.writer()).await;
        assert_eq!(object.unwrap().id(), ids[0]);
        assert_eq!(took, Duration::from_millis(8), "one round trip");
    }
}

#[tokio::test(start_paused = true)]
async fn many_idle_connections_to_a_silent_host_are_not_asked_one_after_the_other() {
    let world = World::new();
    let pool = world.builder(&[]).max_size(64).build().unwrap();
    fill(&pool, 64).await;
    sleep(31 * SECOND).await;
    world.cluster.set_reach("i-1", Reach::Silent);
    let checkout = tokio::join!(timed(pool.writer()), async {
        sleep(SECOND + SECOND / 2).await;
        assert_eq!(pool.status().available, 0, "all are gone: {:?}", pool.status());
        world.cluster.set_reach("i-1", Reach::Up);
    });
    let (object, took) = checkout.0;
    assert_eq!(object.unwrap().name(), "i-1");
    assert!(took < 3 * SECOND, "{took:?}");
    assert_eq!(discarded(&pool.status(), "silent"), 64, "{:?}", pool.status());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_has_ended_is_replaced_without_an_error() {
    let world = World::new();
    let pool = world.pool(&[("pool_max_size", "4")]);
    fill(&pool, 4).await;
    world.cluster.kill_connections("i-1");
    for _ in 0..4 {
        assert_eq!(pool.writer().await.unwrap().name(), "i-1");
    }
    let status = pool.status();
    assert_eq!((discarded(&status, "ended"), status.size), (4, 1), "{status:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_the_wrapper_gave_up_does_not_go_back() {
    let world = World::new();
    let pool = world.pool(&[]);
    let object = pool.writer().await.unwrap();
    object.slot().abort(EndReason::aborted("its host is silent"));
    object.slot().mark_ended();
    drop(object);
    assert_eq!(pool.status().size, 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_dropped_takes_its_connection_along() {
    let world = World::new();
    let pool = world.pool(&[]);
    let object = pool.writer().await.unwrap();
    drop(object.slot().enter());
    drop(object);
    let status = pool.status();
    assert_eq!((discarded(&status, "call_dropped"), status.size), (1, 0), "{status:?}");
    let object = pool.writer().await.unwrap();
    object.slot().enter().answered();
    drop(object);
    assert_eq!(pool.status().size, 1);
}

#[tokio::test(start_paused = true)]
async fn old_connections_are_replaced_not_all_at_once() {
    let world = World::new();
    let pool = world.builder(&[]).max_size(32).max_lifetime(100 * SECOND).build().unwrap();
    let first = fill(&pool, 32).await;
    sleep(89 * SECOND).await;
    assert_eq!(fill(&pool, 32).await.len(), 32);
    assert_eq!(discarded(&pool.status(), "expired"), 0);
    sleep(6 * SECOND).await;
    let later = fill(&pool, 32).await;
    let kept = later.iter().filter(|id| first.contains(id)).count();
    assert!((4..=28).contains(&kept), "{kept} of 32 after 95 % of their life");
    sleep(6 * SECOND).await;
    let later = fill(&pool, 32).await;
    assert!(!later.iter().any(|id| first.contains(id)), "none lives longer");
}

#[tokio::test(start_paused = true)]
async fn a_refused_login_is_told_at_once_and_by_every_checkout() {
    let world = World::new();
    world.cluster.set_login("app", false);
    let pool = world.pool(&[]);
    for _ in 0..3 {
        let error = pool.reader().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.connect_error().unwrap().kind(), CoreKind::Login, "{error:?}");
    }
    let status = pool.status();
    assert_eq!((status.size, status.sub_pools[0].failed), (0, 3), "{status:?}");
    world.cluster.set_login("app", true);
    pool.writer().await.unwrap();
    assert!(pool.status().sub_pools[0].last_error.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_connection_can_be_taken_out() {
    let world = World::new();
    let pool = world.pool(&[("pool_max_size", "1")]);
    let taken = aws_wrapper_deadpool::Object::take(pool.writer().await.unwrap());
    assert_eq!(pool.status().size, 0);
    assert_ne!(pool.writer().await.unwrap().id(), taken.id());
}
