//! An instrument that keeps what it is told.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::telemetry::{Attribute, Counter, Gauge, Histogram, Instrument, Metric};

/// Keeps every value that is measured, in order.
#[derive(Debug, Default)]
pub struct Recorder {
    wants_calls: bool,
    measured: Mutex<Vec<Measured>>,
}

/// One value that was measured.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Measured {
    /// Of what.
    pub metric: &'static Metric,
    /// The value, in the unit of the metric.
    pub value: f64,
    /// What distinguishes it, in the order it was given.
    pub attributes: Vec<(&'static str, String)>,
}

impl Measured {
    /// The value of an attribute, if it has that.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Recorder {
    /// One that wants to know of each call, too.
    pub fn of_calls() -> Self {
        Self { wants_calls: true, ..Self::default() }
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Measured> {
        self.measured.lock().clone()
    }

    /// What was measured of one metric so far.
    pub fn of(&self, metric: &Metric) -> Vec<Measured> {
        let mut measured = self.all();
        measured.retain(|measured| measured.metric.name == metric.name);
        measured
    }

    /// The sum of what was measured of one metric so far.
    pub fn sum(&self, metric: &Metric) -> f64 {
        self.of(metric).iter().map(|measured| measured.value).sum()
    }

    /// The metrics that were measured so far.
    pub fn names(&self) -> BTreeSet<&'static str> {
        self.measured.lock().iter().map(|measured| measured.metric.name).collect()
    }

    fn keep(&self, metric: &'static Metric, value: f64, attributes: &[Attribute<'_>]) {
        let attributes =
            attributes.iter().map(|attribute| (attribute.name, attribute.value.to_string())).collect();
        self.measured.lock().push(Measured { metric, value, attributes });
    }
}

impl Instrument for Recorder {
    #[expect(clippy::cast_precision_loss, reason = "no test counts that far")]
    fn add(&self, counter: &'static Counter, by: u64, attributes: &[Attribute<'_>]) {
        self.keep(counter.metric(), by as f64, attributes);
    }

    fn record(&self, histogram: &'static Histogram, value: f64, attributes: &[Attribute<'_>]) {
        self.keep(histogram.metric(), value, attributes);
    }

    fn set(&self, gauge: &'static Gauge, value: f64, attributes: &[Attribute<'_>]) {
        self.keep(gauge.metric(), value, attributes);
    }

    fn wants_calls(&self) -> bool {
        self.wants_calls
    }
}
