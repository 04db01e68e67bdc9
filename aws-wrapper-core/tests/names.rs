//! Names that do not exist, and names that could not be looked up: the first takes a host out of use, the second does not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice};
use aws_wrapper_core::testing::driver::{On, Outcome};
use common::{MS, SECOND, THREE, WRITER, World, meanwhile};

#[tokio::test(start_paused = true)]
async fn a_host_whose_name_cannot_be_looked_up_is_not_down() {
    for (class, is_down) in [(DriverClass::Lookup, false), (DriverClass::Network, true)] {
        let world = World::new();
        let mut heard = world.listen();
        world.driver.plan(On::Connect, "i-1", 1, Outcome::Fails(class));
        let connector = world.connector(WRITER, &[("plugins", "none")]);
        let error = connector.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(class), "{error:?}");
        assert_eq!(error.retry_advice(), RetryAdvice::Reconnect);
        assert!(!error.connection_usable() && !error.statement_may_have_run(), "{error:?}");
        assert_eq!(heard.hosts_down(), if is_down { vec![world.key(WRITER)] } else { Vec::new() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_failed_is_tried_again() {
    for class in [DriverClass::Lookup, DriverClass::Network] {
        let world = World::new();
        world.driver.plan(On::Connect, "i-1", 3, Outcome::Fails(class));
        let client = world.client(WRITER, &[]).await;
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failover_outlasts_a_time_without_names_and_no_host_is_blamed() {
    let world = World::new();
    let client = world.settled(&[("plugins", "initial_connection,failover")]).await;
    let mut heard = world.listen();
    for name in THREE {
        for on in [On::Connect, On::Monitor] {
            world.driver.plan(on, name, u32::MAX, Outcome::Fails(DriverClass::Lookup));
        }
    }
    world.cluster.kill_connections("i-1");
    let error = meanwhile(client.query("select 1"), SECOND * 20, || world.driver.clear()).await.unwrap_err();
    assert!(error.is_failover_success(), "{error:?}");
    // The search goes on at its own pace: pauses as after a refusal would have grown to seconds.
    let elapsed = error.failover_report().unwrap().elapsed;
    assert!(elapsed < SECOND * 20 + 400 * MS, "{elapsed:?}");
    assert_eq!(client.query("insert").await.unwrap(), "i-1");
    assert_eq!(heard.hosts_down(), Vec::new());
}
