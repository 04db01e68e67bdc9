//! A subscriber that keeps the spans that are opened.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Event, Metadata, Subscriber};

/// The wrapper's spans by name, and the fields each has.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spans {
    opened: Arc<Mutex<BTreeMap<&'static str, BTreeSet<&'static str>>>>,
    last: Arc<AtomicU64>,
}

impl Spans {
    /// Keeps what is opened on this thread, until the guard is dropped.
    pub(crate) fn start(&self) -> DefaultGuard {
        tracing::subscriber::set_default(self.clone())
    }

    pub(crate) fn opened(&self) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        self.opened.lock().unwrap().clone()
    }
}

impl Subscriber for Spans {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        if metadata.name().starts_with("aws_wrapper.") {
            let fields = metadata.fields().iter().map(|field| field.name());
            self.opened.lock().unwrap().entry(metadata.name()).or_default().extend(fields);
        }
        Id::from_u64(self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
