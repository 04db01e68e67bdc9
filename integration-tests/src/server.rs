//! Servers that are none: they accept connections and misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::run::spawn;

/// What a server does with a connection.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_enums, reason = "a list of faults")]
pub enum Behaviour {
    /// Takes everything and never answers.
    Silent,
    /// Answers the first bytes with these and waits for more.
    Answers(&'static [u8]),
    /// Answers with one byte every 100 ms.
    Drips,
    /// Closes at once.
    Closes,
}

/// Listens on loopback until it is dropped.
#[derive(Debug)]
pub struct FakeServer {
    address: SocketAddr,
    open: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeServer {
    /// Starts listening.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub async fn start(behaviour: Behaviour) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let open = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&open);
        let task = spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let counter = Arc::clone(&counter);
                connections.spawn(async move {
                    serve(stream, behaviour).await;
                    counter.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, open, task }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections that clients hold.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, behaviour: Behaviour) {
    let mut buffer = [0; 1024];
    match behaviour {
        Behaviour::Closes => return,
        Behaviour::Silent => {}
        Behaviour::Answers(text) => {
            if stream.read(&mut buffer).await.is_ok() {
                let _ = stream.write_all(text).await;
            }
        }
        Behaviour::Drips => {
            while stream.write_all(b"N").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {}
}
