//! What tasks and adapters may hold of the services: the registry of connections, tasks, events, and what hosts have been
//! like.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::availability::AvailabilityStore;
use crate::error::{Error, ErrorKind, Result};
use crate::events::{Event, Events};
use crate::host::{Availability, HostKey};
use crate::registry::{EndReason, Registry, Slot};
use crate::resolver::Resolver;
use crate::tasks::Tasks;
use crate::telemetry::{Telemetry, key, metrics};

/// What tasks may hold: it does not keep the tasks alive.
#[derive(Debug)]
pub struct Shared {
    pub(crate) registry: Arc<Registry>,
    pub(crate) availability: AvailabilityStore,
    pub(crate) events: Arc<Events>,
    pub(crate) tasks: Tasks,
    telemetry: Telemetry,
    resolver: Arc<dyn Resolver>,
    opening: Mutex<HashMap<HostKey, Weak<Semaphore>>>,
    lingering: Lingering,
}

impl Shared {
    pub(crate) fn new(resolver: Arc<dyn Resolver>, telemetry: Telemetry) -> Arc<Self> {
        let events = Arc::new(Events::new());
        Arc::new(Self {
            registry: Arc::default(),
            availability: AvailabilityStore::default(),
            tasks: Tasks::new(Arc::clone(&events), telemetry.clone()),
            events,
            telemetry,
            resolver,
            opening: Mutex::default(),
            lingering: Lingering::default(),
        })
    }

    /// The name resolver.
    pub fn resolver(&self) -> &Arc<dyn Resolver> {
        &self.resolver
    }

    /// What is measured.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Whether everything was ended, by a shutdown or with the last handle.
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
    pub(crate) fn close(&self) {
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
            let is_up = f64::from(availability == Availability::Available);
            self.telemetry.set(&metrics::HOST_AVAILABLE, is_up, &[key::HOST.of(host)]);
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
    use crate::resolver::SystemResolver;

    #[test]
    fn connections_are_let_go_of_though_another_runtime_has_ended() {
        let shared = Shared::new(Arc::new(SystemResolver), Telemetry::default());
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
