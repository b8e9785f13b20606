//! The `parlor` program.

mod admin;
mod bench;
mod chat;
mod cli;
mod cluster;
mod config;
mod dev_cert;
mod logging;
mod manager;
mod memory;
mod migrate;
mod operate;
mod proc;
mod relay;
mod serve;
mod tls;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

use cli::{Cli, Command};

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Chat(arguments) => chat::run(arguments),
        Command::Cluster(arguments) => cluster::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::BenchWorker => bench::worker::run(),
        Command::BenchRouter(arguments) => bench::router::run(&arguments),
        Command::Admin(arguments) => operate::run(&arguments),
        Command::Migrate(arguments) => migrate::run(arguments),
        Command::DevCert(arguments) => dev_cert::run(&arguments),
        Command::CheckConfig(arguments) => match config::load(&arguments) {
            Ok(settings) => print(&settings.to_string()),
            Err(error) => fail(&error),
        },
    }
}

/// Writes to stdout; exits 1 where nobody can read it.
fn print(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Says on one line of stderr why the program ends.
fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    // Where stderr is closed, the exit code has to do.
    let _closed = writeln!(std::io::stderr(), "parlor: {error}");
    ExitCode::FAILURE
}
