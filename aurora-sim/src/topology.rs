//! The file that the servers' topology functions read.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::{Attempt, Result};
use crate::files::write;

const FILE: &str = "topology.json";

/// What the servers say about their cluster.
#[derive(Debug, Serialize)]
pub(crate) struct Topology {
    pub(crate) instances: Vec<Member>,
}

/// One instance as Aurora lists it.
#[derive(Debug, Serialize)]
pub(crate) struct Member {
    pub(crate) server_id: String,
    pub(crate) session_id: String,
    pub(crate) resource_id: String,
    pub(crate) endpoint: String,
    pub(crate) port: u16,
    pub(crate) writer: bool,
    pub(crate) lag_ms: u32,
    /// Seconds since 1970 at which the instance was last heard of; absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_update: Option<f64>,
}

impl Topology {
    /// Replaces the file in one step; the next statement on any instance sees it.
    pub(crate) fn write(&self, state: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain data is always JSON");
        replace(state, FILE, &text)
    }
}

/// Keeps today's topology as the view of one instance alone, or gives that instance the common view again.
pub(crate) fn set_stale(state: &Path, instance: &str, stale: bool) -> Result<()> {
    let own = format!("{instance}.{FILE}");
    if stale {
        let path = state.join(FILE);
        let text = fs::read_to_string(&path).attempt(|| format!("read {}", path.display()))?;
        return replace(state, &own, &text);
    }
    match fs::remove_file(state.join(&own)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).attempt(|| format!("delete {own}"))
        }
        _ => Ok(()),
    }
}

fn replace(state: &Path, file: &str, text: &str) -> Result<()> {
    let draft = state.join(format!(".{file}"));
    write(&draft, text)?;
    fs::rename(&draft, state.join(file)).attempt(|| format!("write {file}"))
}

pub(crate) fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
