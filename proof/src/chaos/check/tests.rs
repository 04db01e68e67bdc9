//! Each promise, broken in a forged history, is found to be broken.

use std::time::Duration;

use aws_wrapper_core::error::{DriverClass, ErrorKind, FailoverOutcome, TransactionOutcome};

use super::*;
use crate::chaos::history::{Incident, Leftover, Look, Slow, Term};
use crate::chaos::schedule::Fault;

fn at(seconds: f64) -> At {
    Duration::from_secs_f64(seconds)
}

/// `i-1` was the writer until 10 s, `i-2` is since 11 s; two writes went well.
fn good() -> History {
    History {
        writes: vec![
            write(1..2, 1.0, Stage::Alone, Told::Done),
            write(2..4, 12.0, Stage::Commit, Told::Done),
        ],
        rows: vec![row(1, "i-1"), row(2, "i-2"), row(3, "i-2")],
        terms: vec![term("i-1", 0.0, Some(10.0)), term("i-2", 11.0, None)],
        incidents: vec![Incident {
            fault: Fault::Failover,
            instance: "i-1".to_owned(),
            from: at(10.0),
            until: Some(at(11.0)),
        }],
        learning: Duration::from_secs(2),
        ..History::default()
    }
}

fn write(ids: std::ops::Range<i64>, began: f64, stage: Stage, told: Told) -> Write {
    Write { worker: 1, ids, began: at(began), ended: at(began + 0.1), stage, told }
}

fn row(id: i64, by: &str) -> Row {
    Row { id, accepted_by: by.to_owned() }
}

fn term(instance: &str, from: f64, until: Option<f64>) -> Term {
    let until = until.map(at);
    Term { instance: instance.to_owned(), from: at(from), closing: until, until }
}

fn failed(kind: ErrorKind, outcome: TransactionOutcome, may_have_run: bool) -> Told {
    Told::Failed(failure(kind, outcome, may_have_run))
}

fn failure(kind: ErrorKind, outcome: TransactionOutcome, may_have_run: bool) -> Failure {
    Failure { kind, outcome, may_have_run, is_usable: true, text: "forged".to_owned(), quotes: None }
}

fn look(began: f64, is_reader: bool, own_row: Option<(i64, bool)>, answers: bool) -> Look {
    let instance = "i-1".to_owned();
    Look { worker: 1, began: at(began), ended: at(began), instance, is_reader, own_row, answers }
}

#[track_caller]
fn broken(history: &History, rules: &[Rule]) {
    let violations = check(history);
    let found: Vec<_> = violations.iter().map(|violation| violation.rule).collect();
    assert_eq!(found, rules, "{violations:#?}");
}

const OTHER: ErrorKind = ErrorKind::Driver(DriverClass::Other);
const SWITCHED: ErrorKind = ErrorKind::Failover(FailoverOutcome::Succeeded);
const UNKNOWN: ErrorKind = ErrorKind::Failover(FailoverOutcome::TransactionUnknown);

#[test]
fn a_good_history_breaks_nothing() {
    broken(&good(), &[]);
}

#[test]
fn a_lost_write_is_found() {
    let mut history = good();
    history.rows.remove(0);
    broken(&history, &[Rule::NothingLost]);
}

#[test]
fn a_doubled_write_is_found() {
    let mut history = good();
    history.rows.push(row(1, "i-1"));
    broken(&history, &[Rule::NothingDoubled]);
}

#[test]
fn a_row_that_nobody_wrote_is_found() {
    let mut history = good();
    history.rows.push(row(9, "i-1"));
    broken(&history, &[Rule::NothingDoubled]);
}

#[test]
fn half_a_transaction_is_found() {
    let mut history = good();
    history.rows.remove(2);
    broken(&history, &[Rule::Truth, Rule::NothingLost]);
}

#[test]
fn a_write_that_a_demoted_writer_took_is_found() {
    let mut history = good();
    history.rows[1] = row(2, "i-1");
    broken(&history, &[Rule::WritesAtTheWriter]);
    // Before its time counts as well.
    let mut history = good();
    history.rows[0] = row(1, "i-2");
    broken(&history, &[Rule::WritesAtTheWriter]);
}

