//! Host monitoring and the tracker as a stranger expects them who has only read what they promise.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome};
use aws_wrapper_core::health::{HostMonitorStatus, Verdict};
use aws_wrapper_core::method::Method;
use aws_wrapper_core::registry::{Fitness, Unfit};
use aws_wrapper_core::testing::cluster::{FakeCluster, Reach};
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver, On, Outcome};
use common::{MS, SECOND, World, all, meanwhile, settings, timed, until};
use tokio::runtime::{Builder, Handle};
use tokio::time::{sleep, timeout};

/// Longer than any test.
const LONG: Outcome = Outcome::Slow(Duration::from_secs(3600));

/// Dead 1.5 seconds after the beginning of a call.
const FAST: &[(&str, &str)] = &[
    ("failure_detection_time_ms", "1000"),
    ("failure_detection_interval_ms", "200"),
    ("failure_detection_count", "3"),
];

/// Dead 6.5 seconds after the beginning of a call.
const AGGRESSIVE: &[(&str, &str)] = &[
    ("failure_detection_time_ms", "6000"),
    ("failure_detection_interval_ms", "1000"),
    ("failure_detection_count", "1"),
];

const PATIENT: (&str, &str) = ("failure_detection_fail_fast", "off");
const EAGER: (&str, &str) = ("failure_detection_eager_connect", "on");

async fn client(world: &World, timings: &[(&str, &str)], more: &[(&str, &str)]) -> FakeClient {
    let pairs = [&[("plugins", "efm")], timings, more].concat();
    world.client("i-1", &pairs).await
}

/// One whose monitor is connected.
async fn watched(world: &World, timings: &[(&str, &str)], more: &[(&str, &str)]) -> FakeClient {
    let client = client(world, timings, &[&[EAGER], more].concat()).await;
    until("the monitor is connected", || monitor(world, "i-1").is_connected).await;
    client
}

/// The monitor in use of an instance; the fake has no addresses, so each of its names has one.
fn monitor(world: &World, name: &str) -> HostMonitorStatus {
    let host = world.key(name);
    let monitors = world.services.status().host_monitors.into_iter().filter(|status| status.host == host);
    monitors.max_by_key(|status| (status.is_running, status.connections)).expect("it is watched")
}

/// The host looks dead to its monitor, while calls are answered.
fn deafen_monitor(world: &World) {
    world.driver.plan(On::Monitor, "i-1", u32::MAX, Outcome::Never);
    world.driver.plan(On::Question, "i-1", u32::MAX, Outcome::Never);
}

fn silence(world: &World) -> impl FnOnce() {
    let cluster = world.cluster.clone();
    move || cluster.set_reach("i-1", Reach::Silent)
}

fn assert_between(elapsed: Duration, from: u32, to: u32) {
    assert!(elapsed >= MS * from && elapsed <= MS * to, "{elapsed:?} instead of {from} to {to} ms");
}

