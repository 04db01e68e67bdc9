//! Which connections may be used again.
//!
//! Without a question to the server: what the registry knows of the connection, where it leads to now, whether a
//! transaction is open, how old it is. What is left on one that is given back is the matter of the module `clean`. Only
//! one that lay idle for long, or whose host was in doubt meanwhile, is asked for a sign of life.

use aws_wrapper_core::host::Role;
use aws_wrapper_core::registry::{Fitness, Slot, Unfit};
use aws_wrapper_core::session::transaction::TransactionState;
use tokio::time::{Instant, timeout};

use crate::adapter::Adapter;
use crate::manager::Manager;
use crate::pooled::Pooled;
use crate::rules::lifetime;
use crate::target::Target;

/// Why a connection is not used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// It has ended: closed by the server or lost.
    Ended,
    /// The wrapper gave it up.
    Aborted,
    /// Its host was the writer and is not any more.
    Demoted,
    /// It leads to another host than the connections of its sub-pool.
    Moved,
    /// The future of a call was dropped before the answer came.
    CallDropped,
    /// A result is still being read from it.
    Busy,
    /// A transaction or a result was left open, and could not be ended in time or without a runtime.
    Transaction,
    /// What was done to its session cannot be taken back, or could not in time or without a runtime.
    Session,
    /// It is older than `pool_max_lifetime_ms`.
    Expired,
    /// It gave no sign of life, or one that lay beside it did not.
    Silent,
}

impl Discard {
    pub(crate) const ALL: [Self; 10] = [
        Self::Ended,
        Self::Aborted,
        Self::Demoted,
        Self::Moved,
        Self::CallDropped,
        Self::Busy,
        Self::Transaction,
        Self::Session,
        Self::Expired,
        Self::Silent,
    ];

    /// The word for it in a status.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Aborted => "aborted",
            Self::Demoted => "demoted",
            Self::Moved => "moved",
            Self::CallDropped => "call_dropped",
            Self::Busy => "busy",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Expired => "expired",
            Self::Silent => "silent",
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Ended => "the connection has ended",
            Self::Aborted => "the connection was given up",
            Self::Demoted => "its host is not the writer any more",
            Self::Moved => "it leads to another host now",
            Self::CallDropped => "a call on it was dropped",
            Self::Busy => "a result is still being read from it",
            Self::Transaction => "a transaction or a result was left open on it",
            Self::Session => "its session is not as it was",
            Self::Expired => "it is too old",
            Self::Silent => "it gives no sign of life",
        }
    }
}

impl From<Unfit> for Discard {
    fn from(why: Unfit) -> Self {
        match why {
            Unfit::Aborted => Self::Aborted,
            Unfit::Demoted => Self::Demoted,
            Unfit::CallDropped => Self::CallDropped,
            _ => Self::Ended,
        }
    }
}

/// What is known of a connection without asking it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    Good,
    /// Only the server can say.
    Doubtful,
}

impl<A: Adapter> Manager<A> {
    /// Whether an idle connection may stay. Does no I/O.
    pub(crate) fn keeps(&self, pooled: &Pooled<A>) -> Result<(), Discard> {
        let slot = pooled.slot();
        self.usable(&slot)?;
        self.fits_its_role(&slot)
    }

    /// Whether a connection may be given out, as far as that is known without asking the server.
    pub(crate) fn judge(&self, pooled: &mut Pooled<A>) -> Result<Known, Discard> {
        let slot = pooled.slot();
        self.track(pooled, &slot);
        let known = self.usable(&slot)?;
        self.fits_its_role(&slot)?;
        let is_settled = match slot.transaction() {
            TransactionState::Idle => true,
            // A hook ran something that failed: the next answer tells.
            TransactionState::Unknown => false,
            _ => return Err(Discard::Transaction),
        };
        if self.silent_since.lock().is_some_and(|found| pooled.idle_since < found) {
            return Err(Discard::Silent);
        }
        let was_used_lately = pooled.idle_since.elapsed() < self.rules.idle_check_after;
        if is_settled && was_used_lately && !pooled.is_abroad() { Ok(known) } else { Ok(Known::Doubtful) }
    }

    /// Asks a connection for a sign of life, and whether it may be given out after that.
    pub(crate) async fn ask(&self, pooled: &mut Pooled<A>) -> Result<(), Discard> {
        let answer = match self.rules.recycle_timeout {
            Some(limit) => timeout(limit, A::ping(pooled)).await.is_ok_and(|answer| answer.is_ok()),
            None => A::ping(pooled).await.is_ok(),
        };
        if !answer {
            return Err(self.found_silent(pooled));
        }
        let slot = pooled.slot();
        self.usable(&slot)?;
        self.fits_its_role(&slot)?;
        match slot.transaction() {
            TransactionState::Idle => Ok(()),
            _ => Err(Discard::Transaction),
        }
    }

    /// Whatever lay idle when this one was last used is as old as this one, and on the same host: it is not asked.
    fn found_silent(&self, pooled: &Pooled<A>) -> Discard {
        if pooled.slot().has_ended() {
            return Discard::Ended;
        }
        let now = Instant::now();
        *self.silent_since.lock() =
            Some(now.checked_sub(self.rules.recycle_timeout.unwrap_or_default()).unwrap_or(now));
        Discard::Silent
    }

    pub(crate) fn usable(&self, slot: &Slot) -> Result<Known, Discard> {
        let known = match slot.fitness() {
            Fitness::Fit => Known::Good,
            Fitness::Unfit(why) => return Err(why.into()),
            _ => Known::Doubtful,
        };
        // Somebody has just lost the host; a driver that does not look at idle sockets would not know.
        let known = if self.core().topology().is_down(slot.routed_host()) { Known::Doubtful } else { known };
        if self.rules.max_lifetime.is_some_and(|limit| slot.age() >= lifetime(limit, slot.id())) {
            return Err(Discard::Expired);
        }
        // It may have changed its host while it was in use.
        match &self.target {
            Target::Reader(host) if host != slot.routed_host() => Err(Discard::Moved),
            _ => Ok(known),
        }
    }

    /// Whether the newest topology agrees. It is also told that somebody still uses the cluster, so that its monitor goes on.
    fn fits_its_role(&self, slot: &Slot) -> Result<(), Discard> {
        if self.target != Target::Writer {
            return Ok(());
        }
        let snapshot = self.core().topology().snapshot();
        match snapshot.find(slot.routed_host()) {
            Some(host) if host.role == Role::Reader => Err(Discard::Demoted),
            _ => Ok(()),
        }
    }
}
