//! Futures dropped at each of their awaits: nothing is left, nothing is half done, the next call works.
//!
//! Each operation is dropped after one poll, after two, and so on until it is through; with a server that answers, one
//! that is slow, one that refuses and one that never answers.

use std::time::Duration;

use aws_wrapper_core::Error;
use integration_tests::{
    Adapter, Polled, Session, TestCluster, drop_after, eventually, failovers, no_task_left, on_cluster,
};
use tokio::time::timeout;

use super::Driver;

const LIMIT: Duration = Duration::from_secs(5);
/// No operation has so many awaits.
const MOST: u32 = 300;

/// A connect finds out what the server is, reads the topology and starts the monitor, the first time.
#[test]
fn the_first_connect_can_be_dropped_anywhere() {
    on_cluster::<Driver>(2, async |cluster| {
        for params in [&[][..], &[("wait_for_initial_topology_ms", "3000")]] {
            for latency in [Duration::ZERO, Duration::from_millis(2)] {
                cluster.latency("instance-1", latency).await.unwrap();
                for polls in 1..=MOST {
                    let connector = cluster.connector::<Driver>(params);
                    let polled = drop_after(polls, Driver::connect(&connector)).await;
                    let is_through = matches!(polled, Polled::Ready(Ok(_)));
                    assert!(is_through || matches!(polled, Polled::Dropped), "{polled:?}");
                    drop((polled, connector));
                    eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
                    eventually(LIMIT, "no task is left", async || no_task_left()).await;
                    if is_through {
                        break;
                    }
                    assert!(polls < MOST);
                }
            }
        }
    });
}

#[test]
fn a_later_connect_can_be_dropped_anywhere() {
    on_cluster::<Driver>(2, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut first = Driver::connect(&connector).await.unwrap();
        for polls in 1..=MOST {
            let polled = drop_after(polls, Driver::connect(&connector)).await;
            if matches!(polled, Polled::Ready(Ok(_))) {
                break;
            }
            assert!(matches!(polled, Polled::Dropped) && polls < MOST, "{polled:?}");
        }
        eventually(LIMIT, "one session and the monitor are left", async || cluster.sockets() == 2).await;
        let status = Driver::services(&connector).status();
        assert_eq!(status.connections.values().sum::<usize>(), 2, "{status:?}");
        assert_eq!(first.who().await.unwrap(), "instance-1");
    });
}

#[test]
fn a_connect_that_meets_only_refusals_or_silence_can_be_dropped() {
    on_cluster::<Driver>(2, async |cluster| {
        for millis in [1, 20, 200, 700] {
            for is_silent in [false, true] {
                let connector = cluster.connector::<Driver>(&[("connect_timeout_ms", "500")]);
                if is_silent {
                    cluster.blackhole("instance-1").await.unwrap();
                } else {
                    cluster.close("instance-1").await;
                }
                let dropped = timeout(Duration::from_millis(millis), Driver::connect(&connector)).await;
                assert!(dropped.is_err(), "nobody lets us in: {dropped:?}");
                eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
                eventually(LIMIT, "no task is left", async || no_task_left()).await;
                cluster.heal("instance-1").await.unwrap();
                assert_eq!(Driver::connect(&connector).await.unwrap().who().await.unwrap(), "instance-1");
                drop(connector);
                eventually(LIMIT, "no socket is left", async || cluster.sockets() == 0).await;
            }
        }
    });
}

/// A reset connection, found by the next call: the search for the writer, the connect and the switch are dropped.
///
/// First the session is given the connection on which the writer was proved; then the monitor has a login of its own, and
/// the session opens one.
#[test]
fn a_failover_can_be_dropped_anywhere() {
    on_cluster::<Driver>(2, async |cluster| {
        let given = &[("plugins", "initial_connection,failover")][..];
        let opened = &[
            ("plugins", "failover,developer"),
            ("topology_monitoring_user", "app"),
            ("topology_monitoring_password", "secret"),
        ][..];
        for (params, fewest) in [(given, 1), (opened, 2)] {
            for latency in [Duration::ZERO, Duration::from_millis(2)] {
                cluster.latency("instance-1", latency).await.unwrap();
                dropped_failovers(cluster, params, fewest).await;
            }
        }
    });
}

async fn dropped_failovers(cluster: &TestCluster, params: &[(&str, &str)], fewest: u32) {
    let connector = cluster.connector::<Driver>(params);
    let mut events = Driver::services(&connector).subscribe();
    let mut session = Driver::connect(&connector).await.unwrap();
    for polls in 1..=MOST {
        cluster.cut("instance-1", &session).await;
        match drop_after(polls, session.who()).await {
            Polled::Ready(result) => {
                assert!(result.as_ref().is_err_and(Error::is_failover_success), "{result:?}");
                assert!(polls > fewest, "{params:?}: through after {polls} polls: {result:?}");
                break;
            }
            Polled::Dropped => goes_on(&mut session).await,
        }
        assert!(polls < MOST);
    }
    assert_eq!(session.who().await.unwrap(), "instance-1");
    let (started, ended) = failovers(&mut events);
    assert_eq!(started, ended.len(), "each failover that starts is said to be over: {ended:?}");
    eventually(LIMIT, "one session and the monitor are left", async || cluster.sockets() == 2).await;
}

#[test]
fn a_failover_that_meets_only_refusals_or_silence_can_be_dropped() {
    on_cluster::<Driver>(2, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("connect_timeout_ms", "500")]);
        let mut session = Driver::connect(&connector).await.unwrap();
        for millis in [1, 10, 50, 200, 700] {
            for is_silent in [false, true] {
                if is_silent {
                    cluster.blackhole("instance-1").await.unwrap();
                } else {
                    cluster.close("instance-1").await;
                }
                cluster.cut("instance-1", &session).await;
                let dropped = timeout(Duration::from_millis(millis), session.who()).await;
                assert!(dropped.is_err(), "nobody lets us in: {dropped:?}");
                cluster.heal("instance-1").await.unwrap();
                goes_on(&mut session).await;
            }
        }
        eventually(LIMIT, "one session and the monitor are left", async || cluster.sockets() == 2).await;
    });
}

/// The next call finds the connection replaced already, or starts another failover; the one after it works.
async fn goes_on(session: &mut <Driver as Adapter>::Session) {
    if let Err(error) = session.who().await {
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), "instance-1");
    }
}
