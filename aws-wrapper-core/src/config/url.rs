//! Connection strings as text: where the parameters stand, not what they mean.
//!
//! Everything that is not a parameter of the wrapper is handed to the driver's own parser unchanged, so escapes, IPv6,
//! several hosts and sockets are the driver's business. No error of this file repeats the given text: any part of a
//! string that cannot be read may be a password.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// May stand in front of a connection string, to say that it is meant for the wrapper.
const PREFIX: &str = "aws-wrapper:";
const SCHEMES: [&str; 3] = ["postgresql", "postgres", "mysql"];

/// One `name=value` of a connection string.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    /// The pair as it was written.
    pub(super) raw: &'a str,
    /// The decoded name.
    pub(super) name: String,
    /// The decoded value.
    pub(super) value: String,
}

/// A connection string cut into its pairs.
#[derive(Debug)]
pub(super) enum ConnectionString<'a> {
    Url { scheme: String, base: &'a str, pairs: Vec<Pair<'a>> },
    KeyValues(Vec<Pair<'a>>),
}

impl<'a> ConnectionString<'a> {
    /// Cuts `text`.
    pub(super) fn parse(text: &'a str) -> Result<Self> {
        let text = strip_prefix(text.trim());
        let Some((scheme, rest)) = split_scheme(text) else {
            return key_values(text).collect::<Result<_, _>>().map(Self::KeyValues).map_err(
                |Unreadable(at)| {
                    Error::config(format!(
                        "the connection string cannot be read from its byte {at} on; expected a URL such as \
                     `postgresql://user@host/db` or `name=value` pairs with values quoted if they have spaces"
                    ))
                },
            );
        };
        let scheme = scheme.to_ascii_lowercase();
        if !SCHEMES.contains(&scheme.as_str()) {
            return Err(Error::config(
                "the URL has an unknown scheme; expected `postgresql://`, `postgres://` or `mysql://`",
            ));
        }
        check_user_info(rest)?;
        let (base, query) = match split_user_info(rest) {
            (Some(user_info), after) => {
                let path = after.find('?').map_or(rest.len(), |at| user_info.len() + 1 + at);
                (&rest[..path], rest.get(path + 1..).unwrap_or(""))
            }
            (None, rest) => rest.split_once('?').unwrap_or((rest, "")),
        };
        let pairs = query.split('&').filter(|raw| !raw.is_empty()).map(url_pair).collect::<Result<_>>()?;
        Ok(Self::Url { scheme, base, pairs })
    }

    /// The pairs, in the order of the text.
    pub(super) fn pairs(&self) -> &[Pair<'a>] {
        match self {
            Self::Url { pairs, .. } | Self::KeyValues(pairs) => pairs,
        }
    }

    /// The text without the pairs `keep` refuses, for the driver's parser.
    pub(super) fn retain(&self, mut keep: impl FnMut(&Pair<'_>) -> bool) -> String {
        let kept = self.pairs().iter().filter(|pair| keep(pair)).map(|pair| pair.raw);
        match self {
            Self::KeyValues(_) => kept.collect::<Vec<_>>().join(" "),
            Self::Url { scheme, base, .. } => {
                let mut out = format!("{scheme}://{base}");
                for (index, raw) in kept.enumerate() {
                    out.push(if index == 0 { '?' } else { '&' });
                    // tokio-postgres takes the first `@` of the whole URL for the end of the password.
                    out.push_str(&raw.replace('@', "%40"));
                }
                out
            }
        }
    }
}

fn strip_prefix(text: &str) -> &str {
    match text.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => text[PREFIX.len()..].trim_start(),
        _ => text,
    }
}

/// Splits a URL at its first `://`; nothing if the text is not a URL.
pub(super) fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | ':');
    scheme.chars().all(is_scheme).then_some((scheme, rest))
}

/// Splits what follows the scheme into the user information, without its `@`, and the rest.
///
/// Also finds user information with characters that should have been percent-encoded, since it is used for masking.
pub(super) fn split_user_info(rest: &str) -> (Option<&str>, &str) {
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let before_query = rest.find('?').unwrap_or(rest.len());
    let end = if authority.contains('@') || rest[..before_query].contains('@') {
        rest[..before_query].rfind('@')
    } else if path.contains('@') && !has_ports_only(authority) {
        rest.rfind('@')
    } else {
        None
    };
    match end {
        Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
        None => (None, rest),
    }
}

/// Whether what follows the colons of a host list are port numbers, so that there is no password among them.
fn has_ports_only(authority: &str) -> bool {
    authority.split(',').all(|host| {
        let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
        after_address.split_once(':').is_none_or(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
    })
}

fn check_user_info(rest: &str) -> Result<()> {
    match split_user_info(rest) {
        (Some(user_info), _) if user_info.contains(['/', '?', '@']) => Err(Error::config(
            "the user name or password of the URL has a `/`, `?` or `@` as it is; write `%2F`, `%3F` or `%40`",
        )),
        _ => Ok(()),
    }
}

fn url_pair(raw: &str) -> Result<Pair<'_>> {
    let Some((name, value)) = raw.split_once('=') else {
        return Err(Error::config("the URL has a parameter without `=` after its `?`"));
    };
    let decode = |text| percent_decode_str(text).decode_utf8().map(Cow::into_owned);
    let name = decode(name).map_err(|_| Error::config("the URL has a parameter whose name is not UTF-8"))?;
    let value = decode(value)
        .map_err(|_| Error::config(format!("the URL's value of `{name}` is not UTF-8 when decoded")))?;
    Ok(Pair { raw, name, value })
}

