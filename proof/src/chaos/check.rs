//! What must hold whatever goes wrong.

use std::collections::HashMap;
use std::fmt;

use crate::chaos::history::{At, Expected, Failure, History, Quote, Row, Stage, Told, Write};
use crate::chaos::target::mischief::MARK;
use aws_wrapper_core::error::{DriverClass, ErrorKind, TransactionOutcome};

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Violation {
    /// The promise.
    pub rule: Rule,
    /// Which call, when, which fault.
    pub what: String,
}

/// A promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A write that was acknowledged is there.
    NothingLost,
    /// Nothing is there twice, and nothing that nobody wrote.
    NothingDoubled,
    /// Writes are answered by the writer.
    WritesAtTheWriter,
    /// Who asks for the writer reads from the writer, and sees what it has written.
    ReadsAtTheWriter,
    /// An answer belongs to its question.
    OwnAnswer,
    /// Every call ends in time.
    Deadline,
    /// What an error says of a write and of its transaction is true.
    Truth,
    /// What a server says of a statement comes back as that, and the session goes on.
    ServersOwn,
    /// Whatever one borrower does to a session, the next one finds it as new.
    CleanSession,
    /// Nothing is left over at the end, and everybody works again.
    NothingLeft,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::NothingLost,
        Self::NothingDoubled,
        Self::WritesAtTheWriter,
        Self::ReadsAtTheWriter,
        Self::OwnAnswer,
        Self::Deadline,
        Self::Truth,
        Self::ServersOwn,
        Self::CleanSession,
        Self::NothingLeft,
    ];

    /// The promise in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::NothingLost => "no acknowledged write is lost",
            Self::NothingDoubled => "no write happens twice",
            Self::WritesAtTheWriter => "writes are answered by the writer",
            Self::ReadsAtTheWriter => "reads of the writer are never answered by a demoted one",
            Self::OwnAnswer => "an answer belongs to its question",
            Self::Deadline => "no call takes longer than its deadline",
            Self::Truth => "errors tell the truth about writes and transactions",
            Self::ServersOwn => "an error of a living session is the server's own",
            Self::CleanSession => "a connection comes out of the pool with a clean session",
            Self::NothingLeft => "nothing leaks, and everybody works again",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule.text(), self.what)
    }
}

/// Every promise that was not kept.
pub fn check(history: &History) -> Vec<Violation> {
    let mut found = Found { history, violations: Vec::new() };
    found.rows();
    for write in &history.writes {
        found.write(write);
    }
    found.looks();
    found.left_behind();
    found.quotes();
    found.slow();
    for leftover in &history.leftovers {
        found.add(Rule::NothingLeft, leftover.clone());
    }
    found.violations
}

struct Found<'a> {
    history: &'a History,
    violations: Vec<Violation>,
}

