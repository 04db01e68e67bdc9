//! The writer is lost, or stops being the writer.

use std::time::Duration;

use aurora_sim::FailoverOptions;
use aws_wrapper_core::error::{FailoverOutcome, TransactionOutcome};
use integration_tests::{
    Adapter, Expected, SOON, Session, eventually, failovers, host_down, noticed, on_cluster, spawn, switched,
};
use tokio::time::{Instant, sleep};

use super::Driver;

#[test]
fn after_the_loss_of_the_writer_one_call_fails_and_the_next_one_works() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut events = Driver::services(&connector).subscribe();
        let mut session = Driver::connect(&connector).await.unwrap();
        assert_eq!(session.who().await.unwrap(), "instance-1");

        let report = cluster.replace_writer().await;
        noticed(&session).await;
        let error = session.who().await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key(&report.new_writer),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        // Where the loss was known nothing was sent. The tracker may have told it where the driver does not.
        if <Driver as Adapter>::Session::NOTICES_IDLE_LOSS {
            assert!(!error.statement_may_have_run(), "{error:?}");
        }
        assert_eq!(session.who().await.unwrap(), report.new_writer);
        assert_eq!(session.run("INSERT INTO log VALUES (1)").await.unwrap(), 1);
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]));
    });
}

#[test]
fn a_statement_under_way_may_have_run() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let call =
            spawn(
                async move { (session.run(<Driver as Adapter>::Session::SLEEP).await.unwrap_err(), session) },
            );
        sleep(Duration::from_millis(100)).await;
        cluster.kill("instance-1").await.unwrap();
        // A second without any writer.
        let options = FailoverOptions::default().to("instance-3").promote_after(Duration::from_secs(1));
        cluster.failover(options).await.unwrap();
        let (error, mut session) = call.await.unwrap();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-3"),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert!(error.statement_may_have_run(), "{error:?}");
        assert_eq!(session.who().await.unwrap(), "instance-3");
    });
}

#[test]
fn a_graceful_restart_leads_back_to_the_same_writer() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let call =
            spawn(
                async move { (session.run(<Driver as Adapter>::Session::SLEEP).await.unwrap_err(), session) },
            );
        sleep(Duration::from_millis(100)).await;
        cluster.restart("instance-1").await.unwrap();
        let (error, mut session) = call.await.unwrap();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-1"),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert_eq!(session.who().await.unwrap(), "instance-1");
    });
}

#[test]
fn a_reset_connection_is_replaced_at_once() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        for _ in 0..3 {
            session.who().await.unwrap();
            cluster.cut("instance-1", &session).await;
            let start = Instant::now();
            let error = session.who().await.unwrap_err();
            switched(
                &error,
                &Expected {
                    old: cluster.key("instance-1"),
                    new: cluster.key("instance-1"),
                    transaction: TransactionOutcome::NotInTransaction,
                },
            );
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            assert_eq!(session.who().await.unwrap(), "instance-1");
        }
    });
}

/// The old writer lives on as a reader; only its refusals tell.
#[test]
fn a_switchover_moves_the_writers_sessions_and_leaves_the_readers_alone() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let services = cluster.services();
        let connector = cluster.connector_with::<Driver>(&services, &cluster.endpoint(), &[]).unwrap();
        let reading = [("initial_connection_host_selector_strategy", "random")];
        let readers =
            cluster.connector_with::<Driver>(&services, &cluster.reader_endpoint(), &reading).unwrap();
        let mut session = Driver::connect(&connector).await.unwrap();
        let mut reader = Driver::connect(&readers).await.unwrap();
        let read_at = reader.who().await.unwrap();
        let mut events = services.subscribe();

        cluster.switchover(Some("instance-2")).await.unwrap();
        // Reads go on where they were.
        assert_eq!(session.ask("SELECT count(*) FROM log").await.unwrap(), "0");
        let error = session.run("INSERT INTO log VALUES (1)").await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-2"),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert!(!error.statement_may_have_run(), "it was refused: {error:?}");
        assert_eq!(session.run("INSERT INTO log VALUES (1)").await.unwrap(), 1);
        assert_eq!(reader.who().await.unwrap(), read_at);
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]));
    });
}

