//! What a parameter is: its name, what it accepts, and how text becomes its value.
//!
//! Each concept has its parameters beside it. Parsing, aliases, masking and `docs/parameters.md` follow from them.

use std::time::Duration;

use super::secret::Secret;
use crate::error::{Error, Result};

/// One parameter of the wrapper or of a plugin.
///
/// ```
/// use aws_wrapper_core::config::parameter::{Kind, Parameter};
///
/// const PARAMETERS: &[Parameter] = &[
///     Parameter::new("my_row_limit", Kind::Count { min: 1, max: 1_000_000 }, "Most rows a query may return.")
///         .with_default("1000"),
/// ];
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Parameter {
    /// The name, in snake case. Durations end in their unit.
    pub name: &'static str,
    /// Further names, such as those of the JDBC and Go wrappers. Spellings that differ in case, `_` and `-` only need
    /// not be listed.
    pub aliases: &'static [&'static str],
    /// What it accepts.
    pub kind: Kind,
    /// The default as one would write it; empty if there is none.
    pub default: &'static str,
    /// The section of the documentation.
    pub group: &'static str,
    /// What it does.
    pub doc: &'static str,
}

/// What a parameter accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `true`/`false`, `on`/`off`, `yes`/`no`, `1`/`0`.
    Bool,
    /// Any text that is not empty.
    Text,
    /// As `Text`, but never printed.
    Secret,
    /// Words with commas between them; may be empty.
    List,
    /// A whole number within bounds.
    Count {
        /// The smallest number allowed.
        min: u32,
        /// The largest number allowed.
        max: u32,
    },
    /// A time within bounds.
    Duration {
        /// What a number without unit counts.
        unit: Unit,
        /// The shortest time allowed.
        min: Duration,
        /// The longest time allowed.
        max: Duration,
    },
    /// One of these words; case, `_` and `-` do not matter.
    Choice(&'static [&'static str]),
    /// One or more of these words, with commas between them.
    Choices(&'static [&'static str]),
}

/// What a duration without unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unit {
    /// Thousandths of a second; the name of the parameter ends in `_ms`.
    Millis,
    /// Seconds; the name of the parameter ends in `_secs`.
    Secs,
}

