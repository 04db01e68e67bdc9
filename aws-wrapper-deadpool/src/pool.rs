//! The pool: checkouts by role over one sub-pool a host.

use std::fmt;
use std::sync::{Arc, OnceLock};

use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::endpoint::EndpointKind;
use aws_wrapper_core::host::{Availability, Host, HostKey, Role};
use aws_wrapper_core::pooling::ReaderFallback;
use aws_wrapper_core::topology::Snapshot;
use aws_wrapper_core::topology::cluster::ClusterSession;

use crate::adapter::Adapter;
use crate::builder::Builder;
use crate::error::{Error, ErrorKind};
use crate::health::Health;
use crate::manager::Route;
use crate::object::Object;
use crate::readers::Readers;
use crate::status::Status;
use crate::sub_pool::{Recipe, SubPool, checkout, close, purge};
use crate::target::Target;
use crate::watch::Watch;

/// A pool of connections to one server or cluster. Cheap to clone; dropping the last clone closes what lies idle, and
/// connections in use when they are dropped.
///
/// See the [crate's page](crate) for what it does when the writer changes.
pub struct Pool<A: Adapter> {
    inner: Arc<Inner<A>>,
}

pub(crate) struct Inner<A: Adapter> {
    /// First, so that the task ends before what it looks at.
    watch: Watch,
    recipe: Recipe<A>,
    /// Where the connector leads to.
    main: SubPool<A>,
    /// Made when it is needed: to the writer, if the connector leads elsewhere.
    writer: OnceLock<SubPool<A>>,
    readers: Readers<A>,
    /// The monitor of the cluster runs as long as there is a pool that follows it.
    cluster: OnceLock<ClusterSession>,
}

impl<A: Adapter> Pool<A> {
    /// Starts with the connector's parameters `pool_…`.
    pub fn builder(connector: A::Connector) -> Builder<A> {
        Builder::new(connector)
    }

    pub(crate) fn new(recipe: Recipe<A>, readers: Readers<A>) -> Self {
        let target = match A::core(&recipe.connector).topology().endpoint().kind() {
            EndpointKind::WriterCluster | EndpointKind::GlobalWriterCluster => Target::Writer,
            _ => Target::Endpoint,
        };
        let main = recipe.make(target, Route::Endpoint);
        let (watch, writer, cluster) = (Watch::default(), OnceLock::new(), OnceLock::new());
        Self { inner: Arc::new(Inner { watch, recipe, main, writer, readers, cluster }) }
    }

    /// Checks out a connection to where the connector leads: the writer for a writer endpoint, any reader for a reader
    /// endpoint, else the server that is named.
    ///
    /// # Errors
    /// When none becomes free or can be opened in time; the source is the last error of connecting.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn get(&self) -> Result<Object<A>, Error> {
        match self.inner.core().topology().endpoint().kind() {
            EndpointKind::ReaderCluster => self.reader().await,
            _ => self.inner.checkout_of(&self.inner.main, &self.inner).await,
        }
    }

    /// Checks out a connection to the writer. With a plain server, to that server.
    ///
    /// # Errors
    /// As for [`get`](Self::get).
    pub async fn writer(&self) -> Result<Object<A>, Error> {
        let inner = &*self.inner;
        if *inner.main.manager().target() == Target::Writer {
            return inner.checkout_of(&inner.main, &self.inner).await;
        }
        if inner.names_no_role() {
            let first = inner.checkout_of(&inner.main, &self.inner).await;
            if inner.names_no_role() {
                return first;
            }
        }
        let writer = inner.writer.get_or_init(|| inner.recipe.make(Target::Writer, Route::Writer));
        inner.checkout_of(writer, &self.inner).await
    }

    /// Checks out a connection to a reader, picked by `pool_reader_host_selector_strategy` from those the topology names; a
    /// reader that cannot be reached is passed over. Without any, what `pool_reader_fallback` says: the writer by default.
    ///
    /// With a plain server, which has no roles, the server stands for the writer. Each reader that has to be tried, and
    /// the writer after them, may take `pool_create_timeout_ms`.
    ///
    /// # Errors
    /// As for [`get`](Self::get), and [`ErrorKind::NoReader`].
    pub async fn reader(&self) -> Result<Object<A>, Error> {
        let inner = &*self.inner;
        let may_write = inner.recipe.rules.reader_fallback == ReaderFallback::Writer;
        if inner.names_no_role() {
            // The first connection tells whether there is a cluster.
            let first = inner.checkout_of(&inner.main, &self.inner).await;
            // A reader endpoint without a reader lets nobody in, but tells of the cluster.
            if inner.names_no_role() {
                let object = first?;
                let leads_to_readers =
                    inner.core().topology().endpoint().kind() == EndpointKind::ReaderCluster;
                return if may_write || leads_to_readers {
                    Ok(object)
                } else {
                    Err(Error::never_a_reader("the server tells no roles"))
                };
            }
        }
        let (mut tried, mut last) = (Vec::new(), None);
        while let Some(host) = inner.next_reader(&tried, may_write) {
            let sub_pool = inner.readers.sub_pool(&inner.recipe, &host);
            match inner.checkout_of(&sub_pool, &self.inner).await {
                Ok(object) => return Ok(object),
                // It was closed because its host is no reader any more.
                Err(error) if error.kind() == ErrorKind::Closed && !inner.main.is_closed() => {}
                Err(error) if error.is_final() => return Err(error),
                Err(error) => {
                    tracing::debug!(%host, %error, "another reader is tried");
                    last = Some(error);
                }
            }
            // The topology may have changed since the host was picked: then this made a sub-pool nobody needs.
            if inner.core().topology().cluster().is_some() {
                inner.readers.follow(&inner.core().topology().snapshot());
            }
            tried.push(host);
        }
        if may_write {
            return self.writer().await;
        }
        let none = "the cluster has none now; `pool_reader_fallback=writer` would give out the writer";
        Err(last.unwrap_or_else(|| Error::no_reader(none, inner.main.manager().last_error())))
    }

    /// What there is and what was done. Does no I/O and waits for nothing.
    pub fn status(&self) -> Status {
        Status::of(self.inner.sub_pools().iter())
    }

    /// Whether the pool can do its work, as its last checkouts and the cluster's monitor found. Does no I/O and waits for
    /// nothing: made for the probes of an orchestrator.
    pub fn health(&self) -> Health {
        let core = self.inner.core();
        let id = core.topology().cluster().map(|cluster| cluster.id());
        let clusters = core.services().status().clusters;
        Health::of(&self.status(), clusters.iter().find(|cluster| Some(cluster.id.as_str()) == id))
    }

    /// deadpool's own pools, each with one [target](crate::Manager::target): what is set on them past this crate holds for
    /// them alone.
    pub fn sub_pools(&self) -> Vec<SubPool<A>> {
        self.inner.sub_pools()
    }

    /// The connector that opens the connections.
    pub fn connector(&self) -> &A::Connector {
        &self.inner.recipe.connector
    }

    /// Ends the pool: idle connections are closed now, those in use when they are dropped; checkouts fail.
    pub fn close(&self) {
        // The main one first: it tells whether the pool is closed.
        for sub_pool in self.inner.sub_pools() {
            close(&sub_pool);
        }
    }

    /// Whether [`close`](Self::close) was called.
    pub fn is_closed(&self) -> bool {
        self.inner.main.is_closed()
    }
}

