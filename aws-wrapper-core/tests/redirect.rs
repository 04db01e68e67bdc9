//! A plugin leads connections elsewhere: within the cluster it may, out of it it may not.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::sync::Arc;

use async_trait::async_trait;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::driver::ConnectRequest;
use aws_wrapper_core::error::{DriverClass, Error, ErrorKind, Result, RetryAdvice};
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::plugin::{ConnectionPlugin, Connects, Next, Subscriptions};
use aws_wrapper_core::testing::driver::{FakeClient, FakeConnection, FakeDriver};
use common::{CUSTOM, PROXY, READER, SECOND, WRITER, World, timed};
use parking_lot::Mutex;

/// Leads every connection to one host, once it is told which.
#[derive(Debug, Default)]
struct Redirect(Mutex<Option<HostKey>>);

impl Redirect {
    fn to(&self, host: HostKey) {
        *self.0.lock() = Some(host);
    }
}

#[async_trait]
impl ConnectionPlugin<FakeDriver> for Redirect {
    fn code(&self) -> &'static str {
        "redirect"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().connects(Connects::Application)
    }

    async fn connect(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, FakeDriver>,
    ) -> Result<FakeConnection> {
        let to = self.0.lock().clone();
        if let Some(host) = to {
            request.set_host(host);
        }
        next.run(request).await
    }
}

/// A connector whose topology is known, and the plugin at the end of its chain.
async fn known(world: &World, plugins: &str) -> (Connector<FakeDriver>, Arc<Redirect>, FakeClient) {
    let redirect = Arc::new(Redirect::default());
    let builder = world.builder(WRITER, &[("plugins", plugins)]).plugin(Arc::clone(&redirect) as _);
    let connector = builder.build().unwrap();
    let client = FakeClient::connect(&connector).await.unwrap();
    tokio::time::sleep(SECOND * 2).await;
    (connector, redirect, client)
}

fn refused(error: &Error, asked: &str, to: &HostKey) {
    assert_eq!((error.kind(), error.plugin()), (ErrorKind::Routing, Some("redirect")), "{error:?}");
    assert_eq!((error.retry_advice(), error.host()), (RetryAdvice::DoNotRetry, Some(to)), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(asked) && text.contains(to.host()) && text.contains("not a host"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn out_of_the_cluster_it_is_refused_at_once_and_nothing_is_opened() {
    let world = World::new();
    for plugins in ["failover", "initial_connection,tracker,failover,efm"] {
        let (connector, redirect, _client) = known(&world, plugins).await;
        for (name, port) in [
            ("db.example.com", 5432),
            ("127.0.0.1", 5432),
            ("i-1.abc.us-east-2.rds.amazonaws.com", 5432),
            ("other.cluster-xyz.us-east-2.rds.amazonaws.com", 5432),
            ("my.cluster-abc.us-east-2.rds.amazonaws.com", 5432),
            (PROXY, 5432),
            // Another server behind a known name.
            ("i-2.xyz.us-east-2.rds.amazonaws.com", 6432),
        ] {
            let to = HostKey::new(name, port).unwrap();
            redirect.to(to.clone());
            let before = world.driver.application_connects();
            let (result, took) = timed(connector.connect()).await;
            refused(&result.unwrap_err(), WRITER, &to);
            assert!(took < SECOND, "{name}: {took:?}");
            assert_eq!(world.driver.application_connects(), before, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn within_the_cluster_it_is_let_through() {
    let world = World::new();
    let (connector, redirect, _client) = known(&world, "failover").await;
    for name in ["i-2", "i-3", WRITER, READER, CUSTOM] {
        redirect.to(world.key(name));
        let connection = connector.connect().await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(connection.slot().host(), &world.key(name));
    }
    // One that the topology does not have yet: the driver is asked, and here it does not exist.
    redirect.to(HostKey::new("i-9.xyz.us-east-2.rds.amazonaws.com", 5432).unwrap());
    let error = connector.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
}

/// What is known before is only what the application has said.
#[tokio::test(start_paused = true)]
async fn before_the_topology_is_known_nothing_is_refused() {
    let world = World::new();
    let redirect = Arc::new(Redirect::default());
    redirect.to(HostKey::new("db.example.com", 5432).unwrap());
    let builder = world.builder(WRITER, &[("plugins", "failover")]).plugin(Arc::clone(&redirect) as _);
    let error = builder.build().unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failover_does_not_search_on() {
    let world = World::new();
    let (_connector, redirect, client) = known(&world, "failover").await;
    let to = HostKey::new("db.example.com", 5432).unwrap();
    redirect.to(to.clone());
    world.cluster.kill_connections("i-1");
    let (result, took) = timed(client.query("select 1")).await;
    let error = result.unwrap_err();
    assert!(!error.is_failover_success(), "{error:?}");
    let report = error.failover_report().unwrap();
    assert!(report.last_error.as_ref().unwrap().contains(to.host()), "{report:?}");
    assert!(took < SECOND, "{took:?}");
}
