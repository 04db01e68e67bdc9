//! `Services`: the owner of everything that connections share.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, broadcast};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::availability::AvailabilityStore;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Events};
use crate::host::{Availability, HostKey};
use crate::plugins::monitoring::HostMonitorStatus;
use crate::plugins::monitoring::clock::HostMonitors;
use crate::registry::{EndReason, Registry, Slot};
use crate::resolver::{Resolver, SystemResolver};
use crate::tasks::{TaskStatus, Tasks};
use crate::topology::cluster::{ClusterStatus, Clusters};

/// Clusters and their monitors, the registry of physical connections, host availability, events and the resolver.
///
/// Cheap to clone; several connectors can be given one. Nothing is static: two values share nothing. Dropping the last
/// handle, connectors and connections included, ends every task and closes every socket of the wrapper's own.
#[derive(Debug, Clone)]
pub struct Services {
    owner: Arc<Owner>,
}

/// Ends the tasks with the last handle; tasks themselves hold only what is shared.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

/// What tasks may hold: it does not keep the tasks alive.
#[derive(Debug)]
pub struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) availability: AvailabilityStore,
    pub(crate) events: Arc<Events>,
    pub(crate) tasks: Tasks,
    pub(crate) clusters: Clusters,
    pub(crate) host_monitors: HostMonitors,
    resolver: Arc<dyn Resolver>,
    opening: Mutex<HashMap<HostKey, Weak<Semaphore>>>,
    lingering: Lingering,
}

impl Default for Services {
    fn default() -> Self {
        Self::new()
    }
}

impl Services {
    /// Services with the system's resolver.
    pub fn new() -> Self {
        Self::with_resolver(SystemResolver)
    }

    /// Services that resolve names by `resolver`.
    pub fn with_resolver(resolver: impl Resolver + 'static) -> Self {
        let events = Arc::new(Events::new());
        let shared = Shared {
            registry: Arc::default(),
            availability: AvailabilityStore::default(),
            tasks: Tasks::new(Arc::clone(&events)),
            events,
            clusters: Clusters::default(),
            host_monitors: HostMonitors::default(),
            resolver: Arc::new(resolver),
            opening: Mutex::default(),
            lingering: Lingering::default(),
        };
        Self { owner: Arc::new(Owner { shared: Arc::new(shared) }) }
    }

    /// The events from now on. A receiver that does not keep up loses the oldest and is told how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.shared().events.subscribe()
    }

    /// How things are. Does no I/O and waits for nothing.
    pub fn status(&self) -> Status {
        let shared = self.shared();
        let mut connections = BTreeMap::<HostKey, usize>::new();
        for slot in shared.registry.slots() {
            *connections.entry(slot.routed_host().clone()).or_default() += 1;
        }
        Status {
            clusters: shared.clusters.status(),
            host_monitors: shared.host_monitors.status(),
            tasks: shared.tasks.status(),
            running_tasks: shared.tasks.running(),
            connections,
        }
    }

    /// Ends every task and closes every connection, the application's included, waiting at most `limit`.
    ///
    /// Calls and connects that are running or come later fail at once, without a failover.
    ///
    /// # Errors
    /// [`Timeout(Shutdown)`](crate::error::Phase::Shutdown) when something did not end in time.
    pub async fn shutdown(&self, limit: Duration) -> Result<()> {
        self.shared().close();
        self.shared().tasks.shutdown(limit).await
    }

    /// Runs a background task of whoever builds on the wrapper, such as a pool. It ends with the services; after a panic or
    /// an error it is made and started again, with growing pauses. Must be called in a runtime.
    ///
    /// The task must not hold the services, or they would never end.
    pub fn supervise<F, Fut>(&self, name: String, make: F) -> AbortHandle
    where
        F: FnMut() -> Fut + Send + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        self.shared().tasks.supervise(name, make)
    }

    /// Runs a task that ends by itself, for crates that build on the wrapper. It is dropped where it stands when the services
    /// are shut down. Must be called in a runtime.
    ///
    /// A task that holds the services keeps them alive: it must have a limit.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.shared().tasks.spawn(task)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }
}

