//! PostgreSQL: escaped literals, dollar quotes, nested comments. A transaction is committed by those who say so.

use super::Statement;
use super::tokens::{
    Kind, Token, Tokens, close, dollar_quoted, dollar_tag, escaped, is_one_of, is_word_byte, is_word_start,
    number, quoted, span,
};

/// The words a statement begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beginning<'a> {
    words: [&'a str; 2],
    seen: usize,
    code_commits: bool,
}

impl Beginning<'_> {
    /// Of a statement that may run outside of a transaction: code called by it can commit.
    pub(super) fn of_any() -> Self {
        Self { words: [""; 2], seen: 0, code_commits: true }
    }

    /// Of a statement in an open transaction, which the server does not let code commit.
    pub(super) fn in_open() -> Self {
        Self { code_commits: false, ..Self::of_any() }
    }
}

impl<'a> Statement<'a> for Beginning<'a> {
    fn may_commit(&mut self, token: Token<'a>) -> bool {
        let Some(word) = self.words.get_mut(self.seen) else { return false };
        *word = if token.kind == Kind::Word { token.text } else { "" };
        self.seen += 1;
        match self.words[..self.seen] {
            [first] => {
                is_one_of(first, &["commit", "end"])
                    || (self.code_commits && is_one_of(first, &["call", "do"]))
            }
            [first, second] => is_one_of(first, &["prepare"]) && is_one_of(second, &["transaction"]),
            _ => false,
        }
    }
}

/// Whether one statement may commit an open transaction. Costs next to nothing for a query.
#[inline]
pub(super) fn one_may_commit_open(sql: &str) -> bool {
    let first = sql.as_bytes().first().map_or(b's', u8::to_ascii_lowercase);
    let may_begin_so = !first.is_ascii_alphabetic() || matches!(first, b'c' | b'e' | b'p');
    may_begin_so && {
        let mut beginning = Beginning::in_open();
        Tokens::of(sql, first_token).solid().take(2).any(|token| beginning.may_commit(token))
    }
}

