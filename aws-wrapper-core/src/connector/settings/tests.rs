use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::availability::AvailabilityStrategyKind;
use crate::config::secret::Secret;
use crate::connector::{ConnectorOptions, parameters};
use crate::driver::SslMode;
use crate::health::MonitoringSettings;
use crate::plugins::execution_time::ExecutionTime;
use crate::plugins::failover::{FailoverMode, FailoverSettings};
use crate::plugins::initial_connection::{EndpointRole, InitialConnectionSettings};
use crate::plugins::query_log::QueryLog;
use crate::pooling::{PoolReset, ReaderFallback};
use crate::testing::NullDriver;
use crate::topology::MonitoringPriority;

/// A value of each parameter that is not its default.
const OTHER: &[(&str, &str)] = &[
    ("plugins", "failover"),
    ("auto_sort_plugins", "off"),
    ("connect_timeout_ms", "3s"),
    ("socket_timeout_ms", "1s"),
    ("tcp_keep_alive", "no"),
    ("tcp_user_timeout_ms", "0"),
    ("sslmode", "verify-full"),
    ("ssl_root_cert", "/etc/ca.pem"),
    ("dialect", "AURORA_PG"),
    ("cluster_id", "one"),
    ("cluster_instance_host_pattern", "?.example.org:5433"),
    ("single_writer_connection_string", "1"),
    ("cluster_topology_refresh_rate_ms", "299999"),
    ("cluster_topology_high_refresh_rate_ms", "50"),
    ("cluster_topology_panic_refresh_rate_ms", "5"),
    ("monitoring_connection_priority", "strict_reader, writerOrReader"),
    ("topology_monitoring_connect_timeout_ms", "1"),
    ("topology_monitoring_socket_timeout_ms", "1m"),
    ("topology_monitoring_user", "monitor"),
    ("topology_monitoring_password", "hunter2"),
    ("default_host_availability_strategy", "exponentialBackoff"),
    ("host_availability_max_retries", "1"),
    ("host_availability_initial_backoff_secs", "2"),
    ("pool_max_opening_per_host", "32"),
    ("endpoint_substitution_role", "any"),
    ("initial_connection_host_selector_strategy", "roundRobin"),
    ("verify_opened_connection_type", "none"),
    ("open_connection_retry_timeout_ms", "2s"),
    ("open_connection_retry_interval_ms", "10"),
    ("wait_for_initial_topology_ms", "1s"),
    ("skip_inactive_writer_cluster_endpoint_check", "yes"),
    ("failover_mode", "ReaderOrWriter"),
    ("failover_timeout_ms", "1h"),
    ("failover_connect_timeout_ms", "9s"),
    ("failover_retry_delay_ms", "1"),
    ("failover_reader_host_selector_strategy", "LowestLoad"),
    ("enable_connect_failover", "true"),
    ("rollback_on_switch", "false"),
    ("failure_detection_enabled", "false"),
    ("failure_detection_time_ms", "6s"),
    ("failure_detection_interval_ms", "1s"),
    ("failure_detection_count", "1"),
    ("failure_detection_probe_timeout_ms", "700"),
    ("failure_detection_fail_fast", "no"),
    ("failure_detection_passive", "no"),
    ("failure_detection_check_incarnation", "no"),
    ("failure_detection_on_proxy", "yes"),
    ("failure_detection_eager_connect", "yes"),
    ("failure_detection_idle_close_ms", "1s"),
    ("monitor_disposal_time_ms", "1m"),
    ("monitoring_connect_timeout_ms", "3s"),
    ("monitoring_socket_timeout_ms", "300"),
    ("monitoring_user", "watcher"),
    ("monitoring_password", "hunter2"),
    ("monitor_runtime", "Dedicated"),
    ("query_log_redact_literals", "0"),
    ("slow_query_ms", "250"),
    ("pool_max_size", "7"),
    ("pool_wait_timeout_ms", "2s"),
    ("pool_create_timeout_ms", "3s"),
    ("pool_recycle_timeout_ms", "300"),
    ("pool_reset", "never"),
    ("pool_idle_check_after_ms", "0"),
    ("pool_max_lifetime_ms", "30m"),
    ("pool_reader_host_selector_strategy", "lowestLoad"),
    ("pool_reader_fallback", "error"),
];

fn resolved(pairs: &[(&str, &str)]) -> Result<Arc<Settings>> {
    let mut options = ConnectorOptions::<NullDriver>::default();
    *options.config() = Config::from_pairs(pairs.iter().copied());
    options.settings(|_| false)
}

