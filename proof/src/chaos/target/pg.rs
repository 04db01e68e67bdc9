//! aws-wrapper-pg.

mod mischief;

use std::net::SocketAddr;
use std::time::Duration;

use aurora_sim::Engine;
use aws_wrapper_core::Result;
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::pg::Pg;
use aws_wrapper_pg::{Client, Connector, NotificationItem};
use futures_util::StreamExt;
use tokio::task::JoinHandle;
use tokio::time::interval;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::{Admin, Seen, Target};
use crate::chaos::history::Stage;
use crate::driver::AnyError;

const INSERT: &str =
    "insert into chaos (id, accepted_by) values ($1, pg_catalog.aurora_db_instance_identifier())";

/// A transaction is seen by its number or by the lock that [`mischief`] takes in it. A server that is about to become a
/// reader sets `default_transaction_read_only` for all its sessions.
const LOOK: &str = "select $1::bigint, pg_catalog.aurora_db_instance_identifier(), \
    pg_catalog.pg_is_in_recovery(), exists(select 1 from public.chaos where id = $2), \
    concat_ws(', ', \
        case when coalesce(current_setting('chaos.mark', true), '') <> '' then 'a variable' end, \
        case when exists(select 1 from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()) \
            then 'an advisory lock' end, \
        case when current_setting('search_path') <> '\"$user\", public' then 'a search path' end, \
        case when current_setting('default_transaction_read_only') <> 'off' and exists(select 1 \
                from pg_settings where name = 'default_transaction_read_only' and source = 'session') \
            then 'read only' end, \
        case when current_setting('default_transaction_isolation') <> 'read committed' \
            then 'an isolation level' end, \
        case when exists(select 1 from pg_cursors where name = 'chaos_dirty') then 'a cursor' end, \
        case when to_regclass('pg_temp.chaos_dirty') is not null then 'a temporary table' end, \
        case when exists(select 1 from pg_listening_channels()) then 'a channel' end, \
        case when pg_current_xact_id_if_assigned() is not null then 'an open transaction' end)";

impl Target for Pg {
    const ENGINE: Engine = Engine::Postgres;
    const COUNT_SESSIONS: &'static str = "select count(*), coalesce(max(state || ': ' || query), '') from pg_stat_activity where usename = 'app'";
    const CREATE: &'static [&'static str] = &[
        "create table chaos (id bigint not null, accepted_by text not null)",
        "create index on chaos (id)",
        "alter table chaos owner to app",
    ];
    const NOTIFIES: bool = true;
    const MONITOR_TASKS: usize = 2;
    type Admin = PgAdmin;

    fn connector(host: &str, port: u16, services: Services, params: &[(&str, &str)]) -> Result<Connector> {
        let mut builder = Connector::builder().host(host).port(port).services(services);
        for (name, value) in [("user", "app"), ("password", "secret"), ("dbname", "app")].iter().chain(params)
        {
            builder = builder.set(name, value)?;
        }
        Ok(builder.build()?)
    }

    async fn insert(client: &mut Client, id: i64, is_prepared: bool) -> Result<()> {
        if is_prepared {
            let statement = client.prepare(INSERT).await?;
            client.execute(&statement, &[&id]).await?;
        } else {
            client.batch_execute(&INSERT.replace("$1", &id.to_string())).await?;
        }
        Ok(())
    }

    async fn insert_two(client: &mut Client, id: i64, stage: &mut Stage) -> Result<()> {
        *stage = Stage::Begin;
        let transaction = client.transaction().await?;
        *stage = Stage::Open;
        transaction.execute(INSERT, &[&id]).await?;
        transaction.execute(INSERT, &[&(id + 1)]).await?;
        *stage = Stage::Commit;
        Ok(transaction.commit().await?)
    }

    async fn look(client: &mut Client, nonce: i64, id: i64) -> Result<Seen> {
        let row = client.query_one(LOOK, &[&nonce, &id]).await?;
        Ok(Seen {
            nonce: row.get(0),
            instance: row.get(1),
            is_reader: row.get(2),
            has_row: row.get(3),
            left_behind: row.get(4),
        })
    }

    async fn listen(connector: &Connector, heard: impl Fn(&str) + Send + Sync) -> Result<()> {
        let client = connector.connect().await?;
        client.listen("chaos").await?;
        let mut notifications = client.notifications();
        // A connection that only listens notices by a call of its own that it has to move.
        let mut pulse = interval(Duration::from_millis(500));
        loop {
            tokio::select! {
                item = notifications.next() => match item {
                    Some(NotificationItem::Notification(notification)) => heard(notification.payload()),
                    Some(_) => {}
                    None => return Ok(()),
                },
                _ = pulse.tick() => match client.batch_execute("select 1").await {
                    Err(error) if !error.connection_usable() => return Err(error.into()),
                    _ => {}
                },
            }
        }
    }

    async fn notify(client: &mut Client, text: &str) -> Result<()> {
        client.execute("select pg_catalog.pg_notify('chaos', $1)", &[&text]).await?;
        Ok(())
    }

    fn set_password(password: &str) -> String {
        format!("alter role app password '{password}'")
    }

    async fn admin(address: SocketAddr) -> Result<PgAdmin, AnyError> {
        let mut config = tokio_postgres::Config::new();
        config.host(address.ip().to_string()).port(address.port()).user("postgres").dbname("app");
        let (client, connection) = config.connect(NoTls).await?;
        #[expect(clippy::disallowed_methods, reason = "owned and aborted by the connection")]
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(PgAdmin { client, driver })
    }
}

/// The bare driver's client and its task.
#[derive(Debug)]
pub struct PgAdmin {
    client: tokio_postgres::Client,
    driver: JoinHandle<()>,
}

impl Drop for PgAdmin {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Admin for PgAdmin {
    async fn run(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<(i64, String)>, AnyError> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let text = |column| row.get(column).unwrap_or_default();
                rows.push((text(0).parse()?, text(1).to_owned()));
            }
        }
        Ok(rows)
    }
}
