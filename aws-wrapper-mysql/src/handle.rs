//! A connection without a lifetime, for one run of a retry helper.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_wrapper_core::plugin::Intent;
use aws_wrapper_core::registry::EndReason;

use crate::conn::Conn;

/// A handle on a [`Conn`] for one run of [`Conn::retry_statement`] or [`Conn::retry_transaction`], in which it is inside of
/// the transaction. It has the methods of a connection that run something, and is [`Queryable`](mysql_async::prelude::Queryable).
///
/// It has no lifetime, so a closure that is given one can be used wherever a future has to be `Send`. It stays on one
/// connection; kept beyond its run it fails with
/// [`ConnectionSwitched`](aws_wrapper_core::ErrorKind::ConnectionSwitched), and nothing it is asked for is sent.
pub struct ConnHandle {
    pub(crate) conn: Conn,
}

impl Deref for ConnHandle {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.conn
    }
}

impl fmt::Debug for ConnHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnHandle").field(&self.conn).finish()
    }
}

/// What a handle knows of its run.
#[derive(Debug, Clone)]
pub(crate) struct Pass(Arc<AtomicBool>);

impl Pass {
    #[inline]
    pub(crate) fn is_valid(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The time of a handle: when it is dropped the handle's is over.
pub(crate) struct Run<'a> {
    conn: &'a mut Conn,
    pass: Pass,
}

impl<'a> Run<'a> {
    /// The time of a handle on the connection in use.
    pub(crate) fn new(conn: &'a mut Conn) -> Self {
        Self { conn, pass: Pass(Arc::new(AtomicBool::new(true))) }
    }

    pub(crate) fn handle(&self, intent: Intent) -> ConnHandle {
        ConnHandle { conn: self.conn.share(self.pass.clone(), intent) }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.pass.0.store(false, Ordering::Release);
        let lane = &self.conn.physical.lane;
        match lane.take() {
            Ok(mut taken) => lane.put_back(taken.keep()),
            // A call of the handle, or a result of it, still has the connection.
            Err(_) if !lane.slot().has_ended() => {
                lane.slot().abort(EndReason::local("a call was kept beyond the run of its handle"));
            }
            Err(_) => {}
        }
    }
}
