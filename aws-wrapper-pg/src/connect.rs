//! Opening a physical connection: socket, TLS, start-up, and the task that drives it.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::driver::{ConnectRequest, NetworkSettings};
use aws_wrapper_core::error::DriverClass;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::registry::{EndReason, Slot};
use aws_wrapper_core::resolver::LookupError;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::timeout_at;
use tokio_postgres::config::SslMode;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls};

use crate::classify::{Stage, class_of_code};
use crate::driver::PgDriver;
use crate::error::{DriverError, connect_failed, describe};
use crate::owner::Owner;
use crate::physical::Physical;
use crate::status::{Observed, ObservingTls, Scanner};
use crate::tls::{Handshake, Tls};

/// Opens a connection for `request`. The caller sets the deadline; when it passes, this future is dropped and nothing
/// stays behind.
pub(crate) async fn connect(driver: &PgDriver, request: &ConnectRequest) -> Result<Physical, DriverError> {
    let (slot, owner) = (request.slot(), Arc::new(Owner::default()));
    let mut config = driver.config().clone();
    if let Some(user) = request.user() {
        config.user(user);
    }
    if let Some(password) = request.password() {
        config.password(password.expose());
    }

    let (socket, peer) = dial(driver, request).await?;
    if let Peer::Tcp(address) = peer {
        slot.set_peer(address);
    }
    let name = request.host().host().to_owned();
    let dialled = Dialled { peer, name, tls: Arc::clone(driver.tls()), socket: driver.socket(request) };
    let (client, role) = if let Some(handshake) = dialled.handshake() {
        config.ssl_mode(driver.tls().driver_mode());
        let scanner = Scanner::new(Arc::clone(slot), Arc::clone(&owner), !driver.tls().may_send_cleartext());
        let opened = config.connect_raw(Observed::new(socket, scanner), ObservingTls(handshake)).await;
        start(opened, request, &owner)?
    } else {
        // Not the branch above with TLS off: what `NoTls` can do is hidden in the driver, and the type must be it.
        config.ssl_mode(SslMode::Disable);
        let scanner = Scanner::new(Arc::clone(slot), Arc::clone(&owner), false);
        start(config.connect_raw(Observed::new(socket, scanner), NoTls).await, request, &owner)?
    };
    Ok(Physical::new(client, Arc::clone(slot), role, dialled, owner, Arc::clone(request.shared())))
}

/// Hands an opened connection to its task.
fn start<S, T>(
    opened: Result<(Client, Connection<S, T>), tokio_postgres::Error>,
    request: &ConnectRequest,
    owner: &Arc<Owner>,
) -> Result<(Client, Option<Role>), DriverError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, connection) = opened.map_err(connect_failed)?;
    let role = match connection.parameter("in_hot_standby") {
        Some("on") => Some(Role::Reader),
        Some("off") => Some(Role::Writer),
        _ => None,
    };
    let slot = request.slot();
    let driven = Driven { connection, end: End(Arc::clone(slot)) };
    request.shared().drive(slot, drive(driven, Arc::clone(owner)));
    Ok((client, role))
}

/// The connection and the mark of its end, dropped in this order also when the task is aborted: whoever sees the mark
/// knows that the socket is closed.
struct Driven<S, T> {
    connection: Connection<S, T>,
    end: End,
}

struct End(Arc<Slot>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.mark_ended();
    }
}

/// Moves bytes until the connection ends. The reason is recorded before the connection is dropped, because dropping it
/// wakes the calls that will ask for the reason.
///
/// Not an `async fn`: that would keep its argument twice, and the connection is most of what a client takes.
#[expect(clippy::manual_async_fn, reason = "half the size")]
fn drive<S, T>(mut driven: Driven<S, T>, owner: Arc<Owner>) -> impl Future<Output = ()>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    async move {
        let reason = loop {
            match poll_fn(|cx| driven.connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(notification))) => owner.deliver(notification),
                Some(Ok(AsyncMessage::Notice(notice))) => {
                    tracing::info!(
                        host = %driven.end.0.host(),
                        severity = notice.severity(),
                        code = notice.code().code(),
                        "{}",
                        notice.message()
                    );
                }
                Some(Ok(_)) => {}
                Some(Err(error)) => break end_reason(&error),
                None => break EndReason::new(DriverClass::Other, None, "closed by the client"),
            }
        };
        driven.end.0.record_end(reason);
        drop(driven);
    }
}

fn end_reason(error: &tokio_postgres::Error) -> EndReason {
    match error.as_db_error() {
        Some(db) => {
            let code = db.code().code();
            let class = class_of_code(code, db.message(), Stage::Ending);
            EndReason::new(class, Some(code.to_owned()), db.message())
        }
        None => EndReason::new(DriverClass::Network, None, describe(error)),
    }
}

/// Where a connection really went, and how to get there again for a cancel request.
#[derive(Debug, Clone)]
pub(crate) struct Dialled {
    pub(crate) peer: Peer,
    pub(crate) name: String,
    pub(crate) tls: Arc<Tls>,
    pub(crate) socket: SocketOptions,
}

