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
        self.shared.tasks.stop().cancel();
        self.shared.lingering.close_all();
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
        self.shared().lingering.close_all();
        self.shared().tasks.shutdown(limit).await
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// What an adapter may use of the services.
    pub fn for_adapter(&self) -> &Arc<Shared> {
        self.shared()
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

    /// Runs the task that drives a physical connection; it is dropped when the services end.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> AbortHandle {
        self.tasks.spawn(task)
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
            let shared = Arc::clone(self);
            self.tasks.spawn(async move { shared.lingering.run().await });
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

/// What [`Services::status`] returns.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Each cluster that is monitored.
    pub clusters: Vec<ClusterStatus>,
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
                match state.waiting.iter().map(|(until, _)| *until).min() {
                    Some(next) => next,
                    None => {
                        state.running = false;
                        return;
                    }
                }
            };
            sleep_until(next).await;
        }
    }

    fn close_all(&self) {
        for (_, slot) in self.state.lock().waiting.drain(..) {
            slot.abort(EndReason::aborted("the services were shut down"));
        }
    }
}
