//! What the adapters share about TLS: root certificates, what `sslmode` verifies, the rustls configuration, and the warning
//! about unverified connections to RDS.
//!
//! Internal to `aws-wrapper-pg` and `aws-wrapper-mysql`, with no stable API of its own. Applications use the adapters'
//! builders: `ssl_mode`, `root_certificate` and the parameters `sslmode` and `ssl_root_cert`.
//!
//! The adapters keep what their drivers dictate: which mode applies when `sslmode` is not set, and how the driver receives
//! it. tokio-postgres takes a connector made from [`client_config`]. `mysql_async` builds its own configuration from the PEM
//! texts of [`Roots::into_pem`] and uses the process's default provider, which [`install_provider`] sets.

mod client_config;
mod provider;
mod rds;
mod roots;
mod verification;
mod verifier;

pub use self::client_config::client_config;
pub use self::provider::install_provider;
pub use self::rds::{is_rds, warn_if_unverified};
pub use self::roots::Roots;
pub use self::verification::Verification;
