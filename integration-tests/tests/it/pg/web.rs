//! The retry helpers in the handlers of a web server, which want futures that are `Send`.

use aws_wrapper_core::host::Role;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::pg::Pool;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use integration_tests::{Pg, Session, on_cluster};

use crate::service::{Order, Refusal, answer_of, failed, misread};

async fn place(State(pool): State<Pool>, body: String) -> Result<String, Refusal> {
    let order: Order = body.parse().map_err(misread)?;
    let policy = RetryPolicy::default();

    let mut client = pool.writer().await.map_err(failed)?;
    let id = &order.id;
    let placed = client.retry_transaction(policy, |transaction| async move {
        transaction.execute("INSERT INTO log VALUES ($1)", &[id]).await?;
        transaction.execute("INSERT INTO log VALUES ($1)", &[&(*id + 1)]).await
    });
    placed.await.map_err(failed)?;
    drop(client);

    let counted = pool.run(Role::Writer, policy, |client| async move {
        let row = client.query_one("SELECT count(*) FROM log WHERE id >= $1", &[id]).await?;
        Ok(row.get::<_, i64>(0))
    });
    Ok(counted.await.map_err(failed)?.to_string())
}

#[test]
fn a_handler_borrows_what_it_was_given() {
    on_cluster::<Pg>(1, async |cluster| {
        cluster.log_table::<Pg>().await;
        let pool = Pool::builder(cluster.connector::<Pg>(&[])).build().unwrap();
        let router = Router::new().route("/orders", post(place)).with_state(pool.clone());
        assert_eq!(answer_of(router, "/orders", "7").await, "2");
        assert_eq!(pool.writer().await.unwrap().ask("SELECT sum(id) FROM log").await.unwrap(), "15");
    });
}
