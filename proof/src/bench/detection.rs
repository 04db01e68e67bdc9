//! How long a call on a silent host takes to fail, against the nominal time of the plugin `efm`.
//!
//! Nominal is the moment at which the last of the probes ends that have to fail, on exact clocks, counted from the start
//! of the call: `time + (count - 1) * interval + probe timeout`.

use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::services::Services;
use tokio::time::{Instant, sleep, timeout};

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::stats::Sorted;
use crate::driver::{AnyError, Driver, Session};
use crate::names::SimResolver;

const COUNT: u64 = 3;
/// 1000 + 2 * 200 + 100: the limit of a probe is half of the interval.
const NOMINAL: Duration = Duration::from_millis(1500);
/// Up to then the host must have fallen silent.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// A host that is found dead much later is not found at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a host may do instead of answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    BlackHole,
    Freeze,
    Dropped,
    Silent,
}

impl Fault {
    const ALL: [Self; 4] = [Self::BlackHole, Self::Freeze, Self::Dropped, Self::Silent];

    fn name(self) -> &'static str {
        match self {
            Self::BlackHole => "black hole",
            Self::Freeze => "frozen server",
            Self::Dropped => "dropped packets",
            Self::Silent => "accepts but is silent",
        }
    }

    /// All but the last with the connection for probes open before the fault. A host that takes connections and says
    /// nothing on them shows only where that connection must be opened first.
    fn parameters(self) -> Vec<(&'static str, &'static str)> {
        let mut parameters = vec![
            ("plugins", "efm"),
            ("failure_detection_time_ms", "1000"),
            ("failure_detection_interval_ms", "200"),
            ("failure_detection_count", "3"),
        ];
        parameters.push(match self {
            Self::Silent => ("monitoring_connect_timeout_ms", "100"),
            _ => ("failure_detection_eager_connect", "true"),
        });
        parameters
    }

    async fn begin(self, cluster: &Cluster, instance: &str) -> aurora_sim::Result<()> {
        match self {
            Self::Freeze => cluster.freeze(instance).await,
            Self::BlackHole | Self::Silent => cluster.blackhole(instance).await,
            Self::Dropped => cluster.unreachable(instance).await,
        }
    }

    async fn end(self, cluster: &Cluster, instance: &str) -> aurora_sim::Result<()> {
        match self {
            Self::Freeze => cluster.thaw(instance).await,
            _ => cluster.heal(instance).await,
        }
    }
}

