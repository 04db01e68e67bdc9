//! Every wait has a limit, and says what it was waiting for.

use std::error::Error as _;
use std::time::Duration;

use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::parameters;
use aws_wrapper_core::error::{DriverClass, ErrorKind as CoreKind, Phase};
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeDriver, On, Outcome};
use aws_wrapper_deadpool::{ErrorKind, Health};
use tokio::time::sleep;

use crate::world::{MS, SECOND, World, fill, timed};

#[tokio::test(start_paused = true)]
async fn limits_are_set_by_default() {
    let world = World::new();
    let timeouts = world.pool(&[]).sub_pools()[0].timeouts();
    assert_eq!(timeouts.wait, Some(30 * SECOND));
    // A little more than the limits of this crate, which can say what went wrong.
    let grace = 200 * MS;
    assert_eq!((timeouts.create, timeouts.recycle), (Some(10 * SECOND + grace), Some(SECOND + grace)));
    let pairs =
        [("connect_timeout_ms", "3s"), ("pool_wait_timeout_ms", "2s"), ("pool_recycle_timeout_ms", "1")];
    let timeouts = world.pool(&pairs).sub_pools()[0].timeouts();
    assert_eq!((timeouts.wait, timeouts.create), (Some(2 * SECOND), Some(3 * SECOND + grace)));
    assert_eq!(timeouts.recycle, Some(MS + grace));
    // Only who asks for it waits for ever.
    let pool =
        world.builder(&[]).wait_timeout(None).create_timeout(None).recycle_timeout(None).build().unwrap();
    let timeouts = pool.sub_pools()[0].timeouts();
    assert!(timeouts.wait.is_none() && timeouts.create.is_none() && timeouts.recycle.is_none());
}

#[tokio::test(start_paused = true)]
async fn opening_a_connection_to_a_silent_host_ends_in_time() {
    let world = World::new();
    world.cluster.set_reach("i-1", Reach::Silent);
    for (pairs, limit) in [(&[][..], 10 * SECOND), (&[("pool_create_timeout_ms", "2s")], 2 * SECOND)] {
        let pool = world.pool(pairs);
        let (result, took) = timed(pool.writer()).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
        assert_eq!(error.connect_error().unwrap().kind(), CoreKind::Timeout(Phase::Connect), "{error:?}");
        assert!((limit..limit + SECOND).contains(&took), "{took:?}");
        assert_eq!(pool.health(), Health::Down);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_in_vain_is_told_why_nothing_is_opened() {
    let world = World::new();
    let pool = world.builder(&[]).max_size(1).wait_timeout(5 * SECOND).build().unwrap();
    world.cluster.set_reach("i-1", Reach::Refuses);
    pool.writer().await.unwrap_err();
    world.cluster.set_reach("i-1", Reach::Silent);
    let (first, second) = tokio::join!(pool.writer(), pool.writer());
    assert_eq!(first.unwrap_err().kind(), ErrorKind::Connect);
    let error = second.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WaitTimeout);
    assert!(error.source().is_some() && error.connect_error().is_some(), "{error:?}");
    assert!(error.to_string().contains("connecting failed last"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn no_more_than_so_many_connections_are_opened_at_once() {
    let world = World::new();
    let pairs = [("pool_max_opening_per_host", "8"), ("pool_max_size", "64")];
    let pool = world.pool(&pairs);
    drop(pool.writer().await.unwrap());
    world.cluster.set_delays("i-1", 100 * MS, Duration::ZERO);
    let all = futures_util::future::join_all((0..64).map(|_| pool.writer()));
    let (all, took) = timed(all).await;
    assert!(all.iter().all(Result::is_ok));
    // One lay there; 63 others, eight at a time.
    assert!((800 * MS..900 * MS).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn after_failures_the_next_attempts_are_spread() {
    let world = World::new();
    let pool = world.builder(&[("plugins", "none")]).max_size(16).build().unwrap();
    for _ in 0..6 {
        world.driver.plan(On::Connect, "i-1", 1, Outcome::Fails(DriverClass::Network));
        pool.writer().await.unwrap_err();
    }
    world.driver.clear();
    let before = world.driver.connects().len();
    let all = futures_util::future::join_all((0..16).map(|_| pool.writer())).await;
    assert!(all.iter().all(Result::is_ok));
    let at: Vec<_> = world.driver.connects()[before..].iter().map(|dialled| dialled.at).collect();
    let spread = *at.iter().max().unwrap() - *at.iter().min().unwrap();
    assert!(spread > 200 * MS && spread <= 2 * SECOND, "{spread:?}");
    // All is well again: no pause.
    drop(all);
    world.cluster.kill_connections("i-1");
    let (object, took) = timed(pool.writer()).await;
    object.unwrap();
    assert_eq!(took, MS);
}

#[tokio::test(start_paused = true)]
async fn bad_sizes_and_limits_are_refused_by_name() {
    let world = World::new();
    let zero = Duration::ZERO;
    for (builder, name) in [
        (world.builder(&[]).max_size(0), "pool_max_size"),
        (world.builder(&[]).max_size(usize::MAX), "pool_max_size"),
        (world.builder(&[]).wait_timeout(zero), "pool_wait_timeout_ms"),
        (world.builder(&[]).create_timeout(zero), "pool_create_timeout_ms"),
        (world.builder(&[]).recycle_timeout(zero), "pool_recycle_timeout_ms"),
        (world.builder(&[]).max_lifetime(zero), "pool_max_lifetime_ms"),
    ] {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), CoreKind::Config);
        assert!(error.to_string().contains(name), "{error}");
    }
    for (name, value) in [
        ("pool_max_size", "0"),
        ("pool_max_size", "-1"),
        ("pool_wait_timeout_ms", "0"),
        ("pool_create_timeout_ms", "0"),
        ("pool_recycle_timeout_ms", "0"),
        ("pool_idle_check_after_ms", "soon"),
        ("pool_reader_host_selector_strategy", "best"),
        ("pool_reader_fallback", "maybe"),
    ] {
        let error = Config::from_pairs([(name, value)]).resolve(&parameters::<FakeDriver>()).unwrap_err();
        assert!(error.to_string().contains(name) && error.to_string().contains(value), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_pool_is_degraded_and_a_pool_that_nobody_used_is_not() {
    let world = World::new();
    let pool = world.builder(&[]).max_size(1).build().unwrap();
    assert_eq!(pool.health(), Health::Up);
    let only = pool.writer().await.unwrap();
    assert_eq!(pool.health(), Health::Up);
    let (waited, ()) = tokio::join!(pool.writer(), async {
        sleep(SECOND).await;
        assert_eq!(pool.health(), Health::Degraded, "{:?}", pool.status());
        drop(only);
    });
    waited.unwrap();
    assert_eq!(pool.health(), Health::Up);
    fill(&pool, 1).await;
}
