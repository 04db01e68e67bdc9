//! What connection strings and options say of the driver's own pool: the wrapper's pool does it, or it is refused.

use aws_wrapper_core::config::Config;
use aws_wrapper_core::error::{Error, Result};
use aws_wrapper_core::pooling::{PoolReset, PoolSettings};
use mysql_async::PoolOpts;

/// What was said of the driver's pool and has a meaning here.
#[derive(Debug, Default)]
pub(crate) struct DriverPool {
    /// `pool_max`, as it was written.
    max: Option<String>,
    /// `reset_connection`.
    reset: Option<bool>,
}

/// What has no meaning here, and what to use instead.
const REFUSED: &[(&str, &str)] = &[
    ("pool_min", "leave it out: a pool opens connections as they are needed, up to `pool_max_size`"),
    (
        "inactive_connection_ttl",
        "use `pool_idle_check_after_ms`: what lay idle for so long is asked before it is used",
    ),
    ("ttl_check_interval", "leave it out: a connection is looked at when it is checked out"),
    ("conn_ttl", "use `pool_max_lifetime_ms`"),
    ("abs_conn_ttl", "use `pool_max_lifetime_ms`"),
    ("abs_conn_ttl_jitter", "leave it out: `pool_max_lifetime_ms` has a jitter of a tenth"),
];

const MAX: &str = "pool_max";
const RESET: &str = "reset_connection";

impl DriverPool {
    /// Whether a parameter of this name belongs to the driver's pool.
    pub(crate) fn knows(name: &str) -> bool {
        name == MAX || name == RESET || REFUSED.iter().any(|(refused, _)| *refused == name)
    }

    /// Takes one parameter of a connection string.
    pub(crate) fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            MAX => {
                let is_number = value.parse::<u32>().is_ok_and(|max| max > 0);
                if !is_number {
                    return Err(Error::parameter(name, value, "a whole number of at least 1"));
                }
                self.max = Some(value.to_owned());
            }
            RESET => {
                let value = match value {
                    "true" => true,
                    "false" => false,
                    _ => return Err(Error::parameter(name, value, "`true` or `false`")),
                };
                self.reset = Some(value);
            }
            _ => return Err(refused(name)),
        }
        Ok(())
    }

    /// With what `other` says over it.
    pub(crate) fn with(self, other: Self) -> Self {
        Self { max: other.max.or(self.max), reset: other.reset.or(self.reset) }
    }

    /// Tells the wrapper's parameters what differs from the default in the driver's options. What else is said wins over it.
    pub(crate) fn hand_over_options(options: &PoolOpts, config: &mut Config) -> Result<()> {
        let default = PoolOpts::default();
        let (given, usual) = (options.constraints(), default.constraints());
        // An upper limit comes with a lower one: 0 asks for nothing, and the usual one is the default.
        if given.min() != 0 && given.min() != usual.min() {
            return Err(refused("pool_min"));
        }
        if given.max() != usual.max() {
            config.set_of_driver("pool_max_size", &given.max().to_string());
        }
        if options.reset_connection() != default.reset_connection() {
            config.set_of_driver("pool_reset", meaning(options.reset_connection()).code());
        }
        let differs = |is_other: bool, name| if is_other { Err(refused(name)) } else { Ok(()) };
        differs(
            options.inactive_connection_ttl() != default.inactive_connection_ttl(),
            "inactive_connection_ttl",
        )?;
        differs(options.ttl_check_interval() != default.ttl_check_interval(), "ttl_check_interval")?;
        differs(options.abs_conn_ttl() != default.abs_conn_ttl(), "abs_conn_ttl")?;
        differs(options.abs_conn_ttl_jitter() != default.abs_conn_ttl_jitter(), "abs_conn_ttl_jitter")
    }

    /// Tells the wrapper's parameters.
    pub(crate) fn hand_over(&self, config: &mut Config) {
        if let Some(max) = &self.max {
            config.set_of_driver("pool_max_size", max);
        }
        if let Some(reset) = self.reset {
            config.set_of_driver("pool_reset", meaning(reset).code());
        }
    }

    /// Whether the wrapper's parameters say the same, where they were given, too.
    pub(crate) fn agree(&self, pool: &PoolSettings) -> Result<()> {
        if let Some(max) = &self.max {
            if pool.max_size.map(|size| size.to_string()).as_ref() != Some(max) {
                return Err(contradiction((MAX, max), "pool_max_size", max));
            }
        }
        match self.reset {
            Some(reset) if pool.reset != meaning(reset) => {
                Err(contradiction((RESET, &reset.to_string()), "pool_reset", meaning(reset).code()))
            }
            _ => Ok(()),
        }
    }
}

