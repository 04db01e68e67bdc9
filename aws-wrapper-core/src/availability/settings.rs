//! How hosts that could not be reached are treated.

use std::time::Duration;

use crate::config::choice;
use crate::config::parameter::{Kind, Parameter};
use crate::config::values::{FromValues, Values};
use crate::error::Result;

/// How hosts that could not be reached are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AvailabilitySettings {
    /// Whether they are tried again. Default: [`AvailabilityStrategyKind::Simple`].
    pub strategy: AvailabilityStrategyKind,
    /// How often, for [`AvailabilityStrategyKind::ExponentialBackoff`]. Default: 5; at least 1.
    pub max_retries: u32,
    /// The first pause of [`AvailabilityStrategyKind::ExponentialBackoff`]. Default: 30 s; at least 1 s.
    pub initial_backoff: Duration,
}

choice! {
    /// How a host that could not be reached is treated.
    AvailabilityStrategyKind {
        /// It stays out until it has been reached again.
        Simple = "simple",
        /// It is tried again after a pause that doubles with each failure.
        ExponentialBackoff = "exponential_backoff",
    }
}

/// The parameters.
pub(crate) const PARAMETERS: &[Parameter] = &[
    Parameter {
        name: "default_host_availability_strategy",
        aliases: &[],
        kind: Kind::Choice(AvailabilityStrategyKind::CODES),
        default: "simple",
        group: "Host availability and pacing",
        doc: "How a host that could not be reached is treated: `simple` leaves it out until it has been \
              reached again, `exponential_backoff` tries it again after a pause that doubles with each \
              failure.",
    },
    Parameter {
        name: "host_availability_max_retries",
        aliases: &["hostAvailabilityStrategyMaxRetries"],
        kind: Kind::Count { min: 1, max: u32::MAX },
        default: "5",
        group: "Host availability and pacing",
        doc: "How often `exponential_backoff` tries a host again before it stays out.",
    },
    Parameter {
        name: "host_availability_initial_backoff_secs",
        aliases: &["hostAvailabilityStrategyInitialBackoffTime"],
        kind: Kind::secs(1),
        default: "30",
        group: "Host availability and pacing",
        doc: "First pause of `exponential_backoff`.",
    },
];

impl Default for AvailabilitySettings {
    fn default() -> Self {
        Self {
            strategy: AvailabilityStrategyKind::Simple,
            max_retries: 5,
            initial_backoff: Duration::from_secs(30),
        }
    }
}

impl FromValues for AvailabilitySettings {
    fn from_values(values: &Values) -> Result<Self> {
        let mut settings = Self::default();
        values.read("default_host_availability_strategy", &mut settings.strategy);
        values.read("host_availability_max_retries", &mut settings.max_retries);
        values.read("host_availability_initial_backoff_secs", &mut settings.initial_backoff);
        Ok(settings)
    }
}
