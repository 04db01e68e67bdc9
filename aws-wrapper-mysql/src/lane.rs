//! The way to one server: the driver's connection when nobody uses it, and the means to end it at any time.
//!
//! The driver's connection belongs to whoever talks on it: a call takes it out of the lane and puts it back when the
//! answer is complete. That makes three things simple. A call that is dropped takes the connection with it, so nobody
//! ever reads the rest of a foreign answer. A connection nobody uses can be closed from outside. And a question can be
//! asked behind a call that failed, without a borrow of the connection that outlives the call.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use aws_wrapper_core::registry::{EndReason, Slot};
use aws_wrapper_core::runtime::Shared;
use crossbeam_utils::atomic::AtomicCell;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OkPacket};
use pin_project_lite::pin_project;
use tokio::time::timeout;

use crate::classify::{class_of, is_mistake, may_end_connection, sqlstate_of};
use crate::error::{DriverError, connect_failed, ended, lost, statement_failed};
use crate::status::{Sent, Status};

/// One physical connection's place.
pub(crate) struct Lane {
    slot: Arc<Slot>,
    /// The connection, unless a call has it or it is gone. One pointer, swapped without a lock.
    idle: AtomicCell<Option<Conn>>,
    aborted: AtomicBool,
    /// The call that has the connection now and waits for the server.
    waiting: AtomicWaker,
    loss: OnceLock<Loss>,
    status: Status,
    /// See [`Lane::refuse_numbers`].
    refuses_numbers: AtomicBool,
}

/// How a connection can be lost by what is done on this side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// The driver closed it because the caller gave it something impossible.
    Mistake,
    /// A call was dropped in the middle of its answer.
    Dropped,
}

/// Why an exchange did not come to its end.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The connection was given up from outside.
    Aborted,
    /// The driver says so.
    Failed(mysql_async::Error),
}

impl Lane {
    /// The place of a connection that has just been opened; it can be aborted from now on.
    pub(crate) fn new(conn: Conn, slot: &Arc<Slot>, shared: &Shared) -> Arc<Self> {
        let status = Status::default();
        status.note_answer(conn.last_ok_packet(), Sent::QUESTION, slot);
        let lane = Arc::new(Self {
            slot: Arc::clone(slot),
            idle: AtomicCell::new(Some(conn)),
            aborted: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
            loss: OnceLock::new(),
            status,
            refuses_numbers: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&lane);
        shared.attach(slot, move || {
            if let Some(lane) = weak.upgrade() {
                lane.abort();
            }
        });
        lane
    }

    /// What the registry knows about the connection.
    pub(crate) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// What is known of the transaction besides its state.
    pub(crate) fn status(&self) -> &Status {
        &self.status
    }

    /// From now on statements of the driver's own are refused here: one of an earlier connection has a number that may be
    /// another statement's.
    pub(crate) fn refuse_numbers(&self) {
        self.refuses_numbers.store(true, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn refuses_numbers(&self) -> bool {
        self.refuses_numbers.load(Ordering::Relaxed)
    }

    /// Takes the connection for a question of the wrapper's own.
    ///
    /// # Errors
    /// Why the connection has ended, if it has; nothing has been sent then.
    #[inline]
    pub(crate) fn take(&self) -> Result<Taken<'_>, DriverError> {
        self.take_for(Sent::QUESTION)
    }

    /// Takes the connection for an exchange.
    ///
    /// # Errors
    /// Why the connection has ended, if it has; nothing has been sent then.
    #[inline]
    pub(crate) fn take_for<'a>(&'a self, sent: Sent<'a>) -> Result<Taken<'a>, DriverError> {
        match self.idle.take() {
            Some(conn) => Ok(Taken { lane: self, conn: Some(conn), sent, asked: Asked::Not }),
            None => Err(ended(&self.slot)),
        }
    }

    /// Puts a connection back whose answer has been read to the end.
    #[inline]
    pub(crate) fn put_back(&self, conn: Conn) {
        self.idle.store(Some(conn));
        // Whoever aborts says so before looking for the connection. Between the two steps of each side stands a fence, so
        // one of the sides sees what the other did.
        fence(Ordering::SeqCst);
        if self.is_aborted() {
            self.close();
        }
    }

    /// Whether the connection was given up from outside.
    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Relaxed)
    }

