//! The connection that stays, and how a call travels.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::connector::Connector as CoreConnector;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_core::host::Role;
use aws_wrapper_core::method::Method;
use aws_wrapper_core::plugin::{Call, Intent};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::session::SessionChange;
use aws_wrapper_core::session::transaction::TransactionState;
use mysql_async::{ChangeUserOpts, InfileData, OkPacket, Opts, TxOpts};

use crate::driver::{MysqlDriver, Shared};
use crate::error::{DriverError, into_error, to_driver};
use crate::handle::Pass;
use crate::infile::{self, Handler};
use crate::lane::{Lane, Taken};
use crate::physical::Physical;
use crate::status::Sent;
use crate::transaction::Transaction;

/// A connection that stays when the server behind it changes: the methods of [`mysql_async::Conn`], made by
/// [`Connector::connect`](crate::Connector::connect).
///
/// It implements the driver's [`Queryable`](mysql_async::prelude::Queryable), so code written for the driver works on
/// it. When the connection is lost and the failover plugin finds another host, the call that was running fails with an
/// error that says so ([`wrapper_error`](crate::wrapper_error), [`Error::from`](crate::Error)), and the next call goes to
/// the new host.
///
/// # What is guarded, and how
///
/// | call | the exchange | the rows after it |
/// | --- | --- | --- |
/// | methods that return everything (`query`, `exec_first`, `ping`, …), also through the driver's trait | guarded | are part of it |
/// | [`query_iter`](Self::query_iter), [`exec_iter`](Self::exec_iter), [`query_stream`](Self::query_stream), [`exec_stream`](Self::exec_stream) in method syntax | guarded | guarded |
/// | the same four through the driver's trait, in code generic over it | guarded | the driver's own types: not guarded |
/// | `"…".first(&mut conn)` and the like | not guarded: the driver's own connection is lent | not guarded |
///
/// *Guarded* means: plugins see the call, its failure is recovered from, and it ends when the connection is given up by
/// the wrapper, such as at a shutdown, however silent the host is.
///
/// # Cancellation
/// Dropping the future of a call closes the connection, because the rest of its answer would be taken for the answer of
/// the next call. The next call fails once with an error that says so, and a new connection is in place; whatever was
/// sent may have run. A result that was read in part is no such case: the rest is read before the next call.
///
/// # Statements of the driver's own
/// What the driver's trait prepares is a number of one connection, and the driver never looks which. When the connection is
/// replaced and no more than a hundred numbers were handed out, the new one uses those up: an old statement fails with error
/// 1243. When there were more, the new connection refuses all statements of the driver's own, also to prepare and to be lent
/// to `"…".with(…).run(&mut conn)`, before anything is sent:
/// [`ConnectionSwitched`](aws_wrapper_core::error::ErrorKind::ConnectionSwitched). Text and the wrapper's own
/// [`Statement`](crate::Statement) go on, and so does a new [`Conn`].
pub struct Conn {
    pub(crate) physical: Physical,
    pub(crate) link: Arc<Shared>,
    /// The slot of the connection on which a [`Transaction`] is open.
    pub(crate) transaction: Option<u64>,
    /// A [`Transaction`] was dropped before its end on that connection.
    pub(crate) rollback_due: Option<u64>,
    /// The caller has been told that the connection was lost by a dropped call.
    pub(crate) told: bool,
    /// For the connection of the next call.
    pub(crate) infile_handler: Option<Handler>,
    /// Only in a handle: it stays on one connection, for as long as its run.
    pub(crate) pass: Option<Pass>,
    /// What a retry helper says of the calls of a handle.
    pub(crate) intent: Intent,
}

