//! The retry helpers in the handlers of a web server, which want futures that are `Send`.

use aws_wrapper_core::host::Role;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::mysql::Pool;
use aws_wrapper_mysql::mysql_async::TxOpts;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use integration_tests::{MySql, Session, on_cluster};

use crate::service::{Order, Refusal, answer_of, failed, misread};

async fn place(State(pool): State<Pool>, body: String) -> Result<String, Refusal> {
    let order: Order = body.parse().map_err(misread)?;
    let policy = RetryPolicy::default();

    let mut conn = pool.writer().await.map_err(failed)?;
    let id = &order.id;
    let placed = conn.retry_transaction(policy, TxOpts::default(), |mut transaction| async move {
        transaction.exec_drop("INSERT INTO log VALUES (?)", (id,)).await?;
        transaction.exec_drop("INSERT INTO log VALUES (?)", (*id + 1,)).await
    });
    placed.await.map_err(failed)?;
    drop(conn);

    let counted = pool.run(Role::Writer, policy, |mut conn| async move {
        conn.exec_first::<i64, _, _>("SELECT count(*) FROM log WHERE id >= ?", (id,)).await
    });
    let count = counted.await.map_err(failed)?;
    Ok(count.unwrap_or_default().to_string())
}

#[test]
fn a_handler_borrows_what_it_was_given() {
    on_cluster::<MySql>(1, async |cluster| {
        cluster.log_table::<MySql>().await;
        let pool = Pool::builder(cluster.connector::<MySql>(&[])).build().unwrap();
        let router = Router::new().route("/orders", post(place)).with_state(pool.clone());
        assert_eq!(answer_of(router, "/orders", "7").await, "2");
        assert_eq!(pool.writer().await.unwrap().ask("SELECT sum(id) FROM log").await.unwrap(), "15");
    });
}
