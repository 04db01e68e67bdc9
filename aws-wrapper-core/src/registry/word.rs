//! The atomic word of a busy mark: which call is in flight, since when, and what became of the connection.
//!
//! Everything that can happen to a connection at the same time meets in this one word. It knows nothing else, so that a
//! model checker can play every order of events (`tests/busy_word_model.rs`); the atomics come from the module beside it
//! for that reason.

use super::atomic::{AtomicU64, Ordering};

/// Calls in flight, then flags, then the stamp of the oldest of them, then the number of the newest.
const CALLS: u64 = (1 << 13) - 1;
const ABORTED: u64 = 1 << 13;
const SUSPECT: u64 = 1 << 14;
const RETIRED: u64 = 1 << 15;
const DROPPED: u64 = 1 << 16;
const STAMP_SHIFT: u32 = 17;
const STAMP: u64 = (1 << 31) - 1;
const NUMBER_SHIFT: u32 = 48;
const NUMBER: u64 = (1 << 16) - 1;

/// See the module.
#[derive(Debug)]
pub(crate) struct AtomicWord(AtomicU64);

/// A word as it was read once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl AtomicWord {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn load(&self) -> Word {
        // In one order with a clock that is about to stop and a call that is about to begin.
        Word(self.0.load(Ordering::SeqCst))
    }

    /// A call begins at the time `stamp`. False: it is not counted, because there are too many or the connection was
    /// given up.
    #[inline]
    pub(crate) fn begin(&self, stamp: Stamp) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & ABORTED != 0 || word & CALLS == CALLS {
                return false;
            }
            let next = if word & CALLS == 0 {
                let number = (word >> NUMBER_SHIFT).wrapping_add(1) & NUMBER;
                let flags = word & (SUSPECT | RETIRED | DROPPED);
                number << NUMBER_SHIFT | u64::from(stamp.0) << STAMP_SHIFT | flags | 1
            } else {
                // Another number here as well: one call that ends and one that begins must not leave the word as it was.
                word.wrapping_add(1 << NUMBER_SHIFT | 1)
            };
            // In one order with a clock that is about to stop: either it sees the call, or the call sees that it stopped.
            match self.0.compare_exchange_weak(word, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(newer) => word = newer,
            }
        }
    }

    /// A call that was counted ends. The server has answered it if `is_answered`, and so has shown that it lives.
    #[inline]
    pub(crate) fn end(&self, is_answered: bool) -> Word {
        let before = self.0.fetch_sub(1, Ordering::AcqRel);
        if is_answered && before & SUSPECT != 0 {
            self.0.fetch_and(!SUSPECT, Ordering::AcqRel);
        }
        Word(before - 1)
    }

    /// A call that was counted ends because nobody waits for its answer any more.
    #[cold]
    pub(crate) fn lose(&self) -> Word {
        self.0.fetch_or(DROPPED, Ordering::AcqRel);
        self.end(false)
    }

    /// Marks the connection as given up, unless anything has happened since `judged`. Whoever is told `true` ends it.
    pub(crate) fn abort(&self, judged: Word) -> bool {
        let aborted = judged.0 | ABORTED;
        !judged.is_aborted()
            && self.0.compare_exchange(judged.0, aborted, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// The host was found dead: the connection has to show that it lives before it is used.
    pub(crate) fn suspect(&self) {
        self.0.fetch_or(SUSPECT, Ordering::AcqRel);
    }

    /// The role of the host is not what it was when the connection was opened.
    pub(crate) fn retire(&self) -> Word {
        Word(self.0.fetch_or(RETIRED, Ordering::AcqRel) | RETIRED)
    }
}

impl Word {
    pub(crate) fn is_busy(self) -> bool {
        self.0 & CALLS != 0
    }

    pub(crate) fn is_aborted(self) -> bool {
        self.0 & ABORTED != 0
    }

    pub(crate) fn is_suspect(self) -> bool {
        self.0 & SUSPECT != 0
    }

    pub(crate) fn is_retired(self) -> bool {
        self.0 & RETIRED != 0
    }

    pub(crate) fn lost_a_call(self) -> bool {
        self.0 & DROPPED != 0
    }

    /// Changes with every call that begins.
    pub(crate) fn number(self) -> u64 {
        self.0 >> NUMBER_SHIFT
    }

    /// When the oldest call in flight began.
    pub(crate) fn began(self) -> Stamp {
        Stamp(u32::try_from(self.0 >> STAMP_SHIFT & STAMP).unwrap_or(0))
    }
}

/// A moment in milliseconds, modulo about 25 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) const BITS: u32 = u32::MAX >> 1;
    /// Stamps lie this much in the future at most. All others are of the past: a connection may rest for weeks.
    const AHEAD: u32 = 60_000;

    pub(crate) fn from_millis(millis: u128) -> Self {
        Self(u32::try_from(millis & u128::from(Self::BITS)).unwrap_or(0))
    }

    /// From the low 31 bits of a number.
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits & Self::BITS)
    }

    pub(crate) fn bits(self) -> u32 {
        self.0
    }

    /// How many milliseconds lie between an earlier stamp and this one; 0 if it is not earlier.
    pub(crate) fn since(self, earlier: Self) -> u64 {
        let passed = self.0.wrapping_sub(earlier.0) & Self::BITS;
        if passed > Self::BITS - Self::AHEAD { 0 } else { u64::from(passed) }
    }
}

/// More calls at once than this are not counted.
#[cfg(test)]
pub(crate) const MOST_CALLS: u64 = CALLS;
