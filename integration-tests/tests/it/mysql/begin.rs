//! Futures dropped at each of their awaits: the session goes on after one error at most, never gets the answer of
//! another call, and leaves no transaction open.

use std::time::Duration;

use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{ChangeUserOpts, Row, TxOpts};
use aws_wrapper_mysql::{Conn, Connector, Result};
use integration_tests::{MySql, Polled, Session, TestCluster, drop_after, eventually, on_cluster};
use tokio::time::sleep;

const MOST: u32 = 100;
const LIMIT: Duration = Duration::from_secs(5);
/// For how long the server repeats what it has said of transactions.
const CACHED: Duration = Duration::from_millis(150);
const LATENCIES: [Duration; 2] = [Duration::ZERO, Duration::from_millis(2)];
const PLUGINS: [&str; 2] = ["none", "initial_connection,failover"];

/// Asks for a number nobody has asked for before.
async fn goes_on(conn: &mut Conn, number: &mut u64, what: &str) {
    for is_last in [false, true] {
        *number += 1;
        let (mine, ping) = (number.to_string(), *number % 2 == 0);
        let answer: Result<String, _> = if ping {
            conn.ask(&format!("SELECT {mine}")).await
        } else {
            let row = conn.exec_first::<u64, _, _>("SELECT ?", (*number,)).await;
            row.map(|row| row.unwrap().to_string())
                .map_err(|error| aws_wrapper_mysql::Error::from(error).into())
        };
        match answer {
            Ok(answer) => {
                assert_eq!(answer, mine, "{what}");
                if is_last {
                    return;
                }
            }
            Err(error) => assert!(!is_last, "{what}: a second error: {error:?}"),
        }
    }
}

/// Drops what `$call` makes of `$conn` after each number of polls, with a fast server and a slow one.
macro_rules! dropped_anywhere {
    ($cluster:expr, |$conn:ident| $call:expr) => {
        let what = stringify!($call);
        for plugins in PLUGINS {
            for latency in LATENCIES {
                $cluster.latency("instance-1", latency).await.unwrap();
                let connector = $cluster.connector::<MySql>(&[("plugins", plugins)]);
                let mut conn = connector.connect().await.unwrap();
                let mut number = 0;
                for polls in 1..=MOST {
                    let polled = {
                        let $conn = &mut conn;
                        drop_after(polls, async { $call.await.map(drop) }).await
                    };
                    let is_through = match polled {
                        Polled::Ready(Ok(())) => true,
                        Polled::Ready(Err(error)) => panic!("{what} with {plugins}: {error:?}"),
                        Polled::Dropped => false,
                    };
                    goes_on(&mut conn, &mut number, &format!("{what} with {plugins} after {polls} polls"))
                        .await;
                    if is_through {
                        break;
                    }
                    assert!(polls < MOST);
                }
            }
        }
        $cluster.latency("instance-1", Duration::ZERO).await.unwrap();
    };
}

#[test]
fn a_query_can_be_dropped_anywhere() {
    on_cluster::<MySql>(1, async |cluster| {
        dropped_anywhere!(cluster, |conn| conn.query_drop("SELECT 1; SELECT 2; DO SLEEP(0.01); SELECT 3"));
        dropped_anywhere!(cluster, |conn| conn.query_first::<u32, _>("SELECT 1 UNION SELECT 2"));
        dropped_anywhere!(cluster, |conn| Queryable::query::<Row, _>(conn, "SELECT 1; SELECT 2"));
        dropped_anywhere!(cluster, |conn| conn.ping());
    });
}

#[test]
fn a_statement_can_be_dropped_anywhere() {
    on_cluster::<MySql>(1, async |cluster| {
        let mut number = 0;
        // Each time another text, so that it is prepared.
        let mut fresh = || {
            number += 1;
            format!("SELECT ?, 'statement {number}'")
        };
        dropped_anywhere!(cluster, |conn| conn.exec_first::<Row, _, _>(fresh(), (1,)));
        dropped_anywhere!(cluster, |conn| conn.exec_batch(fresh(), [(1,), (2,), (3,)]));
        dropped_anywhere!(cluster, |conn| Queryable::exec::<Row, _, _>(conn, fresh(), (1,)));
        dropped_anywhere!(cluster, |conn| conn.prep(fresh()));
        dropped_anywhere!(cluster, |conn| Queryable::prep(conn, fresh()));
    });
}

#[test]
fn a_reset_and_a_change_of_user_can_be_dropped_anywhere() {
    on_cluster::<MySql>(1, async |cluster| {
        dropped_anywhere!(cluster, |conn| conn.reset());
        dropped_anywhere!(cluster, |conn| conn.change_user(ChangeUserOpts::default()));
    });
}

