//! What happened in one schedule: the calls of the application, the faults, and the rows at the end.

use std::time::Duration;

use aws_wrapper_core::Error;
use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome, TransactionOutcome};
use aws_wrapper_deadpool::Error as PoolError;

use crate::chaos::schedule::Fault;
use crate::chaos::target::mischief::MARK;

/// A moment, from the start of the schedule.
pub type At = Duration;

/// What the caller was told of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// It is done.
    Done,
    /// An error.
    Failed(Failure),
    /// Nothing: the caller did not wait for the answer.
    Nothing,
}

/// What an error says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of error.
    pub kind: ErrorKind,
    /// What became of the transaction.
    pub outcome: TransactionOutcome,
    /// Whether the statement may have run.
    pub may_have_run: bool,
    /// Whether the connection can be used for the next call.
    pub is_usable: bool,
    /// The whole text, with that of the errors below it.
    pub text: String,
    /// Which of the words that say too much stands in it.
    pub quotes: Option<&'static str>,
}

impl Failure {
    /// What `error` says.
    pub fn of(error: &Error) -> Self {
        let text = with_sources(error);
        Self {
            kind: error.kind(),
            outcome: error.transaction_outcome(),
            may_have_run: error.statement_may_have_run(),
            is_usable: error.connection_usable(),
            quotes: TELLING.iter().copied().find(|words| text.contains(words)),
            text,
        }
    }

    /// What an error of a pool says.
    pub fn of_pool(error: &PoolError) -> Self {
        let work = error.work_error();
        let text = with_sources(error);
        Self {
            kind: work.map_or(ErrorKind::HostUnavailable, Error::kind),
            outcome: error.transaction_outcome(),
            may_have_run: error.statement_may_have_run(),
            is_usable: false,
            quotes: TELLING.iter().copied().find(|words| text.contains(words)),
            text,
        }
    }

    /// A server's refusal to write that nobody made anything of.
    pub fn is_bare_refusal(&self) -> bool {
        self.kind == ErrorKind::Driver(DriverClass::Role)
    }

    /// A kind of error for a table.
    pub fn name(&self) -> String {
        match self.kind {
            // The kind says nothing yet.
            ErrorKind::Driver(DriverClass::Other) => format!("{:.100}", self.text),
            kind => format!("{kind:?}"),
        }
    }

    /// Whether it says that a failover went well and no transaction was open.
    pub fn says_no_transaction(&self) -> bool {
        self.kind == ErrorKind::Failover(FailoverOutcome::Succeeded)
    }
}

/// [`MARK`], and how a server complains of what somebody else has left behind in the session.
const TELLING: &[&str] = &[
    MARK,
    "relation \"chaos\" does not exist",
    "current transaction is aborted",
    "was not locked with LOCK TABLES",
    "in a READ ONLY transaction",
    "information_schema",
    "No database selected",
    "XAER_",
];

fn with_sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let below = error.to_string();
        if !text.contains(&below) {
            text = format!("{text}, because of: {below}");
        }
        next = error.source();
    }
    text
}

/// How far a transaction came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// One statement, no transaction.
    Alone,
    /// The beginning was not acknowledged.
    Begin,
    /// It has begun; its commit was not sent.
    Open,
    /// Its commit was sent.
    Commit,
    /// It is in the hands of a helper that may run it again, and its commit may have been sent.
    Helped,
    /// It began, and nothing may ever commit it.
    Doomed,
}

/// A write, of one row or, in a transaction, of several.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Write {
    /// The worker.
    pub worker: u32,
    /// The rows.
    pub ids: std::ops::Range<i64>,
    /// When it was sent.
    pub began: At,
    /// When the answer was there.
    pub ended: At,
    /// How far it came.
    pub stage: Stage,
    /// The answer.
    pub told: Told,
}

/// A read on a connection that was taken out as one to the writer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Look {
    /// The worker.
    pub worker: u32,
    /// When it was sent.
    pub began: At,
    /// When the answer was there.
    pub ended: At,
    /// Who answered.
    pub instance: String,
    /// What that server says it is.
    pub is_reader: bool,
    /// Whether the row was there that this worker had written last, and which one.
    pub own_row: Option<(i64, bool)>,
    /// Whether it is the answer to this question.
    pub answers: bool,
}

