//! What a pool of `mysql_async` connections has to know to hand a session on.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_wrapper_deadpool::PoolReset;
use aws_wrapper_deadpool::mysql::{Object, Pool};
use aws_wrapper_mysql::mysql_async::prelude::Query;
use aws_wrapper_mysql::mysql_async::{ChangeUserOpts, OptsBuilder, TxOpts};
use integration_tests::{MySql, Session, TestCluster, on_cluster};

const MODES: [PoolReset; 3] = [PoolReset::Auto, PoolReset::Always, PoolReset::Never];

/// A pool with one connection, which is not given up because the machine is busy.
fn pool(cluster: &TestCluster, reset: PoolReset) -> Pool {
    let builder = Pool::builder(cluster.connector::<MySql>(&[])).max_size(1).reset(reset);
    builder.recycle_timeout(Duration::from_secs(10)).build().unwrap()
}

fn cleaned(pool: &Pool) -> u64 {
    pool.status().sub_pools.iter().map(|sub| sub.cleaned).sum()
}

async fn set_up(cluster: &TestCluster) {
    cluster.log_table::<MySql>().await;
    let mut admin = cluster.admin::<MySql>("instance-1").await;
    for statement in [
        "GRANT ALL ON *.* TO app@'%'",
        "CREATE PROCEDURE app.two() BEGIN SELECT 1; START TRANSACTION; INSERT INTO log VALUES (1); END",
        "CREATE PROCEDURE app.fails() BEGIN START TRANSACTION; INSERT INTO log VALUES (1); \
         SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'no'; END",
    ] {
        admin.run(statement).await.unwrap();
    }
}

/// The next user's row is there, and nothing else, though the connection is lost after its call.
async fn next_write_is_kept(cluster: &TestCluster, pool: &Pool, what: &str) {
    let mut admin = cluster.admin::<MySql>("instance-1").await;
    let mut next = pool.get().await.unwrap();
    assert_eq!(next.run("INSERT INTO log VALUES (2)").await.unwrap(), 1, "{what}");
    drop(Object::take(next));
    assert_eq!(admin.ask("SELECT group_concat(id) FROM log").await.unwrap(), "2", "{what}");
    admin.run("DELETE FROM log").await.unwrap();
}

#[test]
fn an_untouched_session_costs_no_round_trip() {
    const BYTES: &str =
        "SELECT variable_value FROM performance_schema.session_status WHERE variable_name = 'Bytes_received'";
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        let pool = pool(cluster, PoolReset::Auto);
        let mut conn = pool.get().await.unwrap();
        conn.run("INSERT INTO log (id) SELECT count(*) FROM log").await.unwrap();
        let mut transaction = conn.start_transaction(TxOpts::default()).await.unwrap();
        transaction.exec_drop("UPDATE log SET id = id + ?", (1,)).await.unwrap();
        transaction.commit().await.unwrap();
        let rows =
            conn.query_iter("SELECT id FROM log").await.unwrap().collect_and_drop::<i64>().await.unwrap();
        assert_eq!(rows, [1]);
        let id = conn.slot().id();
        let mut bytes = Vec::new();
        for cycles in [0, 0, 5] {
            for _ in 0..cycles {
                drop(conn);
                assert_eq!(pool.status().available, 1, "it goes back at once");
                conn = pool.get().await.unwrap();
            }
            bytes.push(conn.ask(BYTES).await.unwrap().parse::<u64>().unwrap());
        }
        assert_eq!(
            bytes[2] - bytes[1],
            bytes[1] - bytes[0],
            "the server hears the question and nothing else"
        );
        assert_eq!((conn.slot().id(), cleaned(&pool)), (id, 0));
    });
}