/// Kind and length of the token at the start of `s`.
pub(super) fn first_token(s: &[u8]) -> Option<(Kind, usize)> {
    let token = match (*s.first()?, s.get(1).copied().unwrap_or(0)) {
        (b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c, _) => (Kind::Space, span(s, 1, u8::is_ascii_whitespace)),
        (b'-', b'-') => (Kind::Comment, span(s, 2, |b| !matches!(b, b'\n' | b'\r'))),
        (b'/', b'*') => close(Kind::Comment, block_comment(s), s),
        (b'\'', _) => plain_literal(s, 0),
        (b'e' | b'E', b'\'') => close(Kind::Text, escaped_literal(s, 1), s),
        (b'b' | b'B' | b'x' | b'X' | b'n' | b'N', b'\'') => plain_literal(s, 1),
        (b'u' | b'U', b'&') if s.get(2) == Some(&b'\'') => plain_literal(s, 2),
        (b'u' | b'U', b'&') if s.get(2) == Some(&b'"') => close(Kind::Name, quoted(s, 2), s),
        (b'"', _) => close(Kind::Name, quoted(s, 0), s),
        (b'$', b'0'..=b'9') => (Kind::Parameter, span(s, 1, u8::is_ascii_digit)),
        (b'$', _) => match dollar_tag(s) {
            Some(tag) => close(Kind::Text, dollar_quoted(s, tag), s),
            None => (Kind::Symbol, 1),
        },
        (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => (Kind::Number, number(s)),
        (first, _) if is_word_start(first) => (Kind::Word, span(s, 1, |&byte| is_word_byte(byte))),
        _ => (Kind::Symbol, 1),
    };
    Some(token)
}

/// `'…'`: a backslash in it is one or escapes the next byte, by the server's settings.
fn plain_literal(s: &[u8], open: usize) -> (Kind, usize) {
    let (kind, end) = close(Kind::Text, quoted(s, open), s);
    let is_ambiguous = s[..end].windows(2).any(|pair| pair == b"\\'");
    (if kind == Kind::Text && is_ambiguous { Kind::Ambiguous } else { kind }, end)
}

/// The end of `E'…'`; further parts may follow on new lines.
fn escaped_literal(s: &[u8], open: usize) -> Option<usize> {
    let mut end = escaped(s, open)?;
    loop {
        let next = span(s, end, u8::is_ascii_whitespace);
        if s.get(next) != Some(&b'\'') || !s[end..next].contains(&b'\n') {
            return Some(end);
        }
        end = escaped(s, next)?;
    }
}

fn block_comment(s: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (1, 2);
    while depth > 0 {
        match (s.get(at)?, s.get(at + 1)) {
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            _ => at += 1,
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use crate::engine::Engine::Postgres;
    use crate::session::lexer;

    fn may_commit(sql: &str) -> bool {
        lexer::may_commit(Postgres, sql)
    }

    fn may_commit_open(sql: &str) -> bool {
        lexer::may_commit_open(Postgres, sql)
    }

    fn one_may_commit_open(sql: &str) -> bool {
        lexer::one_may_commit_open(Postgres, sql)
    }

    #[test]
    fn statements_that_can_commit_are_found() {
        for sql in [
            "commit",
            "  COMMIT;",
            "Commit And Chain",
            "commit prepared 'a'",
            "end",
            "END TRANSACTION",
            "prepare transaction 'x'",
            "call p(1)",
            "do $$ begin commit; end $$",
            "select 1; commit",
            "insert into t values ('a;b'); /* c */ end;",
            "-- rollback\ncommit",
            "/* a /* b */ c */commit",
            "select E'\\''; commit",
            "select E'a'\n 'b\\''; commit",
            "select $a$ $b$ ; $a$; commit",
            "select \"a\"\";\"; commit",
            "select u&\"x\"; commit",
            "select 1 as a$b$; commit; select 2 as a$b$",
            "select $1;commit",
            ";;commit",
            // Cannot be split reliably.
            "select 'a",
            "select /* a /* b */",
            "select $x$ a",
            "select \"a",
            "select 'a\\''; commit; select 'b\\''",
        ] {
            assert!(may_commit(sql), "{sql}");
        }
    }

    #[test]
    fn one_statement_is_known_by_its_first_words() {
        for sql in [
            "commit",
            "/* a */ COMMIT",
            " end work",
            "commit and chain",
            "Prepare Transaction 'a'",
            "--\nend",
        ] {
            assert!(one_may_commit_open(sql) && may_commit_open(sql), "{sql}");
        }
        for sql in [
            "",
            "call p()",
            "do $$ commit $$",
            "prepare a as select 1",
            "select 'x; commit'",
            "\"commit\"",
            "é",
        ] {
            assert!(!one_may_commit_open(sql) && !may_commit_open(sql), "{sql}");
        }
        assert!(may_commit_open("insert into t values (1); commit"));
    }

    #[test]
    fn other_statements_cannot_commit() {
        for sql in [
            "",
            ";",
            "select 1",
            "rollback",
            "rollback to a",
            "rollback to savepoint commit",
            "rollback prepared 'a'",
            "abort",
            "begin",
            "release savepoint a",
            "prepare commit as select 1",
            "prepare p as select 1",
            "select 'x; commit'",
            "select E'\\'; commit'",
            "select $$; commit $$",
            "select $a$; commit $$ $a$",
            "select 1 /* ; /* ; */ commit */",
            "select 1 -- ; commit",
            "select \"; commit\"",
            "\"commit\"",
            "select commit from call",
            "commits",
            "ended",
            "$commit",
            "select 'ä; commit ö'",
            "é; ü",
        ] {
            assert!(!may_commit(sql), "{sql}");
        }
    }

    #[test]
    fn literals_and_comments_are_taken_out() {
        for (sql, shown) in [
            ("select 1", "select ?"),
            ("select 'a''b', 2.5e-3 , .5, 0x1F, 1_000", "select ?, ? , ?, ?, ?"),
            ("select -1+2", "select -?+?"),
            ("select a1, \"b 2\", $1, $2::int4 from t3", "select a1, \"b 2\", $1, $2::int4 from t3"),
            ("select E'it\\'s', N'n', b'01', U&'x' from t", "select ?, ?, ?, ? from t"),
            ("do $x$ select 'a' $x$", "do ?"),
            ("select/* secret */1 -- secret", "select ?"),
            ("a /* x */ b", "a  b"),
            ("/* x */ a", " a"),
            ("alter role r password 'p", "alter role r password ? …"),
            ("select 'a\\'secret'", "select ? …"),
            ("select date '2020-01-01', x[1:2]", "select date ?, x[?:?]"),
            ("select 'ä' as ö", "select ? as ö"),
            ("", ""),
        ] {
            assert_eq!(lexer::redact(Postgres, sql), shown, "{sql}");
        }
    }
}
