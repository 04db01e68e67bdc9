//! Pools and the readers of a cluster.
