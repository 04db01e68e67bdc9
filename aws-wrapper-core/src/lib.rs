//! Cluster awareness for Rust database drivers on Amazon Aurora and RDS.
//!
//! This is everything that is not a driver: who is in the cluster and who is the writer ([`topology`]), what an
//! endpoint's name says ([`endpoint`]), behaviours around connecting and calling ([`plugin`], [`plugins`], [`pipeline`]),
//! what a loss means for the caller ([`error`]), and who owns all of it ([`services`]). Applications use an adapter, such
//! as `aws-wrapper-pg` for tokio-postgres; authors of plugins and adapters use this crate.
//!
//! - A [`Connector`](connector::Connector) opens connections through its plugins.
//! - A [`Logical`](plugin::Logical) connection outlives its physical connections.
//! - A [`Call`](plugin::Call) passes the plugins that observe it; only when it fails is anybody asked for help.
//! - [`Services`](services::Services) owns monitors, the registry of connections and events. Nothing is static.
//!
//! # A plugin
//!
//! ```
//! use aws_wrapper_core::plugin::Call;
//! use aws_wrapper_core::driver::DriverDialect;
//! use aws_wrapper_core::error::Error;
//! use aws_wrapper_core::method::{Method, MethodSet};
//! use aws_wrapper_core::plugin::{ConnectionPlugin, Step, Subscriptions};
//! use aws_wrapper_core::ErrorKind;
//!
//! /// Refuses bulk loads, on any driver.
//! #[derive(Debug)]
//! struct NoCopy;
//!
//! impl<D: DriverDialect> ConnectionPlugin<D> for NoCopy {
//!     fn code(&self) -> &'static str {
//!         "no_copy"
//!     }
//!
//!     fn subscriptions(&self) -> Subscriptions {
//!         Subscriptions::none().calls(MethodSet::of(&[Method::CopyIn]))
//!     }
//!
//!     fn before<'a>(&'a self, _call: &'a Call<'_, D>) -> Step<'a> {
//!         Step::Fail(Error::new(ErrorKind::Unsupported, "bulk loads are not allowed here"))
//!     }
//! }
//! ```

pub mod availability;
pub mod config;
pub mod connector;
pub mod dialect;
pub mod driver;
pub mod endpoint;
pub mod engine;
pub mod error;
pub mod events;
pub mod health;
pub mod host;
pub mod method;
pub mod pipeline;
pub mod plugin;
pub mod plugins;
pub mod pooling;
pub mod probe;
pub mod registry;
pub mod resolver;
pub mod retry;
pub mod runtime;
pub mod select;
pub mod services;
pub mod session;
pub mod table;
mod tasks;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod topology;

pub use crate::error::{Error, ErrorKind, Result};
pub use crate::tasks::TaskStatus;
