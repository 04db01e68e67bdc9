//! How a plugin becomes one that can be named in `plugins`.

use std::fmt;
use std::sync::Arc;

use super::{ConnectionPlugin, Place, PluginContext};
use crate::config::parameter::Parameter;
use crate::config::values::Values;
use crate::driver::DriverDialect;
use crate::error::Result;

/// Makes a plugin from its code, with parameters of its own.
///
/// The wrapper's plugins come through this door, too. A crate with a plugin offers a constant, and the application registers
/// it with the builder of the adapter.
///
/// ```
/// use std::sync::Arc;
///
/// use aws_wrapper_core::Result;
/// use aws_wrapper_core::config::parameter::{Kind, Parameter};
/// use aws_wrapper_core::config::values::{FromValues, Values};
/// use aws_wrapper_core::driver::DriverDialect;
/// use aws_wrapper_core::plugin::{ConnectionPlugin, PluginContext, PluginFactory, Subscriptions};
///
/// #[derive(Debug)]
/// struct RowLimit {
///     rows: u32,
/// }
///
/// impl FromValues for RowLimit {
///     fn from_values(values: &Values) -> Result<Self> {
///         let mut limit = Self { rows: 1000 };
///         values.read("row_limit", &mut limit.rows);
///         Ok(limit)
///     }
/// }
///
/// impl<D: DriverDialect> ConnectionPlugin<D> for RowLimit {
///     fn code(&self) -> &'static str {
///         "row_limit"
///     }
///
///     fn subscriptions(&self) -> Subscriptions {
///         Subscriptions::none()
///     }
/// }
///
/// pub const fn row_limit<D: DriverDialect>() -> PluginFactory<D> {
///     const PARAMETERS: &[Parameter] = &[Parameter::new(
///         "row_limit",
///         Kind::Count { min: 1, max: 1_000_000 },
///         "Most rows a query may return.",
///     )
///     .with_default("1000")];
///     PluginFactory::new("row_limit", |context| Ok(Arc::new(context.settings::<RowLimit>()?)))
///         .with_parameters(PARAMETERS)
/// }
/// ```
#[non_exhaustive]
pub struct PluginFactory<D: DriverDialect> {
    /// Its name in the `plugins` parameter, in snake case.
    pub code: &'static str,
    /// Further names. Spellings that differ in case, `_` and `-` only need not be listed.
    pub aliases: &'static [&'static str],
    /// Where the plugin stands in the chain. Default: [`Place::AfterPrevious`].
    pub place: Place,
    /// Codes of plugins it cannot work with.
    pub excludes: &'static [&'static str],
    /// Whether it needs the topology, so that the first connection finds out the server's product and joins its cluster.
    pub needs_topology: bool,
    /// The parameters it brings.
    pub parameters: &'static [Parameter],
    /// Checks the values of its parameters together, whether the plugin is in the list or not.
    pub check: fn(&Values) -> Result<()>,
    /// Makes it for one connector.
    pub make: Make<D>,
}

/// Makes a plugin for one connector.
pub type Make<D> = fn(&PluginContext<D>) -> Result<Arc<dyn ConnectionPlugin<D>>>;

impl<D: DriverDialect> PluginFactory<D> {
    /// A plugin without parameters that stands behind the one before it in the list.
    pub const fn new(code: &'static str, make: Make<D>) -> Self {
        Self {
            code,
            aliases: &[],
            place: Place::AfterPrevious,
            excludes: &[],
            needs_topology: false,
            parameters: &[],
            check: |_| Ok(()),
            make,
        }
    }

    /// Further names.
    #[must_use]
    pub const fn with_aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    /// Its place in the chain.
    #[must_use]
    pub const fn with_place(mut self, place: Place) -> Self {
        self.place = place;
        self
    }

    /// Codes of plugins that must not stand in the same list.
    #[must_use]
    pub const fn with_excludes(mut self, codes: &'static [&'static str]) -> Self {
        self.excludes = codes;
        self
    }

    /// It needs the topology.
    #[must_use]
    pub const fn with_topology(mut self) -> Self {
        self.needs_topology = true;
        self
    }

    /// The parameters it brings.
    #[must_use]
    pub const fn with_parameters(mut self, parameters: &'static [Parameter]) -> Self {
        self.parameters = parameters;
        self
    }

    /// Checks values that have to agree with each other.
    #[must_use]
    pub const fn with_check(mut self, check: fn(&Values) -> Result<()>) -> Self {
        self.check = check;
        self
    }

    /// Whether `name` is its code or one of its aliases, whatever the spelling.
    pub(crate) fn is_named(&self, name: &str) -> bool {
        let is = |own: &str| letters(own).eq(letters(name));
        is(self.code) || self.aliases.iter().any(|alias| is(alias))
    }
}

fn letters(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| !matches!(c, '_' | '-')).map(|c| c.to_ascii_lowercase())
}

impl<D: DriverDialect> Clone for PluginFactory<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D: DriverDialect> Copy for PluginFactory<D> {}

impl<D: DriverDialect> fmt::Debug for PluginFactory<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginFactory")
            .field("code", &self.code)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}
