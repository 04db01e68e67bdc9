//! PostgreSQL as the products of Amazon show it.

use aurora_sim::{Cluster, Flavor};

use crate::client::connect;

/// The server's code for a function that does not exist.
const UNDEFINED_FUNCTION: &str = "42883";

const EXTENSIONS: &str =
    "SELECT setting FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'rds.extensions'";

#[tokio::test]
async fn functions_that_programs_probe_exist_and_those_of_absent_features_answer_nothing() {
    let cluster = Cluster::builder().instances(1).start().await.unwrap();
    let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
    assert!(client.text("SELECT aurora_version()").await.ends_with(".0"));
    assert!(client.text(EXTENSIONS).await.contains("aurora_stat_utils"));
    client.text("SELECT 'pg_catalog.get_blue_green_fast_switchover_metadata'::regproc").await;
    for function in [
        "get_blue_green_fast_switchover_metadata('x')",
        "aurora_limitless_router_endpoints()",
        "aurora_global_db_status()",
        "aurora_global_db_instance_status()",
    ] {
        assert_eq!(client.text(&format!("SELECT count(*) FROM pg_catalog.{function}")).await, "0");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn other_products_lack_auroras_functions() {
    for (flavor, extensions) in
        [(Flavor::Plain, None), (Flavor::Rds, Some("rds_tools")), (Flavor::MultiAz, Some("rds_tools"))]
    {
        let cluster = Cluster::builder().instances(1).flavor(flavor).start().await.unwrap();
        let client = connect(&cluster, &cluster.endpoint()).await.unwrap();
        assert_eq!(client.refused("SELECT aurora_version()").await, UNDEFINED_FUNCTION);
        let found = client.text(EXTENSIONS).await;
        assert_eq!(found.is_empty(), extensions.is_none(), "{flavor}");
        assert!(extensions.is_none_or(|part| found.contains(part)), "{flavor}");
        assert!(!found.contains("aurora_stat_utils"), "{flavor}");
        if flavor == Flavor::MultiAz {
            let writer = "SELECT * FROM rds_tools.multi_az_db_cluster_source_dbi_resource_id()";
            assert_eq!(client.text(writer).await, client.text("SELECT rds_tools.dbi_resource_id()").await);
            let endpoint = client.text("SELECT endpoint FROM rds_tools.show_topology('test')").await;
            assert_eq!(endpoint, cluster.instance_endpoint("instance-1"));
        }
        cluster.shutdown().await;
    }
}
