//! Every metric, as data.
//!
//! To add one, add a row and emit it. One whose capability is still to come says what it waits for; a test fails when such a
//! name is emitted, or when another one is not.

use super::attribute::key;
use super::metric::{Counter, Gauge, Histogram, Kind, Metric, Unit};

/// Makes a typed constant of each row, and the list of all rows.
macro_rules! metrics {
    ($(
        #[doc = $doc:literal]
        $constant:ident: $kind:ident = $name:literal in $unit:ident, by [$($key:ident),*]
        $(, waits for $capability:literal)?;
    )+) => {
        $(
            #[doc = $doc]
            pub static $constant: $kind = $kind(Metric {
                name: $name,
                kind: Kind::$kind,
                unit: Unit::$unit,
                attributes: &[$(key::$key),*],
                doc: $doc.trim_ascii_start(),
                waits_for: metrics!(@waits $($capability)?),
            });
        )+

        /// Every metric there is, and those that wait for a capability.
        pub static METRICS: &[&Metric] = &[$(&$constant.0),+];
    };
    (@waits) => { None };
    (@waits $capability:literal) => { Some($capability) };
}

metrics! {
    /// How long opening a connection took, every attempt and plugin included.
    CONNECT_DURATION: Histogram = "aws_wrapper.connect.duration" in Seconds, by [ENDPOINT, ROLE, OUTCOME];
    /// How long one attempt at one host took; the connections of monitors count, too.
    CONNECT_ATTEMPT_DURATION: Histogram =
        "aws_wrapper.connect.attempt.duration" in Seconds, by [HOST, PURPOSE, OUTCOME];

    /// How long a call took, a failover after it not included; only if the instrument wants calls.
    CALL_DURATION: Histogram = "db.client.operation.duration" in Seconds,
        by [DB_SYSTEM_NAME, DB_OPERATION_NAME, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE];
    /// Calls that were repeated because the application said that they may be.
    CALL_RETRY_COUNT: Counter = "aws_wrapper.call.retry.count" in One, by [REASON, OUTCOME], waits for "idempotent calls";
    /// Reads that were sent to a second host as well, because the first one was slow.
    CALL_HEDGE_COUNT: Counter = "aws_wrapper.call.hedge.count" in One, by [WINNER], waits for "hedged reads";

    /// Failovers that began.
    FAILOVER_TRIGGERED_COUNT: Counter = "aws_wrapper.failover.triggered.count" in One, by [KIND];
    /// Failovers that ended; each that began ends once.
    FAILOVER_COUNT: Counter = "aws_wrapper.failover.count" in One, by [KIND, OUTCOME, IN_TRANSACTION];
    /// How long a failover took, from the error to the new connection.
    FAILOVER_DURATION: Histogram = "aws_wrapper.failover.duration" in Seconds, by [KIND, OUTCOME, IN_TRANSACTION];
    /// The part of a failover before it was known which host to use.
    FAILOVER_SEARCH_DURATION: Histogram = "aws_wrapper.failover.search.duration" in Seconds, by [KIND, OUTCOME];

    /// Decisions where a call goes.
    ROUTING_DECISION_COUNT: Counter = "aws_wrapper.routing.decision.count" in One,
        by [DESIRED, ACTUAL, REASON, TIER], waits for "read/write splitting";
    /// How long a switch between writer and reader took.
    ROUTING_SWITCH_DURATION: Histogram = "aws_wrapper.routing.switch.duration" in Seconds,
        by [FROM, TO, CACHED], waits for "read/write splitting";

    /// How long it took to give a new connection the session of the one it replaces.
    SESSION_TRANSFER_DURATION: Histogram =
        "aws_wrapper.session.transfer.duration" in Seconds, by [ENGINE, OUTCOME];
    /// Settings that were given to a connection in place of another one.
    SESSION_TRANSFER_SETTINGS: Counter = "aws_wrapper.session.transfer.settings" in One,
        by [ENGINE, OUTCOME], waits for "session state";

    /// Questions for the topology that were asked.
    TOPOLOGY_REFRESH_COUNT: Counter = "aws_wrapper.topology.refresh.count" in One, by [CLUSTER, MODE, OUTCOME];
    /// How often every host had to be asked who the writer is.
    TOPOLOGY_PANIC_COUNT: Counter = "aws_wrapper.topology.panic.count" in One, by [CLUSTER];
    /// Requests for a proved writer.
    TOPOLOGY_VERIFY_COUNT: Counter = "aws_wrapper.topology.verify.count" in One, by [CLUSTER];
    /// Connections that were retired because their host is not the writer any more.
    TRACKER_RETIRED_COUNT: Counter = "aws_wrapper.tracker.retired.count" in One, by [CLUSTER];

    /// Connections of a pool.
    POOL_CONNECTIONS: Gauge = "aws_wrapper.pool.connections" in One, by [ENDPOINT, TARGET, STATE];
    /// How long a checkout took, a connection that had to be opened included.
    POOL_WAIT_DURATION: Histogram = "aws_wrapper.pool.wait.duration" in Seconds, by [ENDPOINT, TARGET, OUTCOME];
    /// Connections that a pool opened, or failed to open.
    POOL_CREATE_COUNT: Counter = "aws_wrapper.pool.create.count" in One, by [ENDPOINT, TARGET, OUTCOME];
    /// Connections that were given out again (`reused`), or why they were not.
    POOL_RECYCLE_COUNT: Counter = "aws_wrapper.pool.recycle.count" in One, by [ENDPOINT, TARGET, REASON];

    /// Background tasks that ended by a panic or an error and were started again.
    MONITOR_RESTARTS: Counter = "aws_wrapper.monitor.restarts" in One, by [TYPE];
    /// How late a monitor began its last round of work: a runtime that is blocked shows here.
    MONITOR_LAG: Gauge = "aws_wrapper.monitor.lag" in Seconds, by [TYPE];

    /// Whether a host could be reached when it was last tried: 1 or 0.
    HOST_AVAILABLE: Gauge = "aws_wrapper.host.available" in One, by [HOST];
    /// How far a reader is behind the writer, as the topology tells.
    HOST_REPLICA_LAG: Gauge = "aws_wrapper.host.replica_lag" in Seconds, by [HOST];
    /// How long a host takes to answer.
    HOST_LATENCY: Gauge = "aws_wrapper.host.latency" in Seconds, by [HOST], waits for "fastest response";

    /// Connections that were ended because their host is dead, or was started again.
    EFM_CONNECTIONS_ABORTED: Counter = "aws_wrapper.efm.connections.aborted" in One, by [HOST];
    /// Probes: `alive`, `unreachable`, `inconclusive`, or `passive` where another answer made one needless.
    EFM_PROBES: Counter = "aws_wrapper.efm.probes" in One, by [HOST, OUTCOME];
    /// How often a host was found dead.
    EFM_HOST_UNHEALTHY_COUNT: Counter = "aws_wrapper.efm.host_unhealthy.count" in One, by [HOST];
    /// What is known of a host: 0 nothing, 1 it is up, 2 it fails, 3 it is dead.
    EFM_HOST_VERDICT: Gauge = "aws_wrapper.efm.host.verdict" in One, by [HOST];
    /// From the last sign of life to the end of a call that hung.
    EFM_DETECTION_TIME: Histogram = "aws_wrapper.efm.detection_time_ms" in Millis, by [HOST];
    /// Hosts whose monitor runs.
    EFM_MONITORS: Gauge = "aws_wrapper.efm.monitors" in One, by [];
    /// Connections to a host that are watched.
    EFM_SLOTS: Gauge = "aws_wrapper.efm.slots" in One, by [HOST];
    /// How late the clock of the calls ticked.
    EFM_RUNTIME_LAG: Histogram = "aws_wrapper.efm.runtime_lag_ms" in Millis, by [];

    /// How long fetching a token, a secret or an assertion took.
    CREDENTIALS_FETCH_DURATION: Histogram = "aws_wrapper.credentials.fetch.duration" in Seconds,
        by [KIND, OUTCOME], waits for "credentials plugins";
    /// Credentials that were fetched; those from the cache do not count.
    CREDENTIALS_FETCH_COUNT: Counter = "aws_wrapper.credentials.fetch.count" in One,
        by [KIND, OUTCOME], waits for "credentials plugins";
    /// Look-ups in the cache of credentials.
    CREDENTIALS_FETCH_CACHE: Counter = "aws_wrapper.credentials.fetch.cache" in One,
        by [KIND, OUTCOME], waits for "credentials plugins";
    /// Credentials in the cache.
    CREDENTIALS_CACHE_SIZE: Gauge = "aws_wrapper.credentials.cache.size" in One,
        by [KIND], waits for "credentials plugins";

    /// How often the members of a custom endpoint were read.
    CUSTOM_ENDPOINT_REFRESH_COUNT: Counter = "aws_wrapper.custom_endpoint.refresh.count" in One,
        by [ENDPOINT, OUTCOME], waits for "custom endpoints";
    /// Connections that were given to a router.
    LIMITLESS_ROUTE_COUNT: Counter = "aws_wrapper.limitless.route.count" in One,
        by [HOST, OUTCOME], waits for "limitless databases";

    /// The phase of a blue/green deployment.
    BG_PHASE: Gauge = "aws_wrapper.bg.phase" in One, by [BGD_ID], waits for "blue/green";
    /// Calls and connects that were held.
    BG_HOLDS: Counter = "aws_wrapper.bg.holds" in One, by [KIND], waits for "blue/green";
    /// Calls and connects that were held for too long.
    BG_HOLD_TIMEOUTS: Counter = "aws_wrapper.bg.hold_timeouts" in One, by [KIND], waits for "blue/green";
    /// Connects that were sent to the other side of a deployment.
    BG_SUBSTITUTIONS: Counter = "aws_wrapper.bg.substitutions" in One, by [OUTCOME], waits for "blue/green";
    /// Connects that were refused.
    BG_REJECTS: Counter = "aws_wrapper.bg.rejects" in One, by [], waits for "blue/green";
    /// Switchovers that were rolled back.
    BG_ROLLBACKS: Counter = "aws_wrapper.bg.rollbacks" in One, by [], waits for "blue/green";
    /// Switchovers that took too long.
    BG_TIMEOUTS: Counter = "aws_wrapper.bg.timeouts" in One, by [], waits for "blue/green";
    /// Connections to the old side that were closed.
    BG_CONNECTIONS_DROPPED: Counter = "aws_wrapper.bg.connections_dropped" in One, by [], waits for "blue/green";
    /// How long a call or a connect was held.
    BG_HOLD: Histogram = "aws_wrapper.bg.hold_ms" in Millis, by [KIND], waits for "blue/green";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_have_the_prefix() {
        let mut names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert!(names.iter().all(|name| name.starts_with("aws_wrapper.") || name.starts_with("db.client.")));
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn names_that_end_in_a_unit_have_it() {
        for metric in METRICS.iter().filter(|metric| metric.kind == Kind::Histogram) {
            let unit = if metric.name.ends_with("_ms") { Unit::Millis } else { Unit::Seconds };
            assert_eq!(metric.unit, unit, "{}", metric.name);
        }
    }
}
