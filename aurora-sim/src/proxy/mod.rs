//! The fault proxy in front of every server: the network that fails on demand.
//!
//! Clients talk to the instance's public address, where this proxy listens; it passes bytes on to the server. Faults
//! are a value on a `watch` channel that every task looks at.

mod connection;
mod lane;
mod listener;
mod open;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use self::listener::{Listener, Mode};
use self::open::Open;
use crate::tasks::Tasks;

/// A listener changes its ways within milliseconds.
const OBEDIENCE_DEADLINE: Duration = Duration::from_secs(2);

/// What the network between clients and one instance does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkFault {
    /// Bytes pass.
    #[default]
    None,
    /// Nothing passes in either direction, on live and on new connections; connecting still succeeds. When it is
    /// over, the bytes held back arrive, as retransmitted packets would.
    BlackHole,
    /// As [`BlackHole`](Self::BlackHole), and connecting is not answered either.
    Unreachable,
    /// New connections are refused; live ones go on.
    Refuse,
}

impl NetworkFault {
    /// Whether bytes are held back.
    pub(crate) fn is_silent(self) -> bool {
        matches!(self, Self::BlackHole | Self::Unreachable)
    }
}

/// All that a proxy is told.
#[derive(Debug, Clone, Copy, Default)]
struct Orders {
    /// Whether the server runs; without a server new connections are refused, as by its host.
    open: bool,
    fault: NetworkFault,
    /// Added to every byte on its way from the client to the server.
    latency_up: Duration,
    /// Added to every byte on its way back.
    latency_down: Duration,
    /// Connections of an older epoch are reset.
    epoch: u64,
}

/// One listening address and the connections through it.
#[derive(Debug)]
pub(crate) struct Proxy {
    orders: watch::Sender<Orders>,
    /// What the listener does by now.
    mode: watch::Receiver<Option<Mode>>,
    live: Arc<AtomicUsize>,
    open: Open,
}

impl Proxy {
    /// Takes the address at once, which also reserves it; answers there only when opened.
    pub(crate) fn bind(address: SocketAddr, server: SocketAddr, tasks: &Tasks) -> io::Result<Self> {
        let (orders, watch) = watch::channel(Orders::default());
        let live = Arc::new(AtomicUsize::new(0));
        let (done, mode) = watch::channel(None);
        let reserved = listener::reserve(address)?;
        let open = Open::default();
        let listener = Listener {
            address,
            server,
            orders: watch,
            mode: done,
            live: live.clone(),
            open: open.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(listener.run(reserved));
        Ok(Self { orders, mode, live, open })
    }

    /// The server runs: accept connections.
    pub(crate) async fn open(&self) {
        self.orders.send_modify(|orders| orders.open = true);
        self.until_obeyed().await;
    }

    /// The server is gone: refuse connections.
    pub(crate) async fn close(&self) {
        self.orders.send_modify(|orders| orders.open = false);
        self.until_obeyed().await;
    }

    pub(crate) fn fault(&self) -> NetworkFault {
        self.orders.borrow().fault
    }

    pub(crate) async fn set_fault(&self, fault: NetworkFault) {
        self.orders.send_modify(|orders| orders.fault = fault);
        self.until_obeyed().await;
    }

    pub(crate) fn latency(&self) -> (Duration, Duration) {
        let orders = self.orders.borrow();
        (orders.latency_up, orders.latency_down)
    }

    pub(crate) fn set_latency(&self, up: Duration, down: Duration) {
        self.orders.send_modify(|orders| (orders.latency_up, orders.latency_down) = (up, down));
    }

    /// Resets every live connection, also silent ones; when this returns, it is done.
    pub(crate) async fn reset(&self) {
        self.orders.send_modify(|orders| orders.epoch += 1);
        let epoch = self.orders.borrow().epoch;
        let _ = timeout(OBEDIENCE_DEADLINE, self.open.none_before(epoch)).await;
    }

    /// Waits until a client that connects now meets what was ordered.
    async fn until_obeyed(&self) {
        let mut mode = self.mode.clone();
        let ordered = Some(Mode::of(*self.orders.borrow()));
        // An error means that the cluster has ended.
        let _ = timeout(OBEDIENCE_DEADLINE, mode.wait_for(|mode| *mode == ordered)).await;
    }

    /// Connections that clients hold open at this moment.
    pub(crate) fn connections(&self) -> usize {
        self.live.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
