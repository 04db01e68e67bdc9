//! A failover under way, as events, metrics and spans tell of it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::Span;
use tracing::field::Empty;

use super::settings::FailoverMode;
use crate::error::{FailoverOutcome, FailoverReport};
use crate::events::Event;
use crate::host::HostKey;
use crate::runtime::Shared;
use crate::telemetry::{key, metrics, spans};

/// Sees to it that every failover that started is reported as finished, also when it is dropped half way.
pub(super) struct Running<'a> {
    shared: &'a Shared,
    host: HostKey,
    /// Which host is looked for.
    kind: &'static str,
    in_transaction: bool,
    span: Span,
    started: Instant,
    finished: bool,
}

impl<'a> Running<'a> {
    pub(super) fn start(
        shared: &'a Shared,
        cluster: Option<&str>,
        host: &HostKey,
        mode: FailoverMode,
        in_transaction: bool,
    ) -> Self {
        let kind = mode.code();
        shared.events.send(Event::FailoverStarted { host: host.clone() });
        shared.telemetry().add(&metrics::FAILOVER_TRIGGERED_COUNT, 1, &[key::KIND.of(kind)]);
        let span = tracing::info_span!(
            spans::FAILOVER,
            "aws_wrapper.cluster_id" = cluster,
            %host,
            kind,
            in_transaction,
            outcome = Empty,
        );
        let (host, started) = (host.clone(), Instant::now());
        Self { shared, host, kind, in_transaction, span, started, finished: false }
    }

    /// The span around the failover.
    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    /// It is over; `search` is how long it took to learn which host to use.
    pub(super) fn finish(&mut self, outcome: FailoverOutcome, report: &FailoverReport, search: Duration) {
        self.finished = true;
        self.span.record("outcome", outcome.code());
        let attributes = [
            key::KIND.of(self.kind),
            key::OUTCOME.of(outcome.code()),
            key::IN_TRANSACTION.of(self.in_transaction),
        ];
        let telemetry = self.shared.telemetry();
        telemetry.add(&metrics::FAILOVER_COUNT, 1, &attributes);
        telemetry.record(&metrics::FAILOVER_DURATION, report.elapsed, &attributes);
        telemetry.record(&metrics::FAILOVER_SEARCH_DURATION, search, &attributes[..2]);
        self.shared.events.send(Event::FailoverFinished {
            host: self.host.clone(),
            new_host: report.new_host.clone(),
            outcome,
            elapsed: report.elapsed,
            search,
            attempts: report.attempts,
        });
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let report = FailoverReport { elapsed: self.started.elapsed(), ..FailoverReport::default() };
            let elapsed = report.elapsed;
            self.finish(FailoverOutcome::Failed, &report, elapsed);
        }
    }
}
