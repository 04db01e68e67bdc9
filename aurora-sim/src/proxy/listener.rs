//! Accepting connections, or not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::open::Open;
use super::{NetworkFault, Orders, connection};
use crate::tasks::Tasks;

/// Connections that the system accepts on our behalf before we do.
const BACKLOG: u32 = 1024;

/// A connection attempt to our own full listener that takes longer is not answered.
const PLUG_PATIENCE: Duration = Duration::from_millis(30);

/// Pause before another try to get our address back.
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// What becomes of a client that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Accept,
    Refuse,
    Ignore,
}

impl Mode {
    pub(super) fn of(orders: Orders) -> Self {
        match orders.fault {
            NetworkFault::Unreachable => Self::Ignore,
            NetworkFault::BlackHole => Self::Accept,
            NetworkFault::None if orders.open => Self::Accept,
            NetworkFault::None | NetworkFault::Refuse => Self::Refuse,
        }
    }
}

/// One public address and what it needs to serve clients.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) orders: watch::Receiver<Orders>,
    pub(super) mode: watch::Sender<Option<Mode>>,
    pub(super) live: Arc<AtomicUsize>,
    pub(super) open: Open,
    pub(super) tasks: Tasks,
}

/// Binds without listening: connecting is refused, and nobody else can have the address.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

impl Listener {
    /// Serves the address until the cluster ends.
    pub(super) async fn run(mut self, mut reserved: TcpSocket) {
        loop {
            let mode = Mode::of(*self.orders.borrow_and_update());
            let ended = match mode {
                Mode::Refuse => {
                    self.mode.send_replace(Some(mode));
                    if self.until_other_than(mode).await.is_err() {
                        return;
                    }
                    continue;
                }
                Mode::Accept => match reserved.listen(BACKLOG) {
                    Ok(listener) => self.accept(listener).await,
                    Err(error) => self.failed(&error).await,
                },
                Mode::Ignore => match reserved.listen(0) {
                    Ok(listener) => self.ignore(listener).await,
                    Err(error) => self.failed(&error).await,
                },
            };
            if ended.is_err() {
                return;
            }
            reserved = loop {
                match reserve(self.address) {
                    Ok(socket) => break socket,
                    Err(error) => tracing::debug!(address = %self.address, %error, "address still taken"),
                }
                tokio::time::sleep(REBIND_PAUSE).await;
            };
        }
    }

    async fn accept(&mut self, listener: TcpListener) -> Result<(), Ended> {
        self.mode.send_replace(Some(Mode::Accept));
        while Mode::of(*self.orders.borrow_and_update()) == Mode::Accept {
            tokio::select! {
                changed = self.orders.changed() => changed.map_err(|_| Ended)?,
                client = listener.accept() => match client {
                    Ok((client, _)) => {
                        let entered = self.open.enter(self.orders.borrow().epoch);
                        let connection =
                            connection::run(entered, client, self.server, self.orders.clone(), self.live.clone());
                        self.tasks.spawn(connection);
                    }
                    Err(error) => self.failed(&error).await?,
                },
            }
        }
        Ok(())
    }

    async fn ignore(&mut self, listener: TcpListener) -> Result<(), Ended> {
        let plugs = plug(self.address).await;
        self.mode.send_replace(Some(Mode::Ignore));
        let ended = self.until_other_than(Mode::Ignore).await;
        drop((listener, plugs));
        ended
    }

    async fn until_other_than(&mut self, mode: Mode) -> Result<(), Ended> {
        self.orders.wait_for(|orders| Mode::of(*orders) != mode).await.map(drop).map_err(|_| Ended)
    }

    async fn failed(&self, error: &io::Error) -> Result<(), Ended> {
        tracing::warn!(address = %self.address, %error, "cannot take connections");
        tokio::time::sleep(REBIND_PAUSE).await;
        Ok(())
    }
}

/// The cluster has ended.
#[derive(Debug)]
struct Ended;

/// Fills the queue of a listener that nobody empties: the kernel then drops whoever knocks, so connecting times out
/// as with a host that is gone.
async fn plug(address: SocketAddr) -> Vec<TcpStream> {
    let mut plugs = Vec::new();
    while let Ok(Ok(stream)) = timeout(PLUG_PATIENCE, TcpStream::connect(address)).await {
        plugs.push(stream);
    }
    plugs
}
