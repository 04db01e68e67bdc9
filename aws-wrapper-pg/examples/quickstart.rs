//! The first program: one query, on any PostgreSQL.
//!
//! `cargo run -p aws-wrapper-pg --example quickstart -- postgresql://app:secret@localhost/app`

use aws_wrapper_pg::{Connector, Error};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
async fn main() -> Result<(), Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "postgresql://app:secret@localhost/app".to_owned());
    let connector = Connector::builder().url(&url)?.build()?;
    let client = connector.connect().await?;
    let row = client.query_one("select version(), $1::int4 + 1", &[&41]).await?;
    println!("{}\nthe answer is {}", row.get::<_, &str>(0), row.get::<_, i32>(1));
    Ok(())
}
