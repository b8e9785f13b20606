//! The state machine.

pub mod config;
pub mod contract;

pub use config::{Config, Rate, Rates, Registration};
pub use contract::{Effect, Input, Misuse};

/// The state machine.
pub struct Engine {}
