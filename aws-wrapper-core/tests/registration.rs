//! A plugin from an outside crate, with parameters of its own.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use aws_wrapper_core::Result;
use aws_wrapper_core::config::parameter::{Kind, Parameter};
use aws_wrapper_core::config::values::{FromValues, Values};
use aws_wrapper_core::connector::Builder;
use aws_wrapper_core::error::{Error, ErrorKind};
use aws_wrapper_core::plugin::{
    Call, ConnectionPlugin, Place, PluginContext, PluginFactory, Step, Subscriptions,
};
use aws_wrapper_core::testing::driver::{FakeClient, FakeDriver};
use common::{WRITER, World};

/// Refuses calls after the first few, and counts what it lets pass.
#[derive(Debug)]
struct Quota {
    settings: QuotaSettings,
    passed: Arc<Passed>,
}

#[derive(Debug, Default)]
struct Passed(AtomicU32);

#[derive(Debug)]
struct QuotaSettings {
    calls: u32,
    token: Option<aws_wrapper_core::config::Secret>,
}

const PARAMETERS: &[Parameter] = &[
    Parameter::new("quota_calls", Kind::Count { min: 1, max: 100 }, "Calls that are let pass.")
        .with_aliases(&["maxCalls"])
        .with_default("3"),
    Parameter::new("quota_token", Kind::Secret, "Proves the right to pass."),
];

impl FromValues for QuotaSettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self { calls: 3, token: None };
        values.read("quota_calls", &mut settings.calls);
        values.read("quota_token", &mut settings.token);
        if settings.token.is_some() && settings.calls > 50 {
            return Err(Error::config("`quota_token` is worth 50 calls, `quota_calls` asks for more"));
        }
        Ok(settings)
    }
}

impl Quota {
    const FACTORY: PluginFactory<FakeDriver> =
        PluginFactory::new("quota", |context| Ok(Arc::new(Self::new(context)?)))
            .with_aliases(&["rate_limit"])
            .with_place(Place::Weight(2000))
            .with_parameters(PARAMETERS)
            .with_check(|values| QuotaSettings::from_values(values).map(drop));

    fn new(context: &PluginContext<FakeDriver>) -> Result<Self> {
        Ok(Self { settings: context.settings()?, passed: context.provided().unwrap_or_default() })
    }
}

impl ConnectionPlugin<FakeDriver> for Quota {
    fn code(&self) -> &'static str {
        "quota"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(aws_wrapper_core::method::MethodSet::ALL)
    }

    fn before<'a>(&'a self, _call: &'a Call<'_, FakeDriver>) -> Step<'a> {
        if self.passed.0.fetch_add(1, Ordering::Relaxed) < self.settings.calls {
            return Step::Continue;
        }
        Step::Fail(Error::new(ErrorKind::Unsupported, "the quota is used up"))
    }
}

fn refused(builder: Builder<FakeDriver>) -> Error {
    builder.build().map(drop).unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn it_is_named_in_the_list_and_reads_its_parameters_whatever_the_order_of_calls() {
    for registered_first in [true, false] {
        let world = World::new();
        let pairs = [("plugins", "failover,Rate-Limit"), ("max_calls", "2"), ("quotaToken", "hunter2")];
        let builder = world.builder(WRITER, &pairs);
        // One has passed before.
        let before = Passed(AtomicU32::new(1));
        let builder = if registered_first {
            builder.register(Quota::FACTORY).provide(before)
        } else {
            builder.provide(before).register(Quota::FACTORY)
        };
        let connector = builder.build().unwrap();
        assert!(!format!("{connector:?} {connector:#?}").contains("hunter2"));
        let client = FakeClient::connect(&connector).await.unwrap();
        client.query("select").await.unwrap();
        let error = client.query("select").await.unwrap_err();
        assert_eq!((error.kind(), error.plugin()), (ErrorKind::Unsupported, Some("quota")));
    }
}

#[test]
fn its_parameters_are_checked_like_the_wrappers_own() {
    let world = World::new();
    let built = |pairs: &[(&str, &str)]| refused(world.builder(WRITER, pairs).register(Quota::FACTORY));
    for (name, value, expected) in [
        ("quota_calls", "0", "a whole number from 1 to 100"),
        ("maxCalls", "many", "parameter `maxCalls`: `many` is not accepted"),
        ("quota_cals", "1", "did you mean `quota_calls`?"),
        ("quota_token", "", "`***` is not accepted"),
    ] {
        let error = built(&[(name, value)]);
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(expected), "{error}");
    }
    // Also when it is not in the list.
    let error = built(&[("plugins", "failover"), ("quota_token", "t"), ("quota_calls", "51")]);
    assert!(error.to_string().contains("worth 50 calls"), "{error}");
    // Without the plugin there is no such parameter and no such code.
    let error = refused(world.builder(WRITER, &[("quota_calls", "1")]));
    assert!(error.to_string().contains("unknown parameter `quota_calls`"), "{error}");
    let error = refused(world.builder(WRITER, &[("plugins", "quota")]));
    assert!(error.to_string().contains("`quota` is not accepted"), "{error}");
}

#[test]
fn names_that_are_taken_are_refused() {
    const AGAIN: &[Parameter] = &[Parameter::new("failover_mode", Kind::Bool, "Another one.")];
    let world = World::new();
    let make = Quota::FACTORY.make;
    for (factory, kind, expected) in [
        (PluginFactory::new("EFM2", make), ErrorKind::PluginConflict, "a name of the plugin `efm`"),
        (
            PluginFactory::new("mine", make).with_aliases(&["failover-v2"]),
            ErrorKind::PluginConflict,
            "a name of the plugin `failover`",
        ),
        (
            PluginFactory::new("mine", make).with_parameters(AGAIN),
            ErrorKind::Config,
            "belongs to the parameter `failover_mode`",
        ),
    ] {
        let error = refused(world.builder(WRITER, &[]).register(factory));
        assert!(error.kind() == kind && error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn plugins_that_exclude_each_other_are_named_both() {
    let world = World::new();
    let factory = Quota::FACTORY.with_excludes(&["failover2"]);
    for list in ["failover,quota", "quota,failover"] {
        let error = refused(world.builder(WRITER, &[("plugins", list)]).register(factory));
        assert_eq!(error.kind(), ErrorKind::PluginConflict, "{error}");
        assert!(error.to_string().contains("`failover`") && error.to_string().contains("`quota`"), "{error}");
    }
    assert!(world.builder(WRITER, &[("plugins", "quota,efm")]).register(factory).build().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_that_needs_the_topology_gets_a_cluster() {
    for (factory, has_cluster) in [(Quota::FACTORY, false), (Quota::FACTORY.with_topology(), true)] {
        let world = World::new();
        let connector = world.builder(WRITER, &[("plugins", "quota")]).register(factory).build().unwrap();
        let _client = FakeClient::connect(&connector).await.unwrap();
        assert_eq!(connector.topology().cluster().is_some(), has_cluster);
    }
}
