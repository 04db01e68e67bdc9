//! From an endpoint to a connection whose role is what the endpoint promises.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "these are tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, Phase};
use aws_wrapper_core::host::{HostKey, Role};
use aws_wrapper_core::registry::Purpose;
use aws_wrapper_core::testing::cluster::Reach;
use aws_wrapper_core::testing::driver::{FakeClient, On, Outcome};
use common::{CUSTOM, MS, PROXY, READER, SECOND, WRITER, World, all, meanwhile, timed};
use tokio::time::sleep;

/// Only the plugin under test.
const ONLY: (&str, &str) = ("plugins", "initial_connection");

/// A world whose topology is known: somebody is connected and keeps the monitor awake.
async fn known(world: &World) -> FakeClient {
    let client = world.client(WRITER, &[]).await;
    sleep(SECOND * 2).await;
    client
}

/// The hosts the application's connects since `from` went to.
fn dialled(world: &World, from: usize) -> Vec<HostKey> {
    let connects = world.driver.connects();
    connects[from..]
        .iter()
        .filter(|dial| !dial.purpose.is_monitoring())
        .map(|dial| dial.host.clone())
        .collect()
}

mod writer_endpoint {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_connection_goes_by_the_name_and_is_verified() {
        let world = World::new();
        let client = world.client(WRITER, &[ONLY]).await;
        assert_eq!(client.current().name(), "i-1");
        let slot = client.current().slot().clone();
        assert_eq!((slot.host(), slot.routed_host()), (&world.key(WRITER), &world.key("i-1")));
        assert_eq!(slot.identity().unwrap().role, Role::Writer);
        assert_eq!(dialled(&world, 0), [world.key(WRITER)]);
    }

    #[tokio::test(start_paused = true)]
    async fn once_the_topology_is_known_the_writer_is_dialled_itself() {
        let world = World::new();
        let connector = world.connector(WRITER, &[ONLY]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND).await;
        let from = world.driver.connects().len();
        FakeClient::connect(&connector).await.unwrap();
        assert_eq!(dialled(&world, from), [world.key("i-1")]);
    }

