//! A cluster by script, connectors and clients to it, and how to wait without real time.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use aws_wrapper_core::Result;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::{Builder, Connector, ConnectorOptions};
use aws_wrapper_core::error::FailoverOutcome;
use aws_wrapper_core::events::Event;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::services::Services;
use aws_wrapper_core::testing::cluster::FakeCluster;
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const THREE: &[&str] = &["i-1", "i-2", "i-3"];
pub(crate) const DOMAIN: &str = "xyz.us-east-2.rds.amazonaws.com";
pub(crate) const WRITER: &str = "my.cluster-xyz.us-east-2.rds.amazonaws.com";
pub(crate) const READER: &str = "my.cluster-ro-xyz.us-east-2.rds.amazonaws.com";
pub(crate) const CUSTOM: &str = "mine.cluster-custom-xyz.us-east-2.rds.amazonaws.com";
pub(crate) const PROXY: &str = "my.proxy-xyz.us-east-2.rds.amazonaws.com";

/// A cluster with its endpoints, and one `Services` for all who connect to it.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) cluster: FakeCluster,
    pub(crate) driver: FakeDriver,
    pub(crate) services: Services,
}

impl World {
    /// Three instances, the first of which is the writer.
    pub(crate) fn new() -> Self {
        Self::of(THREE)
    }

    /// The first instance is the writer; connecting takes a millisecond.
    pub(crate) fn of(names: &[&str]) -> Self {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        fastrand::seed(seed);
        let cluster = FakeCluster::with_domain(names, DOMAIN);
        for name in names {
            cluster.set_delays(name, MS, Duration::ZERO);
        }
        for writer_endpoint in [WRITER, CUSTOM, PROXY] {
            cluster.alias(writer_endpoint, names[0]);
        }
        cluster.alias(READER, names.last().unwrap());
        let driver = FakeDriver::new(&cluster);
        Self { cluster, driver, services: Services::new() }
    }

    /// A builder for `host`: a whole name, or the name of an instance.
    pub(crate) fn builder(&self, host: &str, pairs: &[(&str, &str)]) -> Builder<FakeDriver> {
        Connector::builder(self.driver.clone(), config(pairs), vec![self.key(host)])
            .services(self.services.clone())
    }

    pub(crate) fn connector(&self, host: &str, pairs: &[(&str, &str)]) -> Connector<FakeDriver> {
        self.builder(host, pairs).build().unwrap()
    }

    pub(crate) async fn client(&self, host: &str, pairs: &[(&str, &str)]) -> FakeClient {
        FakeClient::connect(&self.connector(host, pairs)).await.unwrap()
    }

    /// A client at the writer, some time after it has connected: the monitor has settled.
    pub(crate) async fn settled(&self, pairs: &[(&str, &str)]) -> FakeClient {
        let client = self.client(WRITER, pairs).await;
        assert_eq!(client.current().name(), "i-1");
        sleep(SECOND * 2).await;
        client
    }

    pub(crate) fn key(&self, host: &str) -> HostKey {
        if host.contains('.') { HostKey::new(host, 5432).unwrap() } else { self.cluster.key(host) }
    }

    pub(crate) fn listen(&self) -> Heard {
        Heard(self.services.subscribe())
    }

    pub(crate) fn verify_requests(&self) -> u64 {
        self.services.status().clusters.iter().map(|cluster| cluster.verify_requests).sum()
    }
}

/// The events since it was made.
pub(crate) struct Heard(broadcast::Receiver<Event>);

impl Heard {
    pub(crate) fn all(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Ok(event) = self.0.try_recv() {
            events.push(event);
        }
        events
    }

    /// How failovers ended, after checking that each one that started has ended, and no other.
    pub(crate) fn failovers(&mut self) -> Vec<FailoverOutcome> {
        let mut running = Vec::new();
        let mut ended = Vec::new();
        for event in self.all() {
            match event {
                Event::FailoverStarted { host } => running.push(host),
                Event::FailoverFinished { host, outcome, .. } => {
                    let at = running.iter().position(|started| *started == host).expect("it has started");
                    running.swap_remove(at);
                    ended.push(outcome);
                }
                _ => {}
            }
        }
        assert!(running.is_empty(), "started and never finished: {running:?}");
        ended
    }

    pub(crate) fn hosts_down(&mut self) -> Vec<HostKey> {
        let down = |event| if let Event::HostDown { host } = event { Some(host) } else { None };
        self.all().into_iter().filter_map(down).collect()
    }
}

/// Polls `future` at most `times` times and drops it then, or when it has not been ready for a minute.
pub(crate) async fn drop_after<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut polls = 0;
    let mut future = pin!(future);
    let polled = poll_fn(|cx| {
        if polls == times {
            return Poll::Ready(None);
        }
        polls += 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if polls == times => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    });
    timeout(Duration::from_secs(60), polled).await.ok().flatten()
}

/// Waits until `condition` holds; the clock is paused, so this costs no time.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(MS).await;
        }
    };
    timeout(Duration::from_secs(3600), wait).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What `future` gives, and how long it takes.
pub(crate) async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let begun = Instant::now();
    (future.await, begun.elapsed())
}

/// Runs `act` after `delay`, while `future` runs.
pub(crate) fn meanwhile<F: Future>(
    future: F,
    delay: Duration,
    act: impl FnOnce(),
) -> impl Future<Output = F::Output> {
    let future = Box::pin(future);
    let acting = async move {
        sleep(delay).await;
        act();
    };
    async move { tokio::join!(future, acting).0 }
}

/// Many at the same time.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    futures_util::future::join_all(futures).await
}

pub(crate) fn config(pairs: &[(&str, &str)]) -> Config {
    Config::from_pairs(pairs.iter().copied())
}

/// As a connector has it.
pub(crate) fn settings(pairs: &[(&str, &str)]) -> Result<Arc<aws_wrapper_core::connector::Settings>> {
    let mut options = ConnectorOptions::<FakeDriver>::default();
    *options.config() = config(pairs);
    options.settings(|_| false)
}
