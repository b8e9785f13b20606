//! Parlor's relay between the nodes of a cluster, over Redis.

pub mod payload;
