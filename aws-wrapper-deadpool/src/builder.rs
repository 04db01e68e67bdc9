//! From a connector to a pool.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Settings;
use aws_wrapper_core::pooling::{PoolReset, ReaderFallback};
use aws_wrapper_core::select::{HostSelector, selector};
use aws_wrapper_core::{Error, Result};
use deadpool::managed::{Hook, QueueMode};

use crate::adapter::Adapter;
use crate::hooks::Hooks;
use crate::manager::Manager;
use crate::pool::Pool;
use crate::readers::Readers;
use crate::rules::Rules;
use crate::sub_pool::Recipe;

/// Makes a [`Pool`]. What is not set here is as the connector's parameters `pool_…` say.
#[must_use]
pub struct Builder<A: Adapter> {
    connector: A::Connector,
    rules: Rules,
    strategy: &'static str,
    selector: Option<Arc<dyn HostSelector>>,
    queue_mode: QueueMode,
    hooks: Hooks<A>,
}

impl<A: Adapter> Builder<A> {
    pub(crate) fn new(connector: A::Connector) -> Self {
        let settings = A::core(&connector).settings();
        let rules = rules_of(settings, A::IDLE_CHECK_AFTER);
        let strategy = settings.pool.reader_strategy;
        let (queue_mode, hooks) = (QueueMode::default(), Hooks::default());
        Self { connector, rules, strategy, selector: None, queue_mode, hooks }
    }

    /// Sets how many connections there may be to the writer, and to each reader. Default: twice the number of processors.
    pub fn max_size(mut self, connections: usize) -> Self {
        self.rules.max_size = connections;
        self
    }

    /// Sets how long a checkout waits while all connections are in use; `None`: as long as it takes. Default: 30 s.
    pub fn wait_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.rules.wait_timeout = limit.into();
        self
    }

    /// Sets how long opening a connection may take, all attempts of the plugins together; `None`: as long as these take.
    /// Default: `connect_timeout_ms`, which is 10 s.
    pub fn create_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.rules.create_timeout = limit.into();
        self
    }

    /// Sets how long the check of an idle connection may take, and cleaning one that was given back; `None`: as long as it
    /// takes, but 10 s for the cleaning. Default: 1 s.
    pub fn recycle_timeout(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.rules.recycle_timeout = limit.into();
        self
    }

    /// Sets for how long a connection may lie idle before it is asked for a sign of life when it is checked out. Zero:
    /// every one is asked, at the price of a round trip. Default: 30 s with PostgreSQL; 500 ms with MySQL, whose driver does
    /// not notice the end of a connection nobody uses.
    pub fn idle_check_after(mut self, idle: Duration) -> Self {
        self.rules.idle_check_after = idle;
        self
    }

    /// Sets the age at which a connection is replaced, up to a tenth earlier; `None`, the default: never.
    ///
    /// A pool that follows the writer does not need it.
    pub fn max_lifetime(mut self, age: impl Into<Option<Duration>>) -> Self {
        self.rules.max_lifetime = age.into();
        self
    }

    /// Sets what a connection that is given back is cleaned of, before anybody gets it. Default: [`PoolReset::Auto`], of
    /// whatever was done to its session. An open transaction is ended whatever this says.
    pub fn reset(mut self, reset: PoolReset) -> Self {
        self.rules.reset = reset;
        self
    }

    /// Sets how a reader is picked, by a strategy of your own. Default: the one that
    /// `pool_reader_host_selector_strategy` names, `round_robin`.
    pub fn reader_selector(mut self, selector: impl HostSelector + 'static) -> Self {
        self.selector = Some(Arc::new(selector));
        self
    }

    /// Sets what is given out for a reader when there is none. Default: a connection to the writer.
    pub fn reader_fallback(mut self, fallback: ReaderFallback) -> Self {
        self.rules.reader_fallback = fallback;
        self
    }

    /// Sets which idle connection is given out first. Default: the one that has been idle longest.
    pub fn queue_mode(mut self, mode: QueueMode) -> Self {
        self.queue_mode = mode;
        self
    }

    /// Adds a hook that runs when a connection was opened, in every sub-pool. Bound it: no limit of the pool covers it.
    ///
    /// What it does to the session belongs to a clean one: it runs again when the session was reset, and on a connection
    /// that took the place of a lost one, before that goes back to the pool. Then `recycle_timeout` covers it.
    pub fn post_create(mut self, hook: Hook<Manager<A>>) -> Self {
        self.hooks.post_create.push(hook);
        self
    }

    /// Adds a hook that runs before the pool looks whether an idle connection may be used.
    pub fn pre_recycle(mut self, hook: Hook<Manager<A>>) -> Self {
        self.hooks.pre_recycle.push(hook);
        self
    }

    /// Adds a hook that runs on an idle connection right before it is given out.
    pub fn post_recycle(mut self, hook: Hook<Manager<A>>) -> Self {
        self.hooks.post_recycle.push(hook);
        self
    }

    /// Checks everything together. Opens no connection and needs no runtime.
    ///
    /// # Errors
    /// `Config` for a size or a limit of zero, naming the parameter. Limits that hinder each other are a warning.
    pub fn build(self) -> Result<Pool<A>> {
        check(&self.rules)?;
        for (shorter, longer, what) in contradictions(&self.rules, A::core(&self.connector).settings()) {
            tracing::warn!("`{shorter}` is shorter than `{longer}`: {what}");
        }
        let selector = match self.selector {
            Some(selector) => selector,
            None => selector(self.strategy)?,
        };
        let recipe = Recipe {
            connector: self.connector,
            rules: Arc::new(self.rules),
            hooks: Arc::new(self.hooks),
            queue_mode: self.queue_mode,
        };
        Ok(Pool::new(recipe, Readers::new(selector)))
    }
}

