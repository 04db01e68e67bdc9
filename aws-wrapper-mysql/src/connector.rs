//! From a connection string to connections.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::{Connector as CoreConnector, ConnectorOptions, Settings};
use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::Error as CoreError;
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::plugin::{ConnectionPlugin, PluginFactory};
use aws_wrapper_core::plugins::developer::Script;
use aws_wrapper_core::services::Services;
use aws_wrapper_tls::{Roots, is_rds, warn_if_unverified};
use mysql_async::{Opts, OptsBuilder};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::conn::Conn;
use crate::driver::MysqlDriver;
use crate::driver_pool::DriverPool;
use crate::error::{Result, into_error};
use crate::infile::Global;
use crate::tls::Tls;

/// Opens connections to one server or cluster. Cheap to clone; all clones share everything.
///
/// ```no_run
/// # async fn run() -> aws_wrapper_mysql::Result<()> {
/// let connector = aws_wrapper_mysql::Connector::builder()
///     .url("mysql://app:secret@localhost/app")?
///     .build()?;
/// let mut conn = connector.connect().await?;
/// let sum: Option<u32> = conn.exec_first("select ? + 1", (41,)).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Connector {
    core: CoreConnector<MysqlDriver>,
}

impl Connector {
    /// Starts with nothing set.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// `Login` when the server refuses the user; `Timeout(Connect)` when it does not answer in time (10 s unless
    /// `connect_timeout_ms` says otherwise); `Driver(Network)` when no host can be reached.
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn connect(&self) -> Result<Conn> {
        let physical = self.core.connect().await?;
        Ok(Conn::new(self.core.clone(), physical, None))
    }

    /// Opens a connection to one host of the cluster, whatever the endpoint; it must have that role, unless
    /// [`Role::Unknown`] is asked for. When it is lost, a host of the same role takes its place; for a reader, the writer
    /// if there is no other, unless `failover_mode` is `strict-reader`.
    ///
    /// # Errors
    /// `Routing` when the host has another role; those of [`connect`](Self::connect).
    pub async fn connect_to_host(&self, host: &HostKey, role: Role) -> Result<Conn> {
        let physical = self.core.connect_to_host(host, role).await?;
        Ok(Conn::new(self.core.clone(), physical, Some(role)))
    }

    /// Opens a connection and hands it over as the driver's own, for crates that insist on its type. Code that is generic
    /// over the driver's `Queryable` takes a [`Conn`] as it is, and loses nothing.
    ///
    /// The way there is the one of [`connect`](Self::connect): plugins, the initial connection with its role verified, TLS,
    /// login, deadlines. After that the connection is entirely the caller's, and the wrapper knows it no more:
    ///
    /// - There is no failover. When the connection is lost, its calls fail with the driver's error; open another one.
    /// - No error tells what became of a transaction or what to do now, and the `Ok` of a commit is the driver's.
    /// - No plugin sees a call, and `socket_timeout_ms` does not limit it: on a host that falls silent a call waits as long
    ///   as its caller does.
    /// - It is not closed when its host is not the writer any more: writes are refused (1290, 1836), reads go on.
    /// - It is not in the status of the services, and outlives a shutdown and the connector. It ends when it is dropped, in a
    ///   task that the driver spawns.
    ///
    /// The monitor of the cluster runs from the first such connection on, as long as the connector lives, so that the next
    /// one is led to the writer of the moment.
    ///
    /// ```no_run
    /// use aws_wrapper_mysql::mysql_async::prelude::Queryable;
    /// use aws_wrapper_mysql::{Connector, mysql_async};
    ///
    /// /// Of a crate that knows only the driver.
    /// async fn count(conn: &mut mysql_async::Conn) -> mysql_async::Result<Option<u64>> {
    ///     conn.query_first("select count(*) from users").await
    /// }
    ///
    /// # async fn run(connector: &Connector) -> aws_wrapper_mysql::Result<()> {
    /// let mut conn = connector.connect_driver().await?;
    /// println!("{:?}", count(&mut conn).await?);
    /// conn.disconnect().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn connect_driver(&self) -> Result<mysql_async::Conn> {
        let physical = self.core.connect().await?;
        self.core.keep_cluster_session();
        let host = physical.slot().host().clone();
        Ok(physical.into_driver().map_err(|error| into_error(error).with_host(&host))?)
    }

    /// What the connections of this connector, and of others given the same value, share.
    pub fn services(&self) -> &Services {
        self.core.services()
    }

    /// The connector of the core, for plugins and pools: driver, topology, pipeline.
    pub fn core(&self) -> &CoreConnector<MysqlDriver> {
        &self.core
    }

    /// The settings in force.
    pub fn settings(&self) -> &Arc<Settings> {
        self.core.settings()
    }
}

