//! Notifications across a failover.

use std::time::Duration;

use aurora_sim::FailoverOptions;
use aws_wrapper_pg::NotificationItem;
use futures_util::StreamExt;
use integration_tests::{Pg, Session, on_cluster};

#[test]
fn channels_are_listened_to_on_the_new_writer() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let listener = connector.connect().await.unwrap();
        listener.listen("news").await.unwrap();
        listener.listen("Odd \"name\"").await.unwrap();
        listener.listen("forgotten").await.unwrap();
        listener.unlisten("forgotten").await.unwrap();
        let mut notifications = listener.notifications();

        let sender = connector.connect().await.unwrap();
        sender.batch_execute("NOTIFY news, 'before'").await.unwrap();
        assert_eq!(payload(notifications.next().await.unwrap()), ("news".to_owned(), "before".to_owned()));

        cluster.replace_writer().await;
        assert!(listener.batch_execute("SELECT 1").await.unwrap_err().is_failover_success());
        assert!(sender.batch_execute("SELECT 1").await.unwrap_err().is_failover_success());
        let gap = notifications.next().await.unwrap();
        assert!(matches!(gap, NotificationItem::Gap { lost: None }), "{gap:?}");
        sender
            .batch_execute("NOTIFY forgotten; NOTIFY \"Odd \"\"name\"\"\", 'odd'; NOTIFY news, 'after'")
            .await
            .unwrap();
        assert_eq!(
            payload(notifications.next().await.unwrap()),
            ("Odd \"name\"".to_owned(), "odd".to_owned())
        );
        assert_eq!(payload(notifications.next().await.unwrap()), ("news".to_owned(), "after".to_owned()));
    });
}

/// The new connection is opened before the promotion, while its server is a reader.
#[test]
fn channels_are_listened_to_on_a_connection_that_saw_the_promotion() {
    on_cluster::<Pg>(3, async |cluster| {
        let connector = cluster.connector::<Pg>(&[]);
        let mut listener = connector.connect().await.unwrap();
        listener.listen("news").await.unwrap();
        let mut notifications = listener.notifications();
        cluster.kill("instance-1").await.unwrap();
        let options = FailoverOptions::default().to("instance-2").promote_after(Duration::from_millis(700));
        let (lost, report) = tokio::join!(listener.who(), cluster.failover(options));
        report.unwrap();
        assert!(lost.unwrap_err().is_failover_success());
        assert!(matches!(notifications.next().await.unwrap(), NotificationItem::Gap { lost: None }));
        listener.batch_execute("NOTIFY news, 'after'").await.unwrap();
        assert_eq!(payload(notifications.next().await.unwrap()), ("news".to_owned(), "after".to_owned()));
    });
}

fn payload(item: NotificationItem) -> (String, String) {
    match item {
        NotificationItem::Notification(news) => (news.channel().to_owned(), news.payload().to_owned()),
        gap => panic!("{gap:?}"),
    }
}
