//! aws-wrapper-mysql.

mod mischief;

use std::net::SocketAddr;

use aurora_sim::Engine;
use aws_wrapper_core::Result;
use aws_wrapper_core::services::Services;
use aws_wrapper_deadpool::mysql::MySql;
use aws_wrapper_mysql::{Conn, Connector, Error};
use mysql_async::prelude::Queryable;
use mysql_async::{OptsBuilder, TxOpts};

use super::{Admin, Seen, Target};
use crate::chaos::history::Stage;
use crate::driver::AnyError;

const INSERT: &str = "insert into chaos (id, accepted_by) values (?, @@aurora_server_id)";

/// A temporary table hides the one that is always there.
const LOOK: &str = "select cast(? as signed), @@aurora_server_id, @@innodb_read_only, \
    exists(select 1 from app.chaos where id = ?), \
    concat_ws(', ', \
        if(@chaos is null, null, 'a variable'), \
        if(is_used_lock('chaos') = connection_id(), 'a lock', null), \
        if(@@session.autocommit, null, 'autocommit off'), \
        if(@@session.transaction_read_only, 'read only', null), \
        if(@@session.transaction_isolation = @@global.transaction_isolation, null, 'an isolation level'), \
        if(@@session.sql_mode = @@global.sql_mode, null, 'an SQL mode'), \
        if(database() <=> 'app', null, 'a database'), \
        if((select max(is_temporary) from app.chaos_dirty), 'a temporary table', null), \
        if(exists(select 1 from app.chaos_open where session = connection_id()), \
            'an open transaction', null))";

fn core(error: mysql_async::Error) -> aws_wrapper_core::Error {
    Error::from(error).into_core()
}

impl Target for MySql {
    const ENGINE: Engine = Engine::MySql;
    const COUNT_SESSIONS: &'static str = "select count(*), coalesce(max(concat(command, ': ', coalesce(info, ''))), '') \
         from performance_schema.processlist where user = 'app'";
    const CREATE: &'static [&'static str] =
        &["create table chaos (id bigint not null, accepted_by varchar(64) not null, index (id))"];
    const NOTIFIES: bool = false;
    const MONITOR_TASKS: usize = 1;
    type Admin = MySqlAdmin;

    fn connector(host: &str, port: u16, services: Services, params: &[(&str, &str)]) -> Result<Connector> {
        let mut builder = Connector::builder().host(host).port(port).services(services);
        for (name, value) in
            [("user", "app"), ("password", "secret"), ("database", "app")].iter().chain(params)
        {
            builder = builder.set(name, value)?;
        }
        Ok(builder.build()?)
    }

    async fn insert(client: &mut Conn, id: i64, is_prepared: bool) -> Result<()> {
        if is_prepared {
            let statement = client.prep(INSERT).await.map_err(core)?;
            client.exec_drop(&statement, (id,)).await.map_err(core)
        } else {
            client.query_drop(INSERT.replace('?', &id.to_string())).await.map_err(core)
        }
    }

    async fn insert_two(client: &mut Conn, id: i64, stage: &mut Stage) -> Result<()> {
        *stage = Stage::Begin;
        let mut transaction = client.start_transaction(TxOpts::default()).await.map_err(core)?;
        *stage = Stage::Open;
        transaction.exec_drop(INSERT, (id,)).await.map_err(core)?;
        transaction.exec_drop(INSERT, (id + 1,)).await.map_err(core)?;
        *stage = Stage::Commit;
        transaction.commit().await.map_err(core)
    }

    async fn look(client: &mut Conn, nonce: i64, id: i64) -> Result<Seen> {
        let row: Option<(i64, String, bool, bool, String)> =
            client.exec_first(LOOK, (nonce, id)).await.map_err(core)?;
        // A query for one row that gives none is answered by something else.
        let (nonce, instance, is_reader, has_row, left_behind) =
            row.unwrap_or((-1, "nobody".to_owned(), false, false, String::new()));
        Ok(Seen { nonce, instance, is_reader, has_row, left_behind })
    }

    async fn listen(_connector: &Connector, _heard: impl Fn(&str) + Send + Sync) -> Result<()> {
        Ok(())
    }

    async fn notify(_client: &mut Conn, _text: &str) -> Result<()> {
        Ok(())
    }

    fn set_password(password: &str) -> String {
        format!("alter user 'app'@'%' identified with caching_sha2_password by '{password}'")
    }

    async fn admin(address: SocketAddr) -> Result<MySqlAdmin, AnyError> {
        let options = OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(Some("root"))
            .db_name(Some("app"))
            .prefer_socket(false);
        Ok(MySqlAdmin(mysql_async::Conn::new(options).await?))
    }
}

/// The bare driver's connection.
#[derive(Debug)]
pub struct MySqlAdmin(mysql_async::Conn);

impl Admin for MySqlAdmin {
    async fn run(&mut self, sql: &str) -> Result<(), AnyError> {
        Ok(self.0.query_drop(sql).await?)
    }

    async fn rows(&mut self, sql: &str) -> Result<Vec<(i64, String)>, AnyError> {
        Ok(self.0.query(sql).await?)
    }
}