/// Makes a [`Connector`].
///
/// Of two values for one parameter the builder's own methods win over the connection string, and the connection string
/// over the driver's options.
#[must_use]
#[derive(Default)]
pub struct Builder {
    options: ConnectorOptions<MysqlDriver>,
    /// The driver's own options.
    driver: Option<Opts>,
    /// What the connection string says to the driver.
    url: Said,
    /// What calls of the builder say to the driver.
    own: Said,
    roots: Roots,
}

/// What was said to the driver in one place.
#[derive(Default)]
struct Said {
    hosts: Vec<Host>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<String>,
    database: Option<String>,
    /// Names and values for the driver's own parser.
    params: Vec<(String, String)>,
    /// What was said of the driver's pool.
    pool: DriverPool,
}

#[derive(Debug, Clone)]
struct Host {
    name: String,
    port: Option<u16>,
}

/// What the driver's parser understands in the query part of a URL. What is said of its pool goes to the wrapper's.
const DRIVER_PARAMETERS: &[&str] = &[
    "tcp_keepalive",
    "tcp_nodelay",
    "max_allowed_packet",
    "wait_timeout",
    "enable_cleartext_plugin",
    "stmt_cache_size",
    "prefer_socket",
    "secure_auth",
    "client_found_rows",
    "socket",
    "compression",
    "require_ssl",
    "verify_ca",
    "verify_identity",
    "built_in_roots",
];

/// What the driver has in other parts of a URL.
const NAMED: &[&str] = &["host", "port", "user", "password", "database", "dbname"];

fn driver_knows(name: &str) -> bool {
    DRIVER_PARAMETERS.contains(&name) || DriverPool::knows(name) || NAMED.contains(&name)
}

