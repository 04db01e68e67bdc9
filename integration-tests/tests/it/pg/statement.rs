//! Prepared statements across a failover.

use integration_tests::{Pg, Session, on_cluster};

#[test]
fn a_prepared_statement_works_on_the_new_writer() {
    on_cluster::<Pg>(3, async |cluster| {
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        let statement = client.prepare("SELECT $1::int + 1, aurora_db_instance_identifier()").await.unwrap();
        assert_eq!(client.query_one(&statement, &[&1]).await.unwrap().get::<_, i32>(0), 2);
        for _ in 0..2 {
            let report = cluster.replace_writer().await;
            assert!(client.query_one(&statement, &[&1]).await.unwrap_err().is_failover_success());
            for _ in 0..2 {
                let row = client.query_one(&statement, &[&2]).await.unwrap();
                assert_eq!((row.get(0), row.get(1)), (3, report.new_writer.clone()));
            }
            let prepared = client.ask("SELECT count(*) FROM pg_prepared_statements").await.unwrap();
            assert_eq!(prepared, "1", "it is prepared once");
            cluster.complete().await;
        }
    });
}

#[test]
fn a_statement_works_in_transactions_before_and_after_a_failover() {
    on_cluster::<Pg>(3, async |cluster| {
        let mut client = cluster.connector::<Pg>(&[]).connect().await.unwrap();
        client.batch_execute("CREATE TABLE t (id int)").await.unwrap();
        let insert = client.prepare("INSERT INTO t VALUES ($1)").await.unwrap();
        let transaction = client.transaction().await.unwrap();
        transaction.execute(&insert, &[&1]).await.unwrap();
        transaction.commit().await.unwrap();
        cluster.replace_writer().await;
        // The loss shows in the beginning, where nothing is lost with it.
        let error = client.transaction().await.map(drop).unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        let transaction = client.transaction().await.unwrap();
        transaction.execute(&insert, &[&2]).await.unwrap();
        transaction.commit().await.unwrap();
        let sum: i64 = client.query_one_scalar("SELECT sum(id) FROM t", &[]).await.unwrap();
        assert_eq!(sum, 3);
    });
}
