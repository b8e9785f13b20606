//! Failures of starting and commanding servers.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a server does not do what it was asked.
#[derive(Debug, Error)]
pub enum ServerError {
    /// A program is not installed.
    #[error(
        "{program} is missing: install the package {package} (Debian: sudo apt-get install {package})"
    )]
    Missing {
        /// The program or file.
        program: &'static str,
        /// The Debian package that has it.
        package: &'static str,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// What the system says.
        source: io::Error,
    },
    /// The server ended instead of answering.
    #[error("{name} ended at its start; its log {} ends:\n{tail}", log.display())]
    Ended {
        /// Which server.
        name: String,
        /// Where its log is.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server runs and does not answer.
    #[error("{name} does not answer; its log {} ends:\n{tail}", log.display())]
    Silent {
        /// Which server.
        name: String,
        /// Where its log is.
        log: PathBuf,
        /// The log's last lines.
        tail: String,
    },
    /// The server, or a tool of its, refused a command.
    #[error("{name} refuses: {reason}")]
    Refused {
        /// Which server.
        name: String,
        /// What it says.
        reason: String,
    },
}

impl ServerError {
    /// Returns what makes an [`Io`](Self::Io) of a system's error.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
