//! Many sessions through several failovers: nothing that was acknowledged is lost, nothing happens twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_wrapper_core::error::FailoverOutcome;
use integration_tests::{Adapter, Session, eventually, failovers, on_cluster, spawn};
use tokio::time::sleep;

use super::Driver;

const WRITERS: u32 = 8;
const FAILOVERS: usize = 3;

#[test]
fn acknowledged_rows_are_never_lost_or_doubled() {
    on_cluster(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (connector, stop) = (connector.clone(), Arc::clone(&stop));
                spawn(async move { write(&connector, writer, &stop).await })
            })
            .collect();
        for _ in 0..FAILOVERS {
            sleep(Duration::from_millis(300)).await;
            cluster.replace_writer().await;
            cluster.complete().await;
        }
        sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);

        let mut session = Driver::connect(&connector).await.unwrap();
        let mut acknowledged = 0;
        for (writer, done) in writers.into_iter().enumerate() {
            let done = done.await.unwrap();
            for (id, is_acknowledged) in &done {
                let count = session.ask(&format!("SELECT count(*) FROM log WHERE id = {id}")).await.unwrap();
                match (count.as_str(), is_acknowledged) {
                    ("1", true) => acknowledged += 1,
                    ("0" | "1", false) => {}
                    other => panic!("writer {writer}, row {id}: {other:?}"),
                }
            }
            let errors = done.values().filter(|acknowledged| !**acknowledged).count();
            assert!((1..=FAILOVERS).contains(&errors), "one error a failover, not {errors}");
        }
        assert!(acknowledged > 100, "{acknowledged}");
    });
}

/// Inserts each number once, never again; whether it was acknowledged.
async fn write(
    connector: &<Driver as Adapter>::Connector,
    writer: u32,
    stop: &AtomicBool,
) -> BTreeMap<u32, bool> {
    let mut session = Driver::connect(connector).await.unwrap();
    let mut done = BTreeMap::new();
    for id in (writer * 1_000_000).. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let result = session.run(&format!("INSERT INTO log VALUES ({id})")).await;
        done.insert(id, result.is_ok());
        if let Err(error) = result {
            assert!(error.is_failover_success(), "{error:?}");
        }
        sleep(Duration::from_millis(5)).await;
    }
    done
}

#[test]
fn sessions_that_fail_together_share_one_search() {
    const SESSIONS: usize = 60;
    on_cluster(3, async |cluster| {
        let connector = cluster.connector::<Driver>(&[]);
        let services = Driver::services(&connector).clone();
        let mut events = services.subscribe();
        let mut calls = Vec::new();
        for _ in 0..SESSIONS {
            let mut session = Driver::connect(&connector).await.unwrap();
            calls.push(spawn(async move {
                let error = session.run(<Driver as Adapter>::Session::SLEEP).await.unwrap_err();
                (error, session)
            }));
        }
        sleep(Duration::from_millis(200)).await;
        let before = services.status().clusters[0].clone();
        let report = cluster.replace_writer().await;
        let mut sessions = Vec::new();
        for call in calls {
            let (error, mut session) = call.await.unwrap();
            assert!(error.is_failover_success(), "{error:?}");
            assert_eq!(session.who().await.unwrap(), report.new_writer);
            sessions.push(session);
        }
        let after = services.status().clusters[0].clone();
        // One search by all hosts; a second one only when the crowd keeps the new writer from letting the monitor in.
        assert!(after.panics - before.panics <= 2, "{before:?} {after:?}");
        assert!(
            after.coalesced_requests - before.coalesced_requests > SESSIONS as u64 / 2,
            "{before:?} {after:?}"
        );
        assert_eq!(failovers(&mut events), (SESSIONS, vec![FailoverOutcome::Succeeded; SESSIONS]));
        drop(sessions);
        eventually(Duration::from_secs(5), "only the monitor is connected", async || cluster.sockets() <= 1)
            .await;
    });
}
