//! The busy mark of a connection: whether a call is in flight on it, since when, and which one.
//!
//! One atomic word on a cache line of its own. A call changes it when it begins and when it ends; whoever wants to end the
//! connection compares and exchanges the very word it judged by. So nobody reads a clock in a call, and a connection
//! can never be cut for a call that is over: the next one has another number.

use std::fmt;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use super::slot::Slot;
use super::word::{AtomicWord, Stamp, Word};
use crate::error::Result;

/// See the module.
#[derive(Debug)]
#[repr(align(64))]
pub(crate) struct Mark {
    word: AtomicWord,
    /// The stamp of the last answer.
    answered: AtomicU32,
    /// Whether calls on this connection are marked.
    is_on: AtomicBool,
    /// What tells the time, where somebody watches.
    pulse: OnceLock<Arc<Pulse>>,
}

/// The coarse clock of a host's connections: the time as of the next tick, and whether something is special.
pub(crate) struct Pulse {
    /// The stamp, and in the lowest bit whether a call has to look twice.
    word: AtomicU32,
    watcher: Weak<dyn Watcher>,
}

const SLOW: u32 = 1;

/// Whoever is asked by a call when something is special.
pub(crate) trait Watcher: Send + Sync {
    /// A call is about to begin on `slot`. What is special may be over after that.
    fn look(&self, slot: &Slot);

    /// The connection of that slot is gone.
    fn forget(&self, id: u64);
}

impl Pulse {
    /// A clock that nobody drives yet.
    pub(crate) fn new(watcher: Weak<dyn Watcher>) -> Arc<Self> {
        Arc::new(Self { word: AtomicU32::new(SLOW), watcher })
    }

    /// The time as of the next tick.
    pub(crate) fn publish(&self, stamp: Stamp, is_slow: bool) {
        self.word.store(stamp.bits() << 1 | u32::from(is_slow), Ordering::SeqCst);
    }

    /// From now on each call looks twice.
    pub(crate) fn stop(&self) {
        self.word.fetch_or(SLOW, Ordering::SeqCst);
    }

    fn stamp(&self) -> Stamp {
        Stamp::from_bits(self.word.load(Ordering::Relaxed) >> 1)
    }
}

impl fmt::Debug for Pulse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pulse").field("stamp", &self.stamp()).finish_non_exhaustive()
    }
}

impl Mark {
    pub(super) fn new() -> Self {
        Self {
            word: AtomicWord::new(),
            answered: AtomicU32::new(0),
            is_on: AtomicBool::new(false),
            pulse: OnceLock::new(),
        }
    }

    /// From now on calls are marked.
    pub(super) fn start(&self) {
        self.is_on.store(true, Ordering::Release);
    }

    /// From now on calls are marked, by the time of `pulse`. The first one stays.
    pub(super) fn start_by(&self, pulse: &Arc<Pulse>) {
        let pulse = self.pulse.get_or_init(|| Arc::clone(pulse));
        self.answered.store(pulse.stamp().bits(), Ordering::Relaxed);
        self.start();
    }

    /// The connection of this slot is gone.
    pub(super) fn end(&self, id: u64) {
        let watcher = self.pulse.get().and_then(|pulse| pulse.watcher.upgrade());
        if let Some(watcher) = watcher {
            watcher.forget(id);
        }
    }

    pub(crate) fn word(&self) -> Word {
        self.word.load()
    }

    /// When the server was last heard on this connection.
    pub(crate) fn answered(&self) -> Stamp {
        Stamp::from_bits(self.answered.load(Ordering::Relaxed))
    }

    /// Marks the connection as given up, unless anything has happened since `judged`. Whoever is told `true` ends it.
    pub(crate) fn abort(&self, judged: Word) -> bool {
        self.word.abort(judged)
    }

    /// The host was found dead: the connection has to show that it lives before it is used.
    pub(crate) fn suspect(&self) {
        self.word.suspect();
    }

    /// The role of the host is not what it was when the connection was opened.
    pub(super) fn retire(&self) -> Word {
        self.word.retire()
    }

