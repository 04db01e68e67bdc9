//! Host monitoring on a cluster by script, with a paused clock: when a silent host is found dead, and when not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use aws_wrapper_core::Error;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_core::events::Event;
use aws_wrapper_core::health::{HostMonitorStatus, Verdict};
use aws_wrapper_core::registry::{Fitness, Slot, Unfit};
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use common::{MS, SECOND, World, all, meanwhile, timed, until};
use tokio::time::{advance, sleep, timeout};

/// A call may take as long as a test wants.
const LONG: Outcome = Outcome::Slow(Duration::from_secs(3600));

/// The timings of one profile: grace, interval, count, and the limit of a probe that follows from them.
#[derive(Debug, Clone, Copy)]
struct Timings {
    grace: u32,
    interval: u32,
    count: u32,
    probe: u32,
}

const FAST: Timings = Timings { grace: 1_000, interval: 200, count: 3, probe: 100 };
const AGGRESSIVE: Timings = Timings { grace: 6_000, interval: 1_000, count: 1, probe: 500 };
const DEFAULT: Timings = Timings { grace: 30_000, interval: 5_000, count: 3, probe: 2_500 };

impl Timings {
    async fn client(self, world: &World, more: &[(&str, &str)]) -> FakeClient {
        let [grace, interval, count] = [self.grace, self.interval, self.count].map(|value| value.to_string());
        let mut pairs = vec![
            ("plugins", "efm"),
            ("failure_detection_time_ms", &*grace),
            ("failure_detection_interval_ms", &*interval),
            ("failure_detection_count", &*count),
        ];
        pairs.extend(more);
        world.client("i-1", &pairs).await
    }

    /// When a call is to end whose host falls silent `silent_after` its beginning, on exact clocks (specification 2.7).
    fn nominal(self, silent_after: u32) -> u32 {
        let late = silent_after.saturating_sub(self.grace);
        let first_probe = self.grace + late.div_ceil(self.interval) * self.interval;
        first_probe + (self.count - 1) * self.interval + self.probe
    }
}

fn monitor(world: &World) -> HostMonitorStatus {
    let mut monitors = world.services.status().host_monitors;
    assert_eq!(monitors.len(), 1, "{monitors:?}");
    monitors.remove(0)
}

fn monitoring_connects(world: &World) -> usize {
    world.driver.connects().iter().filter(|dialled| dialled.purpose.is_monitoring()).count()
}

async fn hang(world: &World, client: &FakeClient) -> Result<String, Error> {
    world.driver.plan(On::Call, "i-1", 1, LONG);
    client.query("select").await
}

