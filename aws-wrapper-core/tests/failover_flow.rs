//! Whole failovers, from the failing call to the next one, by script and with a paused clock.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::error::{
    DriverClass, ErrorKind, FailoverOutcome, Phase, RetryAdvice, TransactionOutcome,
};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::registry::{EndReason, Purpose};
use aws_wrapper_core::session::transaction::TransactionState;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver, On, Outcome};
use common::{MS, PROXY, READER, SECOND, World, all, config, drop_after, meanwhile, timed};
use tokio::time::sleep;

const SUCCEEDED: ErrorKind = ErrorKind::Failover(FailoverOutcome::Succeeded);
const FAILED: ErrorKind = ErrorKind::Failover(FailoverOutcome::Failed);
const UNKNOWN: ErrorKind = ErrorKind::Failover(FailoverOutcome::TransactionUnknown);

/// The monitor has credentials of its own, so that no connection of its can be handed to a session.
const APART: (&str, &str) = ("topology_monitoring_user", "monitor");

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_longer_than_its_limit_fails_and_is_no_failover() {
    let world = World::new();
    let client = world.settled(&[("socket_timeout_ms", "100")]).await;
    let mut heard = world.listen();
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(SECOND));
    let (result, took) = timed(client.query("select 1")).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Call), "{error:?}");
    assert!(error.to_string().contains("socket_timeout_ms"), "{error}");
    assert!(error.statement_may_have_run() && !error.is_failover_success());
    assert_eq!(took, 100 * MS);
    assert!(heard.all().is_empty(), "the host is fine");
    world.driver.plan(On::Call, "i-1", 1, Outcome::Slow(50 * MS));
    assert_eq!(client.query("select 1").await.unwrap(), "i-1");
}

/// The writer is gone and `i-2` has taken its place.
fn crash(world: &World) {
    world.cluster.set_reach("i-1", Reach::Refuses);
    world.cluster.promote("i-2");
}

