//! `failover`: when a connection is lost, finds the next one and says what became of the work.
//!
//! **Effect.** A call fails because its host is gone, or because the writer it needs has become a reader. The plugin
//! asks the topology monitor for a writer proved after the failure (one monitor serves all connections), connects to
//! it, checks its role, applies the session's state and parks the connection for the next call. The caller gets exactly
//! one error, which says what happened; the statement is never repeated, because it may have run.
//!
//! **Order.** Outside everything that opens or supplies connections, inside `initial_connection`: it opens connections
//! through the plugins behind it, so credentials are fetched again.
//!
//! **Parameters.** `failover_mode`, `failover_timeout_ms`, `failover_reader_host_selector_strategy`,
//! `enable_connect_failover`, `failover_retry_delay_ms`, `failover_connect_timeout_ms`, `rollback_on_switch`.
//!
//! **Failure.** When no host can be used before the deadline the error is `Failover(Failed)`; the next call searches
//! again. Off for RDS Proxy endpoints, and where there is neither a topology nor a second host.
//!
//! **Cost.** None for calls that succeed: it only subscribes to failures.

mod running;
mod search;
mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument as _;

pub use self::settings::{FailoverMode, FailoverSettings};
use crate::config::values::FromValues;
use crate::driver::{ConnectRequest, DriverDialect};
use crate::endpoint::EndpointKind;
use crate::error::{DriverClass, Error, ErrorKind, FailoverOutcome, FailoverReport, Result};
use crate::host::{HostKey, Role};
use crate::method::MethodSet;
use crate::plugin::{
    Call, ConnectionPlugin, Connects, Logical, Next, Place, PluginContext, PluginFactory, Recovery,
    Subscriptions,
};
use crate::plugins::failover::running::Running;
use crate::plugins::failover::search::{Found, Search};
use crate::registry::{EndReason, Purpose, Slot};
use crate::runtime::Shared;
use crate::session::transaction::TransactionState;
use crate::topology::cluster::Verify;
use crate::topology::view::Topology;

/// Finds the next connection when one is lost.
#[derive(Debug)]
pub struct Failover<D: DriverDialect> {
    driver: Arc<D>,
    topology: Arc<Topology>,
    shared: Arc<Shared>,
    settings: FailoverSettings,
    mode: FailoverMode,
    search: Search<D>,
}

/// Why a failover starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// The host or the path to it is gone.
    HostLost,
    /// The server ended this session, the host is fine.
    SessionLost,
    /// The host is a reader now.
    Demoted,
}

/// A question on a connection that just failed takes no longer than this.
const ROLE_LIMIT: Duration = Duration::from_secs(5);
/// How long the old connection may take to roll back.
const ROLLBACK_LIMIT: Duration = Duration::from_millis(500);

impl<D: DriverDialect> Failover<D> {
    /// How it is registered.
    pub const fn factory() -> PluginFactory<D> {
        PluginFactory::new("failover", |context| Ok(Arc::new(Self::new(context)?)))
            .with_aliases(&["failover2", "failover_v2"])
            .with_place(Place::Weight(900))
            .with_topology()
            .with_parameters(settings::PARAMETERS)
            .with_check(|values| FailoverSettings::from_values(values).map(drop))
    }

    pub(crate) fn new(context: &PluginContext<D>) -> Result<Self> {
        let settings = context.settings::<FailoverSettings>()?;
        let by_endpoint = match (context.wanted_role, context.topology.endpoint().kind()) {
            (Some(Role::Reader), _) => FailoverMode::StrictReader,
            (None, EndpointKind::ReaderCluster) => FailoverMode::ReaderOrWriter,
            _ => FailoverMode::StrictWriter,
        };
        let mode = settings.mode.unwrap_or(by_endpoint);
        Ok(Self {
            driver: Arc::clone(&context.driver),
            topology: Arc::clone(&context.topology),
            shared: Arc::clone(&context.shared),
            search: Search::new(context, settings.clone())?,
            settings,
            mode,
        })
    }

