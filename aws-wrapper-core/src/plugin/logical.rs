//! The logical connection: what stays when the physical connection is replaced.
//!
//! A switch under way configures the new physical connection completely, then *parks* it here. The next call *adopts*
//! it. So a dropped future never leaves a half-switched connection, and no connection is replaced under a borrowed
//! result.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

use super::ConnectionChange;
use super::state::{ConnectionState, States};
use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, FailoverOutcome, FailoverReport, Phase, Result};
use crate::host::Role;
use crate::registry::Slot;
use crate::telemetry::{Telemetry, key, metrics, outcome, spans};

/// What all physical connections behind one logical connection share.
pub struct Logical<D: DriverDialect> {
    has_parked: AtomicBool,
    state: Mutex<State<D>>,
    switching: AsyncMutex<()>,
    session: D::Session,
    role: Option<Role>,
    states: States,
}

/// What only a switch needs is boxed: most connections never see one, and an application has thousands.
struct State<D: DriverDialect> {
    parked: Option<Box<Parked<D>>>,
    /// The slot of the newest connection: the parked one, else the one in use.
    newest: Arc<Slot>,
    /// How the last switch ended, for calls that failed together with the one that started it.
    last_switch: Option<Box<(FailoverOutcome, FailoverReport)>>,
    /// The last switch that found no connection: from which one, and when that was clear.
    last_failure: Option<Box<(u64, Instant, FailoverReport)>>,
    /// The call with which the last connection was lost.
    ender: Option<Box<Ender>>,
}

/// A connection that waits, and the slot of the one that is in use meanwhile.
struct Parked<D: DriverDialect> {
    connection: D::Connection,
    in_use: Arc<Slot>,
}

/// The call with which a connection was lost: it may be the call that ends its session each time.
struct Ender {
    fingerprint: u64,
    /// The connection that took the place of the lost one.
    next: u64,
    /// How often it was sent on that connection: the second time means that the first was answered.
    sent: u32,
}

impl<D: DriverDialect> Logical<D> {
    /// A logical connection that starts on the connection of `slot`.
    pub fn new(slot: Arc<Slot>) -> Self {
        Self::of_role(slot, None)
    }

    /// As [`new`](Self::new), one that needs a host of this role whatever the endpoint of its connector.
    pub fn of_role(slot: Arc<Slot>, role: Option<Role>) -> Self {
        Self {
            role,
            states: States::new(),
            has_parked: AtomicBool::new(false),
            state: Mutex::new(State {
                parked: None,
                newest: slot,
                last_switch: None,
                last_failure: None,
                ender: None,
            }),
            switching: AsyncMutex::new(()),
            session: D::Session::default(),
        }
    }

    /// The role its hosts must have, if that is not for the endpoint to say.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// What the adapter carries from one physical connection to the next.
    pub fn session(&self) -> &D::Session {
        &self.session
    }

    /// Whether a new connection waits to be adopted. One load; asked by every call.
    pub fn has_parked(&self) -> bool {
        self.has_parked.load(Ordering::Acquire)
    }

    /// Leaves a fully configured connection for the next call. One that was parked before and never used is dropped.
    pub fn park(
        &self,
        connection: D::Connection,
        slot: Arc<Slot>,
        how: Option<(FailoverOutcome, FailoverReport)>,
    ) {
        let replaced = {
            let mut state = self.state.lock();
            let newest = std::mem::replace(&mut state.newest, slot);
            let in_use = state.parked.as_ref().map_or(newest, |parked| Arc::clone(&parked.in_use));
            state.last_switch = how.map(Box::new);
            self.has_parked.store(true, Ordering::Release);
            state.parked.replace(Box::new(Parked { connection, in_use }))
        };
        drop(replaced);
    }

    /// Hands the parked connection to `place`, which puts it to use. Several calls may ask at once; one does it, and is told
    /// what has changed.
    ///
    /// The flag falls only after `place` returned, so no call goes to the old connection in between.
    pub(crate) fn adopt(&self, place: impl FnOnce(D::Connection)) -> Option<ConnectionChange> {
        let mut state = self.state.lock();
        let change = state.parked.take().map(|parked| {
            place(parked.connection);
            ConnectionChange::new(parked.in_use, Arc::clone(&state.newest))
        });
        self.has_parked.store(false, Ordering::Release);
        change
    }

