//! What must stay true of the public types, and of what a call costs.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use allocation_counter::{AllocationInfo, measure};
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::{Builder, Connector, Settings};
use aws_wrapper_core::dialect::DatabaseDialect;
use aws_wrapper_core::driver::ConnectRequest;
use aws_wrapper_core::error::Error;
use aws_wrapper_core::events::Event;
use aws_wrapper_core::host::{Host, HostKey};
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::pipeline::Pipeline;
use aws_wrapper_core::plugin::{
    Ask, Call, ConnectHandle, ConnectionPlugin, Logical, Next, Recovery, Step, Subscriptions,
};
use aws_wrapper_core::probe::{Probe, Prober};
use aws_wrapper_core::registry::{Purpose, Registry, Slot};
use aws_wrapper_core::resolver::Resolver;
use aws_wrapper_core::select::HostSelector;
use aws_wrapper_core::services::{Services, Status};
use aws_wrapper_core::testing::{NullConnection, NullDriver};
use aws_wrapper_core::topology::Snapshot;
use aws_wrapper_core::topology::cluster::{Cluster, ClusterSession};
use aws_wrapper_core::topology::view::Topology;
use futures_util::FutureExt;
use tokio::runtime::Builder as Runtime;

/// Watches every call and lets it pass.
#[derive(Debug)]
struct Observer;

impl ConnectionPlugin<NullDriver> for Observer {
    fn code(&self) -> &'static str {
        "observer"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).failures(MethodSet::ALL)
    }
}

/// A connector with the default plugins and so many observers.
fn connector(observers: usize) -> Connector<NullDriver> {
    let host = HostKey::new("my.cluster-xyz.us-east-2.rds.amazonaws.com", 5432).unwrap();
    let mut builder = Connector::builder(NullDriver, Config::new(), vec![host]);
    for _ in 0..observers {
        builder = builder.plugin(Arc::new(Observer));
    }
    builder.build().unwrap()
}

fn connect(connector: &Connector<NullDriver>) -> NullConnection {
    let runtime = Runtime::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(connector.connect()).unwrap()
}

fn is_send_and_sync<T: Send + Sync + ?Sized>() {}

fn is_send<T: Send>(_: &T) {}

#[test]
fn traits_for_plugins_and_strategies_are_object_safe() {
    fn is_object<T: ?Sized>() {}
    is_object::<dyn ConnectionPlugin<NullDriver>>();
    is_object::<dyn HostSelector>();
    is_object::<dyn Resolver>();
    is_object::<dyn DatabaseDialect>();
    is_object::<dyn Ask>();
    is_object::<dyn Prober>();
    is_object::<dyn Probe>();
}

#[test]
fn what_applications_hold_can_be_sent_and_shared() {
    is_send_and_sync::<Connector<NullDriver>>();
    is_send_and_sync::<Pipeline<NullDriver>>();
    is_send_and_sync::<Logical<NullDriver>>();
    is_send_and_sync::<Call<'_, NullDriver>>();
    is_send_and_sync::<ConnectHandle<NullDriver>>();
    is_send_and_sync::<Next<'_, NullDriver>>();
    is_send_and_sync::<dyn ConnectionPlugin<NullDriver>>();
    is_send_and_sync::<ConnectRequest>();
    is_send_and_sync::<(Config, Settings, Error, Event, Recovery)>();
    is_send_and_sync::<(Services, Status, Registry, Slot)>();
    is_send_and_sync::<(Topology, Cluster, ClusterSession, Snapshot, Host)>();
    fn is_send_type<T: Send>() {}
    is_send_type::<Builder<NullDriver>>();
    is_send_type::<Step<'_>>();
}

#[test]
fn an_error_is_one_pointer_wide() {
    assert_eq!(size_of::<Error>(), size_of::<usize>());
    assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
}

#[test]
fn the_future_of_a_call_is_small_and_can_be_sent() {
    let connector = connector(1);
    let connection = connect(&connector);
    let logical = Logical::new(Arc::clone(connection.slot()));
    let call = Call::new(Method::Query, Some("select 1"), &logical, &NullDriver);
    let future = connector.pipeline().call(&call, || async { Ok(1_u64) });
    is_send(&future);
    let size = size_of_val(&future);
    assert!(size <= 256, "{size} bytes around an exchange of two words");
    is_send(&connector.connect());
    is_send(&connector.pipeline().recover(&call, Error::config("x")));
}

/// Ready when asked for the second time.
async fn pending_once() {
    let mut was_asked = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut was_asked, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What `calls` calls with a result allocate.
fn cost(connector: &Connector<NullDriver>, calls: u32) -> AllocationInfo {
    let connection = connect(connector);
    let logical = Logical::new(Arc::clone(connection.slot()));
    measure(|| {
        for number in 0..calls {
            for method in Method::ALL {
                let call = Call::new(method, Some("select 1"), &logical, &NullDriver);
                call.uses(connection.slot());
                let result = connector.pipeline().call(&call, || async { Ok(number) }).now_or_never();
                assert_eq!(result.unwrap().unwrap(), number);
            }
        }
    })
}

#[test]
fn a_call_allocates_nothing_with_the_default_plugins() {
    assert_eq!(cost(&connector(0), 100).count_total, 0);
}

#[test]
fn a_call_allocates_nothing_with_five_observers_more() {
    assert_eq!(cost(&connector(5), 100).count_total, 0);
}

#[test]
fn a_call_that_waits_allocates_nothing_either() {
    let connector = connector(5);
    let connection = connect(&connector);
    let logical = Logical::new(Arc::clone(connection.slot()));
    let runtime = Runtime::new_current_thread().build().unwrap();
    let waits = async |calls: u32| {
        for _ in 0..calls {
            let call = Call::new(Method::Query, None, &logical, &NullDriver);
            let exchange = || async {
                pending_once().await;
                pending_once().await;
                Ok(())
            };
            connector.pipeline().call(&call, exchange).await.unwrap();
        }
    };
    // What the runtime itself allocates does not grow with the calls.
    let few = measure(|| runtime.block_on(waits(1))).count_total;
    let many = measure(|| runtime.block_on(waits(1_000))).count_total;
    assert_eq!(many, few);
}

#[test]
fn a_slot_is_gone_with_its_connection() {
    let connector = connector(0);
    let connection = connect(&connector);
    assert_eq!(connection.slot().purpose(), Purpose::Initial);
    assert_eq!(connector.services().status().connections.len(), 1);
    drop(connection);
    assert!(connector.services().status().connections.is_empty());
}
