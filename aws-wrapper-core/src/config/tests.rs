use super::parameter::Value;
use super::values::FromValues;
use super::*;
use crate::connector::parameters;
use crate::driver::{NetworkSettings, SslMode, TlsSettings};
use crate::error::ErrorKind;
use crate::plugins::failover::{FailoverMode, FailoverSettings};
use crate::testing::NullDriver;

const URL: &str = "postgresql://app:hunter2@h/db";

fn is_driver_name(name: &str) -> bool {
    ["host", "user", "password", "dbname", "connect_timeout", "application_name"].contains(&name)
}

fn values(config: &Config) -> Result<Values> {
    config.resolve(&parameters::<NullDriver>())
}

fn read<S: FromValues>(config: &Config) -> S {
    S::from_values(&values(config).unwrap()).unwrap()
}

fn plugins(config: &Config) -> Option<Value> {
    values(config).unwrap().get("plugins").cloned()
}

fn message(result: Result<impl fmt::Debug>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    error.to_string()
}

#[test]
fn the_better_door_wins_whatever_the_order() {
    let with = |origin: Origin, value: &str| {
        let mut config = Config::new();
        config.take([("failover_timeout_ms", value)], origin, |_| false);
        config
    };
    let doors = [
        with(Origin::Environment, "1"),
        with(Origin::Url, "2"),
        with(Origin::Pairs, "3"),
        with(Origin::Builder, "4"),
    ];
    for count in 1..=doors.len() {
        let (mut up, mut down) = (Config::new(), Config::new());
        doors[..count].iter().for_each(|door| up.merge(door.clone()));
        doors[..count].iter().rev().for_each(|door| down.merge(door.clone()));
        for config in [up, down] {
            assert_eq!(read::<FailoverSettings>(&config).timeout, Duration::from_millis(count as u64));
        }
    }
}

#[test]
fn every_value_has_an_origin() {
    let mut config = Config::from_pairs([("plugins", "failover")]);
    config.take_from_url(&format!("{URL}?plugins=efm&wrapperDialect=pg"), is_driver_name).unwrap();
    config.set("failover-mode", "strict-reader");
    let values = values(&config).unwrap();
    assert_eq!(values.origin("plugins"), Origin::Pairs);
    assert_eq!(values.origin("dialect"), Origin::Url);
    assert_eq!(values.origin("failover_mode"), Origin::Builder);
    assert_eq!(values.origin("failover_timeout_ms"), Origin::Default);
    assert_eq!(values.origin("user"), Origin::Default);
    assert_eq!(plugins(&config), Some(Value::List(vec!["failover".to_owned()])));
}

#[test]
fn a_builder_may_change_its_mind() {
    let mut config = Config::new();
    config.set("failover_mode", "strict-reader");
    config.set("failoverMode", "strict-writer");
    assert_eq!(read::<FailoverSettings>(&config).mode, Some(FailoverMode::StrictWriter));
    config.set_duration("host_availability_initial_backoff_secs", Duration::from_secs(90));
    let backoff = values(&config).unwrap().get("host_availability_initial_backoff_secs").cloned();
    assert_eq!(backoff, Some(Value::Duration(Duration::from_secs(90))));
    config.set_duration("connect_timeout_ms", Duration::from_micros(1));
    assert_eq!(read::<NetworkSettings>(&config).connect_timeout, Duration::from_millis(1));
    config.set_duration_of_driver("connect_timeout_ms", Duration::from_secs(3));
    assert_eq!(read::<NetworkSettings>(&config).connect_timeout, Duration::from_millis(1));
    for (wrong, expected) in [(Duration::ZERO, "`0ms`"), (Duration::MAX, "24 h")] {
        let mut config = config.clone();
        config.set_duration("connect_timeout_ms", wrong);
        assert!(message(values(&config)).contains(expected));
    }
}

#[test]
fn the_wrappers_parameters_are_taken_out_of_connection_strings() {
    for (given, rest) in [
        (
            "aws-wrapper:postgresql://app:hunter2@h1:1,[::1]:2/db?plugins=&sslmode=verify-full&application_name=x",
            "postgresql://app:hunter2@h1:1,[::1]:2/db?application_name=x",
        ),
        ("mysql://app@h/db?plugins=none&SslMode=Verify_Full", "mysql://app@h/db"),
        (
            "postgres:///db?host=%2Ftmp&connect_timeout=5&plugins=%20&sslmode=verify%2Dfull",
            "postgres:///db?host=%2Ftmp&connect_timeout=5",
        ),
        (
            r"host=h password='hunter2 \'x' plugins='' user = app sslmode=verify-full",
            r"host=h password='hunter2 \'x' user = app",
        ),
    ] {
        let mut config = Config::new();
        assert_eq!(config.take_from_url(given, is_driver_name).unwrap(), rest);
        let is_none =
            |list: &Value| matches!(list, Value::List(codes) if codes.iter().all(|code| code == "none"));
        assert!(plugins(&config).is_some_and(|list| is_none(&list)), "{given}");
        assert_eq!(read::<TlsSettings>(&config).mode, Some(SslMode::VerifyFull), "{given}");
        assert_eq!(values(&config).unwrap().origin("sslmode"), Origin::Url);
    }
}

