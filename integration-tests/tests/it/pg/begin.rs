//! Transactions dropped while they begin and end.

use std::time::Duration;

use integration_tests::{Pg, Polled, Session, drop_after, on_cluster};

const MOST: u32 = 100;

#[test]
fn a_begin_that_was_dropped_leaves_no_transaction() {
    on_cluster::<Pg>(2, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let witness = connector.connect().await.unwrap();
        for latency in [Duration::ZERO, Duration::from_millis(2)] {
            cluster.latency("instance-1", latency).await.unwrap();
            for polls in 1..=MOST {
                let is_through =
                    matches!(drop_after(polls, client.transaction()).await, Polled::Ready(Ok(_)));
                // Were a transaction open, nobody else would see the row.
                client.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
                let seen: i64 = witness.query_one_scalar("SELECT count(*) FROM log", &[]).await.unwrap();
                assert_eq!(seen, 1, "after {polls} polls");
                client.execute("DELETE FROM log", &[]).await.unwrap();
                if is_through {
                    break;
                }
                assert!(polls < MOST);
            }
        }
    });
}

#[test]
fn a_commit_or_rollback_that_was_dropped_leaves_no_transaction() {
    on_cluster::<Pg>(2, async |cluster| {
        cluster.log_table::<Pg>().await;
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        let mut witness = connector.connect().await.unwrap();
        for commits in [true, false] {
            for polls in 1..=MOST {
                let transaction = client.transaction().await.unwrap();
                transaction.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap();
                let ended = if commits {
                    drop_after(polls, transaction.commit()).await
                } else {
                    drop_after(polls, transaction.rollback()).await
                };
                client.execute("INSERT INTO log VALUES (2)", &[]).await.unwrap();
                let sum = witness.ask("SELECT sum(id) FROM log").await.unwrap();
                assert!(sum == "2" || (commits && sum == "3"), "after {polls} polls: {sum}");
                client.execute("DELETE FROM log", &[]).await.unwrap();
                if matches!(ended, Polled::Ready(Ok(()))) {
                    break;
                }
                assert!(polls < MOST);
            }
        }
    });
}

/// Beginning on a connection that was lost means a failover inside `transaction()`.
#[test]
fn a_failover_in_a_begin_can_be_dropped_anywhere() {
    on_cluster::<Pg>(2, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        for polls in 1..=MOST {
            cluster.cut("instance-1", &client).await;
            let begin = async { client.transaction().await.map(drop) };
            if let Polled::Ready(result) = drop_after(polls, begin).await {
                assert!(result.as_ref().is_err_and(|error| error.is_failover_success()), "{result:?}");
                break;
            }
            match client.transaction().await.map(drop) {
                Ok(()) => {}
                Err(error) => assert!(error.is_failover_success(), "{error:?}"),
            }
            let transaction = client.transaction().await.unwrap();
            transaction.execute("SELECT 1", &[]).await.unwrap();
            transaction.commit().await.unwrap();
            assert!(polls < MOST);
        }
    });
}
