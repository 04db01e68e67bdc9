//! Pools follow the topology.

use std::collections::BTreeSet;

use aws_wrapper_core::host::Role;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{On, Outcome};
use aws_wrapper_deadpool::{ErrorKind, ReaderFallback, Target};
use tokio::time::{sleep, timeout};

use crate::world::{Pool, READER, SECOND, World, discarded, fill, until};

async fn readers(pool: &Pool) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for _ in 0..12 {
        names.insert(pool.reader().await.unwrap().name().to_owned());
    }
    names
}

fn named(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn instances_that_come_are_used_and_those_that_go_are_left() {
    let world = World::new();
    let pool = world.pool(&[]);
    assert_eq!(readers(&pool).await, named(&["i-2", "i-3"]));
    world.cluster.add("i-4");
    let size =
        |name: &str| pool.status().sub_pool(&Target::Reader(world.cluster.key(name))).map(|sub| sub.size);
    let snapshot = || pool.connector().topology().snapshot();
    until("the new one is known", || snapshot().find(&world.cluster.key("i-4")).is_some()).await;
    assert_eq!(readers(&pool).await, named(&["i-2", "i-3", "i-4"]));
    assert_eq!(size("i-3"), Some(1));

    let in_use = loop {
        let object = pool.reader().await.unwrap();
        if object.name() == "i-3" {
            break object;
        }
    };
    let open = world.cluster.open("i-3");
    world.cluster.set_view("i-1", &["i-1", "i-2", "i-4"]);
    until("the pool of the one that left is closed", || size("i-3").is_none()).await;
    assert_eq!(readers(&pool).await, named(&["i-2", "i-4"]));
    // One that is in use may go on, and then goes.
    assert!(world.cluster.open("i-3") >= open);
    drop(in_use);
    assert_eq!(world.cluster.open("i-3"), open - 1);
}

#[tokio::test(start_paused = true)]
async fn a_new_writer_ends_what_lies_idle_at_once() {
    let world = World::new();
    let pool = world.builder(&[]).max_size(16).build().unwrap();
    fill(&pool, 16).await;
    assert_eq!(readers(&pool).await, named(&["i-2", "i-3"]));
    sleep(SECOND).await;
    // The old writer lives on as a reader; no connection breaks.
    world.cluster.promote("i-2");
    let writer = || pool.status().sub_pool(&Target::Writer).unwrap().clone();
    until("nothing lies idle for the writer", || writer().size == 0).await;
    assert_eq!(pool.writer().await.unwrap().name(), "i-2");
    let status = pool.status();
    assert!(discarded(&status, "demoted") + discarded(&status, "aborted") >= 16, "{status:?}");
    assert_eq!(readers(&pool).await, named(&["i-1", "i-3"]));
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_not_the_reader_it_should_be_is_passed_over() {
    let world = World::new();
    let pool = world.pool(&[]);
    drop(pool.writer().await.unwrap());
    // The topology still says that it is a reader, and it says that it is not.
    world.cluster.set_role("i-2", Role::Writer);
    assert_eq!(readers(&pool).await, named(&["i-3"]));
}

#[tokio::test(start_paused = true)]
async fn readers_that_are_down_are_passed_over_and_tried_again_by_the_pool_itself() {
    let world = World::new();
    let pool = world.pool(&[]);
    drop(pool.writer().await.unwrap());
    world.cluster.set_reach("i-2", Reach::Refuses);
    assert_eq!(readers(&pool).await, named(&["i-3"]));
    sleep(20 * SECOND).await;
    assert_eq!(readers(&pool).await, named(&["i-3"]));
    world.cluster.set_reach("i-2", Reach::Up);
    sleep(20 * SECOND).await;
    assert_eq!(readers(&pool).await, named(&["i-2", "i-3"]));
}

#[tokio::test(start_paused = true)]
async fn without_readers_the_fallback_decides_and_nothing_hangs() {
    for (names, down) in [(&["i-1"][..], &[][..]), (&["i-1", "i-2"], &["i-2"])] {
        let world = World::of(names);
        for fallback in [ReaderFallback::Writer, ReaderFallback::Error] {
            let pool = world.builder(&[]).reader_fallback(fallback).build().unwrap();
            drop(pool.writer().await.unwrap());
            for name in down {
                world.cluster.set_reach(name, Reach::Refuses);
            }
            let checkout = timeout(40 * SECOND, pool.reader()).await.expect("it never hangs");
            if fallback == ReaderFallback::Writer {
                assert_eq!(checkout.unwrap().name(), "i-1");
                continue;
            }
            let error = checkout.unwrap_err();
            let expected = if down.is_empty() { ErrorKind::NoReader } else { ErrorKind::Connect };
            assert_eq!(error.kind(), expected, "{error:?}");
            assert_eq!(error.connect_error().is_some(), !down.is_empty(), "{error:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_server_serves_all_three() {
    let mut world = World::of(&["i-1"]);
    world.driver = world.driver.plain();
    let host = world.cluster.key("i-1").host().to_owned();
    let pool = world.builder_to(&host, &[("plugins", "none")]).build().unwrap();
    let first = pool.get().await.unwrap().id();
    assert_eq!(pool.writer().await.unwrap().id(), first);
    assert_eq!(pool.reader().await.unwrap().id(), first);
    assert_eq!(pool.status().sub_pools.len(), 1);
    let strict =
        world.builder_to(&host, &[("plugins", "none"), ("pool_reader_fallback", "error")]).build().unwrap();
    assert_eq!(strict.reader().await.unwrap_err().kind(), ErrorKind::NoReader);
}

#[tokio::test(start_paused = true)]
async fn a_reader_endpoint_is_a_way_to_all_readers_and_to_the_writer() {
    let world = World::new();
    let pool = world.builder_to(READER, &[]).build().unwrap();
    assert_eq!(pool.writer().await.unwrap().name(), "i-1");
    assert_eq!(readers(&pool).await, named(&["i-2", "i-3"]));
    for _ in 0..4 {
        assert_ne!(pool.get().await.unwrap().name(), "i-1");
    }
    world.cluster.promote("i-3");
    let snapshot = || pool.connector().topology().snapshot();
    let is_known = || snapshot().writer_host().is_some_and(|writer| writer.key == world.cluster.key("i-3"));
    until("the new writer is known", is_known).await;
    assert_eq!(pool.writer().await.unwrap().name(), "i-3");
    assert_eq!(readers(&pool).await, named(&["i-1", "i-2"]));
}

#[tokio::test(start_paused = true)]
async fn the_task_starts_with_a_checkout_and_ends_with_the_pool() {
    let world = World::new();
    let tasks = || world.services.status().tasks.into_keys().filter(|name| name.starts_with("pool")).count();
    let pool = world.pool(&[]);
    assert_eq!(tasks(), 0);
    for _ in 0..3 {
        drop(pool.clone().writer().await.unwrap());
        assert_eq!(tasks(), 1);
    }
    let second = world.pool(&[]);
    drop(second.reader().await.unwrap());
    assert_eq!(tasks(), 2);
    let in_use = pool.writer().await.unwrap();
    drop(pool);
    until("its task ends", || tasks() == 1).await;
    drop((in_use, second));
    until("no task is left", || tasks() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_keeps_nobody_from_dropping_the_pool() {
    let world = World::new();
    let pool = world.pool(&[]);
    drop(pool.writer().await.unwrap());
    world.cluster.set_reach("i-2", Reach::Refuses);
    readers(&pool).await;
    world.driver.plan(On::Connect, "i-2", 9, Outcome::Never);
    sleep(6 * SECOND).await;
    drop(pool);
    until("no task is left", || world.services.status().running_tasks == 0).await;
}
