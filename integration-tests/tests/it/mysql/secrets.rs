//! Passwords are never shown.

use std::fmt::{Debug, Write as _};

use aws_wrapper_core::services::Services;
use aws_wrapper_mysql::mysql_async::{ChangeUserOpts, OptsBuilder, TxOpts};
use aws_wrapper_mysql::{Builder, Connector, Error};
use integration_tests::{ClusterNames, MySql, Session, on_logged_cluster};

const WRONG: &str = "hunter2-wrong";
const RIGHT: &str = "hunter2-right";

#[test]
fn no_log_no_error_and_no_debug_output_has_a_password() {
    let mut shown = String::new();
    let mut show = |thing: &dyn Debug| writeln!(shown, "{thing:?} {thing:#?}").unwrap();
    let log = on_logged_cluster::<MySql>(2, async |cluster| {
        tracing::trace!("nothing is too detailed");
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run(&format!("ALTER USER app IDENTIFIED BY '{RIGHT}'")).await.unwrap();
        drop(admin);
        let services = Services::with_resolver(ClusterNames::new([cluster.names()]));
        let url = |password: &str| {
            let plugins = "initial_connection,failover,query_log,connect_time,execution_time,developer";
            format!(
                "mysql://app:{password}@{}:{}/app?plugins={plugins}&topology_monitoring_user=app\
                 &topology_monitoring_password={password}",
                cluster.endpoint(),
                cluster.port()
            )
        };

        let builder = Connector::builder().url(&url(WRONG)).unwrap().services(services.clone());
        show(&builder);
        let driver = OptsBuilder::default().user(Some("app")).pass(Some(WRONG));
        show(&Connector::builder().driver_config(driver.clone()).host(&cluster.endpoint()));
        show(&Connector::builder().driver_config(driver).host(&cluster.endpoint()).build().unwrap());
        let error = builder.build().unwrap().connect().await.unwrap_err();
        show(&error);
        show(&error.to_string());
        for broken in [
            format!("{}&no_such_parameter=1", url(WRONG)),
            format!("mysql://app:{WRONG}@[broken/app"),
            format!("mysql://app:{WRONG}@host:{WRONG}/app"),
            format!("postgresql://app:{WRONG}@host/app"),
        ] {
            let error = Connector::builder().url(&broken).and_then(Builder::build).unwrap_err();
            show(&error);
            show(&error.to_string());
        }

        let connector =
            Connector::builder().url(&url(RIGHT)).unwrap().services(services.clone()).build().unwrap();
        let mut conn = connector.connect().await.unwrap();
        show(&connector);
        show(&connector.settings());
        show(&connector.core());
        show(&conn);
        show(&conn.slot());
        let statement = conn.prep("SELECT ?").await.unwrap();
        show(&statement);
        let result = conn.query_iter("SELECT 1; SELECT 2").await.unwrap();
        show(&result);
        drop(result);
        let stream = conn.query_stream::<u32, _>("SELECT 1").await.unwrap();
        show(&stream);
        drop(stream);
        let stream = conn.exec_stream::<u32, _, _>(&statement, (1,)).await.unwrap();
        show(&stream);
        drop(stream);
        let transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        show(&transaction);
        drop(transaction);
        let user = ChangeUserOpts::new().with_pass(Some(RIGHT.to_owned()));
        conn.change_user(user).await.unwrap();
        show(&conn);
        cluster.replace_writer().await;
        let error = conn.query_drop("SELECT 1").await.unwrap_err();
        show(&error);
        show(&error.to_string());
        let error = Error::from(error);
        assert!(error.is_failover_success(), "{error:?}");
        show(&error);
        show(&conn);
        let error = conn.exec_drop("SELECT ?", (1, 2)).await.unwrap_err();
        show(&error);
        let refused = ChangeUserOpts::new().with_pass(Some(WRONG.to_owned()));
        let error = conn.change_user(refused).await.unwrap_err();
        show(&error);
        show(&Error::from(error));
        show(&conn);
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
