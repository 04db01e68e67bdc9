//! Connections follow the role of their host: a change of the writer on a cluster by script, with a paused clock.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use aws_wrapper_core::error::FailoverOutcome;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::registry::{Fitness, Unfit};
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use common::{MS, READER, SECOND, World, all, until};
use tokio::time::{sleep, timeout};

const PLUGINS: &[(&str, &str)] = &[("plugins", "initial_connection,tracker,failover")];
const DEMOTED: Fitness = Fitness::Unfit(Unfit::Demoted);

/// The writer moves to `i-2`; the old one lives on as a reader.
async fn switch_over(world: &World) {
    world.cluster.promote("i-2");
    // The monitor's own connection tells it sooner or later.
    until("the change is known", || {
        world.services.status().clusters.iter().any(|cluster| cluster.writer == Some(world.key("i-2")))
    })
    .await;
    sleep(MS * 10).await;
}

fn fitness(client: &FakeClient) -> Fitness {
    client.current().slot().fitness()
}

#[tokio::test(start_paused = true)]
async fn idle_connections_to_the_old_writer_are_closed_and_no_others() {
    let world = World::new();
    let old = all((0..20).map(|_| world.settled(PLUGINS))).await;
    let reader = world.client("i-2", PLUGINS).await;
    let readers = world.client(READER, PLUGINS).await;
    switch_over(&world).await;
    for client in &old {
        assert_eq!(fitness(client), DEMOTED);
        assert!(client.current().slot().has_ended());
    }
    assert_eq!(fitness(&reader), Fitness::Fit, "never the new writer's");
    assert_eq!(fitness(&readers), Fitness::Fit);
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_ends_with_its_call() {
    let world = World::new();
    let client = world.settled(PLUGINS).await;
    let mut events = world.listen();
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 60));
    let (result, ()) = tokio::join!(client.query("select"), async {
        sleep(MS).await;
        switch_over(&world).await;
        assert_eq!(fitness(&client), DEMOTED);
        assert!(!client.current().slot().has_ended(), "its call goes on");
    });
    assert_eq!(result.unwrap(), "i-1");
    assert!(client.current().slot().has_ended());
    assert!(events.failovers().is_empty());
    // The session learns of it by its next call, and goes on at the new writer.
    assert!(client.query("select").await.unwrap_err().is_failover_success());
    assert_eq!(client.query("insert").await.unwrap(), "i-2");
    assert_eq!(events.failovers(), [FailoverOutcome::Succeeded]);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_may_end_where_it_began() {
    let world = World::new();
    let client = world.settled(PLUGINS).await;
    client.begin().await.unwrap();
    switch_over(&world).await;
    assert_eq!(client.query("select").await.unwrap(), "i-1");
    assert!(!client.current().slot().has_ended());
    assert_eq!(client.call(aws_wrapper_core::method::Method::Rollback, "rollback").await.unwrap(), "i-1");
    assert!(client.current().slot().has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_tells_nothing_is_asked_which_instance_it_is() {
    let world = World::new();
    let pairs =
        [("plugins", "tracker"), ("cluster_instance_host_pattern", "?.xyz.us-east-2.rds.amazonaws.com")];
    world.cluster.alias("db.example.org", "i-1");
    // The first one is identified when the product is detected, the second one by the tracker.
    let connector = world.connector("db.example.org", &pairs);
    let first = FakeClient::connect(&connector).await.unwrap();
    let second = FakeClient::connect(&connector).await.unwrap();
    assert_eq!(second.current().slot().routed_host(), &world.key("i-1"));
    sleep(SECOND * 2).await;
    switch_over(&world).await;
    for client in [&first, &second] {
        assert!(client.current().slot().has_ended());
    }
}

#[tokio::test(start_paused = true)]
async fn connections_that_a_failover_has_opened_are_followed_too() {
    let world = World::new();
    let client = world.settled(PLUGINS).await;
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
    assert!(client.query("select").await.unwrap_err().is_failover_success());
    assert_eq!(client.query("select").await.unwrap(), "i-2");
    world.cluster.set_reach("i-1", Reach::Up);
    world.cluster.promote("i-3");
    until("the second change is known", || client.current().slot().has_ended()).await;
    assert_eq!(fitness(&client), DEMOTED);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_being_opened_while_the_writer_moves_is_not_missed() {
    let world = World::new();
    let _settled = world.settled(PLUGINS).await;
    world.cluster.set_delays("i-1", SECOND * 5, std::time::Duration::ZERO);
    let connector = world.connector("i-1", PLUGINS);
    let (client, ()) = tokio::join!(FakeClient::connect(&connector), async {
        sleep(SECOND).await;
        timeout(SECOND * 120, switch_over(&world)).await.unwrap();
    });
    assert!(client.unwrap().current().slot().has_ended());
}

#[tokio::test(start_paused = true)]
async fn a_connection_to_one_host_keeps_a_host_of_its_role() {
    let world = World::new();
    let connector = world.connector(common::WRITER, PLUGINS);
    let _writer = FakeClient::connect(&connector).await.unwrap();
    sleep(SECOND * 2).await;
    let reader = FakeClient::connect_to_host(&connector, &world.key("i-2"), Role::Reader).await.unwrap();
    assert_eq!(reader.query("select").await.unwrap(), "i-2");
    let refused = FakeClient::connect_to_host(&connector, &world.key("i-2"), Role::Writer).await.unwrap_err();
    assert_eq!(refused.kind(), aws_wrapper_core::error::ErrorKind::Routing);
    world.cluster.set_reach("i-2", Reach::Refuses);
    assert!(reader.query("select").await.unwrap_err().is_failover_success());
    assert_eq!(reader.query("select").await.unwrap(), "i-3");
    // A write is refused where it is not allowed, and moves nobody to the writer.
    assert_eq!(reader.query("insert").await.unwrap_err().sqlstate(), Some("25006"));
    assert_eq!(reader.query("select").await.unwrap(), "i-3");
}
