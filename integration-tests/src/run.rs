//! How a test runs: a runtime of its own, a deadline, and a look at what it leaves behind.

use std::future::Future;
use std::time::Duration;

use aurora_sim::{Cluster, ClusterBuilder};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::adapter::Adapter;
use crate::capture::captured;
use crate::cluster::TestCluster;

/// Nothing a test does takes this long; what hangs ends here.
const DEADLINE: Duration = Duration::from_secs(60);
/// Tasks and sockets end within milliseconds; a loaded machine gets more.
const LEFT_OVER_DEADLINE: Duration = Duration::from_secs(5);
/// Between two looks at a condition.
const POLL: Duration = Duration::from_millis(5);

/// Clusters that run at the same time, whatever the number of test threads: each has three servers.
static CLUSTERS: Semaphore = Semaphore::const_new(2);

/// Runs a test on a cluster of its own. Afterwards no connection to it and no task may be left.
///
/// # Panics
/// When the test does, when it takes longer than 60 s, and when it leaves something behind.
pub fn on_cluster<A: Adapter>(instances: usize, test: impl AsyncFnOnce(&TestCluster)) {
    on_built::<A>(Cluster::builder().instances(instances), test);
}

/// As [`on_cluster`], with a cluster described by a builder.
///
/// # Panics
/// As [`on_cluster`].
pub fn on_built<A: Adapter>(builder: ClusterBuilder, test: impl AsyncFnOnce(&TestCluster)) {
    let one = async |clusters: &[TestCluster]| test(&clusters[0]).await;
    runtime().block_on(on_several(1, builder.engine(A::ENGINE), one));
}

/// As [`on_cluster`], on one thread; returns everything that was logged, at every level.
///
/// # Panics
/// As [`on_cluster`].
pub fn on_logged_cluster<A: Adapter>(instances: usize, test: impl AsyncFnOnce(&TestCluster)) -> String {
    let one = async |clusters: &[TestCluster]| test(&clusters[0]).await;
    captured(on_several(1, Cluster::builder().instances(instances).engine(A::ENGINE), one))
}

/// As [`on_cluster`], with several clusters of the same size.
///
/// # Panics
/// As [`on_cluster`].
pub fn on_clusters<A: Adapter>(count: u32, instances: usize, test: impl AsyncFnOnce(&[TestCluster])) {
    let builder = Cluster::builder().instances(instances).engine(A::ENGINE);
    runtime().block_on(on_several(count, builder, test));
}

async fn on_several(count: u32, builder: ClusterBuilder, test: impl AsyncFnOnce(&[TestCluster])) {
    let _permits = CLUSTERS.acquire_many(count).await.expect("the semaphore is never closed");
    let mut clusters = Vec::new();
    for _ in 0..count {
        clusters.push(TestCluster::start(builder.clone()).await);
    }
    timeout(DEADLINE, test(&clusters)).await.expect("a test ends within 60 s");
    nothing_left().await;
    for cluster in clusters {
        cluster.end().await;
    }
}

/// Runs a test that needs no cluster.
///
/// # Panics
/// As [`on_cluster`].
pub fn on_plain(test: impl AsyncFnOnce()) {
    runtime().block_on(async {
        timeout(DEADLINE, test()).await.expect("a test ends within 60 s");
        nothing_left().await;
    });
}

/// Runs `work` beside the test, which waits for it.
#[expect(clippy::disallowed_methods, reason = "the test's own work belongs to no `Services`")]
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// Bound for an answer that must not wait for any default limit, of which the shortest is 10 s (`connect_timeout_ms`). Far
/// more than an idle machine needs, so that it holds on one that is overbooked ten times.
pub const SOON: Duration = Duration::from_secs(8);

/// How much longer everything may take on a machine that is overbooked.
const OVERBOOKED: u32 = 10;

/// Waits until `condition` holds.
///
/// # Panics
/// After ten times `limit`, which is for an idle machine, naming `what` was waited for.
pub async fn eventually(limit: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let limit = limit * OVERBOOKED;
    let end = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        sleep(POLL).await;
    }
}

fn runtime() -> Runtime {
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_test_writer()
        .try_init();
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime starts")
}

/// Whether no task runs but the test itself. The simulator's tasks are on a runtime of its own, so all that are seen here
/// are the wrapper's and the test's.
pub fn no_task_left() -> bool {
    Handle::current().metrics().num_alive_tasks() == 0
}

async fn nothing_left() {
    eventually(LEFT_OVER_DEADLINE, "no task is left", async || no_task_left()).await;
}
