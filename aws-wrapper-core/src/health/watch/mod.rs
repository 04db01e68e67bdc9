//! What is known of one address: its connections, their timings, and whether it is alive.

mod judged;
mod measured;
mod state;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::judged::dead;
pub use self::state::HostMonitorStatus;
use self::state::State;
use super::clock::{HostMonitors, Look, Now};
use super::monitor::Monitor;
use super::profile::Profile;
use super::verdict::Verdict;
use crate::engine::Engine;
use crate::health::MonitorRuntime;
use crate::host::HostKey;
use crate::probe::{Contexts, Prober};
use crate::registry::{Pulse, Slot, Stamp, Watcher, Word};

/// Which address is watched. Names do not count: after a move of the name, connections to the old address still hang on
/// the old address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct WatchKey {
    pub(crate) engine: Engine,
    pub(crate) target: Target,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    Address(SocketAddr),
    /// A socket of the file system, which has no other name.
    Named(HostKey),
}

impl WatchKey {
    fn address(&self) -> Option<SocketAddr> {
        match self.target {
            Target::Address(address) => Some(address),
            Target::Named(_) => None,
        }
    }
}

/// One address that is watched.
pub(super) struct HostWatch {
    key: WatchKey,
    pulse: Arc<Pulse>,
    slots: Mutex<Slots>,
    state: Mutex<State>,
    /// A call is not answered, or the last connection is gone.
    wake: Notify,
    is_down: AtomicBool,
    contexts: Contexts,
    monitors: Weak<HostMonitors>,
    me: Weak<Self>,
}

#[derive(Debug)]
struct Slots {
    guarded: HashMap<u64, Guarded>,
    /// The newest name by which the address was reached.
    host: HostKey,
    /// Since when there is none.
    empty_since: Instant,
}

#[derive(Debug, Clone)]
struct Guarded {
    slot: Weak<Slot>,
    profile: Arc<Profile>,
    /// When it was opened.
    since: Instant,
}

/// Which connections wait for too long.
#[derive(Debug, Default)]
pub(super) struct Active {
    /// Their timings, each once.
    pub(super) profiles: Vec<Arc<Profile>>,
    /// How long ago the host was last heard on any connection.
    pub(super) quiet: Option<Duration>,
}

