//! In which order plugins run, what each of them sees, and that nothing is seen twice or never.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::driver::ConnectRequest;
use aws_wrapper_core::error::{DriverClass, Error, ErrorKind, Result};
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::plugin::{
    Call, CallOutcome, ConnectionPlugin, Connects, Next, Place, Recovery, Step, Subscriptions,
};
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, FakeConnection, FakeDriver, On, Outcome};
use common::{MS, SECOND, World, drop_after, until};
use parking_lot::Mutex;
use tokio::time::sleep;

type Log = Arc<Mutex<Vec<String>>>;

/// Writes down what it sees.
#[derive(Debug)]
struct Witness {
    code: &'static str,
    place: Place,
    log: Log,
    subscriptions: Subscriptions,
    before: Before,
    recovers: bool,
    dials: u32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Before {
    Continues,
    Fails,
    Waits,
    WaitsAndFails,
}

impl Witness {
    fn new(code: &'static str, log: &Log) -> Self {
        let subscriptions = Subscriptions::none()
            .calls(MethodSet::ALL)
            .failures(MethodSet::ALL)
            .connects(Connects::Application);
        let (place, before) = (Place::AfterPrevious, Before::Continues);
        Self { code, place, log: Arc::clone(log), subscriptions, before, recovers: false, dials: 1 }
    }

    fn at(mut self, weight: u16) -> Self {
        self.place = Place::Weight(weight);
        self
    }

    fn wants(mut self, subscriptions: Subscriptions) -> Self {
        self.subscriptions = subscriptions;
        self
    }

    fn before(mut self, before: Before) -> Self {
        self.before = before;
        self
    }

    fn saw(&self, what: &str) {
        self.log.lock().push(format!("{what} {}", self.code));
    }
}

#[async_trait]
impl ConnectionPlugin<FakeDriver> for Witness {
    fn code(&self) -> &'static str {
        self.code
    }

    fn subscriptions(&self) -> Subscriptions {
        self.subscriptions
    }

    fn place(&self) -> Place {
        self.place
    }

    async fn connect(
        &self,
        request: &mut ConnectRequest,
        next: Next<'_, FakeDriver>,
    ) -> Result<FakeConnection> {
        self.saw("connect");
        let mut result = next.run(request).await;
        for _ in 1..self.dials {
            result = next.run(request).await;
        }
        self.saw("connected");
        result
    }

    fn before<'a>(&'a self, _call: &'a Call<'_, FakeDriver>) -> Step<'a> {
        self.saw("before");
        let refused = || Error::new(ErrorKind::Routing, "not now");
        match self.before {
            Before::Continues => Step::Continue,
            Before::Fails => Step::Fail(refused()),
            Before::Waits => Step::Wait(Box::pin(async {
                sleep(MS).await;
                Ok(())
            })),
            Before::WaitsAndFails => Step::Wait(Box::pin(async move {
                sleep(MS).await;
                Err(refused())
            })),
        }
    }

    fn after(&self, _call: &Call<'_, FakeDriver>, _outcome: &CallOutcome) {
        self.saw("after");
    }

    async fn recover(&self, _call: &Call<'_, FakeDriver>, error: Error) -> Recovery {
        self.saw("recover");
        if self.recovers { Recovery::Handled(error) } else { Recovery::Fail(error) }
    }
}

/// A connector without built-ins to one plain server.
fn connector(world: &World, witnesses: Vec<Witness>) -> Connector<FakeDriver> {
    with_plugins(world, &[("plugins", "")], witnesses)
}

fn with_plugins(world: &World, pairs: &[(&str, &str)], witnesses: Vec<Witness>) -> Connector<FakeDriver> {
    let mut builder = world.builder("i-1", pairs);
    for witness in witnesses {
        builder = builder.plugin(Arc::new(witness));
    }
    builder.build().unwrap()
}

fn plain() -> World {
    let mut world = World::new();
    world.driver = world.driver.plain();
    world
}

fn take(log: &Log) -> Vec<String> {
    std::mem::take(&mut *log.lock())
}

mod order {
    use super::*;

