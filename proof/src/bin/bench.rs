//! `bench [--engine postgres|mysql] [--blocks N] [--connections N] [--cores any|together|apart] [--out DIR]`

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;

use async_trait::async_trait;
use aurora_sim::{Cluster, Engine};
use aws_wrapper_core::resolver::Resolver;
use aws_wrapper_core::services::Services;
use proof::bench::cores::Cores;
use proof::bench::loopback::{Label, QUERIES};
use proof::bench::report::{Line, markdown};
use proof::bench::{Side, Subject, call, instructions, loopback, memory};
use proof::driver::{AnyError, Driver, MySql, Pg, Session};

const NAME: &str = "my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com";

fn main() -> Result<(), AnyError> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // Both sides share one thread, so its processor time is the clients' alone. The cluster has its own.
    match words[..] {
        ["calls-child", way, calls] => single(call::run(way, calls.parse()?)),
        [child @ ("memory-child" | "queries-child"), engine, ref rest @ ..] => match engine.parse()? {
            Engine::MySql => single(run_child::<MySql>(child, rest)),
            _ => single(run_child::<Pg>(child, rest)),
        },
        _ => {
            let arguments = Arguments::parse(&words)?;
            match arguments.engine {
                Engine::MySql => single(run::<MySql>(arguments)),
                _ => single(run::<Pg>(arguments)),
            }
        }
    }
}

fn single<T>(work: impl Future<Output = Result<T, AnyError>>) -> Result<T, AnyError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

#[expect(clippy::print_stdout, reason = "what it prints is read by the program that started it")]
async fn run_child<D: Driver>(child: &str, words: &[&str]) -> Result<(), AnyError> {
    match (child, words) {
        ("memory-child", [side, address, connections]) => {
            let (address, connections) = (address.parse()?, connections.parse()?);
            let (kb, threads) = if side.parse::<Side>()? == Side::Bare {
                memory_child(async || D::bare(NAME, address).await, connections).await?
            } else {
                let connector = connector::<D>(address)?;
                memory_child(async || D::wrapped(&connector).await, connections).await?
            };
            println!("{kb} {threads}");
            Ok(())
        }
        ("queries-child", [side, form, address, queries]) => {
            let (address, queries) = (address.parse()?, queries.parse()?);
            match side.parse()? {
                Side::Bare => queries_child(D::bare(NAME, address).await?, form, queries).await,
                Side::Wrapped => {
                    let session = D::wrapped(&connector::<D>(address)?).await?;
                    queries_child(session, form, queries).await
                }
                Side::Generic => {
                    let session = D::wrapped(&connector::<D>(address)?).await?;
                    queries_child(D::generic(session).ok_or("no such trait")?, form, queries).await
                }
            }
        }
        _ => Err("unreadable arguments".into()),
    }
}

struct Arguments {
    engine: Engine,
    blocks: usize,
    connections: usize,
    cores: Cores,
    out: PathBuf,
}

impl Arguments {
    fn parse(words: &[&str]) -> Result<Self, String> {
        let mut arguments = Self {
            engine: Engine::default(),
            blocks: 160,
            connections: 100,
            cores: Cores::Any,
            out: "target/bench".into(),
        };
        for pair in words.chunks(2) {
            let number = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a number"));
            match pair {
                ["--engine", value] => {
                    arguments.engine = value.parse().map_err(|error: aurora_sim::Error| error.to_string())?;
                }
                ["--blocks", value] => arguments.blocks = number(value)?,
                ["--connections", value] => arguments.connections = number(value)?,
                ["--cores", "any"] => arguments.cores = Cores::Any,
                ["--cores", "together"] => arguments.cores = Cores::Together,
                ["--cores", "apart"] => arguments.cores = Cores::Apart,
                ["--out", value] => arguments.out = (*value).into(),
                _ => {
                    return Err(format!(
                        "{pair:?} is unknown; known: --engine postgres|mysql, --blocks N, --connections N, --cores \
                         any|together|apart, --out DIR"
                    ));
                }
            }
        }
        Ok(arguments)
    }
}

