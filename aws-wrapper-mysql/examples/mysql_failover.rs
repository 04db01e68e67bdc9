//! Writes a row every 100 ms and says where it went, while the writer changes.
//!
//! On a simulated cluster whose writer is killed after two seconds:
//!
//! ```text
//! cargo build -p aurora-sim -p aws-wrapper-mysql --example mysql_failover --bin aurora-sim
//! target/debug/aurora-sim run --engine mysql -- sh -c 'timeout 6 target/debug/examples/mysql_failover &
//!     sleep 2; target/debug/aurora-sim ctl failover --promote-after 1s; wait'
//! ```
//!
//! Or give it the URL of a cluster of your own.

use std::time::Duration;

use aws_wrapper_mysql::core::error::RetryAdvice;
use aws_wrapper_mysql::core::retry::RetryPolicy;
use aws_wrapper_mysql::{Connector, Error};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
#[expect(clippy::disallowed_methods, reason = "an application reads its environment")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).or_else(|| std::env::var("AURORA_SIM_URL").ok());
    let url = url.unwrap_or_else(|| "mysql://app:secret@localhost/app".to_owned());
    let connector = Connector::builder().url(&url)?.build()?;
    let mut conn = connector.connect().await?;
    conn.query_drop("create table if not exists visits (at timestamp default current_timestamp)").await?;
    // A visit that was lost on the way may have been written: one too many does no harm here.
    let policy = RetryPolicy::default().idempotent();
    for number in 1.. {
        let mut tries = 0;
        let written = conn.retry_statement(policy, |mut conn| {
            tries += 1;
            async move { conn.query_drop("insert into visits values ()").await }
        });
        match written.await.map_err(Error::from) {
            Ok(()) => println!("row {number} written by {} at try {tries}", conn.slot().routed_host()),
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
