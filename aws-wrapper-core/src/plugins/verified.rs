//! Connecting through a cluster endpoint so that the role fits: one function for `initial_connection` and `stale_dns`.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{DriverClass, Error, ErrorKind, Phase, Result};
use crate::host::{Availability, Host, HostKey, Role};
use crate::plugin::{Next, PluginContext};
use crate::select::{HostSelector, SelectContext};
use crate::topology::cluster::Verify;
use crate::topology::view::Topology;

/// Opens connections whose role is checked.
#[derive(Debug)]
pub(super) struct VerifiedConnect<D: DriverDialect> {
    driver: Arc<D>,
    topology: Arc<Topology>,
}

/// What to connect to and what to insist on.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The role of the instance that takes the endpoint's place; `None` goes by the endpoint.
    pub(super) substitute: Option<Substitute>,
    /// The role the connection must have.
    pub(super) verify: Option<Role>,
    /// All attempts together.
    pub(super) limit: Duration,
    /// Between two attempts.
    pub(super) pause: Duration,
    /// How long a connection made by the endpoint may wait for a topology to choose an instance from.
    pub(super) wait_for_topology: Duration,
}

/// Which instance takes the endpoint's place.
#[derive(Debug, Clone)]
pub(super) enum Substitute {
    Writer,
    Reader(Arc<dyn HostSelector>),
    Any(Arc<dyn HostSelector>),
}

impl<D: DriverDialect> VerifiedConnect<D> {
    pub(super) fn new(context: &PluginContext<D>) -> Self {
        Self { driver: Arc::clone(&context.driver), topology: Arc::clone(&context.topology) }
    }

    /// Connects until a connection fits `rules` or their limit has passed. Login errors end it at once.
    pub(super) async fn connect(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, D>,
        rules: &Rules,
    ) -> Result<D::Connection> {
        let deadline = request.deadline().min(Instant::now() + rules.limit);
        request.limit(deadline);
        let endpoint = request.host().clone();
        let mut refused: Option<HostKey> = None;
        let mut last = None;
        loop {
            let candidate = self.candidate(rules, refused.as_ref());
            request.set_host(candidate.clone().unwrap_or_else(|| endpoint.clone()));
            let error = match self.attempt(request, next, rules, candidate.is_some(), deadline).await {
                Ok(connection) => return Ok(connection),
                Err(error) => error,
            };
            if !is_worth_repeating(&error) {
                return Err(error);
            }
            // An attempt that the limit cuts off says less than the one before.
            let is_cut_off = matches!(error.kind(), ErrorKind::Timeout(_)) && Instant::now() >= deadline;
            let error = last.take().filter(|_| is_cut_off).unwrap_or(error);
            tracing::debug!(%error, host = %request.host(), "connecting is tried again");
            refused = Some(request.host().clone());
            let pause = Instant::now() + rules.pause;
            if pause >= deadline {
                let text = format!("no connection of the wanted role within {} ms", rules.limit.as_millis());
                return Err(Error::new(ErrorKind::Timeout(Phase::Connect), text)
                    .with_host(&endpoint)
                    .with_source(error));
            }
            last = Some(error);
            self.wait_for_news(rules, refused.as_ref(), pause).await;
        }
    }

    /// One attempt, by the host of the request.
    pub(super) async fn once(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, D>,
        rules: &Rules,
    ) -> Result<D::Connection> {
        let deadline = request.deadline();
        self.attempt(request, next, rules, true, deadline).await
    }

