use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::*;

const SHORT: Duration = Duration::from_millis(100);

/// A server that sends everything back, and the proxy in front of it.
async fn echo() -> (Proxy, SocketAddr, Tasks) {
    let tasks = Tasks::new(Handle::current());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut clients = tokio::task::JoinSet::new();
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            clients.spawn(async move {
                let (mut read, mut write) = client.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    let address = free_address();
    let proxy = Proxy::bind(address, server, &tasks).unwrap();
    proxy.open().await;
    (proxy, address, tasks)
}

fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

async fn eventually<T>(mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(Instant::now() < end, "it did not happen");
        sleep(Duration::from_millis(2)).await;
    }
}

async fn ping(stream: &mut TcpStream) -> io::Result<()> {
    let mut answer = [0; 4];
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut answer).await?;
    Ok(())
}

#[tokio::test]
async fn bytes_pass_and_connections_are_counted() {
    let (proxy, address, _tasks) = echo().await;
    let mut stream = connect(address).await;
    ping(&mut stream).await.unwrap();
    assert_eq!(proxy.connections(), 1);
    drop(stream);
    eventually(async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_black_hole_holds_bytes_back_until_it_is_over() {
    let (proxy, address, _tasks) = echo().await;
    let mut stream = connect(address).await;
    ping(&mut stream).await.unwrap();
    proxy.set_fault(NetworkFault::BlackHole).await;
    assert!(timeout(SHORT, ping(&mut stream)).await.is_err());
    let mut late = connect(address).await;
    assert!(timeout(SHORT, ping(&mut late)).await.is_err());
    proxy.set_fault(NetworkFault::None).await;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    late.read_exact(&mut answer).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_in_a_black_hole_is_not_counted() {
    let (proxy, address, _tasks) = echo().await;
    let mut early = connect(address).await;
    ping(&mut early).await.unwrap();
    proxy.set_fault(NetworkFault::BlackHole).await;
    let mut late = connect(address).await;
    late.write_all(b"hello").await.unwrap();
    eventually(async || (proxy.connections() == 2).then_some(())).await;
    drop((early, late));
    eventually(async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn an_unreachable_host_does_not_answer_a_connect() {
    let (proxy, address, _tasks) = echo().await;
    proxy.set_fault(NetworkFault::Unreachable).await;
    eventually(async || timeout(SHORT, TcpStream::connect(address)).await.is_err().then_some(())).await;
    proxy.set_fault(NetworkFault::None).await;
    ping(&mut connect(address).await).await.unwrap();
}

#[tokio::test]
async fn a_reset_is_seen_at_once_and_new_connections_work() {
    let (proxy, address, _tasks) = echo().await;
    let mut stream = connect(address).await;
    ping(&mut stream).await.unwrap();
    proxy.reset().await;
    let error = timeout(SHORT, stream.read_u8()).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    ping(&mut connect(address).await).await.unwrap();
}

#[tokio::test]
async fn refusing_spares_live_connections() {
    let (proxy, address, _tasks) = echo().await;
    let mut stream = connect(address).await;
    ping(&mut stream).await.unwrap();
    proxy.set_fault(NetworkFault::Refuse).await;
    assert!(TcpStream::connect(address).await.is_err());
    ping(&mut stream).await.unwrap();
    proxy.set_fault(NetworkFault::None).await;
    ping(&mut connect(address).await).await.unwrap();
}

#[tokio::test]
async fn latency_is_added_in_each_direction_but_does_not_limit_the_rate() {
    let (proxy, address, _tasks) = echo().await;
    let mut stream = connect(address).await;
    proxy.set_latency(Duration::from_millis(30), Duration::from_millis(20));
    let start = Instant::now();
    ping(&mut stream).await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    let start = Instant::now();
    for _ in 0..50 {
        stream.write_all(b"x").await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut answer = [0; 50];
    stream.read_exact(&mut answer).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