mod writer {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_next_call_goes_to_the_new_writer_and_the_old_one_comes_back_as_a_reader() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        crash(&world);
        world.cluster.set_reach("i-1", Reach::Up);
        let (result, took) = timed(client.query("select 1")).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED);
        assert_eq!(error.sqlstate(), Some("08S02"));
        assert_eq!(error.host(), Some(&world.key("i-2")));
        assert_eq!(error.retry_advice(), RetryAdvice::RetryStatement);
        assert_eq!(error.transaction_outcome(), TransactionOutcome::NotInTransaction);
        assert_eq!(error.driver_class(), Some(DriverClass::Network));
        assert!(error.connection_usable() && !error.statement_may_have_run());
        let report = error.failover_report().unwrap();
        assert_eq!((report.old_host.as_ref(), report.attempts), (Some(&world.key("i-1")), 1));
        assert!(took < 100 * MS, "{took:?}");
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
        assert_eq!(heard.failovers(), [FailoverOutcome::Succeeded]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_on_which_the_writer_was_proved_is_handed_to_one_session() {
        let world = World::new();
        let connector = world.connector(common::WRITER, &[]);
        let [one, two] = [FakeClient::connect(&connector).await, FakeClient::connect(&connector).await];
        let (one, two) = (one.unwrap(), two.unwrap());
        // With another connector's settings it might have been another user's.
        let other = world.client(common::WRITER, &[]).await;
        sleep(SECOND * 2).await;
        let dialled = world.driver.application_connects();
        crash(&world);
        for result in all([&one, &two, &other].map(|client| client.query("select 1"))).await {
            assert_eq!(result.unwrap_err().failover_report().unwrap().attempts, 1);
        }
        for client in [&one, &two, &other] {
            assert_eq!(client.query("insert").await.unwrap(), "i-2");
            assert_eq!(client.current().slot().purpose(), Purpose::Switch);
            assert_eq!(client.current().slot().identity().unwrap().role, Role::Writer);
        }
        assert_eq!(world.driver.application_connects() - dialled, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_statement_that_had_been_sent_may_have_run() {
        let world = World::new();
        let client = world.settled(&[]).await;
        world.cluster.set_delays("i-1", MS, SECOND);
        let error = meanwhile(client.query("insert"), SECOND / 2, || crash(&world)).await.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED);
        assert!(error.statement_may_have_run());
    }

    #[tokio::test(start_paused = true)]
    async fn one_reader_that_knows_the_new_writer_is_enough() {
        let world = World::of(&["i-1", "i-2", "i-3", "i-4"]);
        let client = world.settled(&[]).await;
        for outdated in ["i-3", "i-4"] {
            world.cluster.set_outdated_view(outdated, "i-1");
        }
        crash(&world);
        assert_eq!(client.query("select 1").await.unwrap_err().host(), Some(&world.key("i-2")));
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn topologies_that_are_outdated_for_five_seconds_are_waited_out() {
        let world = World::new();
        let client = world.settled(&[]).await;
        for outdated in common::THREE {
            world.cluster.set_outdated_view(outdated, "i-1");
        }
        crash(&world);
        let update = || common::THREE.iter().for_each(|name| world.cluster.update_view(name));
        let (result, took) = timed(meanwhile(client.query("select 1"), SECOND * 5, update)).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-2")));
        assert!(took >= SECOND * 5 && took < SECOND * 5 + 200 * MS, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_by_topology_is_no_writer_before_its_role_says_so() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.cluster.set_role("i-2", Role::Reader);
        let open = || world.cluster.set_role("i-2", Role::Writer);
        let (result, took) = timed(meanwhile(client.query("select 1"), SECOND * 3, open)).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-2")));
        assert!(took >= SECOND * 3 && took < SECOND * 3 + 200 * MS, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_writer_that_refuses_three_connects_is_tried_a_fourth_time() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        crash(&world);
        world.driver.plan(On::Connect, "i-2", 3, Outcome::Fails(DriverClass::Network));
        let (result, took) = timed(client.query("select 1")).await;
        let error = result.unwrap_err();
        assert_eq!(error.failover_report().unwrap().attempts, 4);
        assert!(took < SECOND * 2, "{took:?}");
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_writer_that_refuses_the_monitor_too_is_found() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        for on in [On::Connect, On::Monitor] {
            world.driver.plan(on, "i-2", 3, Outcome::Fails(DriverClass::Network));
        }
        assert_eq!(client.query("select 1").await.unwrap_err().kind(), SUCCEEDED);
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_that_flips_between_two_connects_leads_to_another_attempt() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        crash(&world);
        world.driver.answer_roles("i-2", &[Role::Reader, Role::Reader]);
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.failover_report().unwrap().attempts, 3);
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert_eq!(world.services.status().connections[&world.key("i-2")], 2, "ours and the monitor's");
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_name_that_leads_to_the_old_writer_for_a_minute_does_no_harm() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.cluster.set_reach("i-1", Reach::Up);
        assert_eq!(client.query("select 1").await.unwrap_err().host(), Some(&world.key("i-2")));
        // The alias still leads to i-1.
        let another = world.client(common::WRITER, &[]).await;
        assert_eq!(another.query("insert").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_new_writer_costs_one_connect_limit_and_not_the_whole_failover() {
        let world = World::new();
        let client = world.settled(&[APART, ("failover_connect_timeout_ms", "500")]).await;
        crash(&world);
        world.driver.plan(On::Connect, "i-2", 1, Outcome::Never);
        let (result, took) = timed(client.query("select 1")).await;
        assert_eq!(result.unwrap_err().failover_report().unwrap().attempts, 2);
        assert!(took < SECOND * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_restarts_is_used_again() {
        let world = World::of(&["i-1"]);
        let client = world.settled(&[]).await;
        world.cluster.set_reach("i-1", Reach::Refuses);
        let back = || world.cluster.set_reach("i-1", Reach::Up);
        let (result, took) = timed(meanwhile(client.query("select 1"), SECOND * 20, back)).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-1")));
        assert!(took < SECOND * 21, "{took:?}");
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
    }

    #[tokio::test(start_paused = true)]
    async fn the_session_is_restored_before_the_new_connection_is_used() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.logical().session().set("search_path = a");
        crash(&world);
        client.query("select 1").await.unwrap_err();
        client.query("select 1").await.unwrap();
        assert_eq!(world.driver.configured(), [world.key("i-2")]);
        assert_eq!(client.current().settings(), ["search_path = a"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lost_while_the_session_is_restored_is_not_the_last_attempt() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.driver.plan(On::Configure, "i-2", 1, Outcome::Fails(DriverClass::Network));
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED, "{error:#}");
        assert_eq!(error.failover_report().unwrap().attempts, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn settings_that_cannot_be_restored_fail_the_failover_and_leave_no_half_made_session() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.driver.plan(On::Configure, "i-2", 1, Outcome::FailsWith(DriverClass::Other, "42704"));
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.kind(), FAILED);
        assert!(!client.logical().has_parked());
        assert_eq!(
            client.query("select 1").await.unwrap_err().kind(),
            SUCCEEDED,
            "the next call tries again"
        );
    }
}

mod switchover {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_write_moves_the_session_when_the_host_is_a_reader_now() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let (mut heard, old) = (world.listen(), Arc::clone(client.current().slot()));
        world.cluster.promote("i-2");
        assert_eq!(client.query("select 1").await.unwrap(), "i-1", "reads go on");
        let error = client.query("insert").await.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED);
        assert_eq!(error.driver_class(), Some(DriverClass::Role));
        assert!(!error.statement_may_have_run(), "it was refused");
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert_eq!(heard.hosts_down(), [], "a reader is not down");
        assert!(old.has_ended());
    }

    #[tokio::test(start_paused = true)]
    async fn the_users_own_read_only_transaction_is_left_alone() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        client.call(Method::Begin, "begin read only").await.unwrap();
        let error = client.query("insert").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Role));
        assert_eq!(error.sqlstate(), Some("25006"));
        client.call(Method::Rollback, "rollback").await.unwrap();
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
        assert_eq!(heard.failovers(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_refused_in_a_transaction_moves_the_session_and_rolls_the_old_one_back() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        world.cluster.promote("i-2");
        let error = client.query("insert").await.unwrap_err();
        assert_eq!(error.kind(), UNKNOWN);
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
        assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction);
        assert_eq!(world.driver.rolled_back(), 1);
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert_eq!(client.current().slot().transaction(), TransactionState::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_refused_by_a_demoted_writer_is_a_lost_transaction() {
        let world = World::new();
        world.driver.refuse_commits();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        client.query("insert").await.unwrap();
        world.cluster.promote("i-2");
        let error = client.commit().await.unwrap_err();
        // The server's answer to the question about its role says that no transaction is open: it has rolled back.
        assert_eq!(error.kind(), UNKNOWN);
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
        assert_eq!(error.retry_advice(), RetryAdvice::RetryTransaction);
    }

    #[tokio::test(start_paused = true)]
    async fn without_rollback_on_switch_the_old_connection_is_closed_as_it_is() {
        let world = World::new();
        let client = world.settled(&[("rollback_on_switch", "false")]).await;
        client.begin().await.unwrap();
        world.cluster.promote("i-2");
        assert_eq!(client.query("insert").await.unwrap_err().kind(), UNKNOWN);
        assert_eq!(world.driver.rolled_back(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn reader_sessions_stay_where_they_are() {
        let world = World::new();
        let writer = world.settled(&[]).await;
        let reader = world.client("i-3", &[("failover_mode", "strict-reader")]).await;
        let mut heard = world.listen();
        world.cluster.promote("i-2");
        assert!(writer.query("insert").await.unwrap_err().is_failover_success());
        assert_eq!(reader.query("select 1").await.unwrap(), "i-3");
        let error = reader.query("insert").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Role), "nobody promised it a writer");
        assert_eq!(heard.failovers(), [FailoverOutcome::Succeeded]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_only_refuses_for_a_moment_is_not_left() {
        let world = World::new();
        let client = world.settled(&[]).await;
        world.driver.plan(On::Call, "i-1", 1, Outcome::FailsWith(DriverClass::Role, "25006"));
        let error = client.query("insert").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Role));
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
    }
}

mod session_terminated {
    use super::*;

    fn idle_timeout() -> EndReason {
        EndReason::new(DriverClass::SessionTerminated, Some("57P05".into()), "idle-session timeout")
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_host_is_used_again_and_not_blamed() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let (mut heard, asked) = (world.listen(), world.verify_requests());
        world.cluster.end_connections("i-1", &idle_timeout());
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.kind(), SUCCEEDED);
        assert_eq!(error.host(), Some(&world.key("i-1")));
        assert_eq!(error.failover_report().unwrap().attempts, 1);
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
        assert_eq!(heard.hosts_down(), []);
        assert_eq!(world.verify_requests(), asked, "nobody was asked for a proof");
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_transaction_is_lost_all_the_same() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        world.cluster.end_connections("i-1", &idle_timeout());
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (UNKNOWN, Some(&world.key("i-1"))));
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
    }

    #[tokio::test(start_paused = true)]
    async fn when_the_host_is_no_writer_any_more_the_writer_is_looked_for() {
        let world = World::new();
        let client = world.settled(&[]).await;
        world.cluster.promote("i-2");
        world.cluster.end_connections("i-1", &idle_timeout());
        assert_eq!(client.query("select 1").await.unwrap_err().host(), Some(&world.key("i-2")));
    }
}

mod transactions {
    use super::*;

    /// What becomes of `method` when the connection breaks while it is under way.
    async fn lose(client: &FakeClient, world: &World, method: Method, sql: &str) -> aws_wrapper_core::Error {
        world.cluster.set_delays("i-1", MS, SECOND);
        meanwhile(client.call(method, sql), SECOND / 2, || crash(world)).await.unwrap_err()
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_transaction_is_rolled_back() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        client.query("insert").await.unwrap();
        let error = lose(&client, &world, Method::Query, "insert").await;
        assert_eq!((error.kind(), error.sqlstate()), (UNKNOWN, Some("08007")));
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
        assert!(error.failover_report().unwrap().was_in_transaction);
        assert_eq!(client.current().slot().end_reason().unwrap().class, DriverClass::Network);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_in_flight_is_unknown() {
        for (method, sql) in [
            (Method::Commit, "commit"),
            (Method::SimpleQuery, "commit"),
            (Method::BatchExecute, "insert into t values (1); commit"),
            (Method::Query, "call p()"),
        ] {
            let world = World::new();
            let client = world.settled(&[]).await;
            client.begin().await.unwrap();
            let error = lose(&client, &world, method, sql).await;
            assert_eq!(error.kind(), UNKNOWN, "{sql}");
            assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown, "{sql}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_that_was_never_sent_did_not_happen() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        crash(&world);
        let error = client.commit().await.unwrap_err();
        assert_eq!(error.kind(), UNKNOWN);
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack);
        assert!(!error.statement_may_have_run());
    }

    #[tokio::test(start_paused = true)]
    async fn a_savepoint_rolled_back_does_not_end_the_transaction() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        client.call(Method::Savepoint, "savepoint a").await.unwrap();
        client.call(Method::Rollback, "rollback to a").await.unwrap();
        let error = lose(&client, &world, Method::Query, "select 1").await;
        assert_eq!((error.kind(), error.transaction_outcome()), (UNKNOWN, TransactionOutcome::RolledBack));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_transaction_is_still_lost_work() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        world.driver.plan(On::Call, "i-1", 1, Outcome::FailsWith(DriverClass::Other, "23505"));
        client.query("insert").await.unwrap_err();
        assert_eq!(client.current().slot().transaction(), TransactionState::Failed);
        crash(&world);
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.transaction_outcome()), (UNKNOWN, TransactionOutcome::RolledBack));
    }

    #[tokio::test(start_paused = true)]
    async fn a_begin_in_flight_had_no_work_to_lose() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let error = lose(&client, &world, Method::Begin, "begin").await;
        assert_eq!(error.kind(), SUCCEEDED);
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_on_its_way_is_unknown_whatever_the_state_was_known_to_be() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let error = lose(&client, &world, Method::Commit, "commit").await;
        assert_eq!((error.kind(), error.transaction_outcome()), (UNKNOWN, TransactionOutcome::Unknown));
    }

    #[tokio::test(start_paused = true)]
    async fn a_commit_as_text_outside_a_transaction_loses_nothing() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let error = lose(&client, &world, Method::Query, "commit").await;
        let told = (error.kind(), error.transaction_outcome());
        assert_eq!(told, (SUCCEEDED, TransactionOutcome::NotInTransaction));
    }

    #[tokio::test(start_paused = true)]
    async fn the_second_failover_knows_nothing_of_the_first_ones_transaction() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        let error = lose(&client, &world, Method::Commit, "commit").await;
        assert_eq!(error.transaction_outcome(), TransactionOutcome::Unknown);
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
        world.cluster.set_reach("i-2", Reach::Refuses);
        world.cluster.promote("i-3");
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(
            (error.kind(), error.transaction_outcome()),
            (SUCCEEDED, TransactionOutcome::NotInTransaction)
        );
        assert_eq!(client.query("select 1").await.unwrap(), "i-3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_lost_before_it_was_adopted_is_replaced_again() {
        let world = World::new();
        let client = world.settled(&[]).await;
        client.begin().await.unwrap();
        crash(&world);
        assert_eq!(client.query("select 1").await.unwrap_err().kind(), UNKNOWN);
        world.cluster.set_reach("i-2", Reach::Refuses);
        world.cluster.promote("i-3");
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-3"))));
        assert_eq!(client.query("select 1").await.unwrap(), "i-3");
    }
}

