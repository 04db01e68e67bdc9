//! The application: writers, readers and listeners on one pool.

mod mischief;

use std::sync::Arc;
use std::time::Duration;

use aws_wrapper_deadpool::{Object, Pool};
use fastrand::Rng;
use tokio::time::{sleep, timeout};

use crate::chaos::history::{At, Expected, Failure, Leftover, Look, Quote, Stage, Told, Write};
use crate::chaos::journal::Journal;
use crate::chaos::settings::Limits;
use crate::chaos::target::Target;

/// What one worker needs.
pub(crate) struct Worker<T: Target> {
    pub(crate) number: u32,
    pub(crate) pool: Pool<T>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) limits: Limits,
    pub(crate) random: Rng,
}

/// A failed worker tries again after so long.
const PAUSE: Duration = Duration::from_millis(20);
/// One of so many writes is dropped before its answer.
const DROPPED: u32 = 40;
/// One of so many connections is given back with something left behind in its session.
const SOILED: u8 = 6;

impl<T: Target> Worker<T> {
    /// Writes through connections to the writer, and reads back.
    pub(crate) async fn write(mut self) {
        'checkout: while !self.journal.is_over() {
            if self.random.u8(..8) == 0 {
                self.retry_in_pool().await;
            }
            let Some(mut client) = self.writer().await else { continue };
            // What the one before left behind is seen or felt.
            if self.random.bool() && self.look(&mut client, None).await.is_none() {
                continue;
            }
            let mut is_soiled = self.random.u8(..SOILED) == 0;
            for _ in 0..self.random.u8(1..5) {
                let is_done = match self.random.u8(..24) {
                    0..10 => self.insert(&mut client).await,
                    10..16 => self.insert_two(&mut client).await,
                    16..20 => self.look(&mut client, None).await,
                    _ => self.mischief(&mut client).await,
                };
                let Some(last) = is_done else {
                    is_soiled = false;
                    break;
                };
                if last > 0 && self.random.u8(..4) == 0 {
                    // On another connection: the pool has to know the writer, too.
                    drop(client);
                    let Some(other) = self.writer().await else { continue 'checkout };
                    client = other;
                    if self.look(&mut client, Some(last)).await.is_none() {
                        is_soiled = false;
                        break;
                    }
                }
                sleep(Duration::from_millis(self.random.u64(5..40))).await;
            }
            if is_soiled {
                self.soil(&mut client).await;
            }
        }
    }

