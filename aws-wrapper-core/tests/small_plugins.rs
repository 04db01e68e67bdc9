//! The plugins a developer needs: scripted faults and times.

#[cfg(test)]
mod common;

#[cfg(test)]
mod faults_and_times {
    use std::sync::Arc;
    use std::time::Duration;

    use crate::common::{SECOND, WRITER, World, timed};
    use aws_wrapper_core::ErrorKind;
    use aws_wrapper_core::error::DriverClass;
    use aws_wrapper_core::method::Method;
    use aws_wrapper_core::plugins::connect_time::{ConnectTime, ConnectTimes};
    use aws_wrapper_core::plugins::developer::{Effect, Script};
    use aws_wrapper_core::testing::driver::FakeClient;

    async fn client(world: &World, script: &Script) -> FakeClient {
        let builder =
            world.builder(WRITER, &[("plugins", "failover,developer")]).developer_script(script.clone());
        FakeClient::connect(&builder.build().unwrap()).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_scripted_fault_strikes_once_at_its_call() {
        let (world, script) = (World::new(), Script::default());
        let client = client(&world, &script).await;
        script.on_call(Some(Method::Query), 1, Effect::Fail(DriverClass::Other));
        client.query("first").await.unwrap();
        let error = client.query("second").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other));
        assert_eq!(error.plugin(), Some("developer"));
        client.query("third").await.unwrap();
        assert_eq!(script.left(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_scripted_loss_is_failed_over_like_a_real_one() {
        let (world, script) = (World::new(), Script::default());
        let client = client(&world, &script).await;
        script.on_call(None, 0, Effect::Fail(DriverClass::Network));
        let error = client.query("insert").await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        client.query("insert").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_delays_and_a_cleared_script_does_nothing() {
        let (world, script) = (World::new(), Script::default());
        let client = client(&world, &script).await;
        script.on_call(None, 0, Effect::Delay(SECOND));
        let (result, took) = timed(client.query("slow")).await;
        result.unwrap();
        assert!(took >= SECOND, "{took:?}");
        script.on_call(None, 0, Effect::Hang);
        script.clear();
        client.query("quick").await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connect_is_struck_by_host_and_each_connector_has_its_own_script() {
        let (world, script) = (World::new(), Script::default());
        let build = |script: &Script| {
            let pairs = [("plugins", "developer")];
            world.builder(WRITER, &pairs).developer_script(script.clone()).build().unwrap()
        };
        script.on_connect(Some("another.host"), 0, Effect::Fail(DriverClass::Login));
        FakeClient::connect(&build(&script)).await.unwrap();
        script.on_connect(Some(WRITER), 0, Effect::Fail(DriverClass::Login));
        FakeClient::connect(&build(&Script::default())).await.unwrap();
        let error = FakeClient::connect(&build(&script)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Login);
    }

    #[tokio::test(start_paused = true)]
    async fn connects_are_counted_and_timed() {
        let (world, times) = (World::new(), ConnectTimes::default());
        let builder =
            world.builder(WRITER, &[("plugins", "")]).plugin(Arc::new(ConnectTime::new(times.clone())));
        let connector = builder.build().unwrap();
        FakeClient::connect(&connector).await.unwrap();
        FakeClient::connect(&connector).await.unwrap();
        assert_eq!((times.count(), times.failed()), (2, 0));
        assert!(times.total() >= Duration::from_millis(2), "{:?}", times.total());
    }
}
