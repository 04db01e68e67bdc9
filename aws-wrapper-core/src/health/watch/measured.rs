//! What the application's instrument is told of a host.

use std::time::Duration;

use super::super::verdict::Verdict;
use super::HostWatch;
use crate::host::HostKey;
use crate::telemetry::{Telemetry, key, metrics};

impl HostWatch {
    /// A probe came to this.
    pub(super) fn measure_probe(&self, outcome: &'static str) {
        self.measure(|telemetry, host| {
            telemetry.add(&metrics::EFM_PROBES, 1, &[key::HOST.of(host), key::OUTCOME.of(outcome)]);
        });
    }

    /// The verdict is another one.
    pub(super) fn measure_verdict(&self, before: Verdict, after: Verdict) {
        self.measure(|telemetry, host| {
            let attributes = [key::HOST.of(host)];
            telemetry.set(&metrics::EFM_HOST_VERDICT, f64::from(after as u8), &attributes);
            if after == Verdict::Down && before != Verdict::Down {
                telemetry.add(&metrics::EFM_HOST_UNHEALTHY_COUNT, 1, &attributes);
            }
        });
    }

    /// A connection is ended; with it a call that has been without an answer for so long, if there is one.
    pub(super) fn measure_abort(&self, silent: Option<Duration>) {
        self.measure(|telemetry, host| {
            let attributes = [key::HOST.of(host)];
            telemetry.add(&metrics::EFM_CONNECTIONS_ABORTED, 1, &attributes);
            if let Some(silent) = silent {
                telemetry.record(&metrics::EFM_DETECTION_TIME, silent, &attributes);
            }
        });
    }

    /// There is another number of connections.
    pub(super) fn show_connections(&self) {
        self.measure(|telemetry, host| {
            let count = self.slots.lock().guarded.len();
            telemetry.set_count(&metrics::EFM_SLOTS, count, &[key::HOST.of(host)]);
        });
    }

    /// Its monitor runs, or does not any more.
    pub(super) fn show_running(&self) {
        if let Some(monitors) = self.monitors.upgrade() {
            monitors.show_running();
        }
    }

    fn measure(&self, act: impl FnOnce(&Telemetry, &HostKey)) {
        let Some(monitors) = self.monitors.upgrade() else { return };
        let telemetry = monitors.shared().telemetry();
        if telemetry.is_on() {
            act(telemetry, &self.host());
        }
    }
}
