//! What follows from a probe: the verdict, who hears of it, and the end of the calls that hang.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use super::super::clock::{HostMonitors, Now};
use super::super::profile::Profile;
use super::super::verdict::{Outcome, Verdict};
use super::{HostWatch, age};
use crate::error::Error;
use crate::events::Event;
use crate::host::{Availability, HostKey};
use crate::registry::{EndReason, Slot, Word};

impl HostWatch {
    /// A probe of `profiles` from `began` to `ended` came to this.
    pub(in super::super) fn judge(
        &self,
        outcome: Outcome,
        (began, ended): (Instant, Instant),
        profiles: &[Arc<Profile>],
        error: Option<&Error>,
    ) {
        let (before, after) = {
            let mut state = self.state.lock();
            let before = state.verdict();
            state.counters.count(outcome);
            let is_first = state.last_error.is_none();
            if let Some(error) = error.filter(|_| is_first && outcome != Outcome::Unreachable) {
                let error = format_args!("{error:#}");
                tracing::warn!(address = ?self.address(), %error, "the host monitor cannot ask; the host counts as it did");
            }
            state.last_error = error.map(|error| format!("{error:#}"));
            for (profile, window) in &mut state.windows {
                if outcome == Outcome::Alive || profiles.contains(profile) {
                    window.add(outcome, (began, ended), (profile.interval, profile.count));
                }
            }
            (before, state.verdict())
        };
        self.measure_probe(outcome.code());
        self.turn(before, after);
    }

    /// The host was heard on another connection.
    pub(in super::super) fn heard(&self) {
        let (before, after) = {
            let mut state = self.state.lock();
            let before = state.verdict();
            state.counters.passive += 1;
            let now = Instant::now();
            for (profile, window) in &mut state.windows {
                window.add(Outcome::Alive, (now, now), (profile.interval, profile.count));
            }
            (before, state.verdict())
        };
        self.measure_probe("passive");
        self.turn(before, after);
    }

    /// Makes known what has changed, and ends what hangs on a dead host.
    fn turn(&self, before: Verdict, after: Verdict) {
        let Some(monitors) = self.monitors.upgrade() else { return };
        let (shared, host) = (monitors.shared(), self.host());
        if before != after {
            tracing::info!(%host, address = ?self.address(), ?before, ?after, "host monitoring");
            self.measure_verdict(before, after);
        }
        self.is_down.store(after == Verdict::Down, Ordering::Release);
        if after == Verdict::Down {
            let is_news = before != Verdict::Down;
            if is_news {
                self.state.lock().counters.downs += 1;
                shared.set_availability(&host, Availability::NotAvailable);
                monitors.announce(self);
            }
            self.end_what_hangs(&monitors, &host, is_news);
        } else if before == Verdict::Down {
            shared.set_availability(&host, Availability::Available);
            monitors.announce(self);
        }
    }

    /// Ends calls on a dead host, and marks the connections nobody uses.
    fn end_what_hangs(&self, monitors: &HostMonitors, host: &HostKey, is_news: bool) {
        let down: Vec<Arc<Profile>> = {
            let state = self.state.lock();
            let down = state.windows.iter().filter(|(_, window)| window.verdict() == Verdict::Down);
            down.map(|(profile, _)| Arc::clone(profile)).collect()
        };
        let (shared, now) = (monitors.shared(), monitors.now());
        let is_due = |profile: &Arc<Profile>, age| {
            down.contains(profile) && (profile.fail_fast || age >= profile.grace_millis())
        };
        let (count, longest) = self.end_calls(self.connections(), &now, is_due, || dead(host));
        let silent_for = Duration::from_millis(longest);
        if is_news {
            tracing::warn!(%host, address = ?self.address(), ?silent_for, aborted = count, "the host is dead");
            shared.events.send(Event::HostUnhealthy { host: host.clone(), silent_for });
        }
        if count > 0 {
            shared.events.send(Event::ConnectionsAborted { host: host.clone(), count });
        }
    }

    /// The server was started again after `alive_at`: connections from before that moment are gone, though nobody said so.
    pub(in super::super) fn end_older_than(&self, alive_at: Instant) {
        let Some(monitors) = self.monitors.upgrade() else { return };
        let (host, now) = (self.host(), monitors.now());
        let older = self.connections_if(|guarded| guarded.since <= alive_at);
        let is_due = |profile: &Arc<Profile>, age| age >= profile.grace_millis();
        let reason = || EndReason::aborted(format!("`{host}` was started again meanwhile"));
        let (count, _) = self.end_calls(older, &now, is_due, reason);
        if count > 0 {
            tracing::warn!(%host, count, "the server was started again; calls on older connections are ended");
            monitors.shared().events.send(Event::ConnectionsAborted { host, count });
        }
    }

    /// Marks `connections` that nobody uses, then ends the calls that are due by their age in milliseconds: how many, and the
    /// greatest age. In this order, because a call that has ended may look at the connections beside its own.
    fn end_calls(
        &self,
        connections: Vec<(Arc<Slot>, Arc<Profile>)>,
        now: &Now,
        is_due: impl Fn(&Arc<Profile>, u64) -> bool,
        reason: impl Fn() -> EndReason,
    ) -> (u64, u64) {
        let mut due = Vec::new();
        for (slot, profile) in connections {
            // A call that ends right now changes the word, and then the abort meets nothing.
            let word = slot.mark().word();
            match age(&slot, word, now) {
                None => slot.mark().suspect(),
                Some(age) if is_due(&profile, age) => due.push((slot, word, age)),
                Some(_) => {}
            }
        }
        let (mut count, mut longest) = (0, 0);
        for (slot, word, age) in due {
            let silent = longest.max(age);
            if self.end_call(&slot, word, silent, reason()) {
                (count, longest) = (count + 1, silent);
            }
        }
        (count, longest)
    }

    /// Ends the call that `word` tells of, and says whether it was still waiting. It is counted before it is woken:
    /// whoever it tells may look at the status.
    fn end_call(&self, slot: &Slot, word: Word, silent_millis: u64, reason: EndReason) -> bool {
        let is_ended = slot.mark().abort(word);
        if is_ended {
            let silent = Duration::from_millis(silent_millis);
            {
                let mut state = self.state.lock();
                state.counters.aborted += 1;
                state.counters.last_detection = Some(silent);
            }
            self.measure_abort(Some(silent));
            slot.abort(reason);
        }
        is_ended
    }
}

/// Why a connection to a dead host ends.
pub(super) fn dead(host: &HostKey) -> EndReason {
    EndReason::aborted(format!("`{host}` does not answer: the host monitor found it dead"))
}
