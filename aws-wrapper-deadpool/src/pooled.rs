//! A connection as it lies in a sub-pool.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use aws_wrapper_core::registry::Slot;
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use crate::adapter::Adapter;

/// A connection and when it was given back: what deadpool's hooks see. Works like the connection itself.
pub struct Pooled<A: Adapter> {
    client: A::Client,
    pub(crate) idle_since: Instant,
    /// The slot that is tracked: after a failover it is another one.
    tracked: u64,
    /// Where it was opened.
    runtime: Option<Id>,
}

impl<A: Adapter> Pooled<A> {
    pub(crate) fn new(client: A::Client) -> Self {
        Self { client, idle_since: Instant::now(), tracked: 0, runtime: None }
    }

    pub(crate) fn slot(&self) -> Arc<Slot> {
        A::slot(&self.client)
    }

    /// Whether the physical connection is another one than the one that was tracked.
    pub(crate) fn was_replaced(&self, slot: &Slot) -> bool {
        slot.id() != self.tracked
    }

    /// Whether the physical connection is a new one, from now on tracked: it was opened by this runtime.
    pub(crate) fn is_new(&mut self, slot: &Slot) -> bool {
        if !self.was_replaced(slot) {
            return false;
        }
        (self.tracked, self.runtime) = (slot.id(), runtime());
        true
    }

    /// Whether the runtime it needs may have ended.
    pub(crate) fn is_abroad(&self) -> bool {
        A::BOUND_TO_RUNTIME && self.runtime != runtime()
    }

    pub(crate) fn into_client(self) -> A::Client {
        self.client
    }
}

fn runtime() -> Option<Id> {
    Handle::try_current().ok().map(|runtime| runtime.id())
}

impl<A: Adapter> Deref for Pooled<A> {
    type Target = A::Client;

    fn deref(&self) -> &A::Client {
        &self.client
    }
}

impl<A: Adapter> DerefMut for Pooled<A> {
    fn deref_mut(&mut self) -> &mut A::Client {
        &mut self.client
    }
}

impl<A: Adapter> fmt::Debug for Pooled<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.client.fmt(f)
    }
}
