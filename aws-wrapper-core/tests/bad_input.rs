//! Whatever is configured: a clear error that names the parameter, never a panic, never a secret.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use aws_wrapper_core::Error;
use aws_wrapper_core::config::Config;
use aws_wrapper_core::connector::{Connector, parameters};
use aws_wrapper_core::error::ErrorKind;
use aws_wrapper_core::host::HostKey;
use aws_wrapper_core::testing::driver::FakeDriver;
use common::{CUSTOM, MS, READER, World, settings, timed};

fn refusal(name: &str, value: &str) -> Error {
    let refused = settings(&[(name, value)]).map(drop);
    refused.expect_err(&format!("`{name}` = `{value}` is nonsense"))
}

/// The error of building a connector to `host`.
fn unbuildable(host: &str, pairs: &[(&str, &str)]) -> Error {
    let built: Result<Connector<FakeDriver>, _> = World::new().builder(host, pairs).build();
    built.map(drop).expect_err(&format!("{pairs:?} cannot work"))
}

mod values {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_an_error_and_a_misspelled_one_is_recognised() {
        for (given, meant) in [
            ("failovr_timeout_ms", "failover_timeout_ms"),
            ("failover_time_out", "failover_timeout_ms"),
            ("plugin", "plugins"),
            ("clusterInstanceHostPatern", "cluster_instance_host_pattern"),
        ] {
            let error = refusal(given, "1");
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains(given) && text.contains(meant), "{text}");
        }
        assert!(refusal("colour", "blue").to_string().contains("colour"));
        assert!(refusal("", "x").kind() == ErrorKind::Config);
    }

    #[test]
    fn durations_and_counts_are_neither_negative_nor_absurd() {
        for name in [
            "failover_timeout_ms",
            "connect_timeout_ms",
            "cluster_topology_refresh_rate_ms",
            "failover_retry_delay_ms",
            "open_connection_retry_timeout_ms",
            "host_availability_max_retries",
            "host_availability_initial_backoff_secs",
            "pool_max_opening_per_host",
        ] {
            for value in
                ["-1", "0", "", " ", "x", "1x", "1e9", "NaN", "99999999999999999999", "-0", "1.5.2", "٣"]
            {
                let error = refusal(name, value);
                assert_eq!(error.kind(), ErrorKind::Config, "{name}={value}");
                assert!(error.to_string().contains(name), "{error}");
            }
        }
        assert!(settings(&[("tcp_user_timeout_ms", "0")]).is_ok(), "zero is allowed where it means off");
        assert!(settings(&[("slow_query_ms", "0")]).is_ok());
    }

    #[test]
    fn every_parameter_refuses_or_takes_any_text_without_a_panic() {
        let long = "x".repeat(100_000);
        let texts =
            ["", " ", ",", "none", "-1", "0", "\0", "ä", "?", "true", "1h", "'", "%", "a=b&c", long.as_str()];
        for parameter in parameters::<FakeDriver>().parameters() {
            for text in texts {
                if let Err(error) = settings(&[(parameter.name, text)]) {
                    assert_eq!(error.kind(), ErrorKind::Config, "{}", parameter.name);
                    assert!(error.to_string().contains(parameter.name), "{error}");
                    assert!(error.to_string().len() < 2_000, "{}: the error repeats it all", parameter.name);
                }
            }
        }
    }

    #[test]
    fn choices_name_what_is_accepted() {
        for (name, accepted) in [
            ("failover_mode", "strict-writer"),
            ("endpoint_substitution_role", "writer"),
            ("failover_reader_host_selector_strategy", "round_robin"),
            ("monitoring_connection_priority", "strict-reader"),
            ("dialect", "aurora-pg"),
            ("default_host_availability_strategy", "exponential_backoff"),
            ("auto_sort_plugins", "true"),
        ] {
            let text = refusal(name, "sideways").to_string();
            assert!(text.contains(name) && text.contains("sideways") && text.contains(accepted), "{text}");
        }
        assert!(settings(&[("verify_opened_connection_type", "any")]).is_err(), "nothing to verify");
    }

    #[test]
    fn a_parameter_given_twice_is_an_error_also_under_an_alias() {
        assert!(settings(&[("plugins", ""), ("wrapperPlugins", "")]).is_err());
        assert!(settings(&[("failover_mode", "strict-reader"), ("failoverMode", "strict-writer")]).is_err());
    }

    #[test]
    fn an_instance_pattern_has_a_question_mark() {
        for pattern in ["db.example.com", "?.?.example.com", "a b.?", "?/x"] {
            let error = refusal("cluster_instance_host_pattern", pattern);
            assert!(error.to_string().contains("cluster_instance_host_pattern"), "{error}");
        }
    }
}

mod building {
    use super::*;

