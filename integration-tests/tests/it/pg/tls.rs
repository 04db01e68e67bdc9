//! Encrypted connections.

use aurora_sim::Cluster;
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use integration_tests::{Pg, SOON, Session, failovers, on_built};
use tokio::time::Instant;

const ENCRYPTED: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

#[test]
fn the_certificate_is_checked_before_and_after_a_failover() {
    on_built::<Pg>(Cluster::builder().instances(2).tls(true), async |cluster| {
        let authority = cluster.ca_pem_path().unwrap().display().to_string();
        let params = [("sslmode", "verify-full"), ("ssl_root_cert", authority.as_str())];
        let mut client = cluster.connector::<Pg>(&params).connect().await.unwrap();
        assert_eq!(client.ask(ENCRYPTED).await.unwrap(), "t");
        let report = cluster.replace_writer().await;
        assert!(client.who().await.unwrap_err().is_failover_success());
        assert_eq!(client.who().await.unwrap(), report.new_writer);
        assert_eq!(client.ask(ENCRYPTED).await.unwrap(), "t");
    });
}

#[test]
fn a_certificate_of_nobody_we_know_is_an_error_at_once() {
    on_built::<Pg>(Cluster::builder().instances(1).tls(true), async |cluster| {
        // The server's own key does not vouch for itself, and the name of another cluster is not its own.
        let authority = cluster.ca_pem_path().unwrap().display().to_string();
        let address = cluster.names().lookup(&cluster.endpoint())[0].to_string();
        let params = [("sslmode", "verify-full"), ("ssl_root_cert", authority.as_str())];
        let connector = cluster.connector_to::<Pg>(&address, &params).unwrap();
        let mut events = connector.services().subscribe();
        let start = Instant::now();
        let error = connector.connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        assert_eq!(failovers(&mut events), (0, Vec::new()));
    });
}

#[test]
fn a_server_without_encryption_is_refused_when_it_is_required() {
    on_built::<Pg>(Cluster::builder().instances(1), async |cluster| {
        let start = Instant::now();
        let error = cluster.connector::<Pg>(&[("sslmode", "require")]).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
        let mut client = cluster.connector::<Pg>(&[("sslmode", "prefer")]).connect().await.unwrap();
        assert_eq!(client.ask(ENCRYPTED).await.unwrap(), "f");
    });
}
