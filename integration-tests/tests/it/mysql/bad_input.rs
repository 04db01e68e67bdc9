//! What users get wrong, and what the wrapper says.

use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::error::{DriverClass, ErrorKind, Phase, RetryAdvice, TransactionOutcome};
use aws_wrapper_core::host::HostKey;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use aws_wrapper_mysql::mysql_async::{self, Params, TxOpts, Value, params};
use aws_wrapper_mysql::{Connector, Error};
use integration_tests::{
    Adapter, Behaviour, FakeServer, MySql, Pg, SOON, Session, TestCluster, eventually, failovers, host_down,
    on_built, on_cluster, on_plain,
};
use tokio::time::{Instant, timeout};

/// One cluster serves all cases that leave it as it is.
#[test]
fn mistakes_are_answered_at_once() {
    on_cluster::<MySql>(2, async |cluster| {
        a_wrong_password(cluster).await;
        an_account_that_is_locked_or_expired(cluster).await;
        a_missing_database(cluster).await;
        a_host_that_does_not_exist(cluster).await;
        a_reader_that_is_taken_for_the_writer(cluster).await;
        an_address_without_a_pattern(cluster).await;
        a_statement_that_is_wrong(cluster).await;
        a_connector_for_another_database(cluster).await;
    });
}

async fn a_wrong_password(cluster: &TestCluster) {
    for plugins in ["none", "failover", "initial_connection,failover", "stale_dns,failover"] {
        let error = refused_login(cluster, "app", plugins).await;
        assert_eq!(
            (error.vendor_code(), error.sqlstate()),
            (Some(1045), Some("28000")),
            "{plugins}: {error:?}"
        );
    }
}

async fn refused_login(cluster: &TestCluster, user: &str, plugins: &str) -> Error {
    let params =
        [("user", user), ("password", "wrong-pw"), ("plugins", plugins), ("enable_connect_failover", "true")];
    let connector = cluster.connector::<MySql>(&params);
    let mut events = connector.services().subscribe();
    let start = Instant::now();
    let error = connector.connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Login, "{user}, {plugins}: {error:?}");
    assert!(start.elapsed() < SOON, "{user}, {plugins}: {:?}", start.elapsed());
    assert!(host_down(&mut events).is_empty(), "{user}, {plugins}");
    assert!(!format!("{error} {error:?} {error:#?}").contains("wrong-pw"), "{user}, {plugins}");
    error
}

/// For such a one the server offers whatever method of authentication it thinks of, always the same for one name.
#[test]
fn a_user_that_does_not_exist_is_a_refused_login_that_says_so() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover"] {
            for user in ["nobody", "ghost", "somebody", "nobody2", "admin", "x"] {
                let error = refused_login(cluster, user, plugins).await;
                let text = error.to_string();
                assert!(text.contains("denied") || text.contains("user"), "{user}, {plugins}: {text}");
            }
        }
    });
}

async fn an_account_that_is_locked_or_expired(cluster: &TestCluster) {
    let mut admin = cluster.admin::<MySql>("instance-1").await;
    admin.run("CREATE USER locked IDENTIFIED BY 'secret' ACCOUNT LOCK").await.unwrap();
    admin.run("CREATE USER expired IDENTIFIED BY 'secret' PASSWORD EXPIRE").await.unwrap();
    for (user, code) in [("locked", 3118), ("expired", 1862)] {
        for plugins in ["none", "initial_connection,failover"] {
            let params = [("user", user), ("database", ""), ("plugins", plugins)];
            let connector = cluster.connector::<MySql>(&params);
            let mut events = connector.services().subscribe();
            let error = connector.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Login, "{user}: {error:?}");
            assert_eq!(error.vendor_code(), Some(code), "{user}: {error:?}");
            assert!(host_down(&mut events).is_empty(), "{user}, {plugins}");
        }
    }
    admin.run("DROP USER locked, expired").await.unwrap();
}

