//! `LOAD DATA LOCAL`: in the middle of a statement the server asks the client for a file.

use std::io;

use aurora_sim::{Cluster, ClusterBuilder};
use aws_wrapper_core::error::{DriverClass, ErrorKind};
use aws_wrapper_mysql::mysql_async::{self, InfileData, OptsBuilder, WhiteListFsHandler};
use aws_wrapper_mysql::{Conn, Connector, Error};
use futures_util::{StreamExt, stream};
use integration_tests::{MySql, Session, failovers, host_down, on_built};

const LOAD: &str = "LOAD DATA LOCAL INFILE 'numbers' INTO TABLE log";

/// Servers that ask for files; usually they do not.
fn asking(instances: usize) -> ClusterBuilder {
    Cluster::builder().instances(instances).setting("local-infile", "ON")
}

fn two_rows() -> InfileData {
    stream::iter([Ok(b"1\n".to_vec().into()), Ok(b"2\n".to_vec().into())]).boxed()
}

async fn count(conn: &mut Conn) -> String {
    conn.ask("SELECT count(*) FROM log").await.unwrap()
}

#[test]
fn without_a_handler_it_is_the_callers_mistake_and_the_next_call_works() {
    on_built::<MySql>(asking(2), async |cluster| {
        cluster.log_table::<MySql>().await;
        for plugins in ["none", "initial_connection,failover"] {
            let connector = cluster.connector::<MySql>(&[("plugins", plugins)]);
            let mut events = connector.services().subscribe();
            let mut conn = connector.connect().await.unwrap();
            for is_lent in [false, true] {
                let result =
                    if is_lent { conn.query_iter(LOAD).await.map(drop) } else { conn.query_drop(LOAD).await };
                let error = result.unwrap_err();
                assert!(
                    matches!(&error, mysql_async::Error::Driver(mysql_async::DriverError::LocalInfile(_))),
                    "{plugins}: {error:?}"
                );
                let error = Error::from(error);
                assert_eq!(error.kind(), ErrorKind::Driver(DriverClass::Other), "{plugins}: {error:?}");
                assert_eq!(count(&mut conn).await, "0", "{plugins}");
            }
            assert_eq!(failovers(&mut events), (0, Vec::new()), "{plugins}");
            assert!(host_down(&mut events).is_empty(), "{plugins}");
        }
    });
}

#[test]
fn a_file_that_cannot_be_read_says_nothing_about_the_host() {
    on_built::<MySql>(asking(2), async |cluster| {
        cluster.log_table::<MySql>().await;
        let connector = cluster.connector::<MySql>(&[]);
        let mut events = connector.services().subscribe();
        let mut conn = connector.connect().await.unwrap();
        for kind in [io::ErrorKind::NotFound, io::ErrorKind::ConnectionReset, io::ErrorKind::UnexpectedEof] {
            for breaks_off in [false, true] {
                conn.set_infile_handler(async move {
                    if breaks_off {
                        return Ok(stream::iter([Ok(b"1\n".to_vec().into()), Err(kind.into())]).boxed());
                    }
                    Err(io::Error::from(kind).into())
                });
                let error = Error::from(conn.query_drop(LOAD).await.unwrap_err());
                assert!(!error.is_failover_success(), "{kind:?}, {breaks_off}: {error:?}");
                // One error at most.
                let _ = conn.ping().await;
                // What had been read before is in the table: the server cannot know that there was to be more.
                let rows = count(&mut conn).await;
                assert!(rows == "0" || (breaks_off && rows == "1"), "{kind:?}, {breaks_off}: {rows}");
                conn.run("DELETE FROM log").await.unwrap();
                let down = host_down(&mut events);
                assert!(down.is_empty(), "{kind:?}, {breaks_off}: the host is not to blame: {down:?}");
            }
        }
    });
}

#[test]
fn a_handler_serves_the_next_statement_also_after_a_failover() {
    on_built::<MySql>(asking(3), async |cluster| {
        cluster.log_table::<MySql>().await;
        let mut conn = cluster.connector::<MySql>(&[]).connect().await.unwrap();
        conn.set_infile_handler(async { Ok(two_rows()) });
        conn.query_drop(LOAD).await.unwrap();
        assert_eq!(conn.affected_rows(), 2);
        // After a result that was read in part.
        drop(conn.query_iter("SELECT 1; SELECT 2").await.unwrap());
        conn.set_infile_handler(async { Ok(two_rows()) });
        conn.query_drop(LOAD).await.unwrap();
        assert_eq!(count(&mut conn).await, "4");

        // The error told of the failover; who sets the handler again may rely on it.
        cluster.replace_writer().await;
        conn.set_infile_handler(async { Ok(two_rows()) });
        let error = Error::from(conn.query_drop(LOAD).await.unwrap_err());
        assert!(error.is_failover_success(), "{error:?}");
        conn.set_infile_handler(async { Ok(two_rows()) });
        conn.query_drop(LOAD).await.unwrap();
        assert_eq!(count(&mut conn).await, "6");
    });
}

#[test]
fn a_handler_of_the_connector_serves_every_connection() {
    on_built::<MySql>(asking(3), async |cluster| {
        cluster.log_table::<MySql>().await;
        let path = cluster.folder().join("numbers");
        std::fs::write(&path, "1\n2\n").unwrap();
        let handler = WhiteListFsHandler::new([path.clone()]);
        let connector = Connector::builder()
            .driver_config(OptsBuilder::default().local_infile_handler(Some(handler)))
            .host(&cluster.endpoint())
            .port(cluster.port())
            .user("app")
            .password("secret")
            .database("app")
            .services(cluster.services())
            .build()
            .unwrap();
        let load = format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE log", path.display());
        let mut conn = connector.connect().await.unwrap();
        conn.query_drop(&load).await.unwrap();
        assert_eq!(conn.affected_rows(), 2);
        conn.query_drop("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE log").await.unwrap_err();
        assert_eq!(count(&mut conn).await, "2", "only what is allowed is read");
        cluster.replace_writer().await;
        let error = Error::from(conn.query_drop(&load).await.unwrap_err());
        assert!(error.is_failover_success(), "{error:?}");
        conn.query_drop(&load).await.unwrap();
        assert_eq!(count(&mut conn).await, "4");
    });
}
