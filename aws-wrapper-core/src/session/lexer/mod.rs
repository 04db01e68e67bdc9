//! Just enough of SQL's lexical rules to look at a statement after it failed or to log it. A file for each engine.
//!
//! The state of a transaction never comes from here: the protocol tells it. Where a text can be read in two ways, the
//! answer is the careful one.

mod change;
mod kind;
mod mysql;
mod postgres;
mod tokens;

pub use change::session_change;
pub use kind::{begins_read_only, statement_kind};
use tokens::{Kind, Token, Tokens, is_one_of};

use crate::engine::Engine;

/// Whether `sql` holds a statement that can end a transaction by committing it.
///
/// On PostgreSQL these are `COMMIT`, `COMMIT PREPARED`, `END` and `PREPARE TRANSACTION`, and `CALL` and `DO`, whose code
/// may commit. On MySQL all but queries, changes of rows, and what is known to leave a transaction open: most others
/// commit first. True also when the text cannot be split reliably: when a literal or comment has no end, or has another
/// one by other settings of the server.
pub fn may_commit(engine: Engine, sql: &str) -> bool {
    match engine {
        Engine::Postgres => holds(engine, sql, postgres::Beginning::of_any()),
        Engine::MySql => holds(engine, sql, mysql::Fate::Unbegun),
    }
}

/// Whether `sql`, sent as several statements, can end a transaction that is open by committing it: as [`may_commit`],
/// on PostgreSQL without `CALL` and `DO`, which the server does not let do so.
#[inline]
pub(crate) fn may_commit_open(engine: Engine, sql: &str) -> bool {
    // Most texts are one statement, and finding that out is quick.
    if !sql.trim_end().trim_end_matches(';').as_bytes().contains(&b';') {
        return one_may_commit_open(engine, sql);
    }
    several_may_commit_open(engine, sql)
}

fn several_may_commit_open(engine: Engine, sql: &str) -> bool {
    match engine {
        Engine::Postgres => holds(engine, sql, postgres::Beginning::in_open()),
        Engine::MySql => holds(engine, sql, mysql::Fate::Unbegun),
    }
}

/// As [`may_commit_open`], for a text that is one statement. Costs next to nothing for a query.
#[inline]
pub(crate) fn one_may_commit_open(engine: Engine, sql: &str) -> bool {
    match engine {
        Engine::Postgres => postgres::one_may_commit_open(sql),
        Engine::MySql => mysql::one_may_commit_open(sql),
    }
}

/// Whether the last statement in `sql` that ends a transaction by name is one that commits it: `COMMIT`, and on PostgreSQL
/// `END` and `PREPARE TRANSACTION`. The server may answer those by rolling back.
pub fn ends_in_commit(engine: Engine, sql: &str) -> bool {
    let mut commits = false;
    each_head(engine, sql, |head| commits = is_kept(engine, head).unwrap_or(commits));
    commits
}

/// Whether a statement that begins with these words keeps the transaction or drops it; `None` if it does not end it by
/// name.
fn is_kept(engine: Engine, head: Head<'_>) -> Option<bool> {
    let is = |index: usize, known: &[&str]| is_one_of(head[index], known);
    let ends = if engine == Engine::Postgres { &["commit", "end"][..] } else { &["commit"] };
    if is(0, ends) {
        return (!is(1, &["prepared"])).then_some(true);
    }
    if is(0, &["rollback", "abort"]) {
        return (!is(1, &["to", "prepared"]) && !is(2, &["to"])).then_some(false);
    }
    (engine == Engine::Postgres && is(0, &["prepare"]) && is(1, &["transaction"])).then_some(true)
}

/// Whether a statement in `sql` begins a transaction by name or drops the one that is open: what became of an earlier one
/// does not concern what follows. Of MySQL, with `XA`.
pub fn starts_over(engine: Engine, sql: &str) -> bool {
    let mut starts = false;
    each_head(engine, sql, |head| {
        let is = |index: usize, known: &[&str]| is_one_of(head[index], known);
        starts |= (is(0, &["begin"]) && !is(1, &["not"]))
            || (is(0, &["start"]) && is(1, &["transaction"]))
            || (is(0, &["xa"]) && is(1, &["start", "begin", "rollback", "commit"]))
            || (is(0, &["rollback"]) && !is(1, &["to"]) && !is(2, &["to"]));
    });
    starts
}

