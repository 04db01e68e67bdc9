//! Futures dropped at every await: nothing leaks, nothing is half done, and the next call works.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver, On, Outcome};
use aws_wrapper_core::topology::cluster::Verify;
use common::{MS, READER, SECOND, WRITER, World, drop_after};
use tokio::time::{Instant, sleep};

const OUTCOMES: &[Outcome] = &[
    Outcome::Normal,
    Outcome::Fails(DriverClass::Network),
    Outcome::Fails(DriverClass::Other),
    Outcome::Slow(SECOND),
    Outcome::Never,
];

/// More polls than any of the futures here needs.
const MOST_POLLS: usize = 200;

/// Nobody holds a connection any more, the monitor has gone to sleep, and nothing of it is left.
async fn assert_nothing_is_left(world: &World, what: &str) {
    // The monitor stops a minute after its last session.
    sleep(SECOND * 62).await;
    let status = world.services.status();
    assert!(status.connections.is_empty(), "{what}: {:?}", status.connections);
    assert_eq!(status.running_tasks, 0, "{what}: {:?}", status.tasks);
    for name in common::THREE {
        assert_eq!(world.cluster.open(name), 0, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_connect_leaves_nothing_behind() {
    for host in [WRITER, READER, "i-1"] {
        for on in [On::Connect, On::Question] {
            for outcome in OUTCOMES {
                for times in 0..MOST_POLLS {
                    let world = World::new();
                    let pairs = [("connect_timeout_ms", "2s"), ("open_connection_retry_timeout_ms", "3s")];
                    let connector = world.connector(host, &pairs);
                    for name in common::THREE {
                        world.driver.plan(on, name, 1, *outcome);
                    }
                    let what = format!("{host} {on:?} {outcome:?} after {times}");
                    let dropped = drop_after(times, connector.connect()).await;
                    let is_complete = dropped.is_some();
                    drop(dropped);
                    world.driver.clear();
                    let client = FakeClient::connect(&connector).await.expect(&what);
                    client.query("select 1").await.expect(&what);
                    drop((client, connector));
                    assert_nothing_is_left(&world, &what).await;
                    if is_complete {
                        break;
                    }
                    assert!(times + 1 < MOST_POLLS, "{what} never ends");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_refresh_is_answered_to_the_next_who_asks() {
    for verify in [Verify::No, Verify::Writer] {
        for on in [On::Monitor, On::Question] {
            for outcome in OUTCOMES {
                for times in 0..MOST_POLLS {
                    let world = World::new();
                    let pairs = [("topology_monitoring_socket_timeout_ms", "1s")];
                    let connector = world.connector(WRITER, &pairs);
                    let client = FakeClient::connect(&connector).await.unwrap();
                    sleep(SECOND * 2).await;
                    world.driver.plan(on, "i-1", 1, *outcome);
                    let topology = connector.topology();
                    let what = format!("{verify:?} {on:?} {outcome:?} after {times}");
                    let is_complete =
                        drop_after(times, topology.refresh(verify, Instant::now() + SECOND * 30))
                            .await
                            .is_some();
                    let asked_at = Instant::now();
                    let snapshot = topology.refresh(verify, asked_at + SECOND * 30).await.expect(&what);
                    assert_eq!(snapshot.writer_host().unwrap().key, world.key("i-1"), "{what}");
                    if verify == Verify::Writer {
                        assert!(
                            snapshot.last_verification.as_ref().unwrap().verified_at >= asked_at,
                            "{what}"
                        );
                    }
                    drop((client, connector));
                    assert_nothing_is_left(&world, &what).await;
                    if is_complete {
                        break;
                    }
                    assert!(times + 1 < MOST_POLLS, "{what} never ends");
                }
            }
        }
    }
}

/// Drops a failover after so many polls; true if it was through before.
async fn dropped_failover(pairs: &[(&str, &str)], on: On, outcome: Outcome, times: usize) -> bool {
    let what = format!("{pairs:?} {on:?} {outcome:?} after {times}");
    let world = World::new();
    let client = world.client(WRITER, pairs).await;
    sleep(SECOND * 2).await;
    client.logical().session().set("timezone = utc");
    client.begin().await.unwrap();
    let mut heard = world.listen();
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
    world.driver.plan(on, "i-2", 1, outcome);
    let first = drop_after(times, client.query("select 1")).await;
    heard.failovers();
    let was_told = first.as_ref().is_some_and(|result| result.as_ref().unwrap_err().is_failover_success());
    let is_complete = first.is_some();
    // Whatever came of it: one more error at the most for the failover itself, and one for a plan not played yet.
    world.driver.clear();
    let mut switches = u32::from(was_told);
    let name = loop {
        match client.query("insert").await {
            Ok(name) => break name,
            Err(error) => {
                assert!(error.is_failover_success(), "{what}: {error:#}");
                switches += 1;
                assert!(switches <= 2, "{what}: {error:#}");
            }
        }
    };
    assert_eq!(name, "i-2", "{what}");
    let now = client.current();
    assert_eq!(now.settings(), ["timezone = utc"], "{what}: completely configured");
    assert_eq!(now.slot().identity().unwrap().role, Role::Writer, "{what}");
    assert!(!client.logical().has_parked(), "{what}");
    heard.failovers();
    drop((client, now));
    assert_nothing_is_left(&world, &what).await;
    is_complete
}

#[tokio::test(start_paused = true)]
async fn a_dropped_failover_is_never_half_done() {
    let limits = [("failover_connect_timeout_ms", "2s"), ("cluster_topology_high_refresh_rate_ms", "1s")];
    // Once with the connection the monitor hands over, once with one of its own.
    let apart = [limits[0], limits[1], ("topology_monitoring_user", "monitor")];
    for pairs in [&limits[..], &apart[..]] {
        for on in [On::Connect, On::Monitor, On::Question, On::Configure] {
            for outcome in OUTCOMES {
                let mut times = 0;
                while !dropped_failover(pairs, on, *outcome, times).await {
                    times += 1;
                    assert!(times < MOST_POLLS, "{on:?} {outcome:?} never ends");
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_failover_that_is_dropped_goes_on_with_it() {
    for times in 1..20 {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-2");
        let (first, second) =
            tokio::join!(drop_after(times, client.query("select 1")), client.query("select 1"));
        assert!(second.unwrap_err().is_failover_success(), "after {times} polls");
        let ended = heard.failovers().len();
        assert!(if first.is_some() { ended == 1 } else { ended <= 2 }, "after {times} polls");
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_does_not_spoil_the_connection() {
    for outcome in OUTCOMES {
        for times in 0..10 {
            let world = World::new();
            let client = world.client(WRITER, &[]).await;
            world.cluster.set_delays("i-1", MS, 2 * MS);
            let planned =
                if *outcome == Outcome::Fails(DriverClass::Network) { Outcome::Normal } else { *outcome };
            world.driver.plan(On::Call, "i-1", 1, planned);
            drop_after(times, client.query("select 1")).await;
            world.driver.clear();
            assert_eq!(client.query("select 1").await.unwrap(), "i-1", "{outcome:?} after {times}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_switch_of_a_fixed_list_leaves_nothing_behind() {
    for times in 0..40 {
        let world = World::new();
        let driver = world.driver.clone().plain();
        let hosts = common::THREE.iter().map(|name| world.key(name)).collect();
        let config = Config::from_pairs([("plugins", "failover")]);
        let connector: Connector<FakeDriver> =
            Connector::builder(driver, config, hosts).services(world.services.clone()).build().unwrap();
        let client = FakeClient::connect(&connector).await.unwrap();
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-3");
        drop_after(times, client.query("insert")).await;
        match client.query("insert").await {
            Ok(name) => assert_eq!(name, "i-3"),
            Err(error) => {
                assert!(error.is_failover_success() && error.kind() != ErrorKind::Login);
                assert_eq!(client.query("insert").await.unwrap(), "i-3");
            }
        }
        drop((client, connector));
        assert_nothing_is_left(&world, &format!("after {times}")).await;
    }
}
