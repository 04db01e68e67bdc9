//! `up`: a cluster in the foreground.

use std::fs;
use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::Up;
use super::control::Control;
use super::endpoints::{CONTROL_FILE, describe};
use super::signals::Signals;
use super::{Result, print, runtime};

pub(super) fn up(up: &Up) -> Result<ExitCode> {
    runtime()?.block_on(async {
        let mut signals = Signals::listen()?;
        let cluster = tokio::select! {
            cluster = up.shape.builder(1).folder(&up.dir).start() => Arc::new(cluster?),
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        };
        let control = Control::start(cluster.clone()).await?;
        let endpoints = describe(&cluster, &control.url());
        fs::write(cluster.folder().join(CONTROL_FILE), endpoints.to_string())?;
        print(&endpoints.to_string());
        signals.next().await;
        drop(control);
        Ok(ExitCode::SUCCESS)
    })
}
