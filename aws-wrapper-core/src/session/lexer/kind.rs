//! What a statement is for, by its first words.

use super::tokens::{Kind, Token, is_one_of};
use super::{is_surely_one, tokens};
use crate::engine::Engine;
use crate::session::StatementKind;

/// What `sql` is for, as far as its words tell. Functions that a query calls are not looked at.
pub fn statement_kind(engine: Engine, sql: &str) -> StatementKind {
    if !is_surely_one(sql) || tokens(engine, sql).any(|token| is_ambiguous(&token)) {
        return StatementKind::Unknown;
    }
    let mut words = tokens(engine, sql).filter(|token| token.kind == Kind::Word);
    let Some(first) = words.next() else { return StatementKind::Unknown };
    let is = |words: &[&str]| is_one_of(first.text, words);
    if is(&["select", "table", "values"]) {
        return of_query(words);
    }
    if is(&["show", "describe", "desc"]) {
        return StatementKind::Read;
    }
    if is(&["insert", "update", "delete", "replace", "merge", "truncate"]) {
        return StatementKind::Write;
    }
    if is(&["begin", "start", "commit", "rollback", "savepoint", "release", "end", "abort"]) {
        return StatementKind::TransactionControl;
    }
    if is(&["set", "reset", "use", "discard"]) {
        return StatementKind::SessionSetting;
    }
    StatementKind::Unknown
}

/// A query reads, unless it has a word by which queries write or lock.
fn of_query<'a>(mut rest: impl Iterator<Item = Token<'a>>) -> StatementKind {
    if rest.any(|word| is_one_of(word.text, &["into", "for", "lock", "update", "share"])) {
        StatementKind::Unknown
    } else {
        StatementKind::Read
    }
}

/// Whether `sql` begins a transaction that refuses writes.
pub fn begins_read_only(engine: Engine, sql: &str) -> bool {
    let mut words = tokens(engine, sql).solid().map(|token| token.text);
    let begins = match words.next() {
        Some(first) if is_one_of(first, &["start"]) => {
            words.next().is_some_and(|word| is_one_of(word, &["transaction"]))
        }
        Some(first) => is_one_of(first, &["begin"]),
        None => false,
    };
    let words: Vec<_> = words.take_while(|word| *word != ";").collect();
    begins && words.windows(2).any(|pair| is_one_of(pair[0], &["read"]) && is_one_of(pair[1], &["only"]))
}

fn is_ambiguous(token: &Token<'_>) -> bool {
    matches!(token.kind, Kind::Ambiguous | Kind::Open | Kind::Code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_words_tell() {
        for engine in [Engine::Postgres, Engine::MySql] {
            for (sql, kind) in [
                ("select 1", StatementKind::Read),
                ("  /* note */ SELECT a FROM t WHERE b = 'for update';", StatementKind::Read),
                ("table t", StatementKind::Read),
                ("show status", StatementKind::Read),
                ("select a from t for update", StatementKind::Unknown),
                ("select a into b from t", StatementKind::Unknown),
                ("with x as (delete from t returning *) select * from x", StatementKind::Unknown),
                ("insert into t values (1)", StatementKind::Write),
                ("Delete from t", StatementKind::Write),
                ("start transaction read only", StatementKind::TransactionControl),
                ("COMMIT", StatementKind::TransactionControl),
                ("set names utf8", StatementKind::SessionSetting),
                ("select 1; delete from t", StatementKind::Unknown),
                ("call p()", StatementKind::Unknown),
                ("", StatementKind::Unknown),
            ] {
                assert_eq!(statement_kind(engine, sql), kind, "{sql}");
            }
        }
    }

    #[test]
    fn a_read_only_beginning_is_recognised() {
        for engine in [Engine::Postgres, Engine::MySql] {
            for sql in [
                "START TRANSACTION READ ONLY",
                "start transaction /* x */ read only, isolation level serializable; select 1",
            ] {
                assert!(begins_read_only(engine, sql), "{sql}");
            }
            for sql in [
                "start transaction",
                "start transaction read write",
                "select 'begin read only'",
                "begin; set read only",
                "",
            ] {
                assert!(!begins_read_only(engine, sql), "{sql}");
            }
        }
    }
}