fn rules_of(settings: &Settings, idle_check_after: Duration) -> Rules {
    let pool = &settings.pool;
    Rules {
        max_size: pool.max_size.unwrap_or_else(|| deadpool::managed::PoolConfig::default().max_size),
        wait_timeout: Some(pool.wait_timeout),
        create_timeout: Some(pool.create_timeout.unwrap_or(settings.network.connect_timeout)),
        recycle_timeout: Some(pool.recycle_timeout),
        idle_check_after: pool.idle_check_after.unwrap_or(idle_check_after),
        max_lifetime: pool.max_lifetime,
        reset: pool.reset,
        reader_fallback: pool.reader_fallback,
    }
}

fn check(rules: &Rules) -> Result<()> {
    if rules.max_size == 0 {
        return Err(Error::parameter("pool_max_size", "0", "a whole number of at least 1"));
    }
    // More permits than the pool's semaphore can count.
    if rules.max_size > LARGEST {
        let accepted = format!("a whole number of at most {LARGEST}");
        return Err(Error::parameter("pool_max_size", &rules.max_size.to_string(), &accepted));
    }
    for (name, limit) in [
        ("pool_wait_timeout_ms", rules.wait_timeout),
        ("pool_create_timeout_ms", rules.create_timeout),
        ("pool_recycle_timeout_ms", rules.recycle_timeout),
        ("pool_max_lifetime_ms", rules.max_lifetime),
    ] {
        if limit.is_some_and(|limit| limit.is_zero()) {
            return Err(Error::parameter(name, "0", "a duration of more than 0, or `None` for none"));
        }
    }
    Ok(())
}

const LARGEST: usize = 100_000;

/// Limits that hinder each other: the shorter one, the longer one, and what comes of it.
fn contradictions(rules: &Rules, settings: &Settings) -> Vec<(&'static str, &'static str, &'static str)> {
    let is_shorter = |one: Option<Duration>, other: Option<Duration>| {
        one.zip(other).is_some_and(|(one, other)| one < other)
    };
    let connect = Some(settings.network.connect_timeout);
    let mut found = Vec::new();
    if is_shorter(rules.create_timeout, connect) {
        found.push((
            "pool_create_timeout_ms",
            "connect_timeout_ms",
            "a connect is given up before its own limit, which can tell what is wrong",
        ));
    }
    if is_shorter(rules.wait_timeout, rules.recycle_timeout) {
        found.push((
            "pool_wait_timeout_ms",
            "pool_recycle_timeout_ms",
            "others give up waiting while one silent connection is checked",
        ));
    }
    if is_shorter(rules.max_lifetime, Some(rules.idle_check_after)) {
        found.push((
            "pool_max_lifetime_ms",
            "pool_idle_check_after_ms",
            "no connection gets old enough to be checked",
        ));
    }
    found
}

impl<A: Adapter> fmt::Debug for Builder<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("connector", &self.connector)
            .field("rules", &self.rules)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_wrapper_core::config::Config;
    use aws_wrapper_core::connector::ConnectorOptions;
    use aws_wrapper_core::testing::NullDriver;

    use super::*;

    /// The pairs of parameters that are warned of.
    fn warned(pairs: &[(&str, &str)]) -> Vec<(&'static str, &'static str)> {
        let mut options = ConnectorOptions::<NullDriver>::default();
        *options.config() = Config::from_pairs(pairs.iter().copied());
        let settings = options.settings(|_| false).unwrap();
        let found = contradictions(&rules_of(&settings, Duration::from_secs(30)), &settings);
        found.into_iter().map(|(shorter, longer, _)| (shorter, longer)).collect()
    }

    #[test]
    fn limits_that_hinder_each_other_are_named_both() {
        assert_eq!(warned(&[]), []);
        assert_eq!(
            warned(&[("pool_create_timeout_ms", "5s")]),
            [("pool_create_timeout_ms", "connect_timeout_ms")]
        );
        assert_eq!(
            warned(&[("pool_wait_timeout_ms", "1s"), ("pool_recycle_timeout_ms", "2s")]),
            [("pool_wait_timeout_ms", "pool_recycle_timeout_ms")]
        );
        assert_eq!(
            warned(&[("pool_max_lifetime_ms", "20s")]),
            [("pool_max_lifetime_ms", "pool_idle_check_after_ms")]
        );
        assert_eq!(warned(&[("connect_timeout_ms", "2s"), ("pool_max_lifetime_ms", "1h")]), []);
    }
}
