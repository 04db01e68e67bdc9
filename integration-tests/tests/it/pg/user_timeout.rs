//! `tcp_user_timeout_ms`: the operating system gives up on data that nobody takes.

use aws_wrapper_pg::tokio_postgres::types::Type;
use integration_tests::{Pg, Session, failovers, on_cluster};
use tokio::time::Instant;

/// The simulated network is a proxy on loopback: the kernel acknowledges whatever still fits into its buffers, so a small
/// query into a black hole is never unacknowledged and no timeout applies to it. The proxy stops reading after 4 MiB;
/// a statement much larger than that and all socket buffers leaves data that cannot be delivered, which is what the
/// timeout is about.
#[test]
fn data_that_cannot_be_delivered_ends_the_connection() {
    on_cluster::<Pg>(3, async |cluster| {
        let params = [("tcp_user_timeout_ms", "1500"), ("connect_timeout_ms", "1000")];
        let connector = cluster.connector::<Pg>(&params);
        let mut events = connector.services().subscribe();
        let mut client = connector.connect().await.unwrap();
        let large = "x".repeat(48 << 20);
        cluster.blackhole("instance-1").await.unwrap();
        let report = cluster.replace_writer().await;
        let start = Instant::now();
        let error = client.query_typed_one("SELECT length($1)", &[(&large, Type::TEXT)]).await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        assert!((1..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
        assert_eq!(client.who().await.unwrap(), report.new_writer);
        assert_eq!(failovers(&mut events).0, 1);
        cluster.heal("instance-1").await.unwrap();
    });
}