    /// What a plugin keeps of this logical connection, made when it is first asked for.
    pub fn state<T: Default + Send + Sync + 'static>(&self, place: &ConnectionState<T>) -> &T {
        self.states.get(place.place())
    }

    /// Gives a connection that is to take the place of another one the state of the session, before `deadline`.
    pub(crate) async fn configure(
        &self,
        driver: &D,
        connection: &mut D::Connection,
        deadline: Instant,
        telemetry: &Telemetry,
    ) -> Result<()> {
        let timer = telemetry.start();
        let span = tracing::debug_span!(spans::SESSION_TRANSFER, outcome = Empty);
        let configured = driver.configure(connection, &self.session).instrument(span.clone());
        let late = "the session could not be restored on a new connection in time";
        let configured = timeout_at(deadline, configured).await.map_or_else(
            |_| Err(Error::new(ErrorKind::Timeout(Phase::Connect), late)),
            |configured| configured.map_err(|error| driver.error(error)),
        );
        let attributes = [key::ENGINE.of(D::ENGINE.code()), key::OUTCOME.of_result(&configured)];
        telemetry.stop(timer, &metrics::SESSION_TRANSFER_DURATION, &attributes);
        span.record("outcome", outcome(&configured));
        configured
    }

    /// The slot of the newest connection: the parked one, else the one in use.
    pub fn newest(&self) -> Arc<Slot> {
        Arc::clone(&self.state.lock().newest)
    }

    /// How the last switch ended.
    pub fn last_switch(&self) -> Option<(FailoverOutcome, FailoverReport)> {
        self.state.lock().last_switch.as_deref().cloned()
    }

    /// No connection was found in place of the one of `lost`.
    pub fn switch_failed(&self, lost: &Slot, report: FailoverReport) {
        self.state.lock().last_failure = Some(Box::new((lost.id(), Instant::now(), report)));
    }

    /// How a switch away from `lost` failed that ended after `since`, for calls that waited for it meanwhile.
    pub fn failure_since(&self, lost: &Slot, since: Instant) -> Option<FailoverReport> {
        let state = self.state.lock();
        let (id, at, report) = state.last_failure.as_deref()?;
        (*id == lost.id() && *at > since).then(|| report.clone())
    }

    /// A call was lost with the connection that `next` takes the place of. Whether it was the very call that had ended the
    /// session before, sent once more and lost at once.
    pub(crate) fn lost_with(&self, fingerprint: u64, lost: &Slot, next: &Slot) -> bool {
        let mut state = self.state.lock();
        let again = state.ender.as_ref().is_some_and(|ender| {
            ender.fingerprint == fingerprint && ender.next == lost.id() && ender.sent == 1
        });
        state.ender = Some(Box::new(Ender { fingerprint, next: next.id(), sent: 0 }));
        next.follow_a_loss();
        again
    }

    /// A call goes out on a connection that took the place of a lost one.
    #[cold]
    pub(crate) fn sends_after_a_loss(&self, slot: &Slot, fingerprint: u64) {
        let mut state = self.state.lock();
        let is_it = |ender: &&mut Box<Ender>| ender.fingerprint == fingerprint && ender.next == slot.id();
        if let Some(ender) = state.ender.as_mut().filter(is_it) {
            ender.sent += 1;
        }
    }

    /// At most one switch at a time: hold this while looking for a new connection.
    pub fn switching(&self) -> &AsyncMutex<()> {
        &self.switching
    }
}

impl<D: DriverDialect> fmt::Debug for Logical<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Logical")
            .field("newest", &state.newest)
            .field("parked", &state.parked.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::driver::FakeDriver;

    /// An application has thousands of connections, each with one of either.
    #[test]
    fn what_every_connection_has_is_small() {
        assert!(size_of::<Logical<FakeDriver>>() <= 144, "{}", size_of::<Logical<FakeDriver>>());
        assert!(size_of::<Slot>() <= 384, "{}", size_of::<Slot>());
    }
}
