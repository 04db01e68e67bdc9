//! Reads spread over one and over two readers, against routing written by hand.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::Pool;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::setting;
use crate::bench::stats::{Sorted, paired_ratio};
use crate::driver::{AnyError, Driver, Session};
use crate::names::SimResolver;

/// Connections to each reader; with reads of five milliseconds they bound what it does.
const CONNECTIONS: usize = 4;
/// Enough to keep all connections to both readers busy.
const TASKS: usize = 32;
const WINDOW: Duration = Duration::from_secs(1);

/// One reader, then two.
///
/// # Errors
/// Those of either client.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let mut findings = Findings::default();
    let windows = (plan.windows / 2).max(2);
    let one = rates::<D>(1, windows).await?;
    let two = rates::<D>(2, windows).await?;
    let middle = |rates: &[f64]| Sorted::new(rates.iter().copied()).median();
    for (name, rates) in [("1 reader", &one), ("2 readers", &two)] {
        let row =
            Row::both(format!("reads through {name}"), "reads/s", middle(&rates.bare), middle(&rates.pool));
        findings.rows.push(row.ratio(paired_ratio(&rates.pool, &rates.bare)).goal(Goal::RatioAtLeast(0.97)));
    }
    let scaling = |pick: fn(&Rates) -> &Vec<f64>| middle(pick(&two)) / middle(pick(&one));
    let row =
        Row::both("2 readers to 1", "times", scaling(|rates| &rates.bare), scaling(|rates| &rates.pool));
    findings.rows.push(row.goal(Goal::AtLeast(1.9)));
    findings.notes.push(format!(
        "`Pool::reader` of aws-wrapper-deadpool against a pool for each reader and a counter, both with {CONNECTIONS} \
         connections a reader and {TASKS} tasks that read `{}`: the readers' connections are the bound, not the few \
         processors that all servers and the client share here. {windows} windows of {} ms of each side in turn.",
        D::PAUSE,
        WINDOW.as_millis()
    ));
    let lanes = [
        ("1 reader, by hand", one.bare),
        ("1 reader, pool", one.pool),
        ("2 readers, by hand", two.bare),
        ("2 readers, pool", two.pool),
    ]
    .map(|(label, rates)| Series::new(label, rates));
    let file = format!("{}-readers.svg", D::ENGINE);
    findings.plots.push(Plot::new(file, "Reads a second by window", "reads/s", lanes.into()));
    Ok(findings)
}

struct Rates {
    bare: Vec<f64>,
    pool: Vec<f64>,
}

async fn rates<D: Driver>(readers: usize, windows: usize) -> Result<Rates, AnyError> {
    let cluster = Cluster::builder().engine(D::ENGINE).instances(readers + 1).start().await?;
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    let connector = D::connector_with(&cluster.endpoint(), cluster.port(), services, &[])?;
    let pool = Pool::<D::Adapter>::builder(connector).max_size(CONNECTIONS).build()?;
    let by_hand = Arc::new(ByHand::<D>::open(&cluster).await?);
    let through_pool = async || {
        let pool = pool.clone();
        window(move || {
            let pool = pool.clone();
            async move { pool.reader().await?.ask(D::PAUSE).await }
        })
        .await
    };
    let through_hand = async || {
        let by_hand = Arc::clone(&by_hand);
        window(move || {
            let by_hand = Arc::clone(&by_hand);
            async move { by_hand.read().await }
        })
        .await
    };
    // Opens the connections of the pool.
    through_pool().await?;
    let mut rates = Rates { bare: Vec::new(), pool: Vec::new() };
    for number in 0..windows {
        if number % 2 == 0 {
            rates.pool.push(through_pool().await?);
            rates.bare.push(through_hand().await?);
        } else {
            rates.bare.push(through_hand().await?);
            rates.pool.push(through_pool().await?);
        }
    }
    pool.close();
    drop((pool, by_hand));
    cluster.shutdown().await;
    Ok(rates)
}

/// Reads a second.
async fn window<F>(read: impl Fn() -> F + Clone + Send + 'static) -> Result<f64, AnyError>
where
    F: Future<Output = Result<(), AnyError>> + Send,
{
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for _ in 0..TASKS {
        let (stop, read) = (Arc::clone(&stop), read.clone());
        tasks.spawn(async move {
            let mut reads = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                read().await?;
                reads += 1;
            }
            Ok::<_, AnyError>(reads)
        });
    }
    sleep(WINDOW).await;
    stop.store(true, Ordering::Relaxed);
    let mut reads = 0.0;
    while let Some(finished) = tasks.join_next().await {
        reads += f64::from(finished??);
    }
    Ok(reads / started.elapsed().as_secs_f64())
}

/// What an application writes that knows its readers.
struct ByHand<D: Driver> {
    pools: Vec<HandPool<D::Bare>>,
    next: AtomicUsize,
}

struct HandPool<S> {
    idle: Mutex<Vec<S>>,
    permits: Semaphore,
}

impl<D: Driver> ByHand<D> {
    async fn open(cluster: &Cluster) -> Result<Self, AnyError> {
        let mut pools = Vec::new();
        for reader in cluster.readers() {
            let host = cluster.instance_endpoint(&reader);
            let address =
                cluster.names().lookup(&host).into_iter().next().ok_or("the name does not resolve")?;
            let mut idle = Vec::new();
            for _ in 0..CONNECTIONS {
                idle.push(D::bare(setting::NAME, (address, cluster.port()).into()).await?);
            }
            pools.push(HandPool { idle: Mutex::new(idle), permits: Semaphore::new(CONNECTIONS) });
        }
        Ok(Self { pools, next: AtomicUsize::new(0) })
    }

    async fn read(&self) -> Result<(), AnyError> {
        let pool = &self.pools[self.next.fetch_add(1, Ordering::Relaxed) % self.pools.len()];
        let permit = pool.permits.acquire().await?;
        let idle = || pool.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut session = taken.ok_or("a permit without a connection")?;
        let answer = session.ask(D::PAUSE).await;
        idle().push(session);
        drop(permit);
        answer
    }
}
