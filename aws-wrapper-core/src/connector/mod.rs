//! A connector: settings, plugins and driver, ready to open connections.

mod builder;
mod cluster_dialer;
mod dialer;
mod link;
mod options;
mod prober;
mod settings;
mod topology_news;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tracing::Instrument as _;
use tracing::field::Empty;

pub use self::builder::Builder;
pub use self::link::Link;
pub use self::options::ConnectorOptions;
pub use self::settings::Settings;
use crate::config::Config;
use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::{HostKey, Role};
use crate::pipeline::Pipeline;
use crate::registry::Purpose;
use crate::services::Services;
use crate::telemetry::{key, metrics, outcome, spans};
use crate::topology::cluster::ClusterSession;
use crate::topology::view::Topology;

/// Opens connections to one server or cluster. Cheap to clone.
pub struct Connector<D: DriverDialect> {
    inner: Arc<Inner<D>>,
}

struct Inner<D: DriverDialect> {
    // Pipeline and prober hold no services: dropping the last connector and connection ends everything.
    pipeline: Pipeline<D>,
    driver: Arc<D>,
    settings: Arc<Settings>,
    hosts: Box<[HostKey]>,
    wanted_role: Option<Role>,
    connect_limit: Duration,
    topology: Arc<Topology>,
    services: Services,
    /// Of the connections that were handed over as the driver's own.
    session: OnceLock<ClusterSession>,
}

impl<D: DriverDialect> Clone for Connector<D> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<D: DriverDialect> fmt::Debug for Connector<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("hosts", &self.inner.hosts)
            .field("dialect", &self.inner.topology.dialect().code())
            .field("pipeline", &self.inner.pipeline)
            .field("settings", &self.inner.settings)
            .finish_non_exhaustive()
    }
}

impl<D: DriverDialect> Connector<D> {
    /// Starts a connector to `hosts`, which are tried in order.
    pub fn builder(driver: D, config: Config, hosts: Vec<HostKey>) -> Builder<D> {
        Builder::new(driver, config, hosts)
    }

    /// Opens a connection through the plugins; on the first one, learns which product the server is.
    ///
    /// # Errors
    /// The last host's error when none of several could be used; configuration and login errors at once.
    pub async fn connect(&self) -> Result<D::Connection> {
        // Boxed, so that the future of whoever connects stays small.
        self.open(Box::pin(self.connect_to_any())).await
    }

    /// Opens a connection to one host of the cluster, whatever the endpoint; it must have that role, unless
    /// [`Role::Unknown`] is asked for.
    ///
    /// # Errors
    /// `Routing` when the host has another role; those of connecting.
    pub async fn connect_to_host(&self, host: &HostKey, role: Role) -> Result<D::Connection> {
        let wanted = Some(role).filter(|role| *role != Role::Unknown);
        self.open(Box::pin(self.connect_to(host.clone(), wanted))).await
    }

    /// Waits for a connection until the services are shut down, and measures how long that takes.
    async fn open(&self, opening: impl Future<Output = Result<D::Connection>>) -> Result<D::Connection> {
        let (inner, shared) = (&*self.inner, self.inner.services.shared());
        let timer = shared.telemetry().start();
        let host = inner.topology.initial_host();
        let span = tracing::info_span!(spans::CONNECT, %host, role = Empty, outcome = Empty);
        let opened = shared.until_shut_down(opening).instrument(span.clone()).await;
        let identity = opened.as_ref().ok().and_then(|connection| inner.driver.slot(connection).identity());
        let role = identity.map_or(Role::Unknown, |identity| identity.role);
        let attributes = [key::ENDPOINT.of(host), key::ROLE.of(role.code()), key::OUTCOME.of_result(&opened)];
        shared.telemetry().stop(timer, &metrics::CONNECT_DURATION, &attributes);
        span.record("role", role.code()).record("outcome", outcome(&opened));
        opened.map_err(Error::with_nothing_sent)
    }

    async fn connect_to_any(&self) -> Result<D::Connection> {
        let inner = &*self.inner;
        let mut last = None;
        for host in &inner.hosts {
            match self.connect_to(host.clone(), inner.wanted_role).await {
                Ok(connection) => return Ok(connection),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => {
                    tracing::debug!(%host, %error, "this host cannot be used");
                    last = Some(error);
                }
            }
        }
        Err(last.unwrap_or_else(|| Error::config("no host is given")))
    }

    async fn connect_to(&self, host: HostKey, wanted: Option<Role>) -> Result<D::Connection> {
        let inner = &*self.inner;
        let limit = inner.connect_limit;
        let deadline = Instant::now() + limit;
        let mut request = ConnectRequest::new(
            host.clone(),
            Purpose::Initial,
            deadline,
            &inner.settings.network,
            inner.services.shared(),
        );
        let opened = timeout_at(deadline, inner.pipeline.application().connect(&mut request)).await;
        let mut connection = opened.map_err(|_| {
            let text = format!("no connection within {} ms", limit.as_millis());
            Error::new(ErrorKind::Timeout(Phase::Connect), text).with_host(&host)
        })??;
        if let Some(wanted) = wanted {
            let role = inner.topology.role_of(inner.driver.as_ref(), &mut connection).await?;
            if role != wanted {
                let text = format!("the host is a {role:?}, but a {wanted:?} is wanted");
                return Err(Error::new(ErrorKind::Routing, text).with_host(&host));
            }
        }
        Ok(connection)
    }

    /// The chains of plugins.
    pub fn pipeline(&self) -> &Pipeline<D> {
        &self.inner.pipeline
    }

    /// The driver.
    pub fn driver(&self) -> &Arc<D> {
        &self.inner.driver
    }

    /// What the connector was configured with.
    pub fn settings(&self) -> &Arc<Settings> {
        &self.inner.settings
    }

    /// The hosts and who they are.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.inner.topology
    }

    /// What connections share.
    pub fn services(&self) -> &Services {
        &self.inner.services
    }

    /// Keeps the cluster's monitor alive while a logical connection lives.
    pub fn cluster_session(&self) -> Option<ClusterSession> {
        Some(self.inner.topology.cluster()?.session())
    }

    /// Keeps the cluster's monitor alive while this connector lives, in the name of connections that cannot do so themselves:
    /// those that were handed over as the driver's own.
    pub fn keep_cluster_session(&self) {
        if let Some(cluster) = self.inner.topology.cluster() {
            self.inner.session.get_or_init(|| cluster.session());
        }
    }
}

/// Another host of the list cannot do better.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Config | ErrorKind::PluginConflict | ErrorKind::Login | ErrorKind::Unsupported
    ) || error.kind() == ErrorKind::Driver(DriverClass::Other)
        || error.is_misdirected()
}

/// Every parameter of the wrapper and its own plugins: the text of `docs/parameters.md`.
///
/// # Panics
/// Never: their names differ.
pub fn parameters<D: DriverDialect>() -> crate::config::schema::Schema {
    settings::schema::<D>(&crate::plugins::built_in()).expect("the names of the wrapper's parameters differ")
}
