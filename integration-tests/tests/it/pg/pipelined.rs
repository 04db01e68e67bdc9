//! Many calls at once on one client.

use std::time::Duration;

use aws_wrapper_core::error::{FailoverOutcome, TransactionOutcome};
use futures_util::future::join_all;
use integration_tests::{Expected, Pg, Session, failovers, on_cluster, switched};
use tokio::time::sleep;

#[test]
fn two_hundred_calls_that_fail_together_need_one_failover() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let mut events = connector.services().subscribe();
        let calls = join_all((0..200).map(|_| client.execute("SELECT pg_sleep(60)", &[])));
        let lose = async {
            sleep(Duration::from_millis(100)).await;
            cluster.replace_writer().await
        };
        let (results, report) = tokio::join!(calls, lose);
        let expected = Expected {
            old: cluster.key("instance-1"),
            new: cluster.key(&report.new_writer),
            transaction: TransactionOutcome::NotInTransaction,
        };
        for result in results {
            switched(&result.unwrap_err(), &expected);
        }
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]));
        assert_eq!(client.who().await.unwrap(), report.new_writer);
        let status = connector.services().status();
        assert_eq!(status.clusters[0].verify_requests, 1, "{status:?}");
    });
}
