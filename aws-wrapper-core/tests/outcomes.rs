//! What an error says of a lost connection, by script and with a paused clock: with and without the plugin that looks for
//! another one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use common::{SECOND, World};

const SUCCEEDED: ErrorKind = ErrorKind::Failover(FailoverOutcome::Succeeded);

fn lose_next(world: &World) {
    world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Network));
}

#[tokio::test(start_paused = true)]
async fn without_the_plugin_a_lost_transaction_is_told_of_too() {
    for (begins, text, outcome, advice) in [
        (false, "insert", TransactionOutcome::NotInTransaction, RetryAdvice::Reconnect),
        (true, "insert", TransactionOutcome::RolledBack, RetryAdvice::Reconnect),
        (true, "commit", TransactionOutcome::Unknown, RetryAdvice::CheckOutcome),
    ] {
        let world = World::new();
        let client = world.settled(&[("plugins", "initial_connection")]).await;
        if begins {
            client.begin().await.unwrap();
        }
        lose_next(&world);
        let error = client.query(text).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
        assert_eq!((error.transaction_outcome(), error.retry_advice()), (outcome, advice), "{text}");
        assert!(error.statement_may_have_run() && !error.connection_usable());
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_to_connect_says_that_nothing_ran() {
    let world = World::new();
    for reach in [Reach::Refuses, Reach::Silent] {
        world.cluster.set_reach("i-1", reach);
        let connector = world.connector("i-1", &[("plugins", "none")]);
        let error = FakeClient::connect(&connector).await.unwrap_err();
        assert!(!error.statement_may_have_run(), "{error:?}");
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction);
        assert_eq!(error.retry_advice(), RetryAdvice::Reconnect);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_its_session_each_time_is_not_to_be_repeated() {
    let world = World::new();
    let client = world.settled(&[]).await;
    let mut advices = Vec::new();
    for _ in 0..2 {
        lose_next(&world);
        let error = client.query("insert too much").await.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED, "{error:?}");
        advices.push(error.retry_advice());
    }
    assert_eq!(advices, [RetryAdvice::RetryStatement, RetryAdvice::DoNotRetry]);
    // The session itself goes on.
    assert_eq!(client.query("insert").await.unwrap(), "i-1");
}

#[tokio::test(start_paused = true)]
async fn another_call_or_an_answer_in_between_ends_the_suspicion() {
    for between in ["another", "the same"] {
        let world = World::new();
        let client = world.settled(&[]).await;
        lose_next(&world);
        client.query("the same").await.unwrap_err();
        if between == "another" {
            lose_next(&world);
            client.query(between).await.unwrap_err();
        } else {
            client.query(between).await.unwrap();
        }
        lose_next(&world);
        let error = client.query("the same").await.unwrap_err();
        assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement, "{between}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_crashes_in_a_row_are_not_the_fault_of_the_call() {
    let world = World::new();
    let client = world.settled(&[]).await;
    for (dies, next) in [("i-1", "i-2"), ("i-2", "i-3")] {
        world.cluster.set_reach(dies, Reach::Refuses);
        world.cluster.promote(next);
        let error = client.query("insert").await.unwrap_err();
        assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement, "{dies}");
    }
    assert_eq!(client.query("insert").await.unwrap(), "i-3");
}

#[tokio::test(start_paused = true)]
async fn one_session_that_ends_does_not_make_its_host_one_that_is_down() {
    let world = World::new();
    let client = world.settled(&[]).await;
    let mut heard = world.listen();
    lose_next(&world);
    assert_eq!(client.query("insert").await.unwrap_err().kind(), SUCCEEDED);
    tokio::time::sleep(SECOND).await;
    assert_eq!(heard.hosts_down(), []);
    // A host that refuses to be connected to is announced.
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
    assert_eq!(client.query("insert").await.unwrap_err().kind(), SUCCEEDED);
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(heard.hosts_down(), [world.key("i-1")]);
}