    /// Which host may take the place of the one behind this logical connection.
    fn mode(&self, logical: &Logical<D>) -> FailoverMode {
        match logical.role() {
            None | Some(Role::Unknown) => self.mode,
            Some(Role::Writer) => FailoverMode::StrictWriter,
            Some(Role::Reader) => {
                let asked = self.settings.mode.filter(|mode| *mode != FailoverMode::StrictWriter);
                asked.unwrap_or(FailoverMode::ReaderOrWriter)
            }
        }
    }

    /// Whether there is anywhere to fail over to. Asked in one place, for every trigger.
    fn is_active(&self) -> bool {
        let is_proxy =
            matches!(self.topology.endpoint().kind(), EndpointKind::Proxy | EndpointKind::ProxyEndpoint);
        !is_proxy && (self.topology.cluster().is_some() || self.topology.snapshot().hosts.len() > 1)
    }

    async fn trigger(&self, call: &Call<'_, D>, error: &Error) -> Option<Trigger> {
        if !self.is_active() || self.shared.is_shut_down() {
            return None;
        }
        match error.kind() {
            ErrorKind::Driver(DriverClass::Network) | ErrorKind::HostUnavailable => Some(Trigger::HostLost),
            ErrorKind::Driver(DriverClass::SessionTerminated) => Some(Trigger::SessionLost),
            ErrorKind::Driver(DriverClass::Role)
                if self.mode(call.logical()) == FailoverMode::StrictWriter =>
            {
                (self.role_now(call).await == Role::Reader).then_some(Trigger::Demoted)
            }
            _ => None,
        }
    }

    /// Verifies a refused write: the server may be a reader, or the transaction may be the user's own read-only one.
    async fn role_now(&self, call: &Call<'_, D>) -> Role {
        let Some(slot) = call.current_slot() else {
            return Role::Unknown;
        };
        let dialect = self.topology.dialect();
        if let Ok(Ok(table)) = timeout(ROLE_LIMIT, call.ask().fetch_text(dialect.role_sql())).await {
            return dialect.parse_role(&table).unwrap_or(Role::Unknown);
        }
        // In a failed transaction the server answers no question: the topology has to tell.
        match self.topology.refresh(Verify::Writer, Instant::now() + ROLE_LIMIT).await {
            Ok(snapshot) => match snapshot.verified_writer() {
                Some(writer)
                    if writer != slot.routed_host() && is_instance(&snapshot, slot.routed_host()) =>
                {
                    Role::Reader
                }
                Some(writer) if writer == slot.routed_host() => Role::Writer,
                _ => Role::Unknown,
            },
            Err(error) => {
                tracing::debug!(%error, "a refused write could not be verified");
                Role::Unknown
            }
        }
    }

    /// Leaves the lost connection behind: nothing waits for it any more.
    async fn give_up(&self, call: &Call<'_, D>, lost: &Slot, trigger: Trigger, in_transaction: bool) {
        match trigger {
            Trigger::HostLost => {
                // That the host is down is for a connect or a probe to find: one session may have been ended on a host that is
                // well.
                if let Some(cluster) = self.topology.cluster() {
                    cluster.report_down(lost.routed_host());
                }
            }
            Trigger::Demoted if in_transaction && self.settings.rollback_on_switch => {
                // The locks of the lost work should not stay until the server notices.
                let _ = timeout(ROLLBACK_LIMIT, call.ask().fetch_text("rollback")).await;
            }
            Trigger::Demoted | Trigger::SessionLost => {}
        }
        lost.abort(EndReason::aborted("replaced by a failover"));
    }