/// The string cannot be read from this byte on.
#[derive(Debug)]
pub(super) struct Unreadable(usize);

/// The pairs of a `name=value` string, with the quotes and backslashes of libpq. Ends after the first error.
pub(super) fn key_values(text: &str) -> impl Iterator<Item = Result<Pair<'_>, Unreadable>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += leading_space(&text[at..]);
        if at == text.len() {
            return None;
        }
        let pair = key_value(&text[at..]);
        at = match &pair {
            Some(pair) => at + pair.raw.len(),
            None => return Some(Err(Unreadable(std::mem::replace(&mut at, text.len())))),
        };
        pair.map(Ok)
    })
}

fn leading_space(text: &str) -> usize {
    text.len() - text.trim_start().len()
}

/// The pair at the start of `text`.
fn key_value(text: &str) -> Option<Pair<'_>> {
    let name_end = text.find(|c: char| c == '=' || c.is_whitespace())?;
    let equals = name_end + leading_space(&text[name_end..]);
    if name_end == 0 || !text[equals..].starts_with('=') {
        return None;
    }
    let start = equals + 1 + leading_space(&text[equals + 1..]);
    let (value, length) = unquoted(&text[start..])?;
    Some(Pair { raw: &text[..start + length], name: text[..name_end].to_owned(), value })
}

/// The value at the start of `text` and the number of bytes it takes; nothing if its quote is not closed.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Some((value, at + 1)),
            c if !quoted && c.is_whitespace() => return Some((value, at)),
            c => value.push(c),
        }
    }
    (!quoted).then_some((value, text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_and_values(text: &str) -> Vec<(String, String)> {
        let parsed = ConnectionString::parse(text).unwrap();
        parsed.pairs().iter().map(|pair| (pair.name.clone(), pair.value.clone())).collect()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn the_pairs_of_a_url_are_decoded() {
        assert_eq!(
            names_and_values("postgresql://u:p@h/db?a=1&b%20c=x%3Dy%26z&empty=&&d=1+1"),
            [pair("a", "1"), pair("b c", "x=y&z"), pair("empty", ""), pair("d", "1+1")]
        );
        assert_eq!(names_and_values("mysql://h"), []);
    }

    #[test]
    fn the_pairs_of_a_key_value_string_are_read_as_libpq_does() {
        assert_eq!(
            names_and_values(r"host=h  user = 'a \'b\\' password=x\ y plugins='' a=\'"),
            [
                pair("host", "h"),
                pair("user", r"a 'b\"),
                pair("password", "x y"),
                pair("plugins", ""),
                pair("a", "'")
            ]
        );
        assert_eq!(names_and_values("password= plugins=x"), [pair("password", "plugins=x")]);
        assert_eq!(names_and_values("password="), [pair("password", "")]);
        assert_eq!(names_and_values(" \n "), []);
        assert_eq!(names_and_values("a=ä b=http://x/"), [pair("a", "ä"), pair("b", "http://x/")]);
    }

    #[test]
    fn everything_but_the_refused_pairs_stays_as_it_was_written() {
        for (given, rest) in [
            (
                "postgresql://u:p%40@h1:1,[::1]:2,h3/db?x=1&a=%20&x=2",
                "postgresql://u:p%40@h1:1,[::1]:2,h3/db?a=%20",
            ),
            ("  aws-wrapper:postgresql://h/db?x=1 ", "postgresql://h/db"),
            ("AWS-Wrapper:Postgres://h?a=1", "postgres://h?a=1"),
            ("aws-wrapper:host=h x=1", "host=h"),
            ("postgresql://%2Ftmp/db?host=/run&x=1", "postgresql://%2Ftmp/db?host=/run"),
            ("postgresql:///db?x=1", "postgresql:///db"),
            ("postgresql://h/db?application_name=a@b", "postgresql://h/db?application_name=a%40b"),
            ("postgresql://u@h/db?x=a@b&a=?", "postgresql://u@h/db?a=?"),
            (r"x=1 password='a b\'' x='1'  user=b", r"password='a b\'' user=b"),
            ("", ""),
        ] {
            assert_eq!(
                ConnectionString::parse(given).unwrap().retain(|pair| pair.name != "x"),
                rest,
                "{given}"
            );
        }
    }

    #[test]
    fn an_unreadable_string_is_refused_without_repeating_it() {
        for given in [
            "postgresql://u:hunter2/x@h/db",
            "postgresql://u:hunter2?x@h/db?a=b",
            "postgresql://u:hunter2?x=1@h/db?a=b",
            "postgresql://u:hunter2@x@h/db",
            "postgresql://h/db?hunter2",
            "postgresql://h/db?password=hunter2&%ff=1",
            "postgresql://h/db?password=hunter2%ff",
            "jdbc:postgresql://u:hunter2@h/db",
            "oracle://u:hunter2@h/db",
            "://u:hunter2@h/db",
            "u:hunter2@h/db",
            "hunter2",
            "=hunter2",
            "password='hunter2",
            "password=some hunter2 user=x",
        ] {
            let error = ConnectionString::parse(given).expect_err(given);
            assert!(!format!("{error} {error:?} {error:#}").contains("hunter2"), "{error}");
        }
    }
}
