//! Redis: single, cluster, and with sentinels.

pub(crate) mod client;
pub(crate) mod cluster;
mod node;
pub(crate) mod sentinel;
pub(crate) mod single;

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::ServerError;

/// How long several servers may take to find each other.
const TOGETHER: Duration = Duration::from_secs(60);

/// Waits until several servers have found each other.
fn wait(
    name: &str,
    mut found: impl FnMut() -> Result<bool, ServerError>,
) -> Result<(), ServerError> {
    let end = Instant::now() + TOGETHER;
    while !found()? {
        if Instant::now() > end {
            return Err(ServerError::Refused {
                name: name.to_owned(),
                reason: "its servers do not find each other".to_owned(),
            });
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
