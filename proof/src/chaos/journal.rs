//! Where workers note what they did.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::chaos::history::{At, Leftover, Look, Quote, Slow, Write};

/// Shared by all workers of a schedule.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) start: Instant,
    pub(crate) stop: AtomicBool,
    next_id: AtomicI64,
    notes: Mutex<Notes>,
}

/// What was noted.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) writes: Vec<Write>,
    pub(crate) looks: Vec<Look>,
    pub(crate) left_behind: Vec<Leftover>,
    pub(crate) quotes: Vec<Quote>,
    pub(crate) slow: Vec<Slow>,
    /// Calls by kind.
    pub(crate) calls: BTreeMap<&'static str, u64>,
    /// Errors by what failed and how.
    pub(crate) errors: BTreeMap<String, u64>,
    /// What each worker does at this moment.
    pub(crate) running: BTreeMap<u32, Slow>,
    /// When each worker last got something done.
    pub(crate) progress: BTreeMap<u32, At>,
    /// Notifications received.
    pub(crate) heard: u64,
}

/// Calls that end in this time are not worth a note.
const QUICK: Duration = Duration::from_secs(1);

impl Journal {
    pub(crate) fn new(start: Instant, first_id: i64) -> Self {
        Self {
            start,
            stop: AtomicBool::new(false),
            next_id: AtomicI64::new(first_id),
            notes: Mutex::default(),
        }
    }

    pub(crate) fn now(&self) -> At {
        self.start.elapsed()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// So many numbers that nobody else gets.
    pub(crate) fn ids(&self, count: i64) -> std::ops::Range<i64> {
        let first = self.next_id.fetch_add(count, Ordering::Relaxed);
        first..first + count
    }

    /// The next number that is free.
    pub(crate) fn last_id(&self) -> i64 {
        self.next_id.load(Ordering::Relaxed)
    }

    pub(crate) fn note<R>(&self, note: impl FnOnce(&mut Notes) -> R) -> R {
        note(&mut self.notes.lock())
    }

    /// Makes a call and watches its time.
    pub(crate) async fn call<R, E>(
        &self,
        worker: u32,
        call: &'static str,
        limit: Duration,
        work: impl Future<Output = Result<R, E>>,
    ) -> Result<R, E> {
        let began = self.now();
        let mut slow = Slow { worker, call, began, took: Duration::ZERO, limit };
        self.note(|notes| {
            notes.running.insert(worker, slow.clone());
        });
        let result = work.await;
        let now = self.now();
        slow.took = now.saturating_sub(began);
        self.note(|notes| {
            notes.running.remove(&worker);
            *notes.calls.entry(call).or_default() += 1;
            if result.is_ok() {
                notes.progress.insert(worker, now);
            }
            if slow.took > QUICK {
                notes.slow.push(slow);
            }
        });
        result
    }

    pub(crate) fn error(&self, call: &str, kind: &str) {
        self.note(|notes| *notes.errors.entry(format!("{call}: {kind}")).or_default() += 1);
    }

    /// The calls that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<Slow> {
        let now = self.now();
        self.note(|notes| {
            notes
                .running
                .values()
                .map(|slow| Slow { took: now.saturating_sub(slow.began), ..slow.clone() })
                .collect()
        })
    }
}
