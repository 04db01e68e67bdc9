//! What has been found out about one host, as its monitor counts and people see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::super::profile::Profile;
use super::super::verdict::{Outcome, Verdict, Window};
use crate::host::HostKey;

/// The state of one watched host, for people and metrics.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HostMonitorStatus {
    /// The instance, as far as it is known, else the name that was dialled.
    pub host: HostKey,
    /// The address, unless it is a socket of the file system.
    pub address: Option<SocketAddr>,
    /// Whether the host is alive.
    pub verdict: Verdict,
    /// Connections that are watched.
    pub connections: usize,
    /// Whether the host's monitor runs: only while a call needs it, and for a while after.
    pub is_running: bool,
    /// Whether its own connection to the host is open.
    pub is_connected: bool,
    /// Probes that were answered, also by a refusal.
    pub probes_alive: u64,
    /// Probes that were not.
    pub probes_unreachable: u64,
    /// Probes that say nothing about the host.
    pub probes_inconclusive: u64,
    /// Probes that were not needed, because another connection was answered.
    pub probes_passive: u64,
    /// How often the host was found dead.
    pub downs: u64,
    /// Connections that were ended because the host was dead.
    pub aborted: u64,
    /// From the last sign of life to the end of the call, when a call was last ended.
    pub last_detection: Option<Duration>,
    /// What the last probe without an answer ran into, until one is answered.
    pub last_error: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The failures in a row as each set of timings counts them.
    pub(super) windows: Vec<(Arc<Profile>, Window)>,
    /// Whether the monitor's task runs.
    pub(super) is_running: bool,
    /// Whether it has to look again before it may end.
    pub(super) is_woken: bool,
    pub(super) counters: Counters,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counters {
    pub(super) alive: u64,
    pub(super) unreachable: u64,
    pub(super) inconclusive: u64,
    pub(super) passive: u64,
    pub(super) downs: u64,
    pub(super) aborted: u64,
    pub(super) last_detection: Option<Duration>,
    pub(super) is_connected: bool,
}

impl State {
    pub(super) fn verdict(&self) -> Verdict {
        self.windows.iter().map(|(_, window)| window.verdict()).max().unwrap_or_default()
    }

    /// How long what is known is kept without a connection.
    pub(super) fn disposal(&self) -> Duration {
        self.windows.iter().map(|(profile, _)| profile.disposal).max().unwrap_or_default()
    }

    /// The timings that a new connection shares with those that have the same.
    pub(super) fn shared_profile(&mut self, profile: &Arc<Profile>) -> Arc<Profile> {
        if let Some((known, _)) = self.windows.iter().find(|(known, _)| known == profile) {
            return Arc::clone(known);
        }
        self.windows.push((Arc::clone(profile), Window::default()));
        Arc::clone(profile)
    }

    /// The monitor's task does not run any more.
    pub(super) fn stopped(&mut self) {
        self.is_running = false;
        self.counters.is_connected = false;
    }
}

impl Counters {
    pub(super) fn count(&mut self, outcome: Outcome) {
        *match outcome {
            Outcome::Alive => &mut self.alive,
            Outcome::Unreachable => &mut self.unreachable,
            Outcome::Inconclusive => &mut self.inconclusive,
        } += 1;
    }
}
