use std::collections::HashMap;

use super::*;
use crate::config::Config;
use crate::config::schema::Schema;
use crate::connector::parameters;
use crate::testing::NullDriver;

const DAY: Duration = Duration::from_secs(86_400);
const MILLIS: Kind = Kind::Duration { unit: Unit::Millis, min: Duration::from_millis(1), max: DAY };
const MILLIS_OR_ZERO: Kind = Kind::Duration { unit: Unit::Millis, min: Duration::ZERO, max: DAY };
const SECS: Kind = Kind::Duration { unit: Unit::Secs, min: Duration::from_secs(1), max: DAY };
const COUNT: Kind = Kind::Count { min: 1, max: 32 };
const CHOICE: Kind = Kind::Choice(&["strict-writer", "strict-reader", "round_robin"]);
const CHOICES: Kind = Kind::Choices(&["strict-writer", "strict-reader"]);

fn of_kind(kind: Kind) -> Parameter {
    Parameter { name: "p", aliases: &[], kind, default: "", group: "", doc: "" }
}

fn schema() -> Schema {
    parameters::<NullDriver>()
}

fn words(words: &[&str]) -> Value {
    Value::List(words.iter().map(ToString::to_string).collect())
}

#[test]
fn accepted_text_becomes_a_value() {
    let ms = |ms| Value::Duration(Duration::from_millis(ms));
    for (kind, text, value) in [
        (Kind::Bool, "true", Value::Bool(true)),
        (Kind::Bool, " ON ", Value::Bool(true)),
        (Kind::Bool, "Yes", Value::Bool(true)),
        (Kind::Bool, "1", Value::Bool(true)),
        (Kind::Bool, "FALSE", Value::Bool(false)),
        (Kind::Bool, "off", Value::Bool(false)),
        (Kind::Bool, "no", Value::Bool(false)),
        (Kind::Bool, "0", Value::Bool(false)),
        (Kind::Text, " a b ", Value::Text("a b".to_owned())),
        (Kind::Secret, " a b ", Value::Secret(" a b ".into())),
        (Kind::List, "", words(&[])),
        (Kind::List, "a", words(&["a"])),
        (Kind::List, "a , b,c", words(&["a", "b", "c"])),
        (COUNT, "1", Value::Count(1)),
        (COUNT, " 032 ", Value::Count(32)),
        (MILLIS, "1", ms(1)),
        (MILLIS, "500ms", ms(500)),
        (MILLIS, "30s", ms(30_000)),
        (MILLIS, "30 S", ms(30_000)),
        (MILLIS, "2m", ms(120_000)),
        (MILLIS, "24h", ms(86_400_000)),
        (MILLIS, "86400000", ms(86_400_000)),
        (MILLIS_OR_ZERO, "0", ms(0)),
        (MILLIS_OR_ZERO, "0s", ms(0)),
        (SECS, "1", ms(1000)),
        (SECS, "1500ms", ms(1500)),
        (SECS, "1h", ms(3_600_000)),
        (CHOICE, "strict-writer", Value::Choice("strict-writer")),
        (CHOICE, "StrictReader", Value::Choice("strict-reader")),
        (CHOICE, "STRICT_READER", Value::Choice("strict-reader")),
        (CHOICE, "roundRobin", Value::Choice("round_robin")),
        (CHOICES, "strict_reader,strictWriter", Value::Choices(vec!["strict-reader", "strict-writer"])),
    ] {
        assert_eq!(of_kind(kind).parse("p", text).expect(text), value, "{kind:?} {text:?}");
    }
}

