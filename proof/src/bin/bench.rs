//! `bench [--blocks N] [--connections N] [--out DIR]`

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use aurora_sim::Cluster;
use aws_wrapper_core::resolver::Resolver;
use aws_wrapper_core::services::Services;
use aws_wrapper_pg::Connector;
use proof::bench::report::{Line, markdown};
use proof::bench::{call, instructions, loopback, memory};
use tokio_postgres::NoTls;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

const NAME: &str = "my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com";

#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["memory-child", side, address, connections] = words[..] {
        let (kb, threads) = single(memory_child(side, address.parse()?, connections.parse()?))?;
        println!("{kb} {threads}");
        return Ok(());
    }
    match words[..] {
        ["calls-child", way, calls] => return single(call::run(way, calls.parse()?)),
        ["queries-child", side, address, queries] => {
            return single(queries_child(side, address.parse()?, queries.parse()?));
        }
        _ => {}
    }
    // Both sides share one thread, so its processor time is the clients' alone. The cluster has its own.
    single(run(Arguments::parse(&words)?))
}

fn single<T>(work: impl Future<Output = Result<T, AnyError>>) -> Result<T, AnyError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

struct Arguments {
    blocks: usize,
    connections: usize,
    out: PathBuf,
}

impl Arguments {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut arguments = Self { blocks: 40, connections: 100, out: "target/bench".into() };
        for pair in words.chunks(2) {
            let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
            match pair {
                ["--blocks", value] => arguments.blocks = number(value)?,
                ["--connections", value] => arguments.connections = number(value)?,
                ["--out", value] => arguments.out = (*value).into(),
                _ => {
                    return Err(format!(
                        "{pair:?} is unknown; known: --blocks N, --connections N, --out DIR"
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
async fn run(arguments: Arguments) -> Result<(), AnyError> {
    let cluster = Cluster::builder().instances(1).start().await?;
    let server = cluster.direct_address(&cluster.writer());

    let mut lines: Vec<Line> = call::measure(arguments.blocks).await?;
    let bare = Bare::connect(server).await?;
    let wrapped = connector(server)?.connect().await?;
    lines.extend(loopback::measure(&wrapped, &bare.client, arguments.blocks).await?);
    lines.extend(memory::measure(&server.to_string(), arguments.connections).await?);
    lines.extend(instructions::measure(&server.to_string()).await?);
    drop((bare, wrapped));
    cluster.shutdown().await;

    let conditions = format!(
        "{} blocks of each side, alternating, on one thread; {} processors; PostgreSQL on loopback, reached without the \
         fault proxy; load average {}. Ratios are medians over neighbouring blocks.",
        arguments.blocks,
        std::thread::available_parallelism()?,
        std::fs::read_to_string("/proc/loadavg")?.split_whitespace().next().unwrap_or("unknown"),
    );
    std::fs::create_dir_all(&arguments.out)?;
    let text = markdown(&conditions, &lines);
    std::fs::write(arguments.out.join("report.md"), &text)?;
    std::fs::write(arguments.out.join("report.json"), serde_json::to_vec_pretty(&lines)?)?;
    println!("{text}");
    Ok(())
}

/// Every name leads to one server.
#[derive(Debug)]
struct Always(SocketAddr);

#[async_trait]
impl Resolver for Always {
    async fn resolve(&self, _host: &str, _port: u16) -> std::io::Result<Vec<SocketAddr>> {
        Ok(vec![self.0])
    }
}

/// With the default plugins, as on Aurora.
fn connector(server: SocketAddr) -> Result<Connector, AnyError> {
    let url = format!("postgresql://app:secret@{NAME}:{}/app?sslmode=disable", server.port());
    Ok(Connector::builder().url(&url)?.services(Services::with_resolver(Always(server))).build()?)
}

struct Bare {
    client: tokio_postgres::Client,
    driver: tokio::task::JoinHandle<()>,
}

impl Bare {
    async fn connect(server: SocketAddr) -> Result<Self, AnyError> {
        let mut config = tokio_postgres::Config::new();
        config.host(NAME).hostaddr(server.ip()).port(server.port());
        config.user("app").password("secret").dbname("app");
        let (client, connection) = config.connect(NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by `Bare`")]
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { client, driver })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Opens connections of one kind and tells what one of them took.
async fn memory_child(side: &str, server: SocketAddr, connections: usize) -> Result<(f64, u32), AnyError> {
    // The first connection pays for what all share.
    let (mut bare, mut wrapped) = (Vec::new(), Vec::new());
    let connector = connector(server)?;
    let mut before = 0.0;
    for number in 0..=connections {
        if side == "bare" {
            let connection = Bare::connect(server).await?;
            connection.client.query_one("select 1", &[]).await?;
            bare.push(connection);
        } else {
            let client = connector.connect().await?;
            client.query_one("select 1", &[]).await?;
            wrapped.push(client);
        }
        if number == 0 {
            before = memory::resident_kb()?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let per_connection = (memory::resident_kb()? - before) / connections as f64;
    let threads = memory::threads()?;
    drop((bare, wrapped));
    Ok((per_connection, threads))
}

/// Runs `SELECT 1` so many times through one side.
async fn queries_child(side: &str, server: SocketAddr, queries: u32) -> Result<(), AnyError> {
    if side == "bare" {
        let bare = Bare::connect(server).await?;
        let statement = bare.client.prepare("select 1").await?;
        for _ in 0..queries {
            bare.client.query_one(&statement, &[]).await?;
        }
    } else {
        let client = connector(server)?.connect().await?;
        let statement = client.prepare("select 1").await?;
        for _ in 0..queries {
            client.query_one(&statement, &[]).await?;
        }
    }
    Ok(())
}
