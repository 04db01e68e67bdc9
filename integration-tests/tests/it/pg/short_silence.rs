//! A host that is silent for a moment, while calls on it are dropped and made.

use std::time::Duration;

use integration_tests::{Pg, Session, failovers, on_cluster, spawn};
use tokio::time::{sleep, timeout};

use super::silence::Fault;

#[test]
fn a_short_silence_is_no_loss_and_answers_stay_in_order() {
    on_cluster::<Pg>(2, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut session = connector.connect().await.unwrap();
        let mut events = connector.services().subscribe();
        for fault in [Fault::Freeze, Fault::BlackHole] {
            fault.begin(cluster, "instance-1").await;
            assert!(timeout(Duration::from_millis(200), session.ask("SELECT 'dropped'")).await.is_err());
            let call = spawn(async move { (session.ask("SELECT 'kept'").await, session) });
            sleep(Duration::from_millis(100)).await;
            fault.end(cluster, "instance-1").await;
            let (answer, back) = call.await.unwrap();
            assert_eq!(answer.unwrap(), "kept", "{fault:?}");
            session = back;
        }
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}