mod profiles {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_of_several_on_one_host_is_judged_by_its_own() {
        let world = World::new();
        let quick = watched(&world, FAST, &[PATIENT]).await;
        let slow = client(&world, AGGRESSIVE, &[PATIENT]).await;
        world.driver.plan(On::Call, "i-1", 2, LONG);
        let calls = async { tokio::join!(timed(quick.query("select")), timed(slow.query("select"))) };
        let ((first, after), (second, later)) = meanwhile(calls, Duration::ZERO, silence(&world)).await;
        assert_eq!(first.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_eq!(second.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_between(after, 1_500, 1_550);
        assert_between(later, 6_000, 6_550);
        assert_eq!(monitor(&world, "i-1").aborted, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slower_one_does_not_delay_a_faster_one_that_comes_later() {
        let world = World::new();
        let slow = watched(&world, AGGRESSIVE, &[]).await;
        world.driver.plan(On::Call, "i-1", 2, LONG);
        let calls = async {
            let quick = async {
                sleep(SECOND * 3).await;
                let quick = client(&world, FAST, &[]).await;
                timed(meanwhile(quick.query("select"), Duration::ZERO, silence(&world))).await
            };
            tokio::join!(slow.query("select"), quick)
        };
        let (slow, (quick, after)) = calls.await;
        assert_eq!(quick.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_between(after, 1_500, 1_550);
        assert_eq!(slow.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_eq!(monitor(&world, "i-1").aborted, 2);
    }
}

mod pipelined {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn all_calls_of_one_connection_fail_together() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 50, LONG);
        let calls = all((0..50).map(|_| timed(client.query("select"))));
        for (result, elapsed) in meanwhile(calls, Duration::ZERO, silence(&world)).await {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
            assert_between(elapsed, 1_500, 1_550);
        }
        assert_eq!(monitor(&world, "i-1").aborted, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_keeps_the_whole_connection_young() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let others = async {
            sleep(MS).await;
            for _ in 0..10 {
                client.query("select").await.unwrap();
                sleep(MS * 500).await;
            }
            let status = monitor(&world, "i-1");
            assert_eq!(status.probes_alive + status.probes_unreachable + status.probes_passive, 0);
            client.query("select").await.unwrap();
            world.cluster.set_reach("i-1", Reach::Silent);
            tokio::time::Instant::now()
        };
        let hanging = async { (client.query("select").await, tokio::time::Instant::now()) };
        let ((result, ended), silent) = tokio::join!(hanging, others);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_between(ended - silent, 1_500, 1_550);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_two_hundred_and_fifty_six_calls_are_counted() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1_000, LONG);
        let calls = all((0..1_000).map(|_| client.query("select")));
        let results = meanwhile(calls, Duration::ZERO, silence(&world)).await;
        assert!(results.iter().all(Result::is_err));
        assert!(!client.current().slot().is_busy());
        let again = super::client(&world, FAST, &[]);
        assert!(timeout(SECOND, again).await.is_err(), "it is silent");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_of_the_server_that_is_an_error_is_one_too() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 5));
        let others = async {
            sleep(MS).await;
            world.driver.plan(On::Call, "i-1", 10, Outcome::FailsWith(DriverClass::Other, "42P01"));
            for _ in 0..10 {
                client.query("select").await.unwrap_err();
                sleep(MS * 480).await;
            }
        };
        let (result, ()) = tokio::join!(client.query("select"), others);
        result.unwrap();
        let status = monitor(&world, "i-1");
        assert_eq!(status.probes_alive + status.probes_passive, 0, "{status:?}");
    }
}

mod the_moment {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_ends_as_it_would_be_aborted_is_not_hit_and_neither_is_the_next() {
        let (mut answered, mut aborted) = (0, 0);
        for ends_after in 1_480..=1_560 {
            let world = World::new();
            let client = watched(&world, FAST, &[]).await;
            deafen_monitor(&world);
            world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(MS * ends_after));
            let result = client.query("select").await;
            let has_ended = client.current().slot().has_ended();
            let hits = monitor(&world, "i-1").aborted;
            assert_eq!((has_ended, hits), (result.is_err(), u64::from(result.is_err())), "{ends_after} ms");
            if result.is_err() {
                aborted += 1;
                continue;
            }
            answered += 1;
            // The host has answered just now, so this is no dead host's call.
            let next = client.query("select").await;
            assert!(next.is_ok(), "after {ends_after} ms: {next:?}");
            sleep(SECOND * 10).await;
            assert!(!client.current().slot().has_ended());
        }
        assert!(answered >= 10 && aborted >= 10, "{answered} answered, {aborted} aborted");
    }

    #[tokio::test(start_paused = true)]
    async fn a_young_call_waits_for_its_own_grace_if_it_was_asked_for() {
        let world = World::new();
        let (old, young) = (watched(&world, FAST, &[PATIENT]).await, watched(&world, FAST, &[PATIENT]).await);
        world.driver.plan(On::Call, "i-1", 2, LONG);
        let late = async {
            sleep(MS * 1_490).await;
            timed(young.query("select")).await
        };
        let calls = async { tokio::join!(timed(old.query("select")), late) };
        let ((_, first), (_, second)) = meanwhile(calls, Duration::ZERO, silence(&world)).await;
        assert_between(first, 1_500, 1_550);
        assert_between(second, 1_000, 1_350);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_below_the_count_never_add_up() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 30));
        let flapping = async {
            sleep(SECOND).await;
            for _ in 0..30 {
                world.cluster.set_reach("i-1", Reach::Silent);
                sleep(MS * 390).await;
                world.cluster.set_reach("i-1", Reach::Up);
                sleep(MS * 410).await;
            }
        };
        let (result, ()) = tokio::join!(client.query("select"), flapping);
        result.unwrap();
        let status = monitor(&world, "i-1");
        assert_eq!(status.downs, 0);
        assert!(status.probes_unreachable >= 30, "{status:?}");
    }
}

