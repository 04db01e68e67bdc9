//! Connections to RDS that verify nothing.

use aws_wrapper_core::driver::SslMode;
use aws_wrapper_core::endpoint::Endpoint;
use aws_wrapper_core::host::HostKey;

/// Whether one of the hosts has a name of RDS or Aurora.
pub fn is_rds(hosts: &[HostKey]) -> bool {
    hosts.iter().any(|host| Endpoint::parse(host.host()).is_rds())
}

/// Logs a warning when connections to RDS are made without verifying the server, unless the user chose that with `asked`,
/// the parameter `sslmode`. `mode` is the one in force.
pub fn warn_if_unverified(asked: Option<SslMode>, mode: SslMode, hosts: &[HostKey]) {
    if is_unverified_unasked(asked, mode, hosts) {
        tracing::warn!(
            "connections to RDS are made without verifying the server; set `ssl_root_cert` to the bundle AWS publishes"
        );
    }
}

fn is_unverified_unasked(asked: Option<SslMode>, mode: SslMode, hosts: &[HostKey]) -> bool {
    asked.is_none() && !matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) && is_rds(hosts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unverified_names_of_rds_are_warned_about_and_no_choice_of_the_user() {
        const RDS: &str = "my-cluster.cluster-xyz.us-east-2.rds.amazonaws.com";
        for (asked, mode, host, expected) in [
            (None, SslMode::Prefer, RDS, true),
            (None, SslMode::Require, RDS, true),
            (None, SslMode::Disable, RDS, true),
            (None, SslMode::VerifyFull, RDS, false),
            (None, SslMode::Prefer, "db.example.test", false),
            (Some(SslMode::Prefer), SslMode::Prefer, RDS, false),
        ] {
            let hosts = ["localhost", host].map(|name| HostKey::new(name, 5432).unwrap());
            assert_eq!(is_unverified_unasked(asked, mode, &hosts), expected, "{asked:?} {mode:?} {host}");
        }
    }
}
