//! Opening a physical connection.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use aws_wrapper_core::driver::{ConnectRequest, NetworkSettings};
use aws_wrapper_core::resolver::LookupError;
use mysql_async::{Conn, DriverError as MysqlError, Error, OptsBuilder};
use tokio::time::timeout_at;

use crate::driver::MysqlDriver;
use crate::error::{DriverError, connect_failed};
use crate::physical::Physical;

/// Opens a connection for `request`. The caller sets the deadline; when it passes, this future is dropped and nothing
/// stays behind.
pub(crate) async fn connect(driver: &MysqlDriver, request: &ConnectRequest) -> Result<Physical, DriverError> {
    let conn = dial(driver, request).await?;
    Ok(Physical::new(conn, request.slot(), request.shared()))
}

/// Tries each address in turn; an address that does not answer gets its share of the time that is left.
async fn dial(driver: &MysqlDriver, request: &ConnectRequest) -> Result<Conn, DriverError> {
    let builder = options(driver, request);
    if driver.opts().socket().is_some() {
        return open(driver, builder).await.map_err(connect_failed);
    }
    let host = request.host();
    let failed = |error| DriverError::lookup(host.host(), error);
    let addresses = match (request.address(), driver.opts().resolved_ips()) {
        (Some(address), _) => vec![address],
        // Addresses of the driver's own configuration belong to the host it names.
        (None, Some(addresses)) if driver.opts().ip_or_hostname() == host.host() => {
            addresses.iter().map(|address| SocketAddr::new(*address, host.port())).collect()
        }
        _ => request.look_up().await.map_err(failed)?,
    };
    let mut last = failed(LookupError::NoSuchName);
    for (index, address) in addresses.iter().enumerate() {
        let share = request.share_of_time(addresses.len() - index);
        let to_address = builder.clone().resolved_ips(Some(vec![address.ip()])).tcp_port(address.port());
        match timeout_at(share, open(driver, to_address)).await {
            Ok(Ok(conn)) => {
                request.slot().set_peer(*address);
                return Ok(conn);
            }
            Ok(Err(Error::Io(error))) => last = unreachable(*address, error),
            // Somebody answered there.
            Ok(Err(error)) => return Err(connect_failed(error)),
            Err(_) => {
                let late =
                    io::Error::new(io::ErrorKind::TimedOut, "timed out; nothing that speaks MySQL answered");
                last = DriverError::dial(&address.to_string(), late);
            }
        }
    }
    Err(last)
}

fn unreachable(address: SocketAddr, error: mysql_async::IoError) -> DriverError {
    match error {
        mysql_async::IoError::Io(io) if io.get_ref().is_none() => DriverError::dial(&address.to_string(), io),
        error => connect_failed(Error::Io(error)),
    }
}

/// The driver's options for this connection.
fn options(driver: &MysqlDriver, request: &ConnectRequest) -> OptsBuilder {
    let opts = driver.opts();
    let mut builder = OptsBuilder::from_opts(opts.clone())
        .ip_or_hostname(request.host().host())
        .tcp_port(request.host().port())
        .tcp_keepalive(keepalive(request.network(), opts.tcp_keepalive()))
        // The driver would ask the server for its local socket and look for that path on this machine.
        .prefer_socket(false);
    if let Some(user) = request.user() {
        builder = builder.user(Some(user));
    }
    if let Some(password) = request.password() {
        builder = builder.pass(Some(password.expose()));
    }
    for (name, value) in ATTRIBUTES {
        let is_set = opts.connect_attributes().is_some_and(|given| given.contains_key(*name));
        if !is_set {
            builder = builder.connect_attribute(*name, *value);
        }
    }
    builder
}

/// How the server's statistics show these connections, and how RDS tells clients that know the topology.
const ATTRIBUTES: &[(&str, &str)] =
    &[("_connector_name", env!("CARGO_PKG_NAME")), ("_connector_version", env!("CARGO_PKG_VERSION"))];

/// The wrapper's settings decide whether there are probes, the driver's when. How many and how often is not to be had.
fn keepalive(network: &NetworkSettings, given: Option<Duration>) -> Option<Duration> {
    network.tcp_keep_alive.then(|| given.unwrap_or(KEEPALIVE_IDLE))
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// One attempt, with TLS as it was asked for.
async fn open(driver: &MysqlDriver, builder: OptsBuilder) -> mysql_async::Result<Conn> {
    match Conn::new(builder.clone()).await {
        Err(Error::Driver(MysqlError::NoClientSslFlagFromServer)) if driver.tls().may_do_without() => {
            Conn::new(driver.tls().without(builder)).await
        }
        opened => opened,
    }
}