    /// A call begins. False: it is not counted, because calls are not marked here, or because it is too late.
    #[inline]
    fn enter(&self, slot: &Slot) -> bool {
        if !self.is_on.load(Ordering::Relaxed) {
            return false;
        }
        let pulse = self.pulse.get();
        let is_slow = |pulse: &&Arc<Pulse>| pulse.word.load(Ordering::SeqCst) & SLOW != 0;
        if let Some(pulse) = pulse.filter(is_slow) {
            look(pulse, slot);
        }
        let stamp = pulse.map_or(Stamp::from_bits(0), |pulse| pulse.stamp());
        if !self.word.begin(stamp) {
            return false;
        }
        if let Some(pulse) = pulse.filter(is_slow) {
            look(pulse, slot);
        }
        true
    }

    /// A call ends.
    #[inline]
    fn leave(&self, how: Left) -> Word {
        if how == Left::Answered {
            if let Some(pulse) = self.pulse.get() {
                self.answered.store(pulse.stamp().bits(), Ordering::Relaxed);
            }
        }
        match how {
            Left::Dropped => self.word.lose(),
            Left::Answered => self.word.end(true),
            Left::Silent => self.word.end(false),
        }
    }
}

#[cold]
fn look(pulse: &Pulse, slot: &Slot) {
    if let Some(watcher) = pulse.watcher.upgrade() {
        watcher.look(slot);
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// The server has answered.
    Answered,
    /// It is over, and says nothing about the server.
    Silent,
    /// Its future was dropped before the server answered.
    Dropped,
}

/// A call on a connection, from [`Slot::enter`] until it is over. Dropped, it counts as a call that was dropped before it
/// was answered.
#[must_use = "dropped at once it counts as a call that was dropped"]
pub struct InFlight<S: Deref<Target = Slot>>(Option<S>);

impl<S: Deref<Target = Slot>> InFlight<S> {
    #[inline]
    pub(super) fn new(slot: S) -> Self {
        let is_marked = slot.mark().enter(&slot);
        Self(is_marked.then_some(slot))
    }

    /// The call is over, with this result, which is handed through.
    #[inline]
    pub fn end<T>(self, result: Result<T>) -> Result<T> {
        let said = match &result {
            Ok(_) => true,
            Err(error) => error.is_from_server(),
        };
        self.leave(if said { Left::Answered } else { Left::Silent });
        result
    }

    /// The call is over; the server has answered to the end.
    pub fn answered(self) {
        self.leave(Left::Answered);
    }

    /// The call is over for the connection's user, whether or not the server has answered to the end.
    pub fn release(self) {
        self.leave(Left::Silent);
    }

    #[inline]
    fn leave(mut self, how: Left) {
        if let Some(slot) = self.0.take() {
            leave(&slot, how);
        }
    }
}

impl<S: Deref<Target = Slot>> Drop for InFlight<S> {
    #[inline]
    fn drop(&mut self) {
        if let Some(slot) = self.0.take() {
            leave(&slot, Left::Dropped);
        }
    }
}

impl<S: Deref<Target = Slot>> fmt::Debug for InFlight<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InFlight").field(&self.0.as_ref().map(|slot| slot.id())).finish()
    }
}

#[inline]
fn leave(slot: &Slot, how: Left) {
    let now = slot.mark().leave(how);
    if now.is_retired() {
        slot.end_if_retired();
    }
}

#[cfg(test)]
mod tests {
    use super::super::word::MOST_CALLS;
    use super::*;
    use crate::error::{DriverClass, Error, ErrorKind};
    use crate::host::HostKey;
    use crate::registry::{Purpose, Registry};

    fn slot() -> Arc<Slot> {
        let slot = Arc::new(Registry::default()).open(HostKey::new("h", 1).unwrap(), Purpose::Initial);
        slot.mark_calls();
        slot
    }

    #[test]
    fn a_call_is_marked_from_its_beginning_to_its_end() {
        let slot = slot();
        assert!(!slot.is_busy());
        let first = slot.enter();
        let second = slot.enter();
        first.end(Ok(())).unwrap();
        assert!(slot.is_busy(), "another one is in flight");
        second.release();
        assert!(!slot.is_busy() && !slot.mark().word().lost_a_call());
    }

