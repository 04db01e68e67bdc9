//! A client of the application, as every test needs one, for either engine.

use std::net::IpAddr;
use std::time::Duration;

use aurora_sim::{Cluster, ClusterBuilder, Engine};
use mysql_async::prelude::Queryable;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::{NoTls, SimpleQueryMessage};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Makes a test of each function, once for each engine.
macro_rules! for_each_engine {
    ($($name:ident,)*) => {
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(aurora_sim::Engine::Postgres).await;
            })*
        }
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(aurora_sim::Engine::MySql).await;
            })*
        }
    };
}
pub(crate) use for_each_engine;

pub(crate) fn builder(engine: Engine) -> ClusterBuilder {
    Cluster::builder().engine(engine)
}

/// A session in the application's database.
pub(crate) enum Client {
    Postgres(tokio_postgres::Client),
    MySql(Mutex<mysql_async::Conn>),
}

/// Why something failed: the server's code (SQLSTATE of PostgreSQL, number of MySQL) if it has said anything.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Option<String>,
    #[expect(dead_code, reason = "for whoever reads the failed test")]
    text: String,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self { code: error.code().map(|code| code.code().to_owned()), text: error.to_string() }
    }
}

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        let code = match &error {
            mysql_async::Error::Server(error) => Some(error.code.to_string()),
            _ => None,
        };
        Self { code, text: error.to_string() }
    }
}

impl Client {
    /// Runs statements that a semicolon separates.
    pub(crate) async fn run(&self, sql: &str) -> Result<(), Failure> {
        match self {
            Self::Postgres(client) => client.batch_execute(sql).await?,
            Self::MySql(connection) => {
                for statement in sql.split(';') {
                    connection.lock().await.query_drop(statement).await?;
                }
            }
        }
        Ok(())
    }

    /// The first value of a query as text, empty for null.
    pub(crate) async fn ask(&self, sql: &str) -> Result<String, Failure> {
        match self {
            Self::Postgres(client) => {
                let messages = client.simple_query(sql).await?;
                let value = messages.iter().find_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
                    _ => None,
                });
                Ok(value.unwrap_or_default())
            }
            Self::MySql(connection) => {
                let value: Option<Option<String>> = connection.lock().await.query_first(sql).await?;
                Ok(value.flatten().unwrap_or_default())
            }
        }
    }

    pub(crate) async fn text(&self, sql: &str) -> String {
        self.ask(sql).await.unwrap_or_else(|failure| panic!("{sql}: {failure:?}"))
    }

    /// The code that a statement fails with.
    pub(crate) async fn refused(&self, sql: &str) -> String {
        let failure = self.run(sql).await.expect_err(sql);
        failure.code.clone().unwrap_or_else(|| panic!("the server refuses it: {failure:?}"))
    }

    /// `reader` or `writer`, as the instance sees itself.
    pub(crate) async fn role(&self) -> String {
        self.text(match self {
            Self::Postgres(_) => {
                "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'reader' ELSE 'writer' END"
            }
            Self::MySql(_) => "SELECT IF(@@innodb_read_only, 'reader', 'writer')",
        })
        .await
    }

    /// Name of the instance that answers.
    pub(crate) async fn who(&self) -> String {
        self.text(match self {
            Self::Postgres(_) => "SELECT pg_catalog.aurora_db_instance_identifier()",
            Self::MySql(_) => "SELECT @@aurora_server_id",
        })
        .await
    }

    /// Instances as one server lists them, the writer marked with a star.
    pub(crate) async fn topology(&self) -> Vec<String> {
        let text = self
            .text(match self {
                Self::Postgres(_) => {
                    "SELECT string_agg(server_id || CASE session_id WHEN 'MASTER_SESSION_ID' THEN '*' ELSE '' END, ' ' \
                     ORDER BY server_id) FROM aurora_replica_status()"
                }
                Self::MySql(_) => {
                    "SELECT GROUP_CONCAT(CONCAT(server_id, IF(session_id = 'MASTER_SESSION_ID', '*', '')) \
                     ORDER BY server_id SEPARATOR ' ') FROM information_schema.replica_host_status"
                }
            })
            .await;
        text.split(' ').map(str::to_owned).collect()
    }

    /// Takes half a minute.
    pub(crate) async fn sleep(&self) -> Result<String, Failure> {
        self.ask(match self {
            Self::Postgres(_) => "SELECT pg_catalog.pg_sleep(30)",
            Self::MySql(_) => "SELECT SLEEP(30)",
        })
        .await
    }
}

/// The code for a write that a reader refuses.
pub(crate) fn read_only(engine: Engine) -> &'static str {
    if engine == Engine::MySql { "1290" } else { "25006" }
}

/// Connects to a host name of the cluster.
pub(crate) async fn connect(cluster: &Cluster, host: &str) -> Result<Client, Failure> {
    connect_to(cluster.engine(), cluster.names().lookup(host)[0], cluster.port()).await
}

pub(crate) async fn connect_to(engine: Engine, address: IpAddr, port: u16) -> Result<Client, Failure> {
    match engine {
        Engine::MySql => connect_mysql(address, port, "app").await,
        _ => connect_postgres(address, port).await,
    }
}

async fn connect_postgres(address: IpAddr, port: u16) -> Result<Client, Failure> {
    let mut config = tokio_postgres::Config::new();
    config.host(address.to_string()).port(port).user("app").password("secret").dbname("app");
    config.connect_timeout(CONNECT_TIMEOUT);
    let (client, connection) = config.connect(NoTls).await?;
    drop(tokio::runtime::Handle::current().spawn(connection));
    Ok(Client::Postgres(client))
}

pub(crate) async fn connect_mysql(address: IpAddr, port: u16, user: &str) -> Result<Client, Failure> {
    let options = mysql_async::OptsBuilder::default()
        .ip_or_hostname(address.to_string())
        .tcp_port(port)
        .user(Some(user))
        .pass(Some("secret"))
        .db_name(Some("app"))
        .enable_cleartext_plugin(true)
        .prefer_socket(Some(false));
    let connection = timeout(CONNECT_TIMEOUT, mysql_async::Conn::new(options)).await;
    let connection = connection.map_err(|_| Failure { code: None, text: "timeout".to_owned() })??;
    Ok(Client::MySql(Mutex::new(connection)))
}

pub(crate) async fn connect_instance(cluster: &Cluster, instance: &str) -> Client {
    connect(cluster, &cluster.instance_endpoint(instance)).await.unwrap()
}

/// Waits for a condition.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < end, "{what}: not within 10 s");
        sleep(Duration::from_millis(5)).await;
    }
}