/// Something that was left behind in a session that came out of the pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Leftover {
    /// The worker that found it.
    pub worker: u32,
    /// When it was looked for.
    pub began: At,
    /// When the answer was there.
    pub ended: At,
    /// Whose session.
    pub instance: String,
    /// What.
    pub what: String,
}

/// What a call may say of errors that mischief causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// It asks for one.
    Error,
    /// One may be the cause of a commit that was refused.
    Cause,
    /// Nothing.
    Nothing,
}

/// An error with words in it that tell where it comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Quote {
    /// The worker.
    pub worker: u32,
    /// Which call failed.
    pub call: &'static str,
    /// When it was made.
    pub began: At,
    /// When it failed.
    pub ended: At,
    /// Whether these words may be in it.
    pub expected: Expected,
    /// The error.
    pub failure: Failure,
}

/// A call that took long, or has not ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Slow {
    /// The worker.
    pub worker: u32,
    /// What it was.
    pub call: &'static str,
    /// When it was made.
    pub began: At,
    /// How long it took, or has taken.
    pub took: Duration,
    /// How long it may take.
    pub limit: Duration,
}

/// The time in which an instance could take writes.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Term {
    /// The instance.
    pub instance: String,
    /// From when.
    pub from: At,
    /// When it was about to refuse writes or to die, if it is over. Some may have been taken after that.
    pub closing: Option<At>,
    /// Until when, if it is over: nobody else takes writes before.
    pub until: Option<At>,
}

/// A fault as it was played.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Incident {
    /// What.
    pub fault: Fault,
    /// The instance.
    pub instance: String,
    /// From when.
    pub from: At,
    /// Until when, if it is healed.
    pub until: Option<At>,
}

/// A row of the database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row {
    /// Its number.
    pub id: i64,
    /// The instance that took it.
    pub accepted_by: String,
}

/// Everything that is checked.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct History {
    /// Writes.
    pub writes: Vec<Write>,
    /// Reads of the writer that are of interest: from a reader, without the own row, or with another answer.
    pub looks: Vec<Look>,
    /// What was left behind in sessions.
    pub left_behind: Vec<Leftover>,
    /// Errors that tell where they come from.
    pub quotes: Vec<Quote>,
    /// Calls that took long.
    pub slow: Vec<Slow>,
    /// Who was the writer when, oldest first.
    pub terms: Vec<Term>,
    /// The faults.
    pub incidents: Vec<Incident>,
    /// The rows at the end.
    pub rows: Vec<Row>,
    /// What is left over or missing at the end, found by other means.
    pub leftovers: Vec<String>,
    /// How long the wrapper may need to learn who the writer is, once that can be learned.
    pub learning: Duration,
}

impl History {
    /// The faults around a moment, for messages.
    pub fn around(&self, from: At, until: At) -> String {
        const NEAR: Duration = Duration::from_secs(2);
        let near: Vec<String> = self
            .incidents
            .iter()
            .filter(|incident| incident.from <= until && incident.until.is_none_or(|end| end + NEAR >= from))
            .map(|incident| {
                let until = incident.until.map_or("?".to_owned(), |end| format!("{:.2}", end.as_secs_f64()));
                format!(
                    "{} of {} from +{:.2}s to +{until}s",
                    incident.fault.name(),
                    incident.instance,
                    incident.from.as_secs_f64()
                )
            })
            .collect();
        if near.is_empty() { "no fault near".to_owned() } else { near.join(", ") }
    }

    /// Whether a fault was played at some moment of a call.
    pub fn has_incident(&self, began: At, ended: At) -> bool {
        self.incidents
            .iter()
            .any(|incident| incident.from <= ended && incident.until.is_none_or(|until| until >= began))
    }

    /// Whether the wrapper could not be expected to know the writer at some moment of a call: there was none, it has just
    /// changed, or a fault hid that and has just been healed.
    pub fn is_unsettled(&self, began: At, ended: At) -> bool {
        let overlaps = |from: At, until: Option<At>| {
            from <= ended && until.is_none_or(|end| began < end + self.learning)
        };
        let mut changes = self.terms.windows(2);
        changes.any(|pair| overlaps(pair[0].closing.unwrap_or(pair[1].from), Some(pair[1].from)))
            || self
                .incidents
                .iter()
                .any(|incident| incident.fault.hides_the_writer() && overlaps(incident.from, incident.until))
    }
}