#[test]
fn a_result_can_be_dropped_while_it_is_opened_and_read() {
    on_cluster::<MySql>(1, async |cluster| {
        const SQL: &str = "SELECT 1 UNION SELECT 2; DO SLEEP(0.005); SELECT 3";
        dropped_anywhere!(cluster, |conn| async {
            let mut result = conn.query_iter(SQL).await?;
            while !result.is_empty() {
                result.next().await?;
            }
            result.drop_result().await
        });
        dropped_anywhere!(cluster, |conn| async {
            conn.query_iter(SQL).await?.collect_and_drop::<u32>().await
        });
        dropped_anywhere!(cluster, |conn| async {
            let mut result = conn.exec_iter("SELECT ? UNION SELECT 2", (1,)).await?;
            result.next().await?;
            result.collect::<u32>().await
        });
        dropped_anywhere!(cluster, |conn| async {
            Queryable::query_iter(conn, SQL).await?.collect_and_drop::<u32>().await
        });
    });
}

#[test]
fn a_begin_that_was_dropped_leaves_no_transaction() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in PLUGINS {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut conn = connector.connect().await.unwrap();
            let mut witness = connector.connect().await.unwrap();
            let mut options = TxOpts::new();
            options.with_consistent_snapshot(true).with_readonly(true);
            for options in [TxOpts::default(), options] {
                for latency in LATENCIES {
                    cluster.latency("instance-1", latency).await.unwrap();
                    for polls in 1..=MOST {
                        let begun = drop_after(polls, conn.start_transaction(options.clone())).await;
                        let is_through = matches!(begun, Polled::Ready(Ok(_)));
                        drop(begun);
                        // Were a transaction open, nobody else would see the row.
                        insert(&mut conn, 1).await;
                        let seen = witness.ask("SELECT count(*) FROM log").await.unwrap();
                        assert_eq!(seen, "1", "{plugins}, after {polls} polls");
                        conn.run("DELETE FROM log").await.unwrap();
                        if is_through {
                            break;
                        }
                        assert!(polls < MOST);
                    }
                }
            }
            none_is_open(cluster).await;
        }
    });
}

/// Writes a row; what was dropped before may have cost the connection, which is told once.
async fn insert(conn: &mut Conn, id: u32) {
    let sql = format!("INSERT INTO log VALUES ({id})");
    if let Err(error) = conn.run(&sql).await {
        assert!(!error.statement_may_have_run(), "{error:?}");
        conn.run(&sql).await.unwrap();
    }
}

async fn none_is_open(cluster: &TestCluster) {
    let mut admin = cluster.admin::<MySql>("instance-1").await;
    eventually(LIMIT, "no transaction is open", async || {
        // The server answers from a cache until nobody has asked for a tenth of a second.
        sleep(CACHED).await;
        admin.ask("SELECT count(*) FROM information_schema.innodb_trx").await.unwrap() == "0"
    })
    .await;
}

#[test]
fn a_commit_or_rollback_that_was_dropped_leaves_no_transaction() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in PLUGINS {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            for commits in [true, false] {
                ends_dropped(&connector, commits).await;
            }
            none_is_open(cluster).await;
        }
    });
}

async fn ends_dropped(connector: &Connector, commits: bool) {
    let mut conn = connector.connect().await.unwrap();
    let mut witness = connector.connect().await.unwrap();
    for polls in 1..=MOST {
        let mut transaction = begun(&mut conn).await;
        transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
        let ended = if commits {
            drop_after(polls, transaction.commit()).await
        } else {
            drop_after(polls, transaction.rollback()).await
        };
        insert(&mut conn, 2).await;
        // The server may be at the dropped commit still.
        let sum = witness.ask("SELECT sum(id) FROM log").await.unwrap();
        assert!(sum == "2" || (commits && sum == "3"), "after {polls} polls: {sum}");
        conn.run("DELETE FROM log").await.unwrap();
        if matches!(ended, Polled::Ready(Ok(()))) {
            return;
        }
        assert!(polls < MOST);
    }
}

/// What was dropped before may have cost the connection.
async fn begun(conn: &mut Conn) -> aws_wrapper_mysql::Transaction<'_> {
    if conn.is_disconnected() {
        conn.ping().await.unwrap_err();
    }
    conn.start_transaction(TxOpts::default()).await.unwrap()
}

/// The object is dropped, and then the call that would roll back, at each of its awaits.
#[test]
fn the_rollback_of_a_dropped_transaction_is_not_forgotten_when_the_call_is_dropped_too() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in ["none", "initial_connection,failover", "developer,failover"] {
            for latency in LATENCIES {
                cluster.latency("instance-1", latency).await.unwrap();
                let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
                let mut conn = connector.connect().await.unwrap();
                let mut witness = connector.connect().await.unwrap();
                for polls in 1..=MOST {
                    let mut transaction = begun(&mut conn).await;
                    transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
                    drop(transaction);
                    let is_through = matches!(drop_after(polls, conn.ping()).await, Polled::Ready(Ok(())));
                    insert(&mut conn, 2).await;
                    let sum = witness.ask("SELECT sum(id) FROM log").await.unwrap();
                    assert_eq!(sum, "2", "{plugins}, after {polls} polls");
                    conn.run("DELETE FROM log").await.unwrap();
                    if is_through {
                        break;
                    }
                    assert!(polls < MOST);
                }
            }
            none_is_open(cluster).await;
        }
    });
}
