//! What is left on a connection is taken away before it goes back, and no place is lost whatever happens meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::registry::Ending;
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{On, Outcome};
use aws_wrapper_deadpool::PoolReset;
use aws_wrapper_deadpool::deadpool::managed::HookError;
use tokio::time::{Instant, sleep};

use crate::world::{Builder, Hook, MS, Object, Pool, SECOND, World, discarded, timed, until};

const MODES: [PoolReset; 3] = [PoolReset::Auto, PoolReset::Always, PoolReset::Never];

fn cleaned(pool: &Pool) -> u64 {
    pool.status().sub_pools.iter().map(|sub| sub.cleaned).sum()
}

/// A pool with one connection.
fn one(world: &World, reset: PoolReset) -> Builder {
    world.builder(&[("plugins", "none")]).max_size(1).reset(reset)
}

/// Something a reset takes away.
fn set_something(object: &Object) {
    object.slot().note_session_change(SessionChange::Resettable);
}

/// Both kinds of things that may be left.
async fn used(pool: &Pool) -> Object {
    let object = pool.get().await.unwrap();
    object.slot().set_ready(TransactionState::InTransaction);
    set_something(&object);
    object
}

#[tokio::test(start_paused = true)]
async fn an_untouched_connection_goes_back_at_once_and_nobody_is_asked() {
    let world = World::of(&["i-1"]);
    for reset in [PoolReset::Auto, PoolReset::Never] {
        let pool = one(&world, reset).build().unwrap();
        // A question would never be answered.
        drop(pool.get().await.unwrap());
        world.driver.plan(On::Question, "i-1", 1, Outcome::Never);
        let first = pool.get().await.unwrap();
        let id = first.id();
        drop(first);
        assert_eq!(pool.status().available, 1);
        let (object, took) = timed(pool.get()).await;
        assert_eq!((object.unwrap().id(), took.as_nanos(), cleaned(&pool)), (id, 0, 0));
        world.driver.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_is_ended_in_every_mode_before_the_next_user_has_the_connection() {
    use TransactionState::{Failed, InTransaction, Unknown};
    for reset in MODES {
        for (state, ending) in
            [(InTransaction, None), (Failed, None), (InTransaction, Some(Ending::Rollback)), (Unknown, None)]
        {
            let world = World::of(&["i-1"]);
            let pool = one(&world, reset).build().unwrap();
            let object = pool.get().await.unwrap();
            let slot = Arc::clone(object.slot());
            slot.set_ready(InTransaction);
            match state {
                Unknown => slot.set_unknown(),
                known => slot.set_ready(known),
            }
            if let Some(ending) = ending {
                slot.set_ending(ending);
            }
            drop(object);
            assert_eq!(pool.status().in_use, 1, "{reset:?} {state:?}");
            let next = pool.get().await.unwrap();
            assert_eq!((next.id(), next.slot().transaction()), (slot.id(), TransactionState::Idle));
            assert_eq!((world.driver.rolled_back(), cleaned(&pool)), (1, 1), "{reset:?} {state:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_session_is_reset_as_the_mode_says_and_hooks_of_a_new_connection_run_again() {
    let world = World::of(&["i-1"]);
    for (reset, is_touched, is_reset) in [
        (PoolReset::Auto, false, false),
        (PoolReset::Auto, true, true),
        (PoolReset::Always, false, true),
        (PoolReset::Never, true, false),
    ] {
        let created = Hook::sync_fn(|pooled, _| {
            pooled.notes.push("created");
            Ok(())
        });
        let pool = one(&world, reset).post_create(created).build().unwrap();
        for uses in 1..4 {
            let mut object = pool.get().await.unwrap();
            let expected = if is_reset { 1 } else { uses };
            assert_eq!(object.notes[0], "created", "{reset:?}");
            assert_eq!(object.notes.len(), expected, "{reset:?} {:?}", object.notes);
            object.notes.push("used");
            if is_touched {
                set_something(&object);
            }
            drop(object);
        }
        until("it lies idle", || pool.status().available == 1).await;
        assert_eq!(cleaned(&pool), if is_reset { 3 } else { 0 }, "{reset:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_hooks_do_belongs_to_the_clean_session() {
    let world = World::of(&["i-1"]);
    let touch = || {
        Hook::sync_fn(|pooled, _| {
            pooled.slot().note_session_change(SessionChange::Lasting);
            Ok(())
        })
    };
    let pool = one(&world, PoolReset::Auto).post_create(touch()).post_recycle(touch()).build().unwrap();
    let id = pool.get().await.unwrap().id();
    for _ in 0..2 {
        assert_eq!(pool.get().await.unwrap().id(), id);
    }
    assert_eq!(cleaned(&pool), 0);
}

#[tokio::test(start_paused = true)]
async fn what_no_reset_takes_back_is_discarded_unless_nothing_is_to_be_reset() {
    let world = World::of(&["i-1"]);
    for reset in MODES {
        let pool = one(&world, reset).build().unwrap();
        let object = pool.get().await.unwrap();
        object.slot().note_session_change(SessionChange::Lasting);
        drop(object);
        let stays = reset == PoolReset::Never;
        assert_eq!((pool.status().size == 1, discarded(&pool.status(), "session") == 0), (stays, stays));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_a_fresh_session_costs_the_connection_but_no_place() {
    let world = World::of(&["i-1"]);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let second_refuses = Hook::sync_fn(move |_, _| {
        let is_second = counted.fetch_add(1, Ordering::Relaxed) == 1;
        if is_second { Err(HookError::message("not again")) } else { Ok(()) }
    });
    let pool = one(&world, PoolReset::Auto).post_create(second_refuses).build().unwrap();
    let object = pool.get().await.unwrap();
    let id = object.id();
    set_something(&object);
    drop(object);
    assert_ne!(pool.get().await.unwrap().id(), id);
    assert_eq!((discarded(&pool.status(), "session"), runs.load(Ordering::Relaxed)), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_connection_is_cleaned_costs_no_place() {
    let world = World::of(&["i-1"]);
    let runs = AtomicUsize::new(0);
    let second_panics = Hook::sync_fn(move |_, _| {
        assert_ne!(runs.fetch_add(1, Ordering::Relaxed), 1, "the second run fails");
        Ok(())
    });
    let pool = one(&world, PoolReset::Always).post_create(second_panics).build().unwrap();
    let id = pool.get().await.unwrap().id();
    assert_ne!(pool.get().await.unwrap().id(), id);
    assert_eq!(discarded(&pool.status(), "session"), 1, "{:?}", pool.status());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_in_time_costs_the_connection_but_no_place() {
    for outcome in [Outcome::Never, Outcome::Fails(DriverClass::Other), Outcome::Slow(2 * SECOND)] {
        let world = World::of(&["i-1"]);
        let pool = one(&world, PoolReset::Auto).build().unwrap();
        let object = used(&pool).await;
        let id = object.id();
        world.driver.plan(On::Question, "i-1", 1, outcome);
        let begun = Instant::now();
        drop(object);
        assert_eq!(begun.elapsed().as_nanos(), 0, "who gives it back does not wait");
        assert_ne!(pool.get().await.unwrap().id(), id);
        assert!(begun.elapsed() <= SECOND + 50 * MS, "`pool_recycle_timeout_ms`: {:?}", begun.elapsed());
        assert_eq!(discarded(&pool.status(), "transaction"), 1, "{:?}", pool.status());
        assert_eq!(world.cluster.open("i-1"), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_lost_while_it_is_cleaned_is_discarded_as_lost() {
    let world = World::of(&["i-1"]);
    let pool = one(&world, PoolReset::Auto).build().unwrap();
    let object = used(&pool).await;
    world.cluster.set_reach("i-1", Reach::Silent);
    drop(object);
    sleep(SECOND / 10).await;
    world.cluster.kill_connections("i-1");
    until("it is gone", || pool.status().size == 0).await;
    assert_eq!(discarded(&pool.status(), "ended"), 1, "{:?}", pool.status());
}

#[tokio::test(start_paused = true)]
async fn without_a_runtime_what_would_have_to_be_cleaned_is_discarded_at_once() {
    let world = World::of(&["i-1"]);
    let pool = one(&world, PoolReset::Auto).build().unwrap();
    let object = used(&pool).await;
    let idle = pool.get();
    std::thread::spawn(move || drop(object)).join().unwrap();
    let object = idle.await.unwrap();
    assert_eq!(discarded(&pool.status(), "transaction"), 1, "{:?}", pool.status());
    std::thread::spawn(move || drop(object)).join().unwrap();
    assert_eq!(pool.status().available, 1, "nothing was left on this one");
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_is_closed_or_dropped_meanwhile_keeps_nothing() {
    for is_closed in [true, false] {
        let world = World::of(&["i-1"]);
        let pool = one(&world, PoolReset::Auto).build().unwrap();
        let object = used(&pool).await;
        drop(object);
        if is_closed {
            pool.close();
        } else {
            drop(pool);
        }
        until("it is closed", || world.cluster.open("i-1") == 0).await;
        until("the task is over", || world.services.status().running_tasks == 0).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_the_cleaning() {
    let world = World::of(&["i-1"]);
    let pool = one(&world, PoolReset::Auto).recycle_timeout(None).build().unwrap();
    let object = used(&pool).await;
    world.cluster.set_reach("i-1", Reach::Silent);
    drop(object);
    sleep(MS).await;
    assert_eq!(pool.status().in_use, 1);
    world.services.shutdown(SECOND).await.unwrap();
    assert_eq!((pool.status().size, world.cluster.open("i-1")), (0, 0));
    // And nothing is begun after it.
    let (took, begun) = (pool.get().await, Instant::now());
    assert!(took.is_err() && begun.elapsed() < SECOND);
}
