//! What the pipeline adds to a call, on a driver that talks to nobody.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_core::call::Call;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connection::Logical;
use aws_wrapper_core::connector::Connector;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::method::{Method, MethodSet};
use aws_wrapper_core::plugin::{ConnectionPlugin, Step, Subscriptions};
use aws_wrapper_core::testing::NullDriver;
use tokio::time::Instant;

use crate::bench::report::Line;
use crate::median;

/// A plugin that observes every call and does nothing.
#[derive(Debug)]
struct Observer;

impl ConnectionPlugin<NullDriver> for Observer {
    fn code(&self) -> &'static str {
        "observer"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions { calls: MethodSet::ALL, ..Subscriptions::default() }
    }

    fn before<'a>(&'a self, _call: &'a Call<'_, NullDriver>) -> Step<'a> {
        Step::Continue
    }
}

/// A connector to nothing with these built-in plugins and so many observers.
///
/// # Panics
/// Never: the configuration is fixed.
pub fn connector(plugins: &str, observers: usize) -> Connector<NullDriver> {
    let config = Config::from_pairs([("plugins", plugins)]).expect("the plugins exist");
    let settings = config.settings().expect("the settings agree");
    let host = HostKey::new("my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com", 5432).expect("a host");
    let mut builder = Connector::builder(NullDriver, settings, vec![host]);
    for _ in 0..observers {
        builder = builder.plugin(Arc::new(Observer));
    }
    builder.build().expect("nothing contradicts")
}

const CALLS: u32 = 200_000;

/// Makes `calls` calls in one of the ways that are compared: `direct`, `default`, `observers-N`.
///
/// # Errors
/// When the way is none of these.
pub async fn run(way: &str, calls: u32) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if way == "direct" {
        direct(calls).await;
        return Ok(());
    }
    let observers = match way.strip_prefix("observers-") {
        Some(number) => number.parse()?,
        None => 0,
    };
    let connector = connector(DEFAULT, observers);
    let session = session().await?;
    through(&connector, &session, calls).await;
    Ok(())
}

async fn session() -> Result<Logical<NullDriver>, aws_wrapper_core::Error> {
    let connection = connector("", 0).connect().await?;
    Ok(Logical::new(Arc::clone(connection.slot())))
}

async fn through(connector: &Connector<NullDriver>, logical: &Logical<NullDriver>, calls: u32) -> f64 {
    let ask = NullDriver;
    let started = Instant::now();
    for number in 0..calls {
        let call = Call::new(Method::Query, Some("select 1"), logical, &ask);
        let result = connector.pipeline().call(&call, || async { Ok(black_box(number)) }).await;
        black_box(result.is_ok());
    }
    per_call(started.elapsed(), calls)
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

/// Default set, and the price of a further plugin from one and five observers more.
///
/// # Errors
/// Those of the fake driver: none.
pub async fn measure(blocks: usize) -> Result<Vec<Line>, aws_wrapper_core::Error> {
    let (default, one, six) = (connector(DEFAULT, 0), connector(DEFAULT, 1), connector(DEFAULT, 6));
    let session = session().await?;
    let (mut bare, mut with_default, mut with_one, mut with_six) = (vec![], vec![], vec![], vec![]);
    for _ in 0..blocks.max(5) {
        bare.push(direct(CALLS).await);
        with_default.push(through(&default, &session, CALLS).await);
        with_one.push(through(&one, &session, CALLS).await);
        with_six.push(through(&six, &session, CALLS).await);
    }
    let bare = median(&mut bare);
    let default = median(&mut with_default);
    let further = (median(&mut with_six) - median(&mut with_one)) / 5.0;
    Ok(vec![
        Line::difference("pipeline, default plugins, per call", "ns", bare, default, 25.0),
        Line::at_most("pipeline, each further observing plugin", "ns", further, 3.0),
    ])
}

const DEFAULT: &str = "initial_connection,failover";
