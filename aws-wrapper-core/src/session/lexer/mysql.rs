//! MySQL and MariaDB: backslashes, backticks, comments that are code, and statements that commit on the side.
//!
//! Most statements other than queries commit the transaction that is open when they begin, and every version brings new
//! ones. So the list is of those that do not.

use super::Statement;
use super::tokens::{
    Kind, Token, Tokens, close, dollar_quoted, dollar_tag, escaped, find, is_one_of, is_word_byte,
    is_word_start, number, quoted, span,
};

/// Statements that never commit an open transaction. `SET` and `LOAD` are looked at further.
const HARMLESS: &[&str] = &[
    "select",
    "insert",
    "update",
    "delete",
    "replace",
    "with",
    "values",
    "table",
    "show",
    "explain",
    "describe",
    "desc",
    "use",
    "do",
    "handler",
    "savepoint",
    "release",
    "rollback",
    "prepare",
    "deallocate",
    "help",
    "kill",
];

/// Any of these words in it makes a `SET` one that may commit: `autocommit` does, `SET PASSWORD` and `SET DEFAULT ROLE`
/// do, and MariaDB's `SET STATEMENT … FOR` runs another statement.
const COMMITTING_IN_SET: &[&str] = &["autocommit", "password", "default", "statement"];

/// What is known of a statement so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Unbegun,
    /// Begun by code that not every server runs: what follows continues it or begins the statement.
    Doubtful,
    Harmless,
    Set,
    Load,
}

impl Fate {
    /// Of a statement that begins with this token; nothing if it may commit.
    fn of_first(token: Token<'_>) -> Option<Self> {
        let is = |words: &[&str]| token.kind == Kind::Word && is_one_of(token.text, words);
        match token.text {
            "(" => Some(Self::Harmless),
            _ if is(HARMLESS) => Some(Self::Harmless),
            _ if is(&["set"]) => Some(Self::Set),
            _ if is(&["load"]) => Some(Self::Load),
            _ => None,
        }
    }

    /// Takes in code: whether the server runs it depends on its version, so both must be harmless.
    fn may_commit_in(&mut self, code: Token<'_>) -> bool {
        let before = *self;
        let (_, body) = code_parts(code.text);
        if Tokens::of(body, first_token).solid().any(|token| self.may_commit(token)) {
            return true;
        }
        *self = if before == Self::Unbegun && *self != before { Self::Doubtful } else { before };
        false
    }
}

impl<'a> Statement<'a> for Fate {
    fn may_commit(&mut self, token: Token<'a>) -> bool {
        match self {
            _ if token.kind == Kind::Code => self.may_commit_in(token),
            Self::Unbegun => match Self::of_first(token) {
                Some(fate) => {
                    *self = fate;
                    false
                }
                None => true,
            },
            Self::Doubtful => true,
            Self::Harmless => false,
            Self::Set => is_one_of(token.text.trim_matches(['`', '"']), COMMITTING_IN_SET),
            Self::Load => {
                *self = Self::Harmless;
                !is_one_of(token.text, &["data", "xml"])
            }
        }
    }
}

/// Whether one statement may commit an open transaction. Costs next to nothing for a query.
#[inline]
pub(super) fn one_may_commit_open(sql: &str) -> bool {
    !is_usual(sql.as_bytes()) && first_may_commit(sql)
}

/// Whether it begins with one of the four statements that nearly all are: one comparison for each, no loop.
#[inline]
fn is_usual(sql: &[u8]) -> bool {
    const SELECT: u64 = u64::from_le_bytes(*b"select\0\0");
    const INSERT: u64 = u64::from_le_bytes(*b"insert\0\0");
    const UPDATE: u64 = u64::from_le_bytes(*b"update\0\0");
    const DELETE: u64 = u64::from_le_bytes(*b"delete\0\0");
    /// What an upper-case letter lacks.
    const LOWER: u64 = u64::from_le_bytes([0x20; 8]);
    const SIX_BYTES: u64 = u64::from_le_bytes(*b"\xff\xff\xff\xff\xff\xff\0\0");

    let Some(head) = sql.first_chunk() else { return false };
    matches!((u64::from_le_bytes(*head) | LOWER) & SIX_BYTES, SELECT | INSERT | UPDATE | DELETE)
        && head[6].is_ascii_whitespace()
}

