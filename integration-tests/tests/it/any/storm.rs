//! Many sessions through several failovers: nothing that was acknowledged is lost, nothing happens twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use aws_wrapper_core::error::FailoverOutcome;
use integration_tests::{Adapter, Session, eventually, failovers, on_cluster, spawn};
use tokio::time::sleep;

use super::Driver;

const WRITERS: usize = 8;
const FAILOVERS: usize = 3;
/// Rows that every writer adds before each failover and after the last one.
const ROWS: u32 = 10;

#[test]
fn acknowledged_rows_are_never_lost_or_doubled() {
    on_cluster::<Driver>(3, async |cluster| {
        cluster.log_table::<Driver>().await;
        let connector = cluster.connector::<Driver>(&[]);
        let progress: Arc<[AtomicU32]> = (0..WRITERS).map(|_| AtomicU32::new(0)).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (connector, progress, stop) =
                    (connector.clone(), Arc::clone(&progress), Arc::clone(&stop));
                spawn(async move { write(&connector, writer, &progress[writer], &stop).await })
            })
            .collect();
        for _ in 0..FAILOVERS {
            all_go_on(&progress).await;
            cluster.replace_writer().await;
            all_go_on(&progress).await;
            cluster.complete().await;
        }
        stop.store(true, Ordering::Relaxed);

        let mut session = Driver::connect(&connector).await.unwrap();
        for (writer, done) in writers.into_iter().enumerate() {
            let done = done.await.unwrap();
            for (id, is_acknowledged) in &done {
                let count = session.ask(&format!("SELECT count(*) FROM log WHERE id = {id}")).await.unwrap();
                match (count.as_str(), is_acknowledged) {
                    ("1", true) | ("0" | "1", false) => {}
                    other => panic!("writer {writer}, row {id}: {other:?}"),
                }
            }
            let errors = done.values().filter(|acknowledged| !**acknowledged).count();
            assert_eq!(errors, FAILOVERS, "one error a failover");
        }
    });
}

/// Waits until every writer has added some more rows.
async fn all_go_on(progress: &[AtomicU32]) {
    let load = |progress: &AtomicU32| progress.load(Ordering::Relaxed);
    let before: Vec<_> = progress.iter().map(load).collect();
    eventually(Duration::from_secs(20), "every writer goes on", async || {
        progress.iter().zip(&before).all(|(now, before)| load(now) >= before + ROWS)
    })
    .await;
}

/// Inserts each number once, never again; whether it was acknowledged.
async fn write(
    connector: &<Driver as Adapter>::Connector,
    writer: usize,
    progress: &AtomicU32,
    stop: &AtomicBool,
) -> BTreeMap<usize, bool> {
    let mut session = Driver::connect(connector).await.unwrap();
    let mut done = BTreeMap::new();
    for id in (writer * 1_000_000).. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let result = session.run(&format!("INSERT INTO log VALUES ({id})")).await;
        done.insert(id, result.is_ok());
        match result {
            Ok(_) => progress.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                assert!(error.is_failover_success(), "{error:?}");
                continue;
            }
        };
        sleep(Duration::from_millis(5)).await;
    }
    done
}

#[test]
fn sessions_that_fail_together_share_one_search() {
    const SESSIONS: usize = 60;
    on_cluster::<Driver>(3, async |cluster| {
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
        // One search by all hosts would do; each further one is due to a new writer that the crowd keeps from letting the
        // monitor in. What counts is that it is not one for each session.
        assert!(after.panics - before.panics <= 4, "{before:?} {after:?}");
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
