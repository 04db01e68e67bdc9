//! `stale_dns`: a writer endpoint that still leads to the old writer.
//!
//! **Effect.** After a failover the name of the writer endpoint may lead to the old writer for 20 to 60 s. Each connect
//! by that name is checked: if it reached a reader, the connection is closed and one to the proved writer is opened.
//!
//! **Order.** Outside `failover`. Not in the default set: `initial_connection` does the same and more.
//!
//! **Parameters.** `open_connection_retry_timeout_ms`, `open_connection_retry_interval_ms`.
//!
//! **Failure.** An error when no writer is found within the limit; never a reader in place of the writer.
//!
//! **Cost.** One round trip a connect by the writer endpoint.

use std::sync::Arc;

use async_trait::async_trait;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::endpoint::EndpointKind;
use crate::error::{ErrorKind, Result};
use crate::host::{HostKey, Role};
use crate::plugin::{ConnectionPlugin, Connects, Next, Place, PluginContext, PluginFactory, Subscriptions};
use crate::plugins::initial_connection::InitialConnectionSettings;
use crate::plugins::verified::{Rules, Substitute, VerifiedConnect};

/// Checks that a writer endpoint leads to the writer.
#[derive(Debug)]
pub struct StaleDns<D: DriverDialect> {
    connect: VerifiedConnect<D>,
    endpoint: Option<HostKey>,
    rules: Rules,
}

impl<D: DriverDialect> StaleDns<D> {
    /// How it is registered.
    pub const fn factory() -> PluginFactory<D> {
        PluginFactory::new("stale_dns", |context| Ok(Arc::new(Self::new(context)?)))
            .with_aliases(&["auroraStaleDns"])
            .with_place(Place::Weight(700))
            .with_topology()
    }

    pub(crate) fn new(context: &PluginContext<D>) -> Result<Self> {
        let settings = context.settings::<InitialConnectionSettings>()?;
        let applies = matches!(
            context.topology.endpoint().kind(),
            EndpointKind::WriterCluster | EndpointKind::GlobalWriterCluster
        );
        Ok(Self {
            connect: VerifiedConnect::new(context),
            endpoint: applies.then(|| context.topology.initial_host().clone()),
            rules: Rules {
                substitute: None,
                verify: Some(Role::Writer),
                limit: settings.retry_timeout,
                pause: settings.retry_interval,
                wait_for_topology: std::time::Duration::ZERO,
            },
        })
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for StaleDns<D> {
    fn code(&self) -> &'static str {
        "stale_dns"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        if self.endpoint.as_ref() != Some(request.host()) {
            return next.run(request).await;
        }
        // By the name first: most of the time it is right. Only then by the topology.
        match self.connect.once(request, next, &self.rules).await {
            Err(error) if error.kind() == ErrorKind::Routing => {
                tracing::info!(host = %request.host(), "the writer endpoint leads to a reader");
                let rules = Rules { substitute: Some(Substitute::Writer), ..self.rules.clone() };
                self.connect.connect(request, next, &rules).await
            }
            result => result,
        }
    }
}
