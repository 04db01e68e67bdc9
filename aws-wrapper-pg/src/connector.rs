//! From a connection string to connections.

use std::cell::RefCell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::connector::{Connector as CoreConnector, ConnectorOptions, Settings};
use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::error::{Error as CoreError, Result as CoreResult};
use aws_wrapper_core::host::{HostKey, InvalidHost, Role};
use aws_wrapper_core::plugin::{ConnectionPlugin, PluginFactory};
use aws_wrapper_core::plugins::developer::Script;
use aws_wrapper_core::services::Services;
use aws_wrapper_tls::{Roots, warn_if_unverified};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};

use crate::client::Client;
use crate::driver::PgDriver;
use crate::error::Result;
use crate::tls::Tls;

/// Opens connections to one server or cluster. Cheap to clone; all clones share everything.
///
/// ```no_run
/// # async fn run() -> aws_wrapper_pg::Result<()> {
/// let connector = aws_wrapper_pg::Connector::builder()
///     .url("postgresql://app:secret@localhost/app")?
///     .build()?;
/// let client = connector.connect().await?;
/// let rows = client.query("select $1::text", &[&"hello"]).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Connector {
    core: CoreConnector<PgDriver>,
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
    pub async fn connect(&self) -> Result<Client> {
        let physical = self.core.connect().await?;
        Ok(Client::new(self.core.clone(), physical, None))
    }

    /// Opens a connection to one host of the cluster, whatever the endpoint; it must have that role, unless
    /// [`Role::Unknown`] is asked for. When it is lost, a host of the same role takes its place; for a reader, the writer
    /// if there is no other, unless `failover_mode` is `strict-reader`.
    ///
    /// # Errors
    /// `Routing` when the host has another role; those of [`connect`](Self::connect).
    pub async fn connect_to_host(&self, host: &HostKey, role: Role) -> Result<Client> {
        let physical = self.core.connect_to_host(host, role).await?;
        Ok(Client::new(self.core.clone(), physical, Some(role)))
    }

    /// Opens a connection and hands over the driver's own client, for crates that insist on its type.
    ///
    /// The way there is the one of [`connect`](Self::connect): plugins, the initial connection with its role verified, TLS,
    /// login, deadlines. After that calls go past the wrapper, and what it does with calls is lost:
    ///
    /// - There is no failover. When the connection is lost, its calls fail with the driver's error; open another one.
    /// - No error tells what became of a transaction or what to do now, and the `Ok` of a commit is the driver's.
    /// - No plugin sees a call, and `socket_timeout_ms` does not limit it.
    /// - Notifications go nowhere. The driver's `cancel_query` does not know the host; `cancel_query_raw` works.
    ///
    /// What the bytes tell is enough for the rest. With the plugin `tracker` the connection is closed when its host is not
    /// the writer any more: at once if nobody uses it, else after its call and its transaction; of several calls sent one
    /// behind the other only the first is waited for. With the plugin `efm` it is closed when its host is found dead while a
    /// call waits. The monitor of the cluster runs from the first such connection on, as long as the connector lives.
    ///
    /// There is no connection to spawn: the services run it. It ends when the client is dropped, when the services are shut
    /// down, and with the last handle on them. **The client is no such handle: keep this connector, or its services.**
    ///
    /// ```no_run
    /// use aws_wrapper_pg::{Connector, tokio_postgres};
    ///
    /// /// Of a crate that knows only the driver.
    /// async fn count(client: &tokio_postgres::Client) -> Result<i64, tokio_postgres::Error> {
    ///     client.query_one("select count(*) from users", &[]).await?.try_get(0)
    /// }
    ///
    /// # async fn run(connector: &Connector) -> Result<(), Box<dyn std::error::Error>> {
    /// let client = connector.connect_driver().await?;
    /// println!("{}", count(&client).await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Those of [`connect`](Self::connect).
    ///
    /// # Cancellation
    /// Dropping the future leaves nothing behind.
    pub async fn connect_driver(&self) -> Result<tokio_postgres::Client> {
        let physical = self.core.connect().await?;
        self.core.keep_cluster_session();
        Ok(physical.into_driver())
    }

    /// What the connections of this connector, and of others given the same value, share.
    pub fn services(&self) -> &Services {
        self.core.services()
    }

    /// The connector of the core, for plugins and pools: driver, topology, pipeline.
    pub fn core(&self) -> &CoreConnector<PgDriver> {
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
/// over the driver's configuration.
#[must_use]
#[derive(Default)]
pub struct Builder {
    options: ConnectorOptions<PgDriver>,
    /// The driver's own configuration.
    driver: Option<Config>,
    /// What the connection string says to the driver.
    url: Option<Said>,
    /// What calls of the builder say to the driver.
    own: Said,
    roots: Roots,
}

/// What was said to the driver in one place.
#[derive(Debug, Default)]
struct Said {
    config: Config,
    /// The parameters that were given by name.
    names: Vec<String>,
}

/// What the driver understands. None of them is the name of a parameter of the wrapper.
const DRIVER_PARAMETERS: &[&str] = &[
    "user",
    "password",
    "dbname",
    "options",
    "application_name",
    "sslnegotiation",
    "host",
    "hostaddr",
    "port",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
];

fn driver_knows(name: &str) -> bool {
    DRIVER_PARAMETERS.contains(&name)
}

impl Builder {
    /// Reads a connection string: a `postgresql://` URL or `name=value` pairs, with the driver's parameters and the
    /// wrapper's (`docs/parameters.md`). The wrapper's are checked by [`build`](Self::build), when all plugins are known. A
    /// further call replaces what the one before said to the driver.
    ///
    /// # Errors
    /// `Config` when the text, or what it says to the driver, cannot be read. Never repeats the text.
    pub fn url(mut self, url: &str) -> Result<Self> {
        let names = RefCell::new(Vec::new());
        let rest = self.options.config().take_from_url(url, |name| {
            let is_known = driver_knows(name);
            if is_known {
                names.borrow_mut().push(name.to_owned());
            }
            is_known
        })?;
        let config = rest.parse().map_err(not_readable)?;
        self.url = Some(Said { config, names: names.into_inner() });
        Ok(self)
    }

    /// Takes the driver's own configuration, whatever can be set in it. What else is said wins over it.
    pub fn driver_config(mut self, config: Config) -> Self {
        self.driver = Some(config);
        self
    }

    /// Sets one parameter by name, the wrapper's or the driver's. A further `host`, `hostaddr` or `port` is added.
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
        self.own.of("host").host(host);
        self
    }

    /// Adds a port: one for all hosts, or one for each. Default: 5432.
    pub fn port(mut self, port: u16) -> Self {
        self.own.of("port").port(port);
        self
    }

    /// Sets the user. Default: the user of the operating system.
    pub fn user(mut self, user: &str) -> Self {
        self.own.of("user").user(user);
        self
    }

    /// Sets the password.
    pub fn password(mut self, password: impl AsRef<[u8]>) -> Self {
        self.own.of("password").password(password);
        self
    }

    /// Sets the database. Default: named like the user.
    pub fn dbname(mut self, name: &str) -> Self {
        self.own.of("dbname").dbname(name);
        self
    }

    /// Sets the name the server shows for these connections.
    pub fn application_name(mut self, name: &str) -> Self {
        self.own.of("application_name").application_name(name);
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
    /// Default: [`SslMode::VerifyFull`] when root certificates are given, else what the driver's configuration says,
    /// which is [`SslMode::Prefer`] if nobody changed it. An RDS endpoint should always be given its certificates.
    ///
    /// Without root certificates [`SslMode::Prefer`] and [`SslMode::Require`] encrypt but check nothing; with them
    /// `Require` means [`SslMode::VerifyCa`], as in libpq. The name that is checked is the host's, whatever address was
    /// dialled.
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
    pub fn plugin(mut self, plugin: impl ConnectionPlugin<PgDriver> + 'static) -> Self {
        self.options.plugin(Arc::new(plugin));
        self
    }

    /// Lets a plugin of another crate be named in `plugins`, with the parameters it brings.
    pub fn register(mut self, factory: PluginFactory<PgDriver>) -> Self {
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
        let driver = self.driver_config_said()?;
        if let Some(limit) = driver.get_connect_timeout() {
            self.options.config().set_duration_of_driver("connect_timeout_ms", *limit);
        }
        let settings = self.options.settings(driver_knows)?;
        if let Some(path) = &settings.tls.root_cert {
            self.roots.add_file(Path::new(path))?;
        }
        let hosts = hosts_of(&driver)?;
        let negotiation = driver.get_ssl_negotiation();
        let tls = Tls::new(settings.tls.mode, driver.get_ssl_mode(), negotiation, self.roots)?;
        warn_if_unverified(settings.tls.mode, tls.mode(), &hosts);
        let wanted_role = match driver.get_target_session_attrs() {
            TargetSessionAttrs::ReadWrite => Some(Role::Writer),
            TargetSessionAttrs::ReadOnly => Some(Role::Reader),
            _ => None,
        };
        self.options.wanted_role(wanted_role);
        let driver = PgDriver::new(driver, tls)?;
        Ok(Connector { core: CoreConnector::new(driver, settings, hosts, self.options)? })
    }

    /// The driver's configuration, with what was said elsewhere.
    fn driver_config_said(&mut self) -> Result<Config> {
        let mut config = self.driver.take().unwrap_or_default();
        let has_host =
            |config: &Config| !(config.get_hosts().is_empty() && config.get_hostaddrs().is_empty());
        if let Some(url) = &self.url {
            if has_host(&config) && has_host(&url.config) {
                let text = "both the connection string and the driver's configuration have a host; give it in one of them";
                return Err(CoreError::config(text).into());
            }
            url.overlay(&mut config);
        }
        self.own.overlay(&mut config);
        Ok(config)
    }
}

/// What a connection string has besides parameters.
const UNNAMED: &[&str] = &["user", "password", "dbname", "host", "hostaddr", "port"];

impl Said {
    /// The configuration, of which the parameter `name` is about to be given.
    fn of(&mut self, name: &str) -> &mut Config {
        self.names.push(name.to_owned());
        &mut self.config
    }

    /// One parameter: read by the driver, then copied.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
        let one: Config = format!("{name}='{escaped}'").parse().map_err(|error| {
            CoreError::config(format!("parameter `{name}`: the value is not accepted")).with_source(error)
        })?;
        copy(&one, self.of(name), name);
        Ok(())
    }

    /// Puts what was said over what `config` has; hosts and ports are added.
    fn overlay(&self, config: &mut Config) {
        for name in UNNAMED {
            copy(&self.config, config, name);
        }
        for name in self.names.iter().filter(|name| !UNNAMED.contains(&name.as_str())) {
            copy(&self.config, config, name);
        }
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .field("driver", &self.driver)
            .field("url", &self.url)
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// The text may hold a password, so it is not shown.
fn not_readable(error: tokio_postgres::Error) -> CoreError {
    CoreError::config("the driver's part of the connection string cannot be read").with_source(error)
}

/// Copies one parameter of the driver.
fn copy(one: &Config, config: &mut Config, name: &str) {
    let _: Option<&mut Config> = match name {
        "user" => one.get_user().map(|user| config.user(user)),
        "password" => one.get_password().map(|password| config.password(password)),
        "dbname" => one.get_dbname().map(|name| config.dbname(name)),
        "options" => one.get_options().map(|options| config.options(options)),
        "application_name" => one.get_application_name().map(|name| config.application_name(name)),
        "sslnegotiation" => Some(config.ssl_negotiation(one.get_ssl_negotiation())),
        "host" => {
            for host in one.get_hosts() {
                match host {
                    Host::Tcp(name) => config.host(name),
                    #[cfg(unix)]
                    Host::Unix(path) => config.host_path(path),
                };
            }
            None
        }
        "hostaddr" => {
            for address in one.get_hostaddrs() {
                config.hostaddr(*address);
            }
            None
        }
        "port" => {
            for port in one.get_ports() {
                config.port(*port);
            }
            None
        }
        "connect_timeout" => one.get_connect_timeout().map(|limit| config.connect_timeout(*limit)),
        "tcp_user_timeout" => one.get_tcp_user_timeout().map(|limit| config.tcp_user_timeout(*limit)),
        "keepalives" => Some(config.keepalives(one.get_keepalives())),
        "keepalives_idle" => Some(config.keepalives_idle(one.get_keepalives_idle())),
        "keepalives_interval" => one.get_keepalives_interval().map(|time| config.keepalives_interval(time)),
        "keepalives_retries" => one.get_keepalives_retries().map(|count| config.keepalives_retries(count)),
        "target_session_attrs" => Some(config.target_session_attrs(one.get_target_session_attrs())),
        "channel_binding" => Some(config.channel_binding(one.get_channel_binding())),
        "load_balance_hosts" => Some(config.load_balance_hosts(one.get_load_balance_hosts())),
        _ => unreachable!("only the driver's parameters are passed on"),
    };
}

/// The hosts in the order they are tried.
fn hosts_of(config: &Config) -> CoreResult<Vec<HostKey>> {
    let names: Vec<String> = match (config.get_hosts(), config.get_hostaddrs()) {
        ([], addresses) => addresses.iter().map(ToString::to_string).collect(),
        (hosts, _) => hosts
            .iter()
            .map(|host| match host {
                Host::Tcp(name) => name.clone(),
                // The driver dials the directory; in logs and in the topology the server needs a name.
                #[cfg(unix)]
                Host::Unix(_) => "localhost".to_owned(),
            })
            .collect(),
    };
    if names.is_empty() {
        return Err(CoreError::config("no host is given"));
    }
    let ports = match config.get_ports() {
        [] => vec![DEFAULT_PORT; names.len()],
        [port] => vec![*port; names.len()],
        ports if ports.len() == names.len() => ports.to_vec(),
        ports => {
            let text =
                format!("{} ports for {} hosts; give one for all or one for each", ports.len(), names.len());
            return Err(CoreError::config(text));
        }
    };
    let mut hosts = names
        .iter()
        .zip(ports)
        .map(|(name, port)| HostKey::new(name, port))
        .collect::<Result<Vec<_>, InvalidHost>>()?;
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut hosts);
    }
    Ok(hosts)
}

