//! What users get wrong, and what the wrapper says.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, Phase};
use aws_wrapper_core::host::HostKey;
use aws_wrapper_pg::Connector;
use integration_tests::{
    Behaviour, FakeServer, Pg, SOON, Session, TestCluster, eventually, failovers, on_cluster, on_plain,
};
use tokio::time::{Instant, timeout};

/// One cluster serves all cases that leave it as it is.
#[test]
fn mistakes_are_answered_at_once() {
    on_cluster::<Pg>(2, async |cluster| {
        a_wrong_password(cluster).await;
        a_missing_database(cluster).await;
        a_host_that_does_not_exist(cluster).await;
        a_reader_that_is_taken_for_the_writer(cluster).await;
        an_address_without_a_pattern(cluster).await;
        a_pattern_of_another_cluster(cluster).await;
        a_statement_that_is_wrong(cluster).await;
        a_read_only_transaction(cluster).await;
        a_login_without_the_right_to_read_the_topology(cluster).await;
    });
}

async fn a_wrong_password(cluster: &TestCluster) {
    for plugins in ["none", "failover", "initial_connection,failover", "stale_dns,failover"] {
        for user in ["app", "nobody"] {
            let params = [
                ("user", user),
                ("password", "wrong-pw"),
                ("plugins", plugins),
                ("enable_connect_failover", "true"),
            ];
            let connector = cluster.connector::<Pg>(&params);
            let mut events = connector.services().subscribe();
            let start = Instant::now();
            let error = connector.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Login, "{plugins}: {error:?}");
            assert_eq!(error.sqlstate(), Some("28P01"), "{plugins}: {error:?}");
            assert!(start.elapsed() < SOON, "{plugins}: {:?}", start.elapsed());
            assert_eq!(failovers(&mut events), (0, Vec::new()), "{plugins}");
            assert!(!format!("{error} {error:?} {error:#?}").contains("wrong-pw"), "{plugins}");
        }
    }
}

async fn a_missing_database(cluster: &TestCluster) {
    let start = Instant::now();
    let error = cluster.connector::<Pg>(&[("dbname", "nowhere")]).connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
    assert_eq!(error.sqlstate(), Some("3D000"), "{error:?}");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
}

