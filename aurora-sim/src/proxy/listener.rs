//! Accepting connections, or not.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{NetworkFault, Orders, connection};
use crate::tasks::Tasks;

/// Connections that the system accepts on our behalf before we do.
const BACKLOG: u32 = 1024;

/// A connection attempt to our own full listener that takes longer is not answered.
const PLUG_PATIENCE: Duration = Duration::from_millis(30);

/// Pause before another try to get our address back.
const REBIND_PAUSE: Duration = Duration::from_millis(10);

/// Binds without listening: connecting is refused, and nobody else can have the address.
pub(super) fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Serves one address until the cluster ends.
pub(super) async fn run(
    mut reserved: TcpSocket,
    address: SocketAddr,
    server: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    live: Arc<AtomicUsize>,
    tasks: Tasks,
) {
    loop {
        let now = *orders.borrow_and_update();
        let mode = Mode::of(now);
        match mode {
            Mode::Refuse => {
                if orders.wait_for(|orders| Mode::of(*orders) != mode).await.is_err() {
                    return;
                }
                continue;
            }
            Mode::Accept => match reserved.listen(BACKLOG) {
                Ok(listener) => {
                    while Mode::of(*orders.borrow_and_update()) == mode {
                        tokio::select! {
                            changed = orders.changed() => if changed.is_err() { return },
                            client = listener.accept() => if let Ok((client, _)) = client {
                                tasks.spawn(connection::run(client, server, orders.clone(), live.clone()));
                            },
                        }
                    }
                }
                Err(error) => tracing::warn!(%address, %error, "cannot listen"),
            },
            Mode::Ignore => match reserved.listen(0) {
                Ok(listener) => {
                    let plugs = plug(&listener, address).await;
                    if orders.wait_for(|orders| Mode::of(*orders) != mode).await.is_err() {
                        return;
                    }
                    drop(plugs);
                }
                Err(error) => tracing::warn!(%address, %error, "cannot listen"),
            },
        }
        reserved = loop {
            match reserve(address) {
                Ok(socket) => break socket,
                Err(error) => tracing::debug!(%address, %error, "address still taken"),
            }
            tokio::time::sleep(REBIND_PAUSE).await;
        };
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Accept,
    Refuse,
    Ignore,
}

impl Mode {
    fn of(orders: Orders) -> Self {
        match orders.fault {
            NetworkFault::Unreachable => Self::Ignore,
            NetworkFault::BlackHole => Self::Accept,
            NetworkFault::Refuse => Self::Refuse,
            NetworkFault::None if orders.open => Self::Accept,
            NetworkFault::None => Self::Refuse,
        }
    }
}

/// Fills the queue of a listener that nobody empties: the kernel then drops whoever knocks, so connecting times out
/// as with a host that is gone.
async fn plug(listener: &TcpListener, address: SocketAddr) -> Vec<TcpStream> {
    let mut plugs = Vec::new();
    debug_assert!(listener.local_addr().is_ok_and(|local| local == address), "we plug our own listener");
    while let Ok(Ok(stream)) = timeout(PLUG_PATIENCE, TcpStream::connect(address)).await {
        plugs.push(stream);
    }
    plugs
}