    /// Waits for `work`, which uses the connection, until the connection is aborted.
    ///
    /// What is ready at once costs nothing more; a waker is left only by a call that waits. When this fails the work is
    /// to be dropped at once.
    pub(crate) fn unless_aborted<F>(&self, work: F) -> UnlessAborted<'_, F> {
        UnlessAborted { work, lane: self }
    }

    /// As [`unless_aborted`](Self::unless_aborted) for something that is polled: whether it is time to stop waiting.
    pub(crate) fn poll_aborted(&self, cx: &Context<'_>) -> bool {
        // First the waker, then the flag: an abort in between wakes or is seen.
        self.waiting.register(cx.waker());
        self.is_aborted()
    }

    fn abort(&self) {
        self.aborted.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.close();
        self.waiting.wake();
    }

    /// Closes the connection if nobody uses it. Whoever does closes it as soon as they are woken.
    pub(crate) fn close(&self) {
        if let Some(conn) = self.idle.take() {
            discard(conn);
            self.slot.mark_ended();
        }
    }

    /// A call that used `conn` failed: it stays only if the server has answered to the end; all else leaves it inside
    /// of an answer.
    fn take_back(&self, conn: Conn, stopped: Stopped, sent: Sent<'_>, asked: Asked) -> DriverError {
        let stays = match &stopped {
            Stopped::Failed(mysql_async::Error::Server(server)) => {
                self.status.note_error(server, sent, &self.slot);
                if asked == Asked::Alive {
                    self.status.note_answer(conn.last_ok_packet(), Sent::QUESTION, &self.slot);
                }
                asked != Asked::Gone
            }
            Stopped::Failed(error) => is_mistake(error),
            Stopped::Aborted => false,
        };
        if stays && !conn.is_disconnected() {
            self.put_back(conn);
            return self.error_of(stopped);
        }
        discard(conn);
        self.record_loss(&stopped);
        match stopped {
            Stopped::Failed(error @ mysql_async::Error::Server(_)) if !is_mistake(&error) => lost(error),
            stopped => self.error_of(stopped),
        }
    }

    /// As when a call fails, while a result borrows the connection: it is closed as soon as that is over.
    ///
    /// Nothing can be asked meanwhile: whether the session has outlived an error of the server, the next call finds out.
    pub(crate) fn fail_while_lent(&self, stopped: Stopped, sent: Sent<'_>) -> DriverError {
        match &stopped {
            Stopped::Failed(mysql_async::Error::Server(server)) => {
                self.status.note_error(server, sent, &self.slot);
            }
            Stopped::Failed(error) if is_mistake(error) => {}
            Stopped::Failed(_) | Stopped::Aborted => self.record_loss(&stopped),
        }
        self.error_of(stopped)
    }

    /// Leaves word why the connection ends. One that was aborted has its reason already.
    fn record_loss(&self, stopped: &Stopped) {
        if let Stopped::Failed(error) = stopped {
            if is_mistake(error) {
                return self.lose(Loss::Mistake, &format!("the driver closed it: {error}"));
            }
            let class = class_of(error, matches!(error, mysql_async::Error::Server(_)));
            let state = sqlstate_of(error).map(str::to_owned);
            self.slot.record_end(EndReason::new(class, state, error.to_string()));
        }
        self.slot.mark_ended();
    }

    fn error_of(&self, stopped: Stopped) -> DriverError {
        match stopped {
            Stopped::Aborted => ended(&self.slot),
            Stopped::Failed(error) => statement_failed(error),
        }
    }

    /// The connection was given up on this side; the host is fine.
    pub(crate) fn lose(&self, loss: Loss, why: &str) {
        let _ = self.loss.set(loss);
        self.slot.record_end(EndReason::local(why));
        self.close();
        self.slot.mark_ended();
    }

    /// Whether the connection was lost by what was done on this side.
    pub(crate) fn loss(&self) -> Option<Loss> {
        self.loss.get().copied()
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the connection: the driver shows the password with it.
        f.debug_struct("Lane").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.close();
    }
}

/// Closes a connection without waiting for anything, in whatever state it is.
///
/// Dropping it is not enough: the driver would read what is left of an answer in a task of its own, on a silent host for
/// ever. One poll of a polite end marks the connection, sends the farewell if the socket takes it, and what is dropped
/// then is only the socket.
pub(crate) fn discard(conn: Conn) {
    let _ = conn.disconnect().now_or_never();
}

/// A connection in use. Dropped without [`finish`](Self::finish) it takes the connection with it.
pub(crate) struct Taken<'a> {
    lane: &'a Lane,
    conn: Option<Conn>,
    sent: Sent<'a>,
    asked: Asked,
}

