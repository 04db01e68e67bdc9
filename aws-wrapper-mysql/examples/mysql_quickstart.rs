//! Ten lines on a plain MySQL: `cargo run -p aws-wrapper-mysql --example mysql_quickstart -- mysql://app:secret@localhost/app`

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

#[tokio::main]
async fn main() -> Result<(), aws_wrapper_mysql::Error> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "mysql://app:secret@localhost/app".to_owned());
    let connector = aws_wrapper_mysql::Connector::builder().url(&url)?.build()?;
    let mut conn = connector.connect().await?;
    let sum: Option<u32> = conn.exec_first("select ? + 1", (41,)).await?;
    println!("{sum:?}");
    Ok(())
}
