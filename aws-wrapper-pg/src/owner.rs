//! Whom a physical connection belongs to, as far as the task that drives it has to know.

use std::sync::{Arc, OnceLock};

use tokio_postgres::Notification;

use crate::notifications::Inbox;

/// Shared by a connection's task and its client. It is settled once, when the connection is handed to its user.
#[derive(Debug, Default)]
pub(crate) struct Owner(OnceLock<User>);

#[derive(Debug)]
enum User {
    /// A client of the wrapper's: notifications go to its inbox.
    Client(Arc<Inbox>),
    /// The driver's own client.
    Driver,
}

impl Owner {
    /// From now on notifications go to this inbox. A connection belongs to one logical client all its life.
    pub(crate) fn set_client(&self, inbox: &Arc<Inbox>) {
        let _ = self.0.set(User::Client(Arc::clone(inbox)));
    }

    /// From now on the application has the driver's own client.
    pub(crate) fn set_driver(&self) {
        let _ = self.0.set(User::Driver);
    }

    /// Whether the application has the driver's own client, so that calls do not pass the wrapper.
    #[inline]
    pub(crate) fn is_driver(&self) -> bool {
        matches!(self.0.get(), Some(User::Driver))
    }

    /// Hands a notification to the client, if there is one that can take it.
    pub(crate) fn deliver(&self, notification: Notification) {
        if let Some(User::Client(inbox)) = self.0.get() {
            inbox.deliver(notification);
        }
    }
}
