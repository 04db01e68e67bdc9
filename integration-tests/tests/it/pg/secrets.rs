//! Passwords are never shown.

use std::fmt::{Debug, Write as _};

use aws_wrapper_core::services::Services;
use aws_wrapper_pg::{Builder, Connector};
use integration_tests::{ClusterNames, Pg, Session, on_logged_cluster};

const WRONG: &str = "hunter2-wrong";
const RIGHT: &str = "hunter2-right";

#[test]
fn no_log_no_error_and_no_debug_output_has_a_password() {
    let mut shown = String::new();
    let mut show = |thing: &dyn Debug| writeln!(shown, "{thing:?} {thing:#?}").unwrap();
    let log = on_logged_cluster::<Pg>(2, async |cluster| {
        tracing::trace!("nothing is too detailed");
        let mut admin = cluster.admin::<Pg>("instance-1").await;
        admin.ask(&format!("ALTER ROLE app PASSWORD '{RIGHT}'")).await.unwrap();
        drop(admin);
        let services = Services::with_resolver(ClusterNames::new([cluster.names()]));
        let url = |password: &str| {
            let plugins = "initial_connection,failover,query_log,connect_time,execution_time,developer";
            format!(
                "postgresql://app:{password}@{}/app?plugins={plugins}&topology_monitoring_user=app\
                 &topology_monitoring_password={password}",
                cluster.endpoint()
            )
        };

        let builder = Connector::builder().url(&url(WRONG)).unwrap().services(services.clone());
        show(&builder);
        let error = builder.build().unwrap().connect().await.unwrap_err();
        show(&error);
        show(&error.to_string());
        let broken = format!("{}&no_such_parameter=1", url(WRONG));
        let error = Connector::builder().url(&broken).and_then(Builder::build).unwrap_err();
        show(&error);
        show(&error.to_string());
        let error = Connector::builder().url(&format!("postgresql://app:{WRONG}@[broken/app")).unwrap_err();
        show(&error);
        show(&error.to_string());

        let connector =
            Connector::builder().url(&url(RIGHT)).unwrap().services(services.clone()).build().unwrap();
        let mut client = connector.connect().await.unwrap();
        show(&connector);
        show(&connector.settings());
        show(&client);
        show(&client.slot());
        client.who().await.unwrap();
        cluster.replace_writer().await;
        let error = client.who().await.unwrap_err();
        assert!(error.is_failover_success(), "{error:?}");
        show(&error);
        show(&client);
        show(&services);
        show(&services.status());
    });
    assert!(log.contains("nothing is too detailed"), "every level was logged");
    assert!(log.contains("failed over"), "the failover was logged: {log}");
    for text in [&log, &shown] {
        if let Some(place) = text.find("hunter2") {
            panic!(
                "a password is shown: …{}…",
                &text[place.saturating_sub(200)..(place + 50).min(text.len())]
            );
        }
    }
}
