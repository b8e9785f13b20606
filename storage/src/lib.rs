//! Parlor's store in an SQL database.

mod error;
mod options;
mod store;

pub use error::OpenError;
pub use options::{Options, PasswordOptions, Sink};
pub use store::{Cluster, SqlStore};
