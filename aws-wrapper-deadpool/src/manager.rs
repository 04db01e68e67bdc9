//! How a sub-pool makes connections.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::error::{Error, ErrorKind, Phase, Result};
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::topology::cluster::Verify;
use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout_at};

use crate::adapter::Adapter;
use crate::backoff::Backoff;
use crate::failure::Failure;
use crate::hooks::Hooks;
use crate::meter::Meter;
use crate::pooled::Pooled;
use crate::recycle::Known;
use crate::rules::Rules;
use crate::status::Counters;
use crate::sub_pool::Recipe;
use crate::target::Target;

/// What deadpool asks for connections: opens them where its [`target`](Self::target) is, and decides which may be used
/// again.
pub struct Manager<A: Adapter> {
    pub(crate) target: Target,
    route: Route,
    pub(crate) connector: A::Connector,
    pub(crate) rules: Arc<Rules>,
    pub(crate) hooks: Arc<Hooks<A>>,
    pub(crate) counters: Counters,
    pub(crate) backoff: Backoff,
    failure: Failure,
    /// When a connection was found silent: those that lay idle then are not asked one after the other.
    pub(crate) silent_since: Mutex<Option<Instant>>,
}

/// How a sub-pool gets to its target.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// As the connector does.
    Endpoint,
    /// To the instance that the topology names as the writer.
    Writer,
    /// To one instance.
    Host(HostKey),
}

impl<A: Adapter> Manager<A> {
    pub(crate) fn new(target: Target, route: Route, recipe: &Recipe<A>) -> Self {
        let core = A::core(&recipe.connector);
        let endpoint = core.topology().initial_host().clone();
        let meter = Meter::new(core.services().telemetry().clone(), endpoint, target.clone());
        Self {
            target,
            route,
            connector: recipe.connector.clone(),
            rules: Arc::clone(&recipe.rules),
            hooks: Arc::clone(&recipe.hooks),
            counters: Counters::new(meter),
            backoff: Backoff::default(),
            failure: Failure::default(),
            silent_since: Mutex::default(),
        }
    }

    /// Where its connections lead to.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The connector it opens them with.
    pub fn connector(&self) -> &A::Connector {
        &self.connector
    }

    /// What connecting failed with, until a connection was opened, or one was used after that.
    pub fn last_error(&self) -> Option<Arc<Error>> {
        self.failure.last()
    }

    pub(crate) fn core(&self) -> &CoreConnector<A::Driver> {
        A::core(&self.connector)
    }

    async fn open(&self, deadline: Option<Instant>) -> Result<A::Client> {
        if let Some(pause) = self.backoff.pause() {
            self.unless_news(sleep(pause)).await;
        }
        match &self.route {
            Route::Endpoint => A::connect(&self.connector).await,
            Route::Writer => self.open_writer(deadline).await,
            Route::Host(host) => A::connect_to_host(&self.connector, host, Role::Reader).await,
        }
    }

    /// Connects to its host, past the pool, to see whether that is possible again.
    pub(crate) async fn is_reachable(&self, host: &HostKey) -> bool {
        let opened = A::connect_to_host(&self.connector, host, Role::Reader).await;
        if opened.is_ok() {
            self.backoff.succeeded();
            self.failure.is_over();
        }
        opened.is_ok()
    }

    /// News of the cluster end a pause: the host may be another one now.
    async fn unless_news(&self, pause: impl Future<Output = ()>) {
        let Some(mut news) = self.core().topology().subscribe() else { return pause.await };
        tokio::select! {
            () = pause => {}
            _ = news.changed() => {}
        }
    }

    /// To the instance that is the writer, for connectors whose own endpoint is not the writer's.
    async fn open_writer(&self, deadline: Option<Instant>) -> Result<A::Client> {
        let topology = self.core().topology();
        let deadline = deadline.unwrap_or_else(|| Instant::now() + UNBOUNDED_SEARCH);
        let mut snapshot = topology.snapshot();
        let mut last = None;
        loop {
            if let Some(writer) = snapshot.writer_host() {
                match A::connect_to_host(&self.connector, &writer.key, Role::Writer).await {
                    Ok(client) => return Ok(client),
                    Err(error) if error.kind() == ErrorKind::Login || topology.cluster().is_none() => {
                        return Err(error);
                    }
                    Err(error) => last = Some(error),
                }
            }
            if let Some(error) = last.take_if(|_| Instant::now() >= deadline) {
                return Err(error);
            }
            snapshot = match topology.refresh(Verify::Writer, deadline).await {
                Ok(snapshot) if snapshot.writer_host().is_some() => snapshot,
                Ok(_) => return Err(Error::new(ErrorKind::Routing, "no host is known to be the writer")),
                Err(error) => return Err(last.unwrap_or(error)),
            };
        }
    }

