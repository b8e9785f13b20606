//! Logs: one event a line on stderr, with its values as `key=value`.

use std::io::IsTerminal as _;

use thiserror::Error;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The level is none.
#[derive(Debug, Error)]
#[error(
    "`{0}` is no log level; use error, warn, info, debug, trace or off, or several such as info,parlor=debug"
)]
pub(crate) struct BadLevel(String);

/// Starts logging. Colours are for terminals whose user has not set `NO_COLOR`.
///
/// # Errors
/// The level is none.
pub(crate) fn start(level: &str) -> Result<(), BadLevel> {
    let bad = || BadLevel(level.to_owned());
    let filter: Targets = level.parse().map_err(|_| bad())?;
    // A word that is no level reads as the name of a target, all of which is to be logged.
    if filter.default_level().is_none() && !level.contains(['=', ':']) {
        return Err(bad());
    }
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color);
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    Ok(())
}