impl Dialled {
    /// A second connection to the same server.
    pub(crate) async fn again(&self) -> Result<Socket, DriverError> {
        self.peer.dial(&self.socket).await.map_err(|source| self.peer.failed(source))
    }

    /// The TLS of a connection; sockets of the file system have none.
    pub(crate) fn handshake(&self) -> Option<Handshake> {
        match self.peer {
            Peer::Tcp(_) => self.tls.handshake(&self.name),
            Peer::Unix(_) => None,
        }
    }
}

/// The address that answered.
#[derive(Debug, Clone)]
pub(crate) enum Peer {
    Tcp(SocketAddr),
    #[cfg_attr(not(unix), expect(dead_code, reason = "there are no such sockets here"))]
    Unix(PathBuf),
}

/// What is set on a socket.
#[derive(Debug, Clone)]
pub(crate) struct SocketOptions {
    pub(crate) keepalive: Option<TcpKeepalive>,
    pub(crate) user_timeout: Option<Duration>,
}

impl SocketOptions {
    /// The wrapper's settings decide whether there are probes, the driver's configuration how often.
    pub(crate) fn new(network: &NetworkSettings, config: &Config) -> Self {
        let keepalive = (network.tcp_keep_alive && config.get_keepalives()).then(|| {
            let idle = config.get_keepalives_idle();
            // The driver's default of two hours notices nothing in time; it means "not set" here.
            let idle = if idle == DRIVER_KEEPALIVE_IDLE { KEEPALIVE_IDLE } else { idle };
            let interval = config.get_keepalives_interval().unwrap_or(KEEPALIVE_INTERVAL);
            let retries = config.get_keepalives_retries().unwrap_or(KEEPALIVE_RETRIES);
            TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries)
        });
        let user_timeout = config.get_tcp_user_timeout().copied().or(network.tcp_user_timeout);
        Self { keepalive, user_timeout }
    }

    fn apply(&self, tcp: &TcpStream) -> io::Result<()> {
        tcp.set_nodelay(true)?;
        let socket = SockRef::from(tcp);
        if let Some(keepalive) = &self.keepalive {
            socket.set_tcp_keepalive(keepalive)?;
        }
        #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
        socket.set_tcp_user_timeout(self.user_timeout)?;
        Ok(())
    }
}

const DRIVER_KEEPALIVE_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// Tries each address in turn; an address that does not answer gets its share of the time that is left.
async fn dial(driver: &PgDriver, request: &ConnectRequest) -> Result<(Socket, Peer), DriverError> {
    let options = driver.socket(request);
    let host = request.host();
    if let Some(directory) = driver.unix_directory() {
        let peer = Peer::Unix(unix_path(directory, host.port()));
        let socket = peer.dial(&options).await.map_err(|source| peer.failed(source))?;
        return Ok((socket, peer));
    }
    let failed = |error| DriverError::lookup(host.host(), error);
    let fixed = driver.fixed_address(host.host()).map(|address| SocketAddr::new(address, host.port()));
    let addresses = match request.address().or(fixed) {
        Some(address) => vec![address],
        None => request.look_up().await.map_err(failed)?,
    };
    let mut last = failed(LookupError::NoSuchName);
    for (index, address) in addresses.iter().enumerate() {
        let share = request.share_of_time(addresses.len() - index);
        let peer = Peer::Tcp(*address);
        match timeout_at(share, peer.dial(&options)).await {
            Ok(Ok(socket)) => return Ok((socket, peer)),
            Ok(Err(source)) => last = peer.failed(source),
            Err(_) => last = peer.failed(io::ErrorKind::TimedOut.into()),
        }
    }
    Err(last)
}

fn unix_path(directory: &Path, port: u16) -> PathBuf {
    directory.join(format!(".s.PGSQL.{port}"))
}

impl Peer {
    async fn dial(&self, options: &SocketOptions) -> io::Result<Socket> {
        match self {
            Self::Tcp(address) => {
                let tcp = TcpStream::connect(address).await?;
                options.apply(&tcp)?;
                Ok(Socket::Tcp(tcp))
            }
            #[cfg(unix)]
            Self::Unix(path) => Ok(Socket::Unix(UnixStream::connect(path).await?)),
            #[cfg(not(unix))]
            Self::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    fn failed(&self, source: io::Error) -> DriverError {
        let target = match self {
            Self::Tcp(address) => address.to_string(),
            Self::Unix(path) => path.display().to_string(),
        };
        DriverError::dial(&target, source)
    }
}

/// A stream to a server, not yet encrypted.
#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(UnixStream),
}

/// Runs `$body` with the stream inside, whichever it is.
macro_rules! with_stream {
    ($socket:expr, $stream:ident => $body:expr) => {
        match $socket {
            Socket::Tcp($stream) => $body,
            #[cfg(unix)]
            Socket::Unix($stream) => $body,
        }
    };
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        with_stream!(self.get_mut(), stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<io::Result<usize>> {
        with_stream!(self.get_mut(), stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<()>> {
        with_stream!(self.get_mut(), stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        with_stream!(self.get_mut(), stream => Pin::new(stream).poll_shutdown(cx))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> std::task::Poll<io::Result<usize>> {
        with_stream!(self.get_mut(), stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        with_stream!(self, stream => stream.is_write_vectored())
    }
}
