use super::settings::{FailoverMode, SslMode};
use super::*;
use crate::error::ErrorKind;

const URL: &str = "postgresql://app:hunter2@h/db";

fn is_driver_name(name: &str) -> bool {
    ["host", "user", "password", "dbname", "sslmode", "connect_timeout", "application_name"].contains(&name)
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
        config.take([("failover_timeout_ms", value)], origin, &|_| false).unwrap();
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
            assert_eq!(config.settings().unwrap().failover.timeout, Duration::from_millis(count as u64));
        }
    }
}

#[test]
fn every_value_has_an_origin() {
    let mut config = Config::from_pairs([("plugins", "failover")]).unwrap();
    config.take_from_url(&format!("{URL}?plugins=efm&wrapperDialect=pg"), is_driver_name).unwrap();
    config.set("failover-mode", "strict-reader").unwrap();
    assert_eq!(config.origin("plugins"), Origin::Pairs);
    assert_eq!(config.origin("dialect"), Origin::Url);
    assert_eq!(config.origin("databaseDialect"), Origin::Url);
    assert_eq!(config.origin("failover_mode"), Origin::Builder);
    assert_eq!(config.origin("failover_timeout_ms"), Origin::Default);
    assert_eq!(config.origin("user"), Origin::Default);
    assert_eq!(config.settings().unwrap().plugins, Some(vec!["failover".to_owned()]));
}

#[test]
fn a_builder_may_change_its_mind() {
    let mut config = Config::new();
    config.set("failover_mode", "strict-reader").unwrap();
    config.set("failoverMode", "strict-writer").unwrap();
    assert_eq!(config.settings().unwrap().failover.mode, Some(FailoverMode::StrictWriter));
    config.set_duration("host_availability_initial_backoff_secs", Duration::from_secs(90)).unwrap();
    assert_eq!(config.settings().unwrap().availability.initial_backoff, Duration::from_secs(90));
    config.set_duration("connect_timeout_ms", Duration::from_micros(1)).unwrap();
    assert_eq!(config.settings().unwrap().network.connect_timeout, Duration::from_millis(1));
    assert!(message(config.set_duration("connect_timeout_ms", Duration::ZERO)).contains("`0ms`"));
    assert!(message(config.set_duration("connect_timeout_ms", Duration::MAX)).contains("24 h"));
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
        let settings = config.settings().unwrap();
        assert_eq!(settings.plugins, Some(vec![]), "{given}");
        assert_eq!(settings.tls.mode, Some(SslMode::VerifyFull), "{given}");
        assert_eq!(config.origin("sslmode"), Origin::Url);
    }
}

#[test]
fn pairs_of_the_driver_are_handed_back() {
    let mut config = Config::new();
    let pairs = [("user", "app"), ("plugins", "efm"), ("user", "twice is the driver's business")];
    let left = config.take_from_pairs(pairs, is_driver_name).unwrap();
    assert_eq!(left, [pairs[0], pairs[2]]);
    assert_eq!(config.origin("plugins"), Origin::Pairs);
}

#[test]
fn environment_variables_lose_their_prefix() {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let config = Config::from_variables("DB_", &[variable("DB_FAILOVER_TIMEOUT_MS", "2s")]).unwrap();
    assert_eq!(config.settings().unwrap().failover.timeout, Duration::from_secs(2));
    assert_eq!(config.origin("failover_timeout_ms"), Origin::Environment);
    let error = message(Config::from_variables("DB_", &[variable("DB_PLUGIN", "x")]));
    assert!(error.contains("did you mean `plugins`?"), "{error}");
    assert!(message(Config::from_env("")).contains("prefix"));
    assert_eq!(Config::from_env("NO_VARIABLE_BEGINS_LIKE_THIS_").unwrap().values.len(), 0);
}

#[test]
fn an_error_takes_nothing_and_names_the_parameter_as_given() {
    let mut config = Config::new();
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
        let error = message(config.take_from_url(&format!("{URL}?{query}"), is_driver_name));
        assert!(error.contains(expected), "{error}");
        assert_eq!(config.values.len(), 0, "{query}");
    }
    assert!(message(Config::from_pairs([("user", "app")])).contains("unknown parameter `user`"));
    assert!(message(config.set("", "")).contains("unknown parameter ``"));
}

#[test]
fn no_output_holds_a_password() {
    let mut config = Config::new();
    let good = format!("{URL}?topology_monitoring_password=hunter2&topology_monitoring_user=m");
    config.take_from_url(&good, is_driver_name).unwrap();
    let mut outputs = vec![format!("{config:?} {config:#?}"), format!("{:?}", config.settings().unwrap())];
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
            if let Err(error) = config.clone().take_from_url(&text, is_driver_name) {
                outputs.push(format!("{error} {error:?} {error:#}"));
            }
        }
    }
    assert!(outputs.len() >= 8, "the texts are meant to fail");
    for output in outputs {
        assert!(!output.contains("hunter2"), "{output}");
    }
    let shown = format!("{config:?}");
    assert!(shown.contains(r#""topology_monitoring_password": Secret(***) from Url"#), "{shown}");
}