impl HostWatch {
    pub(super) fn new(monitors: &Weak<HostMonitors>, key: WatchKey, host: HostKey) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| {
            let watcher: Weak<dyn Watcher> = me.clone();
            let slots = Slots { guarded: HashMap::new(), host, empty_since: Instant::now() };
            Self {
                key,
                pulse: Pulse::new(watcher),
                slots: Mutex::new(slots),
                state: Mutex::default(),
                wake: Notify::new(),
                is_down: AtomicBool::new(false),
                contexts: Contexts::default(),
                monitors: monitors.clone(),
                me: me.clone(),
            }
        })
    }

    /// From now on there is this connection, with these timings.
    pub(super) fn admit(&self, slot: &Arc<Slot>, profile: &Arc<Profile>) {
        // Both locks at once: a monitor that ends for want of connections forgets all timings.
        let mut state = self.state.lock();
        let profile = state.shared_profile(profile);
        let mut slots = self.slots.lock();
        slots.host = slot.routed_host().clone();
        let since = Instant::now();
        slots.guarded.insert(slot.id(), Guarded { slot: Arc::downgrade(slot), profile, since });
    }

    /// From now on the calls on a connection that was admitted are watched.
    pub(super) fn register(&self, slot: &Arc<Slot>, profile: &Profile, prober: &Arc<dyn Prober>) {
        self.contexts.add(Arc::downgrade(prober));
        slot.mark_calls_by(&self.pulse);
        if self.is_down() {
            // Somebody let this connection in.
            self.heard();
        }
        self.show_connections();
        if slot.has_ended() {
            self.forget(slot.id());
        } else if profile.eager_connect && !slot.purpose().is_monitoring() {
            self.wake_monitor();
        }
    }

    /// The time is this now.
    pub(super) fn tick(&self, stamp: Stamp) {
        self.pulse.publish(stamp, self.is_down());
    }

    /// From now on each call looks twice.
    pub(super) fn stop_clock(&self) {
        self.pulse.stop();
    }

    /// Whether its monitor runs.
    pub(super) fn is_running(&self) -> bool {
        self.state.lock().is_running
    }

    pub(super) fn is_down(&self) -> bool {
        self.is_down.load(Ordering::Acquire)
    }

    /// Whether a call is in flight.
    pub(super) fn is_busy(&self) -> bool {
        self.connections().iter().any(|(slot, _)| slot.is_busy())
    }

    /// Looks at all connections, and wakes the monitor if a call waits for too long.
    pub(super) fn look(&self, now: &Now) -> Look {
        let (mut look, mut has_waited) = (Look::default(), false);
        for (slot, profile) in self.connections() {
            let word = slot.mark().word();
            look.activity = look.activity.wrapping_add(word.number());
            let Some(age) = age(&slot, word, now) else { continue };
            look.in_flight += 1;
            let left = profile.grace_millis().saturating_sub(age);
            has_waited |= left == 0;
            // One that waits is the monitor's business.
            let left = Duration::from_millis(if left == 0 { profile.grace_millis() } else { left });
            look.next = Some(look.next.map_or(left, |next| next.min(left)));
        }
        if has_waited {
            self.wake_monitor();
        }
        look
    }

    /// Whether nobody has used the host for so long that it need not be known any more.
    pub(super) fn is_forgotten(&self) -> bool {
        let state = self.state.lock();
        !state.is_running && self.is_unused(state.disposal())
    }

    fn is_unused(&self, limit: Duration) -> bool {
        let slots = self.slots.lock();
        slots.guarded.is_empty() && slots.empty_since.elapsed() >= limit
    }

    pub(super) fn status(&self) -> HostMonitorStatus {
        let connections = self.connections();
        let connections = connections.iter().filter(|(slot, _)| !slot.purpose().is_monitoring()).count();
        let host = self.slots.lock().host.clone();
        let state = self.state.lock();
        let counters = state.counters;
        HostMonitorStatus {
            host,
            address: self.key.address(),
            verdict: state.verdict(),
            connections,
            is_running: state.is_running,
            is_connected: counters.is_connected,
            probes_alive: counters.alive,
            probes_unreachable: counters.unreachable,
            probes_inconclusive: counters.inconclusive,
            probes_passive: counters.passive,
            downs: counters.downs,
            aborted: counters.aborted,
            last_detection: counters.last_detection,
            last_error: state.last_error.clone(),
        }
    }

    fn connections(&self) -> Vec<(Arc<Slot>, Arc<Profile>)> {
        self.connections_if(|_| true)
    }

    fn connections_if(&self, is_wanted: impl Fn(&Guarded) -> bool) -> Vec<(Arc<Slot>, Arc<Profile>)> {
        let slots = self.slots.lock();
        let alive = |guarded: &Guarded| Some((guarded.slot.upgrade()?, Arc::clone(&guarded.profile)));
        slots.guarded.values().filter(|guarded| is_wanted(guarded)).filter_map(alive).collect()
    }

    /// Starts the monitor, or has it look again.
    fn wake_monitor(&self) {
        let (Some(watch), Some(monitors)) = (self.me.upgrade(), self.monitors.upgrade()) else { return };
        let runtime = {
            let mut state = self.state.lock();
            state.is_woken = true;
            if std::mem::replace(&mut state.is_running, true) {
                drop(state);
                return self.wake.notify_one();
            }
            state.windows.first().map_or(MonitorRuntime::Shared, |(profile, _)| profile.runtime)
        };
        self.show_running();
        let name = match self.key.target {
            Target::Address(address) => format!("host monitor {address}"),
            Target::Named(ref host) => format!("host monitor {host}"),
        };
        let weak = Arc::downgrade(monitors.shared());
        // Made before the task is: one that its runtime drops before the first poll has to leave word as well.
        let mut first = Some(Monitor::new(Arc::clone(&watch), Arc::clone(monitors.shared())));
        monitors.spawn(runtime, "host_monitor", name, move || {
            // After a failure another one may have been started meanwhile.
            let again = || weak.upgrade().filter(|_| watch.take_over());
            let monitor = first.take().or_else(|| Some(Monitor::new(Arc::clone(&watch), again()?)));
            async move {
                if let Some(monitor) = monitor {
                    monitor.run().await;
                }
                Ok(())
            }
        });
    }
}

