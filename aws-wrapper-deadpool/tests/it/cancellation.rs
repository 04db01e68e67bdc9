//! Whoever drops a checkout, at whichever await, costs the pool nothing.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::testing::driver::{On, Outcome};
use aws_wrapper_deadpool::deadpool::managed::HookError;
use tokio::time::{sleep, timeout};

use crate::world::{Hook, MS, Pool, SECOND, World};

/// What a step of a checkout does.
#[derive(Debug, Clone, Copy)]
enum Gate {
    Ok,
    Err,
    Slow,
    Never,
}

const GATES: [Gate; 4] = [Gate::Ok, Gate::Err, Gate::Slow, Gate::Never];

impl Gate {
    async fn open(self) -> Result<(), HookError<std::sync::Arc<aws_wrapper_core::Error>>> {
        match self {
            Self::Ok => Ok(()),
            Self::Err => Err(HookError::message("refused")),
            Self::Slow => {
                sleep(MS).await;
                Ok(())
            }
            Self::Never => std::future::pending().await,
        }
    }

    fn outcome(self) -> Outcome {
        match self {
            Self::Ok => Outcome::Normal,
            Self::Err => Outcome::Fails(DriverClass::Network),
            Self::Slow => Outcome::Slow(MS),
            Self::Never => Outcome::Never,
        }
    }
}

/// Polls `future` at most `times` times and drops it then.
async fn drop_after<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut polls = 0;
    let mut future = pin!(future);
    let polled = poll_fn(|cx| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    timeout(60 * SECOND, polled).await.ok().flatten()
}

fn pool(world: &World, post_create: Gate, post_recycle: Gate) -> Pool {
    world
        .builder(&[("plugins", "none"), ("pool_idle_check_after_ms", "0")])
        .max_size(2)
        .create_timeout(SECOND)
        .wait_timeout(SECOND)
        .post_create(Hook::async_fn(move |_, _| Box::pin(post_create.open())))
        .post_recycle(Hook::async_fn(move |_, _| Box::pin(post_recycle.open())))
        .build()
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_checkout_may_be_dropped_at_any_await() {
    for (connect, check) in GATES.iter().flat_map(|connect| GATES.map(|check| (*connect, check))) {
        for (post_create, post_recycle) in
            GATES.iter().flat_map(|create| GATES.map(|recycle| (*create, recycle)))
        {
            let world = World::of(&["i-1"]);
            let pool = pool(&world, post_create, post_recycle);
            for polls in 0..8 {
                world.driver.plan(On::Connect, "i-1", 1, connect.outcome());
                world.driver.plan(On::Question, "i-1", 1, check.outcome());
                let first = drop_after(polls, pool.get()).await;
                let second = drop_after(polls, pool.get()).await;
                let status = pool.status();
                assert!(
                    status.size <= 2,
                    "{connect:?} {check:?} {post_create:?} {post_recycle:?}: {status:?}"
                );
                drop((first, second));
                world.driver.clear();
                assert_eq!(pool.status().in_use, 0, "{:?}", pool.status());
            }
            assert_eq!(world.cluster.open("i-1"), pool.status().size, "nothing is open but what lies there");
            // Both places can still be had.
            if matches!(post_create, Gate::Ok | Gate::Slow) && matches!(post_recycle, Gate::Ok | Gate::Slow) {
                let both = tokio::join!(pool.get(), pool.get());
                assert!(both.0.is_ok() && both.1.is_ok(), "{both:?}");
            }
            drop(pool);
            assert_eq!(world.cluster.open("i-1"), 0);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_checkout_that_was_dropped_is_no_failure_of_the_host() {
    let world = World::of(&["i-1"]);
    let pool = pool(&world, Gate::Ok, Gate::Ok);
    world.driver.plan(On::Connect, "i-1", 1, Outcome::Never);
    assert!(timeout(Duration::from_millis(500), pool.get()).await.is_err());
    assert!(pool.status().sub_pools[0].last_error.is_none());
    assert_eq!(pool.status().sub_pools[0].failed, 0);
}
