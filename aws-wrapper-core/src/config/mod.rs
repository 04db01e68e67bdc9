//! What the wrapper was told: text becomes a [`Config`], a [`Config`] becomes [`Settings`].
//!
//! A [`Config`] collects values from all doors and remembers where each came from. [`Config::settings`] checks them
//! together and makes the immutable [`Settings`] everything else works with. Every parameter stands once, in
//! [`parameter::PARAMETERS`].

mod choice;
mod markdown;
pub mod parameter;
pub mod secret;
pub mod settings;
mod similar;
pub(crate) mod table;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use self::secret::Secret;
pub use self::settings::Settings;

use self::parameter::{Parameter, Value};
use self::url::ConnectionString;
use crate::error::{Error, Result};

/// Where a value came from. A later one in this list wins over an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody gave a value.
    Default,
    /// An environment variable.
    Environment,
    /// The connection string.
    Url,
    /// A pair of strings.
    Pairs,
    /// A call of the builder.
    Builder,
}

/// What was asked for, and by which door. Every value is checked against its parameter when it comes in.
///
/// ```
/// use aws_wrapper_core::config::Config;
///
/// let mut config = Config::from_pairs([("failoverTimeoutMs", "1m")])?;
/// let rest = config.take_from_url("postgresql://app@h/db?plugins=failover&application_name=x", |name| {
///     name == "application_name"
/// })?;
/// assert_eq!(rest, "postgresql://app@h/db?application_name=x");
/// assert_eq!(config.settings()?.failover.timeout.as_secs(), 60);
/// # Ok::<(), aws_wrapper_core::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Config {
    values: BTreeMap<&'static str, Given>,
}

#[derive(Clone)]
struct Given {
    value: Value,
    origin: Origin,
}

impl Config {
    /// Asks for nothing: every parameter has its default.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes pairs of name and value, all of which must be parameters of the wrapper.
    ///
    /// # Errors
    /// If a name is unknown or given twice, or a value is not accepted.
    pub fn from_pairs<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        let mut config = Self::new();
        config.take_from_pairs(pairs, |_| false)?;
        Ok(config)
    }

    /// Takes the environment variables that begin with `prefix`; the rest of such a name must be a parameter:
    /// `AWS_WRAPPER_PLUGINS` is `plugins` for the prefix `AWS_WRAPPER_`.
    ///
    /// # Errors
    /// As for [`from_pairs`](Self::from_pairs), and if the prefix is empty.
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
        config.take(pairs, Origin::Environment, &|_| false)?;
        Ok(config)
    }

    /// Sets one parameter, as a builder does: over whatever other doors say.
    ///
    /// # Errors
    /// If the name is unknown or the value is not accepted.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        self.take([(name, value)], Origin::Builder, &|_| false).map(drop)
    }

    /// Sets one parameter that is a duration, as [`set`](Self::set) does. Parts of a millisecond count as a whole one.
    ///
    /// # Errors
    /// If the name is unknown or the duration is not accepted.
    pub fn set_duration(&mut self, name: &str, value: Duration) -> Result<()> {
        let millis = value.as_nanos().div_ceil(1_000_000);
        self.set(name, &format!("{millis}ms"))
    }

    /// Takes the wrapper's parameters out of pairs of name and value, and returns the pairs that are the driver's.
    ///
    /// # Errors
    /// If neither the wrapper nor the driver knows a name, a parameter is given twice, or a value is not accepted. On
    /// an error nothing is taken.
    pub fn take_from_pairs<K, V>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
        driver_knows: impl Fn(&str) -> bool,
    ) -> Result<Vec<(K, V)>>
    where
        K: AsRef<str>,
        V: AsRef<str>,
    {
        self.take(pairs, Origin::Pairs, &driver_knows)
    }

    /// Takes the wrapper's parameters out of a connection string and returns the text that is left for the driver.
    ///
    /// The text is a `postgresql://`, `postgres://` or `mysql://` URL, whose query part is read, or a string of
    /// `name=value` pairs with the quotes of libpq. `aws-wrapper:` in front is dropped. All else, such as escapes,
    /// several hosts and IPv6 addresses, is left to the driver.
    ///
    /// # Errors
    /// If the text cannot be read, neither the wrapper nor the driver knows a name, a parameter is given twice, or a
    /// value is not accepted. Errors do not repeat the text, which may hold a password. On an error nothing is taken.
    pub fn take_from_url(&mut self, text: &str, driver_knows: impl Fn(&str) -> bool) -> Result<String> {
        let parsed = ConnectionString::parse(text)?;
        let pairs = parsed.pairs().iter().map(|pair| (pair.name.as_str(), pair.value.as_str()));
        let left = self.take(pairs, Origin::Url, &driver_knows)?;
        Ok(parsed.retain(|pair| left.iter().any(|(name, _)| *name == pair.name)))
    }

    /// Takes the values of `other` that come from a better or the same door.
    pub fn merge(&mut self, other: Self) {
        for (name, given) in other.values {
            self.put(name, given);
        }
    }

    /// Where the value of a parameter comes from. [`Origin::Default`] also for names that are no parameters.
    pub fn origin(&self, name: &str) -> Origin {
        let given = Parameter::find(name).and_then(|parameter| self.values.get(parameter.name));
        given.map_or(Origin::Default, |given| given.origin)
    }

    /// Checks everything together, fills in the defaults and makes the settings.
    ///
    /// # Errors
    /// If two parameters contradict each other.
    pub fn settings(&self) -> Result<Arc<Settings>> {
        Settings::resolve(self).map(Arc::new)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        debug_assert!(Parameter::find(name).is_some_and(|parameter| parameter.name == name), "{name}");
        self.values.get(name).map(|given| &given.value)
    }

    /// Takes the wrapper's pairs and returns the others; takes none if there is an error.
    fn take<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
        origin: Origin,
        driver_knows: &dyn Fn(&str) -> bool,
    ) -> Result<Vec<(K, V)>> {
        let (mut taken, mut left) = (BTreeMap::new(), Vec::new());
        for (name, value) in pairs {
            match Parameter::resolve(name.as_ref(), driver_knows)? {
                None => left.push((name, value)),
                Some(parameter) => {
                    let value = parameter.parse(name.as_ref(), value.as_ref())?;
                    if taken.insert(parameter.name, Given { value, origin }).is_some() {
                        return Err(Error::config(format!("parameter `{}` is given twice", parameter.name)));
                    }
                }
            }
        }
        for (name, given) in taken {
            self.put(name, given);
        }
        Ok(left)
    }

    fn put(&mut self, name: &'static str, given: Given) {
        if self.values.get(name).is_none_or(|present| present.origin <= given.origin) {
            self.values.insert(name, given);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.values).finish()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?}", self.value, self.origin)
    }
}

#[cfg(test)]
mod tests;
