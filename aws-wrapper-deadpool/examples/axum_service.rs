//! A web service with a pool: writes go to the writer, reads to the readers, and a health endpoint does no I/O.
//!
//! On a simulated cluster whose writer is killed after three seconds:
//!
//! ```text
//! cargo build -p aurora-sim -p aws-wrapper-deadpool --features aws-wrapper-deadpool/pg --example axum_service --bin aurora-sim
//! target/debug/aurora-sim run --engine postgres -- sh -c 'target/debug/examples/axum_service & service=$!
//!     sleep 3; target/debug/aurora-sim ctl failover --promote-after 1s &
//!     for i in $(seq 40); do sleep 0.2; curl -s localhost:8080/health; curl -s -X POST localhost:8080/visits; done
//!     curl -s localhost:8080/visits; kill -INT $service; wait $service'
//! ```
//!
//! Or give it the URL of a cluster of your own. `LISTEN` is the address of the service, `127.0.0.1:8080` by default.

use std::error::Error as StdError;
use std::sync::Arc;

use aws_wrapper_deadpool::pg::Pool;
use aws_wrapper_deadpool::{Error as PoolError, Health};
use aws_wrapper_pg::Connector;
use aws_wrapper_pg::core::host::Role;
use aws_wrapper_pg::core::retry::RetryPolicy;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Router, serve};
use tokio::net::TcpListener;

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that says where it listens")]
#[expect(clippy::disallowed_methods, reason = "an application reads its environment")]
async fn main() -> Result<(), Box<dyn StdError>> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("AURORA_SIM_URL").ok());
    let url = url.unwrap_or_else(|| "postgresql://app:secret@localhost/app".to_owned());
    let pool = Pool::builder(Connector::builder().url(&url)?.build()?).max_size(16).build()?;
    pool.writer()
        .await?
        .batch_execute("create table if not exists visits (id serial primary key, host text)")
        .await?;

    let service = Router::new()
        .route("/visits", get(count_visits).post(add_visit))
        .route("/health", get(health))
        .with_state(pool.clone());
    let address = std::env::var("LISTEN").unwrap_or_else(|_| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(&address).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, service).with_graceful_shutdown(asked_to_stop()).await?;
    // What lies idle is closed; requests that were under way are over.
    pool.close();
    Ok(())
}

/// For the probes of an orchestrator: 200 while requests can be served, 503 while they cannot.
async fn health(State(pool): State<Pool>) -> Response {
    let (health, status) = (pool.health(), pool.status());
    let code = if health == Health::Down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let text = format!(
        "{health}: {} connections, {} in use, {} requests wait\n",
        status.size, status.in_use, status.waiting
    );
    (code, text).into_response()
}

/// Adds a row; once more, on another connection, when the writer was lost under it: a visit counted twice does no harm.
async fn add_visit(State(pool): State<Pool>) -> Result<String, Failure> {
    let insert = "insert into visits (host) values (inet_server_addr()::text) returning id, host";
    let policy = RetryPolicy::default().idempotent();
    let row = pool.run(Role::Writer, policy, |client| async move { client.query_one(insert, &[]).await });
    let row = row.await?;
    Ok(format!("visit {} written by {}\n", row.get::<_, i32>(0), row.get::<_, &str>(1)))
}

/// Counts the rows on a reader.
async fn count_visits(State(pool): State<Pool>) -> Result<String, Failure> {
    let count = "select count(*), inet_server_addr()::text from visits";
    let policy = RetryPolicy::default().idempotent();
    let row = pool.run(Role::Reader, policy, |client| async move { client.query_one(count, &[]).await });
    let row = row.await?;
    Ok(format!("{} visits, counted by {}\n", row.get::<_, i64>(0), row.get::<_, &str>(1)))
}

/// What a client is told: that it failed. The log has the rest.
struct Failure(Arc<dyn StdError + Send + Sync>);

impl From<PoolError> for Failure {
    fn from(error: PoolError) -> Self {
        Self(Arc::new(error))
    }
}

impl IntoResponse for Failure {
    #[expect(clippy::print_stderr, reason = "the log of an example")]
    fn into_response(self) -> Response {
        eprintln!("a request failed: {}", self.0);
        (StatusCode::SERVICE_UNAVAILABLE, "the database is not available\n").into_response()
    }
}

async fn asked_to_stop() {
    if let Err(error) = tokio::signal::ctrl_c().await {
        // Without the signal it runs until it is killed.
        tracing::warn!(%error, "no signal can be received");
        std::future::pending::<()>().await;
    }
}
