//! One PostgreSQL server: its settings and how we talk to it.

pub(crate) mod link;
pub(crate) mod settings;
