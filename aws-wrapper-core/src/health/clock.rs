//! The coarse clock of all connections, and the look at those whose call has come of age.
//!
//! One task for all hosts of a `Services` value, alive only while calls are made. Each tick it publishes the time, which
//! calls stamp themselves with; it looks through the connections only at the moment when the oldest call in flight has
//! been without an answer for its grace period. When nothing is in flight any more it stops the clock and ends: the next
//! call finds the clock stopped and starts it again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

use super::dedicated::Dedicated;
use super::profile::Profile;
use super::watch::{HostMonitorStatus, HostWatch, WatchKey};
use crate::error::Result;
use crate::health::MonitorRuntime;
use crate::probe::Prober;
use crate::registry::{Slot, Stamp};
use crate::runtime::Shared;
use crate::telemetry::metrics;

/// The hosts that are watched, and the clock.
pub(crate) struct HostMonitors {
    shared: Arc<Shared>,
    me: Weak<Self>,
    /// What stamps count from.
    origin: Instant,
    state: Mutex<State>,
    late: Mutex<VecDeque<Late>>,
    dedicated: Dedicated,
}

#[derive(Debug)]
struct State {
    watches: HashMap<WatchKey, Arc<HostWatch>>,
    /// Whether the task of the clock runs.
    is_ticking: bool,
    tick: Duration,
    /// The shortest grace period in use: no call that begins now comes of age before that.
    grace: Duration,
    /// What calls stamp themselves with now.
    published: Stamp,
}

/// A tick came late: calls that carry the stamp of the tick before may have begun so much later than it says.
#[derive(Debug, Clone, Copy)]
struct Late {
    stamp: Stamp,
    by: u64,
}

/// The time between two ticks follows from the timings in use, within these bounds.
const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_TICK: Duration = Duration::from_millis(25);
/// A call stamps itself with the next tick, plus this much for a tick that is a little late.
const SLACK: Duration = Duration::from_millis(5);
/// How many late ticks are remembered.
const LATE_TICKS: usize = 256;
/// When nothing is in flight, so long after the last look is the next one.
const IDLE_LOOK: Duration = Duration::from_secs(1);

impl HostMonitors {
    pub(crate) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let published = Stamp::from_millis(0);
        let watches = HashMap::new();
        let state = State { watches, is_ticking: false, tick: LONGEST_TICK, grace: Duration::MAX, published };
        Arc::new_cyclic(|me| Self {
            shared: Arc::clone(shared),
            me: me.clone(),
            origin: Instant::now(),
            state: Mutex::new(state),
            late: Mutex::default(),
            dedicated: Dedicated::default(),
        })
    }

    /// Watches the host of a connection that was just opened.
    pub(crate) fn watch(
        &self,
        key: &WatchKey,
        slot: &Arc<Slot>,
        profile: &Arc<Profile>,
        prober: &Arc<dyn Prober>,
    ) {
        let watch = {
            let mut state = self.state.lock();
            state.watches.retain(|known, watch| known == key || !watch.is_forgotten());
            state.tick = state.tick.min(tick_of(profile));
            state.grace = state.grace.min(profile.grace);
            let new = || HostWatch::new(&self.me, key.clone(), slot.host().clone());
            let watch = Arc::clone(state.watches.entry(key.clone()).or_insert_with(new));
            // Under this lock, so that nobody takes the watch off the list as one without connections.
            watch.admit(slot, profile);
            watch
        };
        watch.register(slot, profile, prober);
    }

    pub(crate) fn status(&self) -> Vec<HostMonitorStatus> {
        let watches: Vec<_> = self.state.lock().watches.values().cloned().collect();
        let known = watches.iter().filter(|watch| !watch.is_forgotten());
        let mut status: Vec<_> = known.map(|watch| watch.status()).collect();
        status.sort_by(|a, b| (&a.host, a.address).cmp(&(&b.host, b.address)));
        status
    }

    /// Tells the instrument how many monitors run.
    pub(super) fn show_running(&self) {
        let telemetry = self.shared.telemetry();
        if telemetry.is_on() {
            let count = self.state.lock().watches.values().filter(|watch| watch.is_running()).count();
            telemetry.set_count(&metrics::EFM_MONITORS, count, &[]);
        }
    }

    /// What the services share with their tasks.
    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The time.
    pub(super) fn now(&self) -> Now {
        let late = self.late.lock().iter().copied().collect();
        Now { stamp: self.stamp(Instant::now()), late }
    }

    fn stamp(&self, at: Instant) -> Stamp {
        Stamp::from_millis(at.duration_since(self.origin).as_millis())
    }

    /// Runs a task where the monitors run.
    pub(super) fn spawn<F, Fut>(&self, runtime: MonitorRuntime, what: &'static str, name: String, make: F)
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        let supervise = || drop(self.shared.tasks.supervise(what, name, make));
        match runtime {
            MonitorRuntime::Shared => supervise(),
            MonitorRuntime::Dedicated => self.dedicated.run(supervise),
        }
    }

    /// A call begins and finds the clock stopped: it is right from now on, and goes on.
    pub(super) fn start(self: &Arc<Self>, runtime: MonitorRuntime) {
        let mut state = self.state.lock();
        let has_runtime = runtime == MonitorRuntime::Dedicated || Handle::try_current().is_ok();
        if state.is_ticking || self.shared.is_shut_down() || !has_runtime {
            return;
        }
        state.is_ticking = true;
        self.publish(&mut state, Instant::now());
        drop(state);
        // Made before the task is: one that its runtime drops before the first poll has to stop the clock as well.
        let (weak, mut first) = (Arc::downgrade(self), Some(Ticking::new(Arc::clone(self))));
        self.spawn(runtime, "clock", "host monitoring clock".to_owned(), move || {
            let again = || weak.upgrade().filter(|monitors| monitors.take_over()).map(Ticking::new);
            let ticking = first.take().or_else(again);
            async move {
                if let Some(ticking) = ticking {
                    ticking.run().await;
                }
                Ok(())
            }
        });
    }

    /// Whether a task that starts again after a failure is to tick: a call may have started another one.
    fn take_over(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().is_ticking, true)
    }

    /// A host died or came back: its calls have to know at once.
    pub(super) fn announce(&self, watch: &HostWatch) {
        let state = self.state.lock();
        if state.is_ticking {
            watch.tick(self.stamp(Instant::now() + state.tick + SLACK));
        }
    }

    fn publish(&self, state: &mut State, now: Instant) {
        state.published = self.stamp(now + state.tick + SLACK);
        for watch in state.watches.values() {
            watch.tick(state.published);
        }
    }

    /// The next tick: how long until the one after it, and until a call that begins now comes of age.
    fn tick(&self, now: Instant) -> (Duration, Duration) {
        let mut state = self.state.lock();
        // It should have come before the stamp that calls carry since the last one.
        let by = self.stamp(now).since(state.published);
        if by > 0 {
            let mut late = self.late.lock();
            if late.len() == LATE_TICKS {
                late.pop_front();
            }
            late.push_back(Late { stamp: state.published, by });
        }
        self.publish(&mut state, now);
        (state.tick, state.grace)
    }

    /// Looks at all connections: how long until a call comes of age, and what has happened since the last look.
    fn look(&self) -> Look {
        let watches: Vec<_> = self.state.lock().watches.values().cloned().collect();
        let now = self.now();
        watches.iter().fold(Look::default(), |look, watch| look.and(watch.look(&now)))
    }

    /// Stops the clock, unless a call is in flight.
    fn stop(&self) -> bool {
        let mut state = self.state.lock();
        for watch in state.watches.values() {
            watch.stop_clock();
        }
        // A call that is not seen here sees that the clock is stopped, and waits for this lock to start it.
        if state.watches.values().any(|watch| watch.is_busy()) {
            self.publish(&mut state, Instant::now());
            return false;
        }
        state.is_ticking = false;
        true
    }
}

