//! Encryption: which certificates and names are accepted, and that nothing leaves in the clear unasked.

use aws_wrapper_pg::core::error::DriverClass;
use aws_wrapper_pg::core::services::Services;
use aws_wrapper_pg::{Connector, ErrorKind, Result};

use crate::server::{Loopback, NAME, Server};

async fn is_encrypted(connector: Connector) -> Result<bool> {
    let client = connector.connect().await?;
    client.query_one_scalar("select ssl from pg_stat_ssl where pid = pg_backend_pid()", &[]).await
}

async fn connect(server: &Server, host: &str, parameters: &str, trusts: bool) -> Result<bool> {
    let url = format!("postgresql://postgres@{host}:{}/postgres?{parameters}", server.port());
    let mut builder = Connector::builder().url(&url)?.services(Services::with_resolver(Loopback));
    if trusts {
        builder = builder.root_certificate(server.root_certificate())?;
    }
    is_encrypted(builder.build()?).await
}

#[tokio::test]
async fn every_mode_does_what_its_name_says() {
    let server = Server::shared();
    for (host, parameters, trusts, encrypted) in [
        (NAME, "sslmode=disable", true, false),
        (NAME, "sslmode=prefer", false, true),
        (NAME, "", false, true),
        (NAME, "", true, true),
        (NAME, "sslmode=require", false, true),
        (NAME, "sslmode=require", true, true),
        ("other.example.test", "sslmode=require", false, true),
        ("other.example.test", "sslmode=verify-ca", true, true),
        ("127.0.0.1", "sslmode=verify-ca", true, true),
        (NAME, "sslmode=verify-ca", true, true),
        (NAME, "sslmode=verify-full", true, true),
    ] {
        let connected = connect(&server, host, parameters, trusts).await;
        assert_eq!(connected.unwrap(), encrypted, "{host} {parameters} {trusts}");
    }
}

#[tokio::test]
async fn another_name_is_refused_and_not_blamed_on_the_network() {
    let server = Server::shared();
    for (host, parameters) in [("other.example.test", "sslmode=verify-full"), ("127.0.0.1", "")] {
        let error = connect(&server, host, parameters, true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:#}");
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
    }
}

#[tokio::test]
async fn a_strangers_certificate_is_refused() {
    let (server, stranger) = (Server::shared(), Server::start());
    for mode in ["verify-ca", "verify-full", "require"] {
        let builder = server.builder_by_name(&format!("sslmode={mode}"));
        let connector = builder.root_certificate(stranger.root_certificate()).unwrap().build().unwrap();
        let error = is_encrypted(connector).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{mode} {error:#}");
    }
}

#[tokio::test]
async fn the_password_leaves_in_the_clear_only_where_that_was_asked_for() {
    let server = Server::start();
    let admin = server.client().await;
    admin.batch_execute("create role cleartext login password 'secret'").await.unwrap();
    admin.batch_execute("alter system set ssl = off").await.unwrap();
    admin.query("select pg_reload_conf()", &[]).await.unwrap();
    let setting =
        async || admin.query_one_scalar::<String, _>("select current_setting('ssl')", &[]).await.unwrap();
    let is_off = async { while setting().await != "off" {} };
    tokio::time::timeout(std::time::Duration::from_secs(10), is_off).await.unwrap();
    for (parameters, allowed) in [("", false), ("?sslmode=prefer", true), ("?sslmode=disable", true)] {
        let url = format!("postgresql://cleartext:secret@127.0.0.1:{}/postgres{parameters}", server.port());
        let connected = Connector::builder().url(&url).unwrap().build().unwrap().connect().await;
        match connected {
            Ok(_) => assert!(allowed, "{parameters}"),
            Err(error) => {
                assert!(!allowed, "{parameters} {error:#}");
                assert_eq!(error.kind(), ErrorKind::Login);
                assert!(format!("{error:#}").contains("in the clear"), "{error:#}");
            }
        }
    }
}

#[tokio::test]
async fn a_challenge_is_bound_to_the_channel() {
    let server = Server::shared();
    let admin = server.client().await;
    let _ = admin.batch_execute("create role scram login password 'secret'").await;
    for (user, password, outcome) in [
        ("scram", "secret", None),
        ("scram", "wrong", Some(ErrorKind::Login)),
        ("nobody_here", "secret", Some(ErrorKind::Login)),
    ] {
        let url = format!(
            "postgresql://{user}:{password}@{NAME}:{}/postgres?sslmode=verify-full&channel_binding=require",
            server.port()
        );
        let builder = Connector::builder().url(&url).unwrap().services(Services::with_resolver(Loopback));
        let connector = builder.root_certificate(server.root_certificate()).unwrap().build().unwrap();
        let result = is_encrypted(connector).await;
        assert_eq!(result.as_ref().err().map(|error| error.kind()), outcome, "{user} {result:?}");
    }
}
