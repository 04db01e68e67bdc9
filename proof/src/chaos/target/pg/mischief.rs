//! Mischief with tokio-postgres.

use std::pin::pin;

use aws_wrapper_core::Result;
use aws_wrapper_core::host::Role;
use aws_wrapper_core::retry::RetryPolicy;
use aws_wrapper_deadpool::pg::Pg;
use aws_wrapper_deadpool::{Error as PoolError, Pool};
use aws_wrapper_pg::{Client, Error};
use futures_util::{Stream, StreamExt};
use tokio_postgres::types::ToSql;

use super::INSERT;
use crate::chaos::history::Stage;
use crate::chaos::target::mischief::{Mischief, Procedure, Way, ignore_own};

impl Mischief for Pg {
    const TOOLS: &'static [&'static str] = &[
        "create function chaos_raise(code text) returns int language plpgsql as $$ \
         begin raise exception 'chaos_mischief' using errcode = code; end $$",
        "create function chaos_at(i int) returns int language plpgsql as $$ \
         begin if i > 5000 then raise exception 'chaos_mischief'; end if; return i; end $$",
        "create function chaos_soil() returns text language sql as \
         $$ select set_config('chaos.mark', 'x', false) $$",
        "create procedure chaos_fails(id bigint) language plpgsql as $$ begin \
         insert into chaos values (id, pg_catalog.aurora_db_instance_identifier()); \
         raise exception 'chaos_mischief'; end $$",
        "create procedure chaos_halves(id bigint) language plpgsql as $$ begin \
         insert into chaos values (id, pg_catalog.aurora_db_instance_identifier()); commit; \
         insert into chaos values (id + 1, pg_catalog.aurora_db_instance_identifier()); \
         raise exception 'chaos_mischief'; end $$",
    ];
    const PROCEDURES: &'static [Procedure] = &[
        Procedure { sql: "call chaos_fails({id})", rows: &[Stage::Doomed], is_dropped: false },
        // The first row may stay: the procedure commits it.
        Procedure { sql: "call chaos_halves({id})", rows: &[Stage::Alone, Stage::Doomed], is_dropped: false },
    ];
    const UNREAD: usize = 5;
    const FOREIGN: &'static [&'static str] = &[
        "select chaos_raise('08006')",
        "select chaos_raise('08001')",
        "select chaos_raise('08003')",
        "select chaos_raise('08P01')",
        "select chaos_raise('57P01')",
        "select chaos_raise('57P02')",
        "select chaos_raise('28P01')",
        "select chaos_raise('22012')",
        "select * from chaos_mischief",
    ];
    const DIRT: &'static [&'static str] = &[
        "set chaos.mark = 'x'",
        "select pg_catalog.set_config('chaos.mark', 'x', false)",
        "select chaos_soil()",
        "do $$ begin perform set_config('chaos.mark', 'x', false); end $$",
        "begin; set chaos.mark = 'x'; commit",
        "select pg_try_advisory_lock(4711)",
        "with held as (select pg_try_advisory_lock(4711)) select * from held",
        "select count(pg_try_advisory_lock(i)) from generate_series(1, 3) i",
        "set search_path = pg_catalog",
        "set default_transaction_read_only = on",
        "set session characteristics as transaction isolation level repeatable read",
        "declare chaos_dirty cursor with hold for select 1",
        "create temporary table chaos_dirty (i int)",
        "select 1 as i into temporary chaos_dirty",
        "listen chaos_dirty",
    ];
    const READER_DIRT: usize = 12;
    const OPEN: &'static [&'static str] = &[
        "begin; insert into chaos values ({id}, 'nobody')",
        "begin; commit and chain; insert into chaos values ({id}, 'nobody')",
        "start transaction; insert into chaos values ({id}, 'nobody'); savepoint deep",
        "begin; insert into chaos values ({id}, 'nobody'); select chaos_raise('08006')",
        "begin; select pg_try_advisory_xact_lock(4711); insert into chaos values ({id}, 'nobody')",
    ];

    async fn ignore_failure(
        client: &mut Client,
        id: i64,
        way: Way,
        fails: &str,
        stage: &mut Stage,
    ) -> Result<()> {
        *stage = Stage::Begin;
        match way {
            Way::Object => {
                let transaction = client.transaction().await?;
                *stage = Stage::Open;
                transaction.execute(INSERT, &[&id]).await?;
                let _ = transaction.query(fails, &[]).await;
                let _ = transaction.execute(INSERT, &[&(id + 1)]).await;
                *stage = Stage::Commit;
                Ok(transaction.commit().await?)
            }
            Way::Savepoint => {
                let mut transaction = client.transaction().await?;
                *stage = Stage::Open;
                transaction.execute(INSERT, &[&id]).await?;
                let savepoint = transaction.savepoint("chaos").await?;
                let _ = savepoint.query(fails, &[]).await;
                savepoint.rollback().await?;
                transaction.execute(INSERT, &[&(id + 1)]).await?;
                *stage = Stage::Commit;
                Ok(transaction.commit().await?)
            }
            Way::Text => {
                client.batch_execute("begin").await?;
                *stage = Stage::Open;
                insert(client, id).await?;
                // With the session the transaction would be lost, and the rest run outside of one.
                ignore_own(client.batch_execute(fails).await.map_err(Error::into_core))?;
                ignore_own(insert(client, id + 1).await.map_err(Error::into_core))?;
                *stage = Stage::Commit;
                Ok(client.batch_execute("commit").await?)
            }
            Way::Helper => {
                *stage = Stage::Helped;
                let helped = client
                    .retry_transaction(RetryPolicy::default(), |transaction| async move {
                        insert(&transaction, id).await?;
                        let _ = transaction.query(fails, &[]).await;
                        let _ = insert(&transaction, id + 1).await;
                        Ok(())
                    })
                    .await;
                Ok(helped?)
            }
        }
    }

    async fn drop_stream(client: &mut Client, id: i64, stage: &mut Stage) -> Result<()> {
        *stage = Stage::Begin;
        let transaction = client.transaction().await?;
        *stage = Stage::Open;
        transaction.execute(INSERT, &[&id]).await?;
        let rows = "select chaos_at(i) from generate_series(1, 10000) i";
        begin_to_read(transaction.query_raw(rows, NONE).await?).await?;
        *stage = Stage::Commit;
        Ok(transaction.commit().await?)
    }

    async fn call(client: &mut Client, sql: &str, _is_dropped: bool) -> Result<()> {
        Ok(client.batch_execute(sql).await?)
    }

    async fn retry_insert(client: &mut Client, id: i64) -> Result<()> {
        let policy = RetryPolicy::default();
        Ok(client.retry_statement(policy, |client| async move { insert(&client, id).await }).await?)
    }

    async fn retry_in_pool(pool: &Pool<Self>, id: i64) -> std::result::Result<(), PoolError> {
        pool.run(Role::Writer, RetryPolicy::default(), |mut client| async move {
            let transaction = client.transaction().await?;
            transaction.execute(INSERT, &[&id]).await?;
            transaction.execute(INSERT, &[&(id + 1)]).await?;
            transaction.commit().await
        })
        .await
    }

    async fn leave_unread(client: &mut Client, way: usize) -> Result<()> {
        const MANY: &str = "select i, repeat('x', 100) from generate_series(1, 20000) i";
        let read = match way {
            0 => begin_to_read(client.query_raw(MANY, NONE).await?).await,
            1 => begin_to_read(client.simple_query_raw(MANY).await?).await,
            2 => {
                let text = "select 1; select * from chaos_mischief";
                begin_to_read(client.simple_query_raw(text).await?).await
            }
            3 => {
                let failing = "select chaos_at(i), repeat('x', 100) from generate_series(1, 10000) i";
                begin_to_read(client.query_raw(failing, NONE).await?).await
            }
            _ => begin_to_read(client.copy_out(format!("copy ({MANY}) to stdout").as_str()).await?).await,
        };
        Ok(read?)
    }

    async fn run(client: &mut Client, sql: &str, is_prepared: bool) -> Result<()> {
        if is_prepared && !sql.contains(';') {
            client.query(sql, &[]).await?;
        } else {
            client.batch_execute(sql).await?;
        }
        Ok(())
    }

    async fn abandon(client: &mut Client, id: i64) -> Result<()> {
        let transaction = client.transaction().await?;
        transaction.execute(INSERT, &[&id]).await?;
        Ok(())
    }
}

const NONE: [&(dyn ToSql + Sync); 0] = [];

async fn insert(client: &Client, id: i64) -> Result<(), Error> {
    client.execute(INSERT, &[&id]).await.map(drop)
}

/// Takes an item or two.
async fn begin_to_read<T>(stream: impl Stream<Item = Result<T, Error>>) -> Result<(), Error> {
    let mut stream = pin!(stream);
    for _ in 0..2 {
        if let Some(item) = stream.next().await {
            item?;
        }
    }
    Ok(())
}