    /// The next connection, with the session's settings applied. One that is lost on the way is not the last attempt.
    async fn find_and_configure(
        &self,
        call: &Call<'_, D>,
        lost: &Slot,
        trigger: Trigger,
        attempts: &mut u32,
    ) -> Result<Found<D>> {
        let deadline = Instant::now() + self.settings.timeout;
        loop {
            let mode = self.mode(call.logical());
            let mut found = self.find(mode, lost, trigger, deadline, attempts).await?;
            let limit = deadline.min(Instant::now() + self.settings.connect_timeout);
            let telemetry = self.shared.telemetry();
            let (driver, connection) = (self.driver.as_ref(), &mut found.connection);
            let configured = call.logical().configure(driver, connection, limit, telemetry).await;
            let error = match configured {
                Ok(()) => return Ok(found),
                Err(error) => error,
            };
            let again = Instant::now() + self.settings.retry_delay;
            let is_lost =
                matches!(error.kind(), ErrorKind::Driver(DriverClass::Network) | ErrorKind::Timeout(_));
            if !is_lost || again >= deadline {
                let text = "the session's settings could not be applied to the new connection";
                return Err(Error::new(ErrorKind::SessionTransfer, text).with_source(error));
            }
            tracing::debug!(%error, "the new connection was lost before it could be used");
            drop(found);
            sleep_until(again).await;
        }
    }

    async fn find(
        &self,
        mode: FailoverMode,
        lost: &Slot,
        trigger: Trigger,
        deadline: Instant,
        attempts: &mut u32,
    ) -> Result<Found<D>> {
        if trigger == Trigger::SessionLost {
            // The host is fine: it is asked first, and not blamed.
            match self.search.same_host(mode, lost.routed_host(), deadline, attempts).await {
                Ok(found) => return Ok(found),
                Err(error) => {
                    tracing::debug!(%error, "the host of a terminated session could not be used again");
                }
            }
        }
        self.search.run(mode, deadline, attempts).await
    }

    async fn fail_over(
        &self,
        call: &Call<'_, D>,
        lost: &Arc<Slot>,
        trigger: Trigger,
        known: TransactionState,
        error: Error,
    ) -> Error {
        let started = Instant::now();
        let statement_may_have_run = error.statement_may_have_run() && trigger != Trigger::Demoted;
        let (was_in_transaction, commit_in_flight) = call.lost_work(lost, known, statement_may_have_run);
        let mut report = FailoverReport {
            old_host: Some(lost.routed_host().clone()),
            was_in_transaction,
            commit_in_flight,
            statement_may_have_run,
            ..FailoverReport::default()
        };
        let mode = self.mode(call.logical());
        let cluster = self.topology.cluster().map(|cluster| cluster.id());
        let mut running = Running::start(&self.shared, cluster, lost.routed_host(), mode, was_in_transaction);
        tracing::warn!(host = %lost.routed_host(), ?trigger, %error, was_in_transaction, "connection lost; failing over");
        let mut attempts = 0;
        let search = async {
            self.give_up(call, lost, trigger, was_in_transaction).await;
            let found = self.find_and_configure(call, lost, trigger, &mut attempts);
            self.shared.until_shut_down(found).await
        };
        let found = search.instrument(running.span().clone()).await;
        report.elapsed = started.elapsed();
        report.attempts = attempts;
        match found {
            Ok(found) => {
                let slot = Arc::clone(self.driver.slot(&found.connection));
                if self.topology.is_tracking() {
                    self.topology.track(&slot);
                }
                report.new_host = Some(slot.routed_host().clone());
                let outcome = if was_in_transaction {
                    FailoverOutcome::TransactionUnknown
                } else {
                    FailoverOutcome::Succeeded
                };
                running.finish(outcome, &report, found.found_at.duration_since(started));
                tracing::info!(
                    host = %lost.routed_host(), new_host = %slot.routed_host(), ?outcome,
                    elapsed_ms = report.elapsed.as_millis(), attempts, "failed over"
                );
                // The host is well if the next connection leads to it again: then the call itself may be what ends sessions.
                let is_same_host = report.new_host == report.old_host;
                // A call that found the connection gone has not ended its session.
                let again =
                    statement_may_have_run && call.logical().lost_with(call.fingerprint(), lost, &slot);
                call.logical().park(found.connection, slot, Some((outcome, report.clone())));
                let error = Error::failover(outcome, report, error);
                if again && is_same_host && trigger != Trigger::Demoted {
                    error.with_ends_sessions()
                } else {
                    error
                }
            }
            Err(reason) => {
                running.finish(FailoverOutcome::Failed, &report, report.elapsed);
                tracing::error!(host = %lost.routed_host(), %reason, attempts, "failover failed");
                report.last_error = Some(format!("{reason:#}"));
                call.logical().switch_failed(lost, report.clone());
                Error::failover(FailoverOutcome::Failed, report, error)
            }
        }
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for Failover<D> {
    fn code(&self) -> &'static str {
        "failover"
    }

    fn subscriptions(&self) -> Subscriptions {
        let connects = if self.settings.on_connect { Connects::Application } else { Connects::None };
        Subscriptions::none().failures(MethodSet::ALL).connects(connects)
    }

    /// Only with `enable_connect_failover`: another host may take the place of one that cannot be reached.
    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        let error = match next.run(request).await {
            Ok(connection) => return Ok(connection),
            Err(error) => error,
        };
        let unreachable = matches!(
            error.kind(),
            ErrorKind::Driver(DriverClass::Network | DriverClass::Lookup)
                | ErrorKind::HostUnavailable
                | ErrorKind::Timeout(_)
        );
        if request.purpose() != Purpose::Initial || !unreachable || !self.is_active() {
            return Err(error);
        }
        tracing::warn!(host = %request.host(), %error, "connecting failed; looking for another host");
        let deadline = request.deadline().min(Instant::now() + self.settings.timeout);
        match self.search.run(self.mode, deadline, &mut 0).await {
            Ok(found) => Ok(found.connection),
            Err(reason) => {
                tracing::debug!(%reason, "no other host could be used either");
                Err(error)
            }
        }
    }