/// What every part of the wrapper reads, as text.
fn everything(pairs: &[(&str, &str)]) -> String {
    let all = resolved(pairs).unwrap();
    let (plugins, sorted, opening) = (&all.plugins, all.auto_sort_plugins, all.max_opening_per_host);
    let owned = format!("{plugins:?} {sorted} {opening} {:?} {:?} {:?}", all.network, all.tls, all.topology);
    let shared = format!("{:?} {:?}", all.availability, all.pool);
    let first = all.get::<InitialConnectionSettings>().unwrap();
    let (failover, health) =
        (all.get::<FailoverSettings>().unwrap(), all.get::<MonitoringSettings>().unwrap());
    let (log, time) = (all.get::<QueryLog>().unwrap(), all.get::<ExecutionTime>().unwrap());
    format!("{owned} {shared} {first:?} {failover:?} {health:?} {log:?} {time:?}")
}

fn table() -> Vec<&'static Parameter> {
    parameters::<NullDriver>().parameters().collect()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    for parameter in table().iter().filter(|parameter| !parameter.default.is_empty()) {
        assert_eq!(everything(&[(parameter.name, parameter.default)]), everything(&[]), "{}", parameter.name);
    }
}

#[test]
fn every_parameter_reaches_the_settings() {
    assert_eq!(
        OTHER.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
        table().iter().map(|parameter| parameter.name).collect::<Vec<_>>()
    );
    // Nobody logs in with a password alone, and no text shows another password.
    for pair in OTHER.iter().filter(|(name, _)| !name.ends_with("_password")) {
        assert_ne!(everything(&[*pair]), everything(&[]), "{}", pair.0);
    }
    let password =
        resolved(&[("topology_monitoring_password", "hunter2")]).unwrap().topology.password.clone();
    assert_eq!(password.as_ref().map(Secret::expose), Some("hunter2"));
    let login = [("monitoring_user", "m"), ("monitoring_password", "hunter2")];
    let health = resolved(&login).unwrap().get::<MonitoringSettings>().unwrap();
    assert_eq!(health.password.as_ref().map(Secret::expose), Some("hunter2"));
}

