//! A cluster for one test.

use std::ops::Deref;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aurora_sim::{Cluster, ClusterBuilder, FailoverOptions, FailoverReport};
use aws_wrapper_core::Result;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::services::Services;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::adapter::{Adapter, Session, Target};
use crate::names::ClusterNames;
use crate::run::eventually;

/// Sockets close within milliseconds; a loaded machine gets more.
const SOCKETS_DEADLINE: Duration = Duration::from_secs(5);

/// A cluster, with connectors to it. Everything the simulator can do is reached through `Deref`.
#[derive(Debug)]
pub struct TestCluster {
    sim: Cluster,
    names: ClusterNames,
}

impl TestCluster {
    /// Starts a cluster whose names no other cluster of this process has.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(builder: ClusterBuilder) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let uid = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let sim = builder.uid(uid).start().await.expect("a cluster starts");
        let names = ClusterNames::new([sim.names()]);
        Self { sim, names }
    }

    /// Services that know the cluster's names, shared with nobody.
    pub fn services(&self) -> Services {
        Services::with_resolver(self.names.clone())
    }

    /// A connector to the writer endpoint.
    ///
    /// # Panics
    /// When the parameters are not accepted.
    pub fn connector<A: Adapter>(&self, params: &[(&str, &str)]) -> A::Connector {
        self.connector_to::<A>(&self.endpoint(), params).expect("the parameters are fine")
    }

    /// A connector to the reader endpoint.
    ///
    /// # Panics
    /// When the parameters are not accepted.
    pub fn reader_connector<A: Adapter>(&self, params: &[(&str, &str)]) -> A::Connector {
        self.connector_to::<A>(&self.reader_endpoint(), params).expect("the parameters are fine")
    }

    /// A connector to a host name or address, with services of its own.
    ///
    /// # Errors
    /// Those of the adapter's builder.
    pub fn connector_to<A: Adapter>(&self, host: &str, params: &[(&str, &str)]) -> Result<A::Connector> {
        self.connector_with::<A>(&self.services(), host, params)
    }

    /// A connector to a host name or address.
    ///
    /// # Errors
    /// Those of the adapter's builder.
    pub fn connector_with<A: Adapter>(
        &self,
        services: &Services,
        host: &str,
        params: &[(&str, &str)],
    ) -> Result<A::Connector> {
        A::connector(&Target { host, port: self.port(), services: services.clone(), params })
    }

    /// A session of the administrator in the application's database on an instance, past all plugins.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn admin<A: Adapter>(&self, instance: &str) -> A::Session {
        let host = self.instance_endpoint(instance);
        let connector = self.connector_to::<A>(&host, A::ADMIN).expect("the parameters are fine");
        A::connect(&connector).await.expect("the administrator is let in")
    }

    /// Makes an empty table `log (id bigint)`, in which a row may stand twice.
    ///
    /// # Panics
    /// When the writer does not let us.
    pub async fn log_table<A: Adapter>(&self) {
        let connector = self.connector::<A>(&[("plugins", "none")]);
        let mut session = A::connect(&connector).await.expect("the writer lets us in");
        session.run("CREATE TABLE log (id bigint)").await.expect("a table can be made");
    }

    /// The name by which the wrapper knows an instance.
    ///
    /// # Panics
    /// Never: the name is a host name.
    pub fn key(&self, instance: &str) -> HostKey {
        HostKey::new(&self.instance_endpoint(instance), self.port()).expect("it is a host name")
    }

    /// Kills the writer; another instance takes over.
    ///
    /// # Panics
    /// When none can.
    pub async fn replace_writer(&self) -> FailoverReport {
        self.failover(FailoverOptions::default()).await.expect("a reader takes over")
    }

    /// Resets all connections to an instance and waits until `session`, which is there, has noticed.
    ///
    /// # Panics
    /// When it does not.
    pub async fn cut(&self, instance: &str, session: &impl Session) {
        self.reset(instance).await.expect("the instance exists");
        noticed(session).await;
    }

    /// Refuses new connections to an instance, from the moment this returns.
    ///
    /// # Panics
    /// When they are not refused.
    pub async fn close(&self, instance: &str) {
        self.refuse(instance).await.expect("the instance exists");
        let address = (self.names().lookup(&self.instance_endpoint(instance))[0], self.port());
        let refused = async || TcpStream::connect(address).await.is_err();
        eventually(SOCKETS_DEADLINE, "connections are refused", refused).await;
    }

    /// Waits until all instances run again and follow the writer.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn complete(&self) {
        self.wait_until_complete(Duration::from_secs(20)).await.expect("the cluster is complete again");
    }

    /// Connections that anybody has to any instance.
    pub fn sockets(&self) -> usize {
        self.instance_names().iter().map(|instance| self.proxy_connections(instance)).sum()
    }

    /// Ends the cluster.
    ///
    /// # Panics
    /// When somebody is still connected.
    pub async fn end(self) {
        eventually(SOCKETS_DEADLINE, "no connection to the cluster is left", async || self.sockets() == 0)
            .await;
        self.sim.shutdown().await;
    }
}

/// Waits until a session knows that its connection is lost, if its driver notices that by itself.
///
/// # Panics
/// When it does not learn of it.
pub async fn noticed<S: Session>(session: &S) {
    if !S::NOTICES_IDLE_LOSS {
        return;
    }
    let ended = timeout(SOCKETS_DEADLINE, session.slot().wait_ended()).await;
    ended.expect("the loss of a connection is noticed");
}

impl Deref for TestCluster {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.sim
    }
}