impl Builder {
    /// Reads a `mysql://user:password@host:port/database?…` URL with the driver's parameters and the wrapper's
    /// (`docs/parameters.md`). Several hosts are separated by commas. The wrapper's parameters are checked by
    /// [`build`](Self::build), when all plugins are known. A further call replaces what the one before said to the driver.
    ///
    /// # Errors
    /// `Config` when the text, or what it says to the driver, cannot be read. Never repeats the text.
    pub fn url(mut self, url: &str) -> Result<Self> {
        let rest = self.options.config().take_from_url(url, driver_knows)?;
        let mut said = Said::default();
        let Some(rest) = rest.strip_prefix("mysql://") else {
            return Err(CoreError::config(
                "the connection string is not one of MySQL; expected `mysql://user@host/database`",
            )
            .into());
        };
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user_info, after) = base.rsplit_once('@').map_or(("", base), |(user, after)| (user, after));
        let (hosts, database) = after.split_once('/').unwrap_or((after, ""));
        // User, password and database have the driver's escapes.
        let at = if user_info.is_empty() { "" } else { "@" };
        let named =
            Opts::from_url(&format!("mysql://{user_info}{at}host/{database}")).map_err(not_readable)?;
        said.user = named.user().map(str::to_owned);
        said.password = named.pass().map(str::to_owned);
        said.database = named.db_name().map(str::to_owned);
        for host in hosts.split(',') {
            said.hosts.push(Host::parse(host)?);
        }
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode_str(value).decode_utf8_lossy();
            said.set(name, &value)?;
        }
        self.url = said;
        Ok(self)
    }

    /// Takes the driver's own options, whatever can be set in them. What else is said wins over them.
    pub fn driver_config(mut self, opts: impl Into<Opts>) -> Self {
        self.driver = Some(opts.into());
        self
    }

    /// Sets one parameter by name, the wrapper's or the driver's. A further `host` is added.
    ///
    /// # Errors
    /// `Config` when the driver does not accept the value of its parameter. The wrapper's are checked by
    /// [`build`](Self::build).
    pub fn set(mut self, name: &str, value: &str) -> Result<Self> {
        if driver_knows(name) {
            self.own.set(name, value)?;
        } else {
            self.options.config().set(name, value);
        }
        Ok(self)
    }

    /// Adds a host. Several are tried in order.
    pub fn host(mut self, host: &str) -> Self {
        self.own.hosts.push(Host { name: host.to_owned(), port: None });
        self
    }

    /// Sets the port of all hosts that have none of their own. Default: 3306.
    pub fn port(mut self, port: u16) -> Self {
        self.own.port = Some(port);
        self
    }

    /// Sets the user.
    pub fn user(mut self, user: &str) -> Self {
        self.own.user = Some(user.to_owned());
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: &str) -> Self {
        self.own.password = Some(password.to_owned());
        self
    }

    /// Sets the database. Default: none.
    pub fn database(mut self, name: &str) -> Self {
        self.own.database = Some(name.to_owned());
        self
    }

    /// Sets how long opening one connection may take as a whole: name, dial, TLS, authentication and role check.
    /// Default: 10 s.
    ///
    /// # Errors
    /// None: [`build`](Self::build) refuses less than a millisecond and more than a day.
    pub fn connect_timeout(mut self, limit: Duration) -> Result<Self> {
        self.options.config().set_duration("connect_timeout_ms", limit);
        Ok(self)
    }

    /// Sets what is asked of the encryption.
    ///
    /// Default: [`SslMode::VerifyFull`] when root certificates are given, else what the driver's options say; where they
    /// say nothing, [`SslMode::Prefer`] for names of RDS and none for others. An RDS endpoint should always be given its
    /// certificates.
    ///
    /// Without root certificates [`SslMode::Prefer`] and [`SslMode::Require`] encrypt but check nothing; with them
    /// `Require` means [`SslMode::VerifyFull`]. [`SslMode::VerifyCa`] is refused by [`build`](Self::build): the driver checks
    /// the name all the same. The name that is checked is the host's, whatever address was dialled.
    ///
    /// The driver encrypts with the provider of cryptography the process has installed and cannot be given another one:
    /// if there is none when the connector is built, ring is installed.
    ///
    /// # Errors
    /// None; the signature is that of all checked parameters.
    pub fn ssl_mode(mut self, mode: SslMode) -> Result<Self> {
        self.options.config().set("sslmode", mode.code());
        Ok(self)
    }

    /// Adds certificates of authorities to trust, in PEM form; besides those of the parameter `ssl_root_cert`.
    ///
    /// # Errors
    /// `Config` when there is no certificate in it or one cannot be read.
    pub fn root_certificate(mut self, pem: impl AsRef<[u8]>) -> Result<Self> {
        self.roots.add_pem(pem.as_ref())?;
        Ok(self)
    }

    /// Adds a plugin of your own, innermost unless it says otherwise.
    pub fn plugin(mut self, plugin: impl ConnectionPlugin<MysqlDriver> + 'static) -> Self {
        self.options.plugin(Arc::new(plugin));
        self
    }

    /// Lets a plugin of another crate be named in `plugins`, with the parameters it brings.
    pub fn register(mut self, factory: PluginFactory<MysqlDriver>) -> Self {
        self.options.register(factory);
        self
    }

    /// Gives plugins a value that they find by its type: what no text can say.
    pub fn provide<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.options.provide(value);
        self
    }

    /// The faults that the plugin `developer` plays, if it is among the plugins; keep a clone to write them.
    pub fn faults(mut self, script: Script) -> Self {
        self.options.developer_script(script);
        self
    }

    /// Shares clusters, monitors and events with other connectors. Default: services of its own.
    pub fn services(mut self, services: Services) -> Self {
        self.options.services(services);
        self
    }

    /// Checks everything together. Opens no connection.
    ///
    /// # Errors
    /// `Config` or `PluginConflict`, naming what does not fit.
    pub fn build(mut self) -> Result<Connector> {
        let said = std::mem::take(&mut self.url).with(std::mem::take(&mut self.own));
        if let Some(driver) = &self.driver {
            DriverPool::hand_over_options(driver.pool_opts(), self.options.config())?;
        }
        said.pool.hand_over(self.options.config());
        let settings = self.options.settings(driver_knows)?;
        said.pool.agree(&settings.pool)?;
        if let Some(path) = &settings.tls.root_cert {
            self.roots.add_file(Path::new(path))?;
        }
        let opts = said.options(self.driver.as_ref())?;
        let hosts = said.host_keys(self.driver.is_some(), &opts)?;
        let (tls, opts) = Tls::new(settings.tls.mode, opts, self.roots, is_rds(&hosts))?;
        warn_if_unverified(settings.tls.mode, tls.mode(), &hosts);
        let driver = MysqlDriver::new(opts, tls);
        Ok(Connector { core: CoreConnector::new(driver, settings, hosts, self.options)? })
    }
}

