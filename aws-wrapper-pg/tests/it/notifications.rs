//! Notifications.

use std::pin::pin;
use std::time::Duration;

use aws_wrapper_pg::NotificationItem;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::server::Server;

#[tokio::test]
async fn what_is_sent_to_a_channel_arrives() {
    let server = Server::shared();
    let (client, sender) = (server.client().await, server.client().await);
    let mut items = pin!(client.notifications());
    let channel = "odd \"name\"";
    client.listen(channel).await.unwrap();
    sender.query("select pg_notify($1, 'hello')", &[&channel]).await.unwrap();
    let item = timeout(Duration::from_secs(10), items.next()).await.unwrap().unwrap();
    let NotificationItem::Notification(notification) = item else { panic!("{item:?}") };
    assert_eq!((notification.channel(), notification.payload()), (channel, "hello"));

    client.unlisten(channel).await.unwrap();
    sender.query("select pg_notify($1, 'nobody')", &[&channel]).await.unwrap();
    client.check_connection().await.unwrap();
    drop(client);
    assert!(items.next().await.is_none(), "the stream ends with the client");
}
