//! What a plugin learns of calls, connections and topologies.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_wrapper_core::Error;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::plugin::{
    Call, CallClass, CallOutcome, CallState, ConnectionChange, ConnectionPlugin, ConnectionState, Logical,
    Make, PluginContext, PluginFactory, Recovery, Step, Subscriptions,
};
use aws_wrapper_core::session::StatementKind;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver, On, Outcome};
use aws_wrapper_core::topology::Snapshot;
use common::{MS, SECOND, WRITER, World, drop_after, until};

/// What the plugin has seen, in order.
#[derive(Debug, Default)]
struct Diary(Mutex<Vec<Entry>>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Before(Method, StatementKind),
    After(CallClass, Option<Duration>),
    Recover(ErrorKind),
    Changed,
    Topology(Option<HostKey>),
}

impl Diary {
    fn write(&self, entry: Entry) {
        self.0.lock().unwrap().push(entry);
    }

    /// What it has seen of calls since it was last asked.
    fn take(&self) -> Vec<Entry> {
        let mut entries = std::mem::take(&mut *self.0.lock().unwrap());
        entries.retain(|entry| !matches!(entry, Entry::Topology(_)));
        entries
    }

    fn has(&self, entry: &Entry) -> bool {
        self.0.lock().unwrap().contains(entry)
    }
}

#[derive(Debug)]
struct Learner {
    diary: Arc<Diary>,
    is_timed: bool,
    /// How many calls this logical connection has made.
    calls: ConnectionState<AtomicU32>,
    /// The number of the call.
    number: CallState<AtomicU32>,
}

impl Learner {
    fn factory(is_timed: bool) -> PluginFactory<FakeDriver> {
        let make: Make<FakeDriver> = if is_timed {
            |context| Ok(Arc::new(Self::new(context, true)))
        } else {
            |context| Ok(Arc::new(Self::new(context, false)))
        };
        PluginFactory::new("learner", make).with_topology()
    }

    fn new(context: &PluginContext<FakeDriver>, is_timed: bool) -> Self {
        let diary =
            context.provided::<Arc<Diary>>().map_or_else(Arc::default, |diary| Arc::<Diary>::clone(&diary));
        Self { diary, is_timed, calls: context.connection_state(), number: context.call_state() }
    }
}

#[async_trait::async_trait]
impl ConnectionPlugin<FakeDriver> for Learner {
    fn code(&self) -> &'static str {
        "learner"
    }

    fn subscriptions(&self) -> Subscriptions {
        let wants = Subscriptions::none().calls(MethodSet::ALL).failures(MethodSet::ALL);
        let wants = wants.connection_changes().topologies();
        if self.is_timed { wants.timing() } else { wants }
    }

    fn before<'a>(&'a self, call: &'a Call<'_, FakeDriver>) -> Step<'a> {
        let number = call.logical().state(&self.calls).fetch_add(1, Ordering::Relaxed) + 1;
        call.state(&self.number).store(number, Ordering::Relaxed);
        self.diary.write(Entry::Before(call.method(), call.statement_kind()));
        Step::Continue
    }

    fn after(&self, call: &Call<'_, FakeDriver>, outcome: &CallOutcome) {
        let number = call.state(&self.number).load(Ordering::Relaxed);
        assert!(number > 0 && number <= call.logical().state(&self.calls).load(Ordering::Relaxed));
        self.diary.write(Entry::After(outcome.class, outcome.elapsed));
    }

    async fn recover(&self, _call: &Call<'_, FakeDriver>, error: Error) -> Recovery {
        self.diary.write(Entry::Recover(error.kind()));
        Recovery::Fail(error)
    }

    fn connection_changed(&self, logical: &Logical<FakeDriver>, change: &ConnectionChange) {
        assert_eq!(logical.newest().id(), change.new.id());
        assert_ne!(change.old.id(), change.new.id());
        self.diary.write(Entry::Changed);
    }

    fn topology_changed(&self, topology: &Snapshot) {
        self.diary.write(Entry::Topology(topology.writer_host().map(|host| host.key.clone())));
    }
}

async fn client(world: &World, plugins: &str, is_timed: bool) -> (FakeClient, Arc<Diary>) {
    let diary = Arc::<Diary>::default();
    let builder = world.builder(WRITER, &[("plugins", plugins)]);
    let connector = builder.register(Learner::factory(is_timed)).provide(Arc::clone(&diary)).build().unwrap();
    let client = FakeClient::connect(&connector).await.unwrap();
    let first = Entry::Topology(Some(world.key("i-1")));
    until("the topology is told", || diary.has(&first)).await;
    (client, diary)
}

#[tokio::test(start_paused = true)]
async fn a_call_tells_what_it_is_and_how_it_ended() {
    let world = World::new();
    let (client, diary) = client(&world, "learner", false).await;
    client.query("select 1").await.unwrap();
    assert_eq!(
        diary.take(),
        [Entry::Before(Method::Query, StatementKind::Read), Entry::After(CallClass::Ok, None)]
    );
    world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Other));
    client.query("insert into t").await.unwrap_err();
    let failed = ErrorKind::Driver(DriverClass::Other);
    // Those who observe it see what the server said, before anybody recovers it.
    assert_eq!(
        diary.take(),
        [
            Entry::Before(Method::Query, StatementKind::Write),
            Entry::After(CallClass::Failed(failed), None),
            Entry::Recover(failed)
        ]
    );
    world.driver.plan(On::Call, "i-1", 1, Outcome::Never);
    assert!(drop_after(1, client.query("select 1")).await.is_none());
    assert_eq!(diary.take().last(), Some(&Entry::After(CallClass::DroppedAfterSending, None)));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_is_for_those_who_ask_for_it() {
    let world = World::new();
    let (client, diary) = client(&world, "learner", true).await;
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND));
    client.query("select 1").await.unwrap();
    let Some(Entry::After(CallClass::Ok, Some(elapsed))) = diary.take().pop() else { panic!("it is timed") };
    assert!((SECOND..SECOND + MS * 10).contains(&elapsed), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failover_is_a_change_of_connection_and_of_topology() {
    let world = World::new();
    let (client, diary) = client(&world, "learner,failover", false).await;
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
    client.query("select 1").await.unwrap_err();
    assert!(!diary.has(&Entry::Changed), "the next call puts it to use");
    client.query("select 1").await.unwrap();
    assert!(diary.has(&Entry::Changed));
    let newest = Entry::Topology(Some(world.key("i-2")));
    until("the new writer is told", || diary.has(&newest)).await;
}