/// The first words of a statement; empty where there is none, or something else.
type Head<'a> = [&'a str; 3];

/// Looks at the beginning of each statement in `sql`.
fn each_head<'a>(engine: Engine, sql: &'a str, mut look: impl FnMut(Head<'a>)) {
    let (mut head, mut seen): (Head<'a>, _) = ([""; 3], 0);
    // Of one statement nothing matters behind its first words, and finding out that it is one is quick.
    let is_one = !sql.as_bytes().contains(&b';');
    for token in tokens(engine, sql).solid() {
        if token.kind == Kind::Symbol && token.text == ";" {
            look(head);
            (head, seen) = ([""; 3], 0);
        } else if let Some(word) = head.get_mut(seen) {
            *word = if token.kind == Kind::Word { token.text } else { "" };
            seen += 1;
        } else if is_one {
            break;
        }
    }
    look(head);
}

/// Whether `sql` has no second statement. Quick; a semicolon in a literal may also be the end of a statement.
pub(crate) fn is_surely_one(sql: &str) -> bool {
    !sql.trim_end().trim_end_matches(';').as_bytes().contains(&b';')
}

/// Whether `sql` is one statement that leaves no transaction open when it fails outside of one: a query or a change of
/// rows. Of MySQL, where a procedure, or the first of several statements, may have begun one.
pub fn is_one_plain(engine: Engine, sql: &str) -> bool {
    const PLAIN: &[&str] = &[
        "select", "insert", "update", "delete", "replace", "with", "values", "table", "show", "explain",
        "describe", "desc", "do", "use", "help", "kill",
    ];
    let mut tokens = tokens(engine, sql).solid().map(|token| (token.kind, token.text));
    let Some((kind, first)) = tokens.next() else { return false };
    let is_plain = first == "(" || (kind == Kind::Word && is_one_of(first, PLAIN));
    // Most texts have no second statement, and finding that out is quick.
    is_plain
        && (is_surely_one(sql)
            || tokens
                .skip_while(|(_, text)| *text != ";")
                .all(|(kind, text)| kind == Kind::Symbol && text == ";"))
}

/// `sql` with `?` for each literal, be it text or number, and without its comments.
///
/// Names, parameters such as `$1` and white space stay. Where a literal's end is uncertain, the rest is left out.
pub fn redact(engine: Engine, sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    redact_into(&mut out, engine, sql);
    out.truncate(out.trim_end().len());
    out
}

fn redact_into(out: &mut String, engine: Engine, sql: &str) {
    for token in tokens(engine, sql) {
        match token.kind {
            Kind::Comment => {
                // It separated what stands on its two sides.
                if out.ends_with(|last: char| !last.is_whitespace()) {
                    out.push(' ');
                }
            }
            Kind::Text | Kind::Number => out.push('?'),
            Kind::Open | Kind::Ambiguous => {
                out.push_str("? …");
                break;
            }
            Kind::Code => {
                let (open, body) = mysql::code_parts(token.text);
                out.push_str(open);
                redact_into(out, engine, body);
                out.push_str("*/");
            }
            Kind::Space | Kind::Word | Kind::Name | Kind::Parameter | Kind::Symbol => {
                out.push_str(token.text);
            }
        }
    }
}

/// A statement that is read token by token.
trait Statement<'a>: Copy {
    /// Takes in the next token, which neither separates nor is uncertain. Whether the statement may commit, as far as it
    /// is known by now.
    fn may_commit(&mut self, token: Token<'a>) -> bool;
}

/// Whether one of the statements in `sql` may commit; true also when they cannot be told apart.
fn holds<'a>(engine: Engine, sql: &'a str, unbegun: impl Statement<'a>) -> bool {
    let mut statement = unbegun;
    tokens(engine, sql).solid().any(|token| match token.kind {
        Kind::Open | Kind::Ambiguous => true,
        Kind::Symbol if token.text == ";" => {
            statement = unbegun;
            false
        }
        _ => statement.may_commit(token),
    })
}

