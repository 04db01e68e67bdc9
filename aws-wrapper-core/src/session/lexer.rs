//! Just enough of SQL's lexical rules, with escaped literals, dollar quotes and nested comments, to look at a statement
//! after it failed or to log it.
//!
//! The state of a transaction never comes from here: the protocol tells it. Where a text can be read in two ways, the
//! answer is the careful one.

/// Whether `sql` holds a statement that can end a transaction by committing it.
///
/// These are `COMMIT`, `COMMIT PREPARED`, `END` and `PREPARE TRANSACTION`, and `CALL` and `DO`, whose code may commit.
/// True also when the text cannot be split reliably: when a literal or comment has no end, or a plain literal holds
/// `\'`, which ends it or not depending on the server's settings.
pub fn may_commit(sql: &str) -> bool {
    holds(sql, |words| commits(words) || matches!(words, [first] if is_one_of(first, &["call", "do"])))
}

/// Whether `sql`, sent as several statements, can end a transaction that is open by committing it: as [`may_commit`],
/// without `CALL` and `DO`, which the server does not let do so.
pub(crate) fn may_commit_open(sql: &str) -> bool {
    holds(sql, commits)
}

/// As [`may_commit_open`], for a text that is one statement. Costs next to nothing for a query.
pub(crate) fn one_may_commit_open(sql: &str) -> bool {
    let first = sql.as_bytes().first().map_or(b's', u8::to_ascii_lowercase);
    let may_begin_so = !first.is_ascii_alphabetic() || matches!(first, b'c' | b'e' | b'p');
    may_begin_so && {
        let mut words = Tokens::of(sql)
            .filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
            .map(|token| token.text);
        let words = [words.next().unwrap_or_default(), words.next().unwrap_or_default()];
        commits(&words[..1]) || commits(&words)
    }
}

