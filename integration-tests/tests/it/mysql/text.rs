//! Texts, times and nothing at all: what goes through must come out as it was.

use std::time::Duration;

use aurora_sim::Cluster;
use aws_wrapper_core::driver::DriverDialect;
use aws_wrapper_mysql::mysql_async::prelude::Queryable;
use integration_tests::{MySql, Session, eventually, on_built, on_cluster};

const TEXTS: [&str; 5] =
    ["", "größer als 3 €", "日本語のテキスト", "🦀🐬 and 🧪", "quoted ' \" \\ \0 \n \u{1a} %"];

#[test]
fn text_of_every_kind_comes_back_as_it_went() {
    on_cluster::<MySql>(1, async |cluster| {
        for plugins in ["none", "initial_connection,failover,query_log"] {
            let mut conn = cluster.connector::<MySql>(&[("plugins", plugins)]).connect().await.unwrap();
            conn.query_drop("CREATE TEMPORARY TABLE texts (name VARCHAR(100))").await.unwrap();
            let insert = conn.prep("INSERT INTO texts VALUES (?)").await.unwrap();
            for text in TEXTS {
                conn.exec_drop(&insert, (text,)).await.unwrap();
                // The prepared statement's form of it and the text's.
                let stored: Option<String> =
                    conn.exec_first("SELECT name FROM texts WHERE name = ?", (text,)).await.unwrap();
                assert_eq!(stored.as_deref(), Some(text));
                let stored: Vec<String> = conn.query("SELECT name FROM texts").await.unwrap();
                assert_eq!(stored, [text]);
                conn.query_drop("DELETE FROM texts").await.unwrap();
            }
            for text in &TEXTS[1..4] {
                // Names have no characters of four bytes.
                let name = if text.contains('🦀') { "größe" } else { *text };
                let sql = format!("SELECT '{text}', LENGTH('{text}'), /* {text} */ '{text}' AS `{name}`");
                let row: (String, usize, String) = conn.query_first(&sql).await.unwrap().unwrap();
                assert_eq!(row, ((*text).to_owned(), text.len(), (*text).to_owned()));
                let result = conn.query_iter(&sql).await.unwrap();
                assert_eq!(result.columns_ref()[2].name_str(), name);
                drop(result);
                let row: (String, usize, String) =
                    Queryable::exec_first(&mut conn, sql, ()).await.unwrap().unwrap();
                assert_eq!(row.0, *text);
            }
            // What is no text at all.
            let bytes = vec![0u8, 255, 254, 128];
            let back: Option<Vec<u8>> = conn.exec_first("SELECT ?", (&bytes,)).await.unwrap();
            assert_eq!(back, Some(bytes));
            let sql = b"SELECT _binary '\xff\xfe', 'still works'";
            let row: (Vec<u8>, String) = conn.query_first(&sql[..]).await.unwrap().unwrap();
            assert_eq!(row, (vec![255, 254], "still works".to_owned()));
        }
    });
}

/// As plugins and the monitor read: rows of texts, whatever the server's types.
#[test]
fn the_wrappers_own_questions_can_be_answered_by_anything() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let core = connector.core();
        let mut connection = core.connect().await.unwrap();
        let mut ask = async |sql: &str| core.driver().fetch_text(&mut connection, sql).await.unwrap();
        let table = ask(
            "SELECT NULL, '', '日本語', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)), 1.50, -0.5e0, TRUE, b'1', \
             DATE '2024-01-01', TIME '-838:59:59'",
        )
        .await;
        let cells: Vec<Option<&str>> = (0..10).map(|column| table.cell(0, column)).collect();
        assert_eq!(
            cells,
            [
                None,
                Some(""),
                Some("日本語"),
                Some("2024-02-29 01:02:03.000004"),
                Some("1.50"),
                Some("-0.5"),
                Some("1"),
                Some("\u{1}"),
                Some("2024-01-01"),
                Some("-838:59:59"),
            ]
        );
        // Dates that do not exist.
        ask("SET sql_mode = ''; CREATE TEMPORARY TABLE zero (d DATE, t DATETIME, s TIMESTAMP NULL)").await;
        ask("INSERT INTO zero VALUES ('0000-00-00', '0000-00-00 00:00:00', NULL)").await;
        let table = ask("SELECT * FROM zero").await;
        assert_eq!(table.cell(0, 0), Some("0000-00-00"));
        assert_eq!(table.cell(0, 1), Some("0000-00-00 00:00:00"));
        assert_eq!(table.cell(0, 2), None);
        // No rows, no columns, and the last result that has some.
        assert!(ask("SELECT * FROM zero WHERE FALSE").await.rows.is_empty());
        assert!(ask("DO 0").await.rows.is_empty());
        assert_eq!(ask("SELECT 1; SELECT 2; DO 0").await.cell(0, 0), Some("2"));
    });
}

/// The rows of a topology have times; those of a session may be elsewhere.
#[test]
fn the_topology_is_the_same_in_every_time_zone() {
    for zone in ["-07:00", "+09:00"] {
        let builder = Cluster::builder().instances(3).setting("default-time-zone", zone);
        on_built::<MySql>(builder, async |cluster| {
            let connector = cluster.connector::<MySql>(&[("cluster_topology_refresh_rate_ms", "200")]);
            let mut conn = connector.connect().await.unwrap();
            const ZONE: &str =
                "SELECT CONCAT_WS(' ', @@session.time_zone, TIMESTAMPDIFF(HOUR, UTC_TIMESTAMP(), NOW()))";
            let hours: i32 = zone[..3].parse().unwrap();
            let mine = format!("{zone} {hours}");
            for _ in 0..2 {
                assert_eq!(conn.ask(ZONE).await.unwrap(), mine, "the session's own time is untouched");
                let probes = connector.services().status().clusters[0].probes;
                eventually(Duration::from_secs(10), "the monitor has looked again", async || {
                    connector.services().status().clusters[0].probes > probes + 2
                })
                .await;
                assert_eq!(connector.services().status().clusters[0].hosts, 3, "{zone}");
                let report = cluster.replace_writer().await;
                assert!(conn.who().await.unwrap_err().is_failover_success());
                assert_eq!(conn.who().await.unwrap(), report.new_writer);
                cluster.complete().await;
            }
            assert_eq!(conn.ask(ZONE).await.unwrap(), mine, "{zone}: nor is that of the next connection");
        });
    }
}

#[test]
fn the_server_is_told_who_connects() {
    let builder = Cluster::builder().instances(2).setting("performance-schema", "ON");
    on_built::<MySql>(builder, async |cluster| {
        let connector = cluster.connector::<MySql>(&[]);
        let mut conn = connector.connect().await.unwrap();
        for _ in 0..2 {
            let attributes = "SELECT attr_value FROM performance_schema.session_account_connect_attrs \
                              WHERE processlist_id = CONNECTION_ID() AND attr_name = '_connector_name'";
            assert_eq!(conn.ask(attributes).await.unwrap(), "aws-wrapper-mysql");
            cluster.replace_writer().await;
            conn.ping().await.unwrap_err();
            cluster.complete().await;
        }
    });
}