/// One exchange on a connection that is ready, inside the plugins. When they have let it pass, a connection that waits by then is
/// put to use; `$bind` is what the call has to know of the connection it goes out on, `$exchange` is a future on the driver's
/// connection, `$finish` says what becomes of the connection and of the answer.
macro_rules! exchange {
    (
        $conn:expr, $method:expr, $sql:expr, |$physical:pat_param| $bind:expr => $bound:pat_param,
        |$driver:ident| $exchange:expr, |$taken:ident, $result:ident| $finish:expr
    ) => {{
        let stays = $conn.stays();
        let (mut place, link) = (Some(&mut $conn.physical), &*$conn.link);
        let carrier = $crate::driver::Carrier::default();
        let call = ::aws_wrapper_core::plugin::Call::new($method, $sql, link.logical(), &carrier)
            .with_intent($conn.intent);
        link.pipeline()
            .call(&call, || async {
                let physical = place.take().expect("an exchange is run once");
                if !stays && link.logical().has_parked() {
                    physical.adopt(link);
                }
                let physical = &*physical;
                let lane = &*physical.lane;
                carrier.is(lane);
                let $physical = physical;
                let bound: Result<_, ::aws_wrapper_core::Error> = $bind;
                let $bound = bound?;
                let in_flight = lane.slot().enter();
                let mut $taken = $crate::conn::enter(lane, &call)?;
                let $result = {
                    let $driver = $taken.conn();
                    lane.unless_aborted($exchange).await
                };
                if let Some(asking) = $taken.doubt(&$result) {
                    asking.await;
                }
                in_flight.end($finish.map_err(|error| $crate::conn::failed(error, lane)))
            })
            .await
    }};
}
pub(crate) use exchange;

/// One call, from start to end.
macro_rules! through {
    ($conn:expr, $method:expr, $sql:expr, |$driver:ident| $exchange:expr) => {
        $crate::conn::through!($conn, $method, $sql, |_| Ok(()) => (), |$driver| $exchange)
    };
    (
        $conn:expr, $method:expr, $sql:expr, |$physical:pat_param| $bind:expr => $bound:pat_param,
        |$driver:ident| $exchange:expr
    ) => {{
        let conn: &mut $crate::conn::Conn = $conn;
        conn.ready().await?;
        let mut last_ok = None;
        let result = $crate::conn::exchange!(
            conn, $method, $sql, |$physical| $bind => $bound,
            |$driver| $exchange, |taken, result| taken.finish(result, &mut last_ok)
        );
        conn.done(last_ok, result)
    }};
}
pub(crate) use through;

/// One call with a query as text.
macro_rules! query {
    ($conn:expr, $method:expr, $query:ident, |$driver:ident, $text:ident| $exchange:expr) => {{
        let query = $query.as_query();
        let (sql, $text) = ($crate::conn::text(&query), &*query);
        $crate::conn::through!($conn, $method, Some(&*sql), |$driver| $exchange)
    }};
}
pub(crate) use query;

/// One call whose result borrows the driver's connection: `$exchange` opens it. The value is the driver's connection.
macro_rules! opened {
    (
        $conn:expr, $lend:ident, $method:expr, $sql:expr, |$physical:pat_param| $bind:expr,
        |$driver:ident| $exchange:expr
    ) => {{
        let conn: &mut $crate::conn::Conn = $conn;
        conn.ready().await?;
        let result = $crate::conn::exchange!(
            conn, $method, $sql, |$physical| $bind => (),
            |$driver| $exchange, |taken, result| taken.keep_unless(result)
        );
        match result {
            Ok(driver) => conn.physical.$lend(driver),
            Err(error) => return Err(conn.fail(error)),
        }
    }};
}
pub(crate) use opened;

/// Takes the connection for a call.
#[inline]
pub(crate) fn enter<'l>(lane: &'l Lane, call: &'l Call<'_, MysqlDriver>) -> Result<Taken<'l>, CoreError> {
    let (sent, status) = (Sent::of(call), lane.status());
    if status.is_remarkable()
        && let Some(error) = status.refuse(sent, lane.slot())
    {
        return Err(error);
    }
    call.uses(lane.slot());
    lane.take_for(sent).map_err(|error| failed(error, lane).with_nothing_sent())
}