mod limits {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn three_refused_logins_end_the_search() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        crash(&world);
        world.cluster.set_login("app", false);
        let (result, took) = timed(client.query("select 1")).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FAILED);
        let report = error.failover_report().unwrap();
        assert_eq!(report.attempts, 3);
        assert!(report.last_error.as_ref().unwrap().contains("password authentication failed"), "{report:?}");
        assert!(error.to_string().to_lowercase().contains("login"), "{error}");
        assert!(took < SECOND * 5, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn two_refused_logins_do_not() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        crash(&world);
        world.driver.plan(On::Connect, "i-2", 2, Outcome::FailsWith(DriverClass::Login, "28P01"));
        assert_eq!(client.query("select 1").await.unwrap_err().kind(), SUCCEEDED);
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_are_refused_for_twenty_seconds_are_recovered_from() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.cluster.set_login("app", false);
        let waiting = async {
            let mut failed = 0;
            loop {
                match client.query("select 1").await {
                    Ok(name) => break (name, failed),
                    Err(error) if error.kind() == FAILED => failed += 1,
                    Err(error) => assert_eq!(error.kind(), SUCCEEDED),
                }
                sleep(SECOND).await;
            }
        };
        let ((name, failed), took) =
            timed(meanwhile(waiting, SECOND * 20, || world.cluster.set_login("app", true))).await;
        assert_eq!((name.as_str(), failed), ("i-2", 0), "as long as a host is down there is hope");
        assert!(took < SECOND * 35, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn credentials_that_every_host_refuses_are_told_at_once() {
        let world = World::new();
        let client = world.settled(&[]).await;
        crash(&world);
        world.cluster.set_reach("i-1", Reach::Up);
        world.cluster.set_login("app", false);
        let (result, took) = timed(client.query("select 1")).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FAILED);
        assert!(error.to_string().contains("password authentication failed"), "{error}");
        assert!(took < SECOND * 20, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_database_ends_the_search_at_once() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        crash(&world);
        world.driver.plan(On::Connect, "i-2", 9, Outcome::FailsWith(DriverClass::Other, "3D000"));
        let (result, took) = timed(client.query("select 1")).await;
        assert_eq!(result.unwrap_err().kind(), FAILED);
        assert!(took < SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_deadline_it_fails_and_the_next_call_searches_again() {
        let world = World::new();
        let client = world.settled(&[("failover_timeout_ms", "3s")]).await;
        let mut heard = world.listen();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        for _ in 0..2 {
            let (result, took) = timed(client.query("select 1")).await;
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.sqlstate()), (FAILED, Some("08001")));
            assert_eq!(error.retry_advice(), RetryAdvice::Reconnect);
            assert!(!error.connection_usable());
            assert!(error.to_string().contains("connection refused"), "the last cause is told: {error}");
            assert!(took >= SECOND * 3 && took < SECOND * 3 + 100 * MS, "{took:?}");
        }
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Up);
        }
        assert_eq!(client.query("select 1").await.unwrap_err().kind(), SUCCEEDED);
        assert_eq!(client.query("insert").await.unwrap(), "i-1");
        use FailoverOutcome::{Failed, Succeeded};
        assert_eq!(heard.failovers(), [Failed, Failed, Succeeded]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_transaction_is_reported_also_by_the_search_that_follows_a_failed_one() {
        let world = World::new();
        let client = world.settled(&[("failover_timeout_ms", "1s")]).await;
        client.begin().await.unwrap();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.transaction_outcome()), (FAILED, TransactionOutcome::RolledBack));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_of_ten_minutes_is_survived_at_a_slow_pace() {
        let world = World::new();
        let client = world.settled(&[("failover_timeout_ms", "15m")]).await;
        let before = world.driver.connects().len();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let back = || common::THREE.iter().for_each(|name| world.cluster.set_reach(name, Reach::Up));
        let (result, took) = timed(meanwhile(client.query("select 1"), SECOND * 600, back)).await;
        assert_eq!(result.unwrap_err().kind(), SUCCEEDED);
        assert!(took < SECOND * 603, "{took:?}");
        let attempts = world.driver.connects().len() - before;
        assert!(attempts < 3 * 2_500, "{attempts} attempts");
    }
}

