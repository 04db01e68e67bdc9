//! The hot path: one call through the plugins that observe it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use crate::driver::DriverDialect;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::pipeline::{CallChain, Observer, Pipeline};
use crate::plugin::{Call, CallClass, CallOutcome, Recovery, Step};
use crate::telemetry::spans;

impl<D: DriverDialect> Pipeline<D> {
    /// Runs an exchange with the driver: first the `before` of those who subscribed, then `exchange` in place, then
    /// their `after`; on failure it asks for recovery.
    ///
    /// `exchange` makes the future where it is awaited: handed in ready made, its kilobyte would be moved twice.
    ///
    /// # Cancellation
    /// Dropping the future runs the `after` of those entered and never starts a recovery.
    #[inline]
    pub async fn call<T, F>(&self, call: &Call<'_, D>, exchange: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let chain = self.chain(call.method());
        let mut entered = Entered { call, chain, passage: Passage::through(chain) };
        let admitted = if chain.observers.is_empty() { Ok(()) } else { entered.enter().await };
        let result = match (admitted, self.call_limit) {
            (Ok(()), None) => exchange().await,
            // Boxed, so that the future of a call without a limit stays small.
            (Ok(()), Some(limit)) => Box::pin(within(limit, exchange())).await,
            (Err(error), _) => Err(error),
        };
        entered.passage.class = Some(class_of(&result));
        drop(entered);
        match result {
            Ok(value) => Ok(value),
            Err(error) => Err(self.recover(call, error).await),
        }
    }

    /// Opens an exchange that goes on after this call returns, such as a stream of rows, and takes the call along.
    ///
    /// Whoever subscribed is entered when this returns. Run the exchange then, and on failure [`Lent::recover`].
    pub async fn lend(&self, call: Call<'static, D>) -> Result<Lent<D>> {
        let chain = self.chain(call.method());
        let observers = Arc::clone(&chain.observers);
        let mut lent = Lent { call: Some(call), observers, passage: Passage::through(chain) };
        match lent.enter().await {
            Ok(()) => Ok(lent),
            Err(error) => Err(lent.recover(self, error).await),
        }
    }

    /// Asks the plugins that want to see failures of this method, inner to outer, what becomes of `error`.
    #[cold]
    pub fn recover<'a>(
        &'a self,
        call: &'a Call<'_, D>,
        error: Error,
    ) -> impl Future<Output = Error> + Send + use<'a, D> {
        let helpers = &self.chain(call.method()).helpers;
        let mut error = call.with_fate(error.with_method(call.method()));
        // Boxed, so that the future of a call that succeeds stays small.
        Box::pin(async move {
            for plugin in helpers.iter().rev() {
                error = match plugin.recover(call, error).await {
                    Recovery::Fail(error) => error,
                    Recovery::Handled(error) => return error,
                };
            }
            error
        })
    }
}

/// Gives an exchange up that takes longer than `limit`: dropping it is the adapter's business.
async fn within<T>(limit: Duration, exchange: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(limit, exchange).await.unwrap_or_else(|_| {
        let text = format!("no answer within the {} ms of `socket_timeout_ms`", limit.as_millis());
        Err(Error::new(ErrorKind::Timeout(Phase::Call), text))
    })
}

/// How far a call has come, and how it ended.
#[derive(Debug)]
struct Passage {
    /// How many observers have seen it.
    count: u32,
    /// Only if one of them wants to know how long it takes.
    began: Option<Instant>,
    /// `None` as long as it runs.
    class: Option<CallClass>,
}

impl Passage {
    #[inline]
    fn through<D: DriverDialect>(chain: &CallChain<D>) -> Self {
        Self { count: 0, began: chain.is_timed.then(Instant::now), class: None }
    }

    #[inline]
    async fn enter<D: DriverDialect>(&mut self, observers: &[Observer<D>], call: &Call<'_, D>) -> Result<()> {
        for Observer { plugin, .. } in observers {
            match plugin.before(call) {
                Step::Continue => {}
                Step::Fail(error) => return Err(error.with_plugin(plugin.code())),
                Step::Wait(wait) => waiting(plugin.code(), wait).await?,
            }
            self.count += 1;
        }
        Ok(())
    }

