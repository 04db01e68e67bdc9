//! What one user of a pool leaves behind never reaches the next, and who leaves nothing pays nothing.

use std::sync::Arc;
use std::time::Duration;

use aurora_sim::Engine;
use aws_wrapper_deadpool::deadpool::managed::{Hook, HookError};
use aws_wrapper_deadpool::{Manager, Pool, PoolReset};
use integration_tests::{Adapter, Session, TestCluster, eventually, on_cluster, spawn};

use super::Driver;

type Pooled = <Driver as Adapter>::Pooled;
type DriverSession = <Driver as Adapter>::Session;

const LIMIT: Duration = Duration::from_secs(10);
const MODES: [PoolReset; 3] = [PoolReset::Auto, PoolReset::Always, PoolReset::Never];

/// What a user does, and what shows it.
const TRACES: &[(&str, &str)] = match Driver::ENGINE {
    Engine::Postgres => &[
        ("SET search_path = pg_catalog", "SHOW search_path"),
        ("SELECT set_config('application_name', 'mine', false)", "SHOW application_name"),
        (
            "DO $$BEGIN PERFORM set_config('my.tenant', '7', false); END$$",
            "SELECT current_setting('my.tenant', true)",
        ),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY", "SHOW default_transaction_read_only"),
        ("SET ROLE other", "SELECT current_user"),
        ("CREATE TEMP TABLE mine (a int)", "SELECT to_regclass('pg_temp.mine')"),
        ("CREATE TEMP TABLE log (a text)", "SELECT count(*) FROM log WHERE id = 0"),
        ("SELECT pg_advisory_lock(7)", "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"),
        (
            "SELECT count(pg_advisory_lock(id)) FROM log",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
        ),
        ("LISTEN news", "SELECT count(*) FROM pg_listening_channels()"),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT count(*) FROM pg_cursors WHERE name = 'c'"),
    ],
    Engine::MySql => &[
        ("SET autocommit = 0", "SELECT @@autocommit"),
        ("LOCK TABLES log READ", "SELECT count(*) FROM other_table"),
        ("CREATE TEMPORARY TABLE mine (a int)", "SELECT count(*) FROM mine"),
        ("CREATE TEMPORARY TABLE log (a int)", "SELECT count(id) FROM log WHERE id = 0"),
        ("SET @mine = 1", "SELECT @mine"),
        ("SELECT @mine := 2", "SELECT @mine"),
        ("SELECT 3 INTO @mine", "SELECT @mine"),
        ("SELECT GET_LOCK('mine', 1)", "SELECT IS_USED_LOCK('mine')"),
        ("SET sql_mode = ''", "SELECT @@sql_mode"),
        ("SET NAMES latin1", "SELECT @@character_set_client"),
        ("SET time_zone = '+05:00'", "SELECT @@time_zone"),
        ("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE", "SELECT @@transaction_isolation"),
        ("SET TRANSACTION READ ONLY", "SELECT count(*) FROM log WHERE id = 0 FOR UPDATE"),
        ("USE other", "SELECT DATABASE()"),
        ("SELECT 1; USE other", "SELECT DATABASE()"),
        ("SET ROLE other", "SELECT CURRENT_ROLE()"),
        ("SELECT LAST_INSERT_ID(42)", "SELECT LAST_INSERT_ID()"),
        ("HANDLER log OPEN", "SELECT 1"),
        ("XA START 'mine'", "SELECT count(*) FROM log WHERE id = 0"),
        ("CALL sets()", "SELECT @mine"),
    ],
    _ => &[],
};

/// What stands in the way of the next user's write, if it is handed on.
const OPEN_WORK: &[&[&str]] = match Driver::ENGINE {
    Engine::Postgres => &[
        &["BEGIN", "INSERT INTO log VALUES (1)"],
        &["BEGIN", "INSERT INTO log VALUES (1)", "SELECT 1/0"],
        &["BEGIN", "SELECT 1/0", "SAVEPOINT a"],
        &["START TRANSACTION READ ONLY"],
    ],
    Engine::MySql => &[
        &["BEGIN", "INSERT INTO log VALUES (1)"],
        &["START TRANSACTION READ ONLY"],
        &["SET autocommit = 0", "INSERT INTO log VALUES (1)", "SET autocommit = 0"],
        &["CALL begins()"],
        &["BEGIN; INSERT INTO log VALUES (1); COMMIT AND CHAIN"],
    ],
    _ => &[],
};

/// A pool with one connection, which is not given up because the machine is busy.
fn pool(cluster: &TestCluster, reset: PoolReset) -> Pool<Pooled> {
    let builder = Pool::builder(cluster.connector::<Driver>(&[])).max_size(1).reset(reset);
    builder.recycle_timeout(LIMIT).build().unwrap()
}