/// All faults at the same time, each on a cluster of its own: whoever heals an instance waits for its writer, which may be
/// silent itself.
///
/// # Errors
/// When a call on a silent host ends with success, or not at all.
pub async fn measure<D: Driver>(plan: &Plan) -> Result<Findings, AnyError> {
    let (mut findings, mut lanes) = (Findings::default(), Vec::new());
    let rounds = Fault::ALL.map(async |fault| {
        let cluster = Cluster::builder().engine(D::ENGINE).instances(1).start().await?;
        let instance = cluster.writer();
        let mut rounds = Vec::new();
        // A fault that came late is no failure of the wrapper's, and has another nominal time: once more.
        let mut attempts = 0;
        while rounds.len() < plan.faults {
            attempts += 1;
            let round = round::<D>(&cluster, fault, &instance).await?;
            if round.silent_after <= FIRST_PROBE {
                rounds.push(round);
            } else if attempts > 2 * plan.faults {
                return Err(format!("{}: the faults come too late, see the load", fault.name()).into());
            }
        }
        cluster.shutdown().await;
        Ok::<_, AnyError>((fault, rounds))
    });
    for (fault, rounds) in futures_util::future::try_join_all(rounds).await? {
        let late = Sorted::new(rounds.iter().map(|round| round.late_ms));
        let name = fault.name();
        findings.rows.extend([
            Row::of(format!("{name}: earliest after nominal"), "ms", late.min()).goal(Goal::AtLeast(0.0)),
            Row::of(format!("{name}: median after nominal"), "ms", late.median()).goal(Goal::AtMost(50.0)),
            Row::of(format!("{name}: latest after nominal"), "ms", late.max()).goal(Goal::AtMost(50.0)),
            Row::of(format!("{name}: spread"), "ms", late.spread()).goal(Goal::AtMost(30.0)),
        ]);
        let fewest = Sorted::new(rounds.iter().map(|round| round.failed_probes)).min();
        #[expect(clippy::cast_precision_loss, reason = "three")]
        let needed = COUNT as f64;
        let row =
            Row::of(format!("{name}: fewest failed probes"), "probes", fewest).goal(Goal::AtLeast(needed));
        findings.rows.push(row);
        lanes.push(Series::of(name, late));
    }
    findings.notes.push(format!(
        "{} rounds of each fault; a call that takes a minute begins, the host falls silent within some milliseconds, the \
         call fails. failure_detection_time_ms=1000, interval 200, count 3, limit of a probe 100: nominal {} ms. The bare \
         driver does not notice at all, so there is no such side.",
        plan.faults,
        NOMINAL.as_millis()
    ));
    findings.notes.push(
        "Black hole: nothing passes, TCP connections are still accepted. Dropped packets: these time out too. Frozen: \
         SIGSTOP, the kernel goes on. Accepts but is silent: a black hole, and the monitor has to open its connection \
         first (monitoring_connect_timeout_ms=100); with the others it is open (failure_detection_eager_connect)."
            .to_owned(),
    );
    findings.notes.push(
        "A probe that ends late because this process did not get a processor proves nothing and does not count, so on a \
         machine with too much to do a round may take an interval (200 ms) or more longer."
            .to_owned(),
    );
    let file = format!("{}-detection.svg", D::ENGINE);
    findings
        .plots
        .push(Plot::new(file, "Detection of a silent host after the nominal time", "ms", lanes).limit(50.0));
    Ok(findings)
}

struct Round {
    late_ms: f64,
    failed_probes: f64,
    /// From the start of the call.
    silent_after: Duration,
}

async fn round<D: Driver>(cluster: &Cluster, fault: Fault, instance: &str) -> Result<Round, AnyError> {
    let services = Services::with_resolver(SimResolver::new([cluster.names()]));
    let host = cluster.instance_endpoint(instance);
    let connector = D::connector_with(&host, cluster.port(), services, &fault.parameters())?;
    // After a fault it may take a moment until the host takes connections again.
    let mut session = until("the host takes connections", async || D::wrapped(&connector).await.ok()).await?;
    let status = || D::services(&connector).status().host_monitors;
    if fault != Fault::Silent {
        let is_connected = async || status().iter().any(|host| host.is_connected).then_some(());
        until("the monitor is connected", is_connected).await?;
    }

    let started = Instant::now();
    let call = async {
        let result = timeout(PATIENCE, session.run(D::SLEEP)).await;
        (result, started.elapsed())
    };
    let begin = async {
        let result = fault.begin(cluster, instance).await;
        (result, started.elapsed())
    };
    let ((begun, silent_after), (result, elapsed)) = tokio::join!(begin, call);
    let failed: u64 = status().iter().map(|host| host.probes_unreachable).sum();
    fault.end(cluster, instance).await?;
    begun?;
    match result {
        Ok(Err(_)) => {}
        Ok(Ok(())) => return Err(format!("{}: the call was answered", fault.name()).into()),
        Err(_) => return Err(format!("{}: the call did not end within {PATIENCE:?}", fault.name()).into()),
    }
    #[expect(clippy::cast_precision_loss, reason = "a few")]
    let failed_probes = failed as f64;
    let late_ms = (elapsed.as_secs_f64() - NOMINAL.as_secs_f64()) * 1e3;
    Ok(Round { late_ms, failed_probes, silent_after })
}

async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> Result<T, AnyError> {
    let started = Instant::now();
    loop {
        if let Some(value) = attempt().await {
            return Ok(value);
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        sleep(Duration::from_millis(20)).await;
    }
}
