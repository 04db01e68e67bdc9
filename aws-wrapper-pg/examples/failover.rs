//! Writes a row every 100 ms and says where it went, while the writer changes.
//!
//! On a simulated cluster whose writer is killed after two seconds:
//!
//! ```text
//! cargo build -p aurora-sim -p aws-wrapper-pg --example failover --bin aurora-sim
//! target/debug/aurora-sim run -- sh -c 'timeout 6 target/debug/examples/failover &
//!     sleep 2; target/debug/aurora-sim ctl failover --promote-after 1s; wait'
//! ```
//!
//! Or give it the URL of a cluster of your own.

use std::time::Duration;

use aws_wrapper_pg::core::error::RetryAdvice;
use aws_wrapper_pg::core::retry::RetryPolicy;
use aws_wrapper_pg::{Connector, Error};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
#[expect(clippy::disallowed_methods, reason = "an application reads its environment")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("AURORA_SIM_URL").ok());
    let url = url.unwrap_or_else(|| "postgresql://app:secret@localhost/app".to_owned());
    let connector = Connector::builder().url(&url)?.build()?;
    let client = connector.connect().await?;
    client.batch_execute("create table if not exists visits (at timestamptz default now())").await?;
    let insert = "insert into visits default values returning inet_server_addr()::text";
    // A visit that was lost on the way may have been written: one too many does no harm here.
    let policy = RetryPolicy::default().idempotent();
    for number in 1.. {
        let mut tries = 0;
        let written = client.retry_statement(policy, |client| {
            tries += 1;
            async move { client.query_one(insert, &[]).await }
        });
        match written.await {
            Ok(row) => println!("row {number} written by {} at try {tries}", row.get::<_, &str>(0)),
            Err(error) => {
                println!("row {number}: {error}");
                if error.retry_advice() == RetryAdvice::DoNotRetry {
                    return Err(error);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