impl Said {
    /// With what `other` says over it; hosts are added.
    fn with(mut self, other: Self) -> Self {
        self.hosts.extend(other.hosts);
        self.params.extend(other.params);
        Self {
            hosts: self.hosts,
            port: other.port.or(self.port),
            user: other.user.or(self.user),
            password: other.password.or(self.password),
            database: other.database.or(self.database),
            params: self.params,
            pool: self.pool.with(other.pool),
        }
    }

    /// One parameter of the driver: what it has in other parts of a URL is kept, the rest is tried out.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "host" => self.hosts.push(Host { name: value.to_owned(), port: None }),
            "port" => {
                let port = value.parse().map_err(|_| CoreError::parameter(name, value, "a port number"))?;
                self.port = Some(port);
            }
            "user" => self.user = Some(value.to_owned()),
            "password" => self.password = Some(value.to_owned()),
            "database" | "dbname" => self.database = Some(value.to_owned()),
            name if DriverPool::knows(name) => self.pool.set(name, value)?,
            "stmt_cache_size" if value == "0" => {
                let accepted =
                    "at least `1`: a statement lives in that cache on a connection it was not prepared on";
                return Err(CoreError::parameter(name, value, accepted).into());
            }
            "prefer_socket" if value != "false" => {
                let accepted = "`false`: give the parameter `socket` to connect to a socket of this machine";
                return Err(CoreError::parameter(name, value, accepted).into());
            }
            _ => {
                let pair = (name.to_owned(), value.to_owned());
                parsed(std::slice::from_ref(&pair)).map_err(|error| {
                    CoreError::config(format!("parameter `{name}`: the value is not accepted"))
                        .with_source(error)
                })?;
                self.params.push(pair);
            }
        }
        Ok(())
    }

    /// The driver's options, with all that was said by name.
    fn options(&self, driver: Option<&Opts>) -> Result<Opts> {
        let base = driver.cloned().unwrap_or_default();
        let infile_handler = base.local_infile_handler().map(Global);
        let mut builder = OptsBuilder::from_opts(base).local_infile_handler(infile_handler);
        let given = parsed(&self.params).map_err(not_readable)?;
        for (name, _) in &self.params {
            builder = match name.as_str() {
                "tcp_keepalive" => builder.tcp_keepalive(given.tcp_keepalive()),
                "tcp_nodelay" => builder.tcp_nodelay(given.tcp_nodelay()),
                "max_allowed_packet" => builder.max_allowed_packet(given.max_allowed_packet()),
                "wait_timeout" => builder.wait_timeout(given.wait_timeout()),
                "enable_cleartext_plugin" => builder.enable_cleartext_plugin(given.enable_cleartext_plugin()),
                "stmt_cache_size" => builder.stmt_cache_size(given.stmt_cache_size()),
                "secure_auth" => builder.secure_auth(given.secure_auth()),
                "client_found_rows" => builder.client_found_rows(given.client_found_rows()),
                "socket" => builder.socket(given.socket()),
                "compression" => builder.compression(given.compression()),
                "require_ssl" => builder.ssl_opts(given.ssl_opts().cloned()),
                "verify_ca" | "verify_identity" | "built_in_roots" if given.ssl_opts().is_none() => {
                    let text = format!("parameter `{name}` needs `require_ssl=true`");
                    return Err(CoreError::config(text).into());
                }
                // With `require_ssl`.
                _ => builder,
            };
        }
        if self.user.is_some() {
            builder = builder.user(self.user.as_deref());
        }
        if self.password.is_some() {
            builder = builder.pass(self.password.as_deref());
        }
        if self.database.is_some() {
            builder = builder.db_name(self.database.as_deref());
        }
        Ok(builder.into())
    }

    /// The hosts in the order they are tried.
    fn host_keys(&self, has_driver: bool, opts: &Opts) -> Result<Vec<HostKey>> {
        let port_of = |host: &Host| host.port.or(self.port).unwrap_or(DEFAULT_PORT);
        let keys = self.hosts.iter().map(|host| Ok(HostKey::new(&host.name, port_of(host))?));
        let keys: Vec<HostKey> = keys.collect::<Result<_>>()?;
        match (has_driver, keys.is_empty()) {
            (_, false) => Ok(keys),
            (true, true) => {
                Ok(vec![HostKey::new(opts.ip_or_hostname(), self.port.unwrap_or(opts.tcp_port()))?])
            }
            // In logs and in the topology a socket of this machine needs a name.
            (false, true) if opts.socket().is_some() => Ok(vec![HostKey::new("localhost", DEFAULT_PORT)?]),
            (false, true) => Err(CoreError::config("no host is given").into()),
        }
    }
}