mod crowds {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_calls_that_fail_together_share_one_failover() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        let (mut heard, before) = (world.listen(), world.driver.application_connects());
        world.cluster.set_delays("i-1", MS, SECOND);
        let calls = all((0..100).map(|_| client.query("select 1")));
        let results = meanwhile(calls, SECOND / 2, || crash(&world)).await;
        for result in results {
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-2"))));
            assert_eq!(error.failover_report().unwrap().attempts, 1);
            assert!(error.statement_may_have_run());
        }
        assert_eq!(heard.failovers(), [FailoverOutcome::Succeeded]);
        assert_eq!(world.driver.application_connects() - before, 1);
        assert_eq!(client.query("select 1").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_find_the_connection_closed_share_it_too() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        crash(&world);
        for result in all((0..100).map(|_| client.query("select 1"))).await {
            assert!(!result.unwrap_err().statement_may_have_run());
        }
        assert_eq!(heard.failovers(), [FailoverOutcome::Succeeded]);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_that_fail_together_are_told_of_one_failed_search() {
        let world = World::new();
        let client = world.settled(&[("failover_timeout_ms", "3s")]).await;
        let mut heard = world.listen();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let (results, took) = timed(all((0..100).map(|_| client.query("select 1")))).await;
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), FAILED);
            assert!(error.to_string().contains("connection refused"), "{error}");
        }
        assert!(took < SECOND * 3 + 100 * MS, "{took:?}");
        assert_eq!(heard.failovers(), [FailoverOutcome::Failed]);
        assert_eq!(client.query("select 1").await.unwrap_err().kind(), FAILED);
        assert_eq!(heard.failovers(), [FailoverOutcome::Failed], "the next call has searched again");
    }

    #[tokio::test(start_paused = true)]
    async fn five_hundred_sessions_ask_for_one_proof_and_do_not_flood_the_new_writer() {
        let world = World::new();
        let connector = world.connector(common::WRITER, &[APART, ("pool_max_opening_per_host", "8")]);
        let clients = all((0..500).map(|_| FakeClient::connect(&connector))).await;
        let clients: Vec<_> = clients.into_iter().map(|client| client.unwrap()).collect();
        sleep(SECOND * 2).await;
        let before = world.services.status().clusters[0].clone();
        let dialled = world.driver.connects().len();
        world.cluster.set_delays("i-2", 10 * MS, Duration::ZERO);
        for client in &clients[..250] {
            client.begin().await.unwrap();
        }
        crash(&world);
        let results = all(clients.iter().map(|client| client.query("select 1"))).await;
        for (index, result) in results.into_iter().enumerate() {
            let error = result.unwrap_err();
            assert_eq!(error.kind(), if index < 250 { UNKNOWN } else { SUCCEEDED });
            assert_eq!(error.failover_report().unwrap().attempts, 1);
        }
        let after = &world.services.status().clusters[0];
        assert!(after.panics - before.panics <= 1, "{after:?}");
        assert_eq!(after.verify_requests - before.verify_requests, 500);
        assert!(after.coalesced_requests - before.coalesced_requests >= 498, "{after:?}");
        let dials: Vec<_> = world.driver.connects()[dialled..]
            .iter()
            .filter(|dial| dial.purpose == Purpose::Switch)
            .map(|dial| dial.at)
            .collect();
        assert_eq!(dials.len(), 500);
        // Each takes 10 ms, so the ninth can only begin when the first is through.
        assert!(dials.windows(9).all(|dials| dials[8] - dials[0] >= 10 * MS));
        for client in &clients {
            assert_eq!(client.query("select 1").await.unwrap(), "i-2");
        }
    }
}