#[test]
fn bad_text_is_refused_with_name_value_and_what_is_accepted() {
    let duration =
        "a duration from 1 ms to 24 h, such as `500ms`, `30s`, `2m`, `1h` or a number of milliseconds";
    let from_zero =
        "a duration from 0 to 24 h, such as `500ms`, `30s`, `2m`, `1h` or a number of milliseconds";
    let secs = "a duration from 1 s to 24 h, such as `500ms`, `30s`, `2m`, `1h` or a number of seconds";
    let choice = "one of `strict-writer`, `strict-reader`, `round_robin`";
    let choices = "one or more of `strict-writer`, `strict-reader`, with commas between them";
    let too_many = "99999999999999999999999999";
    for (kind, accepted, texts) in [
        (Kind::Bool, "`true` or `false`", &["", "2", "-1", "tru", "y", "t", "enabled", "01"][..]),
        (Kind::Text, "a text that is not empty", &["", " "]),
        (Kind::List, "words with commas between them", &[",", "a,,b", "a,", ",a"]),
        (
            COUNT,
            "a whole number from 1 to 32",
            &["", "-1", "0", "33", "+1", "1.5", "1e1", "0x1", "one", "4294967297", too_many],
        ),
        (
            Kind::Count { min: 1, max: u32::MAX },
            "a whole number of at least 1",
            &["-1", "0", "4294967296", too_many, "10s"],
        ),
        (
            MILLIS,
            duration,
            &[
                "",
                "-1",
                "-5s",
                "0",
                "0ms",
                "0h",
                "+1",
                "1.5s",
                "1e3",
                "ms",
                "s",
                "30 sec",
                "10d",
                "1h30m",
                "ten",
                "25h",
                "86400001",
                "86401s",
                "∞",
                "NaN",
                "9999999999999999999h",
                too_many,
            ],
        ),
        (MILLIS_OR_ZERO, from_zero, &["-1", "-0", "25h", "none"]),
        (SECS, secs, &["0", "999ms", "-1", "86401", "18446744073709551615", "307445734561825861m"]),
        (
            CHOICE,
            choice,
            &["", "writer", "strict-writers", "strict.writer", "strict-writer,strict-reader", "1"],
        ),
        (
            CHOICES,
            choices,
            &["", "strict-writer,", "round_robin", "strict-writer,any", "strict-writer,StrictWriter"],
        ),
    ] {
        for text in texts {
            let error = of_kind(kind).parse("given_as", text).expect_err(text).to_string();
            assert_eq!(
                error,
                format!("parameter `given_as`: `{}` is not accepted; expected {accepted}", text.trim())
            );
        }
    }
}

#[test]
fn every_duration_of_the_table_refuses_negative_and_absurd_values() {
    for parameter in schema().parameters() {
        let Kind::Duration { unit, min, max } = parameter.kind else { continue };
        assert!(max <= DAY && min < max, "{}", parameter.name);
        let suffix = if unit == Unit::Millis { "_ms" } else { "_secs" };
        assert!(parameter.name.ends_with(suffix), "{}", parameter.name);
        for text in ["-1", "-1ms", "25h", "never"] {
            let error = parameter.parse(parameter.name, text).expect_err(text).to_string();
            assert!(
                error.contains(parameter.name) && error.contains(text) && error.contains("24 h"),
                "{error}"
            );
        }
        assert_eq!(parameter.parse(parameter.name, "0").is_ok(), min.is_zero(), "{}", parameter.name);
    }
}

#[test]
fn the_text_of_a_secret_is_never_repeated() {
    let secret = of_kind(Kind::Secret);
    assert_eq!(format!("{:?}", secret.parse("p", "hunter2").unwrap()), "Secret(***)");
    let error = secret.parse("p", "").unwrap_err().to_string();
    assert_eq!(error, "parameter `p`: `***` is not accepted; expected a text that is not empty");
    for parameter in schema().parameters() {
        let is_secret = crate::config::secret::is_secret_name(parameter.name);
        assert_eq!(parameter.is_secret(), is_secret, "{}", parameter.name);
    }
}

