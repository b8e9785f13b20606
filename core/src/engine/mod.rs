//! The state machine.

pub mod config;
pub mod contract;

pub use config::{Config, Rate, Rates, Registration};
pub use contract::{Effect, Input, Misuse};

use crate::time::Timestamp;

/// The state machine.
pub struct Engine {}

impl Engine {
    /// Makes an engine.
    #[must_use]
    pub fn new(_config: Config, _now: Timestamp) -> Self {
        Self {}
    }

    /// Takes one input.
    ///
    /// # Errors
    /// A bug of the driver.
    pub fn handle(&mut self, _input: Input, _now: Timestamp) -> Result<(), Misuse> {
        Ok(())
    }

    /// Returns the next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        None
    }

    /// Returns when to call again with [`Input::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        None
    }
}