mod readers {
    use super::*;

    const STRICT: &[(&str, &str)] = &[("failover_mode", "strict-reader")];

    #[tokio::test(start_paused = true)]
    async fn a_strict_reader_goes_to_another_reader() {
        let world = World::new();
        let client = world.client("i-2", STRICT).await;
        sleep(SECOND * 2).await;
        world.cluster.set_reach("i-2", Reach::Refuses);
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-3"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_strict_reader_waits_for_a_reader_and_never_takes_the_writer() {
        let world = World::of(&["i-1", "i-2"]);
        let client = world.client("i-2", STRICT).await;
        sleep(SECOND * 2).await;
        world.cluster.set_reach("i-2", Reach::Refuses);
        let back = || world.cluster.set_reach("i-2", Reach::Up);
        let (result, took) = timed(meanwhile(client.query("select 1"), SECOND * 10, back)).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-2")));
        assert!(took >= SECOND * 10 && took < SECOND * 12, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_strict_reader_takes_the_old_writer_when_its_host_was_promoted() {
        let world = World::of(&["i-1", "i-2"]);
        let client = world.client("i-2", STRICT).await;
        sleep(SECOND * 2).await;
        world.cluster.promote("i-2");
        world.cluster.kill_connections("i-2");
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-1"))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_strict_reader_in_a_cluster_of_one_is_told_what_to_do() {
        let world = World::of(&["i-1"]);
        let client = world.client("i-1", STRICT).await;
        sleep(SECOND * 2).await;
        world.cluster.kill_connections("i-1");
        let (result, took) = timed(client.query("select 1")).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), FAILED);
        assert!(error.to_string().contains("reader-or-writer"), "{error}");
        assert!(took < SECOND * 5, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn by_the_reader_endpoint_readers_come_first_and_then_the_writer() {
        let world = World::new();
        let client = world.client(READER, &[]).await;
        assert_ne!(client.current().name(), "i-1");
        sleep(SECOND * 2).await;
        for name in ["i-2", "i-3"] {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let dialled = world.driver.connects().len();
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-1"))));
        let tried: Vec<_> = world.driver.connects()[dialled..]
            .iter()
            .filter(|dial| dial.purpose == Purpose::Switch)
            .map(|dial| dial.host.clone())
            .collect();
        let first_writer = tried.iter().position(|host| *host == world.key("i-1")).unwrap();
        for name in ["i-2", "i-3"] {
            assert!(tried[..first_writer].contains(&world.key(name)), "{tried:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn by_the_reader_endpoint_a_live_reader_is_preferred_to_the_writer() {
        for _ in 0..20 {
            let world = World::of(&["i-1", "i-2", "i-3", "i-4"]);
            let client = world.client(READER, &[]).await;
            sleep(SECOND * 2).await;
            let lost = client.current().name().to_owned();
            world.cluster.set_reach(&lost, Reach::Refuses);
            let error = client.query("select 1").await.unwrap_err();
            assert_ne!(error.host(), Some(&world.key("i-1")));
            assert_ne!(error.host(), Some(&world.key(&lost)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reader_or_writer_in_a_cluster_of_one_comes_back_to_it() {
        let world = World::of(&["i-1"]);
        let client = world.client(READER, &[]).await;
        sleep(SECOND * 2).await;
        world.cluster.kill_connections("i-1");
        let (result, took) = timed(client.query("select 1")).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-1")));
        assert!(took < SECOND, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn readers_marked_down_by_others_are_tried_when_there_is_no_better() {
        let world = World::new();
        let client = world.client("i-2", STRICT).await;
        sleep(SECOND * 2).await;
        // i-3 was down a moment ago, and nobody has tried it since.
        world.cluster.set_reach("i-3", Reach::Refuses);
        world.connector("i-3", &[("plugins", "")]).connect().await.unwrap_err();
        world.cluster.set_reach("i-3", Reach::Up);
        world.cluster.set_reach("i-2", Reach::Refuses);
        let (result, took) = timed(client.query("select 1")).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-3")));
        assert!(took < SECOND, "{took:?}");
    }
}

mod no_failover {
    use super::*;

    async fn unchanged(world: &World, client: &FakeClient) {
        let mut heard = world.listen();
        crash(world);
        let error = client.query("select 1").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network));
        assert!(error.failover_report().is_none());
        assert_eq!(heard.failovers(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn behind_a_proxy_errors_pass_unchanged() {
        let world = World::new();
        let client = world.client(PROXY, &[("plugins", "failover")]).await;
        unchanged(&world, &client).await;
    }

    #[tokio::test(start_paused = true)]
    async fn with_one_plain_host_errors_pass_unchanged() {
        let mut world = World::new();
        world.driver = world.driver.plain();
        let client = world.client("i-1", &[("plugins", "failover")]).await;
        unchanged(&world, &client).await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_plugins_errors_pass_unchanged() {
        let world = World::new();
        let client = world.client("i-1", &[("plugins", "")]).await;
        unchanged(&world, &client).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_about_the_connection_passes_unchanged() {
        let world = World::new();
        let client = world.settled(&[]).await;
        let mut heard = world.listen();
        for (class, code) in [
            (DriverClass::Other, "23505"),
            (DriverClass::Other, "53300"),
            (DriverClass::Other, "XX000"),
            (DriverClass::Cancelled, "57014"),
            (DriverClass::Login, "28P01"),
        ] {
            world.driver.plan(On::Call, "i-1", 1, Outcome::FailsWith(class, code));
            let error = client.query("select 1").await.unwrap_err();
            assert_eq!((error.driver_class(), error.sqlstate()), (Some(class), Some(code)));
            assert_eq!(client.query("select 1").await.unwrap(), "i-1");
        }
        assert_eq!(heard.failovers(), []);
    }
}

mod fixed_list {
    use super::*;

    fn connector(world: &World, pairs: &[(&str, &str)]) -> Connector<FakeDriver> {
        let hosts = common::THREE.iter().map(|name| world.key(name)).collect();
        let driver = world.driver.clone().plain();
        Connector::builder(driver, config(pairs), hosts).services(world.services.clone()).build().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_writer_is_found_by_asking_each_host() {
        let world = World::new();
        let client = FakeClient::connect(&connector(&world, &[("plugins", "failover")])).await.unwrap();
        world.cluster.set_reach("i-1", Reach::Refuses);
        world.cluster.promote("i-3");
        let error = client.query("insert").await.unwrap_err();
        assert_eq!((error.kind(), error.host()), (SUCCEEDED, Some(&world.key("i-3"))));
        assert_eq!(client.query("insert").await.unwrap(), "i-3");
    }

    #[tokio::test(start_paused = true)]
    async fn a_promotion_that_takes_its_time_is_waited_for() {
        let world = World::new();
        let client = FakeClient::connect(&connector(&world, &[("plugins", "failover")])).await.unwrap();
        world.cluster.set_reach("i-1", Reach::Refuses);
        let promote = || world.cluster.promote("i-2");
        let (result, took) = timed(meanwhile(client.query("insert"), SECOND * 7, promote)).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-2")));
        assert!(took < SECOND * 9, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_host_of_the_list_does_not_eat_the_whole_time() {
        let world = World::new();
        let pairs = [("plugins", "failover"), ("failover_connect_timeout_ms", "1s")];
        let client = FakeClient::connect(&connector(&world, &pairs)).await.unwrap();
        world.cluster.kill_connections("i-1");
        world.cluster.set_reach("i-1", Reach::Silent);
        world.cluster.promote("i-2");
        let (result, took) = timed(client.query("insert")).await;
        assert_eq!(result.unwrap_err().host(), Some(&world.key("i-2")));
        assert!(took < SECOND * 3, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_demoted_writer_is_left() {
        let world = World::new();
        let client = FakeClient::connect(&connector(&world, &[("plugins", "failover")])).await.unwrap();
        world.cluster.promote("i-2");
        assert_eq!(client.query("insert").await.unwrap_err().host(), Some(&world.key("i-2")));
    }

    #[tokio::test(start_paused = true)]
    async fn readers_are_found_the_same_way_and_the_writer_only_in_the_second_round() {
        for (mode, down, expected) in [
            ("strict-reader", "i-2", "i-3"),
            ("reader-or-writer", "i-2", "i-3"),
            ("reader-or-writer", "i-3", "i-2"),
        ] {
            let world = World::new();
            let connector = connector(&world, &[("plugins", "failover"), ("failover_mode", mode)]);
            let client = FakeClient::connect(&connector).await.unwrap();
            world.cluster.kill_connections("i-1");
            world.cluster.set_reach(down, Reach::Refuses);
            assert_eq!(
                client.query("select 1").await.unwrap_err().host(),
                Some(&world.key(expected)),
                "{mode}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn reader_or_writer_ends_on_the_writer_when_no_reader_is_left() {
        let world = World::new();
        let connector = connector(&world, &[("plugins", "failover"), ("failover_mode", "reader-or-writer")]);
        let client = FakeClient::connect(&connector).await.unwrap();
        world.cluster.kill_connections("i-1");
        for name in ["i-2", "i-3"] {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        assert_eq!(client.query("select 1").await.unwrap_err().host(), Some(&world.key("i-1")));
    }
}

mod on_connect {
    use super::*;

    const ON: &[(&str, &str)] = &[("plugins", "failover"), ("enable_connect_failover", "true")];

    #[tokio::test(start_paused = true)]
    async fn it_is_off_unless_asked_for() {
        let world = World::new();
        let _other = world.settled(&[]).await;
        world.cluster.set_reach("i-3", Reach::Refuses);
        let error = world.connector("i-3", &[]).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network));
        assert_eq!(error.host(), Some(&world.key("i-3")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_known_cluster_gives_another_host_and_no_error() {
        let world = World::new();
        let connector = world.connector("i-1", ON);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        crash(&world);
        let client = FakeClient::connect(&connector).await.unwrap();
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_error_is_no_reason_to_look_elsewhere() {
        let world = World::new();
        let connector = world.connector("i-1", ON);
        let _first = FakeClient::connect(&connector).await.unwrap();
        world.driver.plan(On::Connect, "i-1", 1, Outcome::FailsWith(DriverClass::Login, "28P01"));
        assert_eq!(connector.connect().await.unwrap_err().kind(), ErrorKind::Login);
    }

    #[tokio::test(start_paused = true)]
    async fn when_nobody_is_left_the_first_error_is_told() {
        let world = World::new();
        let connector = world.connector("i-1", &[ON[0], ON[1], ("failover_timeout_ms", "2s")]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let (result, took) = timed(connector.connect()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Driver(DriverClass::Network));
        assert!(took < SECOND * 3, "{took:?}");
    }
}

mod events {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_dropped_failover_is_finished_too_and_the_next_call_starts_another() {
        for times in 0..40 {
            let world = World::new();
            let client = world.settled(&[]).await;
            let mut heard = world.listen();
            crash(&world);
            let dropped = drop_after(times, client.query("select 1")).await;
            let ended = heard.failovers();
            assert!(ended.len() <= 1);
            if dropped.is_none() {
                assert_ne!(ended, [FailoverOutcome::Succeeded], "after {times} polls");
                assert_eq!(
                    client.query("select 1").await.unwrap_err().kind(),
                    SUCCEEDED,
                    "after {times} polls"
                );
                assert_eq!(heard.failovers(), [FailoverOutcome::Succeeded]);
            }
            assert_eq!(client.query("insert").await.unwrap(), "i-2");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_event_says_is_what_the_error_says() {
        let world = World::new();
        let client = world.settled(&[APART]).await;
        let mut heard = world.listen();
        crash(&world);
        world.driver.plan(On::Connect, "i-2", 1, Outcome::Fails(DriverClass::Network));
        let error = client.query("select 1").await.unwrap_err();
        let report = error.failover_report().unwrap().clone();
        let finished = heard.all().into_iter().find_map(|event| match event {
            aws_wrapper_core::events::Event::FailoverFinished {
                host,
                new_host,
                outcome,
                elapsed,
                search,
                attempts,
            } => Some((host, new_host, outcome, elapsed, search, attempts)),
            _ => None,
        });
        let (host, new_host, outcome, elapsed, search, attempts) = finished.unwrap();
        assert_eq!((Some(host), new_host), (report.old_host, report.new_host));
        assert_eq!(
            (outcome, elapsed, attempts),
            (FailoverOutcome::Succeeded, report.elapsed, report.attempts)
        );
        assert!(search <= elapsed && attempts == 2);
    }
}
