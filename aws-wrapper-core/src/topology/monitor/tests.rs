use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::error::{DriverClass, Error, ErrorKind, Phase};
use crate::events::Event;
use crate::host::{Availability, HostKey, Role};
use crate::probe::{MonitorKind, Probe, Prober};
use crate::services::Services;
use crate::table::Table;
use crate::testing::cluster::{FakeCluster, Reach};
use crate::topology::cluster::{Cluster, ClusterSession, ClusterStatus, Mode, Verify};
use crate::topology::reading::read;
use crate::topology::{MonitoringPriority, SnapshotSource};

/// A cluster under watch and all that keeps it alive.
struct Watched {
    fake: FakeCluster,
    services: Services,
    cluster: Arc<Cluster>,
    _prober: Arc<dyn Prober>,
    session: ClusterSession,
}

const THREE: &[&str] = &["i-1", "i-2", "i-3"];
const MS: Duration = Duration::from_millis(1);

/// Chance is the same in every run of a seed; the seed of a failing run is in its output.
fn seed() -> u64 {
    let seed = fastrand::u64(..);
    eprintln!("seed {seed}");
    fastrand::seed(seed);
    seed
}

/// Known already: i-1 writes, the others read; connecting takes a millisecond, answers take no time.
async fn watched() -> Watched {
    watched_from(FakeCluster::new(THREE), "i-1").await
}

async fn watched_from(fake: FakeCluster, initial: &str) -> Watched {
    seed();
    for name in THREE {
        fake.set_delays(name, MS, Duration::ZERO);
    }
    let services = Services::new();
    let prober = fake.prober();
    let cluster = services.clusters().join(services.shared(), fake.seed("c", initial, &prober));
    let session = cluster.session();
    cluster.force_refresh(Verify::Writer, in_secs(10)).await.unwrap();
    // The proof is old enough that the next request is a new one.
    sleep(Duration::from_secs(1)).await;
    Watched { fake, services, cluster, _prober: prober, session }
}

fn in_secs(secs: u64) -> Instant {
    Instant::now() + Duration::from_secs(secs)
}

fn status(services: &Services) -> ClusterStatus {
    services.status().clusters.into_iter().next().unwrap()
}