#[test]
fn a_write_without_an_answer_may_be_taken_later_but_not_by_a_demoted_writer() {
    let mut history = good();
    let kind = ErrorKind::Failover(FailoverOutcome::Failed);
    history.writes.push(write(
        5..6,
        9.0,
        Stage::Alone,
        failed(kind, TransactionOutcome::NotInTransaction, true),
    ));
    history.rows.push(row(5, "i-2"));
    broken(&history, &[]);
    history.writes.push(write(6..7, 12.0, Stage::Alone, Told::Nothing));
    history.rows.push(row(6, "i-1"));
    broken(&history, &[Rule::WritesAtTheWriter]);
}

#[test]
fn a_refusal_by_a_reader_is_found_once_the_writer_can_be_known() {
    let refused = || failed(ErrorKind::Driver(DriverClass::Role), TransactionOutcome::NotInTransaction, true);
    let mut history = good();
    history.writes.push(write(5..6, 12.0, Stage::Alone, refused()));
    broken(&history, &[]);
    history.writes.push(write(6..7, 14.0, Stage::Alone, refused()));
    broken(&history, &[Rule::WritesAtTheWriter]);
}

#[test]
fn a_read_from_a_demoted_writer_is_found_once_the_writer_can_be_known() {
    let mut history = good();
    history.looks.push(look(12.5, true, None, true));
    broken(&history, &[]);
    history.looks.push(look(13.5, true, None, true));
    broken(&history, &[Rule::ReadsAtTheWriter]);
}

#[test]
fn a_read_that_misses_the_own_write_is_found() {
    let mut history = good();
    history.looks.push(look(2.0, false, Some((1, false)), true));
    broken(&history, &[Rule::ReadsAtTheWriter]);
}

#[test]
fn an_answer_to_another_question_is_found_at_any_time() {
    let mut history = good();
    history.looks.push(look(10.5, false, None, false));
    broken(&history, &[Rule::OwnAnswer]);
}

#[test]
fn a_call_over_its_deadline_is_found() {
    let mut history = good();
    let slow = |took| Slow { worker: 1, call: "insert", began: at(10.0), took: at(took), limit: at(5.0) };
    history.slow = vec![slow(4.9)];
    broken(&history, &[]);
    history.slow = vec![slow(5.1)];
    broken(&history, &[Rule::Deadline]);
    assert!(check(&history)[0].what.contains("failover of i-1"), "the fault is named");
}

#[test]
fn an_error_that_denies_what_happened_is_found() {
    let cases = [
        (Stage::Alone, failed(SWITCHED, TransactionOutcome::NotInTransaction, false)),
        (Stage::Open, failed(UNKNOWN, TransactionOutcome::RolledBack, true)),
        (Stage::Begin, failed(SWITCHED, TransactionOutcome::NotInTransaction, true)),
        (Stage::Commit, failed(UNKNOWN, TransactionOutcome::RolledBack, true)),
    ];
    for (stage, told) in cases {
        let mut history = good();
        history.writes.push(write(5..6, 2.0, stage, told));
        broken(&history, &[]);
        history.rows.push(row(5, "i-1"));
        broken(&history, &[Rule::Truth]);
    }
}

#[test]
fn an_error_that_admits_what_may_have_happened_is_fine() {
    let cases = [
        (Stage::Alone, failed(SWITCHED, TransactionOutcome::NotInTransaction, true)),
        (Stage::Commit, failed(UNKNOWN, TransactionOutcome::Unknown, true)),
        (Stage::Alone, Told::Nothing),
    ];
    for (stage, told) in cases {
        let mut history = good();
        history.writes.push(write(5..6, 2.0, stage, told));
        history.rows.push(row(5, "i-1"));
        broken(&history, &[]);
    }
}

#[test]
fn an_error_that_forgets_the_transaction_is_found() {
    let mut history = good();
    let told = failed(SWITCHED, TransactionOutcome::NotInTransaction, true);
    history.writes.push(write(5..6, 2.0, Stage::Open, told));
    broken(&history, &[Rule::Truth]);
    let mut history = good();
    let told = failed(UNKNOWN, TransactionOutcome::NotInTransaction, true);
    history.writes.push(write(5..6, 2.0, Stage::Commit, told));
    broken(&history, &[Rule::Truth]);
}

#[test]
fn an_acknowledged_commit_of_a_transaction_that_failed_is_found() {
    let mut history = good();
    let refused = failed(ErrorKind::RolledBack, TransactionOutcome::RolledBack, false);
    history.writes.push(write(5..7, 2.0, Stage::Commit, refused));
    broken(&history, &[]);
    history.writes.push(write(7..9, 2.0, Stage::Commit, Told::Done));
    broken(&history, &[Rule::NothingLost]);
}