#[test]
fn a_result_that_was_not_read_to_its_end_is_nothing_to_the_next_user() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        for reset in MODES {
            let pool = pool(cluster, reset);
            for sql in ["SELECT 1; BLABLA", "SELECT 1; INSERT INTO log SELECT 1; BLABLA", "CALL two()"] {
                for reads in 0..3 {
                    let mut conn = pool.get().await.unwrap();
                    let mut result = conn.query_iter(sql).await.unwrap();
                    for _ in 0..reads {
                        let _ = result.next().await;
                    }
                    drop(result);
                    drop(conn);
                    let next = pool.get().await.unwrap().query_first::<u32, _>("SELECT 7").await.unwrap();
                    assert_eq!(next, Some(7), "{reset:?} {sql} {reads}");
                    let mut admin = cluster.admin::<MySql>("instance-1").await;
                    admin.run("DELETE FROM log").await.unwrap();
                    drop(admin);
                    next_write_is_kept(cluster, &pool, &format!("{reset:?} {sql} {reads}")).await;
                }
            }
        }
    });
}

#[test]
fn a_result_that_is_too_long_to_be_read_costs_the_connection() {
    on_cluster::<MySql>(1, async |cluster| {
        let connector = cluster.connector::<MySql>(&[("pool_recycle_timeout_ms", "500")]);
        let pool = Pool::builder(connector).max_size(1).build().unwrap();
        let mut conn = pool.get().await.unwrap();
        let id = conn.slot().id();
        let endless = "SELECT 1 UNION ALL SELECT SLEEP(3) UNION ALL SELECT SLEEP(30)";
        drop(conn.query_iter(format!("SELECT 1; {endless}")).await.unwrap());
        drop(conn);
        let mut next = pool.get().await.unwrap();
        assert_ne!(next.slot().id(), id);
        assert_eq!(next.query_first::<u32, _>("SELECT 7").await.unwrap(), Some(7));
        assert_eq!(pool.status().sub_pools[0].discarded.get("transaction"), Some(&1), "{:?}", pool.status());
    });
}

#[test]
fn a_procedure_that_begins_and_fails_does_not_swallow_the_next_write() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        for reset in MODES {
            let pool = pool(cluster, reset);
            let mut conn = pool.get().await.unwrap();
            conn.run("CALL fails()").await.unwrap_err();
            drop(conn);
            next_write_is_kept(cluster, &pool, &format!("{reset:?} run")).await;
            let mut conn = pool.get().await.unwrap();
            conn.exec_drop("CALL fails()", ()).await.unwrap_err();
            drop(conn);
            next_write_is_kept(cluster, &pool, &format!("{reset:?} exec")).await;
        }
    });
}

#[test]
fn what_the_driver_did_on_a_connection_it_was_lent_is_not_known() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        for reset in MODES {
            let pool = pool(cluster, reset);
            let mut conn = pool.get().await.unwrap();
            "CALL fails()".ignore(&mut *conn).await.unwrap_err();
            drop(conn);
            next_write_is_kept(cluster, &pool, &format!("{reset:?}")).await;
            let mut conn = pool.get().await.unwrap();
            "SET @mine = 1".ignore(&mut *conn).await.unwrap();
            drop(conn);
            let mine = pool.get().await.unwrap().ask("SELECT @mine").await.unwrap();
            assert_eq!(mine.is_empty(), reset != PoolReset::Never, "{reset:?}");
        }
    });
}

#[test]
fn another_user_is_never_handed_on() {
    on_cluster::<MySql>(2, async |cluster| {
        set_up(cluster).await;
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        admin.run("CREATE USER other@'%' IDENTIFIED BY 'secret'").await.unwrap();
        admin.run("GRANT ALL ON app.* TO other@'%'").await.unwrap();
        let other = || {
            ChangeUserOpts::default().with_user(Some("other".to_owned())).with_pass(Some("secret".to_owned()))
        };
        const WHO: &str = "SELECT substring_index(current_user(), '@', 1)";
        let pool = pool(cluster, PoolReset::Auto);
        let mut conn = pool.writer().await.unwrap();
        conn.change_user(other()).await.unwrap();
        assert_eq!(conn.ask(WHO).await.unwrap(), "other");
        drop(conn);
        let mut conn = pool.writer().await.unwrap();
        assert_eq!(conn.ask(WHO).await.unwrap(), "app");
        // It stays another user when the connection is replaced.
        conn.change_user(other()).await.unwrap();
        cluster.replace_writer().await;
        conn.ask(WHO).await.unwrap_err();
        assert_eq!(conn.ask(WHO).await.unwrap(), "other");
        drop(conn);
        assert_eq!(pool.writer().await.unwrap().ask(WHO).await.unwrap(), "app");
        let discarded = pool.status().sub_pools[0].discarded.get("session").copied();
        assert_eq!(discarded, Some(2), "{:?}", pool.status());
    });
}