    /// All its plugins see it as a new one.
    #[tokio::test(start_paused = true)]
    async fn a_session_that_waits_for_the_writer_gets_the_connection_on_which_it_was_proved() {
        let world = World::new();
        let connector = world.connector(WRITER, &[("plugins", "initial_connection,tracker")]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND * 2).await;
        world.cluster.set_reach("i-1", Reach::Refuses);
        let from = world.driver.connects().len();
        let promote = || {
            world.cluster.promote("i-2");
        };
        let [one, two] =
            meanwhile(all([&connector, &connector].map(FakeClient::connect)), SECOND / 4, promote)
                .await
                .try_into()
                .unwrap();
        let (one, two) = (one.unwrap(), two.unwrap());
        let to_the_new_one = dialled(&world, from).into_iter().filter(|host| *host == world.key("i-2"));
        assert_eq!(to_the_new_one.count(), 1, "the other one was there already");
        for client in [&one, &two] {
            assert_eq!(client.query("insert").await.unwrap(), "i-2");
            let slot = client.current().slot().clone();
            assert_eq!(slot.purpose(), Purpose::Initial);
            assert_eq!(slot.identity().unwrap().role, Role::Writer);
        }
        world.cluster.promote("i-3");
        sleep(SECOND * 2).await;
        for client in [&one, &two] {
            assert!(client.current().slot().has_ended(), "it is tracked");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_to_the_old_writer_does_not_lead_the_session_there() {
        let world = World::new();
        // The name leads to i-1; i-2 was promoted a moment ago.
        world.cluster.promote("i-2");
        let (client, took) = timed(world.client(WRITER, &[ONLY])).await;
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert!(took < SECOND, "no pause is needed when the topology tells: {took:?}");
        assert_eq!(world.cluster.open("i-1"), 0, "the reader's connection is closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_name_and_a_stale_topology_are_waited_out() {
        let world = World::new();
        world.cluster.promote("i-2");
        for name in common::THREE {
            world.cluster.set_outdated_view(name, "i-1");
        }
        let update = || common::THREE.iter().for_each(|name| world.cluster.update_view(name));
        let (client, took) = timed(meanwhile(world.client(WRITER, &[ONLY]), SECOND * 5, update)).await;
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert!(took >= SECOND * 5 && took < SECOND * 7, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_given_a_reader_in_the_end() {
        let world = World::new();
        world.cluster.set_role("i-1", Role::Reader);
        let connector = world.connector(WRITER, &[ONLY, ("open_connection_retry_timeout_ms", "5s")]);
        let (result, took) = timed(connector.connect()).await;
        let error = result.unwrap_err();
        assert_eq!(
            (error.kind(), error.plugin()),
            (ErrorKind::Timeout(Phase::Connect), Some("initial_connection"))
        );
        assert!(format!("{error:#}").contains("Reader, but a Writer is wanted"), "{error:#}");
        assert!(took <= SECOND * 5 + 10 * MS, "{took:?}");
        assert!(
            world.services.status().connections.values().sum::<usize>() <= 3,
            "only the monitor's are left"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn without_verification_the_name_is_believed() {
        let world = World::new();
        world.cluster.promote("i-2");
        let pairs = [ONLY, ("endpoint_substitution_role", "none"), ("verify_opened_connection_type", "none")];
        let client = world.client(WRITER, &pairs).await;
        assert_eq!(client.query("select 1").await.unwrap(), "i-1");
    }

    #[tokio::test(start_paused = true)]
    async fn verification_alone_repeats_the_name_until_it_leads_to_the_writer() {
        let world = World::new();
        world.cluster.promote("i-2");
        let pairs = [ONLY, ("endpoint_substitution_role", "none")];
        let (client, took) =
            timed(meanwhile(world.client(WRITER, &pairs), SECOND * 4, || world.cluster.alias(WRITER, "i-2")))
                .await;
        assert_eq!(client.query("insert").await.unwrap(), "i-2");
        assert!(dialled(&world, 0).iter().all(|host| *host == world.key(WRITER)));
        assert!(took >= SECOND * 4 && took < SECOND * 6, "{took:?}");
        assert!(dialled(&world, 0).len() < 8, "one attempt a second");
    }
}

mod reader_endpoint {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn readers_are_picked_by_the_strategy() {
        let world = World::new();
        let connector =
            world.connector(READER, &[ONLY, ("initial_connection_host_selector_strategy", "round_robin")]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND).await;
        let mut names = BTreeSet::new();
        for _ in 0..4 {
            names.insert(FakeClient::connect(&connector).await.unwrap().current().name().to_owned());
        }
        assert_eq!(names, ["i-2", "i-3"].map(String::from).into());
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_that_leads_to_the_writer_is_not_followed() {
        let world = World::new();
        world.cluster.alias(READER, "i-1");
        let (client, took) = timed(world.client(READER, &[ONLY])).await;
        assert_ne!(client.current().name(), "i-1");
        assert!(took < SECOND * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_any_reader_the_writer_serves() {
        let world = World::of(&["i-1"]);
        let connector = world.connector(READER, &[ONLY]);
        for _ in 0..2 {
            let (connected, took) = timed(FakeClient::connect(&connector)).await;
            assert_eq!(connected.unwrap().current().name(), "i-1");
            assert!(took < SECOND, "{took:?}");
            sleep(SECOND).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_refuses_is_tried_last() {
        let world = World::new();
        let connector = world.connector(READER, &[ONLY]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND).await;
        world.cluster.set_reach("i-2", Reach::Refuses);
        for _ in 0..20 {
            let from = world.driver.connects().len();
            let (connected, took) = timed(FakeClient::connect(&connector)).await;
            assert_eq!(connected.unwrap().current().name(), "i-3");
            let dials = dialled(&world, from);
            assert!(dials.len() <= 2 && took < SECOND * 2, "{dials:?} in {took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_readers_refuse_the_search_goes_on_until_one_is_back() {
        let world = World::new();
        let connector = world.connector(READER, &[ONLY]);
        let _first = FakeClient::connect(&connector).await.unwrap();
        sleep(SECOND).await;
        for name in ["i-2", "i-3"] {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let connecting = FakeClient::connect(&connector);
        let back = || world.cluster.set_reach("i-3", Reach::Up);
        let (connected, took) = timed(meanwhile(connecting, SECOND * 7, back)).await;
        assert_eq!(connected.unwrap().current().name(), "i-3");
        assert!(took < SECOND * 11, "{took:?}");
    }
}

mod other_endpoints {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn nothing_is_substituted_or_verified_by_default() {
        for host in [CUSTOM, PROXY, "i-1", "i-3"] {
            let world = World::new();
            let connector = world.connector(host, &[ONLY]);
            let _first = FakeClient::connect(&connector).await.unwrap();
            sleep(SECOND).await;
            let from = world.driver.connects().len();
            FakeClient::connect(&connector).await.unwrap();
            assert_eq!(dialled(&world, from), [world.key(host)]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_custom_endpoint_can_be_a_door_to_readers() {
        let world = World::new();
        let pairs =
            [ONLY, ("endpoint_substitution_role", "reader"), ("verify_opened_connection_type", "reader")];
        let client = world.client(CUSTOM, &pairs).await;
        assert_ne!(client.current().name(), "i-1");
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_can_be_verified() {
        let world = World::new();
        let pairs =
            [ONLY, ("verify_opened_connection_type", "writer"), ("open_connection_retry_timeout_ms", "2s")];
        assert_eq!(world.client("i-1", &pairs).await.current().name(), "i-1");
        let error = world.connector("i-2", &pairs).connect().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect));
    }

    #[tokio::test(start_paused = true)]
    async fn a_plain_server_costs_no_question() {
        let mut world = World::new();
        world.driver = world.driver.plain();
        let pairs = [ONLY, ("verify_opened_connection_type", "writer")];
        world.driver.plan(On::Question, "i-1", 9, Outcome::Normal);
        let client = world.client("10.0.0.1", &pairs);
        // The address is nobody's.
        let error = tokio::time::timeout(SECOND * 60, client);
        world.cluster.alias("10.0.0.1", "i-1");
        assert_eq!(error.await.unwrap().current().name(), "i-1");
    }
}

mod topology_wait {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pool_that_is_being_filled_is_spread_over_the_readers() {
        let world = World::new();
        let pairs = [
            ONLY,
            ("wait_for_initial_topology_ms", "5s"),
            ("initial_connection_host_selector_strategy", "round_robin"),
        ];
        let connector = world.connector(READER, &pairs);
        let clients = all((0..10).map(|_| FakeClient::connect(&connector))).await;
        let count =
            |name| clients.iter().filter(|client| client.as_ref().unwrap().current().name() == name).count();
        assert_eq!((count("i-2"), count("i-3")), (5, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn no_topology_in_time_keeps_the_connection_of_the_endpoint() {
        let world = World::new();
        for name in common::THREE {
            world.cluster.set_view(name, &[]);
        }
        let pairs = [ONLY, ("wait_for_initial_topology_ms", "3s")];
        let (client, took) = timed(world.client(READER, &pairs)).await;
        assert_eq!(client.current().name(), "i-3");
        assert!(took >= SECOND * 3 && took < SECOND * 4, "{took:?}");
    }
}

mod failures {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_login_is_told_at_once() {
        for host in [WRITER, READER, "i-1"] {
            let world = World::new();
            world.cluster.set_login("app", false);
            let (result, took) = timed(world.connector(host, &[]).connect()).await;
            let error = result.unwrap_err();
            assert_eq!((error.kind(), error.sqlstate()), (ErrorKind::Login, Some("28P01")));
            assert!(took < 100 * MS, "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn other_errors_of_the_server_are_told_at_once() {
        let world = World::new();
        world.driver.plan(On::Connect, "i-1", 1, Outcome::FailsWith(DriverClass::Other, "3D000"));
        let (result, took) = timed(world.connector(WRITER, &[]).connect()).await;
        assert_eq!(result.unwrap_err().sqlstate(), Some("3D000"));
        assert!(took < 100 * MS, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_limit_the_last_cause_is_told() {
        let world = World::new();
        for name in common::THREE {
            world.cluster.set_reach(name, Reach::Refuses);
        }
        let (result, took) = timed(world.connector(WRITER, &[]).connect()).await;
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout(Phase::Connect));
        assert_eq!(error.driver_class(), Some(DriverClass::Network));
        assert!(format!("{error:#}").contains("connection refused"), "{error:#}");
        assert!(took > SECOND * 28 && took <= SECOND * 30 + 10 * MS, "{took:?}");
        assert!(dialled(&world, 0).len() <= 31, "one attempt a second: {}", dialled(&world, 0).len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_is_told_as_such() {
        let world = World::new();
        world.cluster.set_reach("i-1", Reach::Silent);
        let pairs = [ONLY, ("connect_timeout_ms", "2s"), ("open_connection_retry_timeout_ms", "7s")];
        let (result, took) = timed(world.connector(WRITER, &pairs).connect()).await;
        let error = result.unwrap_err();
        assert!(format!("{error:#}").contains("no connection within 2000 ms"), "{error:#}");
        assert!(took <= SECOND * 7 + 10 * MS, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_role_question_that_is_never_answered_is_an_attempt_that_failed() {
        let world = World::new();
        let _other = known(&world).await;
        let connector = world.connector(WRITER, &[]);
        drop(connector.connect().await.unwrap());
        world.driver.plan(On::Question, "i-1", 1, Outcome::Never);
        // Whoever asks next is the session: the monitor has just looked.
        let (client, took) = timed(FakeClient::connect(&connector)).await;
        assert_eq!(client.unwrap().current().name(), "i-1");
        assert!(took < SECOND * 8, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_lost_between_connect_and_question_is_tried_again() {
        let world = World::new();
        let connector = world.connector(WRITER, &[]);
        world.driver.plan(On::Question, "i-1", 1, Outcome::Fails(DriverClass::Network));
        assert_eq!(FakeClient::connect(&connector).await.unwrap().current().name(), "i-1");
    }
}

mod stale_dns {
    use super::*;

    const STALE: (&str, &str) = ("plugins", "stale_dns");

    #[tokio::test(start_paused = true)]
    async fn a_good_name_is_followed() {
        let world = World::new();
        let client = world.client(WRITER, &[STALE]).await;
        assert_eq!(client.current().name(), "i-1");
        assert_eq!(dialled(&world, 0), [world.key(WRITER)]);
        sleep(SECOND).await;
        let from = world.driver.connects().len();
        world.client(WRITER, &[STALE]).await;
        assert_eq!(dialled(&world, from), [world.key(WRITER)], "by the name, always");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_name_leads_to_the_writer_all_the_same() {
        let world = World::new();
        world.cluster.promote("i-3");
        let (client, took) = timed(world.client(WRITER, &[STALE])).await;
        assert_eq!(client.query("insert").await.unwrap(), "i-3");
        assert!(took < SECOND * 2, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_writer_is_an_error() {
        let world = World::new();
        world.cluster.set_role("i-1", Role::Reader);
        let pairs = [STALE, ("open_connection_retry_timeout_ms", "3s")];
        let (result, took) = timed(world.connector(WRITER, &pairs).connect()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout(Phase::Connect));
        assert!(took < SECOND * 4, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn other_endpoints_are_not_its_business() {
        let world = World::new();
        world.cluster.alias(READER, "i-1");
        let client = world.client(READER, &[STALE]).await;
        assert_eq!(client.current().name(), "i-1");
        assert_eq!(dialled(&world, 0), [world.key(READER)]);
    }
}

mod wanted_role {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_of_hosts_is_searched_for_the_role() {
        let mut world = World::new();
        world.driver = world.driver.plain();
        world.cluster.promote("i-3");
        for (wanted, expected) in [(Role::Writer, "i-3"), (Role::Reader, "i-1")] {
            let hosts = common::THREE.iter().map(|name| world.key(name)).collect();
            let config = common::config(&[("plugins", "")]);
            let driver = world.driver.clone();
            let connector = aws_wrapper_core::connector::Connector::builder(driver, config, hosts)
                .wanted_role(Some(wanted))
                .build()
                .unwrap();
            assert_eq!(connector.connect().await.unwrap().name(), expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_plugin_one_refused_connect_is_one_error() {
        let world = World::new();
        world.cluster.set_reach("i-1", Reach::Refuses);
        let (result, took) = timed(world.connector("i-1", &[("plugins", "")]).connect()).await;
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Driver(DriverClass::Network));
        assert!(took < Duration::from_millis(50), "{took:?}");
    }
}
