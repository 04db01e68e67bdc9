//! Every parameter there is, for one connector.

use std::collections::HashMap;

use super::parameter::{Parameter, normalized};
use super::{markdown, similar};
use crate::error::{Error, Result};

/// The parameters of the wrapper and of the plugins a connector knows.
#[derive(Debug, Default)]
pub struct Schema {
    parameters: Vec<&'static Parameter>,
    /// By name and alias in their normal form.
    by_name: HashMap<String, &'static Parameter>,
}

impl Schema {
    /// Adds parameters.
    ///
    /// # Errors
    /// `Config` when one of their names or aliases is taken.
    pub fn add(&mut self, parameters: &'static [Parameter]) -> Result<()> {
        for parameter in parameters {
            for name in std::iter::once(&parameter.name).chain(parameter.aliases) {
                let other = self.by_name.insert(normalized(name), parameter);
                if let Some(other) = other.filter(|other| !std::ptr::eq(*other, parameter)) {
                    return Err(Error::config(format!(
                        "parameter `{}`: the name `{name}` belongs to the parameter `{}`",
                        parameter.name, other.name
                    )));
                }
            }
            self.parameters.push(parameter);
        }
        Ok(())
    }

    /// All parameters, in the order they were added.
    pub fn parameters(&self) -> impl Iterator<Item = &'static Parameter> {
        self.parameters.iter().copied()
    }

    /// The parameter of this name or alias. Case, `_` and `-` do not matter.
    pub fn find(&self, name: &str) -> Option<&'static Parameter> {
        self.by_name.get(&normalized(name)).copied()
    }

    /// The page for people: the text of `docs/parameters.md` for the wrapper's own.
    pub fn markdown(&self) -> String {
        markdown::page(self.parameters())
    }

    /// The parameter of this name or alias.
    ///
    /// # Errors
    /// `Config` when there is none; tells which names are similar.
    pub(super) fn resolve(&self, name: &str) -> Result<&'static Parameter> {
        self.find(name).ok_or_else(|| similar::unknown(name, self.parameters()))
    }
}
