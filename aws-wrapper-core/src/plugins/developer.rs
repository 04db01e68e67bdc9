//! `developer`: scripted faults, for testing how an application copes.
//!
//! **Effect.** The application keeps a [`Script`] and writes faults into it: the next connect to a host fails, the
//! third query takes 200 ms, a commit never comes back. Each fault strikes once. The script belongs to one connector.
//! **Order.** Relative; put it behind `failover` to see failovers. **Failure.** As scripted. **Cost.** One load a call
//! while the script is empty.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::sleep;

use crate::driver::{ConnectRequest, DriverDialect};
use crate::error::{DriverClass, Error, Result};
use crate::method::{Method, MethodSet};
use crate::plugin::{
    Call, ConnectionPlugin, Connects, Next, PluginContext, PluginFactory, Step, Subscriptions,
};

/// Faults to come. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    left: AtomicUsize,
    faults: Mutex<Vec<Fault>>,
}

#[derive(Debug)]
struct Fault {
    place: At,
    /// Calls or connects to let pass first.
    skip: u32,
    effect: Effect,
}

#[derive(Debug)]
enum At {
    Connect { host: Option<String> },
    Call { method: Option<Method> },
}

/// What a fault does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Effect {
    /// Fails with an error of this class, without asking the server.
    Fail(DriverClass),
    /// Waits this long, then goes on.
    Delay(Duration),
    /// Never comes back.
    Hang,
}

impl Script {
    /// A connect to `host` (any when `None`), after `skip` others, suffers `effect`.
    pub fn on_connect(&self, host: Option<&str>, skip: u32, effect: Effect) {
        self.push(Fault { place: At::Connect { host: host.map(str::to_ascii_lowercase) }, skip, effect });
    }

    /// A call of `method` (any when `None`), after `skip` others, suffers `effect`.
    pub fn on_call(&self, method: Option<Method>, skip: u32, effect: Effect) {
        self.push(Fault { place: At::Call { method }, skip, effect });
    }

    /// Forgets all faults that have not struck.
    pub fn clear(&self) {
        self.0.faults.lock().clear();
        self.0.left.store(0, Ordering::Release);
    }

    /// How many faults have not struck.
    pub fn left(&self) -> usize {
        self.0.left.load(Ordering::Acquire)
    }

    fn push(&self, fault: Fault) {
        let mut faults = self.0.faults.lock();
        faults.push(fault);
        self.0.left.store(faults.len(), Ordering::Release);
    }

    fn strike(&self, hits: impl Fn(&At) -> bool) -> Option<Effect> {
        if self.left() == 0 {
            return None;
        }
        let mut faults = self.0.faults.lock();
        let mut struck = None;
        for (index, fault) in faults.iter_mut().enumerate().filter(|(_, fault)| hits(&fault.place)) {
            if fault.skip == 0 {
                struck.get_or_insert(index);
            } else {
                fault.skip -= 1;
            }
        }
        let effect = struck.map(|index| faults.remove(index).effect);
        self.0.left.store(faults.len(), Ordering::Release);
        effect
    }
}

/// Makes a [`Script`] happen.
#[derive(Debug)]
pub struct Developer {
    script: Script,
}

impl Developer {
    /// How it is registered.
    pub const fn factory<D: DriverDialect>() -> PluginFactory<D> {
        PluginFactory::new("developer", |context| Ok(Arc::new(Self::of(context)))).with_aliases(&["dev"])
    }

    /// A plugin that plays the script the builder was given, or none.
    pub(crate) fn of<D: DriverDialect>(context: &PluginContext<D>) -> Self {
        Self::new(context.provided::<Script>().map(|script| Script::clone(&script)).unwrap_or_default())
    }

    /// A plugin that plays `script`.
    pub fn new(script: Script) -> Self {
        Self { script }
    }
}

async fn play(effect: Effect) -> Result<()> {
    match effect {
        Effect::Fail(class) => Err(Error::driver(class, format!("scripted {class:?} error"))),
        Effect::Delay(delay) => {
            sleep(delay).await;
            Ok(())
        }
        Effect::Hang => std::future::pending().await,
    }
}

#[async_trait]
impl<D: DriverDialect> ConnectionPlugin<D> for Developer {
    fn code(&self) -> &'static str {
        "developer"
    }

    fn subscriptions(&self) -> Subscriptions {
        Subscriptions::none().calls(MethodSet::ALL).connects(Connects::Application)
    }

    async fn connect(&self, request: &mut ConnectRequest, next: Next<'_, D>) -> Result<D::Connection> {
        let host = request.host().host();
        let hits = |at: &At| matches!(at, At::Connect { host: wanted } if wanted.as_deref().is_none_or(|w| w == host));
        if let Some(effect) = self.script.strike(hits) {
            play(effect).await?;
        }
        next.run(request).await
    }

    fn before<'a>(&'a self, call: &'a Call<'_, D>) -> Step<'a> {
        let hits = |at: &At| matches!(at, At::Call { method } if method.is_none_or(|method| method == call.method()));
        match self.script.strike(hits) {
            None => Step::Continue,
            Some(effect) => Step::Wait(Box::pin(play(effect))),
        }
    }
}
