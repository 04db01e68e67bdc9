//! The application's hooks, for every sub-pool.

use std::fmt;
use std::sync::Arc;

use deadpool::managed::{Hook, HookResult, Metrics, PoolBuilder};

use crate::adapter::Adapter;
use crate::manager::Manager;
use crate::object::Object;
use crate::pooled::Pooled;

/// deadpool's hooks belong to one pool each; these are shared by all sub-pools.
pub(crate) struct Hooks<A: Adapter> {
    pub(crate) post_create: Vec<Hook<Manager<A>>>,
    pub(crate) pre_recycle: Vec<Hook<Manager<A>>>,
    pub(crate) post_recycle: Vec<Hook<Manager<A>>>,
}

type Builder<A> = PoolBuilder<Manager<A>, Object<A>>;

/// Which of the three lists is meant.
type Of<A> = fn(&Hooks<A>) -> &[Hook<Manager<A>>];

impl<A: Adapter> Hooks<A> {
    /// Puts the hooks into a sub-pool that is being built.
    pub(crate) fn install(hooks: &Arc<Self>, mut builder: Builder<A>) -> Builder<A> {
        if let Some(hook) = shared(hooks, |hooks| &hooks.post_create) {
            builder = builder.post_create(hook);
        }
        if let Some(hook) = shared(hooks, |hooks| &hooks.pre_recycle) {
            builder = builder.pre_recycle(hook);
        }
        if let Some(hook) = shared(hooks, |hooks| &hooks.post_recycle) {
            builder = builder.post_recycle(hook);
        }
        builder
    }

    /// Makes of a fresh session what a clean one is in this pool.
    pub(crate) async fn prepare(
        &self,
        pooled: &mut Pooled<A>,
        metrics: &Metrics,
    ) -> HookResult<Arc<aws_wrapper_core::Error>> {
        run_all(&self.post_create, pooled, metrics).await
    }
}

/// One hook that runs a whole list, if there is anything in it. Only what may wait costs a box.
fn shared<A: Adapter>(hooks: &Arc<Hooks<A>>, of: Of<A>) -> Option<Hook<Manager<A>>> {
    let list = of(hooks);
    let hooks = Arc::clone(hooks);
    if list.is_empty() {
        return None;
    }
    if list.iter().all(|hook| matches!(hook, Hook::Fn(_))) {
        return Some(Hook::sync_fn(move |pooled, metrics| {
            of(&hooks).iter().try_for_each(|hook| match hook {
                Hook::Fn(run) => run(pooled, metrics),
                Hook::AsyncFn(_) => Ok(()),
            })
        }));
    }
    Some(Hook::async_fn(move |pooled, metrics| {
        let hooks = Arc::clone(&hooks);
        Box::pin(async move { run_all(of(&hooks), pooled, metrics).await })
    }))
}

async fn run_all<A: Adapter>(
    hooks: &[Hook<Manager<A>>],
    pooled: &mut Pooled<A>,
    metrics: &Metrics,
) -> HookResult<Arc<aws_wrapper_core::Error>> {
    for hook in hooks {
        match hook {
            Hook::Fn(run) => run(pooled, metrics)?,
            Hook::AsyncFn(run) => run(pooled, metrics).await?,
        }
    }
    Ok(())
}

impl<A: Adapter> Default for Hooks<A> {
    fn default() -> Self {
        Self { post_create: Vec::new(), pre_recycle: Vec::new(), post_recycle: Vec::new() }
    }
}

impl<A: Adapter> fmt::Debug for Hooks<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("post_create", &self.post_create.len())
            .field("pre_recycle", &self.pre_recycle.len())
            .field("post_recycle", &self.post_recycle.len())
            .finish()
    }
}