    /// Reads from readers.
    pub(crate) async fn read(mut self) {
        'checkout: while !self.journal.is_over() {
            let checkout =
                self.journal.call(self.number, "reader checkout", self.limits.readers, self.pool.reader());
            let mut client = match checkout.await {
                Ok(client) => client,
                Err(error) => {
                    self.journal.error("reader checkout", &format!("{:?}", error.kind()));
                    sleep(PAUSE).await;
                    continue;
                }
            };
            for _ in 0..self.random.u8(1..5) {
                if self.ask(&mut client, "read", 0).await.is_none() {
                    continue 'checkout;
                }
                sleep(Duration::from_millis(self.random.u64(5..40))).await;
            }
            if self.random.u8(..SOILED) == 0 {
                self.soil_session(&mut client, T::READER_DIRT).await;
            }
        }
    }

    /// Sends notifications.
    pub(crate) async fn notify(self) {
        while !self.journal.is_over() {
            if let Some(mut client) = self.writer().await {
                let call = T::notify(&mut client, "ping");
                if let Err(error) = self.journal.call(self.number, "notify", self.limits.call, call).await {
                    self.journal.error("notify", &Failure::of(&error).name());
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Listens on a connection of its own; a new one when it is lost.
    pub(crate) async fn listen(self) {
        while !self.journal.is_over() {
            let journal = &self.journal;
            let heard = |_: &str| {
                let now = journal.now();
                journal.note(|notes| {
                    notes.heard += 1;
                    notes.progress.insert(self.number, now);
                });
            };
            if let Err(error) = T::listen(self.pool.connector(), heard).await {
                journal.error("listen", &Failure::of(&error).name());
            }
            sleep(PAUSE).await;
        }
    }

    async fn writer(&self) -> Option<Object<T>> {
        let checkout =
            self.journal.call(self.number, "writer checkout", self.limits.checkout, self.pool.writer());
        match checkout.await {
            Ok(client) => Some(client),
            Err(error) => {
                let below = error.connect_error().map(|error| format!("{:?}", error.kind()));
                self.journal
                    .error("writer checkout", &format!("{:?} {}", error.kind(), below.unwrap_or_default()));
                sleep(PAUSE).await;
                None
            }
        }
    }

    /// The number of a row that is there now, or 0; nothing when the connection is to be given back.
    async fn insert(&mut self, client: &mut T::Client) -> Option<i64> {
        let ids = self.journal.ids(1);
        let is_prepared = self.random.bool();
        let began = self.journal.now();
        let call = T::insert(client, ids.start, is_prepared);
        let told = if self.random.u32(..DROPPED) == 0 {
            // Also dropped calls are calls.
            let limit = Duration::from_micros(self.random.u64(..2_000));
            match timeout(limit, call).await {
                Ok(result) => told(result),
                Err(_) => Told::Nothing,
            }
        } else {
            told(self.journal.call(self.number, "insert", self.limits.call, call).await)
        };
        let stage = Stage::Alone;
        let write = Write { worker: self.number, ids, began, ended: self.journal.now(), stage, told };
        self.wrote("insert", Expected::Nothing, write)
    }

    async fn insert_two(&mut self, client: &mut T::Client) -> Option<i64> {
        let ids = self.journal.ids(2);
        let began = self.journal.now();
        let mut stage = Stage::Begin;
        let call = T::insert_two(client, ids.start, &mut stage);
        let told = told(self.journal.call(self.number, "transaction", self.limits.transaction, call).await);
        let write = Write { worker: self.number, ids, began, ended: self.journal.now(), stage, told };
        self.wrote("transaction", Expected::Nothing, write)
    }

    fn wrote(&self, call: &'static str, expected: Expected, write: Write) -> Option<i64> {
        let last = write.ids.end - 1;
        let result = match &write.told {
            Told::Done => Some(last),
            Told::Nothing => None,
            Told::Failed(failure) => {
                self.failed(call, write.began, expected, failure);
                // What a pool's user does: repeat on the same connection when the error allows it.
                failure.is_usable.then_some(0)
            }
        };
        self.journal.note(|notes| notes.writes.push(write));
        result
    }

    fn failed(&self, call: &'static str, began: At, expected: Expected, failure: &Failure) {
        self.journal.error(call, &failure.name());
        if failure.quotes.is_some() {
            let (ended, failure) = (self.journal.now(), failure.clone());
            let quote = Quote { worker: self.number, call, began, ended, expected, failure };
            self.journal.note(|notes| notes.quotes.push(quote));
        }
    }

    async fn look(&mut self, client: &mut T::Client, own: Option<i64>) -> Option<i64> {
        self.ask(client, "strict read", own.unwrap_or(0)).await
    }

    async fn ask(&mut self, client: &mut T::Client, what: &'static str, id: i64) -> Option<i64> {
        let nonce = self.random.i64(1..i64::MAX);
        let began = self.journal.now();
        let call = T::look(client, nonce, id);
        let seen = match self.journal.call(self.number, what, self.limits.call, call).await {
            Ok(seen) => seen,
            Err(error) => {
                self.failed(what, began, Expected::Nothing, &Failure::of(&error));
                return error.connection_usable().then_some(0);
            }
        };
        if !seen.left_behind.is_empty() {
            let left = Leftover {
                worker: self.number,
                began,
                ended: self.journal.now(),
                instance: seen.instance.clone(),
                what: seen.left_behind,
            };
            self.journal.note(|notes| notes.left_behind.push(left));
        }
        let is_strict = what == "strict read";
        let misses = id != 0 && !seen.has_row;
        let answers = seen.nonce == nonce;
        if !answers || (is_strict && (seen.is_reader || misses)) {
            let look = Look {
                worker: self.number,
                began,
                ended: self.journal.now(),
                instance: seen.instance,
                is_reader: is_strict && seen.is_reader,
                own_row: (is_strict && id != 0).then_some((id, seen.has_row)),
                answers,
            };
            self.journal.note(|notes| notes.looks.push(look));
        }
        Some(0)
    }
}

fn told(result: aws_wrapper_core::Result<()>) -> Told {
    match result {
        Ok(()) => Told::Done,
        Err(error) => Told::Failed(Failure::of(&error)),
    }
}