/// What came of the question whether the session has outlived an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// There was no reason to ask.
    Not,
    Alive,
    Gone,
}

/// So long a server that has just sent an error may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

impl Taken<'_> {
    /// The driver's connection.
    #[inline]
    pub(crate) fn conn(&mut self) -> &mut Conn {
        self.conn.as_mut().expect("it is there until the call is finished")
    }

    /// The question whether the session has outlived the error in `result`, if that is one with which servers end sessions:
    /// a procedure may say the same.
    #[inline]
    pub(crate) fn doubt<T>(&mut self, result: &Result<T, Stopped>) -> Option<BoxFuture<'_, ()>> {
        match result {
            Err(Stopped::Failed(mysql_async::Error::Server(server))) if may_end_connection(server) => {
                Some(Box::pin(self.ask()))
            }
            _ => None,
        }
    }

    async fn ask(&mut self) {
        let lane = self.lane;
        let answer = timeout(ANSWERS_WITHIN, lane.unless_aborted(self.conn().ping())).await;
        self.asked = if matches!(answer, Ok(Ok(()))) { Asked::Alive } else { Asked::Gone };
    }

    /// The exchange is over: puts the connection back if it can be used again. `last_ok` is what the server said last.
    #[inline]
    pub(crate) fn finish<T>(
        mut self,
        result: Result<T, Stopped>,
        last_ok: &mut Option<OkPacket<'static>>,
    ) -> Result<T, DriverError> {
        match result {
            Ok(value) => {
                let conn = self.keep();
                let ok = conn.last_ok_packet();
                self.lane.status.note_answer(ok, self.sent, &self.lane.slot);
                if let Some(ok) = ok {
                    self.sent.note_rows_affected(ok.affected_rows());
                }
                *last_ok = ok.cloned();
                self.lane.put_back(conn);
                Ok(value)
            }
            Err(stopped) => Err(self.fail(stopped)),
        }
    }

    /// As [`finish`](Self::finish), for a change of the user: the server closes a connection whose change it refuses.
    pub(crate) fn finish_login<T>(
        mut self,
        result: Result<T, Stopped>,
        last_ok: &mut Option<OkPacket<'static>>,
    ) -> Result<T, DriverError> {
        match result {
            Err(Stopped::Failed(error @ mysql_async::Error::Server(_))) => {
                discard(self.keep());
                self.lane.lose(Loss::Mistake, "the server refused to change the user");
                Err(connect_failed(error))
            }
            result => self.finish(result, last_ok),
        }
    }

    /// Takes the connection along for a result that has been opened, unless opening it failed.
    pub(crate) fn keep_unless(mut self, result: Result<(), Stopped>) -> Result<Conn, DriverError> {
        match result {
            Ok(()) => {
                self.lane.status.note_opened(self.sent, &self.lane.slot);
                Ok(self.keep())
            }
            Err(stopped) => Err(self.fail(stopped)),
        }
    }

    /// Takes the connection along for a result that is read later. It comes back by [`Lane::put_back`].
    pub(crate) fn keep(&mut self) -> Conn {
        self.conn.take().expect("it is there until the call is finished")
    }

    /// The connection stays only if the server has answered to the end; all else leaves it inside of an answer.
    #[cold]
    fn fail(&mut self, stopped: Stopped) -> DriverError {
        let conn = self.keep();
        self.lane.take_back(conn, stopped, self.sent, self.asked)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            discard(conn);
            self.lane.lose(Loss::Dropped, "a call on it was dropped before it was answered");
        }
    }
}

pin_project! {
    /// See [`Lane::unless_aborted`].
    pub(crate) struct UnlessAborted<'a, F> {
        #[pin]
        work: F,
        lane: &'a Lane,
    }
}

impl<T, F: Future<Output = mysql_async::Result<T>>> Future for UnlessAborted<'_, F> {
    type Output = Result<T, Stopped>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.work.poll(cx) {
            return Poll::Ready(result.map_err(Stopped::Failed));
        }
        if this.lane.poll_aborted(cx) { Poll::Ready(Err(Stopped::Aborted)) } else { Poll::Pending }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place of a connection is one pointer; with a lock in it each call would pay for two.
    #[test]
    fn a_connection_is_swapped_without_a_lock() {
        assert!(AtomicCell::<Option<Conn>>::is_lock_free());
    }
}