#[test]
fn values_arrive_with_their_types() {
    let settings = resolved(OTHER).unwrap();
    assert_eq!(settings.plugins.as_deref(), Some(&["failover".to_owned()][..]));
    assert_eq!(settings.topology.dialect.as_deref(), Some("aurora-pg"));
    assert_eq!(settings.max_opening_per_host, 32);
    assert_eq!(settings.network.connect_timeout, Duration::from_secs(3));
    assert_eq!(settings.network.tcp_user_timeout, None);
    assert_eq!(settings.tls.mode, Some(SslMode::VerifyFull));
    assert_eq!(settings.tls.root_cert, Some(PathBuf::from("/etc/ca.pem")));
    assert_eq!(settings.topology.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(
        settings.topology.monitoring_priority,
        [MonitoringPriority::StrictReader, MonitoringPriority::WriterOrReader]
    );
    assert_eq!(settings.availability.strategy, AvailabilityStrategyKind::ExponentialBackoff);
    assert_eq!(settings.availability.initial_backoff, Duration::from_secs(2));
    let first = settings.get::<InitialConnectionSettings>().unwrap();
    assert_eq!(first.substitution_role, Some(EndpointRole::Any));
    assert_eq!(first.strategy, "round_robin");
    assert_eq!(first.wait_for_topology, Some(Duration::from_secs(1)));
    let failover = settings.get::<FailoverSettings>().unwrap();
    assert_eq!(failover.mode, Some(FailoverMode::ReaderOrWriter));
    assert_eq!(failover.reader_strategy, "lowest_load");
    assert_eq!(settings.pool.max_size, Some(7));
    assert_eq!(settings.pool.idle_check_after, Some(Duration::ZERO));
    assert_eq!(settings.pool.reset, PoolReset::Never);
    assert_eq!(settings.pool.reader_fallback, ReaderFallback::Error);
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn the_words_of_deadpool_choose_reset_and_check() {
    let pool = |pairs: &[(&str, &str)]| resolved(pairs).map(|settings| settings.pool.clone());
    let verified = pool(&[("pool_reset", "Verified")]).unwrap();
    assert_eq!((verified.reset, verified.idle_check_after), (PoolReset::Never, Some(Duration::ZERO)));
    let fast = pool(&[("pool_reset", "fast")]).unwrap();
    assert_eq!((fast.reset, fast.idle_check_after), (PoolReset::Never, None));
    assert_eq!(pool(&[("pool_reset", "clean")]).unwrap().reset, PoolReset::Always);
    let error = pool(&[("pool_reset", "verified"), ("pool_idle_check_after_ms", "1s")]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("pool_reset") && text.contains("pool_idle_check_after_ms"), "{text}");
    let error = pool(&[("pool_reset", "sometimes")]).unwrap_err().to_string();
    assert!(error.contains("`auto`") && error.contains("`verified`"), "{error}");
}

#[test]
fn no_plugin_and_the_default_plugins_are_told_apart() {
    assert_eq!(resolved(&[]).unwrap().plugins, None);
    for none in ["", " ", "none", "NONE"] {
        assert_eq!(resolved(&[("plugins", none)]).unwrap().plugins.clone(), Some(vec![]), "{none:?}");
    }
    let two = resolved(&[("plugins", " failover , efm2")]).unwrap().plugins.clone();
    assert_eq!(two, Some(vec!["failover".to_owned(), "efm2".to_owned()]));
}

#[test]
fn a_default_gives_way_where_it_would_contradict() {
    let settings = resolved(&[
        ("cluster_topology_refresh_rate_ms", "7"),
        ("open_connection_retry_timeout_ms", "500"),
        ("failover_timeout_ms", "50"),
    ])
    .unwrap();
    assert_eq!(settings.topology.high_refresh_rate, Duration::from_millis(7));
    assert_eq!(settings.topology.panic_refresh_rate, Duration::from_millis(7));
    assert_eq!(
        settings.get::<InitialConnectionSettings>().unwrap().retry_interval,
        Duration::from_millis(500)
    );
    let failover = settings.get::<FailoverSettings>().unwrap();
    assert_eq!(failover.connect_timeout, Duration::from_millis(50));
    assert_eq!(failover.retry_delay, Duration::from_millis(50));
}

#[test]
fn contradictions_are_refused_with_both_sides_named() {
    for (pairs, expected) in [
        (
            &[("cluster_topology_refresh_rate_ms", "5m")][..],
            "parameter `cluster_topology_refresh_rate_ms`: `300000ms` is not accepted; expected less than `300s`",
        ),
        (
            &[("cluster_topology_high_refresh_rate_ms", "31s")],
            "parameter `cluster_topology_high_refresh_rate_ms`: `31000ms` is not accepted; expected at most \
             `cluster_topology_refresh_rate_ms`, which is `30000ms`",
        ),
        (
            &[("open_connection_retry_timeout_ms", "1s"), ("open_connection_retry_interval_ms", "2s")],
            "expected at most `open_connection_retry_timeout_ms`, which is `1000ms`",
        ),
        (
            &[("failover_timeout_ms", "1s"), ("failover_connect_timeout_ms", "2s")],
            "expected at most `failover_timeout_ms`, which is `1000ms`",
        ),
        (
            &[("failure_detection_interval_ms", "1s"), ("failure_detection_probe_timeout_ms", "2s")],
            "expected at most `failure_detection_interval_ms`, which is `1000ms`",
        ),
        (
            &[("failure_detection_probe_timeout_ms", "50")],
            "parameter `failure_detection_probe_timeout_ms`: `50ms` is not accepted; expected at least `100ms`",
        ),
        (&[("monitoring_password", "p")], "`monitoring_password` is given without `monitoring_user`"),
        (&[("failure_detection_time_ms", "0")], "parameter `failure_detection_time_ms`: `0` is not accepted"),
        (
            &[("failure_detection_interval_ms", "-1")],
            "parameter `failure_detection_interval_ms`: `-1` is not accepted",
        ),
        (&[("failure_detection_count", "0")], "parameter `failure_detection_count`: `0` is not accepted"),
        (
            &[("endpoint_substitution_role", "reader"), ("verify_opened_connection_type", "writer")],
            "`endpoint_substitution_role` and `verify_opened_connection_type` name different roles",
        ),
    ] {
        let error = resolved(pairs).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn an_instance_pattern_is_a_host_name_with_one_question_mark() {
    for good in ["?.example.org", "db-?.example.org:5433", "?", "?.xyz.us-east-2.rds.amazonaws.com.cn"] {
        assert!(resolved(&[("cluster_instance_host_pattern", good)]).is_ok(), "{good}");
    }
    for bad in [
        "db.example.org",
        "?.?.org",
        "?.example.org:x",
        "?.example.org:0",
        "?.a:70000",
        "http://?.a",
        "?.a/b",
        "? .a",
    ] {
        let error = resolved(&[("cluster_instance_host_pattern", bad)]).expect_err(bad).to_string();
        assert!(error.contains(bad) && error.contains("one `?`"), "{error}");
    }
}
