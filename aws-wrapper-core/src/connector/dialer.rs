//! Dialing one host: the driver, within limits.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::Availability;
use crate::plugin::chain::Dial;
use crate::registry::Purpose;
use crate::runtime::Shared;
use crate::telemetry::{key, metrics, outcome, spans};

/// The driver, with a deadline and a limit on how many connections open at once to one host.
#[derive(Debug)]
pub(super) struct Dialer<D: DriverDialect> {
    pub(super) driver: Arc<D>,
    pub(super) shared: Arc<Shared>,
    pub(super) max_opening_per_host: usize,
}

/// A host that works answers in that time.
const FAIR: Duration = Duration::from_secs(1);

impl<D: DriverDialect> Dialer<D> {
    pub(super) async fn open(&self, request: &mut ConnectRequest) -> Result<D::Connection> {
        let limit = request.attempt_limit();
        let host = request.host().clone();
        let opening = self.shared.opening(&host, self.max_opening_per_host);
        // Waiting in the queue is no fault of the host, so its limit begins after that.
        let _permit = match request.purpose() {
            // Monitors go first: everybody else waits for what they find.
            Purpose::TopologyMonitor | Purpose::HostMonitor => None,
            Purpose::Initial | Purpose::Switch => {
                let turn = timeout_at(request.deadline(), opening.acquire()).await;
                let late = "no turn to connect came in time: too many connections are being opened";
                turn.map_err(|_| Error::new(ErrorKind::Timeout(Phase::Connect), late).with_host(&host))?.ok()
            }
        };
        let timer = self.shared.telemetry().start();
        let purpose = request.purpose().code();
        let span = tracing::debug_span!(spans::CONNECT_ATTEMPT, %host, purpose, outcome = Empty);
        let opened = self.ask(request, limit).instrument(span.clone()).await;
        span.record("outcome", outcome(&opened));
        let attributes = [key::HOST.of(&host), key::PURPOSE.of(purpose), key::OUTCOME.of_result(&opened)];
        self.shared.telemetry().stop(timer, &metrics::CONNECT_ATTEMPT_DURATION, &attributes);
        opened
    }

    /// One attempt of the driver, and what it says about the host.
    async fn ask(&self, request: &mut ConnectRequest, limit: Duration) -> Result<D::Connection> {
        let host = request.host().clone();
        let started = Instant::now();
        request.begin(started, self.shared.registry.open(host.clone(), request.purpose()));
        let deadline = request.attempt_deadline();
        let given = deadline.saturating_duration_since(started);
        match timeout_at(deadline, self.driver.connect(request)).await {
            Ok(Ok(connection)) => {
                self.shared.set_availability(&host, Availability::Available);
                Ok(connection)
            }
            Ok(Err(error)) => {
                let error = self.driver.error(error);
                if error.kind() == ErrorKind::Driver(DriverClass::Network) {
                    self.shared.set_availability(&host, Availability::NotAvailable);
                }
                Err(error.with_host(&host))
            }
            Err(_) => {
                // A host that had only the rest of somebody's time is not to blame.
                if given >= limit.min(FAIR) {
                    self.shared.set_availability(&host, Availability::NotAvailable);
                }
                let message = format!("no connection within {} ms", given.as_millis());
                Err(Error::new(ErrorKind::Timeout(Phase::Connect), message).with_host(&host))
            }
        }
    }
}

impl<D: DriverDialect> Dial<D> for Dialer<D> {
    fn dial<'r>(&'r self, request: &'r mut ConnectRequest) -> BoxFuture<'r, Result<D::Connection>> {
        Box::pin(self.open(request))
    }
}