impl Host {
    /// `name`, `name:port` or `[address]:port`.
    fn parse(text: &str) -> Result<Self> {
        let wrong = || {
            CoreError::config(
                "a host of the URL cannot be read; expected `name`, `name:port` or `[address]:port`",
            )
        };
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(wrong)?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        let port = match port.strip_prefix(':') {
            Some(port) => Some(port.parse().map_err(|_| wrong())?),
            None if port.is_empty() => None,
            None => return Err(wrong().into()),
        };
        if name.is_empty() {
            return Err(CoreError::config("no host is given").into());
        }
        let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
        Ok(Self { name, port })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the password nor the driver's options, which show it.
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("url", &self.url)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Said")
            .field("hosts", &self.hosts)
            .field("user", &self.user)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// The driver's reading of parameters.
#[expect(clippy::result_large_err, reason = "the driver's error")]
fn parsed(params: &[(String, String)]) -> Result<Opts, mysql_async::UrlError> {
    let pairs =
        params.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    Opts::from_url(&format!("mysql://host/?{}", pairs.collect::<Vec<_>>().join("&")))
}

/// The text may hold a password, so it is not shown.
fn not_readable(error: mysql_async::UrlError) -> CoreError {
    CoreError::config("the driver's part of the connection string cannot be read").with_source(error)
}

const DEFAULT_PORT: u16 = 3306;