    /// The instance that takes the endpoint's place. The one that was just refused only if there is no other.
    fn candidate(&self, rules: &Rules, refused: Option<&HostKey>) -> Option<HostKey> {
        // Only hosts of a topology are instances; a list that still holds the endpoint itself is none.
        self.topology.cluster()?;
        let snapshot = self.topology.snapshot();
        if snapshot.is_initial() {
            return None;
        }
        let (selector, context) = match rules.substitute.as_ref()? {
            Substitute::Writer => return snapshot.writer_host().map(|host| host.key.clone()),
            Substitute::Reader(selector) => (selector, SelectContext::role(Role::Reader)),
            Substitute::Any(selector) => (selector, SelectContext::any_role()),
        };
        let mut hosts = self.topology.hosts(&snapshot);
        if let Some(role) = context.wanted_role() {
            if !hosts.iter().any(|host| host.role == role) {
                // Without a reader the writer serves reads.
                return hosts.first().map(|host| host.key.clone());
            }
            hosts.retain(|host| host.role == role);
        }
        let pick = |hosts: &[Host]| {
            let mut others = hosts.to_vec();
            others.retain(|host| Some(&host.key) != refused);
            let other = selector.pick(&context, &others).map(|index| others[index].key.clone());
            other.or_else(|| selector.pick(&context, hosts).map(|index| hosts[index].key.clone()))
        };
        pick(&hosts).or_else(|| {
            // Hosts marked down are tried last; one of them may be back.
            for host in &mut hosts {
                host.availability = Availability::Available;
            }
            pick(&hosts)
        })
    }

    async fn attempt(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, D>,
        rules: &Rules,
        substituted: bool,
        deadline: Instant,
    ) -> Result<D::Connection> {
        let mut connection = next.run(request).await?;
        if !substituted && rules.substitute.is_some() && !rules.wait_for_topology.is_zero() {
            if let Some(moved) = self.move_to_instance(request, next, rules, deadline).await {
                connection = moved;
            }
        }
        let Some(wanted) = rules.verify else {
            return Ok(connection);
        };
        let role = self.topology.role_of(self.driver.as_ref(), &mut connection).await?;
        if role == wanted || (wanted == Role::Reader && self.has_no_reader()) {
            return Ok(connection);
        }
        let text = format!("the host is a {role:?}, but a {wanted:?} is wanted");
        Err(Error::new(ErrorKind::Routing, text).with_host(request.host()))
    }

    /// With `wait_for_initial_topology_ms`: chooses an instance as soon as the topology is known. Whatever goes wrong,
    /// the connection made by the endpoint is kept.
    async fn move_to_instance(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, D>,
        rules: &Rules,
        deadline: Instant,
    ) -> Option<D::Connection> {
        let wait = deadline.min(Instant::now() + rules.wait_for_topology);
        if let Err(error) = self.topology.refresh(Verify::Writer, wait).await {
            tracing::debug!(%error, "no topology in time; the connection stays where the endpoint led");
            return None;
        }
        let mut moved = request.clone();
        moved.set_host(self.candidate(rules, None)?);
        next.run(&mut moved).await.ok()
    }

    fn has_no_reader(&self) -> bool {
        let snapshot = self.topology.snapshot();
        !snapshot.is_initial() && snapshot.readers().next().is_none()
    }

    /// Until `pause` is over, or the topology offers another candidate than the one refused.
    async fn wait_for_news(&self, rules: &Rules, refused: Option<&HostKey>, pause: Instant) {
        let Some(mut snapshots) = self.topology.subscribe() else {
            return sleep_until(pause).await;
        };
        let news = async {
            // A failure shows in the pause; what counts is a topology read after the refusal.
            let _ = self.topology.refresh(Verify::Writer, pause).await;
            loop {
                let candidate = self.candidate(rules, None);
                if candidate.is_some() && candidate.as_ref() != refused {
                    return;
                }
                if snapshots.changed().await.is_err() {
                    return sleep_until(pause).await;
                }
            }
        };
        let _ = timeout_at(pause, news).await;
    }
}

fn is_worth_repeating(error: &Error) -> bool {
    if error.is_misdirected() {
        return false;
    }
    match error.kind() {
        ErrorKind::Routing | ErrorKind::HostUnavailable | ErrorKind::Timeout(_) => true,
        ErrorKind::Driver(class) => {
            matches!(class, DriverClass::Network | DriverClass::Lookup | DriverClass::Role)
        }
        _ => false,
    }
}
