//! The benchmarks: both sides in one run, in alternating blocks, reported as ratios.

pub mod call;
pub mod cores;
pub mod instructions;
pub mod loopback;
pub mod memory;
pub mod report;

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

    /// What the name of a measurement ends with.
    pub fn note(self) -> &'static str {
        match self {
            Self::Bare => ", bare against bare",
            Self::Wrapped => "",
            Self::Generic => ", by the driver's trait",
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

/// What the programs that are started for a measurement need to know.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::exhaustive_structs, reason = "made by the program field by field")]
pub struct Subject<'a> {
    /// The engine as an argument.
    pub engine: &'a str,
    /// Where its server is.
    pub address: &'a str,
    /// Who can be compared.
    pub sides: &'a [Side],
}