    #[test]
    fn no_host_is_an_error() {
        let built = Connector::builder(World::new().driver, Config::new(), vec![]).build();
        assert_eq!(built.map(drop).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn a_host_must_be_a_name() {
        for text in ["", " ", "a b", "a/b", "[", "::1:x", "http://x"] {
            assert_eq!(
                Error::from(HostKey::new(text, 5432).unwrap_err()).kind(),
                ErrorKind::Config,
                "{text:?}"
            );
        }
    }

    #[test]
    fn roles_an_endpoint_cannot_have_are_refused() {
        for (host, name, value) in [
            (common::WRITER, "endpoint_substitution_role", "reader"),
            (common::WRITER, "endpoint_substitution_role", "any"),
            (common::WRITER, "verify_opened_connection_type", "reader"),
            (READER, "endpoint_substitution_role", "writer"),
            (READER, "verify_opened_connection_type", "writer"),
            (CUSTOM, "endpoint_substitution_role", "writer"),
            (CUSTOM, "verify_opened_connection_type", "writer"),
            ("i-1", "endpoint_substitution_role", "writer"),
            ("i-1", "endpoint_substitution_role", "any"),
        ] {
            let error = unbuildable(host, &[(name, value)]);
            assert_eq!(error.kind(), ErrorKind::Config);
            let text = error.to_string();
            assert!(text.contains(name) && text.contains(value) && text.contains("none"), "{text}");
        }
    }

    #[test]
    fn plugins_that_exist_twice_or_not_at_all_are_refused() {
        assert_eq!(
            unbuildable("i-1", &[("plugins", "failover,failover2")]).kind(),
            ErrorKind::PluginConflict
        );
        assert_eq!(unbuildable("i-1", &[("plugins", "failover,nonsense")]).kind(), ErrorKind::Config);
        assert_eq!(unbuildable("i-1", &[("plugins", "iam")]).kind(), ErrorKind::Unsupported);
        assert_eq!(unbuildable("i-1", &[("plugins", "failover,none")]).kind(), ErrorKind::Config);
    }

    #[test]
    fn dialects_to_come_are_refused() {
        let error =
            World::new().builder("i-1", &[("dialect", "global-aurora-pg")]).build().map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("not available yet"), "{error}");
    }

    #[test]
    fn a_pattern_that_names_a_cluster_or_proxy_endpoint_is_refused() {
        for pattern in
            ["?.cluster-xyz.us-east-2.rds.amazonaws.com", "?.proxy-xyz.us-east-2.rds.amazonaws.com"]
        {
            let error = unbuildable("i-1", &[("cluster_instance_host_pattern", pattern)]);
            assert_eq!(error.kind(), ErrorKind::Config, "{pattern}");
            assert!(error.to_string().contains("cluster_instance_host_pattern"), "{error}");
        }
    }
}

mod connecting {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cluster_behind_an_address_needs_a_pattern_and_says_so_at_once() {
        for host in ["10.1.2.3", "db.example.com"] {
            for plugins in ["failover", "initial_connection,failover", "stale_dns"] {
                let world = World::new();
                world.cluster.alias(host, "i-1");
                let (result, took) = timed(world.connector(host, &[("plugins", plugins)]).connect()).await;
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Config);
                let text = error.to_string();
                assert!(text.contains("cluster_instance_host_pattern") && text.contains(host), "{text}");
                assert!(took < 100 * MS, "{took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_plugins_that_need_a_topology_an_address_is_enough() {
        let world = World::new();
        world.cluster.alias("10.1.2.3", "i-1");
        for pairs in [&[][..], &[("plugins", "connect_time")]] {
            assert!(world.connector("10.1.2.3", pairs).connect().await.is_ok());
        }
    }
}

mod secrets {
    use super::*;

    const PASSWORD: &str = "hunter2-is-secret";

    #[tokio::test(start_paused = true)]
    async fn they_are_in_nothing_that_can_be_printed() {
        let pairs = [("topology_monitoring_password", PASSWORD), ("topology_monitoring_user", "monitor")];
        let world = World::new();
        world.cluster.set_login("monitor", false);
        let config = Config::from_pairs(pairs);
        let connector = world.connector(common::WRITER, &pairs);
        let client = aws_wrapper_core::testing::driver::FakeClient::connect(&connector).await.unwrap();
        tokio::time::sleep(common::SECOND * 5).await;
        let builder = world.builder("i-1", &pairs);
        let status = world.services.status();
        assert!(status.clusters[0].last_error.is_some(), "the monitor was refused");
        let printed = [
            format!("{config:?} {config:#?}"),
            format!("{:?} {:#?}", connector.settings(), connector.settings()),
            format!("{connector:?} {connector:#?} {builder:?}"),
            format!("{client:?} {status:?} {:?}", world.services),
            format!("{:?} {:?}", connector.pipeline(), connector.topology()),
        ];
        for text in printed {
            assert!(!text.contains(PASSWORD), "{text}");
        }
    }

    #[test]
    fn errors_do_not_repeat_them() {
        for pairs in [
            &[("topology_monitoring_password", PASSWORD), ("topologyMonitoringPassword", PASSWORD)][..],
            &[("topology_monitoring_pasword", PASSWORD)],
        ] {
            let error = settings(pairs).unwrap_err();
            assert!(!format!("{error:?} {error:#}").contains(PASSWORD), "{error:?}");
        }
        for text in [
            format!("postgresql://app:{PASSWORD}@h/db?failovr_mode=x"),
            format!("postgresql://app:{PASSWORD}@h:99999999/db?plugins=%zz"),
            format!("host=h password={PASSWORD} plugins='"),
            format!("mongodb://app:{PASSWORD}@h/db"),
        ] {
            let mut config = Config::new();
            let taken = config.take_from_url(&text, |_| false);
            let checked = taken.and_then(|_| config.resolve(&parameters::<FakeDriver>()));
            if let Err(error) = checked {
                assert!(!format!("{error:?} {error:#}").contains(PASSWORD), "{error:?}");
            }
        }
    }
}