/// Whether a statement of `sql` begins with words that `fit`; true also when it cannot be split reliably.
fn holds(sql: &str, fit: impl Fn(&[&str]) -> bool) -> bool {
    let mut words = [""; 2];
    let mut seen = 0;
    for token in Tokens::of(sql) {
        match token.kind {
            Kind::Space | Kind::Comment => {}
            Kind::Open | Kind::Ambiguous => return true,
            Kind::Symbol if token.text == ";" => seen = 0,
            _ => {
                if let Some(word) = words.get_mut(seen) {
                    *word = if token.kind == Kind::Word { token.text } else { "" };
                    seen += 1;
                    if fit(&words[..seen]) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

/// `sql` with `?` for each literal, be it text or number, and without its comments.
///
/// Names, parameters such as `$1` and white space stay. Where a literal's end is uncertain, the rest is left out.
pub fn redact(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    for token in Tokens::of(sql) {
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
            Kind::Space | Kind::Word | Kind::Name | Kind::Parameter | Kind::Symbol => {
                out.push_str(token.text);
            }
        }
    }
    out.truncate(out.trim_end().len());
    out
}

/// Whether a statement that begins with these words commits.
fn commits(words: &[&str]) -> bool {
    match words {
        [first] => is_one_of(first, &["commit", "end"]),
        [first, second] => is_one_of(first, &["prepare"]) && is_one_of(second, &["transaction"]),
        _ => false,
    }
}

fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Comment,
    Word,
    /// A name in double quotes.
    Name,
    /// A literal in quotes or dollar quotes, with its prefix.
    Text,
    /// As `Text`, but another reading makes it longer.
    Ambiguous,
    /// A literal, name or comment that does not end.
    Open,
    Number,
    /// `$1`.
    Parameter,
    Symbol,
}

#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    kind: Kind,
    text: &'a str,
}

/// Splits a text without copying anything. The tokens, joined, are the text.
struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    fn of(sql: &'a str) -> Self {
        Self { rest: sql }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = first_token(self.rest.as_bytes())?;
        // Tokens begin and end beside an ASCII byte: all others belong to words or to the inside of something.
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(Token { kind, text })
    }
}

/// Kind and length of the token at the start of `s`.
fn first_token(s: &[u8]) -> Option<(Kind, usize)> {
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
        (b'$', _) => dollar_literal(s),
        (b'0'..=b'9', _) | (b'.', b'0'..=b'9') => (Kind::Number, number(s)),
        (first, _) if is_word_start(first) => {
            (Kind::Word, span(s, 1, |&b| is_word_start(b) || b.is_ascii_digit() || b == b'$'))
        }
        _ => (Kind::Symbol, 1),
    };
    Some(token)
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// Where the bytes from `from` on stop being `wanted`.
fn span(s: &[u8], from: usize, wanted: impl Fn(&u8) -> bool) -> usize {
    from + s[from..].iter().take_while(|byte| wanted(byte)).count()
}

fn close(kind: Kind, end: Option<usize>, s: &[u8]) -> (Kind, usize) {
    end.map_or((Kind::Open, s.len()), |end| (kind, end))
}

/// The end of something in quotes that begins at `open`; a doubled quote is part of it.
fn quoted(s: &[u8], open: usize) -> Option<usize> {
    let quote = s[open];
    let mut at = open + 1;
    loop {
        at += s[at..].iter().position(|&byte| byte == quote)? + 1;
        if s.get(at) != Some(&quote) {
            return Some(at);
        }
        at += 1;
    }
}

fn plain_literal(s: &[u8], open: usize) -> (Kind, usize) {
    let (kind, end) = close(Kind::Text, quoted(s, open), s);
    let is_ambiguous = s[..end].windows(2).any(|pair| pair == b"\\'");
    (if kind == Kind::Text && is_ambiguous { Kind::Ambiguous } else { kind }, end)
}

/// The end of `E'…'`, where a backslash takes the next byte along; further parts may follow on new lines.
fn escaped_literal(s: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        match s.get(at)? {
            b'\\' => at += 2,
            b'\'' if s.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => {
                let next = span(s, at + 1, u8::is_ascii_whitespace);
                if s.get(next) != Some(&b'\'') || !s[at..next].contains(&b'\n') {
                    return Some(at + 1);
                }
                at = next + 1;
            }
            _ => at += 1,
        }
    }
}

/// `$tag$…$tag$`, or the lone symbol `$`.
fn dollar_literal(s: &[u8]) -> (Kind, usize) {
    let tag_end = span(s, 1, |&byte| is_word_start(byte) || byte.is_ascii_digit());
    if s.get(tag_end) != Some(&b'$') {
        return (Kind::Symbol, 1);
    }
    let (tag, body) = s.split_at(tag_end + 1);
    let end = body.windows(tag.len()).position(|part| part == tag);
    close(Kind::Text, end.map(|end| end + 2 * tag.len()), s)
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

/// The end of `1`, `1.5`, `.5`, `1e-5`, `0x1F` or `1_000`.
fn number(s: &[u8]) -> usize {
    let is_hex = matches!(s, [b'0', b'x' | b'X', ..]);
    let mut at = 1;
    while let Some(&byte) = s.get(at) {
        let is_sign = matches!(byte, b'+' | b'-') && !is_hex && matches!(s[at - 1], b'e' | b'E');
        if !(is_word_start(byte) || byte.is_ascii_digit() || byte == b'.' || is_sign) {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(redact(sql), shown, "{sql}");
        }
    }

    #[test]
    fn no_text_breaks_the_lexer() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let parts = [
            "'", "\"", "$", "$a$", "E'", "\\", "/*", "*/", "--", "\n", ";", "commit", "1", ".", "e", "-",
            "ä", " ", "u&", "x",
        ];
        for _ in 0..50_000 {
            let sql: String = (0..random.usize(..12)).map(|_| parts[random.usize(..parts.len())]).collect();
            let joined: String = Tokens::of(&sql).map(|token| token.text).collect();
            assert_eq!(joined, sql);
            may_commit(&sql);
            redact(&sql);
        }
    }
}
