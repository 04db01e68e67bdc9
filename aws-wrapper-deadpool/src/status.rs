//! What a pool has and what it has done. Reading it does no I/O and waits for nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_wrapper_core::Error;

use crate::adapter::Adapter;
use crate::meter::Meter;
use crate::recycle::Discard;
use crate::sub_pool::SubPool;
use crate::target::Target;

/// What [`Pool::status`](crate::Pool::status) returns: sums, and each sub-pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Status {
    /// Connections there are.
    pub size: usize,
    /// Those of them that lie idle.
    pub available: usize,
    /// Those of them that are in use, being checked or being cleaned.
    pub in_use: usize,
    /// Checkouts that wait for a connection, also for one that is being opened.
    pub waiting: usize,
    /// Each sub-pool.
    pub sub_pools: Vec<SubPoolStatus>,
}

/// One sub-pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SubPoolStatus {
    /// Where its connections lead to.
    pub target: Target,
    /// How many connections it may have; 0 when it is closed.
    pub max_size: usize,
    /// Connections there are.
    pub size: usize,
    /// Those of them that lie idle.
    pub available: usize,
    /// Those of them that are in use, being checked or being cleaned.
    pub in_use: usize,
    /// Checkouts that wait for a connection, also for one that is being opened.
    pub waiting: usize,
    /// Connections opened so far.
    pub created: u64,
    /// How often a connection was given out again.
    pub recycled: u64,
    /// How often one was cleaned after it was given back; those that could not be are counted as discarded.
    pub cleaned: u64,
    /// How often opening one failed.
    pub failed: u64,
    /// Connections that were not used again, by reason.
    pub discarded: BTreeMap<&'static str, u64>,
    /// What connecting failed with, until it succeeded.
    pub last_error: Option<Arc<Error>>,
}

impl Status {
    pub(crate) fn of<'a, A: Adapter>(sub_pools: impl Iterator<Item = &'a SubPool<A>>) -> Self {
        let sub_pools: Vec<_> = sub_pools.map(SubPoolStatus::of).collect();
        let sum = |field: fn(&SubPoolStatus) -> usize| sub_pools.iter().map(field).sum();
        Self {
            size: sum(|sub| sub.size),
            available: sum(|sub| sub.available),
            in_use: sum(|sub| sub.in_use),
            waiting: sum(|sub| sub.waiting),
            sub_pools,
        }
    }

    /// The sub-pool of a target, if it is there.
    pub fn sub_pool(&self, target: &Target) -> Option<&SubPoolStatus> {
        self.sub_pools.iter().find(|sub| sub.target == *target)
    }
}

impl SubPoolStatus {
    fn of<A: Adapter>(sub_pool: &SubPool<A>) -> Self {
        let (status, manager) = (sub_pool.status(), sub_pool.manager());
        let counters = &manager.counters;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let discarded = Discard::ALL.iter().zip(&counters.discarded);
        Self {
            target: manager.target().clone(),
            max_size: status.max_size,
            size: status.size,
            available: status.available,
            in_use: status.size - status.available.min(status.size),
            waiting: status.waiting,
            created: read(&counters.created),
            recycled: read(&counters.recycled),
            cleaned: read(&counters.cleaned),
            failed: read(&counters.failed),
            discarded: discarded
                .map(|(reason, count)| (reason.code(), read(count)))
                .filter(|(_, count)| *count > 0)
                .collect(),
            last_error: manager.last_error(),
        }
    }
}

/// What a sub-pool has done, for the status and for the application's instrument.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) meter: Meter,
    created: AtomicU64,
    recycled: AtomicU64,
    cleaned: AtomicU64,
    failed: AtomicU64,
    discarded: [AtomicU64; Discard::ALL.len()],
}

impl Counters {
    pub(crate) fn new(meter: Meter) -> Self {
        Self {
            meter,
            created: AtomicU64::default(),
            recycled: AtomicU64::default(),
            cleaned: AtomicU64::default(),
            failed: AtomicU64::default(),
            discarded: Default::default(),
        }
    }

    pub(crate) fn created(&self) {
        self.created.fetch_add(1, Ordering::Relaxed);
        self.meter.created("ok");
    }

    pub(crate) fn recycled(&self) {
        self.recycled.fetch_add(1, Ordering::Relaxed);
        self.meter.recycled("reused");
    }

    pub(crate) fn cleaned(&self) {
        self.cleaned.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.meter.created(error.kind().code());
    }

    pub(crate) fn discarded(&self, reason: Discard) {
        self.discarded[reason as usize].fetch_add(1, Ordering::Relaxed);
        self.meter.recycled(reason.code());
    }
}
