//! The timings by which one connection is watched.

use std::time::Duration;

use crate::health::{MonitorRuntime, MonitoringSettings};

/// See [`MonitoringSettings`]. Connections with the same one are judged together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "switches, each a parameter of its own")]
pub(crate) struct Profile {
    pub(super) grace: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
    pub(super) probe_timeout: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) fail_fast: bool,
    pub(super) passive: bool,
    pub(super) check_incarnation: bool,
    pub(super) eager_connect: bool,
    pub(super) idle_close: Duration,
    pub(super) disposal: Duration,
    pub(super) runtime: MonitorRuntime,
}

impl Profile {
    pub(crate) fn new(settings: &MonitoringSettings) -> Self {
        Self {
            grace: settings.grace,
            interval: settings.interval,
            count: settings.count,
            probe_timeout: settings.probe_timeout,
            connect_timeout: settings.connect_timeout,
            fail_fast: settings.fail_fast,
            passive: settings.passive,
            check_incarnation: settings.check_incarnation,
            eager_connect: settings.eager_connect,
            idle_close: settings.idle_close,
            disposal: settings.disposal,
            runtime: settings.runtime,
        }
    }

    pub(super) fn grace_millis(&self) -> u64 {
        u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX)
    }
}
