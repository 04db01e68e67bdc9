//! The wrapper's settings under test, and what they promise.

use std::time::Duration;

use aurora_sim::Engine;

const FAILOVER: Duration = Duration::from_secs(8);
const CONNECT: Duration = Duration::from_secs(2);
const WAIT: Duration = Duration::from_secs(5);
const CHECK: Duration = Duration::from_secs(1);
const GRACE: Duration = Duration::from_millis(500);
const INTERVAL: Duration = Duration::from_millis(300);
const PROBES: u32 = 3;
const REFRESH: Duration = Duration::from_secs(1);
/// Opening the connection for the first probe: the parameter's default for a short interval.
const FIRST_PROBE: Duration = Duration::from_secs(1);
/// A loaded machine may be late by this much.
const SLACK: Duration = Duration::from_secs(2);

/// Connections of the pool to the writer, and as many to each reader.
pub(crate) const POOL: usize = 50;

/// The parameters.
pub(crate) fn parameters(_engine: Engine) -> Vec<(&'static str, String)> {
    let ms = |time: Duration| time.as_millis().to_string();
    vec![
        ("plugins", "initial_connection,tracker,failover,efm".to_owned()),
        ("sslmode", "disable".to_owned()),
        ("connect_timeout_ms", ms(CONNECT)),
        ("open_connection_retry_timeout_ms", ms(CONNECT)),
        ("open_connection_retry_interval_ms", "100".to_owned()),
        ("failover_timeout_ms", ms(FAILOVER)),
        ("failover_connect_timeout_ms", ms(CONNECT)),
        ("failure_detection_time_ms", ms(GRACE)),
        ("failure_detection_interval_ms", ms(INTERVAL)),
        ("failure_detection_count", PROBES.to_string()),
        ("failure_detection_idle_close_ms", "2000".to_owned()),
        ("cluster_topology_refresh_rate_ms", ms(REFRESH)),
        ("topology_monitoring_connect_timeout_ms", ms(CHECK)),
        ("topology_monitoring_socket_timeout_ms", ms(CHECK)),
        ("pool_wait_timeout_ms", ms(WAIT)),
        ("pool_create_timeout_ms", ms(CONNECT)),
        ("pool_recycle_timeout_ms", ms(CHECK)),
        ("pool_idle_check_after_ms", "1000".to_owned()),
    ]
}

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// A call: until its host counts as dead, and a whole failover.
    pub(crate) call: Duration,
    /// A transaction: each of its calls may be slow on a host that lives, one may fail.
    pub(crate) transaction: Duration,
    /// A transaction by a helper that runs it three times, or with errors ignored: as many calls may fail.
    pub(crate) helper: Duration,
    /// The same with a checkout for each run.
    pub(crate) pool_run: Duration,
    /// A checkout: waiting, a check of an idle connection, opening another one.
    pub(crate) checkout: Duration,
    /// A checkout of a reader: the same at each reader, then at the writer.
    pub(crate) readers: Duration,
    /// To learn who the writer is once that can be learned: the next look at the topology by a connection that may have
    /// to be given up first and opened again.
    pub(crate) learning: Duration,
    /// From the repair of the cluster until everybody works again: a failed failover, and another try.
    pub(crate) recovery: Duration,
}

impl Limits {
    /// What the parameters promise for a cluster of three.
    pub(crate) fn new() -> Self {
        let detection = GRACE + FIRST_PROBE + INTERVAL * PROBES;
        let call = detection + FAILOVER + SLACK;
        let checkout = WAIT + CHECK + CONNECT + SLACK;
        Self {
            call,
            transaction: call + SLACK,
            helper: (call + SLACK) * 3,
            pool_run: (call + SLACK + checkout) * 3,
            checkout,
            readers: checkout * 3,
            learning: REFRESH + CHECK + CHECK + SLACK,
            recovery: call * 2,
        }
    }
}
