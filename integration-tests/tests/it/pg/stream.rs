//! Streams, copies and cancel requests across a failover.

use std::pin::pin;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome};
use aws_wrapper_pg::tokio_postgres::types::ToSql;
use futures_util::{SinkExt, StreamExt};
use integration_tests::{Pg, Session, drop_after, failovers, on_cluster};
use tokio::time::sleep;

const NO_PARAMS: [&(dyn ToSql + Sync); 0] = [];

#[test]
fn a_row_stream_that_is_cut_off_ends_with_the_failover() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut events = connector.services().subscribe();
        let mut client = connector.connect().await.unwrap();
        let rows = client.query_raw("SELECT generate_series(1, 100000000)", NO_PARAMS).await.unwrap();
        let mut rows = pin!(rows);
        for expected in 1..=1000 {
            assert_eq!(rows.next().await.unwrap().unwrap().get::<_, i32>(0), expected);
        }
        let report = cluster.replace_writer().await;
        let error = loop {
            if let Err(error) = rows.next().await.expect("the stream does not end as if it were complete") {
                break error;
            }
        };
        assert!(error.is_failover_success() && error.statement_may_have_run(), "{error:?}");
        assert!(rows.next().await.is_none());
        assert_eq!(client.who().await.unwrap(), report.new_writer);
        assert_eq!(failovers(&mut events), (1, vec![FailoverOutcome::Succeeded]));
    });
}

#[test]
fn a_copy_that_is_cut_off_copies_nothing() {
    on_cluster::<Pg>(3, async |cluster| {
        cluster.log_table::<Pg>().await;
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        {
            let mut sink = pin!(client.copy_in("COPY log FROM STDIN").await.unwrap());
            sink.send(&b"1\n2\n"[..]).await.unwrap();
            cluster.replace_writer().await;
            let mut failed = None;
            for _ in 0..100 {
                if let Err(error) = sink.send(&b"3\n"[..]).await {
                    failed = Some(error);
                    break;
                }
                sleep(Duration::from_millis(10)).await;
            }
            let error = match failed {
                Some(error) => error,
                None => sink.as_mut().finish().await.unwrap_err(),
            };
            assert!(error.is_failover_success(), "{error:?}");
        }
        assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "0");
        let mut sink = pin!(client.copy_in("COPY log FROM STDIN").await.unwrap());
        sink.send(&b"1\n2\n"[..]).await.unwrap();
        assert_eq!(sink.as_mut().finish().await.unwrap(), 2);
    });
}

/// The driver waits for one answer of two; the other one must not become the answer to the next call.
#[test]
fn a_copy_that_is_refused_does_not_disturb_later_calls() {
    on_cluster::<Pg>(1, async |cluster| {
        let admin = cluster.admin::<Pg>("instance-1").await;
        admin.batch_execute("CREATE TABLE secret (id int); CREATE TABLE log (id int)").await.unwrap();
        admin.batch_execute("GRANT ALL ON log TO app").await.unwrap();
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        let before = client.slot().id();
        for round in 0..20 {
            for (sql, code) in [("COPY secret FROM STDIN", Some("42501")), ("SELECT 1", None)] {
                let error = client.copy_in::<_, &[u8]>(sql).await.map(drop).unwrap_err();
                assert_eq!(error.sqlstate(), code, "{error:?}");
                assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
                let ask = async |number: i32| -> i32 {
                    client.query_one_scalar("SELECT $1::int", &[&number]).await.unwrap()
                };
                let numbers = tokio::join!(ask(round), ask(round + 1), ask(round + 2));
                assert_eq!(numbers, (round, round + 1, round + 2));
            }
            client.check_connection().await.unwrap();
            // Given up before it is open.
            let copy = client.copy_in::<_, &[u8]>("COPY secret FROM STDIN");
            drop_after(u32::try_from(round).unwrap(), copy).await;
            assert_eq!(client.ask(&format!("SELECT {round}")).await.unwrap(), round.to_string());
            let mut transaction = client.transaction().await.unwrap();
            let savepoint = transaction.transaction().await.unwrap();
            savepoint.copy_in::<_, &[u8]>("COPY secret FROM STDIN").await.map(drop).unwrap_err();
            savepoint.rollback().await.unwrap();
            {
                let mut sink = pin!(transaction.copy_in("COPY log FROM STDIN").await.unwrap());
                sink.send(&b"1\n"[..]).await.unwrap();
                assert_eq!(sink.finish().await.unwrap(), 1);
            }
            transaction.commit().await.unwrap();
        }
        assert_eq!(client.ask("SELECT count(*) FROM log").await.unwrap(), "20");
        assert_eq!(client.slot().id(), before);
    });
}

#[test]
fn a_copy_out_that_is_cut_off_ends_with_the_failover() {
    on_cluster::<Pg>(3, async |cluster| {
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        {
            let copy =
                client.copy_out("COPY (SELECT generate_series(1, 100000000)) TO STDOUT").await.unwrap();
            let mut copy = pin!(copy);
            copy.next().await.unwrap().unwrap();
            cluster.replace_writer().await;
            let error = loop {
                if let Err(error) = copy.next().await.expect("the stream does not end as if it were complete")
                {
                    break error;
                }
            };
            assert!(error.is_failover_success(), "{error:?}");
        }
        client.who().await.unwrap();
    });
}

#[test]
fn a_cancelled_statement_is_no_failover_and_tokens_follow_the_connection() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut client = connector.connect().await.unwrap();
        cluster.replace_writer().await;
        assert!(client.who().await.unwrap_err().is_failover_success());
        let writer = client.who().await.unwrap();
        let mut events = connector.services().subscribe();
        let token = client.cancel_token();
        let cancel = async {
            sleep(Duration::from_millis(100)).await;
            token.cancel_query().await.unwrap();
        };
        let (result, ()) = tokio::join!(client.execute("SELECT pg_sleep(60)", &[]), cancel);
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Cancelled), "{error:?}");
        assert_eq!(error.sqlstate(), Some("57014"), "{error:?}");
        assert!(error.connection_usable());
        assert_eq!(client.who().await.unwrap(), writer);
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}
