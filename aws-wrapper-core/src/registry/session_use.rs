//! What was done to a session since it was clean, for pools that hand it on.
//!
//! A connection outside of a pool is not watched; its calls pay one load for that.

use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::session::SessionChange;

/// The note of it, in one byte.
pub(super) struct SessionUse(AtomicU8);

/// No pool has asked for notes.
const UNWATCHED: u8 = 0;

impl SessionUse {
    pub(super) const fn new() -> Self {
        Self(AtomicU8::new(UNWATCHED))
    }

    /// As it is now the session is clean, and from now on it is noted what is done to it.
    pub(super) fn clean(&self) {
        self.0.store(SessionChange::None as u8, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn is_watched(&self) -> bool {
        self.0.load(Ordering::Relaxed) != UNWATCHED
    }

    /// Notes a change; the most lasting one stands. A change that no reset takes back is noted before the pool watches, too: a
    /// connection that takes the place of another one may become another user before it comes to its pool.
    pub(super) fn note(&self, change: SessionChange) {
        if self.is_watched() || change == SessionChange::Lasting {
            self.0.fetch_max(change as u8, Ordering::Relaxed);
        }
    }

    /// What was done to it. A session that is not watched may have been changed.
    pub(super) fn change(&self) -> SessionChange {
        match self.0.load(Ordering::Relaxed) {
            1 => SessionChange::None,
            3 => SessionChange::Lasting,
            _ => SessionChange::Resettable,
        }
    }
}

impl fmt::Debug for SessionUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.change().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_lasting_change_stands_until_the_session_is_clean_again() {
        let session = SessionUse::new();
        session.note(SessionChange::None);
        assert_eq!(session.change(), SessionChange::Resettable, "not watched, not known");
        session.note(SessionChange::Lasting);
        assert_eq!(session.change(), SessionChange::Lasting);
        session.clean();
        session.note(SessionChange::None);
        assert_eq!(session.change(), SessionChange::None);
        session.note(SessionChange::Lasting);
        session.note(SessionChange::Resettable);
        assert_eq!(session.change(), SessionChange::Lasting);
        session.clean();
        assert_eq!(session.change(), SessionChange::None);
    }
}