/// The wrapper's error for what happened on a connection.
#[cold]
pub(crate) fn failed(error: DriverError, lane: &Lane) -> CoreError {
    into_error(error).with_host(lane.slot().host())
}

/// The text of a query, for plugins and for what becomes of a transaction.
#[inline]
pub(crate) fn text(query: &[u8]) -> Cow<'_, str> {
    // The first is quick, the second goes byte by byte.
    std::str::from_utf8(query).map_or_else(|_| String::from_utf8_lossy(query), Cow::Borrowed)
}

impl Conn {
    pub(crate) fn new(core: CoreConnector<MysqlDriver>, physical: Physical, role: Option<Role>) -> Self {
        let link = Arc::new(Shared::new(core, physical.slot(), role));
        Self {
            physical,
            link,
            transaction: None,
            rollback_due: None,
            told: false,
            infile_handler: None,
            pass: None,
            intent: Intent::PLAIN,
        }
    }

    /// The same connection for a handle, in the same transaction if there is one.
    pub(crate) fn share(&self, pass: Pass, intent: Intent) -> Self {
        Self {
            physical: self.physical.share(),
            link: Arc::clone(&self.link),
            transaction: self.transaction,
            rollback_due: None,
            told: false,
            infile_handler: None,
            pass: Some(pass),
            intent,
        }
    }

