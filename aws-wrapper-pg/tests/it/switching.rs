//! What a client keeps when its connection is replaced.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use aws_wrapper_pg::core::driver::{ConnectRequest, DriverDialect};
use aws_wrapper_pg::core::error::{DriverClass, FailoverOutcome, FailoverReport};
use aws_wrapper_pg::core::method::{Method, MethodSet};
use aws_wrapper_pg::core::plugin::{
    Call, CallOutcome, ConnectionPlugin, Connects, Next, Recovery, Subscriptions,
};
use aws_wrapper_pg::core::registry::{EndReason, Slot};
use aws_wrapper_pg::core::{Error, Result};
use aws_wrapper_pg::{Client, NotificationItem, PgDriver, Physical};
use futures_util::{StreamExt, TryStreamExt};
use tokio::time::timeout;

use crate::server::Server;

/// Replaces a lost connection by one it opened beforehand: a failover without a search.
#[derive(Debug, Clone, Default)]
struct Spare {
    spares: Arc<Mutex<Vec<Physical>>>,
    driver: Arc<Mutex<Option<Arc<PgDriver>>>>,
    calls: Arc<Mutex<Vec<(Method, bool)>>>,
}

const SPARES: usize = 3;

#[async_trait]
impl ConnectionPlugin<PgDriver> for Spare {
    fn code(&self) -> &'static str {
        "spare"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).failures(MethodSet::ALL).connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, PgDriver>) -> Result<Physical> {
        for _ in 0..SPARES {
            let spare = next.run(request).await?;
            self.spares.lock().unwrap().push(spare);
        }
        next.run(request).await
    }

    fn before<'a>(&'a self, call: &'a Call<'_, PgDriver>) -> aws_wrapper_pg::core::plugin::Step<'a> {
        self.calls.lock().unwrap().push((call.method(), true));
        aws_wrapper_pg::core::plugin::Step::Continue
    }

    fn after(&self, call: &Call<'_, PgDriver>, _outcome: &CallOutcome) {
        self.calls.lock().unwrap().push((call.method(), false));
    }

    async fn recover(&self, call: &Call<'_, PgDriver>, error: Error) -> Recovery {
        if error.driver_class() != Some(DriverClass::Network) {
            return Recovery::Fail(error);
        }
        let _turn = call.logical().switching().lock().await;
        if call.current_slot().is_some() {
            let Some(mut spare) = self.spares.lock().unwrap().pop() else { return Recovery::Fail(error) };
            let driver = self.driver.lock().unwrap().clone().unwrap();
            driver.configure(&mut spare, call.logical().session()).await.unwrap();
            let slot = Arc::clone(spare.slot());
            call.logical().park(spare, slot, None);
        }
        let mut report = FailoverReport::default();
        report.statement_may_have_run = error.statement_may_have_run();
        report.commit_in_flight = call.method() == Method::Commit;
        Recovery::Handled(Error::failover(FailoverOutcome::Succeeded, report, error))
    }
}

async fn client(server: &Server) -> (Client, Spare) {
    let plugin = Spare::default();
    let connector = server.builder().plugin(plugin.clone()).build().unwrap();
    *plugin.driver.lock().unwrap() = Some(Arc::clone(connector.core().driver()));
    (connector.connect().await.unwrap(), plugin)
}

fn lose(client: &Client) -> Arc<Slot> {
    let slot = client.slot();
    slot.abort(EndReason::aborted("lost by a test"));
    slot
}

async fn ended(slot: &Slot) {
    timeout(Duration::from_secs(10), slot.wait_ended()).await.unwrap();
}

#[tokio::test]
async fn the_next_call_goes_to_the_new_connection() {
    let server = Server::shared();
    let (client, plugin) = client(&server).await;
    let statement = client.prepare("select $1::int4").await.unwrap();
    for n in 0..3_i32 {
        let lost = lose(&client);
        ended(&lost).await;
        let error = client.query_one(&statement, &[&n]).await.unwrap_err();
        assert!(error.is_failover_success() && !error.statement_may_have_run(), "{error:?}");
        // Twice: prepared again the first time, known the second time.
        for _ in 0..2 {
            assert_eq!(client.query_one_scalar::<i32, _>(&statement, &[&n]).await.unwrap(), n);
        }
        assert_ne!(client.slot().id(), lost.id());
    }
    drop(client);
    let calls = plugin.calls.lock().unwrap();
    assert_eq!(calls.iter().filter(|(_, enters)| *enters).count() * 2, calls.len(), "{calls:?}");
}

