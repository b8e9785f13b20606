//! All that talks to Redis.

mod backoff;
mod channel;
mod counters;
mod endpoint;
mod error;
mod options;
mod publisher;
mod queue;
mod relay;
mod report;
mod shards;
mod shared;
mod subscriber;

pub use counters::{Counters, Counts};
pub use error::OpenError;
pub use options::Options;
pub use relay::RedisRelay;
pub use report::Reports;