/// A value of one parameter, checked against its [`Kind`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// Of [`Kind::Bool`].
    Bool(bool),
    /// Of [`Kind::Text`].
    Text(String),
    /// Of [`Kind::Secret`].
    Secret(Secret),
    /// Of [`Kind::List`].
    List(Vec<String>),
    /// Of [`Kind::Count`].
    Count(u32),
    /// Of [`Kind::Duration`].
    Duration(Duration),
    /// Of [`Kind::Choice`]: the word as the table writes it.
    Choice(&'static str),
    /// Of [`Kind::Choices`]: the words as the table writes them.
    Choices(Vec<&'static str>),
}

impl Parameter {
    /// A parameter without aliases and without a default, in the section "Other plugins". The name is in snake case, and that
    /// of a duration ends in its unit; `doc` ends in a full stop.
    pub const fn new(name: &'static str, kind: Kind, doc: &'static str) -> Self {
        Self { name, aliases: &[], kind, default: "", group: "Other plugins", doc }
    }

    /// Further names.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// The default as one would write it. It is for the documentation: the settings have it, too.
    #[must_use]
    pub const fn with_default(mut self, default: &'static str) -> Self {
        self.default = default;
        self
    }

    /// The section of the documentation.
    #[must_use]
    pub const fn with_group(mut self, group: &'static str) -> Self {
        self.group = group;
        self
    }

    /// Reads `text` as a value of this parameter, which was given under the name `given_as`.
    ///
    /// # Errors
    /// Names the parameter, the text and what is accepted. The text of a secret is left out.
    pub fn parse(&self, given_as: &str, text: &str) -> Result<Value> {
        self.kind.parse(text).ok_or_else(|| {
            let shown = if self.is_secret() { "***" } else { text.trim() };
            Error::parameter(given_as, shown, &self.kind.accepted())
        })
    }

    /// Whether the value must not be printed.
    pub fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Kind {
    /// A duration that counts milliseconds, of at least `min` of them and at most a day.
    pub const fn millis(min: u64) -> Self {
        Self::Duration { unit: Unit::Millis, min: Duration::from_millis(min), max: DAY }
    }

    /// A duration that counts seconds, of at least `min` of them and at most a day.
    pub const fn secs(min: u64) -> Self {
        Self::Duration { unit: Unit::Secs, min: Duration::from_secs(min), max: DAY }
    }

    /// What is accepted, for people: `true or false`, `a whole number from 1 to 32`.
    pub fn accepted(&self) -> String {
        match self {
            Self::Bool => "`true` or `false`".to_owned(),
            Self::Text | Self::Secret => "a text that is not empty".to_owned(),
            Self::List => "words with commas between them".to_owned(),
            Self::Count { min, max } if *max == u32::MAX => format!("a whole number of at least {min}"),
            Self::Count { min, max } => format!("a whole number from {min} to {max}"),
            Self::Duration { unit, min, max } => {
                let unit = match unit {
                    Unit::Millis => "milliseconds",
                    Unit::Secs => "seconds",
                };
                let (min, max) = (show_duration(*min), show_duration(*max));
                format!(
                    "a duration from {min} to {max}, such as `500ms`, `30s`, `2m`, `1h` or a number of {unit}"
                )
            }
            Self::Choice(words) => format!("one of {}", quoted(words)),
            Self::Choices(words) => format!("one or more of {}, with commas between them", quoted(words)),
        }
    }

    fn parse(&self, text: &str) -> Option<Value> {
        let trimmed = text.trim();
        match self {
            Self::Bool => parse_bool(trimmed).map(Value::Bool),
            Self::Text => (!trimmed.is_empty()).then(|| Value::Text(trimmed.to_owned())),
            // White space may be part of a password.
            Self::Secret => (!text.is_empty()).then(|| Value::Secret(Secret::new(text))),
            Self::List => parse_list(trimmed).map(Value::List),
            Self::Count { min, max } => {
                let count = parse_digits(trimmed).and_then(|count| u32::try_from(count).ok())?;
                (*min..=*max).contains(&count).then_some(Value::Count(count))
            }
            Self::Duration { unit, min, max } => {
                let duration = parse_duration(trimmed, *unit)?;
                (*min..=*max).contains(&duration).then_some(Value::Duration(duration))
            }
            Self::Choice(words) => choose(words, trimmed).map(Value::Choice),
            Self::Choices(words) => {
                let chosen: Vec<_> =
                    trimmed.split(',').map(|word| choose(words, word.trim())).collect::<Option<_>>()?;
                let twice = (1..chosen.len()).any(|i| chosen[..i].contains(&chosen[i]));
                (!twice).then_some(Value::Choices(chosen))
            }
        }
    }
}

/// A name without case, `_` and `-`, so that the spellings of all wrappers compare equal.
pub(crate) fn normalized(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase()).collect()
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Some(true),
        "false" | "off" | "no" | "0" => Some(false),
        _ => None,
    }
}

fn parse_list(text: &str) -> Option<Vec<String>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',').map(|word| Some(word.trim().to_owned()).filter(|word| !word.is_empty())).collect()
}

/// A number of digits only: no sign, no point.
fn parse_digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn parse_duration(text: &str, unit: Unit) -> Option<Duration> {
    let (digits, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number = parse_digits(digits)?;
    let secs = match (suffix.trim_start().to_ascii_lowercase().as_str(), unit) {
        ("ms", _) | ("", Unit::Millis) => return Some(Duration::from_millis(number)),
        ("s", _) | ("", Unit::Secs) => 1,
        ("m", _) => 60,
        ("h", _) => 3600,
        _ => return None,
    };
    number.checked_mul(secs).map(Duration::from_secs)
}

fn choose(words: &[&'static str], text: &str) -> Option<&'static str> {
    let text = normalized(text);
    words.iter().copied().find(|word| normalized(word) == text)
}

pub(super) fn show_duration(duration: Duration) -> String {
    match duration.as_millis() {
        ms if ms % 3_600_000 == 0 && ms > 0 => format!("{} h", ms / 3_600_000),
        ms if ms % 1000 == 0 && ms > 0 => format!("{} s", ms / 1000),
        0 => "0".to_owned(),
        ms => format!("{ms} ms"),
    }
}

/// Words for people: `` `a`, `b` ``.
pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
