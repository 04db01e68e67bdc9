//! Failover: the writer dies, a reader takes over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use tokio::time::{Instant, sleep};

use super::inner::{Inner, State};
use crate::error::{Error, Result};
use crate::proxy::NetworkFault;

/// A reader that runs is in step within some tens of milliseconds.
const CANDIDATE_DEADLINE: Duration = Duration::from_secs(5);

/// Other readers follow the new writer within some tens of milliseconds; later ones join in the background.
const FOLLOW_DEADLINE: Duration = Duration::from_secs(1);

/// How a failover goes. By default: at once, to the reader with the most recent data, and the old writer comes back.
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct FailoverOptions {
    to: Option<String>,
    promote_after: Duration,
    leave_old_down: bool,
}

impl FailoverOptions {
    /// The reader that becomes the writer. Default: the one with the most recent data.
    pub fn to(mut self, instance: impl Into<String>) -> Self {
        self.to = Some(instance.into());
        self
    }

    /// How long there is no writer at all before the promotion starts; it takes another tenth of a second. Aurora
    /// needs some seconds. Default: 0.
    pub fn promote_after(mut self, delay: Duration) -> Self {
        self.promote_after = delay;
        self
    }

    /// Whether the old writer comes back as a reader, in the background. Default: yes.
    pub fn restart_old(mut self, restart: bool) -> Self {
        self.leave_old_down = !restart;
        self
    }
}

/// What happened in a failover or switchover, and when.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct FailoverReport {
    /// The instance that was the writer.
    pub old_writer: String,
    /// The instance that is the writer now.
    pub new_writer: String,
    /// When the old writer stopped taking writes: the moment before it was killed, or, in a switchover, made
    /// read-only.
    #[serde(rename = "killed_at_unix_ms", serialize_with = "unix_millis")]
    pub killed_at: Instant,
    /// When the promotion began.
    #[serde(rename = "promotion_at_unix_ms", serialize_with = "unix_millis")]
    pub promotion_at: Instant,
    /// When the new writer was seen to take writes.
    #[serde(rename = "writable_at_unix_ms", serialize_with = "unix_millis")]
    pub writable_at: Instant,
    /// When the cluster's name leads to the new writer; may be in the future.
    #[serde(rename = "dns_changed_at_unix_ms", serialize_with = "unix_millis")]
    pub dns_changed_at: Instant,
}

/// Milliseconds since 1970, for other programs.
fn unix_millis<S: Serializer>(instant: &Instant, serializer: S) -> Result<S::Ok, S::Error> {
    let now = (Instant::now(), SystemTime::now());
    let time = match instant.checked_duration_since(now.0) {
        Some(ahead) => now.1 + ahead,
        None => now.1 - now.0.duration_since(*instant),
    };
    let millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64() * 1000.0;
    serializer.serialize_f64(millis)
}

impl Inner {
    pub(super) async fn failover(self: Arc<Self>, options: FailoverOptions) -> Result<FailoverReport> {
        let wanted = options.to.as_deref().map(|name| self.index(name)).transpose()?;
        let (old, killed_at) = {
            let state = &mut *self.state.lock().await;
            self.await_candidate(state, wanted).await?;
            let killed_at = Instant::now();
            self.fence(state).await?;
            (state.writer, killed_at)
        };
        sleep(options.promote_after).await;

        let state = &mut *self.state.lock().await;
        // Whatever was ordered in between: nobody else may be the writer when another one is made.
        self.fence(state).await?;
        let promotion_at = Instant::now();
        let new = if self.hosts.len() == 1 {
            self.spawn(state, old)?;
            self.until_ready(state, old).await?;
            old
        } else {
            let new = self.most_recent(state, wanted).await?;
            self.database.promote(new).await?;
            new
        };
        let writable_at = Instant::now();
        let report = self.take_over(state, old, new, [killed_at, promotion_at, writable_at]).await?;
        if !options.leave_old_down && old != new {
            self.rebuild(state, old);
        }
        Ok(report)
    }

