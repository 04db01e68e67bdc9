use super::*;
use crate::config::Config;
use crate::connector::Connector;
use crate::error::TransactionOutcome;
use crate::method::Method;
use crate::plugin::Logical;
use crate::plugins::developer;
use crate::registry::Ending;
use crate::session::transaction::TransactionState;
use crate::testing::NullDriver;

/// A logical connection to one of two hosts that always answer.
async fn logical() -> (Connector<NullDriver>, Logical<NullDriver>, Arc<Slot>) {
    logical_with("failover", developer::Script::default()).await
}

async fn logical_with(
    plugins: &str,
    script: developer::Script,
) -> (Connector<NullDriver>, Logical<NullDriver>, Arc<Slot>) {
    let config = Config::from_pairs([("plugins", plugins), ("dialect", "pg")]);
    let hosts = ["a.example", "b.example"].map(|name| HostKey::new(name, 5432).unwrap());
    let builder = Connector::builder(NullDriver, config, hosts.to_vec());
    let connector = builder.developer_script(script).build().unwrap();
    let connection = connector.connect().await.unwrap();
    let slot = Arc::clone(connection.slot());
    slot.set_ready(TransactionState::InTransaction);
    (connector, Logical::new(Arc::clone(&slot)), slot)
}

fn call<'a>(method: Method, sql: Option<&'a str>, logical: &'a Logical<NullDriver>) -> Call<'a, NullDriver> {
    Call::new(method, sql, logical, &NullDriver)
}

async fn lose(connector: &Connector<NullDriver>, call: &Call<'_, NullDriver>) -> Error {
    let lost = Error::driver(DriverClass::Network, "connection closed");
    let error = connector.pipeline().recover(call, lost).await;
    assert!(error.is_failover_success(), "{error:?}");
    error
}

async fn outcome_after(sent: &[(Method, Option<&str>)], lost: (Method, Option<&str>)) -> TransactionOutcome {
    let (connector, logical, slot) = logical().await;
    for (method, sql) in sent {
        call(*method, *sql, &logical).uses(&slot);
    }
    let lost = call(lost.0, lost.1, &logical);
    lost.uses(&slot);
    lose(&connector, &lost).await.transaction_outcome()
}

const INSERT: (Method, Option<&str>) = (Method::Execute, Some("insert into t values (1)"));

#[tokio::test(start_paused = true)]
async fn what_is_lost_with_a_commit_on_its_way_may_be_committed() {
    use TransactionOutcome::{RolledBack, Unknown};
    assert_eq!(outcome_after(&[], INSERT).await, RolledBack);
    assert_eq!(outcome_after(&[INSERT, (Method::Prepare, Some("commit"))], INSERT).await, RolledBack);
    // Nobody waits for it any more, or it fails together with the call that is asked first.
    for commit in [
        (Method::Commit, None),
        (Method::BatchExecute, Some("insert into t values (2); commit")),
        (Method::Execute, Some("COMMIT")),
        (Method::Query, Some("/* x */ end")),
    ] {
        assert_eq!(outcome_after(&[commit], INSERT).await, Unknown, "{commit:?}");
        assert_eq!(outcome_after(&[], commit).await, Unknown, "{commit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_together_are_told_of_the_commit_among_them() {
    let (connector, logical, slot) = logical().await;
    let (insert, commit) =
        (call(INSERT.0, INSERT.1, &logical), call(Method::Execute, Some("commit"), &logical));
    insert.uses(&slot);
    commit.uses(&slot);
    let (insert, commit) = tokio::join!(lose(&connector, &insert), lose(&connector, &commit));
    assert_eq!(insert.transaction_outcome(), TransactionOutcome::Unknown);
    assert_eq!(commit.transaction_outcome(), TransactionOutcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn an_answered_commit_is_forgotten() {
    let (connector, logical, slot) = logical().await;
    call(Method::Commit, None, &logical).uses(&slot);
    slot.set_ready(TransactionState::Idle);
    slot.set_ready(TransactionState::InTransaction);
    let insert = call(INSERT.0, INSERT.1, &logical);
    insert.uses(&slot);
    assert_eq!(lose(&connector, &insert).await.transaction_outcome(), TransactionOutcome::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_answer_was_seen_but_not_delivered_is_unknown() {
    let (connector, logical, slot) = logical().await;
    let commit = call(Method::Commit, None, &logical);
    commit.uses(&slot);
    slot.set_ready(TransactionState::Idle);
    assert_eq!(lose(&connector, &commit).await.transaction_outcome(), TransactionOutcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_statement_behind_an_unanswered_rollback_may_have_run_by_itself() {
    use TransactionOutcome::{RolledBack, Unknown};
    for ((method, sql), expected) in [(INSERT, Unknown), ((Method::Begin, None), RolledBack)] {
        let (connector, logical, slot) = logical().await;
        slot.set_ending(Ending::Rollback);
        let lost = call(method, sql, &logical);
        lost.uses(&slot);
        assert_eq!(lose(&connector, &lost).await.transaction_outcome(), expected, "{method}");
    }
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_together_share_a_failover_that_finds_nothing() {
    let script = developer::Script::default();
    let (connector, logical, slot) = logical_with("failover,developer", script.clone()).await;
    for _ in 0..10_000 {
        script.on_connect(None, 0, developer::Effect::Fail(DriverClass::Network));
    }
    let calls: Vec<_> = (0..10).map(|_| call(INSERT.0, INSERT.1, &logical)).collect();
    let started = Instant::now();
    let all = calls.iter().map(|call| {
        call.uses(&slot);
        connector.pipeline().recover(call, Error::driver(DriverClass::Network, "connection closed"))
    });
    for error in futures_util::future::join_all(all).await {
        assert_eq!(error.kind(), ErrorKind::Failover(FailoverOutcome::Failed));
    }
    let limit = connector.settings().get::<FailoverSettings>().unwrap().timeout;
    assert!(started.elapsed() < limit * 2, "{:?}", started.elapsed());
    // Whoever calls later looks again.
    let later =
        connector.pipeline().recover(&calls[0], Error::driver(DriverClass::Network, "connection closed"));
    let before = script.left();
    later.await;
    assert!(script.left() < before);
}
