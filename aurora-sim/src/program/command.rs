//! The commands of `ctl` and of the HTTP control, which are the same.

use std::time::Duration;

use aurora_sim::{Cluster, FailoverOptions};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Result;
use super::arguments::duration;

/// What a running cluster can be told or asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Subcommand)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Command {
    /// Kills the writer and promotes a reader.
    Failover {
        /// The reader to promote. Default: the one with the most recent data.
        #[arg(long)]
        to: Option<String>,
        /// How long there is no writer at all before the promotion, such as 1s.
        #[arg(long, default_value = "0s", value_parser = duration)]
        #[serde(default, with = "text")]
        promote_after: Duration,
        /// Leave the old writer down.
        #[arg(long)]
        #[serde(default)]
        no_restart: bool,
    },
    /// Promotes a reader and leaves the old writer running, read-only, with its clients.
    Switchover {
        /// The reader to promote. Default: the one with the most recent data.
        #[arg(long)]
        to: Option<String>,
    },
    /// Makes a writer that a switchover has demoted a real reader.
    Settle { instance: String },
    /// Kills a server.
    Kill { instance: String },
    /// Restarts a server in order.
    Restart { instance: String },
    /// Starts a server that is down.
    Start { instance: String },
    /// Stops a server's processes in their tracks.
    Freeze { instance: String },
    /// Ends `freeze`.
    Thaw { instance: String },
    /// Lets nothing pass to and from an instance; connecting still succeeds.
    Blackhole { instance: String },
    /// As `blackhole`, and connecting times out.
    Unreachable { instance: String },
    /// Ends all network faults of an instance.
    Heal { instance: String },
    /// Refuses new connections.
    Refuse { instance: String },
    /// Resets all live connections.
    Reset { instance: String },
    /// Delays everything to and from an instance.
    Latency {
        instance: String,
        /// Delay in each direction, such as 20ms.
        #[arg(value_parser = duration)]
        #[serde(with = "text")]
        each_way: Duration,
    },
    /// Makes a name lead to an instance until set again: NAME=INSTANCE, or NAME=auto to follow the roles.
    Dns {
        #[arg(value_name = "NAME=INSTANCE")]
        setting: String,
    },
    /// Makes an instance report today's topology whatever happens.
    StaleTopology {
        instance: String,
        /// Report the real topology again.
        #[arg(long)]
        #[serde(default)]
        off: bool,
    },
    /// The topology as the servers report it.
    Topology,
    /// Roles, processes, faults and names.
    Status,
    /// Kills all servers.
    DownAll,
    /// Starts all servers that are down.
    UpAll,
    /// Waits until all instances run and follow the writer.
    Wait {
        /// Longest wait, such as 30s.
        #[arg(long, default_value = "30s", value_parser = duration)]
        #[serde(default = "half_a_minute", with = "text")]
        timeout: Duration,
    },
}

impl Command {
    /// Does it, and gives what there is to tell.
    pub(super) async fn execute(self, cluster: &Cluster) -> Result<Value> {
        match self {
            Self::Failover { to, promote_after, no_restart } => {
                let mut options =
                    FailoverOptions::default().promote_after(promote_after).restart_old(!no_restart);
                if let Some(to) = to {
                    options = options.to(to);
                }
                return Ok(serde_json::to_value(cluster.failover(options).await?)?);
            }
            Self::Switchover { to } => {
                return Ok(serde_json::to_value(cluster.switchover(to.as_deref()).await?)?);
            }
            Self::Status => return Ok(serde_json::to_value(cluster.status().await?)?),
            Self::Topology => {
                let file = cluster.folder().join("state/topology.json");
                return Ok(serde_json::from_str(&std::fs::read_to_string(file)?)?);
            }
            Self::Settle { instance } => cluster.settle(&instance).await?,
            Self::Kill { instance } => cluster.kill(&instance).await?,
            Self::Restart { instance } => cluster.restart(&instance).await?,
            Self::Start { instance } => cluster.start(&instance).await?,
            Self::Freeze { instance } => cluster.freeze(&instance).await?,
            Self::Thaw { instance } => cluster.thaw(&instance).await?,
            Self::Blackhole { instance } => cluster.blackhole(&instance).await?,
            Self::Unreachable { instance } => cluster.unreachable(&instance).await?,
            Self::Heal { instance } => cluster.heal(&instance).await?,
            Self::Refuse { instance } => cluster.refuse(&instance).await?,
            Self::Reset { instance } => cluster.reset(&instance).await?,
            Self::Latency { instance, each_way } => cluster.latency(&instance, each_way).await?,
            Self::Dns { setting } => {
                let (name, instance) = setting.split_once('=').ok_or("NAME=INSTANCE is expected")?;
                cluster.set_dns(name, Some(instance).filter(|&instance| instance != "auto")).await?;
            }
            Self::StaleTopology { instance, off } => cluster.set_stale_topology(&instance, !off).await?,
            Self::DownAll => cluster.down_all().await?,
            Self::UpAll => cluster.up_all().await?,
            Self::Wait { timeout } => cluster.wait_until_complete(timeout).await?,
        }
        Ok(json!({ "ok": true }))
    }
}

fn half_a_minute() -> Duration {
    Duration::from_secs(30)
}

/// Durations as people write them, also in JSON.
mod text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    use super::duration;

    pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}us", value.as_micros()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        duration(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_the_way_through_json() {
        let command = Command::Failover {
            to: Some("instance-2".to_owned()),
            promote_after: Duration::from_millis(1500),
            no_restart: true,
        };
        let text = serde_json::to_string(&command).unwrap();
        assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), command);
    }

    #[test]
    fn parameters_may_be_left_out_and_unknown_ones_are_refused() {
        let command: Command = serde_json::from_str(r#"{"command":"failover"}"#).unwrap();
        assert_eq!(command, Command::Failover { to: None, promote_after: Duration::ZERO, no_restart: false });
        assert!(serde_json::from_str::<Command>(r#"{"command":"kill","instance":"a","now":1}"#).is_err());
    }
}