    async fn recover(&self, call: &Call<'_, D>, error: Error) -> Recovery {
        let before = call.current_slot().map(|slot| (slot.id(), slot.last_known_transaction()));
        let Some(trigger) = self.trigger(call, &error).await else {
            return Recovery::Fail(error);
        };
        // One failover for all calls that fail together on one logical connection, also when it finds nothing: each
        // would wait for the whole time again, one after the other.
        let since = Instant::now();
        let _turn = call.logical().switching().lock().await;
        match (call.current_slot(), call.logical().last_switch()) {
            (Some(lost), _) => {
                if let Some(mut report) = call.logical().failure_since(&lost, since) {
                    report.statement_may_have_run = error.statement_may_have_run();
                    return Recovery::Handled(Error::failover(FailoverOutcome::Failed, report, error));
                }
                let known = state_at_the_error(before, &lost, trigger);
                Recovery::Handled(self.fail_over(call, &lost, trigger, known, error).await)
            }
            (None, Some((outcome, mut report))) => {
                report.statement_may_have_run = error.statement_may_have_run();
                Recovery::Handled(Error::failover(outcome, report, error))
            }
            (None, None) => Recovery::Fail(error),
        }
    }
}

/// The last state known when the error came; `before` is that of a slot by its id.
///
/// The answer to the question about the role comes with the state of after the error, when the server may have rolled
/// back: a commit that a demoted writer refused would pass for a lone statement.
fn state_at_the_error(
    before: Option<(u64, TransactionState)>,
    lost: &Slot,
    trigger: Trigger,
) -> TransactionState {
    match before {
        Some((id, known)) if trigger == Trigger::Demoted && id == lost.id() => known,
        _ => lost.last_known_transaction(),
    }
}

fn is_instance(snapshot: &crate::topology::Snapshot, host: &HostKey) -> bool {
    snapshot.find(host).is_some()
}

#[cfg(test)]
mod tests;