    /// Ends the writer for good. A writer that nobody hears keeps its silence: whether its clients notice that it
    /// was replaced is what such a fault is there to test.
    async fn fence(&self, state: &mut State) -> Result<()> {
        let old = state.writer;
        let proxy = &self.hosts[old].proxy;
        if state.instances[old].frozen && !proxy.fault().is_silent() {
            proxy.set_fault(NetworkFault::BlackHole).await;
        }
        self.crash(state, old).await
    }

    /// Everything that follows from a new writer.
    pub(super) async fn take_over(
        self: &Arc<Self>,
        state: &mut State,
        old: usize,
        new: usize,
        [killed_at, promotion_at, writable_at]: [Instant; 3],
    ) -> Result<FailoverReport> {
        state.writer = new;
        self.writer.store(new, Ordering::SeqCst);
        for instance in &mut state.instances {
            instance.in_step = false;
            instance.complete = false;
        }
        self.announce(state, self.options.dns_lag)?;
        let dns_changed_at = Instant::now() + self.options.dns_lag;
        for i in 0..self.hosts.len() {
            let instance = &mut state.instances[i];
            if i == new {
                continue;
            }
            // A server that was down may have missed too much, and a writer that was killed has a history of its own.
            if !instance.is_up() || instance.demoted {
                instance.outdated = true;
            } else {
                self.follow(state, i).await;
            }
        }
        let end = Instant::now() + FOLLOW_DEADLINE;
        while self.let_join(state).await? && Instant::now() < end {
            sleep(Duration::from_millis(2)).await;
        }
        let report = FailoverReport {
            old_writer: self.hosts[old].name.clone(),
            new_writer: self.hosts[new].name.clone(),
            killed_at,
            promotion_at,
            writable_at,
            dns_changed_at,
        };
        state.last_failover = Some(report.clone());
        Ok(report)
    }

    /// Makes a reader follow the writer, or begins to replace its data when it cannot. A frozen one is told when it thaws.
    pub(super) async fn follow(self: &Arc<Self>, state: &mut State, i: usize) {
        let instance = &mut state.instances[i];
        let Some(server) = instance.server.filter(|_| !instance.frozen) else { return };
        instance.follows_since = Some(Instant::now());
        let follows = self.database.follow(i, state.writer, server).await.unwrap_or_else(|error| {
            tracing::warn!(instance = self.hosts[i].name, %error, "does not follow the writer");
            false
        });
        if !follows {
            self.rebuild(state, i);
        }
    }

    /// Gives a reader that has just started the time to catch up.
    pub(super) async fn await_candidate(
        self: &Arc<Self>,
        state: &mut State,
        wanted: Option<usize>,
    ) -> Result<()> {
        let end = Instant::now() + CANDIDATE_DEADLINE;
        loop {
            let found = self.candidates(state, wanted);
            if found.is_ok() || Instant::now() > end || !self.let_join(state).await? {
                return self.candidates(state, wanted).map(drop);
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Readers that can take over.
    pub(super) fn candidates(&self, state: &State, wanted: Option<usize>) -> Result<Vec<usize>> {
        if self.hosts.len() == 1 {
            return Ok(vec![0]);
        }
        let mut found = Self::running_readers(state);
        found.retain(|&i| {
            let instance = &state.instances[i];
            instance.is_responsive() && instance.complete && wanted.is_none_or(|wanted| wanted == i)
        });
        if found.is_empty() {
            let who = wanted.map_or("no instance", |i| self.hosts[i].name.as_str());
            let what = "a running reader that has everything the writer has acknowledged";
            return Err(Error::invalid(format!("nothing to promote: {who} is {what}")));
        }
        Ok(found)
    }

    /// The candidate that has received most from the writer.
    pub(super) async fn most_recent(&self, state: &State, wanted: Option<usize>) -> Result<usize> {
        let mut best: Option<(u64, usize)> = None;
        for i in self.candidates(state, wanted)? {
            let received = self.database.received(i).await?;
            // Readers whose network works first.
            let reachable = u64::from(self.hosts[i].proxy.fault() == NetworkFault::None);
            let rank = (received << 1) | reachable;
            if best.is_none_or(|(most, _)| rank > most) {
                best = Some((rank, i));
            }
        }
        best.map(|(_, i)| i).ok_or_else(|| Error::invalid("no reader can take over"))
    }
}