#[test]
fn no_two_parameters_share_a_name() {
    let mut owners = HashMap::new();
    for parameter in schema().parameters() {
        for name in std::iter::once(&parameter.name).chain(parameter.aliases) {
            let owner = *owners.entry(normalized(name)).or_insert(parameter.name);
            assert_eq!(owner, parameter.name, "{name}");
        }
        assert!(parameter.name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", parameter.name);
        assert!(parameter.doc.ends_with('.') && !parameter.doc.contains('|'), "{}", parameter.name);
    }
    let groups: Vec<_> = schema().parameters().map(|parameter| parameter.group).collect();
    let mut distinct = groups.clone();
    distinct.dedup();
    assert!(
        distinct.iter().all(|group| distinct.iter().filter(|other| other == &group).count() == 1),
        "{groups:?}"
    );
}

#[test]
fn the_names_of_the_other_wrappers_lead_to_the_parameter() {
    for (given, name) in [
        ("failover_timeout_ms", "failover_timeout_ms"),
        ("failoverTimeoutMs", "failover_timeout_ms"),
        ("FAILOVER-TIMEOUT-MS", "failover_timeout_ms"),
        ("wrapperPlugins", "plugins"),
        ("autoSortWrapperPluginOrder", "auto_sort_plugins"),
        ("autoSortPluginOrder", "auto_sort_plugins"),
        ("wrapperDialect", "dialect"),
        ("databaseDialect", "dialect"),
        ("connectTimeout", "connect_timeout_ms"),
        ("tcpKeepAlive", "tcp_keep_alive"),
        ("sslrootcert", "ssl_root_cert"),
        ("clusterTopologyRefreshRateMs", "cluster_topology_refresh_rate_ms"),
        ("clusterTopologyConnectTimeoutMs", "topology_monitoring_connect_timeout_ms"),
        ("topology-monitoring-connectTimeout", "topology_monitoring_connect_timeout_ms"),
        ("topology-monitoring-socketTimeout", "topology_monitoring_socket_timeout_ms"),
        ("topology-monitoring-user", "topology_monitoring_user"),
        ("topology-monitoring-password", "topology_monitoring_password"),
        ("singleWriterDsn", "single_writer_connection_string"),
        ("hostAvailabilityStrategyMaxRetries", "host_availability_max_retries"),
        ("hostAvailabilityStrategyInitialBackoffTime", "host_availability_initial_backoff_secs"),
        ("initialConnectionRetryTimeoutMs", "open_connection_retry_timeout_ms"),
        ("initialConnectionRetryIntervalMs", "open_connection_retry_interval_ms"),
        ("readerInitialConnectionHostSelectorStrategy", "initial_connection_host_selector_strategy"),
        ("verifyInitialConnectionType", "verify_opened_connection_type"),
    ] {
        assert_eq!(schema().find(given).map(|parameter| parameter.name), Some(name), "{given}");
    }
    assert!(schema().find("application_name").is_none());
}

#[test]
fn two_parameters_of_one_name_are_refused() {
    const OWN: &[Parameter] =
        &[Parameter::new("failover_mood", Kind::Bool, "One of its own.").with_aliases(&["FailoverMode"])];
    let error = schema().add(OWN).unwrap_err().to_string();
    assert!(error.contains("`failover_mood`") && error.contains("`failover_mode`"), "{error}");
}

#[test]
fn a_misspelled_name_is_answered_with_the_right_one() {
    for (given, expected) in [
        ("plugin", "did you mean `plugins`?"),
        ("pluginss", "did you mean `plugins`?"),
        ("wraperPlugins", "did you mean `plugins`?"),
        ("dialct", "did you mean `dialect`?"),
        ("failover_timeout", "did you mean `failover_timeout_ms`?"),
        ("failovr_mode", "did you mean `failover_mode`?"),
        ("FailoverModes", "did you mean `failover_mode`?"),
        ("clusterTopologyRefreshRate", "did you mean `cluster_topology_refresh_rate_ms`?"),
        ("cluster_topolgy_high_refresh_rate_ms", "did you mean `cluster_topology_high_refresh_rate_ms`?"),
        ("connect_timeout_seconds", "did you mean `connect_timeout_ms`?"),
        ("topology_monitoring_pasword", "did you mean `topology_monitoring_password`?"),
        (
            "failover_writer_reconnect_interval_ms",
            "did you mean `failover_mode` or `failover_timeout_ms` or ",
        ),
        ("pulgins", "did you mean `plugins`?"),
        ("port", "neither the wrapper nor the driver has one of this name"),
        ("x", "neither the wrapper nor the driver has one of this name"),
        ("", "neither the wrapper nor the driver has one of this name"),
        ("äöü", "neither the wrapper nor the driver has one of this name"),
        ("enhancedLogQueryEnabled", "neither the wrapper nor the driver has one of this name"),
    ] {
        let error = Config::from_pairs([(given, "1")]).resolve(&schema()).expect_err(given).to_string();
        assert!(error.contains(expected) && error.contains(&format!("`{given}`")), "{given}: {error}");
    }
}

#[test]
fn the_documentation_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/parameters.md");
    let present = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        present == schema().markdown(),
        "docs/parameters.md does not match the parameter table: run `cargo xtask docs`"
    );
}