    #[test]
    fn a_call_that_is_dropped_leaves_word() {
        let slot = slot();
        drop(slot.enter());
        assert!(slot.mark().word().lost_a_call());
        slot.enter().answered();
        assert!(slot.mark().word().lost_a_call(), "and nothing takes it back");
    }

    #[test]
    fn an_abort_meets_only_the_call_it_was_meant_for() {
        let slot = slot();
        let first = slot.enter();
        let judged = slot.mark().word();
        first.answered();
        let second = slot.enter();
        assert!(!slot.mark().abort(judged), "the next call has another number");
        second.answered();

        let third = slot.enter();
        assert!(slot.mark().abort(slot.mark().word()));
        assert!(!slot.mark().abort(slot.mark().word()), "it is aborted once");
        third.release();
        slot.enter().release();
        assert!(slot.mark().word().is_aborted() && !slot.is_busy());
    }

    #[test]
    fn an_abort_misses_when_one_of_several_calls_was_answered_and_another_one_began() {
        let slot = slot();
        let oldest = slot.enter();
        let second = slot.enter();
        let judged = slot.mark().word();
        second.answered();
        let third = slot.enter();
        assert!(!slot.mark().abort(judged), "the server has answered since");
        assert!(slot.mark().abort(slot.mark().word()));
        third.release();
        oldest.release();
    }

    #[test]
    fn ends_and_aborts_that_meet_never_hit_a_later_call() {
        for round in 0..2_000 {
            let slot = slot();
            let judged = {
                let call = slot.enter();
                let judged = slot.mark().word();
                std::thread::scope(|scope| {
                    let aborts = scope.spawn(|| slot.mark().abort(judged));
                    call.answered();
                    let later = slot.enter();
                    let is_later_alive = slot.is_busy();
                    let was_aborted = aborts.join().unwrap();
                    assert_ne!(was_aborted, is_later_alive, "round {round}");
                    drop(later);
                });
                judged
            };
            assert!(!slot.mark().abort(judged));
        }
    }

    #[test]
    fn only_what_the_server_says_counts_as_an_answer() {
        let slot = slot();
        slot.mark().suspect();
        let closed = Error::new(ErrorKind::Driver(DriverClass::Network), "closed");
        slot.enter().end::<()>(Err(closed)).unwrap_err();
        assert!(slot.mark().word().is_suspect());
        let refused = Error::new(ErrorKind::Driver(DriverClass::Other), "refused").with_sqlstate("42601");
        slot.enter().end::<()>(Err(refused)).unwrap_err();
        assert!(!slot.mark().word().is_suspect());
    }

    #[test]
    fn stamps_are_compared_across_the_end_of_their_range() {
        let (before, after) =
            (Stamp::from_millis(u128::from(Stamp::BITS)), Stamp::from_millis((1 << 31) + 9));
        assert_eq!((after.since(before), before.since(after)), (10, 0));
    }

    #[test]
    fn a_stamp_of_weeks_ago_is_no_stamp_of_the_future() {
        const DAY: u128 = 24 * 60 * 60 * 1_000;
        for days in [1, 12, 13, 20, 24] {
            let now = Stamp::from_millis(100 * DAY);
            let passed = now.since(Stamp::from_millis((100 - days) * DAY));
            assert_eq!(u128::from(passed), days * DAY);
        }
    }

    #[test]
    fn more_calls_than_can_be_counted_do_no_harm() {
        let slot = slot();
        let calls: Vec<_> = (0..MOST_CALLS + 10).map(|_| slot.enter()).collect();
        for call in calls {
            call.answered();
        }
        assert!(!slot.is_busy());
    }

    #[test]
    fn connections_nobody_asked_about_are_not_marked() {
        let slot = Arc::new(Registry::default()).open(HostKey::new("h", 1).unwrap(), Purpose::Initial);
        let _call = slot.enter();
        assert!(!slot.is_busy());
    }
}
