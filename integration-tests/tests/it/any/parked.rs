//! A connection that a plugin parks while it holds a call carries this very call.

use std::time::Duration;

use aws_wrapper_core::plugin::CallClass;
use integration_tests::{Session, eventually, on_cluster};
use tokio::time::timeout;

use super::Driver;
use super::every_method::{METHODS, call, in_transaction, session};
use crate::parker::{Parked, check};

#[test]
fn every_method_goes_out_on_the_connection_that_was_parked_before_it() {
    on_cluster::<Driver>(1, async |cluster| {
        cluster.log_table::<Driver>().await;
        let parked = Parked::default();
        let mut client = session(cluster, &parked).await;
        for method in METHODS {
            let before = client.slot().id();
            call(method, &mut client, || parked.arm()).await;
            check(method, &parked, before);
            assert_eq!(client.slot().id(), parked.id().unwrap(), "{method}");
        }
    });
}

#[test]
fn a_transaction_stays_on_its_connection_whatever_is_parked() {
    on_cluster::<Driver>(1, async |cluster| {
        cluster.log_table::<Driver>().await;
        let parked = Parked::default();
        let mut client = session(cluster, &parked).await;
        let before = client.slot().id();
        in_transaction(&mut client, || parked.arm()).await;
        let waiting = parked.id().expect("one was parked");
        assert!(parked.ended().iter().all(|ended| ended.carrier == Some(before)), "{:?}", parked.ended());
        assert!(
            parked.ended().iter().any(|ended| ended.outcome.rows_affected == Some(1)),
            "{:?}",
            parked.ended()
        );
        assert_eq!(client.ask("SELECT 7").await.unwrap(), "7");
        assert_eq!(parked.ended().last().unwrap().carrier, Some(waiting));
    });
}

/// Dropped while a plugin holds it, a call costs nothing: the same connection serves the next one.
#[test]
fn a_call_that_a_plugin_still_holds_was_not_sent() {
    on_cluster::<Driver>(1, async |cluster| {
        let parked = Parked::default();
        let mut client = session(cluster, &parked).await;
        let before = client.slot().id();
        cluster.freeze("instance-1").await.unwrap();
        parked.arm();
        // Opening the other connection takes as long as the host is silent.
        assert!(timeout(Duration::from_millis(100), client.ask("SELECT 'given up'")).await.is_err());
        let ended = parked.ended();
        assert_eq!(ended.len(), 1, "{ended:?}");
        assert_eq!((ended[0].carrier, ended[0].outcome.class), (None, CallClass::DroppedBeforeSending));
        cluster.thaw("instance-1").await.unwrap();
        assert_eq!(client.ask("SELECT 7").await.unwrap(), "7");
        assert_eq!(client.slot().id(), before, "it is the connection it was");
        eventually(Duration::from_secs(5), "nothing is left of the other one", async || {
            cluster.sockets() == 1
        })
        .await;
    });
}
