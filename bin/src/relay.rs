//! The relay between the nodes of a cluster: where an adapter is chosen by its URL.

use thiserror::Error;

use crate::config::{Settings, without_password};

/// There is no adapter for the relay that was asked for.
#[derive(Debug, Error)]
#[error(
    "cannot use the relay {0}: this program has none built in; leave `relay` out to run a single node"
)]
pub(crate) struct NoRelay(String);

/// Checks that the relay that the settings name, if any, can be had.
///
/// # Errors
/// It cannot.
pub(crate) fn check(settings: &Settings) -> Result<(), NoRelay> {
    match &settings.relay {
        Some(url) => Err(NoRelay(without_password(url))),
        None => Ok(()),
    }
}
