//! Which product the cluster pretends to be.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::error::Error;

/// Which product the servers pretend to be, as programs that detect their database see it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Flavor {
    /// Amazon Aurora. PostgreSQL: its functions and `rds.extensions` with `aurora_stat_utils`. MySQL: its variables and
    /// `information_schema.replica_host_status`.
    #[default]
    Aurora,
    /// Amazon RDS. PostgreSQL: `rds.extensions` with `rds_tools`, no function of Aurora. MySQL: `version_comment` is
    /// `Source distribution`, `report_host` is empty.
    Rds,
    /// An RDS Multi-AZ DB cluster: as [`Rds`](Self::Rds), with the topology in `rds_tools`; of MySQL with the topology in
    /// `mysql.rds_topology` and an address in `report_host`.
    MultiAz,
    /// The product as it comes.
    Plain,
}

impl Flavor {
    /// Value of the setting `rds.extensions`.
    pub(crate) fn extensions(self) -> Option<&'static str> {
        match self {
            Self::Aurora => Some("apg_plan_mgmt,aurora_stat_utils,pg_stat_statements,rds_tools"),
            Self::Rds | Self::MultiAz => Some("pg_stat_statements,rds_tools"),
            Self::Plain => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Aurora => "aurora",
            Self::Rds => "rds",
            Self::MultiAz => "multi-az",
            Self::Plain => "plain",
        }
    }
}

impl Display for Flavor {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Flavor {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Aurora, Self::Rds, Self::MultiAz, Self::Plain]
            .into_iter()
            .find(|flavor| flavor.word() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is none of aurora, rds, multi-az, plain")))
    }
}