#[tokio::test(start_paused = true)]
async fn a_silent_host_is_found_dead_in_time_whenever_it_falls_silent() {
    for timings in [FAST, AGGRESSIVE, DEFAULT] {
        let span = timings.grace + 3 * timings.interval;
        for silent_after in (0..=span).step_by(span as usize / 12) {
            let world = World::new();
            let client = timings.client(&world, &[("failure_detection_eager_connect", "on")]).await;
            until("the monitor is connected", || monitor(&world).is_connected).await;
            // Not at the same place between two ticks each time.
            sleep(MS * fastrand::u32(0..100)).await;
            let call = hang(&world, &client);
            let silence = || world.cluster.set_reach("i-1", Reach::Silent);
            let (result, elapsed) = timed(meanwhile(call, MS * silent_after, silence)).await;
            assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
            let nominal = MS * timings.nominal(silent_after);
            // The clocks of a call and of its host's probes meet up to a tick and its slack apart; a host that falls silent just
            // as it is asked is asked again.
            let edge = silent_after > timings.grace && (silent_after - timings.grace) % timings.interval < 45;
            let late = if edge { MS * timings.interval } else { Duration::ZERO };
            let is_on_time = elapsed >= nominal && elapsed <= nominal + late + MS * 50;
            assert!(
                is_on_time,
                "{timings:?}, silent after {silent_after}: {elapsed:?} instead of {nominal:?}"
            );
            let status = monitor(&world);
            assert_eq!((status.verdict, status.aborted, status.downs), (Verdict::Down, 1, 1));
            assert!(status.probes_unreachable >= u64::from(timings.count), "{status:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn thousands_of_calls_are_ended_by_one_monitor() {
    let world = World::new();
    let clients = all((0..1_000).map(|_| FAST.client(&world, &[]))).await;
    world.driver.plan(On::Call, "i-1", 1_000, LONG);
    let calls = all(clients.iter().map(|client| client.query("select")));
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    let (results, elapsed) = timed(meanwhile(calls, MS * 100, silence)).await;
    for result in results {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
    }
    // Nobody has opened the monitor's connection before, so the first probe may take as long as a connect.
    assert!(elapsed <= MS * (FAST.nominal(0) + 50) + SECOND, "{elapsed:?}");
    assert_eq!(monitor(&world).aborted, 1_000);
}

/// Notes how each connection fares whenever a call is woken.
struct Onlooker {
    slots: Vec<Arc<Slot>>,
    seen: Mutex<Vec<Fitness>>,
    call: Waker,
}

impl Wake for Onlooker {
    fn wake(self: Arc<Self>) {
        *self.seen.lock().unwrap() = self.slots.iter().map(|slot| slot.fitness()).collect();
        self.call.wake_by_ref();
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_ended_finds_all_connections_beside_it_suspect() {
    let world = World::new();
    let clients = all((0..8).map(|_| FAST.client(&world, &[]))).await;
    let (caller, beside) = clients.split_first().unwrap();
    let slots = beside.iter().map(|client| Arc::clone(client.current().slot())).collect();
    let call = poll_fn(|context| Poll::Ready(context.waker().clone())).await;
    let onlooker = Arc::new(Onlooker { slots, seen: Mutex::default(), call });
    let waker = Arc::clone(&onlooker).into();
    let mut call = pin!(hang(&world, caller));
    let call = poll_fn(|_| call.as_mut().poll(&mut Context::from_waker(&waker)));
    let result = meanwhile(call, MS * 100, || world.cluster.set_reach("i-1", Reach::Silent)).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
    assert_eq!(*onlooker.seen.lock().unwrap(), [Fitness::Suspect; 7]);
}

#[tokio::test(start_paused = true)]
async fn short_calls_cost_no_probe_and_idle_clients_no_task() {
    let world = World::new();
    let client = FAST.client(&world, &[]).await;
    world.cluster.set_delays("i-1", MS, MS * 30);
    for _ in 0..500 {
        client.query("select").await.unwrap();
    }
    let status = monitor(&world);
    assert_eq!((status.verdict, status.is_running, status.probes_alive), (Verdict::Unknown, false, 0));
    assert_eq!(monitoring_connects(&world), 0);
    sleep(SECOND * 5).await;
    assert_eq!(world.services.status().running_tasks, 0, "{:?}", world.services.status().tasks);
    // And the clock is right when the next call starts it.
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    let (_, elapsed) = timed(meanwhile(hang(&world, &client), Duration::ZERO, silence)).await;
    assert!(elapsed >= MS * FAST.nominal(0), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_call_on_a_host_that_answers_is_left_alone() {
    let world = World::new();
    let client = FAST.client(&world, &[]).await;
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 20));
    client.query("select").await.unwrap();
    let status = monitor(&world);
    assert_eq!((status.verdict, status.probes_unreachable), (Verdict::Up, 0));
    assert!((90..=100).contains(&status.probes_alive), "{status:?}");
    assert_eq!(monitoring_connects(&world), 1);
    // The connection is kept for a while, then nothing is left.
    assert!(status.is_connected);
    sleep(SECOND * 70).await;
    assert_eq!(world.services.status().running_tasks, 0);
    assert_eq!(world.cluster.open("i-1"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silence_that_ends_in_time_costs_nobody_anything() {
    let world = World::new();
    let client = FAST.client(&world, &[("failure_detection_eager_connect", "on")]).await;
    let mut events = world.listen();
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 10));
    let call = async {
        sleep(MS * 1_050).await;
        world.cluster.set_reach("i-1", Reach::Silent);
        sleep(MS * 400).await;
        world.cluster.set_reach("i-1", Reach::Up);
    };
    let (result, ()) = tokio::join!(client.query("select"), call);
    result.unwrap();
    let status = monitor(&world);
    assert_eq!((status.verdict, status.downs), (Verdict::Up, 0));
    assert!((1..=2).contains(&status.probes_unreachable), "{status:?}");
    assert!(!events.all().iter().any(|event| matches!(event, Event::HostUnhealthy { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_the_monitor_is_alive() {
    for (class, code) in [(DriverClass::Login, "28P01"), (DriverClass::Other, "53300")] {
        let world = World::new();
        let client = FAST.client(&world, &[]).await;
        world.driver.plan(On::Monitor, "i-1", u32::MAX, Outcome::FailsWith(class, code));
        world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 20));
        client.query("select").await.unwrap();
        let status = monitor(&world);
        assert_eq!((status.verdict, status.probes_unreachable), (Verdict::Up, 0), "{code}");
        assert!(status.last_error.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_sleeps_finds_nobody_dead() {
    let world = World::new();
    let client = FAST.client(&world, &[("failure_detection_eager_connect", "on")]).await;
    world.cluster.set_delays("i-1", MS, MS * 40);
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 60));
    let sleeping = async {
        sleep(MS * 1_010).await;
        for _ in 0..8 {
            advance(SECOND * 5).await;
            sleep(MS).await;
        }
    };
    let (result, ()) = tokio::join!(client.query("select"), sleeping);
    result.unwrap();
    assert_eq!(monitor(&world).downs, 0);
}

#[tokio::test(start_paused = true)]
async fn answers_on_other_connections_count_as_probes() {
    let world = World::new();
    let (slow, quick) = (FAST.client(&world, &[]).await, FAST.client(&world, &[]).await);
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 10));
    let calls = async {
        sleep(MS).await;
        for _ in 0..190 {
            quick.query("select").await.unwrap();
            sleep(MS * 50).await;
        }
    };
    let (result, ()) = tokio::join!(slow.query("select"), calls);
    result.unwrap();
    let status = monitor(&world);
    assert!(status.probes_passive >= 40, "{status:?}");
    assert_eq!(status.probes_unreachable, 0);
}

#[tokio::test(start_paused = true)]
async fn calls_on_a_dead_host_fail_at_once_unless_it_was_asked_otherwise() {
    for is_fast in [true, false] {
        let world = World::new();
        let fail_fast = [("failure_detection_fail_fast", if is_fast { "on" } else { "off" })];
        let (first, second) = (FAST.client(&world, &fail_fast).await, FAST.client(&world, &fail_fast).await);
        let silence = || world.cluster.set_reach("i-1", Reach::Silent);
        meanwhile(hang(&world, &first), Duration::ZERO, silence).await.unwrap_err();
        assert_eq!(second.current().slot().fitness(), Fitness::Suspect);
        let (result, elapsed) = timed(second.query("select")).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::HostUnavailable);
        let waits = elapsed >= MS * FAST.grace;
        assert_eq!(waits, !is_fast, "{elapsed:?}");
        assert!(elapsed <= MS * (FAST.grace + FAST.interval + FAST.probe + 50), "{elapsed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_comes_back_serves_again_and_old_connections_have_to_prove_themselves() {
    let world = World::new();
    let (first, second) = (FAST.client(&world, &[]).await, FAST.client(&world, &[]).await);
    let mut events = world.listen();
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    meanwhile(hang(&world, &first), Duration::ZERO, silence).await.unwrap_err();
    assert_eq!(first.current().slot().fitness(), Fitness::Unfit(Unfit::Aborted));
    world.cluster.set_reach("i-1", Reach::Up);
    until("the host is up", || monitor(&world).verdict == Verdict::Up).await;
    assert_eq!(second.current().slot().fitness(), Fitness::Suspect);
    second.query("select").await.unwrap();
    assert_eq!(second.current().slot().fitness(), Fitness::Fit);
    let events = events.all();
    let host = world.key("i-1");
    let has = |wanted: fn(&Event) -> bool| events.iter().any(wanted);
    assert!(has(|event| matches!(event, Event::HostUnhealthy { silent_for, .. } if *silent_for >= SECOND)));
    assert!(has(|event| matches!(event, Event::ConnectionsAborted { count: 1, .. })));
    assert!(events.iter().any(|event| matches!(event, Event::HostDown { host: down } if *down == host)));
    assert!(events.iter().any(|event| matches!(event, Event::HostUp { host: up } if *up == host)));
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_is_a_sign_of_life() {
    let world = World::new();
    let first = FAST.client(&world, &[]).await;
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    meanwhile(hang(&world, &first), Duration::ZERO, silence).await.unwrap_err();
    world.cluster.set_reach("i-1", Reach::Up);
    let second = FAST.client(&world, &[]).await;
    second.query("select").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_single_broken_connection_of_the_monitor_is_no_dead_host() {
    let world = World::new();
    let client = FAST.client(&world, &[("failure_detection_eager_connect", "on")]).await;
    until("the monitor is connected", || monitor(&world).is_connected).await;
    // Every question on an open connection is lost; new connections are welcome.
    world.driver.plan(On::Question, "i-1", u32::MAX, Outcome::Never);
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND * 5));
    timeout(SECOND * 6, client.query("select")).await.unwrap().unwrap();
    assert_eq!(monitor(&world).downs, 0, "{:?}", monitor(&world));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_started_again_has_forgotten_old_connections() {
    for is_checked in [true, false] {
        let world = World::new();
        let check = if is_checked { "on" } else { "off" };
        let pairs =
            [("failure_detection_eager_connect", "on"), ("failure_detection_check_incarnation", check)];
        let (client, idle) = (FAST.client(&world, &pairs).await, FAST.client(&world, &pairs).await);
        until("the monitor is connected", || monitor(&world).is_connected).await;
        sleep(SECOND).await;
        let restart = || world.cluster.restart_unnoticed("i-1");
        let call = timeout(SECOND * 30, meanwhile(hang(&world, &client), MS * 100, restart));
        let (result, elapsed) = timed(call).await;
        // The host is alive: nobody else would have noticed.
        assert_eq!(result.is_ok(), is_checked, "{result:?}");
        assert_eq!(monitor(&world).downs, 0);
        if is_checked {
            assert_eq!(result.unwrap().unwrap_err().kind(), ErrorKind::HostUnavailable);
            assert!(elapsed < SECOND * 3, "{elapsed:?}");
            assert_eq!(idle.current().slot().fitness(), Fitness::Suspect);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_without_connections_is_not_probed_for_ever() {
    let world = World::new();
    let client = FAST.client(&world, &[("monitor_disposal_time_ms", "5000")]).await;
    let silence = || world.cluster.set_reach("i-1", Reach::Silent);
    meanwhile(hang(&world, &client), Duration::ZERO, silence).await.unwrap_err();
    drop(client);
    sleep(SECOND * 10).await;
    assert_eq!(world.services.status().running_tasks, 0, "{:?}", world.services.status());
}

#[tokio::test(start_paused = true)]
async fn switched_off_it_does_nothing() {
    let world = World::new();
    let client = FAST.client(&world, &[("failure_detection_enabled", "off")]).await;
    world.driver.plan(On::Call, "i-1", 1, LONG);
    world.cluster.set_reach("i-1", Reach::Silent);
    assert!(timeout(SECOND * 60, client.query("select")).await.is_err());
    assert!(world.services.status().host_monitors.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_is_over() {
    let world = World::new();
    let client = FAST.client(&world, &[]).await;
    world.driver.plan(On::Call, "i-1", 1, LONG);
    assert!(timeout(MS * 500, client.query("select")).await.is_err());
    sleep(SECOND * 10).await;
    let status = monitor(&world);
    assert_eq!((status.probes_alive, status.is_running), (0, false));
    assert_eq!(client.current().slot().fitness(), Fitness::Unfit(Unfit::CallDropped));
}

#[tokio::test(start_paused = true)]
async fn with_failover_a_call_on_a_silent_writer_ends_on_the_next_one() {
    let world = World::new();
    let pairs = [
        ("failure_detection_time_ms", "1000"),
        ("failure_detection_interval_ms", "200"),
        ("failure_detection_count", "3"),
    ];
    let client = world.settled(&pairs).await;
    world.driver.plan(On::Call, "i-1", 1, LONG);
    let fail = || {
        world.cluster.set_reach("i-1", Reach::Silent);
        world.cluster.promote("i-2");
    };
    let (result, elapsed) = timed(meanwhile(client.query("select"), Duration::ZERO, fail)).await;
    assert!(result.unwrap_err().is_failover_success());
    assert!(elapsed < SECOND * 3, "{elapsed:?}");
    assert_eq!(client.query("select").await.unwrap(), "i-2");
}