fn meaning(reset: bool) -> PoolReset {
    if reset { PoolReset::Always } else { PoolReset::Never }
}

fn contradiction((name, value): (&str, &str), ours: &str, means: &str) -> Error {
    Error::config(format!(
        "`{name}={value}` means `{ours}={means}`, and `{ours}` says something else; give one of them"
    ))
}

fn refused(name: &str) -> Error {
    let instead = REFUSED.iter().find(|(refused, _)| *refused == name).map_or("", |(_, instead)| instead);
    Error::config(format!("`{name}` is for the driver's own pool, which the wrapper does not use; {instead}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mysql_async::{OptsBuilder, PoolConstraints};

    use super::*;
    use crate::Connector;

    fn built(query: &str) -> crate::Result<Connector> {
        Connector::builder().url(&format!("mysql://h/?{query}"))?.build()
    }

    fn error_of<T>(result: crate::Result<T>) -> String {
        result.err().expect("it is refused").to_string()
    }

    #[test]
    fn the_drivers_words_for_size_and_reset_are_the_pools() {
        for (query, size, reset) in [
            ("", None, PoolReset::Auto),
            ("pool_max=7", Some(7), PoolReset::Auto),
            ("pool_max=7&pool_max_size=7", Some(7), PoolReset::Auto),
            ("reset_connection=true", None, PoolReset::Always),
            ("reset_connection=false&pool_max=1", Some(1), PoolReset::Never),
            ("reset_connection=false&pool_reset=fast", None, PoolReset::Never),
        ] {
            let connector = built(query).unwrap();
            let pool = &connector.settings().pool;
            assert_eq!((pool.max_size, pool.reset), (size, reset), "{query}");
        }
    }

    #[test]
    fn two_that_contradict_each_other_are_named_both() {
        for (query, names) in [
            ("pool_max=7&pool_max_size=8", ["`pool_max=7`", "`pool_max_size`"]),
            ("reset_connection=true&pool_reset=auto", ["`reset_connection=true`", "`pool_reset`"]),
            ("pool_reset=always&reset_connection=false", ["`reset_connection=false`", "`pool_reset`"]),
        ] {
            let text = error_of(built(query));
            assert!(names.iter().all(|name| text.contains(name)), "{query}: {text}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_name() {
        for (name, instead) in REFUSED {
            let text = error_of(built(&format!("{name}=1")));
            assert!(text.contains(&format!("`{name}`")) && text.contains(instead), "{text}");
            error_of(Connector::builder().host("h").set(name, "1"));
        }
        for query in ["pool_max=0", "pool_max=many", "reset_connection=perhaps"] {
            assert!(error_of(built(query)).contains(query.split('=').next().unwrap()), "{query}");
        }
    }

    #[test]
    fn options_of_the_driver_say_the_same_as_its_url() {
        let built = |options: PoolOpts, query: &str| {
            let opts = OptsBuilder::default().ip_or_hostname("h").pool_opts(options);
            Connector::builder().url(&format!("mysql://h/?{query}"))?.driver_config(opts).build()
        };
        let at_most = |min, max| PoolOpts::new().with_constraints(PoolConstraints::new(min, max).unwrap());
        let connector = built(at_most(0, 7).with_reset_connection(false), "").unwrap();
        let pool = &connector.settings().pool;
        assert_eq!((pool.max_size, pool.reset), (Some(7), PoolReset::Never));
        let connector = built(at_most(0, 7), "pool_max_size=9&pool_reset=auto").unwrap();
        assert_eq!(connector.settings().pool.max_size, Some(9), "what else is said wins");
        assert!(error_of(built(at_most(3, 7), "")).contains("`pool_min`"));
        let aged = PoolOpts::new().with_abs_conn_ttl(Some(Duration::from_secs(60)));
        assert!(error_of(built(aged, "")).contains("`abs_conn_ttl`"));
    }
}
