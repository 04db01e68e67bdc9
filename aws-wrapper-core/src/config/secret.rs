//! Text that must not be printed, and connection strings made fit for printing.

use std::fmt;

use percent_encoding::percent_decode_str;

use super::url;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Names with one of these words hold secrets; compared without regard to case, `_` and `-`.
const SECRET_WORDS: [&str; 6] = ["password", "passwd", "pwd", "secret", "token", "key"];

/// A password or a token. Its `Debug` output is `***`, and it has no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

/// Whether a parameter of this name is to be masked: it contains `password`, `passwd`, `pwd`, `secret`, `token` or
/// `key`.
pub fn is_secret_name(name: &str) -> bool {
    let name = super::parameter::normalized(name);
    SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// A connection string with `***` for its secrets: the password in front of the host and the value of every parameter
/// whose name [means a secret](is_secret_name).
///
/// Takes a URL or a `name=value` string. What cannot be read is masked rather than shown.
pub fn mask_url(text: &str) -> String {
    match url::split_scheme(text) {
        Some((scheme, rest)) => mask_after_scheme(scheme, rest),
        None => mask_key_values(text),
    }
}

fn mask_after_scheme(scheme: &str, rest: &str) -> String {
    let (user_info, rest) = url::split_user_info(rest);
    let mut out = format!("{scheme}://");
    if let Some(user_info) = user_info {
        match user_info.split_once(':') {
            Some((user, _)) => out.extend([user, ":", MASK, "@"]),
            None => out.extend([user_info, "@"]),
        }
    }
    let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
    out.push_str(base);
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        out.push(separator);
        separator = '&';
        match pair.split_once('=') {
            Some((name, _)) if is_secret_name(&percent_decode_str(name).decode_utf8_lossy()) => {
                out.extend([name, "=", MASK]);
            }
            Some(_) => out.push_str(pair),
            None => out.push_str(MASK),
        }
    }
    out
}

fn mask_key_values(text: &str) -> String {
    let mut parts = Vec::new();
    for pair in url::key_values(text) {
        match pair {
            Ok(pair) if is_secret_name(&pair.name) => parts.push(format!("{}={MASK}", pair.name)),
            Ok(pair) => parts.push(pair.raw.to_owned()),
            Err(_) => parts.push(MASK.to_owned()),
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_exposed_only_on_request() {
        let secret = Secret::new("hunter2");
        assert_eq!(secret.expose(), "hunter2");
        assert_eq!(format!("{secret:?} {:?} {:#?}", Some(&secret), &secret), "*** Some(***) ***");
        assert_eq!(secret, "hunter2".into());
    }

    #[test]
    fn passwords_in_connection_strings_are_masked() {
        for (given, masked) in [
            ("postgresql://app:hunter2@h/db", "postgresql://app:***@h/db"),
            ("aws-wrapper:postgres://app:hunter2@h/db", "aws-wrapper:postgres://app:***@h/db"),
            (
                "postgresql://app@h:5432/db?application_name=x",
                "postgresql://app@h:5432/db?application_name=x",
            ),
            ("postgresql://h:1,[::1]:2/db", "postgresql://h:1,[::1]:2/db"),
            (
                "postgresql:///db?host=/tmp&password=hunter2&a=b",
                "postgresql:///db?host=/tmp&password=***&a=b",
            ),
            (
                "postgresql://h/?topology_monitoring_password=hunter2",
                "postgresql://h/?topology_monitoring_password=***",
            ),
            (
                "postgresql://h/?Pass%57ord=hunter2&sslkey=hunter2",
                "postgresql://h/?Pass%57ord=***&sslkey=***",
            ),
            (
                "postgresql://h/?cachePwd=hunter2&mfa-token=hunter2",
                "postgresql://h/?cachePwd=***&mfa-token=***",
            ),
            ("postgresql://h/?keepalives=0&secret=hunter2", "postgresql://h/?keepalives=0&secret=***"),
            ("postgresql://h/?hunter2", "postgresql://h/?***"),
            // Forgotten percent-encoding in the password.
            ("postgresql://app:hun@ter2@h/db", "postgresql://app:***@h/db"),
            ("postgresql://app:hun/hunter2@h/db?a=b", "postgresql://app:***@h/db?a=b"),
            ("postgresql://app:hun?hunter2@h/db", "postgresql://app:***@h/db"),
            ("postgresql://app:h@n/hunter2@h/db", "postgresql://app:***@h/db"),
            ("postgresql://h:5432/db?application_name=a@b", "postgresql://h:5432/db?application_name=a@b"),
            ("host=h password=hunter2 user=app", "host=h password=*** user=app"),
            ("host=h password='hunter2 \\' hunter2' user=app", "host=h password=*** user=app"),
            ("host=h password = hunter2  user = app", "host=h password=*** user = app"),
            ("password=hun hunter2 user=app", "password=*** ***"),
            ("password='hunter2", "***"),
            ("app:hunter2@host/db", "***"),
            ("", ""),
        ] {
            assert_eq!(mask_url(given), masked, "{given}");
        }
    }
}
