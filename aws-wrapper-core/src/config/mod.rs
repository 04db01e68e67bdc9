//! What the wrapper was told. Text becomes a [`Config`]; checked against a [`Schema`] it becomes
//! [`Values`], of which each concept reads its settings.
//!
//! A [`Config`] collects texts from all doors and remembers where each came from. It knows no parameter: names and values are
//! checked when a connector is built, so that plugins can bring parameters of their own.

mod choice;
mod markdown;
pub mod parameter;
pub mod schema;
pub mod secret;
mod similar;
mod url;
pub mod values;

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

pub(crate) use self::choice::choice;
use self::schema::Schema;
pub use self::secret::Secret;
use self::url::ConnectionString;
use self::values::Values;
use crate::error::{Error, Result};

/// Where a value came from. A later one in this list wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// No value was given.
    Default,
    /// The driver's own configuration.
    Driver,
    /// An environment variable.
    Environment,
    /// The connection string.
    Url,
    /// A pair of strings.
    Pairs,
    /// A call of the builder.
    Builder,
}

/// What was asked for, and by which door.
///
/// ```
/// use aws_wrapper_core::config::Config;
///
/// let mut config = Config::from_pairs([("failoverTimeoutMs", "1m")]);
/// let rest = config.take_from_url("postgresql://app@h/db?plugins=failover&application_name=x", |name| {
///     name == "application_name"
/// })?;
/// assert_eq!(rest, "postgresql://app@h/db?application_name=x");
/// # Ok::<(), aws_wrapper_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    entries: Vec<Entry>,
    /// How many texts, or sets of pairs, were taken.
    batches: u32,
}

#[derive(Clone)]
struct Entry {
    name: String,
    /// Any text may be a secret until it is known what its name means.
    text: Secret,
    origin: Origin,
    /// Those of one batch must not give a parameter twice.
    batch: u32,
}

impl Config {
    /// Asks for nothing: every parameter has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for pairs of name and value.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Self
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = Self::new();
        config.take(pairs, Origin::Pairs, |_| false);
        config
    }

    /// Takes the environment variables that begin with `prefix`; the rest of such a name is a parameter:
    /// `AWS_WRAPPER_PLUGINS` is `plugins` for the prefix `AWS_WRAPPER_`.
    ///
    /// # Errors
    /// If the prefix is empty, or a variable is not UTF-8.
    pub fn from_env(prefix: &str) -> Result<Self> {
        let texts = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let mut pairs = Vec::new();
        for (name, value) in texts.filter(|(name, _)| name.starts_with(prefix)) {
            let value = value
                .into_string()
                .map_err(|_| Error::config(format!("the environment variable `{name}` is not UTF-8")))?;
            pairs.push((name, value));
        }
        Self::from_variables(prefix, &pairs)
    }

    fn from_variables(prefix: &str, variables: &[(String, String)]) -> Result<Self> {
        if prefix.is_empty() {
            return Err(Error::config("the prefix of environment variables must not be empty"));
        }
        let pairs =
            variables.iter().map(|(name, value)| (name.strip_prefix(prefix).unwrap_or(name), value.as_str()));
        let mut config = Self::new();
        config.take(pairs, Origin::Environment, |_| false);
        Ok(config)
    }

    /// Sets one parameter, as a builder does: over whatever other doors say. The last call counts.
    pub fn set(&mut self, name: &str, value: &str) {
        self.take([(name, value)], Origin::Builder, |_| false);
    }

    /// Sets one parameter that is a duration, as [`set`](Self::set) does. Parts of a millisecond count as a whole one.
    pub fn set_duration(&mut self, name: &str, value: Duration) {
        self.set(name, &millis(value));
    }

    /// Sets one parameter to what the driver's own configuration says: whatever another door says wins.
    pub fn set_of_driver(&mut self, name: &str, value: &str) {
        self.take([(name, value)], Origin::Driver, |_| false);
    }

    /// As [`set_of_driver`](Self::set_of_driver), for a duration.
    pub fn set_duration_of_driver(&mut self, name: &str, value: Duration) {
        self.set_of_driver(name, &millis(value));
    }

    /// Takes the wrapper's parameters out of pairs of name and value, and returns the pairs that are the driver's.
    pub fn take_from_pairs<K, V>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
        driver_knows: impl Fn(&str) -> bool,
    ) -> Vec<(K, V)>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        self.take(pairs, Origin::Pairs, driver_knows)
    }

    /// Takes the wrapper's parameters out of a connection string and returns the text that is left for the driver.
    ///
    /// The text is a `postgresql://`, `postgres://` or `mysql://` URL, whose query part is read, or a string of
    /// `name=value` pairs with the quotes of libpq. `aws-wrapper:` in front is dropped. All else, such as escapes,
    /// several hosts and IPv6 addresses, is left to the driver.
    ///
    /// # Errors
    /// If the text cannot be read. Errors do not repeat it, since it may hold a password. On an error nothing is taken.
    pub fn take_from_url(&mut self, text: &str, driver_knows: impl Fn(&str) -> bool) -> Result<String> {
        let parsed = ConnectionString::parse(text)?;
        let pairs = parsed.pairs().iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        self.take(pairs, Origin::Url, &driver_knows);
        Ok(parsed.retain(|pair| driver_knows(&pair.name)))
    }

    /// Takes what `other` was told. The better door wins, of two alike the one of `other`.
    pub fn merge(&mut self, other: Self) {
        let first = self.batches;
        self.batches += other.batches;
        self.entries
            .extend(other.entries.into_iter().map(|entry| Entry { batch: first + entry.batch, ..entry }));
    }

    /// Checks every name and value against `schema`. A name is one of its own name or alias; case, `_` and `-` do not matter.
    ///
    /// # Errors
    /// `Config` if a name is unknown, a value is not accepted, or one text gives a parameter twice. Tells which names are
    /// similar; never repeats a secret.
    pub fn resolve(&self, schema: &Schema) -> Result<Values> {
        let (mut values, mut given) = (Values::default(), HashSet::new());
        for entry in &self.entries {
            let parameter = schema.resolve(&entry.name)?;
            let value = parameter.parse(&entry.name, entry.text.expose())?;
            if !given.insert((entry.batch, parameter.name)) {
                return Err(Error::config(format!("parameter `{}` is given twice", parameter.name)));
            }
            values.put(parameter.name, value, entry.origin);
        }
        Ok(values)
    }

    /// Takes the wrapper's pairs and returns the driver's.
    fn take<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
        origin: Origin,
        driver_knows: impl Fn(&str) -> bool,
    ) -> Vec<(K, V)> {
        let batch = self.batches;
        self.batches += 1;
        let mut left = Vec::new();
        for (name, value) in pairs {
            if driver_knows(name.as_ref()) {
                left.push((name, value));
            } else {
                let (name, text) = (name.as_ref().to_owned(), Secret::new(value.as_ref()));
                self.entries.push(Entry { name, text, origin, batch });
            }
        }
        left
    }
}

fn millis(duration: Duration) -> String {
    format!("{}ms", duration.as_nanos().div_ceil(1_000_000))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries.iter().map(|entry| (&entry.name, entry))).finish()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?}", self.text, self.origin)
    }
}

#[cfg(test)]
mod tests;
