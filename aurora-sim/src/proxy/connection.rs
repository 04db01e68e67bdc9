//! One client's connection through the proxy.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::Orders;
use super::lane::{self, Direction};
use super::open::Entered;

/// How often a silent connection that has no server yet looks whether its client has left.
const LEFT_CHECK: Duration = Duration::from_millis(20);

/// Counts a client's connection for as long as it exists.
#[derive(Debug)]
pub(super) struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(live: Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self(live)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Carries one connection to its end.
///
/// `entered` is dropped after the sockets: whoever waits for that knows that they are closed.
pub(super) async fn run(
    entered: Entered,
    client: TcpStream,
    server: SocketAddr,
    mut orders: watch::Receiver<Orders>,
    live: Arc<AtomicUsize>,
) {
    let counted = Counted::new(live);
    let epoch = entered.epoch();
    if until_connectable(&client, &mut orders, epoch).await == Next::Drop {
        return;
    }
    let connected = tokio::select! {
        connected = TcpStream::connect(server) => connected.ok(),
        () = reset_ordered(orders.clone(), epoch) => None,
    };
    let Some(server) = connected else { return reset(&client) };
    // A proxy that waits for more bytes would add delays that no network has.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));

    let up = lane::run(&client, &server, orders.clone(), Direction::ToServer, Some(counted));
    let down = lane::run(&server, &client, orders.clone(), Direction::ToClient, None);
    let clean = tokio::select! {
        ended = async { tokio::try_join!(up, down) } => ended.is_ok(),
        () = reset_ordered(orders, epoch) => false,
    };
    if !clean {
        reset(&client);
        reset(&server);
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Connect,
    Drop,
}

/// Waits while nothing passes; the server must not hear of a connection made in a black hole.
async fn until_connectable(client: &TcpStream, orders: &mut watch::Receiver<Orders>, epoch: u64) -> Next {
    loop {
        let now = *orders.borrow_and_update();
        if now.epoch != epoch {
            reset(client);
            return Next::Drop;
        }
        if !now.fault.is_silent() {
            return Next::Connect;
        }
        tokio::select! {
            changed = orders.changed() => if changed.is_err() { return Next::Drop },
            () = tokio::time::sleep(LEFT_CHECK) => if lane::has_left(client).await { return Next::Drop },
        }
    }
}

async fn reset_ordered(mut orders: watch::Receiver<Orders>, epoch: u64) {
    // An error means that the cluster has ended: reset as well.
    let _ = orders.wait_for(|orders| orders.epoch != epoch).await;
}

/// Makes the close that follows an RST.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
