//! Notifications across a failover.

use aws_wrapper_pg::NotificationItem;
use futures_util::StreamExt;
use integration_tests::{Pg, on_cluster};

#[test]
fn channels_are_listened_to_on_the_new_writer() {
    on_cluster(3, async |cluster| {
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

fn payload(item: NotificationItem) -> (String, String) {
    match item {
        NotificationItem::Notification(news) => (news.channel().to_owned(), news.payload().to_owned()),
        gap => panic!("{gap:?}"),
    }
}
