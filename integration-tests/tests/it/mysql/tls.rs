//! Encrypted connections, and passwords that may travel only inside of them.

use aurora_sim::Cluster;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use integration_tests::{MySql, SOON, Session, TestCluster, failovers, on_built, on_cluster};
use tokio::time::Instant;

const ENCRYPTED: &str =
    "SELECT variable_value <> '' FROM performance_schema.session_status WHERE variable_name = 'Ssl_cipher'";

fn authority(cluster: &TestCluster) -> String {
    cluster.ca_pem_path().unwrap().display().to_string()
}

/// The address is dialled, the name is verified.
#[test]
fn the_certificate_is_checked_before_and_after_a_failover() {
    on_built::<MySql>(Cluster::builder().instances(2).tls(true), async |cluster| {
        let authority = authority(cluster);
        for sslmode in [None, Some("verify-full"), Some("require")] {
            let mut params = vec![("ssl_root_cert", authority.as_str())];
            params.extend(sslmode.map(|mode| ("sslmode", mode)));
            let mut conn = cluster.connector::<MySql>(&params).connect().await.unwrap();
            assert_eq!(conn.ask(ENCRYPTED).await.unwrap(), "1", "{sslmode:?}");
            let report = cluster.replace_writer().await;
            assert!(conn.who().await.unwrap_err().is_failover_success(), "{sslmode:?}");
            assert_eq!(conn.who().await.unwrap(), report.new_writer, "{sslmode:?}");
            assert_eq!(conn.ask(ENCRYPTED).await.unwrap(), "1", "{sslmode:?}");
            cluster.complete().await;
        }
    });
}

#[test]
fn a_certificate_of_nobody_we_know_is_an_error_at_once() {
    on_built::<MySql>(Cluster::builder().instances(1).tls(true), async |cluster| {
        // The name of another host is not its own.
        let authority = authority(cluster);
        let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
        for plugins in ["none", "failover"] {
            let pattern = cluster.instance_endpoint("?");
            let params = [
                ("sslmode", "verify-full"),
                ("ssl_root_cert", authority.as_str()),
                ("plugins", plugins),
                ("cluster_instance_host_pattern", pattern.as_str()),
            ];
            let connector = cluster.connector_to::<MySql>(&address, &params).unwrap();
            let mut events = connector.services().subscribe();
            let start = Instant::now();
            let error = connector.connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
            assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
            assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            assert_eq!(failovers(&mut events), (0, Vec::new()));
        }
        // The driver cannot check the authority alone.
        let params = [("sslmode", "verify-ca"), ("ssl_root_cert", authority.as_str())];
        let error = cluster.connector_to::<MySql>(&address, &params).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains("verify-full"), "{error}");
    });
}

/// An authority that has the same form and another key.
#[test]
fn a_certificate_of_another_authority_is_refused() {
    on_built::<MySql>(Cluster::builder().instances(1).tls(true), async |cluster| {
        let other = foreign_authority(cluster).await;
        for sslmode in ["require", "verify-full"] {
            let params = [("sslmode", sslmode), ("ssl_root_cert", other.as_str())];
            let error = cluster.connector::<MySql>(&params).connect().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{sslmode}: {error:?}");
            assert!(error.to_string().to_lowercase().contains("certificate"), "{sslmode}: {error}");
        }
    });
}

/// The authority of a cluster that is no more.
async fn foreign_authority(cluster: &TestCluster) -> String {
    let other = Cluster::builder().instances(1).tls(true).engine(cluster.engine()).uid("foreign");
    let other = other.start().await.unwrap();
    let pem = std::fs::read(other.ca_pem_path().unwrap()).unwrap();
    other.shutdown().await;
    let path = cluster.folder().join("foreign.pem");
    std::fs::write(&path, pem).unwrap();
    path.display().to_string()
}

#[test]
fn a_server_without_encryption_is_refused_when_it_is_required() {
    on_cluster::<MySql>(1, async |cluster| {
        for sslmode in ["require"] {
            for plugins in ["none", "initial_connection,failover"] {
                let params = [("sslmode", sslmode), ("plugins", plugins)];
                let start = Instant::now();
                let error = cluster.connector::<MySql>(&params).connect().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
                let text = error.to_string();
                assert!(text.contains("SSL") || text.contains("TLS"), "it says what is missing: {text}");
                assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
            }
        }
        for params in [&[("sslmode", "prefer")][..], &[("sslmode", "disable")], &[]] {
            let mut conn = cluster.connector::<MySql>(params).connect().await.unwrap();
            assert_eq!(conn.ask(ENCRYPTED).await.unwrap(), "0", "{params:?}");
        }
    });
}

#[test]
fn names_of_rds_are_encrypted_unless_it_is_said_otherwise() {
    on_built::<MySql>(Cluster::builder().instances(1).tls(true), async |cluster| {
        for (params, encrypted) in
            [(&[][..], "1"), (&[("sslmode", "prefer")], "1"), (&[("sslmode", "disable")], "0")]
        {
            let mut conn = cluster.connector::<MySql>(params).connect().await.unwrap();
            assert_eq!(conn.ask(ENCRYPTED).await.unwrap(), encrypted, "{params:?}");
        }
    });
}

/// A token is sent as it is; whoever listens could use it.
#[test]
fn a_password_that_is_sent_as_it_is_goes_over_encrypted_connections_only() {
    const IAM: [(&str, &str); 2] = [("user", "iam"), ("enable_cleartext_plugin", "true")];
    on_built::<MySql>(Cluster::builder().instances(1).tls(true), async |cluster| {
        let authority = authority(cluster);
        for more in [
            &[("ssl_root_cert", authority.as_str())][..],
            &[],
            &[("sslmode", "prefer")],
            &[("sslmode", "disable")],
        ] {
            let params = [&IAM[..], more].concat();
            let mut conn = cluster.connector::<MySql>(&params).connect().await.unwrap();
            assert_eq!(conn.ask("SELECT CURRENT_USER()").await.unwrap(), "iam@%", "{more:?}");
        }
        // Not even there without a word.
        let error = cluster.connector::<MySql>(&[("user", "iam")]).connect().await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("clear"), "{error:?}");
    });
    // Nobody encrypts here.
    on_cluster::<MySql>(1, async |cluster| {
        let params = [&IAM[..], &[("password", "hunter2")]].concat();
        let error = cluster.connector::<MySql>(&params).connect().await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains("clear"), "{error:?}");
        assert_ne!(error.vendor_code(), Some(1045), "the server has seen the password: {error:?}");
        let params = [&IAM[..], &[("sslmode", "require")]].concat();
        cluster.connector::<MySql>(&params).connect().await.unwrap_err();
        let params = [&IAM[..], &[("sslmode", "disable")]].concat();
        let mut conn = cluster.connector::<MySql>(&params).connect().await.unwrap();
        assert_eq!(conn.ask("SELECT CURRENT_USER()").await.unwrap(), "iam@%");
    });
}