    fn opened(&self, client: A::Client) -> Pooled<A> {
        self.backoff.succeeded();
        self.failure.is_over();
        self.counters.created();
        let mut pooled = Pooled::<A>::new(client);
        let slot = pooled.slot();
        self.track(&mut pooled, &slot);
        pooled
    }

    /// From now on the connection that is in use is marked and follows the role of its host.
    pub(crate) fn track(&self, pooled: &mut Pooled<A>, slot: &Slot) {
        if pooled.is_new(slot) {
            self.core().topology().track(slot);
        }
    }

    fn failed(&self, begun: Instant, error: Error) -> Arc<Error> {
        let error = Arc::new(error);
        self.backoff.failed(begun);
        self.counters.failed(&error);
        tracing::debug!(sub_pool = %self.target, %error, "no connection for the pool");
        self.failure.set(&error);
        error
    }

    /// The limit has passed while plugins were still trying: what is known of why.
    fn late(&self, limit: Option<Duration>) -> Error {
        let ms = limit.unwrap_or_default().as_millis();
        let text = format!("no connection for the pool within {ms} ms (`pool_create_timeout_ms`)");
        let error = Error::new(ErrorKind::Timeout(Phase::Connect), text);
        match self.cause() {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }

    fn cause(&self) -> Option<Arc<Error>> {
        if let Some(known) =
            self.failure.last().filter(|error| error.kind() != ErrorKind::Timeout(Phase::Connect))
        {
            return Some(known);
        }
        let core = self.core();
        let id = core.topology().cluster()?.id().to_owned();
        let clusters = core.services().status().clusters;
        let text = clusters.into_iter().find(|cluster| cluster.id == id)?.last_error?;
        Some(Arc::new(Error::new(ErrorKind::HostUnavailable, text)))
    }
}

/// A connection that was used within this time is not given the chance to notice its end: that costs a microsecond.
const UNHEARD: Duration = Duration::from_millis(5);
/// How long a writer is looked for when the pool was told to have no limit.
const UNBOUNDED_SEARCH: Duration = Duration::from_secs(300);

impl<A: Adapter> managed::Manager for Manager<A> {
    type Type = Pooled<A>;
    type Error = Arc<Error>;

    async fn create(&self) -> Result<Pooled<A>, Arc<Error>> {
        let begun = Instant::now();
        let limit = self.rules.create_timeout;
        let opened = match limit.and_then(|limit| begun.checked_add(limit)) {
            // Boxed, so that the future of a checkout stays small.
            Some(deadline) => timeout_at(deadline, Box::pin(self.open(Some(deadline)))).await,
            None => Ok(Box::pin(self.open(None)).await),
        };
        match opened {
            Ok(Ok(client)) => Ok(self.opened(client)),
            Ok(Err(error)) => Err(self.failed(begun, error)),
            Err(_) => Err(self.failed(begun, self.late(limit))),
        }
    }

    async fn recycle(&self, pooled: &mut Pooled<A>, _: &Metrics) -> RecycleResult<Arc<Error>> {
        if A::NOTICES_ITS_END && pooled.idle_since.elapsed() >= UNHEARD {
            // The end of the connection may have arrived and its task not have run: they go first.
            yield_now().await;
        }
        let verdict = match self.judge(pooled) {
            Ok(Known::Good) => Ok(()),
            Ok(Known::Doubtful) => Box::pin(self.ask(pooled)).await,
            Err(reason) => Err(reason),
        };
        verdict.map_err(|reason| {
            self.counters.discarded(reason);
            tracing::debug!(sub_pool = %self.target, ?reason, "a connection of the pool is not used again");
            RecycleError::message(reason.text())
        })?;
        self.failure.is_over_since(pooled.idle_since);
        self.counters.recycled();
        Ok(())
    }
}

impl<A: Adapter> fmt::Debug for Manager<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("target", &self.target)
            .field("connector", &self.connector)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