/// What is done to a connection that took the place of a lost one is not watched from its beginning.
#[test]
fn a_database_that_was_entered_after_a_failover_is_not_handed_on() {
    on_cluster::<MySql>(2, async |cluster| {
        set_up(cluster).await;
        let pool = pool(cluster, PoolReset::Auto);
        let mut conn = pool.writer().await.unwrap();
        cluster.replace_writer().await;
        conn.ask("SELECT 1").await.unwrap_err();
        conn.run("USE mysql").await.unwrap();
        assert_eq!(conn.ask("SELECT DATABASE()").await.unwrap(), "mysql");
        drop(conn);
        assert_eq!(pool.writer().await.unwrap().ask("SELECT DATABASE()").await.unwrap(), "app");
    });
}

/// All variables of a session but those that tell sessions apart.
async fn variables(conn: &mut aws_wrapper_mysql::Conn) -> BTreeMap<String, String> {
    let all = conn.query::<(String, String), _>("SHOW SESSION VARIABLES").await.unwrap();
    let own = ["pseudo_thread_id", "timestamp", "rand_seed1", "rand_seed2", "statement_id"];
    all.into_iter().filter(|(name, _)| !own.contains(&name.as_str())).collect()
}

#[test]
fn a_cleaned_session_is_that_of_a_new_connection() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        let options = OptsBuilder::default()
            .init(vec!["SET net_read_timeout = 77, time_zone = '+01:00'"])
            .setup(vec!["SET time_zone = '+02:00'"]);
        let host = cluster.endpoint();
        let builder = aws_wrapper_mysql::Connector::builder().driver_config(options).host(&host);
        let builder = builder.port(cluster.port()).user("app").password("secret").database("app");
        let connector = builder.services(cluster.services()).build().unwrap();
        let mut fresh = connector.connect().await.unwrap();
        let expected = variables(&mut fresh).await;
        assert_eq!((&*expected["net_read_timeout"], &*expected["time_zone"]), ("77", "+02:00"));
        let pool =
            Pool::builder(connector).max_size(1).recycle_timeout(Duration::from_secs(10)).build().unwrap();
        let mut conn = pool.get().await.unwrap();
        let id = conn.slot().id();
        conn.run(
            "SET NAMES latin1, sql_mode = '', autocommit = 0, time_zone = '+05:00', net_read_timeout = 3",
        )
        .await
        .unwrap();
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        let now = variables(&mut conn).await;
        let others: Vec<_> = now.iter().filter(|(name, value)| expected.get(*name) != Some(*value)).collect();
        assert!(others.is_empty(), "{others:?}");
        assert_eq!((conn.slot().id(), cleaned(&pool)), (id, 1));
    });
}

#[test]
fn a_statement_outlives_the_reset_of_its_connection() {
    on_cluster::<MySql>(1, async |cluster| {
        let pool = pool(cluster, PoolReset::Always);
        let mut conn = pool.get().await.unwrap();
        let statement = conn.prep("SELECT ? + 1").await.unwrap();
        for number in 0..3_u32 {
            let sum: Option<u32> = conn.exec_first(&statement, (number,)).await.unwrap();
            assert_eq!(sum, Some(number + 1));
            drop(conn);
            conn = pool.get().await.unwrap();
        }
        assert_eq!(cleaned(&pool), 3);
    });
}

