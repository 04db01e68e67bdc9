//! Values of parameters, checked one by one, and how settings are read from them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Origin;
use super::parameter::Value;
use super::secret::Secret;
use crate::error::{Error, Result};

/// What a connector was told: the value of each parameter that was given, with where it came from.
#[derive(Clone, Default)]
pub struct Values {
    given: BTreeMap<&'static str, Given>,
}

#[derive(Clone)]
struct Given {
    value: Value,
    origin: Origin,
}

/// The settings of one concept, made of parameters: defaults, replaced by what was given.
///
/// ```
/// use aws_wrapper_core::Result;
/// use aws_wrapper_core::config::values::{FromValues, Values};
///
/// struct Limits {
///     rows: u32,
/// }
///
/// impl FromValues for Limits {
///     fn from_values(values: &Values) -> Result<Self> {
///         let mut limits = Self { rows: 1000 };
///         values.read("my_row_limit", &mut limits.rows);
///         Ok(limits)
///     }
/// }
/// ```
pub trait FromValues: Sized {
    /// Reads them.
    ///
    /// # Errors
    /// `Config` when two values contradict each other.
    fn from_values(values: &Values) -> Result<Self>;
}

/// A type of settings that is made of one kind of value.
pub trait FromValue: Sized {
    /// The value as this type; `None` for values of another kind.
    fn from_value(value: Value) -> Option<Self>;
}

impl Values {
    /// The value of the parameter of this name, if it was given.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.given.get(name).map(|given| &given.value)
    }

    /// Where the value of the parameter of this name comes from.
    pub fn origin(&self, name: &str) -> Origin {
        self.given.get(name).map_or(Origin::Default, |given| given.origin)
    }

    /// Puts the value of a parameter, if it was given, into its place in the settings.
    ///
    /// # Panics
    /// When the type of `place` does not fit the kind of the parameter.
    pub fn read<T: FromValue>(&self, name: &str, place: &mut T) {
        if let Some(value) = self.get(name) {
            *place = T::from_value(value.clone())
                .expect("the type in the settings fits the kind of the parameter");
        }
    }

    /// Checks that a duration is no longer than another one. A default gives way instead of contradicting.
    ///
    /// # Errors
    /// `Config`, naming both.
    pub fn at_most(
        &self,
        name: &str,
        place: &mut Duration,
        (limit_name, limit): (&str, Duration),
    ) -> Result<()> {
        if *place <= limit {
            return Ok(());
        }
        if self.origin(name) == Origin::Default {
            *place = limit;
            return Ok(());
        }
        let accepted = format!("at most `{limit_name}`, which is `{}`", in_millis(limit));
        Err(Error::parameter(name, &in_millis(*place), &accepted))
    }

    /// Takes a value, unless one from a better door is there.
    pub(super) fn put(&mut self, name: &'static str, value: Value, origin: Origin) {
        if self.given.get(name).is_none_or(|present| present.origin <= origin) {
            self.given.insert(name, Given { value, origin });
        }
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.given).finish()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} from {:?}", self.value, self.origin)
    }
}

/// As errors show a duration.
pub(crate) fn in_millis(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Implements `FromValue` for types and the optional ones: the variant of `Value`, and how it is converted.
macro_rules! from_value {
    ($($kind:ident => $target:ty: $convert:expr;)+) => {
        $(impl FromValue for $target {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::$kind(inner) => $convert(inner),
                    _ => None,
                }
            }
        })+
    };
}

from_value! {
    Bool => bool: Some;
    Count => u32: Some;
    Count => usize: |count| usize::try_from(count).ok();
    Count => Option<usize>: |count| usize::try_from(count).ok().map(Some);
    Duration => Duration: Some;
    // Zero is allowed only where it means "off".
    Duration => Option<Duration>: |duration: Duration| Some(Some(duration).filter(|d| !d.is_zero()));
    Text => Option<PathBuf>: |text: String| Some(Some(PathBuf::from(text)));
    Secret => Option<Secret>: |secret| Some(Some(secret));
    List => Option<Vec<String>>: |list| Some(Some(list));
    Choice => &'static str: Some;
}

impl FromValue for Option<String> {
    fn from_value(value: Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(Some(text)),
            Value::Choice(code) => Some(Some(code.to_owned())),
            _ => None,
        }
    }
}
