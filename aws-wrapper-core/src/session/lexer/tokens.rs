//! Cutting a text into tokens: what the families share.

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Space,
    Comment,
    Word,
    /// A name in quotes of its own.
    Name,
    /// A literal in quotes or dollar quotes, with its prefix.
    Text,
    /// It ends elsewhere, or is something else, in another reading.
    Ambiguous,
    /// A literal, name or comment that does not end.
    Open,
    Number,
    /// `$1`.
    Parameter,
    Symbol,
    /// MySQL's `/*!80000 … */`: a comment to some servers and code to others. Nothing in it is ambiguous, and it holds
    /// neither comments nor the end of a statement.
    Code,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a str,
}

/// Kind and length of the token at the start of a text, by the rules of a engine; nothing if it is empty.
pub(super) type FirstToken = fn(&[u8]) -> Option<(Kind, usize)>;

/// Splits a text without copying anything. The tokens, joined, are the text.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    first: FirstToken,
}

impl<'a> Tokens<'a> {
    pub(super) fn of(sql: &'a str, first: FirstToken) -> Self {
        Self { rest: sql, first }
    }

    /// Without what only separates.
    pub(super) fn solid(self) -> impl Iterator<Item = Token<'a>> {
        self.filter(|token| !matches!(token.kind, Kind::Space | Kind::Comment))
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        let (kind, length) = (self.first)(self.rest.as_bytes())?;
        // Tokens begin and end beside an ASCII byte: all others belong to words or to the inside of something.
        let (text, rest) = self.rest.split_at(length);
        self.rest = rest;
        Some(Token { kind, text })
    }
}

pub(super) fn is_one_of(word: &str, keywords: &[&str]) -> bool {
    keywords.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

pub(super) fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || !byte.is_ascii()
}

/// Within a word; in both families the dollar sign is.
pub(super) fn is_word_byte(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// Where the bytes from `from` on stop being `wanted`.
pub(super) fn span(s: &[u8], from: usize, wanted: impl Fn(&u8) -> bool) -> usize {
    from + s[from..].iter().take_while(|byte| wanted(byte)).count()
}

/// Where `part` begins first, at `from` or later.
pub(super) fn find(s: &[u8], from: usize, part: &[u8]) -> Option<usize> {
    s.get(from..)?.windows(part.len()).position(|window| window == part).map(|at| from + at)
}

/// A token of `kind` if it has an end.
pub(super) fn close(kind: Kind, end: Option<usize>, s: &[u8]) -> (Kind, usize) {
    end.map_or((Kind::Open, s.len()), |end| (kind, end))
}

/// The end of something in quotes that begins at `open`; a doubled quote is part of it.
pub(super) fn quoted(s: &[u8], open: usize) -> Option<usize> {
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

/// As [`quoted`], where a backslash takes the next byte along.
pub(super) fn escaped(s: &[u8], open: usize) -> Option<usize> {
    let quote = s[open];
    let mut at = open + 1;
    loop {
        match *s.get(at)? {
            b'\\' => at += 2,
            byte if byte != quote => at += 1,
            _ if s.get(at + 1) == Some(&quote) => at += 2,
            _ => return Some(at + 1),
        }
    }
}

/// The length of the tag `$tag$` that opens a literal, if one is there.
pub(super) fn dollar_tag(s: &[u8]) -> Option<usize> {
    let end = span(s, 1, |&byte| is_word_start(byte) || byte.is_ascii_digit());
    (s.get(end) == Some(&b'$')).then_some(end + 1)
}

/// The end of a literal that begins and ends with a tag of this length.
pub(super) fn dollar_quoted(s: &[u8], tag: usize) -> Option<usize> {
    find(s, tag, &s[..tag]).map(|end| end + tag)
}

/// The end of `1`, `1.5`, `.5`, `1e-5`, `0x1F` or `1_000`.
pub(super) fn number(s: &[u8]) -> usize {
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