async fn a_host_that_does_not_exist(cluster: &TestCluster) {
    let error = cluster.connector_to::<Pg>("no.such.host", &[]).unwrap().connect().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Network), "{error:?}");
    assert!(error.to_string().contains("no.such.host"), "{error}");

    // A name of the right form may appear any moment, so it is tried for a while.
    let name = "typo.cluster-xyz.us-east-2.rds.amazonaws.com";
    let params = [("open_connection_retry_timeout_ms", "500"), ("open_connection_retry_interval_ms", "100")];
    let start = Instant::now();
    let error = cluster.connector_to::<Pg>(name, &params).unwrap().connect().await.unwrap_err();
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
    for params in [
        &[("target_session_attrs", "read-write")][..],
        &[
            ("verify_opened_connection_type", "writer"),
            ("open_connection_retry_timeout_ms", "2000"),
            ("open_connection_retry_interval_ms", "100"),
        ],
    ] {
        let start = Instant::now();
        let error = cluster.connector_to::<Pg>(&reader, params).unwrap().connect().await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Routing | ErrorKind::Timeout(Phase::Connect)), "{error:?}");
        let text = format!("{error:?}");
        assert!(text.contains("is a Reader, but a Writer is wanted"), "{text}");
        assert_eq!(error.host(), Some(&cluster.key("instance-2")), "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

async fn an_address_without_a_pattern(cluster: &TestCluster) {
    let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
    let error = cluster
        .connector_to::<Pg>(&address, &[("plugins", "failover")])
        .unwrap()
        .connect()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
    assert!(error.to_string().contains("cluster_instance_host_pattern"), "{error}");

    // Without plugins the wrapper needs no names; with the pattern it knows them.
    cluster.connector_to::<Pg>(&address, &[]).unwrap().connect().await.unwrap();
    let pattern = cluster.instance_endpoint("?");
    let params = [("cluster_instance_host_pattern", pattern.as_str())];
    let connector = cluster.connector_to::<Pg>(&address, &params).unwrap();
    let mut client = connector.connect().await.unwrap();
    assert_eq!(client.who().await.unwrap(), "instance-1");
    assert_eq!(connector.services().status().clusters[0].hosts, 2);
}

/// The names are made, but lead nowhere: the connection works, only a failover would not.
async fn a_pattern_of_another_cluster(cluster: &TestCluster) {
    let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
    let params = [("cluster_instance_host_pattern", "?.other.us-east-2.rds.amazonaws.com")];
    let connector = cluster.connector_to::<Pg>(&address, &params).unwrap();
    let client = connector.connect().await.unwrap();
    client.batch_execute("SELECT 1").await.unwrap();
    eventually(Duration::from_secs(10), "the monitor says what is wrong", async || {
        let status = connector.services().status();
        status.clusters[0].last_error.as_ref().is_some_and(|error| error.contains("other.us-east-2"))
    })
    .await;
}

async fn a_statement_that_is_wrong(cluster: &TestCluster) {
    let connector = cluster.connector::<Pg>(&[]);
    let mut events = connector.services().subscribe();
    let client = connector.connect().await.unwrap();
    for (sql, sqlstate) in [
        ("SELEC 1", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT 1/0", "22012"),
        ("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = 'XX000'; END$$", "XX000"),
        ("DO $$BEGIN RAISE EXCEPTION USING ERRCODE = '53300'; END$$", "53300"),
    ] {
        let error = client.execute(sql, &[]).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some(sqlstate), "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
        assert!(error.connection_usable(), "{error:?}");
    }
    client.batch_execute("SELECT 1").await.unwrap();
    assert_eq!(failovers(&mut events), (0, Vec::new()));
}

/// The writer refuses the write because the user asked it to: no failover could help.
async fn a_read_only_transaction(cluster: &TestCluster) {
    cluster.log_table::<Pg>().await;
    let connector = cluster.connector::<Pg>(&[]);
    let mut events = connector.services().subscribe();
    let mut client = connector.connect().await.unwrap();
    let first = client.slot().id();
    let begun = client.build_transaction().read_only(true).start().await.unwrap();
    let error = begun.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap_err();
    assert_eq!(error.sqlstate(), Some("25006"), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Role), "{error:?}");
    begun.rollback().await.unwrap();

    for read_only in ["BEGIN READ ONLY", "SET default_transaction_read_only = on"] {
        client.batch_execute(read_only).await.unwrap();
        let error = client.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap_err();
        assert_eq!(error.sqlstate(), Some("25006"), "{read_only}: {error:?}");
        assert!(!error.is_failover_success() && error.connection_usable(), "{read_only}: {error:?}");
        client.batch_execute("ROLLBACK; RESET default_transaction_read_only").await.unwrap();
    }
    assert_eq!(client.execute("INSERT INTO log VALUES (1)", &[]).await.unwrap(), 1);
    assert_eq!(client.slot().id(), first, "it is the connection it was");
    assert_eq!(failovers(&mut events), (0, Vec::new()));
}

async fn a_login_without_the_right_to_read_the_topology(cluster: &TestCluster) {
    let mut admin = cluster.admin::<Pg>("instance-1").await;
    admin.ask("REVOKE EXECUTE ON FUNCTION pg_catalog.aurora_replica_status() FROM PUBLIC").await.unwrap();
    let start = Instant::now();
    let error = cluster.connector::<Pg>(&[]).connect().await.unwrap_err();
    assert!(error.to_string().contains("pg_catalog.aurora_replica_status()"), "{error}");
    assert!(error.to_string().contains("EXECUTE"), "{error}");
    assert_eq!(error.sqlstate(), Some("42501"), "{error:?}");
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    // Without plugins nobody asks.
    cluster.connector::<Pg>(&[("plugins", "none")]).connect().await.unwrap();
    admin.ask("GRANT EXECUTE ON FUNCTION pg_catalog.aurora_replica_status() TO app").await.unwrap();
    cluster.connector::<Pg>(&[]).connect().await.unwrap();
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
                if matches!(behaviour, Behaviour::Silent) {
                    assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect), "{error:?}");
                }
                eventually(Duration::from_secs(2), "the socket is closed", async || server.open() == 0).await;
            }
        }
    });
}

#[test]
fn a_server_of_another_kind_is_an_error_and_not_a_hang() {
    const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n";
    const MYSQL: &[u8] = b"\x4a\x00\x00\x00\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xf7\xff";
    const ZEROS: &[u8] = &[0; 64];
    on_plain(async || {
        for behaviour in [
            Behaviour::Answers(HTTP),
            Behaviour::Answers(SSH),
            Behaviour::Answers(MYSQL),
            Behaviour::Answers(ZEROS),
            Behaviour::Closes,
        ] {
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
    let url = format!("postgresql://app:secret@{}:{}/app", address.ip(), address.port());
    let builder = Connector::builder().url(&url).unwrap();
    params.iter().fold(builder, |builder, (name, value)| builder.set(name, value).unwrap()).build().unwrap()
}