const DEFAULT_PORT: u16 = 5432;

#[cfg(test)]
mod tests {
    use aws_wrapper_core::error::ErrorKind;

    use super::*;

    fn hosts(url: &str) -> Result<Vec<String>> {
        Ok(hosts_of(&url.parse().unwrap())?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn hosts_and_ports_are_paired() {
        assert_eq!(hosts("postgresql://a,b/db").unwrap(), ["a:5432", "b:5432"]);
        assert_eq!(hosts("host=a,b port=7").unwrap(), ["a:7", "b:7"]);
        assert_eq!(hosts("host=A,b port=7,8").unwrap(), ["a:7", "b:8"]);
        assert_eq!(hosts("hostaddr=::1").unwrap(), ["[::1]:5432"]);
        assert!(hosts("host=a,b,c port=7,8").unwrap_err().to_string().contains("2 ports for 3 hosts"));
        assert_eq!(hosts("user=x").unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn every_parameter_of_the_driver_can_be_set_by_name() {
        let mut said = Said::default();
        for name in DRIVER_PARAMETERS {
            let value = match *name {
                "hostaddr" => "127.0.0.1",
                "sslnegotiation" => "direct",
                "target_session_attrs" => "read-only",
                "channel_binding" => "require",
                "load_balance_hosts" => "random",
                "password" => r"it's \ 7",
                _ => "7",
            };
            said.set(name, value).unwrap();
        }
        let mut config = Config::new();
        said.overlay(&mut config);
        assert_eq!(config.get_password(), Some(br"it's \ 7".as_slice()));
        assert_eq!(config.get_user(), Some("7"));
        assert_eq!(config.get_keepalives_retries(), Some(7));
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert_eq!(config.get_ports(), [7]);
    }

    #[test]
    fn a_wrong_parameter_is_named_and_the_url_is_not_repeated() {
        let built = |builder: Result<Builder>| builder.and_then(Builder::build).map(drop).unwrap_err();
        let error = built(Connector::builder().url("postgresql://u:hunter2@h/db?plugin=failover"));
        assert!(
            error.to_string().contains("plugin") && !format!("{error:#}").contains("hunter2"),
            "{error:#}"
        );
        let error = built(Connector::builder().host("h").set("failovr_timeout_ms", "1"));
        assert!(error.to_string().contains("failovr_timeout_ms"));
        let error = Connector::builder().set("target_session_attrs", "sometimes").unwrap_err();
        assert!(error.to_string().contains("target_session_attrs"));
    }

    #[test]
    fn the_drivers_connect_timeout_counts_unless_the_wrapper_has_one() {
        let limit = |url: &str| {
            Connector::builder().url(url).unwrap().build().unwrap().settings().network.connect_timeout
        };
        assert_eq!(limit("postgresql://h/db"), Duration::from_secs(10));
        assert_eq!(limit("postgresql://h/db?connect_timeout=3"), Duration::from_secs(3));
        assert_eq!(
            limit("postgresql://h/db?connect_timeout=3&connect_timeout_ms=500"),
            Duration::from_millis(500)
        );
    }

    #[test]
    fn nothing_prints_the_password() {
        let builder = Connector::builder().url("postgresql://u:hunter2@h/db").unwrap();
        assert!(!format!("{builder:?}").contains("hunter2"));
        let connector = builder.build().unwrap();
        assert!(!format!("{connector:?} {:?}", connector.clone()).contains("hunter2"));
    }
}
