//! The benchmarks: both sides in one run, in alternating blocks, reported as ratios.

pub mod calls;
pub mod checkout;
pub mod children;
pub mod conditions;
pub mod connect;
pub mod contended;
pub mod cores;
pub mod detection;
pub mod goal;
pub mod instructions;
pub mod measure;
pub mod memory;
pub mod monitors;
pub mod outage;
pub mod pipeline;
pub mod plan;
pub mod plot;
pub mod pool;
pub mod readers;
pub mod relay;
pub mod reopen;
pub mod report;
pub mod setting;
pub mod stats;

use std::str::FromStr;

/// Who sends a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of this program")]
pub enum Side {
    /// The bare driver.
    Bare,
    /// The wrapper.
    Wrapped,
    /// The wrapper in code that is generic over the driver's own trait.
    Generic,
}

impl Side {
    /// As an argument.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Wrapped => "wrapped",
            Self::Generic => "generic",
        }
    }
}

impl FromStr for Side {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let sides = [Self::Bare, Self::Wrapped, Self::Generic];
        sides.into_iter().find(|side| side.word() == word).ok_or_else(|| format!("`{word}` is no side"))
    }
}
