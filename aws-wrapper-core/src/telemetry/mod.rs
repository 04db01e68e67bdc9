//! What the wrapper measures: the names, and the trait by which an application receives the values.
//!
//! Every metric stands in one table, [`metrics`], with its kind, its unit, its attributes and one sentence on what it means.
//! Names are a contract, because dashboards hang on them; the table also reserves those of capabilities to come. The names
//! of spans stand in [`spans`].
//!
//! An application implements [`Instrument`] over the metrics library it uses and gives it to
//! [`Services`](crate::services::Services::builder). Without one nothing is measured: no clock is read, nothing is called.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//!
//! use aws_wrapper_core::services::Services;
//! use aws_wrapper_core::telemetry::{Attribute, Counter, Instrument};
//!
//! /// Sums up what is counted, whatever the attributes.
//! #[derive(Debug, Default)]
//! struct Sums(Mutex<BTreeMap<&'static str, u64>>);
//!
//! impl Instrument for Sums {
//!     fn add(&self, counter: &'static Counter, by: u64, _attributes: &[Attribute<'_>]) {
//!         *self.0.lock().unwrap().entry(counter.name()).or_default() += by;
//!     }
//! }
//!
//! let sums = Arc::new(Sums::default());
//! let services = Services::builder().instrument(sums.clone()).build();
//! ```

mod attribute;
mod markdown;
mod metric;
pub mod metrics;
pub mod spans;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub(crate) use self::attribute::outcome;
pub use self::attribute::{Attribute, Key, Value, key};
pub use self::markdown::markdown;
pub use self::metric::{Counter, Gauge, Histogram, Kind, Metric, Unit};

/// Receives what the wrapper measures. Every method has a default that does nothing.
///
/// Methods are called where things happen: in the application's own tasks, in the wrapper's, in destructors. They must
/// return quickly and must not panic. No lock of the wrapper is held meanwhile. An instrument must not hold the services, or
/// they would never end.
pub trait Instrument: Debug + Send + Sync {
    /// Adds `by` to a counter.
    fn add(&self, _counter: &'static Counter, _by: u64, _attributes: &[Attribute<'_>]) {}

    /// Adds one value to a histogram, in the histogram's [`unit`](Metric::unit).
    fn record(&self, _histogram: &'static Histogram, _value: f64, _attributes: &[Attribute<'_>]) {}

    /// Says what a gauge shows from now on, in the gauge's [`unit`](Metric::unit).
    fn set(&self, _gauge: &'static Gauge, _value: f64, _attributes: &[Attribute<'_>]) {}

    /// Whether each call is to be measured, as [`metrics::CALL_DURATION`]. Default: no, since that costs every call two looks
    /// at the clock and a call of [`record`](Self::record). Each connector asks once, when it is built.
    fn wants_calls(&self) -> bool {
        false
    }
}

/// The instrument the application gave to [`Services`](crate::services::Services), if it gave one.
///
/// Without one every method is a single test.
#[derive(Debug, Clone, Default)]
pub struct Telemetry {
    instrument: Option<Arc<dyn Instrument>>,
}

/// A moment from which a time is measured; none if nobody wants to know it.
#[derive(Debug, Clone, Copy)]
#[must_use = "a time is measured only when it is handed to `Telemetry::stop`"]
pub struct Timer(Option<Instant>);

impl Telemetry {
    /// Measures with `instrument`.
    pub fn new(instrument: Arc<dyn Instrument>) -> Self {
        Self { instrument: Some(instrument) }
    }

    /// Whether anything is measured. Ask before computing what is only measured.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.instrument.is_some()
    }

    /// Adds `by` to a counter.
    #[inline]
    pub fn add(&self, counter: &'static Counter, by: u64, attributes: &[Attribute<'_>]) {
        if let Some(instrument) = &self.instrument {
            instrument.add(counter, by, attributes);
        }
    }

    /// Says what a gauge shows from now on.
    #[inline]
    pub fn set(&self, gauge: &'static Gauge, value: f64, attributes: &[Attribute<'_>]) {
        if let Some(instrument) = &self.instrument {
            instrument.set(gauge, value, attributes);
        }
    }

    /// Says how many there are from now on.
    #[inline]
    pub fn set_count(&self, gauge: &'static Gauge, count: usize, attributes: &[Attribute<'_>]) {
        self.set(gauge, f64::from(u32::try_from(count).unwrap_or(u32::MAX)), attributes);
    }

    /// Adds a time to a histogram, whatever its unit.
    #[inline]
    pub fn record(&self, histogram: &'static Histogram, time: Duration, attributes: &[Attribute<'_>]) {
        if let Some(instrument) = &self.instrument {
            instrument.record(histogram, histogram.metric().unit.of(time), attributes);
        }
    }

    /// Starts to measure a time. Looks at the clock only if somebody wants to know it.
    #[inline]
    pub fn start(&self) -> Timer {
        Timer(self.instrument.as_ref().map(|_| Instant::now()))
    }

    /// Adds the time since `timer` was started to a histogram.
    #[inline]
    pub fn stop(&self, timer: Timer, histogram: &'static Histogram, attributes: &[Attribute<'_>]) {
        if let Timer(Some(started)) = timer {
            self.record(histogram, started.elapsed(), attributes);
        }
    }

    /// The instrument, if it wants to measure each call.
    pub(crate) fn of_calls(&self) -> Option<&Arc<dyn Instrument>> {
        self.instrument.as_ref().filter(|instrument| instrument.wants_calls())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Recorder;

    #[tokio::test(start_paused = true)]
    async fn a_time_is_in_the_unit_of_its_histogram() {
        let recorder = Arc::<Recorder>::default();
        let telemetry = Telemetry::new(recorder.clone());
        for (histogram, expected) in
            [(&metrics::CONNECT_DURATION, 1.5), (&metrics::EFM_DETECTION_TIME, 1500.0)]
        {
            let timer = telemetry.start();
            tokio::time::sleep(Duration::from_millis(1500)).await;
            telemetry.stop(timer, histogram, &[]);
            assert!((recorder.sum(histogram.metric()) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn without_an_instrument_the_clock_is_not_read() {
        assert!(Telemetry::default().start().0.is_none());
    }
}
