//! Notifications, delivered to the logical client whichever connection they come from.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::Stream;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_postgres::Notification;

/// One item of [`Notifications`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum NotificationItem {
    /// Somebody sent a notification to a channel this client listens to.
    Notification(Notification),
    /// Notifications may have been missed here: read what they would have told from the database.
    Gap {
        /// How many, where it is known: they came faster than they were taken. `None` after the connection was
        /// replaced; what was sent in between is lost and nobody counted it.
        lost: Option<u64>,
    },
}

/// The notifications of one client as a stream, made by [`Client::notifications`](crate::Client::notifications).
///
/// It ends when the client is dropped or another stream is made.
#[derive(Debug)]
pub struct Notifications {
    receiver: mpsc::Receiver<NotificationItem>,
    inbox: Arc<Inbox>,
}

impl Stream for Notifications {
    type Item = NotificationItem;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NotificationItem>> {
        match self.receiver.poll_recv(cx) {
            Poll::Pending => match self.inbox.take_lost() {
                0 => Poll::Pending,
                lost => Poll::Ready(Some(NotificationItem::Gap { lost: Some(lost) })),
            },
            ready @ Poll::Ready(_) => ready,
        }
    }
}

/// How many notifications wait for a reader that does not keep up; later ones are dropped and counted.
const CAPACITY: usize = 1024;

/// What a logical client carries from one connection to the next.
#[derive(Debug, Default)]
pub struct Session {
    channels: Mutex<BTreeSet<String>>,
    inbox: Arc<Inbox>,
}

impl Session {
    /// Remembers a channel; whether it is new.
    pub(crate) fn listen(&self, channel: &str) -> bool {
        self.channels.lock().insert(channel.to_owned())
    }

    pub(crate) fn unlisten(&self, channel: &str) {
        self.channels.lock().remove(channel);
    }

    /// The statements that subscribe a connection to every channel, if there is one.
    pub(crate) fn listen_sql(&self) -> Option<String> {
        let channels = self.channels.lock();
        let statements: Vec<String> =
            channels.iter().map(|channel| format!("LISTEN {}", quoted(channel))).collect();
        (!statements.is_empty()).then(|| statements.join(";"))
    }

    pub(crate) fn inbox(&self) -> &Arc<Inbox> {
        &self.inbox
    }

    /// A stream of what arrives from now on. A former one ends.
    pub(crate) fn subscribe(&self) -> Notifications {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        let mut state = self.inbox.0.lock();
        state.sender = Some(sender);
        state.lost = 0;
        drop(state);
        Notifications { receiver, inbox: Arc::clone(&self.inbox) }
    }

    /// The client's next user listens to nothing.
    pub(crate) fn forget(&self) {
        self.channels.lock().clear();
        self.close();
    }

    /// The client is gone.
    pub(crate) fn close(&self) {
        self.inbox.0.lock().sender = None;
    }
}

/// An identifier as SQL text, whatever is in it.
pub(crate) fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

/// Where the notifications of a logical client go.
#[derive(Debug, Default)]
pub(crate) struct Inbox(Mutex<InboxState>);

#[derive(Debug, Default)]
struct InboxState {
    sender: Option<mpsc::Sender<NotificationItem>>,
    lost: u64,
}

impl Inbox {
    /// Never waits: a connection that waited here would hold up every query on it.
    fn push(&self, item: NotificationItem) {
        let mut state = self.0.lock();
        let InboxState { sender: Some(sender), lost } = &mut *state else { return };
        if *lost > 0 && sender.try_send(NotificationItem::Gap { lost: Some(*lost) }).is_ok() {
            *lost = 0;
        }
        if *lost > 0 || sender.try_send(item).is_err() {
            *lost += 1;
        }
    }

    /// One has come.
    pub(crate) fn deliver(&self, notification: Notification) {
        self.push(NotificationItem::Notification(notification));
    }

    /// The connection was replaced.
    pub(crate) fn push_gap(&self) {
        self.push(NotificationItem::Gap { lost: None });
    }

    fn take_lost(&self) -> u64 {
        std::mem::take(&mut self.0.lock().lost)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    #[test]
    fn channels_are_quoted_and_listened_to_in_one_text() {
        let session = Session::default();
        assert_eq!(session.listen_sql(), None);
        assert!(session.listen("b") && session.listen("a\"; drop") && !session.listen("b"));
        assert_eq!(session.listen_sql().unwrap(), r#"LISTEN "a""; drop";LISTEN "b""#);
        session.unlisten("b");
        assert_eq!(session.listen_sql().unwrap(), r#"LISTEN "a""; drop""#);
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_at_its_place() {
        let session = Session::default();
        let mut stream = session.subscribe();
        for _ in 0..CAPACITY + 3 {
            session.inbox.push_gap();
        }
        stream.next().await.unwrap();
        stream.next().await.unwrap();
        // There is room again: first the count of what was lost, then the new one.
        session.inbox.push_gap();
        let mut items = Vec::new();
        while items.len() < CAPACITY {
            items.push(stream.next().await.unwrap());
        }
        let lost: Vec<_> = items
            .iter()
            .map(|item| match item {
                NotificationItem::Gap { lost } => *lost,
                NotificationItem::Notification(_) => unreachable!("none was sent"),
            })
            .collect();
        assert_eq!(lost[CAPACITY - 2..], [Some(3), None]);
    }

    #[tokio::test]
    async fn a_second_stream_ends_the_first() {
        let session = Session::default();
        let mut first = session.subscribe();
        let mut second = session.subscribe();
        session.inbox.push_gap();
        assert!(first.next().await.is_none());
        assert!(second.next().await.is_some());
        session.close();
        assert!(second.next().await.is_none());
        session.listen("a");
        let mut third = session.subscribe();
        session.forget();
        assert!(third.next().await.is_none());
        assert_eq!(session.listen_sql(), None);
    }
}