mod refusals {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_shuts_down_counts_as_gone() {
        let world = World::new();
        let client = client(&world, FAST, &[]).await;
        world.driver.plan(On::Monitor, "i-1", u32::MAX, Outcome::FailsWith(DriverClass::Network, "57P03"));
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let (result, elapsed) = timed(client.query("select")).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        // The first refusal opens the window: two intervals later there are three.
        assert_between(elapsed, 1_400, 1_450);
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_refuses_is_dead_after_count_refusals() {
        let world = World::new();
        let client = client(&world, FAST, &[]).await;
        world.driver.plan(On::Monitor, "i-1", u32::MAX, Outcome::Fails(DriverClass::Network));
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let (_, elapsed) = timed(client.query("select")).await;
        assert_between(elapsed, 1_400, 1_450);
        assert_eq!(monitor(&world, "i-1").probes_unreachable, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_monitor_without_a_login_is_no_reason_and_asks_at_its_pace() {
        let world = World::new();
        world.cluster.set_login("watcher", false);
        let client = client(&world, FAST, &[("monitoring_user", "watcher")]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 30));
        client.query("select").await.unwrap();
        let status = monitor(&world, "i-1");
        assert_eq!((status.verdict, status.downs, status.probes_unreachable), (Verdict::Up, 0, 0));
        let connects = world.driver.connects().iter().filter(|it| it.purpose.is_monitoring()).count();
        assert!(connects <= 150, "{connects} logins in 29 seconds");
    }

    #[tokio::test(start_paused = true)]
    async fn every_method_that_waits_fails_at_once_on_a_dead_host() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1, LONG);
        meanwhile(client.query("select"), Duration::ZERO, silence(&world)).await.unwrap_err();
        for method in [
            Method::Query,
            Method::QueryStream,
            Method::Execute,
            Method::BatchExecute,
            Method::SimpleQuery,
            Method::Prepare,
            Method::Begin,
            Method::Commit,
            Method::Savepoint,
            Method::CopyIn,
            Method::CopyOut,
            Method::Ping,
            Method::Listen,
        ] {
            let world = World::new();
            let (first, second) = (watched(&world, FAST, &[]).await, super::client(&world, FAST, &[]).await);
            world.driver.plan(On::Call, "i-1", 1, LONG);
            meanwhile(first.query("select"), Duration::ZERO, silence(&world)).await.unwrap_err();
            let (result, elapsed) = timed(second.call(method, "select")).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable, "{method:?}");
            assert!(elapsed <= MS, "{method:?}: {elapsed:?}");
        }
    }
}

mod ends {
    use super::*;

