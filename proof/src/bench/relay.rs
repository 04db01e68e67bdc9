//! A relay that counts round trips: how often the client spoke after the server had.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Passes everything on to one server. Ends with its owner.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    turns: Arc<Mutex<Vec<usize>>>,
    _task: JoinSet<()>,
}

impl Relay {
    /// A relay to `server` on an address of its own.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn to(server: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let turns = Arc::new(Mutex::new(Vec::new()));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, server, Arc::clone(&turns)));
        Ok(Self { address, turns, _task: task })
    }

    /// Where to connect to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Round trips so far over all connections; opening the connection itself is none of them.
    pub fn round_trips(&self) -> usize {
        lock(&self.turns).iter().sum()
    }

    /// How many connections came so far.
    pub fn connections(&self) -> usize {
        lock(&self.turns).len()
    }
}

fn lock(turns: &Mutex<Vec<usize>>) -> std::sync::MutexGuard<'_, Vec<usize>> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, server: SocketAddr, turns: Arc<Mutex<Vec<usize>>>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let number = {
            let mut turns = lock(&turns);
            turns.push(0);
            turns.len() - 1
        };
        let turns = Arc::clone(&turns);
        connections.spawn(async move {
            // Either end may go at any time.
            let _ = pass(client, server, || lock(&turns)[number] += 1).await;
        });
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, mut turn: impl FnMut()) -> std::io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut question, mut answer) = (vec![0; 16_384], vec![0; 16_384]);
    let mut is_clients_turn = true;
    loop {
        tokio::select! {
            read = client.read(&mut question) => {
                let length = read?;
                if length == 0 {
                    return server.shutdown().await;
                }
                server.write_all(&question[..length]).await?;
                is_clients_turn = false;
            }
            read = server.read(&mut answer) => {
                let length = read?;
                if length == 0 {
                    return client.shutdown().await;
                }
                // The first bytes of an answer end a round trip; a greeting of the server's is half of one.
                if !std::mem::replace(&mut is_clients_turn, true) {
                    turn();
                }
                client.write_all(&answer[..length]).await?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn questions_that_follow_an_answer_are_counted() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let relay = Relay::to(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(relay.address()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        for expected in 1..=3 {
            client.write_all(b"?").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            server.write_all(b"!").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
            assert_eq!(relay.round_trips(), expected);
        }
        assert_eq!(relay.connections(), 1);
    }
}