impl Shared {
    /// The name resolver.
    pub fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }

    /// Whether everything was ended by [`Services::shutdown`] or the last handle.
    pub(crate) fn is_shut_down(&self) -> bool {
        self.tasks.stop().is_cancelled()
    }

    /// Runs `work` unless everything is ended before it is through.
    ///
    /// # Errors
    /// Those of the work; `HostUnavailable` after a shutdown.
    pub(crate) async fn until_shut_down<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let shut_down = || Error::new(ErrorKind::HostUnavailable, "the services were shut down");
        self.tasks.stop().run_until_cancelled(work).await.unwrap_or_else(|| Err(shut_down()))
    }

    /// Runs the task that drives the physical connection of `slot`, and tells the slot how to abort it. It ends with the
    /// services.
    pub fn drive(&self, slot: &Slot, task: impl Future<Output = ()> + Send + 'static) {
        // Not raced with the end of the services: that would cost every poll, and these are the polls of every call.
        let task = self.tasks.spawn_until_aborted(task);
        self.attach(slot, move || task.abort());
    }

    /// Tells the slot of a physical connection how to abort it. It ends with the services.
    pub fn attach(&self, slot: &Slot, abort: impl Fn() + Send + Sync + 'static) {
        slot.set_abort(abort);
        if self.is_shut_down() {
            slot.abort(shut_down());
        }
    }

    /// Ends everything: first the tasks that could open something new, then what is open.
    fn close(&self) {
        self.tasks.stop().cancel();
        for slot in self.registry.slots() {
            slot.abort(shut_down());
        }
        self.lingering.forget();
    }

    /// Gives a connection nobody uses any more `limit` to close politely, then aborts it.
    ///
    /// A connection with a call in flight on a host that does not answer would stay for ever otherwise.
    pub fn linger(self: &Arc<Self>, slot: Arc<Slot>, limit: Duration) {
        if slot.has_ended() {
            return;
        }
        if self.tasks.stop().is_cancelled() || tokio::runtime::Handle::try_current().is_err() {
            slot.abort(EndReason::aborted("dropped while a call was running"));
            return;
        }
        if self.lingering.push(slot, Instant::now() + limit) {
            let mut running = Running { shared: Arc::clone(self), ended_well: false };
            self.tasks.spawn(async move { running.run().await });
        }
    }

    /// Marks a host up or down; tells the world if that is news.
    pub fn set_availability(&self, host: &HostKey, availability: Availability) {
        if self.availability.set(host, availability) {
            let host = host.clone();
            self.events.send(match availability {
                Availability::Available => Event::HostUp { host },
                Availability::NotAvailable => Event::HostDown { host },
            });
        }
    }

    /// Permits to open connections to `host`; at most `limit` at once, so a new writer is not flooded.
    pub(crate) fn opening(&self, host: &HostKey, limit: usize) -> Arc<Semaphore> {
        let mut opening = self.opening.lock();
        if let Some(semaphore) = opening.get(host).and_then(Weak::upgrade) {
            return semaphore;
        }
        opening.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(limit));
        opening.insert(host.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

fn shut_down() -> EndReason {
    EndReason::aborted("the services were shut down")
}

/// What [`Services::status`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Each cluster that is monitored.
    pub clusters: Vec<ClusterStatus>,
    /// Each host that is watched by the plugin `efm`.
    pub host_monitors: Vec<HostMonitorStatus>,
    /// Each supervised task by name.
    pub tasks: BTreeMap<String, TaskStatus>,
    /// How many tasks run, those that drive connections included.
    pub running_tasks: usize,
    /// Physical connections alive, by host.
    pub connections: BTreeMap<HostKey, usize>,
}

/// Connections that were let go and are given a moment to close.
#[derive(Debug, Default)]
struct Lingering {
    state: Mutex<LingeringState>,
}

#[derive(Debug, Default)]
struct LingeringState {
    waiting: Vec<(Instant, Arc<Slot>)>,
    running: bool,
}

impl Lingering {
    /// Whether a task has to be started to run it.
    fn push(&self, slot: Arc<Slot>, until: Instant) -> bool {
        let mut state = self.state.lock();
        state.waiting.push((until, slot));
        !std::mem::replace(&mut state.running, true)
    }

    async fn run(&self) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let now = Instant::now();
                state.waiting.retain(|(until, slot)| {
                    let over = *until <= now;
                    if over {
                        slot.abort(EndReason::aborted("dropped while a call was running"));
                    }
                    !over && !slot.has_ended()
                });
                let Some(next) = state.waiting.iter().map(|(until, _)| *until).min() else {
                    state.running = false;
                    return;
                };
                next
            };
            sleep_until(next).await;
        }
    }

    fn forget(&self) {
        self.state.lock().waiting.clear();
    }
}

/// The task can end with its runtime while another one uses the services: then the next push starts it again.
struct Running {
    shared: Arc<Shared>,
    ended_well: bool,
}

impl Running {
    async fn run(&mut self) {
        self.shared.lingering.run().await;
        self.ended_well = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended_well {
            self.shared.lingering.state.lock().running = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::registry::Purpose;

    #[test]
    fn connections_are_let_go_of_though_another_runtime_has_ended() {
        let services = Services::new();
        let shared = services.shared();
        let aborted = [false, true].map(|is_last| {
            let aborted = Arc::new(AtomicBool::new(false));
            let slot = shared.registry.open(HostKey::new("h", 1).unwrap(), Purpose::Initial);
            let seen = Arc::clone(&aborted);
            slot.set_abort(move || seen.store(true, Ordering::SeqCst));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(async {
                shared.linger(slot, Duration::from_secs(1));
                if is_last {
                    tokio::time::sleep(Duration::from_secs(2)).await;
                }
            });
            aborted
        });
        assert!(aborted.iter().all(|aborted| aborted.load(Ordering::SeqCst)));
    }
}