/// Waits until `condition` holds; the clock is paused, so this costs no time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(MS).await;
        }
    };
    timeout(Duration::from_secs(3600), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

#[tokio::test(start_paused = true)]
async fn the_first_look_costs_one_connection_and_one_question() {
    let w = watched().await;
    let snapshot = w.cluster.snapshot();
    assert_eq!(snapshot.hosts.len(), 3);
    assert_eq!(snapshot.verified_writer(), Some(&w.fake.key("i-1")));
    assert!(snapshot.writer_verified);
    assert_eq!((w.fake.connects("i-1").len(), w.fake.probes("i-1").len()), (1, 1));
    assert_eq!(w.fake.connects("i-2").len() + w.fake.connects("i-3").len(), 0);
    assert_eq!(status(&w.services).mode, Mode::Regular);
}

#[tokio::test(start_paused = true)]
async fn a_reader_endpoint_leads_to_the_writer_without_panic() {
    let fake = FakeCluster::new(THREE);
    fake.alias("ro", "i-3");
    let w = watched_from(fake, "ro").await;
    assert_eq!(w.cluster.snapshot().verified_writer(), Some(&w.fake.key("i-1")));
    assert_eq!(w.fake.connects("i-2").len(), 0);
    assert_eq!(status(&w.services).panics, 0);
    until("the reader's connection is closed", || w.fake.open("i-3") == 0).await;
}

#[tokio::test(start_paused = true)]
async fn an_alias_that_points_at_a_demoted_writer_is_not_believed() {
    let fake = FakeCluster::new(THREE);
    fake.alias("cluster", "i-1");
    fake.promote("i-2");
    let w = watched_from(fake, "cluster").await;
    assert_eq!(w.cluster.snapshot().verified_writer(), Some(&w.fake.key("i-2")));
}

#[tokio::test(start_paused = true)]
async fn a_live_writer_is_proved_anew_by_one_connection_and_one_question() {
    let w = watched().await;
    let (connects, probes) = (w.fake.connects("i-1").len(), w.fake.probes("i-1").len());
    let asked_at = Instant::now();
    let snapshot = w.cluster.force_refresh(Verify::Writer, in_secs(10)).await.unwrap();
    assert!(snapshot.last_verification.as_ref().unwrap().verified_at >= asked_at);
    assert_eq!((w.fake.connects("i-1").len() - connects, w.fake.probes("i-1").len() - probes), (1, 1));
    assert!(asked_at.elapsed() <= 5 * MS, "{:?}", asked_at.elapsed());
    assert_eq!(status(&w.services).panics, 0);
    until("the older connection is closed", || w.fake.open("i-1") == 1).await;
}

/// Loses the writer, promotes i-3 later, and measures from the promotion to the answer.
async fn outage(w: &Watched, promote_after: Duration) -> Duration {
    w.fake.set_reach("i-1", Reach::Refuses);
    let cluster = Arc::clone(&w.cluster);
    let waiting = async move {
        let snapshot = cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap();
        (snapshot, Instant::now())
    };
    let promotion = async {
        sleep(promote_after).await;
        w.fake.promote("i-3");
        Instant::now()
    };
    let ((snapshot, found_at), promoted_at) = tokio::join!(waiting, promotion);
    assert_eq!(snapshot.verified_writer(), Some(&w.fake.key("i-3")));
    found_at - promoted_at
}

#[tokio::test(start_paused = true)]
async fn a_new_writer_releases_those_who_wait_within_one_period_and_a_round_trip() {
    for promote_after in [0, 7, 300, 2_000, 4_900] {
        let w = watched().await;
        let took = outage(&w, Duration::from_millis(promote_after)).await;
        // 10 ms, stretched by a fifth, and the ticks of the timer.
        assert!(took <= Duration::from_millis(12 + 2), "{promote_after}: {took:?}");
        for name in THREE {
            assert!(w.fake.most_open(name) <= 1, "{name}: {}", w.fake.most_open(name));
        }
        assert_eq!(status(&w.services).panics, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_network_stretches_the_period_to_twenty_round_trips() {
    let w = watched().await;
    for name in THREE {
        w.fake.set_delays(name, MS, 4 * MS);
    }
    let took = outage(&w, Duration::from_secs(3)).await;
    assert!(took <= Duration::from_millis(80 * 12 / 10 + 4 + 4), "{took:?}");
    let probes = w.fake.probes("i-2").len();
    assert!((30..=55).contains(&probes), "3 s at 80 ms: {probes}");
}

/// A new session of PostgreSQL fills its caches with the first question.
#[tokio::test(start_paused = true)]
async fn a_slow_first_answer_of_a_session_does_not_stretch_the_period() {
    let w = watched().await;
    for name in THREE {
        w.fake.set_warm_up(name, 40 * MS);
    }
    let took = outage(&w, Duration::from_millis(300)).await;
    assert!(took <= Duration::from_millis(12 + 2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_writer_does_not_delay_the_search_for_long() {
    let w = watched().await;
    w.fake.set_reach("i-1", Reach::Silent);
    w.fake.promote("i-2");
    let asked_at = Instant::now();
    let snapshot = w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap();
    assert_eq!(snapshot.verified_writer(), Some(&w.fake.key("i-2")));
    assert!(asked_at.elapsed() <= Duration::from_millis(1_010), "{:?}", asked_at.elapsed());

    w.fake.set_reach("i-2", Reach::Silent);
    w.fake.promote("i-3");
    w.cluster.report_down(&w.fake.key("i-2"));
    sleep(Duration::from_millis(500)).await;
    let asked_at = Instant::now();
    w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap();
    assert!(asked_at.elapsed() <= Duration::from_millis(210), "{:?}", asked_at.elapsed());
}

/// Proves the writer and says how long that took.
async fn prove(w: &Watched) -> (HostKey, Duration) {
    let asked_at = Instant::now();
    let snapshot = w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap();
    let proof = snapshot.last_verification.clone().unwrap();
    assert!(proof.verified_at >= asked_at, "a proof begun before the request");
    (proof.writer, asked_at.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_new_writer_that_only_one_reader_knows_is_found() {
    let w = watched().await;
    w.fake.set_outdated_view("i-2", "i-1");
    w.fake.add("i-4");
    w.fake.set_reach("i-1", Reach::Refuses);
    w.fake.promote("i-4");
    let (writer, took) = prove(&w).await;
    assert_eq!(writer, w.fake.key("i-4"));
    assert!(took <= 20 * MS, "{took:?}");
    assert_eq!(w.cluster.snapshot().hosts.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_topology_that_is_five_seconds_behind_is_outwaited() {
    let w = watched().await;
    for name in THREE {
        w.fake.set_outdated_view(name, "i-1");
    }
    w.fake.set_reach("i-1", Reach::Refuses);
    w.fake.promote("i-3");
    let update = async {
        sleep(Duration::from_secs(5)).await;
        w.fake.update_view("i-3");
        w.fake.update_view("i-2");
        Instant::now()
    };
    let ((writer, _), updated_at) = tokio::join!(prove(&w), update);
    assert_eq!(writer, w.fake.key("i-3"));
    assert!(updated_at.elapsed() <= 32 * MS, "{:?}", updated_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_old_writer_returns_as_a_reader() {
    let w = watched().await;
    let mut events = w.services.subscribe();
    outage(&w, Duration::from_secs(1)).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(
        w.cluster.snapshot().find(&w.fake.key("i-1")).unwrap().availability,
        Availability::NotAvailable
    );
    // It comes back with its old belief, which no role confirms.
    w.fake.set_outdated_view("i-1", "i-1");
    w.fake.set_reach("i-1", Reach::Up);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(prove(&w).await.0, w.fake.key("i-3"));
    let snapshot = w.cluster.snapshot();
    assert_eq!(snapshot.find(&w.fake.key("i-1")).unwrap().role, Role::Reader);
    assert_eq!(status(&w.services).panics, 1);
    let mut changes = 0;
    while let Ok(event) = events.try_recv() {
        changes += u32::from(matches!(event, Event::WriterChanged { from: Some(_), .. }));
    }
    assert_eq!(changes, 1);
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_without_any_host_cost_few_attempts_and_end_by_themselves() {
    let w = watched().await;
    for name in THREE {
        w.fake.set_reach(name, Reach::Refuses);
    }
    let error = w.cluster.force_refresh(Verify::Writer, in_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Topology));
    assert_eq!(error.driver_class(), Some(DriverClass::Network), "{error:#}");
    assert!(status(&w.services).last_error.unwrap().contains("connection refused"));
    sleep(Duration::from_secs(570)).await;
    for name in THREE {
        // 5 s at 8 ms, 10 s at 20 ms, 45 s at 80 ms, the rest at 80 ms growing to 0.8 s.
        let attempts = w.fake.connects(name).len();
        assert!(attempts <= 625 + 500 + 563 + 400 + 700, "{name}: {attempts}");
        assert!(attempts >= 1000, "{name}: {attempts}");
        let last_minute =
            w.fake.connects(name).iter().filter(|at| at.elapsed() < Duration::from_secs(60)).count();
        assert!((50..=75).contains(&last_minute), "{name}: {last_minute}");
    }
    assert_eq!(w.cluster.snapshot().hosts.len(), 3, "the hosts are not forgotten");
    for name in THREE {
        w.fake.set_reach(name, Reach::Up);
    }
    let back_at = Instant::now();
    until("the writer is proved", || {
        w.cluster.snapshot().last_verification.as_ref().unwrap().verified_at >= back_at
    })
    .await;
    assert!(back_at.elapsed() <= Duration::from_millis(1_250), "{:?}", back_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn five_hundred_who_ask_at_once_share_one_round() {
    let w = watched().await;
    let before = status(&w.services);
    let connects = w.fake.connects("i-1").len();
    let everybody = || join_all((0..500).map(|_| w.cluster.force_refresh(Verify::Writer, in_secs(10))));
    assert!(everybody().await.iter().all(Result::is_ok));
    assert_eq!(w.fake.connects("i-1").len() - connects, 1);
    let after = status(&w.services);
    assert_eq!(after.verify_requests - before.verify_requests, 500);
    assert_eq!(after.coalesced_requests - before.coalesced_requests, 499);

    sleep(Duration::from_secs(1)).await;
    w.fake.set_reach("i-1", Reach::Refuses);
    w.fake.promote("i-2");
    for found in everybody().await {
        assert_eq!(found.unwrap().verified_writer(), Some(&w.fake.key("i-2")));
    }
    let last = status(&w.services);
    assert_eq!((last.coalesced_requests - after.coalesced_requests, last.panics), (499, 1));
    assert!(THREE.iter().all(|name| w.fake.most_open(name) <= 2));
    assert!(w.fake.connects("i-3").len() <= 1);
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_comes_in_over_fifty_milliseconds_costs_no_connection_each() {
    let w = watched().await;
    let connects = w.fake.connects("i-1").len();
    let late = |after: u64| {
        let cluster = Arc::clone(&w.cluster);
        async move {
            sleep(Duration::from_millis(after)).await;
            let asked_at = Instant::now();
            let snapshot = cluster.force_refresh(Verify::Writer, in_secs(10)).await.unwrap();
            assert!(snapshot.last_verification.as_ref().unwrap().verified_at >= asked_at);
        }
    };
    join_all((0..500).map(|number| late(number / 10))).await;
    assert!(w.fake.connects("i-1").len() - connects <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_during_a_verification_gets_a_proof_begun_after_it() {
    let w = watched().await;
    w.fake.set_delays("i-1", MS, 100 * MS);
    let late = async {
        sleep(50 * MS).await;
        prove(&w).await
    };
    let (_, (writer, took)) = tokio::join!(prove(&w), late);
    assert_eq!(writer, w.fake.key("i-1"));
    assert!(took <= 160 * MS, "one extra round: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reading_under_way_does_not_answer_a_later_request() {
    let w = watched().await;
    w.fake.set_delays("i-1", MS, 200 * MS);
    let first = w.cluster.force_refresh(Verify::No, in_secs(10));
    let second = async {
        sleep(150 * MS).await;
        let asked_at = Instant::now();
        let snapshot = w.cluster.force_refresh(Verify::No, in_secs(10)).await.unwrap();
        assert!(snapshot.read_started_at >= asked_at);
    };
    let (first, ()) = tokio::join!(first, second);
    first.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_refused_for_twenty_seconds_fails_those_who_wait_and_then_recovers() {
    let w = watched().await;
    w.fake.set_login("app", false);
    w.fake.set_reach("i-1", Reach::Refuses);
    w.fake.promote("i-2");
    sleep(Duration::from_secs(10)).await;
    w.fake.set_reach("i-1", Reach::Up);
    let asked_at = Instant::now();
    let error = w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login, "{error:#}");
    assert!(asked_at.elapsed() <= Duration::from_secs(10), "{:?}", asked_at.elapsed());
    sleep(Duration::from_secs(10)).await;
    let attempts = w.fake.connects("i-3").len();
    w.fake.set_login("app", true);
    let back_at = Instant::now();
    until("recovery", || w.cluster.snapshot().verified_writer() == Some(&w.fake.key("i-2"))).await;
    assert!(back_at.elapsed() <= Duration::from_secs(10), "{:?}", back_at.elapsed());
    assert!(attempts <= 20, "{attempts}");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_user_makes_the_monitor_go_on_as_another_one() {
    let w = watched().await;
    let newer = w.fake.prober_as("newer");
    let same = w.services.clusters().join(w.services.shared(), w.fake.seed("c", "i-2", &newer));
    assert!(Arc::ptr_eq(&same, &w.cluster));
    w.fake.set_login("newer", false);
    assert_eq!(prove(&w).await.0, w.fake.key("i-1"), "the refused one is newer and was tried first");
    w.fake.set_login("newer", true);
    w.fake.set_login("app", false);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(prove(&w).await.0, w.fake.key("i-1"));
}

#[tokio::test(start_paused = true)]
async fn readers_that_agree_are_believed_after_fifteen_seconds_and_a_late_writer_is_found() {
    let w = watched().await;
    w.fake.set_reach("i-1", Reach::Refuses);
    let asked_at = Instant::now();
    let snapshot = w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap();
    assert_eq!(snapshot.source, SnapshotSource::StableReaders);
    let took = asked_at.elapsed();
    assert!((15_000..15_200).contains(&took.as_millis()), "{took:?}");
    until("only one reader is connected", || w.fake.open("i-2") + w.fake.open("i-3") == 1).await;
    assert_eq!(status(&w.services).mode, Mode::Regular);
    sleep(Duration::from_secs(60)).await;
    let asked_at = Instant::now();
    w.cluster.force_refresh(Verify::No, in_secs(5)).await.unwrap();
    w.fake.set_reach("i-1", Reach::Up);
    until("the writer's return", || {
        w.cluster.snapshot().last_verification.as_ref().unwrap().verified_at >= asked_at
    })
    .await;
    assert!(asked_at.elapsed() <= Duration::from_secs(1), "{:?}", asked_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_switchover_that_breaks_no_connection_is_noticed_by_the_next_reading() {
    let w = watched().await;
    w.fake.promote("i-2");
    let promoted_at = Instant::now();
    until("the switchover", || w.cluster.snapshot().verified_writer() == Some(&w.fake.key("i-2"))).await;
    assert!(promoted_at.elapsed() <= Duration::from_secs(36), "{:?}", promoted_at.elapsed());
    until("the monitor moves", || w.fake.open("i-1") == 0 && w.fake.open("i-2") == 1).await;
}

#[tokio::test(start_paused = true)]
async fn a_demoted_writer_is_not_believed_although_its_topology_still_names_it() {
    let w = watched().await;
    for name in THREE {
        w.fake.set_outdated_view(name, "i-1");
    }
    w.fake.promote("i-2");
    until("the topology is read", || status(&w.services).panics == 1).await;
    assert_eq!(
        w.cluster.snapshot().writer_host().unwrap().key,
        w.fake.key("i-1"),
        "nobody has proved better"
    );
    w.fake.update_view("i-2");
    let updated_at = Instant::now();
    until("the new writer is proved", || w.cluster.snapshot().verified_writer() == Some(&w.fake.key("i-2")))
        .await;
    assert!(updated_at.elapsed() <= 15 * MS, "{:?}", updated_at.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_lags_behind_does_not_unseat_a_proved_writer() {
    let fake = FakeCluster::new(THREE);
    let services = Services::new();
    let prober = fake.prober();
    let mut recipe = fake.seed("c", "i-2", &prober);
    recipe.settings.monitoring_priority = vec![MonitoringPriority::StrictReader];
    let cluster = services.clusters().join(services.shared(), recipe);
    let _session = cluster.session();
    until("it reads from a reader", || fake.open("i-1") == 0 && fake.open("i-2") + fake.open("i-3") == 1)
        .await;
    sleep(Duration::from_secs(60)).await;
    for name in ["i-2", "i-3"] {
        fake.set_outdated_view(name, "i-3");
    }
    let connects = fake.connects("i-1").len();
    for _ in 0..600 {
        sleep(Duration::from_secs(1)).await;
        assert_eq!(cluster.snapshot().writer_host().unwrap().key, fake.key("i-1"));
    }
    let rounds = fake.connects("i-1").len() - connects;
    assert!((5..=40).contains(&rounds), "asked now and then, not all the time: {rounds}");
    assert_eq!(services.status().clusters[0].panics, 0);
}

#[tokio::test(start_paused = true)]
async fn the_monitor_moves_to_a_reader_when_it_is_told_to() {
    let fake = FakeCluster::new(THREE);
    let services = Services::new();
    let prober = fake.prober();
    let mut recipe = fake.seed("c", "i-1", &prober);
    recipe.settings.monitoring_priority = vec![MonitoringPriority::StrictReader];
    let cluster = services.clusters().join(services.shared(), recipe);
    let session = cluster.session();
    let readers = || fake.open("i-2") + fake.open("i-3");
    until("it reads from a reader", || readers() == 1 && fake.open("i-1") == 0).await;
    let chosen = if fake.open("i-2") == 1 { "i-2" } else { "i-3" };
    fake.promote(chosen);
    until("the new writer is proved", || cluster.snapshot().verified_writer() == Some(&fake.key(chosen)))
        .await;
    until("it moved to another reader", || fake.open(chosen) == 0).await;
    let _ = (session.cluster(), services.status());
}

#[tokio::test(start_paused = true)]
async fn a_topology_of_another_cluster_is_refused() {
    let w = watched().await;
    let version = w.cluster.snapshot().version;
    for name in THREE {
        w.fake.set_view(name, &["x-1", "x-2"]);
    }
    for verify in [Verify::No, Verify::Writer] {
        let asked_at = Instant::now();
        let error = w.cluster.force_refresh(verify, in_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
        assert!(format!("{error:#}").contains("cluster mix-up"), "{error:#}");
        assert!(asked_at.elapsed() <= Duration::from_secs(12), "{:?}", asked_at.elapsed());
    }
    let snapshot = w.cluster.snapshot();
    assert_eq!((snapshot.version, snapshot.hosts.len()), (version, 3));
}

#[tokio::test(start_paused = true)]
async fn two_clusters_never_mix() {
    let one = watched().await;
    let other = FakeCluster::with_domain(THREE, "other.example");
    let prober = other.prober();
    let shared = one.services.shared();
    let second = one.services.clusters().join(shared, other.seed("d", "i-2", &prober));
    let _session = second.session();
    second.force_refresh(Verify::Writer, in_secs(10)).await.unwrap();
    one.fake.set_reach("i-1", Reach::Refuses);
    one.fake.promote("i-2");
    assert_eq!(prove(&one).await.0, one.fake.key("i-2"));
    assert_eq!(second.snapshot().verified_writer(), Some(&other.key("i-1")));
    assert!(
        one.services
            .clusters()
            .find_member(&other.pattern(), "i-3")
            .is_some_and(|found| Arc::ptr_eq(&found, &second))
    );
    assert!(one.services.clusters().find_member(&other.pattern(), "i-9").is_none());
}

#[tokio::test(start_paused = true)]
async fn servers_without_a_topology_are_asked_again_before_they_are_given_up() {
    let w = watched().await;
    let connects = w.fake.connects("i-1").len();
    w.fake.set_view("i-1", &[]);
    let waiting = w.cluster.force_refresh(Verify::No, in_secs(10));
    let update = async {
        sleep(50 * MS).await;
        w.fake.update_view("i-1");
    };
    let (answer, ()) = tokio::join!(waiting, update);
    answer.unwrap();
    assert_eq!(w.fake.connects("i-1").len(), connects, "on the same connection");
}

#[tokio::test(start_paused = true)]
async fn nobody_left_stops_the_monitor_after_a_minute_and_the_next_use_starts_it() {
    let Watched { fake, services, cluster, _prober: prober, session } = watched().await;
    drop(session);
    sleep(Duration::from_secs(59)).await;
    assert_eq!(status(&services).mode, Mode::Regular);
    until("it stops", || status(&services).mode == Mode::Stopped).await;
    until("no connection is left", || THREE.iter().all(|name| fake.open(name) == 0)).await;
    assert_eq!(services.status().running_tasks, 0);
    fake.promote("i-2");
    let session = cluster.session();
    let w = Watched { fake, services, cluster, _prober: prober, session };
    assert_eq!(prove(&w).await.0, w.fake.key("i-2"));

    sleep(Duration::from_secs(14 * 60)).await;
    assert_ne!(status(&w.services).mode, Mode::Stopped);
    sleep(Duration::from_secs(70)).await;
    assert_eq!(status(&w.services).mode, Mode::Stopped, "sessions that never ask do not keep it busy");
    w.cluster.snapshot();
    assert_ne!(status(&w.services).mode, Mode::Stopped);
    let _ = w.session.cluster();
}

#[tokio::test(start_paused = true)]
async fn shutting_down_leaves_no_task_and_no_connection_and_tells_those_who_wait() {
    for silent in [false, true] {
        let w = watched().await;
        if silent {
            for name in THREE {
                w.fake.set_reach(name, Reach::Silent);
            }
        }
        let cluster = Arc::clone(&w.cluster);
        w.fake.set_delays("i-1", MS, Duration::from_secs(3));
        let waiting = async move { cluster.force_refresh(Verify::Writer, in_secs(60)).await };
        let stop = async {
            sleep(2_000 * MS).await;
            w.services.shutdown(Duration::from_secs(1)).await.unwrap();
            Instant::now()
        };
        let (answer, stopped_at) = tokio::join!(waiting, stop);
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::HostUnavailable);
        assert_eq!(stopped_at.elapsed(), Duration::ZERO);
        until("no connection is left", || THREE.iter().all(|name| w.fake.open(name) == 0)).await;
        assert_eq!(w.services.status().running_tasks, 0);
        let error = w.cluster.force_refresh(Verify::No, in_secs(60)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_services_ends_everything() {
    let Watched { fake, services, cluster, _prober, session } = watched().await;
    fake.set_reach("i-1", Reach::Refuses);
    let weak = Arc::downgrade(&cluster);
    drop((session, cluster));
    drop(services);
    until("nothing is left of the cluster", || weak.strong_count() == 0).await;
    until("no connection is left", || THREE.iter().all(|name| fake.open(name) == 0)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_may_be_dropped_at_every_await() {
    for polls in 0..12 {
        let w = watched().await;
        if polls % 2 == 1 {
            w.fake.set_reach("i-1", Reach::Refuses);
            w.fake.promote("i-2");
        }
        {
            let mut request = Box::pin(w.cluster.force_refresh(Verify::Writer, in_secs(60)));
            for _ in 0..polls {
                if futures_util::poll!(&mut request).is_ready() {
                    break;
                }
                sleep(MS).await;
            }
        }
        assert_eq!(status(&w.services).sessions, 1, "{polls}: only the one of the test");
        let expected = if polls % 2 == 1 { "i-2" } else { "i-1" };
        assert_eq!(prove(&w).await.0, w.fake.key(expected), "{polls}");
        until("one connection is left", || THREE.iter().map(|name| w.fake.open(name)).sum::<usize>() == 1)
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_ask_no_host_is_asked_more_than_a_hundred_times_a_second() {
    let w = watched().await;
    let begun = Instant::now();
    let questions = || THREE.iter().map(|name| w.fake.probes(name).len()).collect::<Vec<_>>();
    let before = questions();
    let busy = |verify: Verify| {
        let cluster = Arc::clone(&w.cluster);
        async move {
            while begun.elapsed() < Duration::from_secs(5) {
                cluster.force_refresh(verify, in_secs(10)).await.unwrap();
                sleep(MS).await;
            }
        }
    };
    join_all((0..50).map(|number| busy(if number % 2 == 0 { Verify::Writer } else { Verify::No }))).await;
    for (name, (after, before)) in THREE.iter().zip(questions().into_iter().zip(before)) {
        assert!(after - before <= 520, "{name}: {}", after - before);
    }
    assert!(w.fake.connects("i-1").len() <= 60, "{}", w.fake.connects("i-1").len());
}

/// Whatever happens, a proof is never wrong, connections stay few, and in the end the true writer is known.
#[tokio::test(start_paused = true)]
async fn random_histories_end_with_the_true_writer() {
    for _ in 0..10 {
        random_history(seed()).await;
    }
}

/// The readers agree on a writer while it cannot be asked. Once it can, what it says of itself on an established connection
/// is the proof that was missing: without one the change of the writer is never announced.
#[tokio::test(start_paused = true)]
async fn a_writer_that_the_readers_agreed_on_is_proved_in_the_end() {
    const SEED: u64 = 1_339_128_065_946_212_797;
    fastrand::seed(SEED);
    random_history(SEED).await;
}

async fn random_history(seed: u64) {
    let w = watched().await;
    let mut chance = fastrand::Rng::with_seed(seed);
    // Who was the writer from when on.
    let mut reigns = vec![(Instant::now() - Duration::from_secs(10), "i-1")];
    let mut requests = JoinSet::new();
    for _ in 0..40 {
        let name = THREE[chance.usize(..3)];
        match chance.u8(..10) {
            0 | 1 => w.fake.set_reach(name, Reach::Refuses),
            2 => w.fake.set_reach(name, Reach::Silent),
            3 | 4 => w.fake.set_reach(name, Reach::Up),
            5 => {
                w.fake.promote(name);
                reigns.push((Instant::now(), name));
            }
            6 => w.fake.set_outdated_view(name, reigns.last().unwrap().1),
            7 => w.fake.update_view(name),
            8 => w.fake.kill_connections(name),
            _ => w.fake.set_delays(name, MS, Duration::from_millis(chance.u64(0..5))),
        }
        for _ in 0..chance.u8(..3) {
            let verify = if chance.bool() { Verify::Writer } else { Verify::No };
            let (cluster, deadline) =
                (Arc::clone(&w.cluster), Instant::now() + Duration::from_secs(chance.u64(1..40)));
            requests.spawn(async move {
                let asked_at = Instant::now();
                let answer = cluster.force_refresh(verify, deadline).await;
                assert!(Instant::now() <= deadline + MS);
                (verify, asked_at, answer)
            });
        }
        sleep(Duration::from_millis(chance.u64(..4_000))).await;
    }
    while let Some(request) = requests.join_next().await {
        let (verify, asked_at, Ok(snapshot)) = request.unwrap() else { continue };
        if verify == Verify::No || snapshot.source == SnapshotSource::StableReaders {
            assert!(snapshot.published_at >= asked_at, "seed {seed}");
            continue;
        }
        let proof = snapshot.last_verification.as_ref().unwrap();
        assert!(proof.verified_at >= asked_at, "seed {seed}");
        let ruled = reigns.iter().enumerate().any(|(number, (since, name))| {
            let until = reigns.get(number + 1).map(|(since, _)| *since);
            let overlaps =
                *since <= snapshot.published_at && until.is_none_or(|until| until >= proof.verified_at);
            overlaps && w.fake.key(name) == proof.writer
        });
        assert!(ruled, "seed {seed}: {proof:?} was not the writer then");
    }
    for name in THREE {
        w.fake.set_reach(name, Reach::Up);
        w.fake.update_view(name);
        assert!(w.fake.most_open(name) <= 2, "seed {seed}: {name}");
        for asked in [w.fake.probes(name), w.fake.connects(name)] {
            let is_busy = asked.windows(126).any(|some| some[125] - some[0] < Duration::from_secs(1));
            assert!(!is_busy, "seed {seed}: {name} is asked too often");
        }
    }
    let truth = w.fake.key(reigns.last().unwrap().1);
    let stable = || w.cluster.snapshot().source == SnapshotSource::StableReaders;
    until("the true writer", || w.cluster.snapshot().verified_writer() == Some(&truth) && !stable()).await;
    let (writer, took) = prove(&w).await;
    assert_eq!(writer, truth, "seed {seed}");
    assert!(took <= Duration::from_secs(2), "seed {seed}: {took:?}");
    sleep(Duration::from_secs(120)).await;
    let open: usize = THREE.iter().map(|name| w.fake.open(name)).sum();
    assert_eq!((open, status(&w.services).mode), (1, Mode::Regular), "seed {seed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_several_threads_and_a_real_clock() {
    let w = watched_from(FakeCluster::new(THREE), "i-1").await;
    for (old, new) in [("i-1", "i-2"), ("i-2", "i-3"), ("i-3", "i-1")] {
        let everybody = (0..100).map(|_| {
            let cluster = Arc::clone(&w.cluster);
            async move { cluster.force_refresh(Verify::Writer, in_secs(20)).await }
        });
        w.fake.set_reach(old, Reach::Refuses);
        let requests: JoinSet<_> = everybody.collect();
        sleep(100 * MS).await;
        w.fake.promote(new);
        for found in requests.join_all().await {
            assert_eq!(found.unwrap().verified_writer(), Some(&w.fake.key(new)));
        }
        w.fake.set_reach(old, Reach::Up);
    }
    w.services.shutdown(Duration::from_secs(5)).await.unwrap();
}

/// Panics when asked to connect.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl Prober for Broken {
    async fn connect(
        &self,
        _host: &HostKey,
        _monitor: MonitorKind,
        _deadline: Instant,
    ) -> crate::Result<Box<dyn Probe>> {
        panic!("a bug in a plugin")
    }
}

/// Lets everybody in, but not look.
#[derive(Debug)]
struct Forbidden;

#[async_trait]
impl Prober for Forbidden {
    async fn connect(
        &self,
        _host: &HostKey,
        _monitor: MonitorKind,
        _deadline: Instant,
    ) -> crate::Result<Box<dyn Probe>> {
        Ok(Box::new(Self))
    }
}

#[async_trait]
impl Probe for Forbidden {
    async fn fetch_text(&mut self, _sql: &str) -> crate::Result<Table> {
        Err(Error::driver(DriverClass::Other, "permission denied").with_sqlstate("42501"))
    }

    async fn ping(&mut self) -> crate::Result<()> {
        Ok(())
    }

    fn has_ended(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_privilege_is_named_at_once() {
    let services = Services::new();
    let prober: Arc<dyn Prober> = Arc::new(Forbidden);
    let recipe = FakeCluster::new(THREE).seed("c", "i-1", &prober);
    let cluster = services.clusters().join(services.shared(), recipe);
    let error = timeout(Duration::from_secs(1), cluster.force_refresh(Verify::No, in_secs(60)))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        format!("{error:#}").contains("EXECUTE on function pg_catalog.aurora_replica_status()"),
        "{error:#}"
    );
}

/// Answers as servers do in the middle of a failover: not even with a column.
#[derive(Debug)]
struct Speechless;

#[async_trait]
impl Probe for Speechless {
    async fn fetch_text(&mut self, _sql: &str) -> crate::Result<Table> {
        Ok(Table::default())
    }

    async fn ping(&mut self) -> crate::Result<()> {
        Ok(())
    }

    fn has_ended(&self) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_columns_is_no_topology_and_no_error() {
    let w = watched().await;
    let reading = read(&w.cluster, &mut Speechless).await.unwrap();
    assert_eq!((reading.role, reading.writer(), reading.keys().count()), (Role::Unknown, None, 0));
    assert!(!reading.proves_writer());
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_panics_tells_those_who_wait_and_is_started_again() {
    let w = watched().await;
    let broken: Arc<dyn Prober> = Arc::new(Broken);
    w.services.clusters().join(w.services.shared(), w.fake.seed("c", "i-1", &broken));
    let asked_at = Instant::now();
    let error = w.cluster.force_refresh(Verify::Writer, in_secs(60)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{error:#}");
    assert!(asked_at.elapsed() <= 10 * MS, "{:?}", asked_at.elapsed());
    drop(broken);
    assert_eq!(prove(&w).await.0, w.fake.key("i-1"));
    assert_eq!(w.services.status().tasks["topology c"].restarts, 1);
}
