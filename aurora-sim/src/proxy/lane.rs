//! One direction of one connection: a queue of bytes, each with the time it may arrive.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Orders;
use super::connection::Counted;

const BUFFER: usize = 64 * 1024;

/// Bytes held back at most; beyond that the sender is held up, as by a full window.
const HELD_BACK: usize = 4 * 1024 * 1024;

/// The connection must end with an RST: one side did, or was told to.
#[derive(Debug)]
pub(super) struct Reset;

#[derive(Debug, Clone, Copy)]
pub(super) enum Direction {
    ToServer,
    ToClient,
}

impl Direction {
    fn latency(self, orders: Orders) -> Duration {
        match self {
            Self::ToServer => orders.latency_up,
            Self::ToClient => orders.latency_down,
        }
    }
}

struct Parcel {
    due: Instant,
    /// Empty: the sender has closed.
    bytes: Vec<u8>,
}

/// Carries bytes until the sender has closed and all have arrived. `counted` is given up when the sender leaves.
pub(super) async fn run(
    from: &TcpStream,
    to: &TcpStream,
    mut orders: watch::Receiver<Orders>,
    direction: Direction,
    mut counted: Option<Counted>,
) -> Result<(), Reset> {
    let mut buffer = vec![0; BUFFER];
    let mut queue: VecDeque<Parcel> = VecDeque::new();
    let mut held_back = 0;
    let mut sender_left = false;
    loop {
        let now = *orders.borrow_and_update();
        let silent = now.fault.is_silent();
        let latency = direction.latency(now);
        let due = queue.front().map(|parcel| parcel.due);
        tokio::select! {
            biased;
            changed = orders.changed() => changed.map_err(|_| Reset)?,
            () = arrival(due), if !silent && due.is_some() => {
                let Some(parcel) = queue.pop_front() else { continue };
                if parcel.bytes.is_empty() {
                    let _ = SockRef::from(to).shutdown(Shutdown::Write);
                    return Ok(());
                }
                held_back -= parcel.bytes.len();
                write_all(to, &parcel.bytes).await?;
            }
            _ = from.readable(), if !sender_left && held_back < HELD_BACK => {
                let length = match from.try_read(&mut buffer) {
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(_) if silent => 0, // nobody hears of it before the black hole is over
                    Err(_) => return Err(Reset),
                };
                if length == 0 {
                    sender_left = true;
                    counted = None;
                } else if queue.is_empty() && !silent && latency.is_zero() {
                    write_all(to, &buffer[..length]).await?;
                    continue;
                }
                held_back += length;
                queue.push_back(Parcel { due: Instant::now() + latency, bytes: buffer[..length].to_vec() });
            }
        }
        debug_assert!(
            counted.is_none() || !sender_left,
            "a connection is not counted after its client has left"
        );
    }
}

/// Whether the client has closed, also with unread bytes from it in between.
pub(super) async fn has_left(client: &TcpStream) -> bool {
    match tokio::time::timeout(Duration::ZERO, client.ready(Interest::READABLE)).await {
        Ok(Ok(ready)) => ready.is_read_closed(),
        Ok(Err(_)) => true,
        Err(_) => false,
    }
}

async fn arrival(due: Option<Instant>) {
    if let Some(due) = due {
        sleep_until(due).await;
    }
}

async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> Result<(), Reset> {
    while !bytes.is_empty() {
        match to.try_write(bytes) {
            Ok(length) => bytes = &bytes[length..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                to.writable().await.map_err(|_| Reset)?;
            }
            Err(_) => return Err(Reset),
        }
    }
    Ok(())
}
