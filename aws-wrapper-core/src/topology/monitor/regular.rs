//! Regular mode: one connection, where it is preferred, that reads the topology now and then.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Done, Main, Monitor, SHORT_PATIENCE};
use crate::error::{ErrorKind, Result};
use crate::host::{HostKey, Role};
use crate::telemetry::{key, metrics};
use crate::topology::MonitoringPriority;
use crate::topology::cluster::{Verify, answers};
use crate::topology::reading::{Reading, read_within};
use crate::topology::round::Round;
use crate::topology::upgrade::{Upgrade, upgrade};
use crate::topology::worker::Held;

impl Monitor {
    pub(super) fn read_if_due(&mut self, now: Instant) {
        let current = self.cluster.current();
        let asked =
            self.cluster.asked().refresh.is_some_and(|asked_at| !answers(&current, Verify::No, asked_at));
        // A server without a topology is given a moment, whoever waits.
        let may_ask = !self.was_empty && self.quiet_until <= now;
        let is_due = self.read_at <= now;
        if matches!(self.main, Main::Idle(_)) && (is_due || (asked && may_ask)) {
            if is_due {
                let lag = now.duration_since(self.read_at).as_secs_f64();
                self.cluster.telemetry().set(&metrics::MONITOR_LAG, lag, &[key::TYPE.of("topology")]);
            }
            self.start_read(false);
        }
    }

    pub(super) fn start_read(&mut self, verifies: bool) {
        let id = self.new_id();
        self.quiet_until = Instant::now() + self.cluster.seed.settings.panic_refresh_rate;
        let Main::Idle(mut held) = std::mem::replace(&mut self.main, Main::None) else { return };
        let (host, cluster) = (held.host.clone(), Arc::clone(&self.cluster));
        let limit = cluster.seed.settings.socket_timeout;
        // Somebody waits, and a connection this young answers quickly if it answers at all.
        let limit = if verifies { limit.min(SHORT_PATIENCE) } else { limit };
        let abort = self.tasks.spawn(async move {
            let outcome = read_within(limit, &cluster, held.probe.as_mut()).await;
            Done::Read { id, held, verifies, outcome }
        });
        self.main = Main::Busy { id, host, verifies, abort };
    }

    pub(super) fn has_read(&mut self, id: u64, mut held: Held, verifies: bool, outcome: Result<Reading>) {
        if !matches!(&self.main, Main::Busy { id: busy, .. } if *busy == id) {
            return;
        }
        let now = Instant::now();
        self.main = Main::None;
        match outcome {
            Ok(reading) => {
                if let Some(own) = &reading.own {
                    held.host = own.clone();
                }
                self.main_role = reading.role;
                self.has_reading(&reading, held, verifies, now);
            }
            Err(error) => {
                // With the connection goes the belief in its host; the next decision is to look for the writer.
                let is_hopeless = error.kind() == ErrorKind::Config;
                let error = self.cluster.note(error);
                if is_hopeless {
                    self.cluster.fail_waiters(error);
                }
                self.lost = Some(held.host);
            }
        }
    }

    fn has_reading(&mut self, reading: &Reading, held: Held, verifies: bool, now: Instant) {
        let current = self.cluster.current();
        let known = current.writer_host().map(|host| &host.key);
        let Some(named) = reading.writer() else {
            // Servers answer so in the middle of a failover. Asked once more before the connection is given up.
            if std::mem::replace(&mut self.was_empty, true) {
                self.was_empty = false;
                self.lost = Some(held.host);
            } else {
                self.main = Main::Idle(held);
                self.read_at = now + self.cluster.seed.settings.high_refresh_rate;
            }
            return;
        };
        self.was_empty = false;
        if verifies {
            // Either it proves the writer now, or the next question needs a new connection.
            self.proved_at = None;
        }
        let changed = known != Some(named);
        // The readers may have agreed on it before it could be asked itself.
        let is_unproved = current.verified_writer() != Some(named);
        if reading.proves_writer() && (verifies || changed || is_unproved) {
            return self.proved(reading, held);
        }
        let is_settled = self.round.as_ref().is_some_and(Round::is_settled) && !self.verification_wanted();
        let was_demoted = reading.own.as_ref() == known && reading.role == Role::Reader;
        self.main = Main::Idle(held);
        self.read_later(now);
        if known.is_none() || !(changed || was_demoted) {
            self.doubt_pauses.reset();
            return self.publish(reading, is_settled, None);
        }
        // Another writer, or this one no more, but no proof: old news from a host that lags behind, or a switchover.
        // Those two are asked, now or soon; until then the known writer stays the writer.
        if let Some(corrected) = known.and_then(|known| reading.with_writer(known)) {
            self.publish(&corrected, is_settled, None);
        }
        if self.doubt_at <= now && self.round.is_none() {
            self.doubt_at = now + self.doubt_pauses.pause();
            self.begin_round(Some(named.clone()), now);
        }
    }