    fn tasks() -> usize {
        Handle::current().metrics().num_alive_tasks()
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_everything_while_probing_leaves_nothing() {
        for after in [500, 1_050, 1_250, 1_490, 2_000] {
            let World { cluster, driver, services } = World::new();
            let world = World { cluster: cluster.clone(), driver, services };
            let client = client(&world, FAST, &[]).await;
            world.driver.plan(On::Call, "i-1", 1, LONG);
            let call = timeout(MS * after, client.query("select"));
            let _ = meanwhile(call, MS * 1_000, silence(&world)).await;
            drop(client);
            drop(world);
            until("no task is left", || tasks() == 0).await;
            assert_eq!(cluster.open("i-1"), 0, "after {after} ms");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_outlives_a_shutdown() {
        let world = World::new();
        let client = watched(&world, FAST, &[]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 5));
        let shutdown = async {
            sleep(SECOND * 2).await;
            world.services.shutdown(SECOND).await.unwrap();
            tasks()
        };
        let (result, left) = tokio::join!(client.query("select"), shutdown);
        assert!(result.is_ok() || result.unwrap_err().kind() != ErrorKind::Config);
        assert_eq!(left, 0);
        // Later calls start nothing, and do not panic.
        let _ = timeout(SECOND * 5, client.query("select")).await;
        assert_eq!(tasks(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_come_and_go_leave_nothing_behind() {
        let world = World::new();
        for _ in 0..200 {
            let pairs = &[("monitor_disposal_time_ms", "5000")];
            let client = client(&world, FAST, pairs).await;
            client.query("select").await.unwrap();
        }
        assert!(world.services.status().host_monitors.iter().all(|status| status.connections == 0));
        let keep = client(&world, FAST, &[]).await;
        assert_eq!(monitor(&world, "i-1").connections, 1);
        drop(keep);
        sleep(SECOND * 20).await;
        assert_eq!(world.services.status().running_tasks, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn one_of_two_thousand_connections_hangs_and_the_others_are_told() {
        let world = World::new();
        let clients = all((0..2_000).map(|_| client(&world, FAST, &[EAGER]))).await;
        until("the monitor is connected", || monitor(&world, "i-1").is_connected).await;
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let call = clients[1_000].query("select");
        let (result, elapsed) = timed(meanwhile(call, Duration::ZERO, silence(&world))).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_between(elapsed, 1_500, 1_550);
        let suspects = clients.iter().filter(|it| it.current().slot().fitness() == Fitness::Suspect);
        assert_eq!(suspects.count(), 1_999);
    }

    /// A runtime that has ended took the tasks along that it ran; the next one has its own.
    #[test]
    fn a_second_runtime_is_watched_like_the_first() {
        let world = World::new();
        let pairs: &[_] = &[
            ("failure_detection_time_ms", "100"),
            ("failure_detection_interval_ms", "50"),
            ("failure_detection_count", "2"),
        ];
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let (one, two) = first.block_on(async {
            let one = client(&world, pairs, &[]).await;
            let two = client(&world, pairs, &[]).await;
            world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(MS * 300));
            one.query("select").await.unwrap();
            (one, two)
        });
        drop(first);
        let second = runtime();
        second.block_on(async {
            for client in [one, two] {
                world.cluster.set_reach("i-1", Reach::Up);
                world.driver.plan(On::Call, "i-1", 1, LONG);
                let call = meanwhile(client.query("select"), Duration::ZERO, silence(&world));
                let result = timeout(SECOND * 10, call).await.expect("somebody watches");
                assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
            }
        });
    }

    #[test]
    fn a_runtime_that_ends_before_its_clock_has_ticked_leaves_no_clock_that_stands() {
        let world = World::new();
        let pairs: &[_] = &[
            ("failure_detection_time_ms", "100"),
            ("failure_detection_interval_ms", "50"),
            ("failure_detection_count", "2"),
        ];
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let (one, other) = first.block_on(async {
            let (one, other) = (client(&world, pairs, &[]).await, client(&world, pairs, &[]).await);
            // The call starts the clock, whose task is never polled.
            world.driver.plan(On::Call, "i-1", 1, LONG);
            assert!(common::drop_after(1, one.query("select")).await.is_none());
            (one, other)
        });
        drop((first, one));
        world.driver.clear();
        runtime().block_on(async {
            world.driver.plan(On::Call, "i-1", 1, LONG);
            let call = meanwhile(other.query("select"), Duration::ZERO, silence(&world));
            let result = timeout(SECOND * 10, call).await.expect("somebody watches");
            assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        });
    }

    #[test]
    fn a_dead_host_whose_monitor_ended_with_its_runtime_is_found_alive_again() {
        let world = World::new();
        let pairs: &[_] = &[
            ("failure_detection_time_ms", "100"),
            ("failure_detection_interval_ms", "50"),
            ("failure_detection_count", "2"),
        ];
        let runtime = || Builder::new_current_thread().enable_all().build().unwrap();
        let first = runtime();
        let (one, two) = first.block_on(async {
            let hangs = client(&world, pairs, &[]).await;
            let (one, two) = (client(&world, pairs, &[]).await, client(&world, pairs, &[]).await);
            world.driver.plan(On::Call, "i-1", 1, LONG);
            let call = meanwhile(hangs.query("select"), Duration::ZERO, silence(&world));
            timeout(SECOND * 10, call).await.unwrap().unwrap_err();
            (one, two)
        });
        drop(first);
        // The silence may have come before the long call.
        world.driver.clear();
        world.cluster.set_reach("i-1", Reach::Up);
        runtime().block_on(async {
            // It may be refused: nobody knows better yet.
            let _ = one.query("select").await;
            let is_up = until("the host is up", || monitor(&world, "i-1").verdict == Verdict::Up);
            timeout(SECOND * 10, is_up).await.expect("somebody asks");
            two.query("select").await.unwrap();
        });
    }
}

mod long_lives {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_rested_for_weeks_is_watched_like_a_new_one() {
        for days in [1, 12, 13, 20, 24, 26, 40] {
            let world = World::new();
            let client = client(&world, FAST, &[]).await;
            client.query("select").await.unwrap();
            sleep(DAY * days).await;
            world.driver.plan(On::Call, "i-1", 1, LONG);
            let call = timeout(SECOND * 60, client.query("select"));
            let (result, elapsed) = timed(meanwhile(call, Duration::ZERO, silence(&world))).await;
            assert!(result.is_ok(), "after {days} days nobody watches");
            assert!(elapsed >= MS * 1_500 && elapsed <= MS * 2_600, "after {days} days: {elapsed:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_rests_for_weeks_is_no_sign_of_life_for_others() {
        for days in [12, 13, 20, 24] {
            let world = World::new();
            let resting = client(&world, FAST, &[]).await;
            resting.query("select").await.unwrap();
            sleep(DAY * days).await;
            let client = client(&world, FAST, &[]).await;
            client.query("select").await.unwrap();
            world.driver.plan(On::Call, "i-1", 1, LONG);
            let call = timeout(SECOND * 60, client.query("select"));
            let result = meanwhile(call, Duration::ZERO, silence(&world)).await;
            assert!(result.is_ok(), "after {days} days nobody watches");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_met_after_weeks_is_watched_too() {
        for days in [13, 20] {
            let world = World::new();
            let _old = client(&world, FAST, &[]).await;
            sleep(DAY * days).await;
            let pairs = [&[("plugins", "efm")], FAST].concat();
            let client = world.client("i-2", &pairs).await;
            world.driver.plan(On::Call, "i-2", 1, LONG);
            let call = timeout(SECOND * 60, client.query("select"));
            let silence = || world.cluster.set_reach("i-2", Reach::Silent);
            let result = meanwhile(call, Duration::ZERO, silence).await;
            assert!(result.is_ok(), "after {days} days nobody watches");
        }
    }
}

mod with_failover {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn inside_a_transaction_its_outcome_is_unknown() {
        let world = World::new();
        let client = world.settled(FAST).await;
        client.begin().await.unwrap();
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let fail = || {
            world.cluster.set_reach("i-1", Reach::Silent);
            world.cluster.promote("i-2");
        };
        let (result, elapsed) = timed(meanwhile(client.query("insert"), MS, fail)).await;
        let kind = result.unwrap_err().kind();
        assert_eq!(kind, ErrorKind::Failover(FailoverOutcome::TransactionUnknown));
        assert!(elapsed < SECOND * 3, "{elapsed:?}");
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_comes_from_a_monitor_is_watched_and_tracked() {
        let world = World::new();
        let client = world.settled(FAST).await;
        for (dead, next) in [("i-1", "i-2"), ("i-2", "i-3")] {
            world.driver.plan(On::Call, dead, 1, LONG);
            let fail = || {
                world.cluster.set_reach(dead, Reach::Silent);
                world.cluster.promote(next);
            };
            let call = timeout(SECOND * 10, client.query("select"));
            let (result, elapsed) = timed(meanwhile(call, MS, fail)).await;
            let error = result.unwrap_or_else(|_| panic!("{dead} is not watched")).unwrap_err();
            assert!(error.is_failover_success(), "{error:?}");
            assert!(elapsed < SECOND * 4, "{dead}: {elapsed:?}");
            assert_eq!(client.query("insert").await.unwrap(), next);
            assert_eq!(monitor(&world, next).connections, 1);
            world.cluster.set_reach(dead, Reach::Up);
        }
        world.cluster.promote("i-1");
        until("it is demoted", || client.current().slot().has_ended()).await;
        assert_eq!(client.current().slot().fitness(), Fitness::Unfit(Unfit::Demoted));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_call_on_a_connection_that_was_replaced_is_watched_on() {
        let world = World::new();
        let client = world.settled(FAST).await;
        world.driver.plan(On::Call, "i-1", 1, LONG);
        let others = async {
            sleep(MS).await;
            world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Network));
            let error = client.query("select").await.unwrap_err();
            assert!(error.is_failover_success());
            assert_eq!(client.query("select").await.unwrap(), "i-1");
            world.cluster.set_reach("i-1", Reach::Silent);
            world.cluster.promote("i-2");
        };
        let calls = async { tokio::join!(client.query("select"), others).0 };
        let result = timeout(SECOND * 20, calls).await.expect("it is aborted");
        assert!(result.is_err());
        assert!(client.query("select").await.is_ok() || client.query("select").await.is_ok());
        assert_eq!(client.current().name(), "i-2");
    }
}

mod tracker {
    use super::*;

    const PLUGINS: &[(&str, &str)] = &[("plugins", "initial_connection,tracker,failover")];

    async fn switch_to(world: &World, name: &str) {
        world.cluster.promote(name);
        let host = world.key(name);
        until("the change is known", || {
            world.services.status().clusters.iter().any(|it| it.writer.as_ref() == Some(&host))
        })
        .await;
        sleep(MS * 10).await;
    }

    fn fitness(client: &FakeClient) -> Fitness {
        client.current().slot().fitness()
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_moves_there_and_back() {
        let world = World::new();
        let connector = world.connector(common::WRITER, PLUGINS);
        let before = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        let on_b = world.client("i-2", PLUGINS).await;
        switch_to(&world, "i-2").await;
        assert!(before.current().slot().has_ended());
        assert_eq!(fitness(&on_b), Fitness::Fit);
        let pairs = [("plugins", "tracker")];
        let between = world.client("i-1", &pairs).await;
        assert_eq!(fitness(&between), Fitness::Fit, "it was opened to a reader");
        switch_to(&world, "i-1").await;
        assert_eq!(fitness(&between), Fitness::Fit, "the new writer's is left alone");
        assert_eq!(fitness(&on_b), Fitness::Unfit(Unfit::Demoted));
        assert!(on_b.current().slot().has_ended());
        switch_to(&world, "i-3").await;
        assert_eq!(fitness(&between), Fitness::Unfit(Unfit::Demoted), "it was the writer's meanwhile");
        assert!(between.current().slot().has_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn a_transaction_that_lasts_from_writer_to_writer_ends_in_peace() {
        let world = World::new();
        let client = world.settled(PLUGINS).await;
        client.begin().await.unwrap();
        switch_to(&world, "i-2").await;
        switch_to(&world, "i-1").await;
        assert_eq!(client.query("select").await.unwrap(), "i-1");
        assert_eq!(client.commit().await.unwrap(), "i-1");
        // It was a reader's meanwhile: whatever it believes may be outdated.
        assert_eq!(fitness(&client), Fitness::Unfit(Unfit::Demoted));
    }

    #[tokio::test(start_paused = true)]
    async fn two_clusters_with_equal_names_of_instances_do_not_touch_each_other() {
        let one = World::new();
        let cluster = FakeCluster::with_domain(common::THREE, "abc.eu-west-1.rds.amazonaws.com");
        for name in common::THREE {
            cluster.set_delays(name, MS, Duration::ZERO);
        }
        cluster.alias("my.cluster-abc.eu-west-1.rds.amazonaws.com", "i-1");
        let driver = FakeDriver::new(&cluster);
        let other = World { cluster, driver, services: one.services.clone() };
        let timings = [&[("plugins", "initial_connection,tracker,efm")], FAST].concat();
        let here = one.client(common::WRITER, &timings).await;
        let there = other.client("my.cluster-abc.eu-west-1.rds.amazonaws.com", &timings).await;
        sleep(SECOND * 2).await;
        switch_to(&one, "i-2").await;
        assert!(here.current().slot().has_ended());
        assert_eq!(fitness(&there), Fitness::Fit);
        assert_eq!(there.query("insert").await.unwrap(), "i-1");
        // Nor does a death.
        let alone = client(&one, FAST, &[]).await;
        one.driver.plan(On::Call, "i-1", 1, LONG);
        meanwhile(alone.query("select"), Duration::ZERO, silence(&one)).await.unwrap_err();
        assert_eq!(fitness(&there), Fitness::Fit);
        assert_eq!(there.query("insert").await.unwrap(), "i-1");
        assert_eq!(monitor(&other, "i-1").downs, 0);
    }
}

#[test]
fn nonsense_is_refused_by_name() {
    for name in [
        "failure_detection_time_ms",
        "failure_detection_interval_ms",
        "failure_detection_count",
        "monitoring_connect_timeout_ms",
    ] {
        for value in ["0", "-1", "", "x", "1.5", "99999999999999999999"] {
            let error = settings(&[(name, value)]).map(drop).expect_err(&format!("{name}={value}"));
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
    assert!(settings(&[("failure_detection_interval_ms", "49")]).is_err());
    assert!(settings(&[("failure_detection_interval_ms", "50")]).is_ok());
    assert!(settings(&[("monitor_runtime", "somewhere")]).is_err());
    for (alias, value) in [
        ("failureDetectionTime", "1000"),
        ("failureDetectionInterval", "1000"),
        ("failureDetectionCount", "2"),
    ] {
        assert!(settings(&[(alias, value)]).is_ok(), "{alias}");
    }
    for probe in ["0", "99", "1001"] {
        let pairs =
            [("failure_detection_interval_ms", "1000"), ("failure_detection_probe_timeout_ms", probe)];
        assert!(settings(&pairs).is_err(), "a probe of {probe} ms in an interval of a second");
    }
}
