//! `initial_connection`: turns a cluster endpoint into a connection to a verified instance.
//!
//! **Effect.** A connect to the writer endpoint goes to the instance that the topology knows as the writer, whatever
//! DNS still says; one to the reader endpoint goes to a reader chosen by a strategy. The role of what was opened is
//! checked; a connection of the wrong role is closed and the search goes on.
//!
//! **Order.** Outside `failover`: it decides where a connection goes first.
//!
//! **Parameters.** `endpoint_substitution_role`, `verify_opened_connection_type`,
//! `initial_connection_host_selector_strategy`, `open_connection_retry_timeout_ms`,
//! `open_connection_retry_interval_ms`, `wait_for_initial_topology_ms`.
//!
//! **Failure.** At the limit the last cause is reported; an unverified connection is never handed out.
//!
//! **Cost.** One round trip on Aurora where the endpoint implies a role; none where the server tells its role while
//! connecting (community PostgreSQL 14 and later).

mod settings;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use self::settings::{EndpointRole, InitialConnectionSettings};
use crate::config::values::FromValues;
use crate::driver::{ConnectRequest, DriverDialect};
use crate::endpoint::{Endpoint, EndpointKind};
use crate::error::{Error, Result};
use crate::host::Role;
use crate::plugin::{ConnectionPlugin, Connects, Next, Place, PluginContext, PluginFactory, Subscriptions};
use crate::plugins::verified::{Rules, Substitute, VerifiedConnect};
use crate::registry::Purpose;
use crate::select::selector;

/// Connects to instances instead of endpoints and checks their role.
#[derive(Debug)]
pub struct InitialConnection<D: DriverDialect> {
    connect: VerifiedConnect<D>,
    endpoint: crate::host::HostKey,
    rules: Rules,
}

impl<D: DriverDialect> InitialConnection<D> {
    /// How it is registered.
    pub const fn factory() -> PluginFactory<D> {
        PluginFactory::new("initial_connection", |context| Ok(Arc::new(Self::new(context)?)))
            .with_aliases(&["auroraInitialConnectionStrategy"])
            .with_place(Place::Weight(500))
            .with_topology()
            .with_parameters(settings::PARAMETERS)
            .with_check(|values| InitialConnectionSettings::from_values(values).map(drop))
    }

    pub(crate) fn new(context: &PluginContext<D>) -> Result<Self> {
        let settings = context.settings::<InitialConnectionSettings>()?;
        let endpoint = context.topology.endpoint();
        let substitute = substitution(endpoint, settings.substitution_role)?;
        let verify = verification(endpoint, settings.verify_role)?;
        let selector = selector(settings.strategy)?;
        let substitute = match substitute {
            EndpointRole::Writer => Some(Substitute::Writer),
            EndpointRole::Reader => Some(Substitute::Reader(selector)),
            EndpointRole::Any => Some(Substitute::Any(selector)),
            _ => None,
        };
        let verify = match verify {
            EndpointRole::Writer => Some(Role::Writer),
            EndpointRole::Reader => Some(Role::Reader),
            _ => None,
        };
        Ok(Self {
            connect: VerifiedConnect::new(context),
            endpoint: context.topology.initial_host().clone(),
            rules: Rules {
                substitute,
                verify,
                limit: settings.retry_timeout,
                pause: settings.retry_interval,
                wait_for_topology: settings.wait_for_topology.unwrap_or_default(),
            },
        })
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for InitialConnection<D> {
    fn code(&self) -> &'static str {
        "initial_connection"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        // Connects of other plugins name an instance and are not touched; only the endpoint is replaced.
        let is_endpoint = *request.host() == self.endpoint;
        if !is_endpoint || (self.rules.substitute.is_none() && self.rules.verify.is_none()) {
            return next.run(request).await;
        }
        let mut rules = self.rules.clone();
        if request.purpose() != Purpose::Initial {
            rules.wait_for_topology = Duration::ZERO;
        }
        self.connect.connect(request, next, &rules).await
    }
}

/// Which instance takes the endpoint's place, and what may be asked for (specification 5.2).
fn substitution(endpoint: &Endpoint, asked: Option<EndpointRole>) -> Result<EndpointRole> {
    use EndpointRole::{Any, None, Reader, Writer};
    let (default, accepted): (_, &[EndpointRole]) = match endpoint.kind() {
        EndpointKind::WriterCluster | EndpointKind::GlobalWriterCluster => (Writer, &[Writer, None]),
        EndpointKind::ReaderCluster => (Reader, &[Reader, None]),
        EndpointKind::CustomCluster => (None, &[Reader, Any, None]),
        EndpointKind::Instance => (None, &[None]),
        _ => (None, &[Writer, Reader, None]),
    };
    choose("endpoint_substitution_role", asked, default, accepted, endpoint)
}

/// Which role the connection must have, and what may be asked for (specification 5.2).
fn verification(endpoint: &Endpoint, asked: Option<EndpointRole>) -> Result<EndpointRole> {
    use EndpointRole::{None, Reader, Writer};
    let (default, accepted): (_, &[EndpointRole]) = match endpoint.kind() {
        EndpointKind::WriterCluster | EndpointKind::GlobalWriterCluster => (Writer, &[Writer, None]),
        EndpointKind::ReaderCluster => (Reader, &[Reader, None]),
        EndpointKind::CustomCluster => (None, &[Reader, None]),
        _ => (None, &[Writer, Reader, None]),
    };
    choose("verify_opened_connection_type", asked, default, accepted, endpoint)
}

fn choose(
    parameter: &str,
    asked: Option<EndpointRole>,
    default: EndpointRole,
    accepted: &[EndpointRole],
    endpoint: &Endpoint,
) -> Result<EndpointRole> {
    let asked = asked.unwrap_or(default);
    if accepted.contains(&asked) {
        return Ok(asked);
    }
    let names = accepted.iter().map(|role| role.code()).collect::<Vec<_>>().join(", ");
    let accepted = format!("{names} for an endpoint of type {:?}", endpoint.kind());
    Err(Error::parameter(parameter, asked.code(), &accepted))
}