#[test]
fn a_switchover_in_a_transaction_rolls_it_back() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let mut events = Driver::services(&connector).subscribe();
        session.run("BEGIN").await.unwrap();
        session.ask("SELECT count(*) FROM log").await.unwrap();
        cluster.switchover(Some("instance-2")).await.unwrap();
        let error = session.run("INSERT INTO log VALUES (1)").await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-2"),
                transaction: TransactionOutcome::RolledBack,
            },
        );
        session.run("INSERT INTO log VALUES (2)").await.unwrap();
        assert_eq!(session.ask("SELECT sum(id) FROM log").await.unwrap(), "2");
        assert!(host_down(&mut events).is_empty(), "the old writer works");
    });
}

#[test]
fn when_all_hosts_are_down_the_call_waits_for_the_writer() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        cluster.down_all().await.unwrap();
        let call = spawn(async move { (session.who().await.unwrap_err(), session) });
        sleep(Duration::from_secs(2)).await;
        assert!(!call.is_finished(), "nobody could answer");
        cluster.up_all().await.unwrap();
        let start = Instant::now();
        let (error, mut session) = call.await.unwrap();
        switched(
            &error,
            &Expected {
                old: cluster.key("instance-1"),
                new: cluster.key("instance-1"),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(session.who().await.unwrap(), "instance-1");
    });
}

#[test]
fn a_failover_that_takes_too_long_fails_and_the_next_call_tries_again() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("failover_timeout_ms", "1000")]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let mut events = Driver::services(&connector).subscribe();
        cluster.down_all().await.unwrap();
        for _ in 0..2 {
            let start = Instant::now();
            let error = session.who().await.unwrap_err();
            assert_eq!(error.sqlstate(), Some("08001"), "{error:?}");
            assert!(!error.is_failover_success() && !error.connection_usable(), "{error:?}");
            let report = error.failover_report().unwrap();
            assert!(report.new_host.is_none() && report.last_error.is_some(), "{report:?}");
            assert!((900..2000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
        }
        assert_eq!(failovers(&mut events), (2, vec![FailoverOutcome::Failed; 2]));
        cluster.up_all().await.unwrap();
        // What was lost stays lost, but now there is a host to go on with; a slow machine needs more than one second.
        eventually(Duration::from_secs(10), "the session goes on", async || {
            session.who().await.unwrap_err().is_failover_success()
        })
        .await;
        assert_eq!(session.who().await.unwrap(), "instance-1");
    });
}

#[test]
fn the_second_failover_of_a_session_knows_nothing_of_the_first() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        session.run("BEGIN").await.unwrap();
        let first = cluster.replace_writer().await;
        let error = session.who().await.unwrap_err();
        assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
        session.who().await.unwrap();
        cluster.complete().await;

        let second = cluster.replace_writer().await;
        let error = session.who().await.unwrap_err();
        switched(
            &error,
            &Expected {
                old: cluster.key(&first.new_writer),
                new: cluster.key(&second.new_writer),
                transaction: TransactionOutcome::NotInTransaction,
            },
        );
        assert_eq!(session.who().await.unwrap(), second.new_writer);
    });
}

#[test]
fn connecting_by_a_stale_name_leads_to_the_writer() {
    on_cluster::<Driver>(3, async |cluster| {
        // Nobody follows the move of the name for as long as the test runs.
        cluster.set_dns("my-cluster", Some("instance-1")).await.unwrap();
        let old = cluster.services();
        let connector = cluster.connector_with::<Driver>(&old, &cluster.endpoint(), &[]).unwrap();
        let mut session = Driver::connect(&connector).await.unwrap();
        let report = cluster.replace_writer().await;
        assert!(session.who().await.unwrap_err().is_failover_success());
        cluster.complete().await;
        // The topology is known: the name is not even asked.
        let mut second = Driver::connect(&connector).await.unwrap();
        assert_eq!(second.who().await.unwrap(), report.new_writer);
        // Nothing is known: the name leads to a reader, which knows better.
        for plugins in ["initial_connection,failover", "stale_dns,failover"] {
            let fresh = cluster.connector::<Driver>(&[("plugins", plugins)]);
            let start = Instant::now();
            let mut third = Driver::connect(&fresh).await.unwrap();
            assert_eq!(third.who().await.unwrap(), report.new_writer, "{plugins}");
            assert!(start.elapsed() < SOON, "{plugins}: {:?}", start.elapsed());
        }
    });
}
