//! The end of a failover, asked as code written for the driver asks.

use aws_wrapper_core::error::{FailoverOutcome, RetryAdvice, TransactionOutcome};
use aws_wrapper_pg::{Error, ErrorKind};
use integration_tests::{Pg, Session, on_cluster};

#[test]
fn after_a_failover_the_connection_is_not_closed() {
    on_cluster::<Pg>(2, async |cluster| {
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        cluster.cut("instance-1", &client).await;
        let error: Error = client.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Succeeded), "{error:?}");
        is_not_of_the_server(&error);
        assert!(!error.is_closed() && !client.is_closed(), "{error:?}");
        assert_eq!((error.sqlstate(), error.retry_advice()), (Some("08S02"), RetryAdvice::RetryStatement));

        let transaction = client.transaction().await.unwrap();
        cluster.reset("instance-1").await.unwrap();
        let lost = loop {
            // Until the reset has arrived.
            if let Err(error) = transaction.execute("SELECT 1", &[]).await {
                break error;
            }
        };
        assert_eq!(lost.kind(), ErrorKind::Failover(FailoverOutcome::TransactionUnknown), "{lost:?}");
        is_not_of_the_server(&lost);
        assert!(!lost.is_closed(), "{lost:?}");
        assert_eq!(lost.transaction_outcome(), TransactionOutcome::RolledBack);
        drop(transaction);
        assert!(!client.is_closed());
        client.who().await.unwrap();
    });
}

#[test]
fn a_failover_that_found_no_host_leaves_a_closed_connection() {
    on_cluster::<Pg>(1, async |cluster| {
        let params = [("failover_timeout_ms", "500")];
        let mut client = cluster.connector::<Pg>(&params).connect().await.unwrap();
        client.who().await.unwrap();
        cluster.close("instance-1").await;
        cluster.cut("instance-1", &client).await;
        let error = client.query("SELECT 1", &[]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Failed), "{error:?}");
        is_not_of_the_server(&error);
        assert!(error.is_closed() && client.is_closed(), "{error:?}");
        assert_eq!(error.sqlstate(), Some("08001"));
    });
}

fn is_not_of_the_server(error: &Error) {
    assert!(error.code().is_none() && error.as_db_error().is_none(), "{error:?}");
}