impl<A: Adapter> Inner<A> {
    pub(crate) fn core(&self) -> &CoreConnector<A::Driver> {
        A::core(&self.recipe.connector)
    }

    /// Whether nothing is known of who writes and who reads: a plain server, or a cluster before the first connection.
    fn names_no_role(&self) -> bool {
        let topology = self.core().topology();
        topology.cluster().is_none() && topology.snapshot().writer.is_none()
    }

    /// The next reader to try: one that is up, and if nothing else may be given out one that is believed to be down.
    fn next_reader(&self, tried: &[HostKey], may_write: bool) -> Option<HostKey> {
        let mut hosts = self.hosts();
        if hosts.iter().any(is_reader_down) {
            self.watch.has_seen_a_reader_down();
        }
        for host in hosts.iter_mut().filter(|host| tried.contains(&host.key)) {
            host.availability = Availability::NotAvailable;
        }
        if let Some(host) = self.readers.pick(&mut hosts) {
            return Some(host);
        }
        if may_write {
            return None;
        }
        hosts.retain(|host| !tried.contains(&host.key));
        for host in &mut hosts {
            host.availability = Availability::Available;
        }
        self.readers.pick(&mut hosts)
    }

    fn hosts(&self) -> Vec<Host> {
        let topology = self.core().topology();
        topology.hosts(&topology.snapshot())
    }

    /// The sub-pools of readers that could not be reached.
    pub(crate) fn readers_down(&self) -> Vec<(HostKey, SubPool<A>)> {
        let down = self.hosts().into_iter().filter(is_reader_down);
        down.map(|host| (host.key.clone(), self.readers.sub_pool(&self.recipe, &host.key))).collect()
    }

    async fn checkout_of(&self, sub_pool: &SubPool<A>, me: &Arc<Self>) -> Result<Object<A>, Error> {
        if self.main.is_closed() {
            return Err(Error::closed(sub_pool.manager().target()));
        }
        let object = checkout(sub_pool).await?;
        if self.cluster.get().is_none() {
            if let Some(session) = self.core().cluster_session() {
                let _ = self.cluster.set(session);
            }
        }
        self.watch.ensure(me);
        Ok(object)
    }

    fn sub_pools(&self) -> Vec<SubPool<A>> {
        let mut all = vec![self.main.clone()];
        all.extend(self.writer.get().cloned());
        all.extend(self.readers.all());
        all
    }

    /// The cluster has changed.
    pub(crate) fn follow(&self, snapshot: &Snapshot) {
        self.readers.follow(snapshot);
        let dropped: usize = self.sub_pools().iter().map(purge).sum();
        if dropped > 0 {
            tracing::info!(
                dropped,
                version = snapshot.version,
                "the cluster has changed: idle connections are dropped"
            );
        }
    }
}

fn is_reader_down(host: &Host) -> bool {
    host.role == Role::Reader && host.availability == Availability::NotAvailable
}

impl<A: Adapter> Clone for Pool<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<A: Adapter> fmt::Debug for Pool<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("connector", &self.inner.recipe.connector)
            .field("rules", &self.inner.recipe.rules)
            .field("readers", &self.inner.readers)
            .finish_non_exhaustive()
    }
}
