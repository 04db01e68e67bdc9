//! What workers do now and then besides writing and reading in order.

use super::{Worker, told};
use crate::chaos::history::{At, Expected, Failure, Stage, Told, Write};
use crate::chaos::target::Target;
use crate::chaos::target::mischief::Way;

impl<T: Target> Worker<T> {
    /// Something on a connection that may be used after that; as with writes, nothing when it is to be given back.
    pub(super) async fn mischief(&mut self, client: &mut T::Client) -> Option<i64> {
        match self.random.u8(..9) {
            0..3 => self.ignore_failure(client).await,
            3 => self.drop_stream(client).await,
            4 => self.call_procedure(client).await,
            5..7 => self.leave_unread(client).await,
            7 => self.retry_insert(client).await,
            _ => self.foreign_error(client).await,
        }
    }

    /// Leaves something behind. The connection has to be given back after that.
    pub(super) async fn soil(&mut self, client: &mut T::Client) {
        match self.random.u8(..8) {
            0 => {
                let id = self.journal.ids(1).start;
                let began = self.journal.now();
                let call = T::abandon(client, id);
                let result =
                    self.journal.call(self.number, "abandoned transaction", self.limits.transaction, call);
                self.doomed("abandoned transaction", id, began, told(result.await));
            }
            1..3 => {
                let id = self.journal.ids(1).start;
                let sql = numbered(T::OPEN[self.random.usize(..T::OPEN.len())], id);
                let began = self.journal.now();
                let call = T::run(client, &sql, false);
                let result = self.journal.call(self.number, "open transaction", self.limits.call, call);
                self.doomed("open transaction", id, began, told(result.await));
            }
            _ => self.soil_session(client, T::DIRT.len()).await,
        }
    }

    /// The same, on a reader.
    pub(super) async fn soil_session(&mut self, client: &mut T::Client, texts: usize) {
        let sql = T::DIRT[self.random.usize(..texts)];
        let began = self.journal.now();
        let call = T::run(client, sql, self.random.bool());
        if let Err(error) = self.journal.call(self.number, "soil", self.limits.call, call).await {
            self.failed("soil", began, Expected::Nothing, &Failure::of(&error));
        }
    }

    async fn ignore_failure(&mut self, client: &mut T::Client) -> Option<i64> {
        let ids = self.journal.ids(2);
        let way = Way::ALL[self.random.usize(..Way::ALL.len())];
        let fails = T::FOREIGN[self.random.usize(..T::FOREIGN.len())];
        let began = self.journal.now();
        let mut stage = Stage::Begin;
        let call = T::ignore_failure(client, ids.start, way, fails, &mut stage);
        let told = told(self.journal.call(self.number, "ignored failure", self.limits.helper, call).await);
        let may_be_open = way == Way::Text && stage != Stage::Commit;
        let write = Write { worker: self.number, ids, began, ended: self.journal.now(), stage, told };
        let last = self.wrote("ignored failure", Expected::Cause, write)?;
        (last > 0 || !may_be_open).then_some(last)
    }

    /// What helpers run again is there once, or not at all.
    async fn retry_insert(&mut self, client: &mut T::Client) -> Option<i64> {
        let ids = self.journal.ids(1);
        let began = self.journal.now();
        let call = T::retry_insert(client, ids.start);
        let told = told(self.journal.call(self.number, "helped insert", self.limits.helper, call).await);
        let (stage, ended) = (Stage::Helped, self.journal.now());
        let write = Write { worker: self.number, ids, began, ended, stage, told };
        self.wrote("helped insert", Expected::Nothing, write)
    }

    /// The same, on connections the pool takes for it.
    pub(super) async fn retry_in_pool(&mut self) {
        let ids = self.journal.ids(2);
        let began = self.journal.now();
        let call = T::retry_in_pool(&self.pool, ids.start);
        let told = match self.journal.call(self.number, "pool run", self.limits.pool_run, call).await {
            Ok(()) => Told::Done,
            Err(error) => Told::Failed(Failure::of_pool(&error)),
        };
        let (stage, ended) = (Stage::Helped, self.journal.now());
        let write = Write { worker: self.number, ids, began, ended, stage, told };
        self.wrote("pool run", Expected::Nothing, write);
    }

    async fn drop_stream(&mut self, client: &mut T::Client) -> Option<i64> {
        let ids = self.journal.ids(1);
        let began = self.journal.now();
        let mut stage = Stage::Begin;
        let call = T::drop_stream(client, ids.start, &mut stage);
        let told =
            told(self.journal.call(self.number, "dropped stream", self.limits.transaction, call).await);
        let write = Write { worker: self.number, ids, began, ended: self.journal.now(), stage, told };
        self.wrote("dropped stream", Expected::Cause, write)
    }

    async fn call_procedure(&mut self, client: &mut T::Client) -> Option<i64> {
        let procedure = T::PROCEDURES[self.random.usize(..T::PROCEDURES.len())];
        let ids = self.journal.ids(procedure.rows.len().try_into().expect("they are a few"));
        let sql = numbered(procedure.sql, ids.start);
        let began = self.journal.now();
        let call = T::call(client, &sql, procedure.is_dropped);
        let told = told(self.journal.call(self.number, "procedure", self.limits.call, call).await);
        let ended = self.journal.now();
        if let Told::Failed(failure) = &told {
            self.failed("procedure", began, Expected::Error, failure);
        }
        for (id, &stage) in ids.zip(procedure.rows) {
            let told = if procedure.is_dropped && told == Told::Done { Told::Nothing } else { told.clone() };
            let write = Write { worker: self.number, ids: id..id + 1, began, ended, stage, told };
            self.journal.note(|notes| notes.writes.push(write));
        }
        // Another statement might commit what the procedure left open.
        None
    }

    async fn leave_unread(&mut self, client: &mut T::Client) -> Option<i64> {
        let way = self.random.usize(..T::UNREAD);
        let began = self.journal.now();
        let call = T::leave_unread(client, way);
        let result = self.journal.call(self.number, "unread result", self.limits.call, call).await;
        if let Err(error) = result {
            self.failed("unread result", began, Expected::Error, &Failure::of(&error));
            return None;
        }
        // It is for the next call here or for the next borrower.
        self.random.bool().then_some(0)
    }

    async fn foreign_error(&mut self, client: &mut T::Client) -> Option<i64> {
        let sql = T::FOREIGN[self.random.usize(..T::FOREIGN.len())];
        let began = self.journal.now();
        let call = T::run(client, sql, self.random.bool());
        match self.journal.call(self.number, "foreign error", self.limits.call, call).await {
            Ok(()) => None,
            Err(error) => {
                let failure = Failure::of(&error);
                self.failed("foreign error", began, Expected::Error, &failure);
                failure.is_usable.then_some(0)
            }
        }
    }

    /// Notes a row of a transaction that was left open, or of one that did not come so far.
    fn doomed(&self, call: &'static str, id: i64, began: At, told: Told) {
        if let Told::Failed(failure) = &told {
            self.failed(call, began, Expected::Error, failure);
        }
        // What was acknowledged was a statement, not the transaction.
        let told = if told == Told::Done { Told::Nothing } else { told };
        let ended = self.journal.now();
        let write = Write { worker: self.number, ids: id..id + 1, began, ended, stage: Stage::Doomed, told };
        self.journal.note(|notes| notes.writes.push(write));
    }
}

fn numbered(sql: &str, id: i64) -> String {
    sql.replace("{id}", &id.to_string())
}