#[expect(clippy::print_stdout, reason = "a program that prints its findings")]
async fn run<D: Driver>(arguments: Arguments) -> Result<(), AnyError> {
    arguments.cores.for_servers()?;
    let cluster = Cluster::builder().engine(D::ENGINE).instances(1).start().await?;
    arguments.cores.for_client()?;
    let server = cluster.direct_address(&cluster.writer());

    let mut lines: Vec<Line> = call::measure(arguments.blocks / 4).await?;
    let mut bare = D::bare(NAME, server).await?;
    let connector = connector::<D>(server)?;
    let goals = Some((1.03, D::CPU_GOAL));
    let mut wrapped = D::wrapped(&connector).await?;
    let label = Label { note: Side::Wrapped.note(), goals };
    lines.extend(loopback::measure(label, &mut wrapped, &mut bare, arguments.blocks).await?);
    let mut sides = vec![Side::Bare, Side::Wrapped];
    if let Some(mut generic) = D::generic(wrapped) {
        let label = Label { note: Side::Generic.note(), goals };
        lines.extend(loopback::measure(label, &mut generic, &mut bare, arguments.blocks).await?);
        sides.push(Side::Generic);
    }
    let mut other = D::bare(NAME, server).await?;
    let label = Label { note: Side::Bare.note(), goals: None };
    lines.extend(loopback::measure(label, &mut other, &mut bare, arguments.blocks).await?);
    drop((bare, other));

    let (engine, address) = (D::ENGINE.to_string(), server.to_string());
    let subject = Subject { engine: &engine, address: &address, sides: &sides };
    lines.extend(memory::measure(&subject, arguments.connections).await?);
    lines.extend(instructions::measure(&subject).await?);
    cluster.shutdown().await;

    let conditions = format!(
        "{} blocks of {QUERIES} queries of each side, alternating, on one thread; {} processors, {}; {} on loopback, \
         reached without the fault proxy; load average {}. Ratios are medians over neighbouring blocks.",
        arguments.blocks,
        processors()?,
        arguments.cores,
        D::SERVER,
        std::fs::read_to_string("/proc/loadavg")?.split_whitespace().next().unwrap_or("unknown"),
    );
    std::fs::create_dir_all(&arguments.out)?;
    let text = markdown(&conditions, &lines);
    std::fs::write(arguments.out.join("report.md"), &text)?;
    std::fs::write(arguments.out.join("report.json"), serde_json::to_vec_pretty(&lines)?)?;
    println!("{text}");
    Ok(())
}

/// All of the machine, whatever this thread is bound to.
fn processors() -> Result<usize, AnyError> {
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    Ok(text.lines().filter(|line| line.starts_with("processor")).count())
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
fn connector<D: Driver>(server: SocketAddr) -> Result<D::Connector, AnyError> {
    D::connector(NAME, server.port(), Services::with_resolver(Always(server)))
}

/// Opens connections of one kind and tells what one of them took.
async fn memory_child<S: Session>(
    open: impl AsyncFn() -> Result<S, AnyError>,
    connections: usize,
) -> Result<(f64, u32), AnyError> {
    // The first connection pays for what all share.
    let mut open_ones = Vec::with_capacity(connections + 1);
    let mut before = 0.0;
    for number in 0..=connections {
        let mut session = open().await?;
        let statement = session.prepare("SELECT 1").await?;
        session.ask_prepared(&statement).await?;
        open_ones.push(session);
        if number == 0 {
            before = memory::resident_kb()?;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a count of connections")]
    let per_connection = (memory::resident_kb()? - before) / connections as f64;
    let threads = memory::threads()?;
    drop(open_ones);
    Ok((per_connection, threads))
}

/// Runs `SELECT 1` so many times.
async fn queries_child(mut session: impl Session, form: &str, queries: u32) -> Result<(), AnyError> {
    if form == "prepared" {
        let statement = session.prepare("SELECT 1").await?;
        for _ in 0..queries {
            session.ask_prepared(&statement).await?;
        }
        return Ok(());
    }
    let sql = match form {
        "text" => "SELECT 1".to_owned(),
        "long" => format!("SELECT 1 WHERE 1 IN ({})", vec!["1"; 330].join(", ")),
        _ => return Err(format!("`{form}` is no form of a query").into()),
    };
    for _ in 0..queries {
        session.ask(&sql).await?;
    }
    Ok(())
}
