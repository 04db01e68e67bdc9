//! What a metric is.

use std::time::Duration;

use super::attribute::Key;

/// One metric: a row of the table [`metrics`](super::metrics).
#[derive(Debug)]
#[non_exhaustive]
pub struct Metric {
    /// The whole name.
    pub name: &'static str,
    /// What becomes of its values.
    pub kind: Kind,
    /// What its values count.
    pub unit: Unit,
    /// The attributes a value can have. One that is not known is left out.
    pub attributes: &'static [Key],
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// The capability that will emit it; `None` for what is emitted now.
    pub waits_for: Option<&'static str>,
}

/// What becomes of the values of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// They are added up.
    Counter,
    /// The last one counts.
    Gauge,
    /// Their distribution counts.
    Histogram,
}

/// What the values of a metric count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Seconds, with fractions.
    Seconds,
    /// Thousandths of a second, with fractions.
    Millis,
    /// Things or events; of a gauge also a state.
    One,
}

impl Kind {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Unit {
    /// The symbol for it, by the Unified Code for Units of Measure.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Millis => "ms",
            Self::One => "1",
        }
    }

    /// A time in this unit.
    pub(crate) fn of(self, time: Duration) -> f64 {
        match self {
            Self::Seconds | Self::One => time.as_secs_f64(),
            Self::Millis => time.as_secs_f64() * 1e3,
        }
    }
}

/// A metric whose values are added up.
#[derive(Debug)]
pub struct Counter(pub(super) Metric);

/// A metric whose last value counts.
#[derive(Debug)]
pub struct Gauge(pub(super) Metric);

/// A metric the distribution of whose values counts.
#[derive(Debug)]
pub struct Histogram(pub(super) Metric);

impl Counter {
    /// The whole name.
    pub const fn name(&self) -> &'static str {
        self.0.name
    }

    /// Its row of the table.
    pub const fn metric(&self) -> &Metric {
        &self.0
    }
}

impl Gauge {
    /// The whole name.
    pub const fn name(&self) -> &'static str {
        self.0.name
    }

    /// Its row of the table.
    pub const fn metric(&self) -> &Metric {
        &self.0
    }
}

impl Histogram {
    /// The whole name.
    pub const fn name(&self) -> &'static str {
        self.0.name
    }

    /// Its row of the table.
    pub const fn metric(&self) -> &Metric {
        &self.0
    }
}
