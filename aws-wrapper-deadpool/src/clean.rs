//! What a user left behind on a connection is taken away when it is given back.
//!
//! Most leave nothing: their connection goes back at once, without a question to the server. Else a task does the chores, and
//! holds deadpool's own object meanwhile, so that the pool counts the connection as in use. Neither who gave it back nor who
//! checks one out does any of it.

use aws_wrapper_core::pooling::PoolReset;
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::session::transaction::TransactionState;
use deadpool::managed;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

use crate::adapter::Adapter;
use crate::manager::Manager;
use crate::pooled::Pooled;
use crate::recycle::Discard;
use crate::sub_pool::show_size;

/// What is left on a connection that is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Left {
    Nothing,
    Chores(Chores),
}

/// What has to be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chores {
    /// End the transaction that is open or may be, and read what is left of results.
    clear_up: bool,
    /// Reset the session.
    reset: bool,
    /// Run the hooks of a new connection: what they set is gone, or was never there.
    prepare: bool,
}

impl<A: Adapter> Manager<A> {
    /// Whether a connection that is given back may be used again, and what has to be done before that. Does no I/O.
    pub(crate) fn accepts(&self, pooled: &mut Pooled<A>) -> Result<Left, Discard> {
        let is_left_open = A::is_left_open(pooled);
        let slot = pooled.slot();
        self.usable(&slot)?;
        if slot.is_busy() {
            return Err(Discard::Busy);
        }
        let change = slot.session_change();
        let reset = match self.rules.reset {
            PoolReset::Never => false,
            _ if change == SessionChange::Lasting => return Err(Discard::Session),
            PoolReset::Always => true,
            _ => change != SessionChange::None,
        };
        let clear_up = is_left_open || slot.transaction() != TransactionState::Idle;
        let prepare = !self.hooks.post_create.is_empty() && (reset || pooled.was_replaced(&slot));
        let chores = Chores { clear_up, reset, prepare };
        Ok(if clear_up || reset || prepare { Left::Chores(chores) } else { Left::Nothing })
    }

    /// Closes a connection that is not used again.
    pub(crate) fn discard(&self, object: managed::Object<Self>, reason: Discard) {
        self.counters.discarded(reason);
        tracing::debug!(sub_pool = %self.target, ?reason, "a connection does not go back to the pool");
        drop(managed::Object::take(object));
    }

    async fn clean(&self, object: &mut managed::Object<Self>, chores: Chores) -> Result<(), Discard> {
        if chores.clear_up {
            let ended = A::clear_up(object).await;
            ended.map_err(|error| self.given_up(object, Discard::Transaction, &error))?;
            if object.slot().transaction() != TransactionState::Idle {
                return Err(Discard::Transaction);
            }
        }
        if chores.reset {
            let reset = A::reset(object).await;
            let is_fresh = reset.map_err(|error| self.given_up(object, Discard::Session, &error))?;
            if !is_fresh {
                return Err(Discard::Session);
            }
        }
        if chores.prepare {
            let metrics = *managed::Object::metrics(object);
            let prepared = self.hooks.prepare(object, &metrics).await;
            prepared.map_err(|error| self.given_up(object, Discard::Session, &error))?;
        }
        let slot = object.slot();
        self.track(object, &slot);
        self.usable(&slot)?;
        // A hook may have left something, too.
        if slot.transaction() == TransactionState::Idle { Ok(()) } else { Err(Discard::Transaction) }
    }

    fn given_up(&self, pooled: &Pooled<A>, reason: Discard, error: &dyn std::fmt::Display) -> Discard {
        tracing::debug!(sub_pool = %self.target, %error, "a connection cannot be cleaned");
        self.usable(&pooled.slot()).err().unwrap_or(reason)
    }
}

/// A connection that is being cleaned. Dropped before it is clean, for whatever reason, it does not go back.
pub(crate) struct Cleaning<A: Adapter> {
    pool: managed::Pool<Manager<A>>,
    object: Option<managed::Object<Manager<A>>>,
    /// Why it is discarded if it is dropped now.
    otherwise: Discard,
}

impl<A: Adapter> Cleaning<A> {
    /// Has a connection cleaned by a task, which gives it back. Without a runtime it is discarded.
    pub(crate) fn start(
        pool: managed::Pool<Manager<A>>,
        object: managed::Object<Manager<A>>,
        chores: Chores,
    ) {
        let otherwise = if chores.clear_up { Discard::Transaction } else { Discard::Session };
        let cleaning = Self { pool, object: Some(object), otherwise };
        if Handle::try_current().is_ok() {
            let services = cleaning.pool.manager().core().services().clone();
            services.spawn(cleaning.run(chores));
        }
    }

    async fn run(mut self, chores: Chores) {
        let manager = self.pool.manager();
        let Some(object) = &mut self.object else { return };
        match timeout(manager.rules.cleaning_limit(), manager.clean(object, chores)).await {
            Ok(Ok(())) => {
                manager.counters.cleaned();
                object.idle_since = Instant::now();
                // It goes back.
                drop(self.object.take());
            }
            Ok(Err(reason)) => self.otherwise = reason,
            Err(_) => tracing::debug!(sub_pool = %manager.target(), "a connection was not cleaned in time"),
        }
    }
}

impl<A: Adapter> Drop for Cleaning<A> {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            self.pool.manager().discard(object, self.otherwise);
        }
        show_size(&self.pool);
    }
}