fn first_may_commit(sql: &str) -> bool {
    let mut fate = Fate::Unbegun;
    for token in Tokens::of(sql, first_token).solid() {
        match token.kind {
            Kind::Open | Kind::Ambiguous => return true,
            Kind::Symbol if token.text == ";" => return false,
            _ if fate.may_commit(token) => return true,
            _ if fate == Fate::Harmless => return false,
            _ => {}
        }
    }
    false
}

/// Kind and length of the token at the start of `s`.
pub(super) fn first_token(s: &[u8]) -> Option<(Kind, usize)> {
    let token = match (*s.first()?, s.get(1).copied().unwrap_or(0)) {
        (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => (Kind::Space, span(s, 1, u8::is_ascii_whitespace)),
        (b'#', _) => (Kind::Comment, line_comment(s)),
        (b'-', b'-') if is_blank(s.get(2)) => (Kind::Comment, line_comment(s)),
        (b'/', b'*') if code_start(s).is_some() => code(s),
        (b'/', b'*') => close(Kind::Comment, find(s, 2, b"*/").map(|end| end + 2), s),
        (b'\'' | b'"', _) => literal(s, 0),
        (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => literal(s, 1),
        (b'`', _) => close(Kind::Name, quoted(s, 0), s),
        (b'$', _) => match dollar_tag(s) {
            // Before MySQL 9 this is a name.
            Some(tag) => close(Kind::Ambiguous, dollar_quoted(s, tag), s),
            None => (Kind::Word, span(s, 1, |&byte| is_word_byte(byte))),
        },
        (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => (Kind::Number, number(s)),
        (first, _) if is_word_start(first) => (Kind::Word, span(s, 1, |&byte| is_word_byte(byte))),
        _ => (Kind::Symbol, 1),
    };
    Some(token)
}

/// What makes two dashes a comment.
fn is_blank(after: Option<&u8>) -> bool {
    after.is_none_or(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control())
}

fn line_comment(s: &[u8]) -> usize {
    span(s, 1, |&byte| byte != b'\n')
}

/// `'…'`, or `"…"`, which may be a name. With `NO_BACKSLASH_ESCAPES` a backslash is one; else it escapes the next byte.
fn literal(s: &[u8], open: usize) -> (Kind, usize) {
    match (escaped(s, open), quoted(s, open)) {
        (Some(end), Some(other)) if end == other => (Kind::Text, end),
        (None, None) => (Kind::Open, s.len()),
        (end, other) => (Kind::Ambiguous, end.or(other).unwrap_or(s.len())),
    }
}

/// `/*! … */`, `/*!80000 … */`, and `/*M!100100 … */` for MariaDB.
fn code(s: &[u8]) -> (Kind, usize) {
    let start = code_start(s).unwrap_or(2);
    let Some(end) = find(s, start, b"*/") else { return (Kind::Open, s.len()) };
    let body = &s[start..end];
    // A server that skips it looks for nothing but its end, one that runs it for the ends of what is in it.
    let is_clear = find(body, 0, b"/*").is_none() && !body.contains(&b';') && has_only_clear_tokens(body);
    (if is_clear { Kind::Code } else { Kind::Ambiguous }, end + 2)
}

fn has_only_clear_tokens(mut body: &[u8]) -> bool {
    while let Some((kind, length)) = first_token(body) {
        if matches!(kind, Kind::Comment | Kind::Open | Kind::Ambiguous) {
            return false;
        }
        body = &body[length..];
    }
    true
}

/// The length of what stands before the code.
fn code_start(s: &[u8]) -> Option<usize> {
    let bang = match s {
        [b'/', b'*', b'!', ..] => 3,
        [b'/', b'*', b'M', b'!', ..] => 4,
        _ => return None,
    };
    Some(bang + s[bang..].iter().take(6).take_while(|byte| byte.is_ascii_digit()).count())
}

/// Of a [`Kind::Code`]: what opens it, and the code.
pub(super) fn code_parts(text: &str) -> (&str, &str) {
    let start = code_start(text.as_bytes()).unwrap_or_default();
    let (open, rest) = text.split_at(start);
    (open, rest.strip_suffix("*/").unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::is_usual;
    use crate::engine::Engine::MySql;
    use crate::session::lexer;

    /// Whether it may commit, the same whatever is known of the transaction; but a text without `;` that cannot be split
    /// need not be, and is known by its first words.
    fn may_commit(sql: &str) -> bool {
        let any = lexer::may_commit(MySql, sql);
        let in_open = lexer::may_commit_open(MySql, sql);
        let is_one = !sql.contains(';');
        assert!(
            in_open == any || (is_one && any && in_open == lexer::one_may_commit_open(MySql, sql)),
            "{sql}"
        );
        any
    }

    #[test]
    fn statements_that_commit_by_word_or_on_the_side_are_found() {
        for sql in [
            "commit",
            "  COMMIT;",
            "Commit And Chain",
            "begin",
            "start transaction",
            "create table t (a int)",
            "CREATE TEMPORARY TABLE t (a int)",
            "alter table t add b int",
            "drop table t",
            "rename table a to b",
            "truncate t",
            "grant select on t to u",
            "lock tables t read",
            "unlock tables",
            "analyze table t",
            "optimize table t",
            "flush tables",
            "reset replica",
            "call p(1)",
            "execute s",
            "xa commit 'x'",
            "load index into cache t",
            "set autocommit = 1",
            "SET @@session.AUTOCOMMIT=1",
            "set session autocommit = on",
            "set @a = 1, @@autocommit = 1",
            "set `autocommit` = 1",
            "set password = 'x'",
            "set password for u = 'x'",
            "set default role r to u",
            "set statement max_statement_time = 1 for commit",
            "a_statement_of_tomorrow",
            "/* a */commit",
            "/*+ hint */ commit",
            "# rollback\ncommit",
            "-- rollback\ncommit",
            "--\tx\ncommit",
            "--\ncommit",
            "/*!commit*/",
            "/*!50000 create table t (a int) */",
            "/*M!100100 commit */",
            "/*!40101 set */ autocommit = 1",
            "/*!99999 select */ commit",
        ] {
            assert!(may_commit(sql), "{sql}");
            assert!(lexer::one_may_commit_open(MySql, sql), "{sql}");
        }
    }

    #[test]
    fn they_are_found_behind_others() {
        for sql in [
            "select 1; commit",
            ";;commit",
            "insert into t values ('a;b'); /* c */ drop table u;",
            "select `a``;`; commit",
            "select \"a\"\";\"; commit",
            "select /* a /* b */; commit",
            "select 1 # ;\n; commit",
            "select 1 --;commit",
            "select 'a\\\\'; commit",
            "select 2 */* ' */ 3; commit -- '",
            "select /*!40001 sql_no_cache */ 1; commit",
            // Cannot be split reliably.
            "select 'a",
            "select \"a",
            "select `a",
            "select /* a",
            "select /*! a",
            "select 'it\\'s'",
            "select 'a\\', 'b'",
            "select $$ a $$",
            "select $a$; commit; select $a$",
            "select 1 /*!99999 ' */; commit -- '",
            "select 1 /*! # */\n",
            "select 1 /*!99999 ; */ from t",
            "select /*! /* a */ */ 1",
        ] {
            assert!(may_commit(sql), "{sql}");
        }
    }

    #[test]
    fn other_statements_cannot_commit() {
        for sql in [
            "",
            ";",
            "select 1",
            "(select 1) union (select 2)",
            "SELECT a FROM commit",
            "insert into t values (1)",
            "update t set autocommit = 1",
            "delete from t",
            "replace into t values (1)",
            "with a as (select 1) select * from a",
            "values row(1)",
            "table t",
            "show tables",
            "explain select 1",
            "describe t",
            "desc t",
            "use db",
            "do sleep(0)",
            "handler t open",
            "savepoint commit",
            "release savepoint a",
            "rollback",
            "rollback to commit",
            "prepare s from 'commit'",
            "deallocate prepare s",
            "help 'commit'",
            "kill query 1",
            "load data infile 'f' into table t",
            "LOAD XML infile 'f' into table t",
            "set names utf8mb4",
            "set @a = 1; set sql_mode = ''",
            "set transaction isolation level serializable",
            "select 'x; commit'",
            "select \"x; commit\"",
            "select `; commit`",
            "select 'a''; commit'",
            "select 'a\\n; commit'",
            "select _utf8'; commit', n'; commit', x'00', b'01', 0x1F, 1e-5",
            "select 1 # ; commit",
            "select 1 -- ; commit",
            "select 1 --",
            "select 1 /* ; /* ; commit */",
            "select /*+ set_var(a = 1) */ 1",
            "select $commit, @commit, @@commit, ?, :commit",
            "insert /*!40000 delayed */ into t values ('a')",
            "/*!40101 SET NAMES utf8 */; /*!40101 SET @a = 'b' */;",
            "select 2*/* ; commit */3",
            "select 'ä; commit ö'",
        ] {
            assert!(!may_commit(sql), "{sql}");
            assert!(!lexer::one_may_commit_open(MySql, sql), "{sql}");
        }
    }

    #[test]
    fn one_statement_is_known_by_its_first_word() {
        for sql in
            ["select 'it\\'s'", "\n  Insert into t values ('a\\'", "UPDATE", "delete/**/from t", "select$$"]
        {
            assert_eq!(lexer::one_may_commit_open(MySql, sql), sql == "select$$", "{sql}");
        }
        for sql in ["select 1", "SELECT\na", "Insert\tinto t", "update t", "dELETE from t"] {
            assert!(is_usual(sql.as_bytes()), "{sql}");
        }
        for sql in ["selects", "select", "", "ｓelect 1", "call p()", "5elect 1", "drop   t"] {
            assert!(!is_usual(sql.as_bytes()), "{sql}");
        }
        for sql in ["selects", "update_t", "inserté", "call p()", "'a", "/* a", "1", "?"] {
            assert!(lexer::one_may_commit_open(MySql, sql), "{sql}");
        }
    }

    #[test]
    fn literals_and_comments_are_taken_out() {
        for (sql, shown) in [
            ("select 1", "select ?"),
            ("select 'a''b', \"c\"\"d\", 2.5e-3 , .5, 0x1F", "select ?, ?, ? , ?, ?"),
            ("select 'a\\\\', 'b\\n'", "select ?, ?"),
            ("select -1+2, 1--2", "select -?+?, ?--?"),
            ("select a1, `b 2`, ?, :c, @d, @@e from t3", "select a1, `b 2`, ?, :c, @d, @@e from t3"),
            ("select N'a', b'01', X'00', _utf8'b' from t", "select ?, ?, ?, _utf8? from t"),
            ("select/* secret */1 -- secret", "select ?"),
            ("select 1 # secret\n, 2", "select ? \n, ?"),
            ("select /*+ max_execution_time(1) */ 1", "select  ?"),
            ("select /*!40001 a = 'secret', 5 */ 1", "select /*!40001 a = ?, ? */ ?"),
            ("/*!40101 SET NAMES 'utf8' */;", "/*!40101 SET NAMES ? */;"),
            ("set password = 'p", "set password = ? …"),
            ("select 'it\\'s secret'", "select ? …"),
            ("create function f() returns int $$ secret $$ b", "create function f() returns int ? …"),
            ("grant all on d.* to 'u'@'%'", "grant all on d.* to ?@?"),
            ("select 'ä' as ö", "select ? as ö"),
            ("", ""),
        ] {
            assert_eq!(lexer::redact(MySql, sql), shown, "{sql}");
        }
    }
}
