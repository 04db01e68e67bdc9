//! One physical connection.

use std::fmt;
use std::sync::Arc;

use aws_wrapper_core::Error as CoreError;
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::runtime::Shared;
use mysql_async::{Conn, OkPacket, Opts};

use crate::clean::LoginRoles;
use crate::driver::Shared as Link;
use crate::error::DriverError;
use crate::lane::{Lane, Loss, discard};
use crate::statement::{Binding, Kind, is_number, refused_number};

/// One connection to one server: the driver's connection and what the wrapper knows about it.
///
/// Dropping it closes it, without a task in the background, whether or not the server answers.
pub struct Physical {
    pub(crate) lane: Arc<Lane>,
    /// The connection while a result that borrows it is being read, and until the next call after that.
    lent: Option<Conn>,
    /// What has it may do what it likes with it.
    is_abroad: bool,
    /// What the server said at the end of the last answer.
    pub(crate) last_ok: Option<OkPacket<'static>>,
    pub(crate) id: u32,
    pub(crate) server_version: (u16, u16, u16),
    pub(crate) opts: Opts,
    /// Counts how often the server has forgotten the statements of this connection.
    pub(crate) generation: u32,
    /// Asked when the session is first reset.
    pub(crate) login_roles: Option<LoginRoles>,
    /// Whether it is a handle's, which leaves the connection to its owner.
    is_shared: bool,
}

impl Physical {
    pub(crate) fn new(conn: Conn, slot: &Arc<Slot>, shared: &Shared) -> Self {
        Self {
            id: conn.id(),
            server_version: conn.server_version(),
            opts: conn.opts().clone(),
            last_ok: conn.last_ok_packet().cloned(),
            lane: Lane::new(conn, slot, shared),
            lent: None,
            is_abroad: false,
            generation: 0,
            login_roles: None,
            is_shared: false,
        }
    }

    /// The same connection, for a handle.
    pub(crate) fn share(&self) -> Self {
        Self {
            lane: Arc::clone(&self.lane),
            lent: None,
            is_abroad: false,
            last_ok: None,
            id: self.id,
            server_version: self.server_version,
            opts: self.opts.clone(),
            generation: self.generation,
            login_roles: None,
            is_shared: true,
        }
    }

    /// The driver's connection, which the wrapper knows no more.
    ///
    /// # Errors
    /// Why it has ended, if it has.
    pub(crate) fn into_driver(mut self) -> Result<Conn, DriverError> {
        self.reclaim();
        Ok(self.lane.take()?.keep())
    }

    /// What the registry knows about the connection.
    pub fn slot(&self) -> &Arc<Slot> {
        self.lane.slot()
    }

    /// Makes room for the connection that waits, if one does.
    #[cold]
    pub(crate) fn adopt(&mut self, link: &Link) {
        let mut parked = None;
        link.adopt(|connection| parked = Some(connection));
        if let Some(parked) = parked {
            *self = parked;
        }
    }

    /// Whether it takes statements of the driver's own.
    ///
    /// # Errors
    /// It does not: see [`Lane::refuse_numbers`].
    #[inline]
    pub(crate) fn takes_numbers(&self) -> Result<(), CoreError> {
        if self.lane.refuses_numbers() { Err(refused_number(self.slot())) } else { Ok(()) }
    }

    /// As [`takes_numbers`](Self::takes_numbers), for what generic code executes.
    #[inline]
    pub(crate) fn takes<S>(&self) -> Result<(), CoreError> {
        if self.lane.refuses_numbers() && is_number::<S>() { self.takes_numbers() } else { Ok(()) }
    }

    /// The connection, for a statement of this kind.
    ///
    /// # Errors
    /// When it refuses statements of the driver's own and this is one.
    pub(crate) fn binding_for(&self, kind: Kind<'_>) -> Result<Binding, CoreError> {
        if matches!(kind, Kind::Driver(_)) {
            self.takes_numbers()?;
        }
        Ok(Binding::of(self))
    }

    /// Another user may have other options.
    pub(crate) fn refresh_opts(&mut self) {
        if let Ok(mut taken) = self.lane.take() {
            self.opts = taken.conn().opts().clone();
            self.lane.put_back(taken.keep());
        }
    }

    /// Keeps the connection where a result can borrow it.
    pub(crate) fn lend(&mut self, conn: Conn) -> &mut Conn {
        self.is_abroad = false;
        self.lent.insert(conn)
    }

    /// As [`lend`](Self::lend), to code of the driver's that does with it what it likes.
    pub(crate) fn lend_abroad(&mut self, conn: Conn) -> &mut Conn {
        self.is_abroad = true;
        self.lent.insert(conn)
    }

    /// The connection a result borrows or has borrowed last.
    pub(crate) fn lent(&self) -> Option<&Conn> {
        self.lent.as_ref()
    }

    /// As [`lent`](Self::lent).
    pub(crate) fn lent_mut(&mut self) -> Option<&mut Conn> {
        self.lent.as_mut()
    }

    /// Nobody reads a result any more: puts the connection back for the next call.
    #[inline]
    pub(crate) fn reclaim(&mut self) {
        if let Some(conn) = self.lent.take() {
            self.put_back(conn);
        }
    }

    #[cold]
    fn put_back(&mut self, mut conn: Conn) {
        if self.slot().has_ended() {
            // Lost while it was lent, and whoever read the result knows.
            return discard(conn);
        }
        if conn.is_disconnected() {
            discard(conn);
            return self.lane.lose(Loss::Dropped, "a result on it was dropped while it was read");
        }
        // What is left of the result is read before the next call.
        self.lane.status().note_returned(&mut conn, self.is_abroad, self.slot());
        self.last_ok = conn.last_ok_packet().cloned();
        self.lane.put_back(conn);
    }
}

impl fmt::Debug for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the driver's connection: it shows the password.
        f.debug_struct("Physical")
            .field("id", &self.id)
            .field("server_version", &self.server_version)
            .field("slot", self.slot())
            .finish_non_exhaustive()
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        if self.is_shared {
            return self.reclaim();
        }
        if let Some(conn) = self.lent.take() {
            discard(conn);
        }
        self.lane.close();
        self.slot().mark_ended();
    }
}