    /// The chain of connects, outermost first, as the connector's `Debug` tells it.
    fn chain(codes: &str, sorted: bool, witnesses: Vec<Witness>) -> Vec<String> {
        let sorted = sorted.to_string();
        let pairs = [("plugins", codes), ("auto_sort_plugins", sorted.as_str())];
        let connector = with_plugins(&plain(), &pairs, witnesses);
        let text = format!("{:?}", connector.pipeline());
        let list = text.split_once('[').unwrap().1.split_once(']').unwrap().0;
        list.split(", ")
            .filter(|code| !code.is_empty())
            .map(|code| code.trim_matches('"').to_owned())
            .collect()
    }

    fn refusal(codes: &str) -> Error {
        let built = plain().builder("i-1", &[("plugins", codes)]).build();
        built.map(drop).expect_err(codes)
    }

    #[test]
    fn built_ins_are_sorted_by_weight() {
        let expected = ["initial_connection", "stale_dns"];
        assert_eq!(chain("stale_dns,failover,initial_connection", true, vec![]), expected);
        assert_eq!(chain("initial_connection,stale_dns,failover", true, vec![]), expected);
    }

    #[test]
    fn unsorted_the_list_is_kept() {
        let kept = ["connect_time", "stale_dns", "initial_connection"];
        assert_eq!(chain("connect_time,stale_dns,initial_connection", false, vec![]), kept);
    }

    #[test]
    fn a_plugin_without_a_weight_stays_behind_its_predecessor() {
        let codes = "stale_dns,connect_time,developer,initial_connection";
        let expected = ["initial_connection", "stale_dns", "connect_time", "developer"];
        assert_eq!(chain(codes, true, vec![]), expected);
        let codes = "connect_time,stale_dns,initial_connection";
        assert_eq!(chain(codes, true, vec![])[0], "connect_time", "the first one has nobody before it");
    }

    #[test]
    fn the_applications_own_stand_innermost_unless_they_have_a_weight() {
        let log = Log::default();
        let own = || vec![Witness::new("b", &log), Witness::new("a", &log)];
        assert_eq!(
            chain("stale_dns,initial_connection", true, own()),
            ["initial_connection", "stale_dns", "b", "a"].map(String::from)
        );
        let weighted = vec![Witness::new("late", &log).at(600), Witness::new("early", &log).at(100)];
        assert_eq!(
            chain("stale_dns,initial_connection", true, weighted),
            ["early", "initial_connection", "late", "stale_dns"]
        );
        let weighted = vec![Witness::new("late", &log).at(600), Witness::new("early", &log).at(100)];
        assert_eq!(
            chain("stale_dns,initial_connection", false, weighted),
            ["stale_dns", "initial_connection", "late", "early"]
        );
    }

    #[test]
    fn equal_weights_keep_the_order_of_the_list() {
        let log = Log::default();
        let own = vec![Witness::new("one", &log).at(500), Witness::new("two", &log).at(500)];
        assert_eq!(chain("initial_connection", true, own), ["initial_connection", "one", "two"]);
    }

    #[test]
    fn many_without_a_weight_do_not_overtake_the_next_weight() {
        let log = Log::default();
        let mut own: Vec<_> = (0..300).map(|_| Witness::new("follower", &log)).collect();
        own.insert(0, Witness::new("first", &log).at(1));
        own.push(Witness::new("second", &log).at(2));
        let chain = chain("", true, own);
        assert_eq!((chain[0].as_str(), chain[301].as_str()), ("first", "second"));
    }

    #[test]
    fn codes_may_be_spelled_with_case_dashes_and_aliases() {
        for code in [
            "initialConnection",
            "INITIAL-CONNECTION",
            "initial_connection",
            "auroraInitialConnectionStrategy",
            "aurora_initial_connection_strategy",
        ] {
            assert_eq!(chain(code, true, vec![]), ["initial_connection"], "{code}");
        }
        assert_eq!(chain("auroraStaleDns", true, vec![]), ["stale_dns"]);
        assert_eq!(chain("dev", true, vec![]), ["developer"]);
        for code in ["failover", "failover2", "failoverV2", "logQuery", "executeTime"] {
            assert_eq!(chain(code, true, vec![]), [""; 0], "{code} wraps no connects");
        }
    }

