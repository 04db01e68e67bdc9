//! Mischief with `mysql_async`.

use aws_wrapper_core::Result;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::mysql::MySql;
use aws_wrapper_deadpool::{Error as PoolError, Pool};
use aws_wrapper_mysql::Conn;
use aws_wrapper_mysql::mysql_async::prelude::{Protocol, Queryable};
use aws_wrapper_mysql::mysql_async::{self, Row, TxOpts};

use super::{INSERT, core};
use crate::chaos::history::Stage;
use crate::chaos::target::mischief::{Mischief, Procedure, Way, ignore_own};

impl Mischief for MySql {
    const TOOLS: &'static [&'static str] = &[
        "create table chaos_dirty (is_temporary int not null)",
        "insert into chaos_dirty values (0)",
        "create table chaos_locked (i int)",
        // What a session sees of itself here was inserted by a transaction that it has still open.
        "create table chaos_open (session bigint not null, index (session))",
        "create function chaos_at(i int) returns int deterministic no sql begin \
         if i > 800 then signal sqlstate '45000' set message_text = 'chaos_mischief'; end if; return i; end",
        "create function chaos_soil() returns int deterministic no sql begin set @chaos = 1; return 1; end",
        "create procedure chaos_signal(number int) begin case number \
         when 1 then signal sqlstate '08S01' set message_text = 'chaos_mischief'; \
         when 2 then signal sqlstate '28000' set message_text = 'chaos_mischief'; \
         when 3 then signal sqlstate '08S01' set message_text = 'chaos_mischief', mysql_errno = 1053; \
         when 4 then signal sqlstate '08S01' set message_text = 'chaos_mischief', mysql_errno = 1158; \
         when 5 then signal sqlstate '08S01' set message_text = 'chaos_mischief', mysql_errno = 3169; \
         when 6 then signal sqlstate '28000' set message_text = 'chaos_mischief', mysql_errno = 1045; \
         when 7 then signal sqlstate '70100' set message_text = 'chaos_mischief', mysql_errno = 1927; \
         else signal sqlstate '45000' set message_text = 'chaos_mischief'; end case; end",
        "create procedure chaos_fails(id bigint) begin start transaction; \
         insert into chaos_open values (connection_id()); \
         insert into chaos values (id, @@aurora_server_id); \
         signal sqlstate '45000' set message_text = 'chaos_mischief'; end",
        "create procedure chaos_loses(id bigint) begin start transaction; \
         insert into chaos_open values (connection_id()); \
         insert into chaos values (id, @@aurora_server_id); \
         signal sqlstate '08S01' set message_text = 'chaos_mischief'; end",
        "create procedure chaos_two(id bigint) begin select 1 union all select 2; start transaction; \
         insert into chaos_open values (connection_id()); \
         insert into chaos values (id, @@aurora_server_id); end",
        "create procedure chaos_halves(id bigint) begin \
         insert into chaos values (id, @@aurora_server_id); start transaction; \
         insert into chaos_open values (connection_id()); \
         insert into chaos values (id + 1, @@aurora_server_id); \
         signal sqlstate '45000' set message_text = 'chaos_mischief'; end",
    ];
    const PROCEDURES: &'static [Procedure] = &[
        Procedure { sql: "call chaos_fails({id})", rows: &[Stage::Doomed], is_dropped: false },
        Procedure { sql: "call chaos_loses({id})", rows: &[Stage::Doomed], is_dropped: false },
        Procedure { sql: "call chaos_two({id})", rows: &[Stage::Doomed], is_dropped: true },
        // The first row may stay: it commits itself.
        Procedure { sql: "call chaos_halves({id})", rows: &[Stage::Alone, Stage::Doomed], is_dropped: false },
    ];
    const UNREAD: usize = 6;
    const FOREIGN: &'static [&'static str] = &[
        "call chaos_signal(0)",
        "call chaos_signal(1)",
        "call chaos_signal(2)",
        "call chaos_signal(3)",
        "call chaos_signal(4)",
        "call chaos_signal(5)",
        "call chaos_signal(6)",
        "call chaos_signal(7)",
        "signal sqlstate '08S01' set message_text = 'chaos_mischief'",
        "select * from chaos_mischief",
    ];
    const DIRT: &'static [&'static str] = &[
        "set @chaos = 1",
        "select @chaos := 1",
        "select 1 into @chaos",
        "do (@chaos := 1)",
        "select chaos_soil()",
        "begin; set @chaos = 1; commit",
        "select get_lock('chaos', 0)",
        "do get_lock('chaos', 0)",
        "set autocommit = 0",
        "set session transaction read only",
        "set session transaction isolation level serializable",
        "set sql_mode = ''",
        "use information_schema",
        "select 1; use information_schema",
        "set transaction read only",
        "lock tables chaos_locked read",
        "create temporary table chaos_dirty as select 1 as is_temporary",
    ];
    const READER_DIRT: usize = 14;
    const OPEN: &'static [&'static str] = &[
        "begin; insert into chaos_open values (connection_id()); insert into chaos values ({id}, 'nobody')",
        "begin; commit and chain; insert into chaos_open values (connection_id()); \
         insert into chaos values ({id}, 'nobody')",
        "start transaction; insert into chaos_open values (connection_id()); \
         insert into chaos values ({id}, 'nobody'); savepoint deep",
        "set autocommit = 0; insert into chaos_open values (connection_id()); \
         insert into chaos values ({id}, 'nobody')",
        "begin; insert into chaos_open values (connection_id()); \
         insert into chaos values ({id}, 'nobody'); call chaos_signal(1)",
        "xa start 'chaos{id}'; insert into chaos_open values (connection_id()); \
         insert into chaos values ({id}, 'nobody')",
    ];

    async fn ignore_failure(
        client: &mut Conn,
        id: i64,
        way: Way,
        fails: &str,
        stage: &mut Stage,
    ) -> Result<()> {
        *stage = Stage::Begin;
        match way {
            Way::Object | Way::Savepoint => {
                let mut transaction = client.start_transaction(TxOpts::default()).await.map_err(core)?;
                *stage = Stage::Open;
                transaction.exec_drop(INSERT, (id,)).await.map_err(core)?;
                if way == Way::Savepoint {
                    transaction.query_drop("savepoint chaos").await.map_err(core)?;
                    let _ = transaction.query_drop(fails).await;
                    transaction.query_drop("rollback to savepoint chaos").await.map_err(core)?;
                } else {
                    let _ = transaction.query_drop(fails).await;
                }
                transaction.exec_drop(INSERT, (id + 1,)).await.map_err(core)?;
                *stage = Stage::Commit;
                transaction.commit().await.map_err(core)
            }
            Way::Text => {
                client.query_drop("begin").await.map_err(core)?;
                *stage = Stage::Open;
                client.exec_drop(INSERT, (id,)).await.map_err(core)?;
                // With the session the transaction would be lost, and the rest run outside of one.
                ignore_own(client.query_drop(fails).await.map_err(core))?;
                client.exec_drop(INSERT, (id + 1,)).await.map_err(core)?;
                *stage = Stage::Commit;
                client.query_drop("commit").await.map_err(core)
            }
            Way::Helper => {
                *stage = Stage::Helped;
                client
                    .retry_transaction(
                        RetryPolicy::default(),
                        TxOpts::default(),
                        |mut transaction| async move {
                            transaction.exec_drop(INSERT, (id,)).await?;
                            let _ = transaction.query_drop(fails).await;
                            transaction.exec_drop(INSERT, (id + 1,)).await
                        },
                    )
                    .await
                    .map_err(core)
            }
        }
    }

    async fn drop_stream(client: &mut Conn, id: i64, stage: &mut Stage) -> Result<()> {
        *stage = Stage::Begin;
        let mut transaction = client.start_transaction(TxOpts::default()).await.map_err(core)?;
        *stage = Stage::Open;
        transaction.exec_drop(INSERT, (id,)).await.map_err(core)?;
        begin_to_read(transaction.query_iter(FAILS_LATE).await.map_err(core)?).await?;
        *stage = Stage::Commit;
        transaction.commit().await.map_err(core)
    }

    async fn call(client: &mut Conn, sql: &str, is_dropped: bool) -> Result<()> {
        if is_dropped {
            begin_to_read(client.query_iter(sql).await.map_err(core)?).await
        } else {
            client.query_drop(sql).await.map_err(core)
        }
    }

    async fn retry_insert(client: &mut Conn, id: i64) -> Result<()> {
        let policy = RetryPolicy::default();
        client
            .retry_statement(policy, |mut conn| async move { conn.exec_drop(INSERT, (id,)).await })
            .await
            .map_err(core)
    }

    async fn retry_in_pool(pool: &Pool<Self>, id: i64) -> std::result::Result<(), PoolError> {
        pool.run(Role::Writer, RetryPolicy::default(), |mut conn| async move {
            let mut transaction = conn.start_transaction(TxOpts::default()).await?;
            transaction.exec_drop(INSERT, (id,)).await?;
            transaction.exec_drop(INSERT, (id + 1,)).await?;
            transaction.commit().await
        })
        .await
    }

    async fn leave_unread(client: &mut Conn, way: usize) -> Result<()> {
        const TWO: &str = "select 1; chaos_mischief";
        const MANY: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) \
                            select i, repeat('x', 100) from n";
        match way {
            0 => begin_to_read(client.query_iter(TWO).await.map_err(core)?).await,
            1 => begin_to_read(client.query_iter(MANY).await.map_err(core)?).await,
            2 => begin_to_read(client.exec_iter(MANY, ()).await.map_err(core)?).await,
            3 => begin_to_read(client.query_iter(FAILS_LATE).await.map_err(core)?).await,
            // The same, read with the driver's own result.
            4 => begin_to_read_driver(client, TWO).await.map_err(core),
            _ => begin_to_read_driver(client, MANY).await.map_err(core),
        }
    }

    async fn run(client: &mut Conn, sql: &str, is_prepared: bool) -> Result<()> {
        if is_prepared && CAN_BE_PREPARED.iter().any(|word| sql.starts_with(word)) && !sql.contains(';') {
            client.exec_drop(sql, ()).await.map_err(core)
        } else {
            client.query_drop(sql).await.map_err(core)
        }
    }

    async fn abandon(client: &mut Conn, id: i64) -> Result<()> {
        let mut transaction = client.start_transaction(TxOpts::default()).await.map_err(core)?;
        transaction.query_drop("insert into chaos_open values (connection_id())").await.map_err(core)?;
        transaction.exec_drop(INSERT, (id,)).await.map_err(core)
    }
}

const CAN_BE_PREPARED: &[&str] = &["set", "select", "do", "create", "call"];
const FAILS_LATE: &str = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 900) \
                          select chaos_at(i), repeat('x', 100) from n";

/// Takes a row.
async fn begin_to_read<P: Protocol>(mut result: aws_wrapper_mysql::QueryResult<'_, P>) -> Result<()> {
    result.next().await.map(drop).map_err(core)
}

async fn begin_to_read_driver(client: &mut impl Queryable, sql: &str) -> mysql_async::Result<()> {
    let mut result = client.query_iter(sql).await?;
    let _: Option<Row> = result.next().await?;
    Ok(())
}