    #[inline]
    fn leave<D: DriverDialect>(&self, observers: &[Observer<D>], call: &Call<'_, D>) {
        if self.count == 0 {
            return;
        }
        let class = self.class.unwrap_or_else(|| dropped(call));
        let elapsed = self.began.map(|began| began.elapsed());
        let mut outcome = CallOutcome { class, rows_affected: call.rows_affected(), elapsed };
        for observer in observers.iter().take(self.count as usize).rev() {
            outcome.elapsed = elapsed.filter(|_| observer.wants_time);
            observer.plugin.after(call, &outcome);
        }
    }
}

/// A plugin lets the call wait. In a box of its own, so that the future of a call that does not wait stays small.
#[cold]
fn waiting<'a>(plugin: &'static str, wait: BoxFuture<'a, Result<()>>) -> BoxFuture<'a, Result<()>> {
    let span = tracing::trace_span!(spans::PLUGIN, plugin, step = "before");
    Box::pin(async move { wait.instrument(span).await.map_err(|error| error.with_plugin(plugin)) })
}

#[inline]
fn class_of<T>(result: &Result<T>) -> CallClass {
    match result {
        Ok(_) => CallClass::Ok,
        Err(error) => CallClass::Failed(error.kind()),
    }
}

#[cold]
fn dropped<D: DriverDialect>(call: &Call<'_, D>) -> CallClass {
    if call.was_sent() { CallClass::DroppedAfterSending } else { CallClass::DroppedBeforeSending }
}

/// Runs `after` for exactly those plugins whose `before` ran, in reverse, whatever ends the call.
#[derive(Debug)]
struct Entered<'a, D: DriverDialect> {
    call: &'a Call<'a, D>,
    chain: &'a CallChain<D>,
    passage: Passage,
}

impl<D: DriverDialect> Entered<'_, D> {
    #[inline]
    async fn enter(&mut self) -> Result<()> {
        self.passage.enter(&self.chain.observers, self.call).await
    }
}

impl<D: DriverDialect> Drop for Entered<'_, D> {
    #[inline]
    fn drop(&mut self) {
        self.passage.leave(&self.chain.observers, self.call);
    }
}

/// The observers of a call that are entered, without borrows: for streams that can be kept as long as one likes.
#[derive(Debug)]
pub struct Lent<D: DriverDialect> {
    /// Empty only once the call is over.
    call: Option<Call<'static, D>>,
    observers: Arc<[Observer<D>]>,
    passage: Passage,
}

impl<D: DriverDialect> Lent<D> {
    /// The call it was opened by.
    ///
    /// # Panics
    /// Never: the call is taken out only by [`recover`](Self::recover), which consumes the guard.
    pub fn call(&self) -> &Call<'static, D> {
        self.call.as_ref().expect("the call is there until the guard is consumed")
    }

    /// The result was opened: from now on it is read, and a reader that stops early has had what it wanted.
    pub fn opened(&mut self) {
        self.passage.class = Some(CallClass::Ok);
    }

    /// The exchange failed: ends it, then asks for recovery as [`Pipeline::recover`] does.
    ///
    /// # Panics
    /// Never: nobody else takes the call out.
    pub async fn recover(mut self, pipeline: &Pipeline<D>, error: Error) -> Error {
        self.passage.class = Some(CallClass::Failed(error.kind()));
        let call = self.leave().expect("the call is there until the guard is consumed");
        pipeline.recover(&call, error).await
    }

    async fn enter(&mut self) -> Result<()> {
        let call = self.call.as_ref().expect("the call is there until the guard is consumed");
        self.passage.enter(&self.observers, call).await
    }

    fn leave(&mut self) -> Option<Call<'static, D>> {
        let call = self.call.take()?;
        self.passage.leave(&self.observers, &call);
        Some(call)
    }
}

impl<D: DriverDialect> Drop for Lent<D> {
    fn drop(&mut self) {
        self.leave();
    }
}