#[test]
fn pairs_of_the_driver_are_handed_back() {
    let mut config = Config::new();
    let pairs = [("user", "app"), ("plugins", "efm"), ("user", "twice is the driver's business")];
    let left = config.take_from_pairs(pairs, is_driver_name);
    assert_eq!(left, [pairs[0], pairs[2]]);
    assert_eq!(values(&config).unwrap().origin("plugins"), Origin::Pairs);
}

#[test]
fn environment_variables_lose_their_prefix() {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let config = Config::from_variables("DB_", &[variable("DB_FAILOVER_TIMEOUT_MS", "2s")]).unwrap();
    assert_eq!(read::<FailoverSettings>(&config).timeout, Duration::from_secs(2));
    assert_eq!(values(&config).unwrap().origin("failover_timeout_ms"), Origin::Environment);
    let misspelled = Config::from_variables("DB_", &[variable("DB_PLUGIN", "x")]).unwrap();
    let error = message(values(&misspelled));
    assert!(error.contains("did you mean `plugins`?"), "{error}");
    assert!(message(Config::from_env("")).contains("prefix"));
    assert_eq!(Config::from_env("NO_VARIABLE_BEGINS_LIKE_THIS_").unwrap().entries.len(), 0);
}

#[test]
fn an_error_names_the_parameter_as_given() {
    for (query, expected) in [
        ("plugins=efm&failoverTimeoutMs=-1", "parameter `failoverTimeoutMs`: `-1` is not accepted"),
        (
            "plugins=efm&failover_mode=writer",
            "expected one of `strict-writer`, `strict-reader`, `reader-or-writer`",
        ),
        ("plugins=efm&wrapperPlugins=failover", "parameter `plugins` is given twice"),
        ("plugins=efm&plugns=failover", "unknown parameter `plugns`; did you mean `plugins`?"),
        ("plugins=efm&applicationName=x", "unknown parameter `applicationName`: neither"),
        ("plugins=efm&dbPassword=hunter2", "unknown parameter `dbPassword`: neither"),
    ] {
        let mut config = Config::new();
        config.take_from_url(&format!("{URL}?{query}"), is_driver_name).unwrap();
        let error = message(values(&config));
        assert!(error.contains(expected), "{error}");
    }
    for name in ["user", ""] {
        let error = message(values(&Config::from_pairs([(name, "app")])));
        assert!(error.contains(&format!("unknown parameter `{name}`")), "{error}");
    }
}

#[test]
fn no_output_holds_a_password() {
    let mut config = Config::new();
    let good = format!("{URL}?topology_monitoring_password=hunter2&topology_monitoring_user=m");
    config.take_from_url(&good, is_driver_name).unwrap();
    let mut outputs = vec![format!("{config:?} {config:#?}"), format!("{:?}", values(&config).unwrap())];
    for query in [
        "topology_monitoring_password=hunter2&topology-monitoring-password=hunter2",
        "topologyMonitoringPasword=hunter2",
        "password=hunter2&plugins=,",
        "hunter2",
        "my_secret=hunter2",
        "password=hunter2%ff",
    ] {
        for text in [format!("{URL}?{query}"), format!("password=hunter2 {query}")] {
            // What is an error in a URL may be a plain value in the other form.
            let mut config = config.clone();
            let taken = config.take_from_url(&text, is_driver_name).and_then(|_| values(&config).map(drop));
            outputs.push(format!("{config:?}"));
            if let Err(error) = taken {
                outputs.push(format!("{error} {error:?} {error:#}"));
            }
        }
    }
    assert!(outputs.len() >= 8, "the texts are meant to fail");
    for output in outputs {
        assert!(!output.contains("hunter2"), "{output}");
    }
    let shown = format!("{:?}", values(&config).unwrap());
    assert!(shown.contains(r#""topology_monitoring_password": Secret(***) from Url"#), "{shown}");
}