fn tokens(engine: Engine, sql: &str) -> Tokens<'_> {
    Tokens::of(
        sql,
        match engine {
            Engine::Postgres => postgres::first_token,
            Engine::MySql => mysql::first_token,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_end_of_a_transaction_counts() {
        for sql in [
            "commit",
            " COMMIT;",
            "commit and chain",
            "insert into t values (1); commit",
            "rollback; begin; commit work;",
            "commit; select 1",
            "commit; rollback to a",
            "commit; rollback work to savepoint a",
        ] {
            assert!(ends_in_commit(Engine::Postgres, sql) && ends_in_commit(Engine::MySql, sql), "{sql}");
        }
        for sql in ["end", "END WORK", "prepare transaction 'a'", "begin; end"] {
            assert!(ends_in_commit(Engine::Postgres, sql) && !ends_in_commit(Engine::MySql, sql), "{sql}");
        }
        for sql in [
            "",
            "select 1",
            "rollback",
            "commit; begin; rollback",
            "abort",
            "commit prepared 'a'",
            "prepare a as select 1",
            "select 'commit'",
            "select 1 as commit",
        ] {
            assert!(!ends_in_commit(Engine::Postgres, sql) && !ends_in_commit(Engine::MySql, sql), "{sql}");
        }
    }

    #[test]
    fn a_transaction_is_begun_or_dropped_by_name() {
        for sql in [
            "begin",
            "BEGIN WORK",
            "start transaction read only",
            "set transaction read only; start transaction",
            "rollback",
            "/* a */ ROLLBACK AND CHAIN",
            "insert into t values (1); rollback; select 1",
            "xa start 'a'",
            "XA ROLLBACK 'a'",
        ] {
            assert!(starts_over(Engine::MySql, sql), "{sql}");
        }
        for sql in [
            "",
            "commit",
            "select 'rollback'",
            "rollback to a",
            "rollback work to savepoint a",
            "begin not atomic select 1; end",
            "start replica",
            "xa end 'a'",
            "xa prepare 'a'",
        ] {
            assert!(!starts_over(Engine::MySql, sql), "{sql}");
        }
    }

    #[test]
    fn only_one_query_or_change_of_rows_is_plain() {
        for sql in
            ["select 1", "insert into t values (';')", "UPDATE t set a = 1;", "(select 1)", "do sleep(1) ;;"]
        {
            assert!(is_one_plain(Engine::MySql, sql), "{sql}");
        }
        for sql in [
            "",
            "call p()",
            "select 1; insert into t values (1)",
            "begin",
            "set autocommit = 0",
            "xa start 'a'",
            "select ';' ; x",
        ] {
            assert!(!is_one_plain(Engine::MySql, sql), "{sql}");
        }
    }

    #[test]
    fn no_text_breaks_the_lexer() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let parts = [
            "'", "\"", "`", "$", "$a$", "E'", "\\", "/*", "*/", "/*!", "/*M!1", "80000", "--", "#", "\n",
            ";", "commit", "set", "select", "1", ".", "e", "-", "ä", " ", "u&", "x", "_utf8", "@", "\0", "(",
        ];
        for _ in 0..50_000 {
            let sql: String = (0..random.usize(..12)).map(|_| parts[random.usize(..parts.len())]).collect();
            for engine in [Engine::Postgres, Engine::MySql] {
                let joined: String = tokens(engine, &sql).map(|token| token.text).collect();
                assert_eq!(joined, sql);
                redact(engine, &sql);
                let (any, open) = (may_commit(engine, &sql), may_commit_open(engine, &sql));
                assert!(any || !open, "{engine:?}: {sql}");
                one_may_commit_open(engine, &sql);
            }
        }
    }
}