    pub(super) fn upgrade_if_due(&mut self, now: Instant) {
        let index = self.main_index();
        if index == 0 || self.upgrading_since.is_some() || self.upgrade_at > now {
            return;
        }
        let Main::Idle(held) = &self.main else { return };
        let candidates = self.candidates(index, &held.host);
        self.upgrade_at = now + self.upgrade_pauses.pause();
        if !candidates.is_empty() {
            self.upgrading_since = Some(now);
            let cluster = Arc::clone(&self.cluster);
            self.tasks.spawn(async move { Done::Upgraded(upgrade(&cluster, candidates).await) });
        }
    }

    pub(super) fn upgraded(&mut self, upgrade: Option<Upgrade>) {
        let began = self.upgrading_since.take();
        let Some(Upgrade { held, reading }) = upgrade else { return };
        // A proof somebody asked for meanwhile must not be disturbed.
        let asked = self.cluster.asked().verify;
        let overtaken =
            self.round.is_some() || asked.is_some_and(|asked_at| began.is_none_or(|at| asked_at >= at));
        if overtaken || self.index_of(reading.role) >= self.main_index() {
            return;
        }
        if let Main::Busy { abort, .. } = &self.main {
            abort.abort();
        }
        self.main = Main::None;
        self.upgrade_pauses.reset();
        self.main_role = reading.role;
        if reading.proves_writer() {
            self.proved(&reading, held);
        } else {
            self.has_reading(&reading, held, false, Instant::now());
        }
    }

    /// Keeps the connection as the main one if it is as good as the one there is, by the order of preference.
    pub(super) fn offer(&mut self, held: Held) {
        let index = self.index_of(self.role_of(&held.host));
        let is_better = match &self.main {
            Main::None => true,
            Main::Idle(main) => index <= self.index_of(self.role_of(&main.host)),
            // What is in flight is not thrown away for a tie.
            Main::Busy { .. } => index < self.main_index(),
        };
        // While all hosts are asked, connections belong to their workers.
        if is_better && self.round.as_ref().is_none_or(Round::is_settled) {
            if let Main::Busy { abort, .. } = &self.main {
                abort.abort();
            }
            self.main_role = self.role_of(&held.host);
            self.main = Main::Idle(held);
        }
    }

    fn role_of(&self, host: &HostKey) -> Role {
        let current = self.cluster.current();
        match current.writer_host() {
            Some(writer) if writer.key == *host => Role::Writer,
            Some(_) => Role::Reader,
            None => Role::Unknown,
        }
    }

    /// How far the main connection is from what is preferred; 0 is best.
    pub(super) fn main_index(&self) -> usize {
        self.index_of(self.main_role)
    }

    fn index_of(&self, role: Role) -> usize {
        let priority = &self.cluster.seed.settings.monitoring_priority;
        priority.iter().position(|token| satisfies(*token, role)).unwrap_or(priority.len())
    }

    /// Hosts that would be better than `index`, best first, equals in random order.
    fn candidates(&self, index: usize, main: &HostKey) -> Vec<(HostKey, Role)> {
        let current = self.cluster.current();
        let mut candidates: Vec<_> = (current.hosts.iter())
            .filter(|host| host.key != *main)
            .map(|host| (self.index_of(host.role), fastrand::u64(..), host))
            .filter(|(better, ..)| *better < index)
            .collect();
        candidates.sort_unstable_by_key(|(index, chance, _)| (*index, *chance));
        candidates.into_iter().map(|(_, _, host)| (host.key.clone(), host.role)).collect()
    }
}

fn satisfies(token: MonitoringPriority, role: Role) -> bool {
    match token {
        MonitoringPriority::StrictWriter => role == Role::Writer,
        MonitoringPriority::StrictReader => role == Role::Reader,
        MonitoringPriority::WriterOrReader => true,
    }
}
