//! deadpool's hooks, in every sub-pool.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_wrapper_deadpool::ErrorKind;
use aws_wrapper_deadpool::deadpool::managed::HookError;
use tokio::time::sleep;

use crate::world::{Hook, MS, World};

#[tokio::test(start_paused = true)]
async fn hooks_run_in_order_on_connections_to_every_host() {
    let world = World::new();
    let pool = world
        .builder(&[])
        .post_create(Hook::sync_fn(|pooled, _| {
            pooled.notes.push("created");
            Ok(())
        }))
        .post_create(Hook::async_fn(|pooled, _| {
            Box::pin(async move {
                sleep(MS).await;
                pooled.notes.push("prepared");
                Ok(())
            })
        }))
        .pre_recycle(Hook::sync_fn(|pooled, _| {
            pooled.notes.push("looked at");
            Ok(())
        }))
        .post_recycle(Hook::sync_fn(|pooled, metrics| {
            pooled.notes.push(if metrics.recycle_count == 0 { "used again" } else { "and again" });
            Ok(())
        }))
        .build()
        .unwrap();
    for is_writer in [true, false] {
        for expected in [
            &["created", "prepared"][..],
            &["created", "prepared", "looked at", "used again"],
            &["created", "prepared", "looked at", "used again", "looked at", "and again"],
        ] {
            let object = if is_writer {
                pool.writer().await.unwrap()
            } else {
                // To the same one of the two.
                let other = pool.reader().await.unwrap();
                let object = pool.reader().await.unwrap();
                drop(other);
                object
            };
            if is_writer {
                assert_eq!(object.notes, expected);
            } else {
                assert_eq!(object.notes[..2], ["created", "prepared"], "{}", object.name());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_a_new_connection_fails_the_checkout_and_costs_no_place() {
    let world = World::new();
    let refusals = Arc::new(AtomicUsize::new(3));
    let left = Arc::clone(&refusals);
    let pool = world
        .builder(&[])
        .max_size(1)
        .post_create(Hook::sync_fn(move |_, _| {
            let refuses = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if refuses.is_ok() { Err(HookError::message("not today")) } else { Ok(()) }
        }))
        .build()
        .unwrap();
    for _ in 0..3 {
        let error = pool.writer().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Hook);
        assert!(error.to_string().contains("not today") && error.source().is_none(), "{error}");
        assert_eq!(pool.status().size, 0);
    }
    pool.writer().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_refuses_an_idle_connection_replaces_it() {
    let world = World::new();
    let pool = world
        .builder(&[])
        .post_recycle(Hook::async_fn(|_, _| Box::pin(async { Err(HookError::message("stale")) })))
        .build()
        .unwrap();
    let first = pool.writer().await.unwrap().id();
    assert_ne!(pool.writer().await.unwrap().id(), first);
}
