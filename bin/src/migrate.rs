//! `parlor migrate`.

use std::path::PathBuf;
use std::process::ExitCode;

use async_std::task::block_on;
use clap::Args;

use crate::cli::ServeArguments;
use crate::{config, fail, print};

/// Which store, and whether to change it.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The configuration file (TOML), for its `store`.
    #[arg(long, value_name = "FILE", env = "PARLOR_CONFIG")]
    config: Option<PathBuf>,

    /// The store, as `parlor serve` takes it. [default: sqlite:parlor.db]
    #[arg(long, value_name = "URL", env = "PARLOR_STORE", hide_env_values = true)]
    store: Option<String>,

    /// Only says what would be done.
    #[arg(long)]
    dry_run: bool,
}

/// Brings a store's tables up to date, and says what was done.
pub(crate) fn run(arguments: Arguments) -> ExitCode {
    let dry_run = arguments.dry_run;
    let settings = config::load(&ServeArguments {
        config: arguments.config,
        store: arguments.store,
        ..ServeArguments::default()
    });
    let settings = match settings {
        Ok(settings) => settings,
        Err(error) => return fail(&error),
    };
    let lacking = match block_on(parlor_storage::migrate(&settings.store, dry_run)) {
        Ok(lacking) => lacking,
        Err(error) => return fail(&error),
    };
    let store = settings.store_without_password();
    let said = if dry_run { "is lacking" } else { "applied" };
    let mut text: String = lacking
        .iter()
        .map(|name| format!("{said}: {name}\n"))
        .collect();
    if lacking.is_empty() {
        text = format!("the store {store} is up to date\n");
    }
    print(&text)
}