async fn a_missing_database(cluster: &TestCluster) {
    let start = Instant::now();
    let error = cluster.connector::<MySql>(&[("database", "nowhere")]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
    // Who may not see a database is not told whether it exists.
    assert_eq!(error.vendor_code(), Some(1044), "{error:?}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

async fn a_host_that_does_not_exist(cluster: &TestCluster) {
    let error = cluster.connector_to::<MySql>("no.such.host", &[]).unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
    assert!(error.to_string().contains("no.such.host"), "{error}");

    // A name of the right form may appear any moment, so it is tried for a while.
    let name = "typo.cluster-xyz.us-east-2.rds.amazonaws.com";
    let params = [("open_connection_retry_timeout_ms", "500"), ("open_connection_retry_interval_ms", "100")];
    let start = Instant::now();
    let error = cluster.connector_to::<MySql>(name, &params).unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect), "{error:?}");
    assert!(
        format!("{error:?}").contains("does not exist, or has no address"),
        "the cause is told: {error:?}"
    );
    assert_eq!(error.host().unwrap().host(), name);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

async fn a_reader_that_is_taken_for_the_writer(cluster: &TestCluster) {
    let reader = cluster.instance_endpoint("instance-2");
    // Long enough for a busy server to answer once, so that its role is what is told.
    let params = [
        ("verify_opened_connection_type", "writer"),
        ("open_connection_retry_timeout_ms", "2000"),
        ("open_connection_retry_interval_ms", "100"),
    ];
    let start = Instant::now();
    let error = cluster.connector_to::<MySql>(&reader, &params).unwrap().connect().await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Routing | ErrorKind::Timeout(Phase::Connect)), "{error:?}");
    let text = format!("{error:?}");
    assert!(text.contains("is a Reader, but a Writer is wanted"), "{text}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

async fn an_address_without_a_pattern(cluster: &TestCluster) {
    let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
    let error = cluster
        .connector_to::<MySql>(&address, &[("plugins", "failover")])
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("cluster_instance_host_pattern"), "{error}");

    let pattern = cluster.instance_endpoint("?");
    let params = [("cluster_instance_host_pattern", pattern.as_str())];
    let connector = cluster.connector_to::<MySql>(&address, &params).unwrap();
    let mut conn = connector.connect().await.unwrap();
    assert_eq!(conn.who().await.unwrap(), "instance-1");
    assert_eq!(connector.services().status().clusters[0].hosts, 2);
}

async fn a_statement_that_is_wrong(cluster: &TestCluster) {
    let connector = cluster.connector::<MySql>(&[]);
    let mut events = connector.services().subscribe();
    let mut conn = connector.connect().await.unwrap();
    let id = conn.id();
    for (sql, code) in [
        ("SELEC 1", 1064),
        ("SELECT * FROM nowhere", 1146),
        ("SELECT * FROM nobodys.log", 1142),
        ("SIGNAL SQLSTATE '45000'", 1644),
        // A procedure may say whatever it likes.
        ("SIGNAL SQLSTATE '08S01' SET MYSQL_ERRNO = 1644", 1644),
        ("SIGNAL SQLSTATE '08006' SET MYSQL_ERRNO = 5000", 5000),
    ] {
        let error = conn.run(sql).await.unwrap_err();
        assert_eq!(error.vendor_code(), Some(code), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
        assert!(error.connection_usable(), "{error:?}");
    }
    conn.run("SELECT 1").await.unwrap();
    assert_eq!(conn.id(), id, "it is the connection it was");
    assert_eq!(failovers(&mut events), (0, Vec::new()));
}

/// The server talks first with MySQL, the client with PostgreSQL.
async fn a_connector_for_another_database(cluster: &TestCluster) {
    for plugins in ["none", "failover", "initial_connection,failover"] {
        let params = [("plugins", plugins), ("connect_timeout_ms", "1000"), ("dbname", "app")];
        let connector = cluster.connector_to::<Pg>(&cluster.endpoint(), &params).unwrap();
        let connected = timeout(Duration::from_secs(35), Pg::connect(&connector)).await;
        let error = connected.expect("it does not hang").unwrap_err();
        assert!(!error.is_failover_success(), "{plugins}: {error:?}");
    }
}

#[test]
fn a_server_of_postgresql_is_an_error_and_not_a_hang() {
    on_cluster::<Pg>(1, async |cluster| {
        for plugins in ["none", "failover", "initial_connection,failover"] {
            for sslmode in ["disable", "prefer", "require"] {
                let params = [
                    ("plugins", plugins),
                    ("sslmode", sslmode),
                    ("connect_timeout_ms", "500"),
                    ("open_connection_retry_timeout_ms", "1000"),
                ];
                let connector = cluster.connector_to::<MySql>(&cluster.endpoint(), &params).unwrap();
                let start = Instant::now();
                let connected = timeout(SOON, connector.connect()).await;
                let error = connected.expect("it does not hang").unwrap_err();
                let is_late = match error.kind() {
                    ErrorKind::Timeout(Phase::Connect) => true,
                    ErrorKind::Driver(DriverClass::Network) => error.to_string().contains("timed out"),
                    _ => false,
                };
                assert!(is_late, "{plugins}: {error:?}");
                assert!(start.elapsed() < SOON, "{plugins}: {:?}", start.elapsed());
            }
        }
    });
}

/// What the driver finds wrong costs its connection, but nobody notices: nothing was lost with it.
#[test]
fn wrong_parameters_are_the_callers_mistake_and_the_next_call_works() {
    on_cluster::<MySql>(2, async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let statement = conn.prep("SELECT ? + ?").await.unwrap();
            let cases: [(&str, Params); 5] = [
                ("SELECT ? + ?", Params::from((1,))),
                ("SELECT ?", Params::from((1, 2))),
                ("SELECT :a + :b", params! { "a" => 1 }),
                ("SELECT ?", params! { "a" => 1 }),
                ("SELECT :a + ?", Params::from((1, 2))),
            ];
            for (sql, params) in cases {
                let wrong = |error: mysql_async::Error| {
                    assert!(matches!(error, mysql_async::Error::Driver(_)), "{plugins}, {sql}: {error:?}");
                    let error = Error::from(error);
                    assert_eq!(
                        error.kind(),
                        ErrorKind::Driver(DriverClass::Other),
                        "{plugins}, {sql}: {error:?}"
                    );
                    assert_eq!(error.retry_advice(), RetryAdvice::DoNotRetry, "{plugins}, {sql}: {error:?}");
                };
                wrong(conn.exec_drop(sql, params.clone()).await.unwrap_err());
                assert_eq!(conn.ask("SELECT 'works'").await.unwrap(), "works", "{plugins}, {sql}");
                wrong(Queryable::exec_drop(&mut conn, sql, params.clone()).await.unwrap_err());
                assert_eq!(conn.ask("SELECT 'works'").await.unwrap(), "works", "{plugins}, {sql}");
                wrong(conn.exec_iter(sql, params.clone()).await.map(drop).unwrap_err());
                assert_eq!(conn.ask("SELECT 'works'").await.unwrap(), "works", "{plugins}, {sql}");
                wrong(Queryable::exec_iter(&mut conn, sql, params.clone()).await.map(drop).unwrap_err());
                assert_eq!(conn.ask("SELECT 'works'").await.unwrap(), "works", "{plugins}, {sql}");
                wrong(conn.exec_batch(sql, [params]).await.unwrap_err());
                let sum: Option<u32> =
                    conn.exec_first::<Value, _, _>(&statement, (1, 2)).await.unwrap().map(|_| 3);
                assert_eq!(sum, Some(3), "{plugins}, {sql}");
            }
            assert_eq!(failovers(&mut events), (0, Vec::new()), "{plugins}");
            assert!(host_down(&mut events).is_empty(), "{plugins}");

            // In a transaction it is not so: what was done before is gone, and somebody has to say so.
            let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
            transaction.query_drop("INSERT INTO log VALUES (1)").await.unwrap();
            transaction.exec_drop("SELECT ?", (1, 2)).await.unwrap_err();
            let error = Error::from(transaction.query_drop("INSERT INTO log VALUES (2)").await.unwrap_err());
            if plugins != "none" {
                assert_eq!(error.transaction_outcome(), TransactionOutcome::RolledBack, "{error:?}");
            }
            transaction.commit().await.unwrap_err();
            // One error at most.
            let _ = conn.ping().await;
            assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0", "{plugins}");
            // The same by hand: the next call does not run outside of the transaction the caller believes in.
            conn.run("BEGIN").await.unwrap();
            conn.exec_drop("SELECT ?", (1, 2)).await.unwrap_err();
            conn.run("INSERT INTO log VALUES (3)").await.unwrap_err();
            assert_eq!(conn.ask("SELECT count(*) FROM log").await.unwrap(), "0", "{plugins}");
            assert!(host_down(&mut events).is_empty(), "{plugins}");
        }
    });
}

