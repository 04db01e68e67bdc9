//! Every name of a span, as data.
//!
//! The wrapper opens spans of `tracing` around what waits: at level `info` around connects, failovers and calls that are
//! measured, at `debug` around their parts, checkouts and questions for the topology, at `trace` around plugins and probes.
//! Spans of background tasks have no parent.

/// One span.
#[derive(Debug)]
#[non_exhaustive]
pub struct SpanRow {
    /// The whole name.
    pub name: &'static str,
    /// The fields it can have. One that is not known is left out.
    pub fields: &'static [&'static str],
    /// What it is around.
    pub doc: &'static str,
    /// The capability that will open it; `None` for what is opened now.
    pub waits_for: Option<&'static str>,
}

/// Makes a constant of each name, and the list of all rows.
macro_rules! spans {
    ($(
        #[doc = $doc:literal]
        $constant:ident = $name:literal, with [$($field:literal),*] $(, waits for $capability:literal)?;
    )+) => {
        $(
            #[doc = $doc]
            pub const $constant: &str = $name;
        )+

        /// Every span there is, and those that wait for a capability.
        pub static SPANS: &[SpanRow] = &[$(SpanRow {
            name: $name,
            fields: &[$($field),*],
            doc: $doc.trim_ascii_start(),
            waits_for: spans!(@waits $($capability)?),
        }),+];
    };
    (@waits) => { None };
    (@waits $capability:literal) => { Some($capability) };
}

spans! {
    /// One logical connect.
    CONNECT = "aws_wrapper.connect", with ["host", "role", "outcome"];
    /// One physical connect.
    CONNECT_ATTEMPT = "aws_wrapper.connect.attempt", with ["host", "purpose", "outcome"];
    /// One call of the application, if the instrument wants calls.
    CALL = "aws_wrapper.call", with ["operation", "host", "outcome"];
    /// A step of a plugin that waits.
    PLUGIN = "aws_wrapper.plugin", with ["plugin", "step"];
    /// A decision and the switch that follows from it.
    ROUTE = "aws_wrapper.route", with ["desired", "actual", "reason", "tier"], waits for "read/write splitting";
    /// The state of a session, given to a new connection.
    SESSION_TRANSFER = "aws_wrapper.session.transfer", with ["outcome"];
    /// A whole failover.
    FAILOVER = "aws_wrapper.failover", with ["aws_wrapper.cluster_id", "host", "kind", "outcome", "in_transaction"];
    /// One attempt at a host in a failover.
    FAILOVER_CANDIDATE = "aws_wrapper.failover.candidate", with ["host", "role", "outcome"];
    /// One question for the topology.
    TOPOLOGY_REFRESH = "aws_wrapper.topology.refresh", with ["aws_wrapper.cluster_id", "mode", "outcome"];
    /// One probe of a host.
    HOST_MONITOR_PROBE = "aws_wrapper.host_monitor.probe", with ["host", "outcome"];
    /// Fetching a token, a secret or an assertion.
    CREDENTIALS_FETCH = "aws_wrapper.credentials.fetch", with ["kind", "cache", "outcome"], waits for "credentials plugins";
    /// One checkout.
    POOL_GET = "aws_wrapper.pool.get", with ["target", "host", "outcome"];
    /// The time a call or a connect is held.
    BG_HOLD = "aws_wrapper.bg.hold", with ["phase", "outcome"], waits for "blue/green";
    /// One look at the members of a custom endpoint.
    CUSTOM_ENDPOINT_REFRESH = "aws_wrapper.custom_endpoint.refresh", with ["outcome"], waits for "custom endpoints";
    /// One look at the routers of a limitless database.
    LIMITLESS_ROUTERS = "aws_wrapper.limitless.routers", with ["outcome"], waits for "limitless databases";
    /// A transaction with all its runs.
    RETRY_TRANSACTION = "aws_wrapper.retry_transaction", with ["attempts", "outcome"];
}
