//! Sessions that read.

use std::time::Duration;

use aws_wrapper_core::error::{ErrorKind, FailoverOutcome, TransactionOutcome};
use integration_tests::{Adapter, Expected, SOON, Session, on_cluster, switched};
use tokio::time::Instant;

use super::Driver;

#[test]
fn a_reader_that_is_lost_is_replaced_by_another_reader() {
    on_cluster::<Driver>(3, async |cluster| {
        for mode in [None, Some("strict-reader"), Some("reader-or-writer")] {
            let params: Vec<_> = mode.map(|mode| ("failover_mode", mode)).into_iter().collect();
            let connector = cluster.reader_connector::<Driver>(&params);
            let mut session = Driver::connect(&connector).await.unwrap();
            let old = session.who().await.unwrap();
            let new = if old == "instance-2" { "instance-3" } else { "instance-2" };
            cluster.kill(&old).await.unwrap();
            let start = Instant::now();
            let error = session.who().await.unwrap_err();
            switched(
                &error,
                &Expected {
                    old: cluster.key(&old),
                    new: cluster.key(new),
                    transaction: TransactionOutcome::NotInTransaction,
                },
            );
            assert!(start.elapsed() < SOON, "{mode:?}: {:?}", start.elapsed());
            assert_eq!(session.who().await.unwrap(), new);
            cluster.start(&old).await.unwrap();
            cluster.complete().await;
        }
    });
}

#[test]
fn without_a_reader_left_the_writer_serves_reads_if_the_mode_allows_it() {
    on_cluster::<Driver>(2, async |cluster| {
        let strict = [("failover_mode", "strict-reader"), ("failover_timeout_ms", "2000")];
        let strict = cluster.reader_connector::<Driver>(&strict);
        let lenient = cluster.reader_connector::<Driver>(&[]);
        let mut strict = Driver::connect(&strict).await.unwrap();
        let mut lenient = Driver::connect(&lenient).await.unwrap();
        assert_eq!(strict.who().await.unwrap(), "instance-2");
        assert_eq!(lenient.who().await.unwrap(), "instance-2");
        cluster.kill("instance-2").await.unwrap();

        let error = lenient.who().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Succeeded), "{error:?}");
        assert_eq!(lenient.who().await.unwrap(), "instance-1");

        let error = strict.who().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Failed), "{error:?}");
        cluster.start("instance-2").await.unwrap();
        let error = strict.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert_eq!(strict.who().await.unwrap(), "instance-2");
    });
}

#[test]
fn a_cluster_of_one_says_that_it_has_no_reader() {
    on_cluster::<Driver>(1, async |cluster| {
        let connector = cluster.connector::<Driver>(&[("failover_mode", "strict-reader")]);
        let mut session = Driver::connect(&connector).await.unwrap();
        cluster.restart("instance-1").await.unwrap();
        let start = Instant::now();
        let error = session.who().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Failed), "{error:?}");
        assert!(error.to_string().contains("reader-or-writer"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    });
}

#[test]
fn a_session_on_a_reader_that_becomes_the_writer_stays() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.reader_connector::<Driver>(&[]);
        let mut session = Driver::connect(&connector).await.unwrap();
        let reader = session.who().await.unwrap();
        cluster.switchover(Some(&reader)).await.unwrap();
        assert_eq!(session.who().await.unwrap(), reader);
    });
}

#[test]
fn connections_by_the_reader_endpoint_are_spread_over_the_readers() {
    on_cluster::<Driver>(3, async |cluster| {
        let connector = cluster.reader_connector::<Driver>(&[]);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..20 {
            seen.insert(Driver::connect(&connector).await.unwrap().who().await.unwrap());
        }
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["instance-2", "instance-3"]);
    });
}