/// The number is that of a read-only server, too, but another option is to blame.
#[test]
fn an_option_of_the_server_that_prevents_a_statement_is_no_failover() {
    // The simulated topology is a file of the cluster's folder.
    let folder = std::env::temp_dir().join(format!("aurora-sim-secure-{}", std::process::id()));
    let private = folder.display().to_string();
    let builder = Cluster::builder().instances(2).folder(folder).setting("secure-file-priv", private);
    on_built::<MySql>(builder, async |cluster| {
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("GRANT FILE ON *.* TO app").await.unwrap();
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        let id = conn.id();
        for sql in ["SELECT 1 INTO OUTFILE '/tmp/read-only'", "SELECT 1 INTO DUMPFILE '/tmp/super_read_only'"]
        {
            let error = conn.query_drop(sql).await.unwrap_err();
            assert!(matches!(&error, mysql_async::Error::Server(server) if server.code == 1290), "{error:?}");
            let error = Error::from(error);
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
            assert!(error.connection_usable(), "{error:?}");
        }
        assert_eq!(conn.who().await.unwrap(), "instance-1");
        assert_eq!(conn.id(), id, "it is the connection it was");
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

/// A reader refuses; whoever may be at a reader only gets the refusal.
#[test]
fn a_write_on_a_reader_fails_over_only_where_a_writer_is_wanted() {
    on_cluster::<MySql>(2, async |cluster| {
        cluster.log_table::<MySql>().await;
        const WRITE: &str = "INSERT INTO log VALUES (1)";
        let connector = cluster.reader_connector::<MySql>(&[("failover_mode", "strict-writer")]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        assert_eq!(conn.who().await.unwrap(), "instance-2");
        let error = conn.run(WRITE).await.unwrap_err();
        assert!(error.is_failover_success() && !error.statement_may_have_run(), "{error:?}");
        assert_eq!(conn.who().await.unwrap(), "instance-1");
        assert_eq!(conn.run(WRITE).await.unwrap(), 1);
        assert!(host_down(&mut events).is_empty(), "the reader works");

        for mode in ["strict-reader", "reader-or-writer"] {
            let connector = cluster.reader_connector::<MySql>(&[("failover_mode", mode)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            let error = conn.query_drop(WRITE).await.unwrap_err();
            assert!(
                matches!(&error, mysql_async::Error::Server(server) if server.code == 1290),
                "{mode}: {error:?}"
            );
            assert_eq!(conn.who().await.unwrap(), "instance-2", "{mode}");
            assert_eq!(failovers(&mut events), (0, Vec::new()), "{mode}");
        }
    });
}

#[test]
fn a_login_without_the_right_to_read_the_topology_is_told_which_right() {
    on_cluster::<MySql>(2, async |cluster| {
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("CREATE USER blind IDENTIFIED BY 'secret'").await.unwrap();
        admin.run("GRANT ALL ON app.* TO blind").await.unwrap();
        let start = Instant::now();
        let error = cluster.connector::<MySql>(&[("user", "blind")]).connect().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("SELECT") && text.contains("replica_host_status"), "{error:?}");
        assert!(matches!(error.vendor_code(), Some(1142 | 1044 | 1370)), "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        // Without plugins nobody asks.
        cluster.connector::<MySql>(&[("user", "blind"), ("plugins", "none")]).connect().await.unwrap();
    });
}

#[test]
fn a_server_that_never_answers_is_given_up_at_the_deadline() {
    on_plain(async || {
        for behaviour in [Behaviour::Silent, Behaviour::Drips] {
            for sslmode in ["disable", "prefer", "require"] {
                let server = FakeServer::start(behaviour).await;
                let connector = local(&server, &[("connect_timeout_ms", "500"), ("sslmode", sslmode)]);
                let start = Instant::now();
                let error = connector.connect().await.unwrap_err();
                assert!(start.elapsed() < SOON, "{behaviour:?}: {:?}", start.elapsed());
                assert_eq!(error.host().unwrap().port(), server.address().port(), "{error:?}");
                eventually(Duration::from_secs(2), "the socket is closed", async || server.open() == 0).await;
            }
        }
    });
}

#[test]
fn a_server_of_another_kind_is_an_error_and_not_a_hang() {
    // These speak only when they are spoken to, or close at once.
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    on_plain(async || {
        for behaviour in [Behaviour::Answers(HTTP), Behaviour::Closes] {
            for sslmode in ["disable", "prefer", "require"] {
                let server = FakeServer::start(behaviour).await;
                let connector = local(&server, &[("connect_timeout_ms", "500"), ("sslmode", sslmode)]);
                let connected = timeout(SOON, connector.connect()).await;
                let error = connected.expect("the deadline holds").unwrap_err();
                assert!(!error.is_failover_success(), "{error:?}");
                assert_eq!(error.host().map(HostKey::host), Some("127.0.0.1"), "{error:?}");
                eventually(Duration::from_secs(2), "the socket is closed", async || server.open() == 0).await;
            }
        }
    });
}

fn local(server: &FakeServer, params: &[(&str, &str)]) -> Connector {
    let address = server.address();
    let url = format!("mysql://app:secret@{}:{}/app", address.ip(), address.port());
    let builder = Connector::builder().url(&url).unwrap();
    params.iter().fold(builder, |builder, (name, value)| builder.set(name, value).unwrap()).build().unwrap()
}