#[test]
fn an_error_that_leaves_the_transaction_to_the_caller_after_its_commit_is_found() {
    let mut history = good();
    let told = failed(OTHER, TransactionOutcome::NotInTransaction, true);
    history.writes.push(write(5..7, 2.0, Stage::Commit, told));
    broken(&history, &[Rule::Truth]);
}

#[test]
fn a_row_that_a_helper_said_was_rolled_back_is_found() {
    for told in [
        failed(ErrorKind::RolledBack, TransactionOutcome::RolledBack, false),
        failed(SWITCHED, TransactionOutcome::NotInTransaction, false),
    ] {
        let mut history = good();
        history.writes.push(write(5..6, 2.0, Stage::Helped, told));
        broken(&history, &[]);
        history.rows.push(row(5, "i-1"));
        broken(&history, &[Rule::Truth]);
    }
    let mut history = good();
    history.writes.push(write(5..6, 2.0, Stage::Helped, failed(UNKNOWN, TransactionOutcome::Unknown, true)));
    history.rows.push(row(5, "i-1"));
    broken(&history, &[]);
}

#[test]
fn a_row_of_a_transaction_that_was_left_open_is_found() {
    let said = failed(OTHER, TransactionOutcome::NotInTransaction, true);
    for told in [Told::Nothing, said] {
        let mut history = good();
        history.writes.push(write(5..6, 2.0, Stage::Doomed, told));
        broken(&history, &[]);
        history.rows.push(row(5, "i-1"));
        broken(&history, &[Rule::Truth]);
    }
}

fn quote(expected: Expected, kind: ErrorKind, words: &'static str) -> Quote {
    let mut failure = failure(kind, TransactionOutcome::NotInTransaction, true);
    failure.quotes = Some(words);
    failure.is_usable = kind != ErrorKind::Login;
    Quote { worker: 1, call: "forged", began: at(1.0), ended: at(1.0), expected, failure }
}

#[test]
fn an_error_of_the_server_that_became_something_else_is_found() {
    let mut history = good();
    history.quotes.push(quote(Expected::Error, OTHER, MARK));
    history.quotes.push(quote(Expected::Cause, ErrorKind::RolledBack, MARK));
    broken(&history, &[]);
    for (expected, kind) in [
        (Expected::Error, SWITCHED),
        (Expected::Error, ErrorKind::Login),
        (Expected::Error, ErrorKind::Driver(DriverClass::Network)),
        (Expected::Cause, UNKNOWN),
    ] {
        let mut history = good();
        history.quotes.push(quote(expected, kind, MARK));
        broken(&history, &[Rule::ServersOwn]);
    }
}

#[test]
fn an_error_of_the_server_that_gives_a_living_connection_up_is_found() {
    let lost = |began| {
        let mut quote = quote(Expected::Error, OTHER, MARK);
        quote.failure.is_usable = false;
        (quote.began, quote.ended) = (at(began), at(began));
        quote
    };
    let mut history = good();
    history.quotes.push(lost(10.5));
    broken(&history, &[]);
    history.quotes.push(lost(2.0));
    broken(&history, &[Rule::ServersOwn]);
}

#[test]
fn the_error_of_another_call_is_found() {
    for (expected, kind) in
        [(Expected::Nothing, OTHER), (Expected::Nothing, SWITCHED), (Expected::Cause, OTHER)]
    {
        let mut history = good();
        history.quotes.push(quote(expected, kind, MARK));
        broken(&history, &[Rule::OwnAnswer]);
    }
}

#[test]
fn what_a_borrower_left_in_the_session_is_found() {
    let mut history = good();
    history.left_behind.push(Leftover {
        worker: 1,
        began: at(1.0),
        ended: at(1.0),
        instance: "i-1".to_owned(),
        what: "a lock".to_owned(),
    });
    broken(&history, &[Rule::CleanSession]);
    // Or felt.
    let mut history = good();
    history.quotes.push(quote(Expected::Cause, OTHER, "current transaction is aborted"));
    broken(&history, &[]);
    history.quotes.push(quote(Expected::Nothing, OTHER, "current transaction is aborted"));
    broken(&history, &[Rule::CleanSession]);
}

#[test]
fn what_is_left_over_is_found() {
    let mut history = good();
    history.leftovers.push("3 tasks".to_owned());
    broken(&history, &[Rule::NothingLeft]);
}