fn cleaned(pool: &Pool<Pooled>) -> u64 {
    pool.status().sub_pools.iter().map(|sub| sub.cleaned).sum()
}

/// Tables, procedures and roles that the statements above use.
async fn set_up(cluster: &TestCluster) {
    cluster.log_table::<Driver>().await;
    let mut admin = cluster.admin::<Driver>("instance-1").await;
    let statements: &[&str] = match Driver::ENGINE {
        Engine::Postgres => &["CREATE ROLE other", "GRANT other TO app"],
        _ => &[
            "CREATE TABLE app.other_table (id int)",
            "CREATE DATABASE other",
            "CREATE ROLE other",
            "GRANT ALL ON other.* TO other",
            "GRANT ALL ON *.* TO app@'%'",
            "GRANT other TO app@'%'",
            "CREATE PROCEDURE app.sets() SET @mine = 4",
            "CREATE PROCEDURE app.begins() BEGIN START TRANSACTION; INSERT INTO log VALUES (1); END",
        ],
    };
    for statement in statements {
        admin.run(statement).await.unwrap();
    }
    admin.run("INSERT INTO log VALUES (0)").await.unwrap();
}

/// What the server says, errors too.
async fn answer(session: &mut DriverSession, sql: &str) -> String {
    match session.ask(sql).await {
        Ok(text) => text,
        Err(error) => format!("{:?} {:?}", error.sqlstate(), error.vendor_code()),
    }
}

#[test]
fn what_one_user_did_to_the_session_never_reaches_the_next() {
    on_cluster::<Driver>(1, async |cluster| {
        set_up(cluster).await;
        let fresh = cluster.connector::<Driver>(&[("plugins", "none")]);
        for reset in [PoolReset::Auto, PoolReset::Always] {
            let pool = pool(cluster, reset);
            for (sql, shown_by) in TRACES {
                let mut expected = Driver::connect(&fresh).await.unwrap();
                let expected = answer(&mut expected, shown_by).await;
                let mut session = pool.get().await.unwrap();
                session.run(sql).await.unwrap();
                drop(session);
                let mut next = pool.get().await.unwrap();
                assert_eq!(answer(&mut next, shown_by).await, expected, "{reset:?} {sql}");
            }
        }
    });
}

#[test]
fn a_pool_that_resets_nothing_keeps_settings() {
    on_cluster::<Driver>(1, async |cluster| {
        set_up(cluster).await;
        let pool = pool(cluster, PoolReset::Never);
        let (sql, shown_by) = TRACES[0];
        let mut session = pool.get().await.unwrap();
        let before = answer(&mut session, shown_by).await;
        session.run(sql).await.unwrap();
        drop(session);
        assert_ne!(answer(&mut pool.get().await.unwrap(), shown_by).await, before);
    });
}

#[test]
fn open_work_of_one_user_never_swallows_a_write_of_the_next() {
    on_cluster::<Driver>(1, async |cluster| {
        set_up(cluster).await;
        let mut admin = cluster.admin::<Driver>("instance-1").await;
        for reset in MODES {
            let pool = pool(cluster, reset);
            for statements in OPEN_WORK {
                let mut session = pool.get().await.unwrap();
                for sql in *statements {
                    let _ = session.run(sql).await;
                }
                drop(session);
                let mut next = pool.get().await.unwrap();
                assert_eq!(
                    next.run("INSERT INTO log VALUES (2)").await.unwrap(),
                    1,
                    "{reset:?} {statements:?}"
                );
                // Not given back: what the next user does must not depend on that.
                drop(aws_wrapper_deadpool::Object::take(next));
                let rows = admin.ask("SELECT sum(id) FROM log").await.unwrap();
                let is_kept_anyway = statements.concat().contains("COMMIT");
                let expected = if is_kept_anyway { "3" } else { "2" };
                if !statements.concat().contains("autocommit") || reset != PoolReset::Never {
                    assert_eq!(rows, expected, "{reset:?} {statements:?}");
                }
                admin.run("DELETE FROM log WHERE id > 0").await.unwrap();
            }
        }
    });
}

#[test]
fn who_waits_for_the_only_connection_gets_it_when_it_is_clean() {
    on_cluster::<Driver>(1, async |cluster| {
        set_up(cluster).await;
        let pool = pool(cluster, PoolReset::Auto);
        let mut session = pool.get().await.unwrap();
        let id = session.slot().id();
        session.run("BEGIN").await.unwrap();
        session.run("INSERT INTO log VALUES (1)").await.unwrap();
        session.run(TRACES[0].0).await.unwrap();
        let waiting = spawn({
            let pool = pool.clone();
            async move {
                let mut next = pool.get().await.unwrap();
                (next.slot().id(), next.ask("SELECT count(*) FROM log").await.unwrap())
            }
        });
        eventually(LIMIT, "it waits", async || pool.status().waiting == 1).await;
        drop(session);
        assert_eq!(waiting.await.unwrap(), (id, "1".to_owned()));
    });
}

