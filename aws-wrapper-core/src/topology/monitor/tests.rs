use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::error::{ErrorKind, Phase};
use crate::host::Role;
use crate::services::Services;
use crate::testing::cluster::{FakeCluster, Reach};
use crate::topology::cluster::{Cluster, ClusterSession, ClusterStatus, Mode, Prober, Verify};

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
    let cluster = services.shared().clusters.join(services.shared(), fake.seed("c", initial, &prober));
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
