//! With whose settings and credentials the monitor connects.
//!
//! The monitor outlives the connector that started it, so it never depends on one: it knows the connectors alive, newest
//! first, and goes on to the next when a login is refused or a database is gone.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use super::{MonitorKind, Probe, Prober};
use crate::dialect::refusal::is_missing_database;
use crate::error::{Error, ErrorKind, Phase, Result};
use crate::host::HostKey;

/// The connectors the monitor may connect as.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    probers: Mutex<Vec<Weak<dyn Prober>>>,
}

const MOST: usize = 8;

impl Contexts {
    /// Makes `prober` the first to be used.
    pub(crate) fn add(&self, prober: Weak<dyn Prober>) {
        let mut probers = self.probers.lock();
        probers.retain(|known| known.strong_count() > 0 && !known.ptr_eq(&prober));
        probers.insert(0, prober);
        probers.truncate(MOST);
    }

    /// Whether every connector is gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.probers.lock().iter().all(|prober| prober.strong_count() == 0)
    }

    /// Opens a connection as the first connector that is let in.
    pub(crate) async fn connect(
        &self,
        host: &HostKey,
        monitor: MonitorKind,
        deadline: Instant,
    ) -> Result<Box<dyn Probe>> {
        let mut refusal = None;
        for prober in self.alive() {
            match timeout_at(deadline, prober.connect(host, monitor, deadline)).await {
                Ok(Ok(probe)) => return Ok(probe),
                Ok(Err(error)) if is_about_the_user(&error) => {
                    self.put_last(&prober);
                    refusal = Some(error);
                }
                Ok(Err(error)) => return Err(error.with_host(host)),
                Err(_) => {
                    let error = Error::new(
                        ErrorKind::Timeout(Phase::Connect),
                        "no connection for the monitor in time",
                    );
                    return Err(error.with_host(host));
                }
            }
        }
        let nobody =
            || Error::config("every connector of this cluster is gone, nobody is left to connect as");
        Err(refusal.unwrap_or_else(nobody).with_host(host))
    }

    fn alive(&self) -> Vec<Arc<dyn Prober>> {
        self.probers.lock().iter().filter_map(Weak::upgrade).collect()
    }

    fn put_last(&self, prober: &Arc<dyn Prober>) {
        let refused = Arc::downgrade(prober);
        let mut probers = self.probers.lock();
        if let Some(place) = probers.iter().position(|known| known.ptr_eq(&refused)) {
            probers.remove(place);
            probers.push(refused);
        }
    }
}

fn is_about_the_user(error: &Error) -> bool {
    error.kind() == ErrorKind::Login || is_missing_database(error)
}