    /// Begins a transaction. It is rolled back unless [`Transaction::commit`] is called; when it is dropped, by the next
    /// call on the connection.
    ///
    /// Whatever the options, it costs one round trip.
    ///
    /// # Errors
    /// When the connection is lost here nothing was lost with it: begin again.
    pub async fn start_transaction(&mut self, options: TxOpts) -> mysql_async::Result<Transaction<'_>> {
        Transaction::begin(self, &options).await
    }

    /// Brings the session back to its initial state: user variables, temporary tables, settings and prepared statements
    /// are gone. `false` if the server is too old to do so.
    pub async fn reset(&mut self) -> mysql_async::Result<bool> {
        let done = through!(self, Method::Reset, None, |driver| driver.reset())?;
        if done {
            self.forgets_statements();
        }
        Ok(done)
    }

    /// Becomes another user, or enters another database, in a fresh session; so do the connections that take the place of
    /// this one.
    ///
    /// # Errors
    /// When the server refuses, it closes the connection: [`wrapper_error`](crate::wrapper_error) finds a refused login.
    pub async fn change_user(&mut self, opts: ChangeUserOpts) -> mysql_async::Result<()> {
        let user = opts.clone();
        // No reset brings the former one back.
        self.physical.slot().note_session_change(SessionChange::Lasting);
        self.ready().await?;
        let mut last_ok = None;
        let changed = exchange!(self, Method::Reset, None, |_| Ok(()) => (), |driver| driver.change_user(opts), |taken, result| taken
                .finish_login(result, &mut last_ok));
        self.done(last_ok, changed)?;
        self.link.logical().session().become_user(user);
        self.physical.refresh_opts();
        self.forgets_statements();
        Ok(())
    }

    /// Whether it keeps its physical connection, whatever waits: what is left of a transaction must not run outside of it, and
    /// a handle stays where it is.
    #[inline]
    pub(crate) fn stays(&self) -> bool {
        self.pass.is_some() || self.transaction.is_some_and(|id| id == self.physical.slot().id())
    }

    /// The statements of this connection are gone. Their numbers do not come again.
    pub(crate) fn forgets_statements(&mut self) {
        self.physical.generation += 1;
    }

    /// Sets where the data of the next `LOAD DATA LOCAL` comes from. It goes to the connection of the next call and is gone
    /// with it; a handler for all connections is set with the driver's options.
    pub fn set_infile_handler<T>(&mut self, handler: T)
    where
        T: Future<Output = mysql_async::Result<InfileData>> + Send + Sync + 'static,
    {
        self.infile_handler = Some(infile::local(handler));
    }

    /// Says good-bye to the server and closes the connection. Dropping it does the same.
    ///
    /// # Errors
    /// None that matter: the connection is closed in any case. The signature is the driver's.
    pub async fn disconnect(self) -> mysql_async::Result<()> {
        drop(self);
        std::future::ready(Ok(())).await
    }

    /// The number the server gave the connection in use.
    pub fn id(&self) -> u32 {
        self.physical.id
    }

    /// The version of the server of the connection in use.
    pub fn server_version(&self) -> (u16, u16, u16) {
        self.physical.server_version
    }

    /// The driver's options of the connection in use.
    pub fn opts(&self) -> &Opts {
        &self.physical.opts
    }

    /// What the server said at the end of the last answer; nothing if that was an error.
    pub fn last_ok_packet(&self) -> Option<&OkPacket<'static>> {
        match self.physical.lent() {
            Some(conn) => conn.last_ok_packet(),
            None => self.physical.last_ok.as_ref(),
        }
    }

    /// The value the last statement gave an `AUTO_INCREMENT` column, if it did.
    pub fn last_insert_id(&self) -> Option<u64> {
        self.last_ok_packet()?.last_insert_id()
    }

    /// How many rows the last statement changed.
    pub fn affected_rows(&self) -> u64 {
        self.last_ok_packet().map_or(0, OkPacket::affected_rows)
    }

    /// What the server said about the last statement in words, or nothing.
    pub fn info(&self) -> Cow<'_, str> {
        self.last_ok_packet().and_then(OkPacket::info_str).unwrap_or_default()
    }

    /// How many warnings the last statement caused.
    pub fn get_warnings(&self) -> u16 {
        self.last_ok_packet().map_or(0, OkPacket::warnings)
    }

    /// Whether the connection is gone and no other is waiting to take its place.
    ///
    /// With the failover plugin the next call may still find another one. The loss of a connection nobody uses is noticed
    /// only by the next call.
    pub fn is_disconnected(&self) -> bool {
        !self.link.logical().has_parked() && self.physical.slot().has_ended()
    }

    /// What is known of the connection in use: its host, its role, its age.
    pub fn slot(&self) -> Arc<Slot> {
        self.look_at_lent();
        self.link.logical().newest()
    }

    /// The state of the transaction as the server last told it.
    ///
    /// An error carries no state, and neither does a result that is not read to its end:
    /// [`Unknown`](TransactionState::Unknown), until the next call has asked.
    pub fn transaction_state(&self) -> TransactionState {
        self.look_at_lent();
        self.physical.slot().transaction()
    }

    /// A result that was read to its end tells the state before the next call takes the connection back.
    fn look_at_lent(&self) {
        if let Some(conn) = self.physical.lent() {
            self.physical.lane.status().note_while_lent(conn, self.physical.slot());
        }
    }

    /// What plugins see of a statement whose text the driver's trait does not show.
    ///
    /// It may be a commit, so the outcome of a transaction that was begun as text is unknown if it is lost now. A
    /// [`Transaction`] ends by its own methods.
    pub(crate) fn text_of_unknown(&self) -> Option<&'static str> {
        self.transaction.is_none().then_some("EXECUTE")
    }

    /// A call is over.
    #[inline]
    #[expect(clippy::result_large_err, reason = "the error of the driver's own trait")]
    pub(crate) fn done<T>(
        &mut self,
        last_ok: Option<OkPacket<'static>>,
        result: Result<T, CoreError>,
    ) -> mysql_async::Result<T> {
        self.physical.last_ok = last_ok;
        result.map_err(|error| self.fail(error))
    }

    /// A call has failed, and nobody can do more about it.
    #[cold]
    pub(crate) fn fail(&mut self, error: CoreError) -> mysql_async::Error {
        // A loss that a plugin dealt with is told by its own error.
        if error.kind() == ErrorKind::Driver(DriverClass::SessionTerminated)
            && self.physical.slot().has_ended()
        {
            self.told = true;
        }
        to_driver(error)
    }
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("connection", &self.physical).finish_non_exhaustive()
    }
}