/// A server that is read from refuses some of what the writer does.
#[test]
fn connections_to_readers_are_cleaned_too() {
    on_cluster::<Driver>(2, async |cluster| {
        let pool = pool(cluster, PoolReset::Auto);
        let (sql, shown_by) = TRACES[0];
        let mut session = pool.reader().await.unwrap();
        let (id, before) = (session.slot().id(), answer(&mut session, shown_by).await);
        session.run("BEGIN").await.unwrap();
        session.run(sql).await.unwrap();
        drop(session);
        let mut session = pool.reader().await.unwrap();
        assert_eq!((session.slot().id(), answer(&mut session, shown_by).await), (id, before));
        assert_eq!(cleaned(&pool), 1);
    });
}

#[test]
fn what_a_hook_set_belongs_to_the_clean_session() {
    let (sets, changes, shown_by) = match Driver::ENGINE {
        Engine::Postgres => {
            ("SET search_path = app, public", "SET search_path = pg_catalog", "SHOW search_path")
        }
        _ => ("SET time_zone = '+01:00'", "SET time_zone = '+02:00'", "SELECT @@time_zone"),
    };
    on_cluster::<Driver>(3, async |cluster| {
        let hook = Hook::<Manager<Pooled>>::async_fn(move |pooled, _| {
            Box::pin(async move {
                let session: &mut DriverSession = pooled;
                let done = session.run(sets).await;
                done.map(drop).map_err(|error| HookError::Backend(Arc::new(error)))
            })
        });
        let connector = cluster.connector::<Driver>(&[]);
        let builder = Pool::<Pooled>::builder(connector).max_size(1).recycle_timeout(LIMIT);
        let pool = builder.post_create(hook).build().unwrap();
        let mut session = pool.writer().await.unwrap();
        let expected = session.ask(shown_by).await.unwrap();
        drop(session);
        assert_eq!(cleaned(&pool), 0, "the hook's own change is none");
        let mut session = pool.writer().await.unwrap();
        session.run(changes).await.unwrap();
        assert_ne!(session.ask(shown_by).await.unwrap(), expected);
        drop(session);
        let mut session = pool.writer().await.unwrap();
        assert_eq!((session.ask(shown_by).await.unwrap(), cleaned(&pool)), (expected.clone(), 1));

        // A connection that took the place of a lost one has not seen the hook.
        cluster.replace_writer().await;
        assert!(session.who().await.unwrap_err().is_failover_success());
        assert_ne!(session.ask(shown_by).await.unwrap(), expected);
        let id = session.slot().id();
        drop(session);
        let mut session = pool.writer().await.unwrap();
        assert_eq!((session.slot().id(), session.ask(shown_by).await.unwrap()), (id, expected));
    });
}

/// Ends every session of the application's user but the administrator's own.
async fn kill_all(admin: &mut DriverSession) {
    match Driver::ENGINE {
        Engine::Postgres => {
            let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";
            admin.ask(sql).await.unwrap();
        }
        _ => loop {
            let sql = "SELECT id FROM information_schema.processlist WHERE user = 'app' LIMIT 1";
            let id = admin.ask(sql).await.unwrap();
            if id.is_empty() {
                return;
            }
            let _ = admin.run(&format!("KILL {id}")).await;
        },
    }
}

#[test]
fn idle_connections_that_are_ended_together_cost_at_most_one_error() {
    const COUNT: usize = 6;
    for plugins in ["none", "failover"] {
        on_cluster::<Driver>(1, async |cluster| {
            let mut admin = cluster.admin::<Driver>("instance-1").await;
            let connector = cluster.connector::<Driver>(&[("plugins", plugins)]);
            let pool = Pool::<Pooled>::builder(connector)
                .max_size(COUNT)
                .idle_check_after(Duration::from_secs(3600))
                .build()
                .unwrap();
            for is_restart in [false, true] {
                let mut objects = Vec::new();
                for _ in 0..COUNT {
                    objects.push(pool.get().await.unwrap());
                }
                drop(objects);
                assert_eq!(pool.status().available, COUNT);
                if is_restart {
                    cluster.restart("instance-1").await.unwrap();
                } else {
                    kill_all(&mut admin).await;
                }
                let mut errors = Vec::new();
                for _ in 0..2 * COUNT {
                    let mut session = pool.get().await.unwrap();
                    if let Err(error) = session.ask("SELECT 1").await {
                        errors.push(error);
                    }
                }
                assert!(errors.len() <= 1, "{plugins} {is_restart}: {errors:#?}");
            }
        });
    }
}