impl fmt::Debug for HostMonitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("HostMonitors")
            .field("hosts", &state.watches.len())
            .field("is_ticking", &state.is_ticking)
            .finish_non_exhaustive()
    }
}

fn tick_of(profile: &Profile) -> Duration {
    (profile.grace.min(profile.interval) / 8).clamp(SHORTEST_TICK, LONGEST_TICK)
}

/// A moment, to compare stamps with.
pub(super) struct Now {
    stamp: Stamp,
    late: Vec<Late>,
}

impl Now {
    /// How many milliseconds have passed since `stamp`, at least.
    pub(super) fn since(&self, stamp: Stamp) -> u64 {
        let late = self.late.iter().find(|late| late.stamp == stamp);
        self.stamp.since(stamp).saturating_sub(late.map_or(0, |late| late.by))
    }
}

/// What a look at connections found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) in_flight: usize,
    /// Changes with every call that begins.
    pub(super) activity: u64,
    /// Until the next call comes of age.
    pub(super) next: Option<Duration>,
}

impl Look {
    fn and(self, other: Self) -> Self {
        let next = match (self.next, other.next) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        let activity = self.activity.wrapping_add(other.activity);
        Self { in_flight: self.in_flight + other.in_flight, activity, next }
    }
}

/// The task of the clock. Dropped by the end of its runtime or by a panic it leaves the clock stopped, not lying.
struct Ticking {
    monitors: Arc<HostMonitors>,
    /// The clock was stopped, and may have been started again by another one.
    is_over: bool,
}

impl Ticking {
    fn new(monitors: Arc<HostMonitors>) -> Self {
        Self { monitors, is_over: false }
    }

    async fn run(mut self) {
        let monitors = Arc::clone(&self.monitors);
        let mut last_look = Look::default();
        let mut look_at = Instant::now();
        let mut due = None;
        loop {
            let now = Instant::now();
            if let Some(due) = due {
                let lag = now.duration_since(due);
                monitors.shared.telemetry().record(&metrics::EFM_RUNTIME_LAG, lag, &[]);
            }
            let (tick, grace) = monitors.tick(now);
            // Timings shorter than all before may be in use since the last look.
            look_at = look_at.min(now.checked_add(grace).unwrap_or(look_at));
            if now >= look_at {
                let look = monitors.look();
                let is_idle = look.in_flight == 0 && look.activity == last_look.activity;
                if is_idle && monitors.stop() {
                    return self.is_over = true;
                }
                let limit = if look.in_flight == 0 { grace.min(IDLE_LOOK) } else { grace };
                look_at = now + look.next.map_or(limit, |next| next.min(limit));
                last_look = look;
            }
            let next = look_at.min(now + tick);
            due = Some(next);
            sleep_until(next).await;
        }
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut state = self.monitors.state.lock();
        for watch in state.watches.values() {
            watch.stop_clock();
        }
        state.is_ticking = false;
    }
}