#[test]
fn what_was_put_aside_for_the_next_call_is_not_for_the_next_user() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        let pool = pool(cluster, PoolReset::Never);
        let mut conn = pool.get().await.unwrap();
        conn.run("CREATE TEMPORARY TABLE numbered (id int AUTO_INCREMENT PRIMARY KEY)").await.unwrap();
        conn.run("INSERT INTO numbered VALUES (NULL)").await.unwrap();
        assert_eq!(conn.last_insert_id(), Some(1));
        conn.set_infile_handler(async { panic!("nobody else asks for this") });
        // Its object is leaked, and with it the knowledge that it has not ended.
        Box::leak(Box::new(conn.start_transaction(TxOpts::default()).await.unwrap()));
        drop(conn);
        let mut conn = pool.get().await.unwrap();
        assert_eq!((conn.last_insert_id(), conn.affected_rows()), (None, 0));
        conn.start_transaction(TxOpts::default()).await.unwrap().commit().await.unwrap();
        let error = conn.run("LOAD DATA LOCAL INFILE 'x' INTO TABLE log").await.unwrap_err();
        assert!(!error.to_string().contains("nobody else"), "{error:?}");
    });
}

#[test]
fn a_distributed_transaction_is_not_handed_on() {
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        for reset in MODES {
            let pool = pool(cluster, reset);
            for statements in
                [&["XA START 'x'"][..], &["XA START 'x'", "INSERT INTO log VALUES (1)", "XA END 'x'"]]
            {
                let mut conn = pool.get().await.unwrap();
                for sql in statements {
                    conn.run(sql).await.unwrap();
                }
                drop(conn);
                next_write_is_kept(cluster, &pool, &format!("{reset:?} {statements:?}")).await;
            }
        }
    });
}

/// The server's reset leaves database and roles as they are, and not every text shows that they are changed.
#[test]
fn a_database_or_role_that_was_chosen_unseen_is_not_handed_on() {
    const WHERE: &str = "SELECT CONCAT_WS('/', COALESCE(DATABASE(), '-'), CURRENT_ROLE())";
    on_cluster::<MySql>(1, async |cluster| {
        set_up(cluster).await;
        let mut admin = cluster.admin::<MySql>("instance-1").await;
        for sql in [
            "CREATE ROLE own, other",
            "GRANT own, other TO app@'%'",
            "SET DEFAULT ROLE own TO app@'%'",
            "CREATE PROCEDURE app.becomes() SQL SECURITY INVOKER SET ROLE other",
        ] {
            admin.run(sql).await.unwrap();
        }
        for activates_all in ["OFF", "ON"] {
            admin.run(&format!("SET GLOBAL activate_all_roles_on_login = {activates_all}")).await.unwrap();
            for database in ["app", ""] {
                let host = cluster.endpoint();
                let mut builder = aws_wrapper_mysql::Connector::builder().host(&host).port(cluster.port());
                builder = builder.user("app").password("secret").services(cluster.services());
                if !database.is_empty() {
                    builder = builder.database(database);
                }
                let connector = builder.build().unwrap();
                let expected = connector.connect().await.unwrap().ask(WHERE).await.unwrap();
                let pool = Pool::builder(connector).max_size(1).recycle_timeout(Duration::from_secs(10));
                let pool = pool.build().unwrap();
                for sql in ["USE mysql", "CALL app.becomes()", "SET ROLE other"] {
                    let mut conn = pool.get().await.unwrap();
                    sql.ignore(&mut *conn).await.unwrap();
                    assert_ne!(conn.ask(WHERE).await.unwrap(), expected, "{sql}");
                    drop(conn);
                    let now = pool.get().await.unwrap().ask(WHERE).await.unwrap();
                    assert_eq!(now, expected, "{activates_all} {sql}");
                }
                let discarded = pool.status().sub_pools[0].discarded.get("session").copied().unwrap_or(0);
                assert_eq!(discarded, u64::from(database.is_empty()), "{activates_all} {:?}", pool.status());
            }
        }
    });
}
