//! What the pipeline adds to a call, on a driver that talks to nobody.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::plugin::{Call, ConnectionPlugin, Logical, Step, Subscriptions};
use aws_wrapper_core::registry::Slot;
use aws_wrapper_core::testing::NullDriver;
use tokio::time::Instant;

use crate::bench::goal::Goal;
use crate::bench::plan::Plan;
use crate::bench::plot::{Plot, Series};
use crate::bench::report::{Findings, Row};
use crate::bench::stats::Sorted;
use crate::driver::AnyError;

/// A plugin that observes every call and does nothing.
#[derive(Debug)]
struct Observer;

impl ConnectionPlugin<NullDriver> for Observer {
    fn code(&self) -> &'static str {
        "observer"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL)
    }

    fn before<'a>(&'a self, _call: &'a Call<'_, NullDriver>) -> Step<'a> {
        Step::Continue
    }
}

/// A connector to nothing with these built-in plugins and so many observers.
fn connector(plugins: &str, observers: usize) -> Connector<NullDriver> {
    let config = Config::from_pairs([("plugins", plugins)]);
    let host = HostKey::new("my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com", 5432).expect("a host");
    let mut builder = Connector::builder(NullDriver, config, vec![host]);
    for _ in 0..observers {
        builder = builder.plugin(Arc::new(Observer));
    }
    builder.build().expect("nothing contradicts")
}

const CALLS: u32 = 100_000;

/// The default set without the plugin that watches hosts, and whose calls are not marked.
const UNWATCHED: &str = "initial_connection,failover";
/// The same with it.
const WATCHED: &str = "initial_connection,failover,efm";
const DEFAULT: &str = "initial_connection,tracker,failover,efm";

/// The ways that are compared, as the programs that count are told them.
///
/// # Errors
/// When the way is none of these: `direct`, `unwatched`, `watched`, `default`, `observers-N`.
pub async fn run(way: &str, calls: u32) -> Result<(), AnyError> {
    if way == "direct" {
        direct(calls).await;
        return Ok(());
    }
    Way::new(way).await?.calls(calls).await;
    Ok(())
}

/// A chain of plugins and a connection whose calls are marked or not, as the chain wants.
struct Way {
    connector: Connector<NullDriver>,
    logical: Logical<NullDriver>,
    slot: Arc<Slot>,
}

impl Way {
    async fn new(way: &str) -> Result<Self, AnyError> {
        let (plugins, observers) = match way.strip_prefix("observers-") {
            Some(number) => (DEFAULT, number.parse()?),
            None if way == "default" => (DEFAULT, 0),
            None if way == "watched" => (WATCHED, 0),
            None if way == "unwatched" => (UNWATCHED, 0),
            None => return Err(format!("`{way}` is no way to make a call").into()),
        };
        let connector = connector(plugins, observers);
        // Plugins that ask the server who it is get no answer from this driver; marks need none.
        let connection = self::connector("", 0).connect().await?;
        let slot = Arc::clone(connection.slot());
        if plugins.contains("efm") {
            slot.mark_calls();
        }
        Ok(Self { connector, logical: Logical::new(Arc::clone(&slot)), slot })
    }

    /// As an adapter makes a call: the exchange is entered in the slot.
    async fn calls(&self, calls: u32) -> f64 {
        let ask = NullDriver;
        let started = Instant::now();
        for number in 0..calls {
            let call = Call::new(Method::Query, Some("select 1"), &self.logical, &ask);
            call.uses(&self.slot);
            let exchange = || async {
                let in_flight = self.slot.enter();
                in_flight.end(Ok(black_box(number)))
            };
            let result = self.connector.pipeline().call(&call, exchange).await;
            black_box(result.is_ok());
        }
        per_call(started.elapsed(), calls)
    }
}

async fn direct(calls: u32) -> f64 {
    let started = Instant::now();
    for number in 0..calls {
        let result: Result<u32, aws_wrapper_core::Error> = async { Ok(black_box(number)) }.await;
        black_box(result.is_ok());
    }
    per_call(started.elapsed(), calls)
}

fn per_call(elapsed: Duration, calls: u32) -> f64 {
    elapsed.as_secs_f64() * 1e9 / f64::from(calls)
}

/// The default set, what watching hosts adds, and the price of a further plugin from one and five observers more.
///
/// # Errors
/// Those of the fake driver: none.
pub async fn measure(plan: &Plan) -> Result<Findings, AnyError> {
    let mut ways = Vec::new();
    for way in ["unwatched", "watched", "default", "observers-1", "observers-6"] {
        ways.push(Way::new(way).await?);
    }
    let mut bare = Vec::new();
    let mut blocks = vec![Vec::new(); ways.len()];
    for _ in 0..plan.blocks.max(20) {
        bare.push(direct(CALLS).await);
        for (way, blocks) in ways.iter().zip(&mut blocks) {
            blocks.push(way.calls(CALLS).await);
        }
    }
    let added = |more: &[f64], less: &[f64]| {
        Sorted::new(more.iter().zip(less).map(|(more, less)| more - less)).median()
    };
    let [unwatched, watched, default, one, six] = &blocks[..] else { unreachable!("five ways") };
    let middle = |blocks: &[f64]| Sorted::new(blocks.iter().copied()).median();
    let mut rows = vec![
        Row::both(
            "without efm (initial_connection, failover), a call",
            "ns",
            middle(&bare),
            middle(unwatched),
        )
        .goal(Goal::AddsAtMost(25.0)),
        Row::both("default plugins, a call", "ns", middle(&bare), middle(default))
            .goal(Goal::AddsAtMost(75.0)),
        Row::of("efm over the same set without it, a call", "ns", added(watched, unwatched))
            .goal(Goal::AtMost(15.0)),
        Row::of("each further observing plugin", "ns", added(six, one) / 5.0).goal(Goal::AtMost(3.0)),
    ];
    let mut notes = vec![
        "A driver that answers at the first poll and talks to nobody; each call is entered in the slot of its \
         connection, as the adapters do. 75 ns is the budget of the default set with its marks, 15 ns the tighter one \
         for what efm adds to a call that is ready at its first poll."
            .to_owned(),
    ];
    match allocations().await {
        Ok(mut counted) => rows.append(&mut counted),
        Err(error) => notes.push(format!("Allocations were not counted: {error}.")),
    }
    let label = ["direct", "without efm", "with efm", "default plugins"];
    let series = label.into_iter().zip([&bare, unwatched, watched, default]);
    let series = series.map(|(label, blocks)| Series::new(label, blocks.iter().copied())).collect();
    let plot = Plot::new("pipeline.svg", "A call through the pipeline, mock driver, by block", "ns", series);
    Ok(Findings { rows, notes, plots: vec![plot] })
}

/// Counted by a program of its own: the allocator that counts costs something.
async fn allocations() -> Result<Vec<Row>, AnyError> {
    let program = std::env::current_exe()?.with_file_name("allocations");
    if !program.exists() {
        return Err("the program `allocations` was not built; `cargo xtask bench` builds it".into());
    }
    let mut rows = Vec::new();
    for (way, name) in [("unwatched", "without efm"), ("watched", "with efm"), ("default", "default plugins")]
    {
        let output = tokio::process::Command::new(&program).args([way, "1000"]).output().await?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        let count: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
        let name = format!("allocations of 1,000 calls, {name}");
        rows.push(Row::both(name, "allocations", 0.0, count).goal(Goal::Exactly(0.0)));
    }
    Ok(rows)
}
