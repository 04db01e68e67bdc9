//! The three answers of a resolver, and none at all.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_wrapper_core::error::{DriverClass, ErrorKind, RetryAdvice};
use aws_wrapper_core::resolver::{LookupError, Resolver};
use aws_wrapper_core::services::Services;
use integration_tests::{
    Adapter, ClusterNames, SOON, Session, TestCluster, eventually, host_down, on_cluster, spawn,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::Driver;

const LIMIT: Duration = Duration::from_secs(5);

/// What a resolver does with a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Addresses,
    NoSuchName,
    Failed,
    Never,
}

/// The names of a cluster, as long as nothing else is wanted. Clones share everything.
#[derive(Debug, Clone)]
struct Double {
    names: ClusterNames,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    asked: u32,
}

impl Double {
    fn new(cluster: &TestCluster, answer: Answer) -> Self {
        let state = Arc::new(Mutex::new(State { answer, asked: 0 }));
        Self { names: ClusterNames::new([cluster.names()]), state }
    }

    fn services(&self) -> Services {
        Services::with_resolver(self.clone())
    }

    fn answer(&self, answer: Answer) {
        self.state.lock().answer = answer;
    }

    async fn wait_until_asked(&self, times: u32) {
        eventually(LIMIT, "the name is looked up", async || self.state.lock().asked >= times).await;
    }
}

#[async_trait]
impl Resolver for Double {
    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, LookupError> {
        let answer = {
            let mut state = self.state.lock();
            state.asked += 1;
            state.answer
        };
        match answer {
            Answer::Addresses => self.names.resolve(host, port).await,
            Answer::NoSuchName => Err(LookupError::NoSuchName),
            Answer::Failed => Err(LookupError::failed("the server of names is on fire")),
            Answer::Never => pending().await,
        }
    }
}

#[test]
fn each_answer_has_an_error_of_its_own_and_only_a_missing_name_takes_the_host_down() {
    on_cluster::<Driver>(1, async |cluster| {
        let endpoint = cluster.endpoint();
        for (answer, class, text) in [
            (
                Answer::NoSuchName,
                DriverClass::Network,
                format!("the name `{endpoint}` does not exist, or has no address"),
            ),
            (
                Answer::Failed,
                DriverClass::Lookup,
                format!("the name `{endpoint}` could not be looked up: the server of names is on fire"),
            ),
            (
                Answer::Never,
                DriverClass::Lookup,
                format!("the name `{endpoint}` could not be looked up: no answer within"),
            ),
        ] {
            let double = Double::new(cluster, answer);
            let services = double.services();
            let mut events = services.subscribe();
            let params = [("plugins", "none"), ("connect_timeout_ms", "300")];
            let connector = cluster.connector_with::<Driver>(&services, &endpoint, &params).unwrap();
            let start = Instant::now();
            let error = Driver::connect(&connector).await.unwrap_err();
            assert!(start.elapsed() < SOON, "{answer:?}: {:?}", start.elapsed());
            assert_eq!(error.kind(), ErrorKind::Driver(class), "{answer:?}: {error:?}");
            assert!(error.to_string().starts_with(&text), "{error}");
            assert_eq!(error.host().unwrap().host(), endpoint);
            assert_eq!(error.retry_advice(), RetryAdvice::Reconnect, "{error:?}");
            assert!(!error.statement_may_have_run() && !error.connection_usable(), "{error:?}");
            let down = host_down(&mut events);
            assert_eq!(down.len(), usize::from(answer == Answer::NoSuchName), "{answer:?}: {down:?}");

            double.answer(Answer::Addresses);
            let connector = cluster.connector_with::<Driver>(&services, &endpoint, &params[..1]).unwrap();
            assert_eq!(Driver::connect(&connector).await.unwrap().who().await.unwrap(), "instance-1");
        }
    });
}

#[test]
fn a_name_that_cannot_be_found_is_looked_up_again() {
    on_cluster::<Driver>(1, async |cluster| {
        for answer in [Answer::NoSuchName, Answer::Failed, Answer::Never] {
            let double = Double::new(cluster, answer);
            let params = [("connect_timeout_ms", "300"), ("open_connection_retry_interval_ms", "50")];
            let connector =
                cluster.connector_with::<Driver>(&double.services(), &cluster.endpoint(), &params).unwrap();
            let connecting = spawn(async move { Driver::connect(&connector).await });
            double.wait_until_asked(3).await;
            double.answer(Answer::Addresses);
            let mut session =
                connecting.await.unwrap().unwrap_or_else(|error| panic!("{answer:?}: {error:?}"));
            assert_eq!(session.who().await.unwrap(), "instance-1");
        }
    });
}

#[test]
fn a_look_up_that_never_ends_holds_up_no_shutdown() {
    on_cluster::<Driver>(1, async |cluster| {
        let double = Double::new(cluster, Answer::Never);
        let services = double.services();
        let connector = cluster.connector_with::<Driver>(&services, &cluster.endpoint(), &[]).unwrap();
        let connecting = spawn(async move { Driver::connect(&connector).await });
        double.wait_until_asked(1).await;
        let start = Instant::now();
        services.shutdown(LIMIT).await.unwrap();
        let error = connecting.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnavailable, "{error:?}");
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    });
}