    #[test]
    fn a_plugin_stands_in_the_list_once_under_whatever_name() {
        for codes in ["failover,failover", "failover,failover2", "stale_dns,connect_time,AuroraStaleDNS"] {
            let error = refusal(codes);
            assert_eq!(error.kind(), ErrorKind::PluginConflict, "{codes}");
            assert!(error.to_string().contains("twice"), "{error}");
        }
    }

    #[test]
    fn unknown_codes_name_the_known_ones_and_those_to_come_say_so() {
        let error = refusal("failover,fialover");
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(
            error.to_string().contains("`fialover`") && error.to_string().contains("failover, "),
            "{error}"
        );
        for code in ["iam", "readWriteSplitting", "bg", "limitless"] {
            let error = refusal(code);
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{code}");
            assert!(error.to_string().contains("not available in this version"), "{error}");
        }
    }
}

mod calls {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn before_runs_outside_in_and_after_inside_out() {
        let (world, log) = (plain(), Log::default());
        let connector = connector(&world, vec![Witness::new("a", &log), Witness::new("b", &log)]);
        let client = FakeClient::connect(&connector).await.unwrap();
        take(&log);
        client.query("select 1").await.unwrap();
        assert_eq!(take(&log), ["before a", "before b", "after b", "after a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_told_inner_first_and_after_the_call_is_over() {
        let (world, log) = (plain(), Log::default());
        let connector = connector(&world, vec![Witness::new("a", &log), Witness::new("b", &log)]);
        let client = FakeClient::connect(&connector).await.unwrap();
        take(&log);
        world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Other));
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.method(), Some(Method::Query));
        assert_eq!(take(&log), ["before a", "before b", "after b", "after a", "recover b", "recover a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_been_handled_is_not_told_further_out() {
        let (world, log) = (plain(), Log::default());
        let handler = Witness { recovers: true, ..Witness::new("b", &log) };
        let witnesses = vec![Witness::new("a", &log), handler, Witness::new("c", &log)];
        let client = FakeClient::connect(&connector(&world, witnesses)).await.unwrap();
        take(&log);
        world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Other));
        client.query("select 1").await.unwrap_err();
        assert_eq!(take(&log)[6..], ["recover c", "recover b"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_stops_the_call_and_only_those_entered_are_left() {
        for (before, plans) in [(Before::Fails, 1), (Before::WaitsAndFails, 1)] {
            let (world, log) = (plain(), Log::default());
            let witnesses = vec![
                Witness::new("a", &log),
                Witness::new("b", &log).before(before),
                Witness::new("c", &log),
            ];
            let client = FakeClient::connect(&connector(&world, witnesses)).await.unwrap();
            take(&log);
            world.driver.plan(On::Call, "i-1", plans, Outcome::Fails(DriverClass::Other));
            let error = client.query("select 1").await.unwrap_err();
            assert_eq!((error.kind(), error.plugin()), (ErrorKind::Routing, Some("b")));
            let expected = ["before a", "before b", "after a", "recover c", "recover b", "recover a"];
            assert_eq!(take(&log), expected);
            // The planned failure is still there: the call never reached the host.
            let driver_error = FakeClient::connect(&connector(&world, vec![])).await.unwrap();
            assert!(driver_error.query("select 1").await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_plugin_may_wait_before_the_call() {
        let (world, log) = (plain(), Log::default());
        let witnesses = vec![Witness::new("a", &log).before(Before::Waits), Witness::new("b", &log)];
        let client = FakeClient::connect(&connector(&world, witnesses)).await.unwrap();
        take(&log);
        client.query("select 1").await.unwrap();
        assert_eq!(take(&log), ["before a", "before b", "after b", "after a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whenever_a_call_is_dropped_each_one_entered_is_left_once() {
        let mut finished = false;
        for times in 0..20 {
            let (world, log) = (plain(), Log::default());
            let witnesses = vec![
                Witness::new("a", &log),
                Witness::new("b", &log).before(Before::Waits),
                Witness::new("c", &log).before(Before::Waits),
                Witness::new("d", &log),
            ];
            let client = FakeClient::connect(&connector(&world, witnesses)).await.unwrap();
            world.cluster.set_delays("i-1", MS, 5 * MS);
            take(&log);
            let done = drop_after(times, client.query("select 1")).await.is_some();
            let log = take(&log);
            let (befores, afters): (Vec<_>, Vec<_>) = log.iter().partition(|line| line.starts_with("before"));
            let entered: Vec<_> = befores.iter().map(|line| line.trim_start_matches("before ")).collect();
            let mut left: Vec<_> = afters.iter().map(|line| line.trim_start_matches("after ")).collect();
            left.reverse();
            // One that was still waiting was not let in.
            assert!(
                entered == left || (!done && entered[..entered.len() - 1] == left[..]),
                "{times}: {log:?}"
            );
            assert!(!log.iter().any(|line| line.starts_with("recover")), "nothing failed");
            finished |= done;
        }
        assert!(finished, "some of the calls were not dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_never_comes_back_is_over_when_it_is_dropped() {
        let (world, log) = (plain(), Log::default());
        let client = FakeClient::connect(&connector(&world, vec![Witness::new("a", &log)])).await.unwrap();
        take(&log);
        world.driver.plan(On::Call, "i-1", 1, Outcome::Never);
        assert!(drop_after(5, client.query("select 1")).await.is_none());
        assert_eq!(take(&log), ["before a", "after a"]);
        assert_eq!(client.query("select 1").await.unwrap(), "i-1");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_was_subscribed_to_is_seen() {
        let (world, log) = (plain(), Log::default());
        let only = Subscriptions::none()
            .calls(MethodSet::of(&[Method::Commit]))
            .failures(MethodSet::of(&[Method::Query]));
        let client =
            FakeClient::connect(&connector(&world, vec![Witness::new("a", &log).wants(only)])).await.unwrap();
        for method in Method::ALL {
            client.call(method, "select 1").await.unwrap();
        }
        assert_eq!(take(&log), ["before a", "after a"]);
        for method in Method::ALL {
            world.driver.plan(On::Call, "i-1", 1, Outcome::Fails(DriverClass::Other));
            client.call(method, "select 1").await.unwrap_err();
        }
        assert_eq!(take(&log), ["recover a", "before a", "after a"]);
    }
}

/// Streams: the call goes on after the function that opened it has returned.
mod lent {
    use aws_wrapper_core::plugin::Ask;
    use aws_wrapper_core::table::Table;
    use futures_util::future::BoxFuture;

    use super::*;

    #[derive(Debug)]
    struct NoAnswer;

    impl Ask for NoAnswer {
        fn fetch_text<'a>(&'a self, _sql: &'a str) -> BoxFuture<'a, Result<Table>> {
            Box::pin(async { Ok(Table::default()) })
        }
    }

    fn call(client: &FakeClient) -> Call<'static, FakeDriver> {
        let sql = Some("select 1".to_owned());
        Call::owned(Method::QueryStream, sql, Arc::clone(client.logical()), Arc::new(NoAnswer))
    }

    async fn watched(before: Before) -> (Connector<FakeDriver>, FakeClient, Log) {
        let (world, log) = (plain(), Log::default());
        let witnesses = vec![Witness::new("a", &log), Witness::new("b", &log).before(before)];
        let connector = connector(&world, witnesses);
        let client = FakeClient::connect(&connector).await.unwrap();
        take(&log);
        (connector, client, log)
    }

    #[tokio::test(start_paused = true)]
    async fn those_entered_are_left_when_the_guard_is_dropped() {
        let (connector, client, log) = watched(Before::Continues).await;
        let lent = connector.pipeline().lend(call(&client)).await.unwrap();
        assert_eq!(take(&log), ["before a", "before b"]);
        assert_eq!(lent.call().method(), Method::QueryStream);
        drop(lent);
        assert_eq!(take(&log), ["after b", "after a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_ends_it_once_and_is_told_inner_first() {
        let (connector, client, log) = watched(Before::Continues).await;
        let lent = connector.pipeline().lend(call(&client)).await.unwrap();
        take(&log);
        let error = lent.recover(connector.pipeline(), Error::driver(DriverClass::Other, "broken row")).await;
        assert_eq!(error.method(), Some(Method::QueryStream));
        assert_eq!(take(&log), ["after b", "after a", "recover b", "recover a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_leaves_only_those_entered() {
        let (connector, client, log) = watched(Before::WaitsAndFails).await;
        let error = connector.pipeline().lend(call(&client)).await.unwrap_err();
        assert_eq!((error.kind(), error.plugin()), (ErrorKind::Routing, Some("b")));
        assert_eq!(take(&log), ["before a", "before b", "after a", "recover b", "recover a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_while_it_is_opened_it_leaves_those_entered() {
        let (connector, client, log) = watched(Before::Waits).await;
        assert!(drop_after(1, connector.pipeline().lend(call(&client))).await.is_none());
        assert_eq!(take(&log), ["before a", "before b", "after a"]);
    }
}

mod connects {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn plugins_wrap_one_another() {
        let (world, log) = (plain(), Log::default());
        connector(&world, vec![Witness::new("a", &log), Witness::new("b", &log)]).connect().await.unwrap();
        assert_eq!(take(&log), ["connect a", "connect b", "connected b", "connected a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_the_chain_can_run_twice() {
        let (world, log) = (plain(), Log::default());
        let twice = Witness { dials: 2, ..Witness::new("a", &log) };
        let connection = connector(&world, vec![twice, Witness::new("b", &log)]).connect().await.unwrap();
        assert_eq!(
            take(&log),
            ["connect a", "connect b", "connected b", "connect b", "connected b", "connected a"]
        );
        assert_eq!(world.driver.application_connects(), 2);
        assert_eq!(world.cluster.open("i-1"), 1, "the first one was closed");
        assert_eq!(world.services.status().connections[connection.slot().host()], 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_names_the_plugin_it_passed_first() {
        let (world, log) = (plain(), Log::default());
        world.cluster.set_reach("i-1", Reach::Refuses);
        let error = connector(&world, vec![Witness::new("a", &log), Witness::new("b", &log)])
            .connect()
            .await
            .unwrap_err();
        assert_eq!((error.kind(), error.plugin()), (ErrorKind::Driver(DriverClass::Network), Some("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_wrap_no_connect_are_passed_over() {
        let (world, log) = (plain(), Log::default());
        let none = Subscriptions::none().calls(MethodSet::ALL);
        let witnesses =
            vec![Witness::new("a", &log), Witness::new("b", &log).wants(none), Witness::new("c", &log)];
        connector(&world, witnesses).connect().await.unwrap();
        assert_eq!(take(&log), ["connect a", "connect c", "connected c", "connected a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_monitors_connects_are_seen_only_by_those_who_want_all() {
        let (world, log) = (World::new(), Log::default());
        let all = Subscriptions::none().connects(Connects::All);
        let witnesses = vec![Witness::new("application", &log), Witness::new("all", &log).wants(all)];
        let connector = with_plugins(&world, &[], witnesses);
        let _client = FakeClient::connect(&connector).await.unwrap();
        assert_eq!(take(&log)[..2], ["connect application", "connect all"]);
        let monitors = || world.driver.connects().iter().filter(|dial| dial.purpose.is_monitoring()).count();
        until("the monitor has connected", || world.cluster.open("i-1") == 2).await;
        sleep(SECOND).await;
        let seen = take(&log);
        assert_eq!(seen.iter().filter(|line| *line == "connect all").count(), monitors());
        assert!(!seen.iter().any(|line| line.ends_with("application")), "{seen:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failover_connects_through_the_plugins_behind_it_only() {
        let (world, log) = (World::new(), Log::default());
        let pairs = [("plugins", "failover"), ("topology_monitoring_user", "monitor")];
        let witnesses = vec![Witness::new("inside", &log), Witness::new("outside", &log).at(100)];
        let client = FakeClient::connect(&with_plugins(&world, &pairs, witnesses)).await.unwrap();
        sleep(Duration::from_secs(2)).await;
        take(&log);
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-2");
        assert!(client.query("select 1").await.unwrap_err().is_failover_success());
        let connects: Vec<_> = take(&log).into_iter().filter(|line| line.starts_with("connect")).collect();
        assert_eq!(connects, ["connect inside", "connected inside"]);
    }
}