/// What the monitor's task asks and tells.
impl HostWatch {
    pub(super) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    pub(super) fn host(&self) -> HostKey {
        self.slots.lock().host.clone()
    }

    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.key.address()
    }

    pub(super) fn engine(&self) -> Engine {
        self.key.engine
    }

    pub(super) fn wake(&self) -> &Notify {
        &self.wake
    }

    pub(super) fn verdict(&self) -> Verdict {
        self.state.lock().verdict()
    }

    /// The timings that want the connection for probes to be kept as long as there are others.
    pub(super) fn eager_profile(&self) -> Option<Arc<Profile>> {
        let connections = self.connections();
        let is_eager = |(slot, profile): &&(Arc<Slot>, Arc<Profile>)| {
            profile.eager_connect && !slot.purpose().is_monitoring()
        };
        connections.iter().find(is_eager).map(|(_, profile)| Arc::clone(profile))
    }

    /// The longest time for which the connection for probes is kept unused.
    pub(super) fn idle_close(&self) -> Duration {
        self.state.lock().windows.iter().map(|(profile, _)| profile.idle_close).max().unwrap_or_default()
    }

    /// Which connections wait for too long. While the host is under suspicion all timings in use count.
    pub(super) fn active(&self) -> Active {
        let Some(monitors) = self.monitors.upgrade() else { return Active::default() };
        let mut active = Active::default();
        let now = monitors.now();
        for (slot, profile) in self.connections() {
            let quiet = Duration::from_millis(now.since(slot.mark().answered()));
            active.quiet = Some(active.quiet.map_or(quiet, |newest| newest.min(quiet)));
            let waits = age(&slot, slot.mark().word(), &now).is_some_and(|age| age >= profile.grace_millis());
            if waits && !active.profiles.contains(&profile) {
                active.profiles.push(profile);
            }
        }
        let state = self.state.lock();
        for (profile, window) in &state.windows {
            if window.verdict() > Verdict::Up && !active.profiles.contains(profile) {
                active.profiles.push(Arc::clone(profile));
            }
        }
        active
    }

    pub(super) fn set_connected(&self, is_connected: bool) {
        self.state.lock().counters.is_connected = is_connected;
    }

    /// Forgets that it was woken; the monitor looks now.
    pub(super) fn begin_look(&self) {
        self.state.lock().is_woken = false;
    }

    /// Whether the monitor may end. It counts as ended then.
    pub(super) fn end_if_calm(&self) -> bool {
        {
            let mut state = self.state.lock();
            if state.is_woken || state.verdict() > Verdict::Up {
                return false;
            }
            state.stopped();
        }
        self.show_running();
        true
    }

    /// Whether the monitor of a dead host may end, because nobody has been there for long.
    pub(super) fn end_if_unused(&self) -> bool {
        {
            let mut state = self.state.lock();
            if !self.is_unused(state.disposal()) {
                return false;
            }
            state.stopped();
            state.windows.clear();
            self.is_down.store(false, Ordering::Release);
        }
        self.show_running();
        true
    }

    /// Whether a monitor that starts again after a failure is to run.
    fn take_over(&self) -> bool {
        let is_news = !std::mem::replace(&mut self.state.lock().is_running, true);
        self.show_running();
        is_news
    }

    /// The monitor's task is gone, though it should not be.
    pub(super) fn monitor_is_gone(&self) {
        self.state.lock().stopped();
        self.show_running();
    }
}

impl Watcher for HostWatch {
    fn look(&self, slot: &Slot) {
        let Some(monitors) = self.monitors.upgrade() else { return };
        let profile = self.slots.lock().guarded.get(&slot.id()).map(|guarded| Arc::clone(&guarded.profile));
        let Some(profile) = profile else { return };
        if self.is_down() && profile.fail_fast {
            // As for a call in flight, so that a pool is told the same.
            if slot.mark().abort(slot.mark().word()) {
                self.state.lock().counters.aborted += 1;
                self.measure_abort(None);
            }
            slot.abort(dead(&self.host()));
        }
        if self.is_down() && !self.state.lock().is_running {
            // It ended with its runtime, and nobody else would learn that the host is back.
            self.wake_monitor();
        }
        monitors.start(profile.runtime);
    }

    fn forget(&self, id: u64) {
        let is_empty = {
            let mut slots = self.slots.lock();
            if slots.guarded.remove(&id).is_none() {
                return;
            }
            let is_empty = slots.guarded.is_empty();
            if is_empty {
                slots.empty_since = Instant::now();
            }
            is_empty
        };
        self.show_connections();
        if is_empty {
            // A monitor that keeps its connection for them need not.
            self.wake.notify_one();
        }
    }
}

impl fmt::Debug for HostWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostWatch")
            .field("key", &self.key)
            .field("verdict", &self.verdict())
            .finish_non_exhaustive()
    }
}

/// How long a connection with a call in flight has not been answered; nothing if no call is, or it was given up.
fn age(slot: &Slot, word: Word, now: &Now) -> Option<u64> {
    if !word.is_busy() || word.is_aborted() || slot.has_ended() {
        return None;
    }
    Some(now.since(word.began()).min(now.since(slot.mark().answered())))
}
