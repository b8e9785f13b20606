//! The terminal client.

use std::process::ExitCode;

use clap::Args;

/// How to reach the server.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The server: host:port.
    #[arg(
        long,
        value_name = "ADDR",
        env = "PARLOR_SERVER",
        default_value = "127.0.0.1:6000"
    )]
    server: String,
}

/// Runs the client to its end.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let Arguments { server } = arguments;
    crate::fail(&format_args!(
        "the terminal client for {server} is not part of this build"
    ))
}