#[tokio::test]
async fn calls_that_fail_together_switch_once() {
    let server = Server::shared();
    let (client, plugin) = client(&server).await;
    let calls = futures_util::future::join_all((0..100).map(|_| client.batch_execute("select pg_sleep(60)")));
    let mut calls = pin!(calls);
    assert!(timeout(Duration::from_millis(20), &mut calls).await.is_err());
    lose(&client);
    for result in timeout(Duration::from_secs(10), calls).await.unwrap() {
        assert!(result.unwrap_err().is_failover_success());
    }
    assert_eq!(plugin.spares.lock().unwrap().len(), SPARES - 1);
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn transactions_work_after_a_switch_and_end_by_one() {
    let server = Server::shared();
    let (mut client, _) = client(&server).await;
    ended(&lose(&client)).await;
    client.batch_execute("select 1").await.unwrap_err();
    client.batch_execute("select 1").await.unwrap();
    let transaction = client.transaction().await.unwrap();
    transaction.query("select 1", &[]).await.unwrap();
    let slot = Arc::clone(transaction.slot());
    slot.abort(EndReason::aborted("lost by a test"));
    ended(&slot).await;
    assert!(transaction.query("select 1", &[]).await.unwrap_err().is_failover_success());
    assert!(
        transaction.query("select 1", &[]).await.is_err(),
        "a transaction does not change its connection"
    );
    assert!(transaction.commit().await.is_err());
    let transaction = client.transaction().await.unwrap();
    assert_eq!(transaction.query("select 1", &[]).await.unwrap().len(), 1);
    transaction.commit().await.unwrap();
}

#[tokio::test]
async fn a_lost_begin_and_a_lost_commit_are_recovered() {
    let server = Server::shared();
    let (mut client, _) = client(&server).await;
    ended(&lose(&client)).await;
    assert!(client.transaction().await.unwrap_err().is_failover_success());
    let transaction = client.transaction().await.unwrap();
    let slot = Arc::clone(transaction.slot());
    slot.abort(EndReason::aborted("lost by a test"));
    ended(&slot).await;
    let error = transaction.commit().await.unwrap_err();
    assert!(error.is_failover_success());
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_forgotten_call_does_not_keep_a_transaction_from_beginning() {
    let server = Server::shared();
    let (mut client, _) = client(&server).await;
    ended(&lose(&client)).await;
    client.batch_execute("select 1").await.unwrap_err();
    {
        let mut call = Box::pin(client.batch_execute("select 1"));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        #[expect(clippy::mem_forget, reason = "what must not do harm")]
        std::mem::forget(call);
    }
    let transaction = client.transaction().await.unwrap();
    transaction.query("select 1", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn a_stream_that_loses_its_connection_is_recovered() {
    let server = Server::shared();
    let (client, plugin) = client(&server).await;
    let mut rows =
        pin!(client.query_raw("select generate_series(1, 10000000)", Vec::<i32>::new()).await.unwrap());
    rows.next().await.unwrap().unwrap();
    lose(&client);
    let error = rows.as_mut().try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.is_failover_success(), "{error:?}");
    assert_eq!(plugin.calls.lock().unwrap()[..], [(Method::QueryStream, true), (Method::QueryStream, false)]);
    client.batch_execute("select 1").await.unwrap();
}

#[tokio::test]
async fn channels_are_listened_to_on_the_new_connection_and_the_gap_is_shown() {
    let server = Server::shared();
    let (client, _) = client(&server).await;
    let sender = server.client().await;
    let mut items = pin!(client.notifications());
    client.listen("news").await.unwrap();
    ended(&lose(&client)).await;
    client.batch_execute("select 1").await.unwrap_err();
    sender.batch_execute("notify news, 'after'").await.unwrap();
    let mut next = async || timeout(Duration::from_secs(10), items.next()).await.unwrap().unwrap();
    assert!(matches!(next().await, NotificationItem::Gap { lost: None }));
    let NotificationItem::Notification(after) = next().await else { panic!("a notification was sent") };
    assert_eq!(after.payload(), "after");
}

#[tokio::test]
async fn futures_can_be_sent_between_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let server = Server::shared();
    let (mut client, _) = client(&server).await;
    let statement = is_send(client.prepare("select 1")).await.unwrap();
    is_send(client.query(&statement, &[])).await.unwrap();
    is_send(client.query_raw(&statement, Vec::<i32>::new())).await.unwrap();
    let transaction = is_send(client.transaction()).await.unwrap();
    is_send(transaction.query("select 1", &[])).await.unwrap();
    is_send(transaction.commit()).await.unwrap();
}
