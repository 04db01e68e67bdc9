//! What a sub-pool tells the application's instrument.

use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::telemetry::{Attribute, Key, Telemetry, Timer, Value, key, metrics};
use deadpool::managed;

use crate::error::Error;
use crate::target::Target;

/// Measures one sub-pool. Without an instrument it does nothing.
#[derive(Debug)]
pub(crate) struct Meter {
    telemetry: Telemetry,
    /// Where the connector leads to: pools of several clusters may share their services.
    endpoint: HostKey,
    target: Target,
}

impl Meter {
    pub(crate) fn new(telemetry: Telemetry, endpoint: HostKey, target: Target) -> Self {
        Self { telemetry, endpoint, target }
    }

    /// A checkout begins.
    pub(crate) fn start(&self) -> Timer {
        self.telemetry.start()
    }

    /// A checkout is over.
    pub(crate) fn checked_out<T>(&self, timer: Timer, result: &Result<T, Error>) {
        let attributes = self.attributes(key::OUTCOME, Self::outcome(result));
        self.telemetry.stop(timer, &metrics::POOL_WAIT_DURATION, &attributes);
    }

    /// How a checkout ended.
    pub(crate) fn outcome<T>(result: &Result<T, Error>) -> &'static str {
        result.as_ref().map_or_else(|error| error.kind().code(), |_| "ok")
    }

    /// A connection was opened, or could not be.
    pub(crate) fn created(&self, outcome: &str) {
        self.telemetry.add(&metrics::POOL_CREATE_COUNT, 1, &self.attributes(key::OUTCOME, outcome));
    }

    /// A connection is used again, or is not.
    pub(crate) fn recycled(&self, reason: &str) {
        self.telemetry.add(&metrics::POOL_RECYCLE_COUNT, 1, &self.attributes(key::REASON, reason));
    }

    /// How many connections there are now; `status` finds out.
    pub(crate) fn show_size(&self, status: impl FnOnce() -> managed::Status) {
        if self.telemetry.is_on() {
            let status = status();
            let in_use = status.size.saturating_sub(status.available);
            for (state, count) in [("idle", status.available), ("in_use", in_use)] {
                let attributes = self.attributes(key::STATE, state);
                self.telemetry.set_count(&metrics::POOL_CONNECTIONS, count, &attributes);
            }
        }
    }

    fn attributes<'a>(&'a self, key: Key, value: &'a str) -> [Attribute<'a>; 3] {
        let target: Value<'_> = match &self.target {
            Target::Reader(host) => host.into(),
            other => other.code().into(),
        };
        [key::ENDPOINT.of(&self.endpoint), key::TARGET.of(target), key.of(value)]
    }
}