impl Found<'_> {
    fn add(&mut self, rule: Rule, what: String) {
        self.violations.push(Violation { rule, what });
    }

    /// Writes against the rows at the end.
    fn rows(&mut self) {
        let mut rows: HashMap<i64, Vec<&Row>> = HashMap::new();
        for row in &self.history.rows {
            rows.entry(row.id).or_default().push(row);
        }
        for write in &self.history.writes {
            let mut present = 0;
            for id in write.ids.clone() {
                let copies = rows.remove(&id).unwrap_or_default();
                present += i64::from(!copies.is_empty());
                if copies.len() > 1 {
                    self.about(
                        Rule::NothingDoubled,
                        write,
                        &format!("row {id} is there {} times", copies.len()),
                    );
                }
                if let Some(row) = copies.first() {
                    self.accepted(write, row);
                }
            }
            self.presence(write, present, write.ids.end - write.ids.start);
        }
        for id in rows.into_keys() {
            self.add(Rule::NothingDoubled, format!("row {id} is there, and nobody wrote it"));
        }
    }

    fn presence(&mut self, write: &Write, present: i64, all: i64) {
        if present != 0 && present != all {
            let what = format!("{present} of {all} rows of one transaction are there");
            self.about(Rule::Truth, write, &what);
        }
        match &write.told {
            Told::Done if present < all => {
                self.about(Rule::NothingLost, write, &format!("{} of {all} rows are missing", all - present));
            }
            Told::Failed(failure) if present > 0 => {
                if let Some(said) = denies(write.stage, failure) {
                    self.about(Rule::Truth, write, &format!("{said}, but the rows are there"));
                }
            }
            Told::Nothing if present > 0 && write.stage == Stage::Doomed => {
                self.about(Rule::Truth, write, "nothing may commit it, but the rows are there");
            }
            _ => {}
        }
    }

    /// Whoever took the row was the writer at some time between question and answer. A write without an answer may have
    /// been taken later: its bytes may have been under way.
    fn accepted(&mut self, write: &Write, row: &Row) {
        let is_done = write.told == Told::Done;
        let legal = self.history.terms.iter().any(|term| {
            term.instance == row.accepted_by
                && (!is_done || term.from <= write.ended)
                && term.until.is_none_or(|until| until >= write.began)
        });
        if !legal {
            let what = format!("{} took row {} and was not the writer then", row.accepted_by, row.id);
            self.about(Rule::WritesAtTheWriter, write, &what);
        }
    }

    /// What was told of a write, by itself.
    fn write(&mut self, write: &Write) {
        let Told::Failed(failure) = &write.told else { return };
        let in_transaction = matches!(write.stage, Stage::Open | Stage::Commit);
        if in_transaction && failure.says_no_transaction() {
            self.about(Rule::Truth, write, "told that no transaction was open, but one was");
        }
        if write.stage == Stage::Commit
            && matches!(
                failure.kind,
                ErrorKind::Failover(_)
                    | ErrorKind::Driver(
                        DriverClass::Network | DriverClass::SessionTerminated | DriverClass::Other
                    )
            )
            && failure.outcome == TransactionOutcome::NotInTransaction
        {
            self.about(Rule::Truth, write, "a commit failed, and the error knows of no transaction");
        }
        if failure.is_bare_refusal() && !self.history.is_unsettled(write.began, write.ended) {
            self.about(Rule::WritesAtTheWriter, write, "a server that does not write was asked to");
        }
    }

    fn looks(&mut self) {
        for look in &self.history.looks {
            let mut what = None;
            if !look.answers {
                what = Some((Rule::OwnAnswer, "got the answer to another question".to_owned()));
            } else if !self.history.is_unsettled(look.began, look.ended) {
                if look.is_reader {
                    what = Some((Rule::ReadsAtTheWriter, "it is a reader".to_owned()));
                } else if let Some((id, false)) = look.own_row {
                    let told = format!("row {id}, acknowledged before, is not there");
                    what = Some((Rule::ReadsAtTheWriter, told));
                }
            }
            if let Some((rule, what)) = what {
                let around = self.history.around(look.began, look.ended);
                let line = format!(
                    "worker {}, read from {} {}: {what}; {around}",
                    look.worker,
                    look.instance,
                    span(look.began, look.ended)
                );
                self.add(rule, line);
            }
        }
    }

    fn left_behind(&mut self) {
        for left in &self.history.left_behind {
            let line = format!(
                "worker {} found {} in a session of {} {}; {}",
                left.worker,
                left.what,
                left.instance,
                span(left.began, left.ended),
                self.history.around(left.began, left.ended)
            );
            self.add(Rule::CleanSession, line);
        }
    }

    fn quotes(&mut self) {
        for quote in &self.history.quotes {
            let is_disturbed = self.history.has_incident(quote.began, quote.ended);
            if let Some((rule, what)) = misquotes(quote, is_disturbed) {
                let line = format!(
                    "worker {}, {} {}: {what}; {}; {}",
                    quote.worker,
                    quote.call,
                    span(quote.began, quote.ended),
                    described(&quote.failure),
                    self.history.around(quote.began, quote.ended)
                );
                self.add(rule, line);
            }
        }
    }

    fn slow(&mut self) {
        for slow in &self.history.slow {
            if slow.took <= slow.limit {
                continue;
            }
            let around = self.history.around(slow.began, slow.began + slow.took);
            let line = format!(
                "worker {}, {} at +{:.2}s took {:.2}s of at most {:.2}s; {around}",
                slow.worker,
                slow.call,
                slow.began.as_secs_f64(),
                slow.took.as_secs_f64(),
                slow.limit.as_secs_f64()
            );
            self.add(Rule::Deadline, line);
        }
    }

    fn about(&mut self, rule: Rule, write: &Write, what: &str) {
        let told = match &write.told {
            Told::Done => "acknowledged".to_owned(),
            Told::Nothing => "dropped before its answer".to_owned(),
            Told::Failed(failure) => described(failure),
        };
        let line = format!(
            "worker {}, write of {:?} ({:?}) {}: {what}; {told}; {}",
            write.worker,
            write.ids,
            write.stage,
            span(write.began, write.ended),
            self.history.around(write.began, write.ended)
        );
        self.add(rule, line);
    }
}

/// If the error says that the write did not happen: how.
fn denies(stage: Stage, failure: &Failure) -> Option<&'static str> {
    match stage {
        Stage::Begin | Stage::Open => Some("its commit was never sent"),
        Stage::Doomed => Some("nothing may commit it"),
        Stage::Commit | Stage::Helped if failure.outcome == TransactionOutcome::RolledBack => {
            Some("told that it was rolled back")
        }
        Stage::Alone | Stage::Commit | Stage::Helped
            if !failure.may_have_run && failure.outcome != TransactionOutcome::Unknown =>
        {
            Some("told that it cannot have run")
        }
        _ => None,
    }
}

/// If words are in an error that should not be there: why not.
fn misquotes(quote: &Quote, is_disturbed: bool) -> Option<(Rule, &'static str)> {
    let failure = &quote.failure;
    let words = failure.quotes?;
    if words != MARK {
        let is_strange = quote.expected == Expected::Nothing;
        return is_strange.then_some((Rule::CleanSession, "the session is not as a new one"));
    }
    match (quote.expected, failure.kind) {
        (Expected::Error, ErrorKind::Driver(DriverClass::Other)) if failure.is_usable => None,
        (Expected::Cause, ErrorKind::RolledBack) => None,
        (Expected::Cause, ErrorKind::Driver(DriverClass::Other)) | (Expected::Nothing, _) => {
            Some((Rule::OwnAnswer, "got the error of another call"))
        }
        // The session does not live if its server was hit after it had answered.
        _ if is_disturbed => None,
        _ => Some((Rule::ServersOwn, "an error of the server was made something else")),
    }
}

fn described(failure: &Failure) -> String {
    format!(
        "failed with {:?}, transaction {:?}, may have run: {}: {}",
        failure.kind, failure.outcome, failure.may_have_run, failure.text
    )
}

fn span(began: At, ended: At) -> String {
    format!("from +{:.3}s to +{:.3}s", began.as_secs_f64(), ended.as_secs_f64())
}

#[cfg(test)]
mod tests;
