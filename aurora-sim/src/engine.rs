//! Which database product the servers are.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::error::Error;

/// The database product of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Engine {
    /// PostgreSQL as it is installed on this machine.
    #[default]
    Postgres,
    /// MySQL 9 from Debian's packages, see [`install_mysql`](crate::install_mysql).
    MySql,
}

impl Engine {
    /// The port that Aurora listens on by default.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Postgres => 5432,
            Self::MySql => 3306,
        }
    }

    /// Scheme of connection URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Postgres => "postgresql",
            Self::MySql => "mysql",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
        }
    }
}

impl Display for Engine {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Engine {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Self::Postgres, Self::MySql]
            .into_iter()
            .find(|engine| engine.word() == text)
            .ok_or_else(|| Error::invalid(format!("{text:?} is none of postgres, mysql")))
    }
}
