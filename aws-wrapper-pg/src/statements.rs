//! The statements that one connection has been taught.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::statement::Statement;

/// The logical statements a physical connection has been taught, at most [`Statements::LIMIT`].
#[derive(Debug, Default)]
pub(crate) struct Statements {
    /// Counts the times when all were forgotten, those included that are not listed here: a statement knows in which era it
    /// was prepared.
    era: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By the hash of text and types: two statements of the same text share one on the server.
    by_hash: HashMap<u64, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    logical: Statement,
    prepared: tokio_postgres::Statement,
    used: u64,
}

impl Statements {
    const LIMIT: usize = 256;

    pub(crate) fn era(&self) -> u64 {
        self.era.load(Ordering::Relaxed)
    }

    pub(crate) fn find(&self, statement: &Statement) -> Option<tokio_postgres::Statement> {
        let mut known = self.known.lock();
        known.clock += 1;
        let now = known.clock;
        let entry =
            known.by_hash.get_mut(&statement.hash()).filter(|entry| entry.logical.has_text_of(statement))?;
        entry.used = now;
        Some(entry.prepared.clone())
    }

    pub(crate) fn forget(&self, statement: &Statement) {
        let forgotten = self.known.lock().by_hash.remove(&statement.hash());
        drop(forgotten);
    }

    /// Whatever was prepared until now is prepared again before it is executed.
    pub(crate) fn forget_all(&self) {
        self.era.fetch_add(1, Ordering::Relaxed);
        let forgotten = std::mem::take(&mut self.known.lock().by_hash);
        // Dropping a statement sends a message: not under the lock.
        drop(forgotten);
    }

    pub(crate) fn insert(&self, statement: &Statement, prepared: &tokio_postgres::Statement) {
        let dropped = {
            let mut known = self.known.lock();
            known.clock += 1;
            let entry = Entry { logical: statement.clone(), prepared: prepared.clone(), used: known.clock };
            let replaced = known.by_hash.insert(statement.hash(), entry);
            // Looking at all of them is nothing beside the round trip that preceded.
            let oldest = known.by_hash.iter().min_by_key(|(_, entry)| entry.used).map(|(hash, _)| *hash);
            let evicted = oldest
                .filter(|_| known.by_hash.len() > Self::LIMIT)
                .and_then(|hash| known.by_hash.remove(&hash));
            (replaced, evicted)
        };
        // Dropping a statement sends a message: not under the lock.
        drop(dropped);
    }
}
