//! Logs: one event a line on stderr, for people or, as JSON, for programs.

use std::fmt;
use std::io::IsTerminal as _;

use clap::ValueEnum;
use serde::Deserialize;
use thiserror::Error;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How an event becomes a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// `Human` on a terminal, `Json` otherwise.
    #[default]
    Auto,
    /// A text with values as `key=value`.
    Human,
    /// A JSON object, with `timestamp`, `level`, `target`, `message`, and each value under its key.
    Json,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        })
    }
}

/// The level is none.
#[derive(Debug, Error)]
#[error(
    "`{0}` is no log level; use error, warn, info, debug, trace or off, or several such as info,sqlx=debug"
)]
pub(crate) struct BadLevel(String);

/// Starts logging. Colours are for terminals whose user has not set `NO_COLOR`.
///
/// # Errors
/// The level is none.
pub(crate) fn start(level: &str, format: LogFormat) -> Result<(), BadLevel> {
    let filter = filter(level)?;
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let on_terminal = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let json = match format {
        LogFormat::Auto => !on_terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    let lines = match json {
        true => lines.json().flatten_event(true).boxed(),
        false => lines.with_ansi(on_terminal && !no_color).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .init();
    Ok(())
}

/// Reads what to log: a level, which is that of Parlor's own parts (of the libraries, only warnings
/// and errors are logged), or a list of levels and parts, which is taken as it is.
fn filter(level: &str) -> Result<Targets, BadLevel> {
    // An empty text would read as a level.
    if !level.is_empty()
        && let Ok(level) = level.parse::<LevelFilter>()
    {
        return Ok(Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("parlor", level));
    }
    // A word that is no level would read as the name of a part, all of which is to be logged.
    let list = level.contains('=').then(|| level.parse().ok()).flatten();
    list.ok_or_else(|| BadLevel(level.to_owned()))
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::filter;

    #[test]
    fn a_level_is_that_of_parlors_own_parts() {
        for (text, own, others) in [
            ("debug", Level::DEBUG, Level::WARN),
            ("info", Level::INFO, Level::WARN),
            ("error", Level::ERROR, Level::ERROR),
        ] {
            let filter = filter(text).unwrap();
            for (target, most) in [("parlor_storage::open", own), ("sqlx::query", others)] {
                for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG] {
                    assert_eq!(
                        filter.would_enable(target, &level),
                        level <= most,
                        "{target}"
                    );
                }
            }
        }
        assert!(!filter("off").unwrap().would_enable("parlor", &Level::ERROR));
    }

    #[test]
    fn a_list_is_taken_as_it_is() {
        let filter = filter("info,sqlx=debug").unwrap();
        assert!(filter.would_enable("sqlx::query", &Level::DEBUG));
        assert!(filter.would_enable("sea_orm", &Level::INFO));
        assert!(!filter.would_enable("parlor", &Level::DEBUG));
    }

    #[test]
    fn other_words_are_refused() {
        for text in ["", "loud", "parlor", "info=loud", "x=y=z"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
