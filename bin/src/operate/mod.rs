//! `parlor admin`: what operators ask of nodes, by their side ports.
//!
//! Looks go to every node that is named, and are merged. Orders about accounts go to the first that can
//! be reached, since the others hear of them by the store and the relay.

mod arguments;
mod client;
mod looks;
mod orders;
mod password;
mod table;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use async_std::task;
use futures::future::join_all;
use parlor_core::secret::Secret;
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

pub(crate) use arguments::Arguments;
use arguments::Command;
use client::Question;
use password::NoPassword;

use crate::config::{self, ADMIN_TOKEN_VARIABLE, ConfigError};
use crate::{fail, print};

/// Why nothing was asked.
#[derive(Debug, Error)]
enum Failure {
    #[error("cannot read the token's file {}: {error}", path.display())]
    TokenFile {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error(transparent)]
    Token(#[from] ConfigError),
    #[error(transparent)]
    Password(#[from] NoPassword),
    #[error(
        "a node drains at a time: name one with --node, wait until it has ended, then the next"
    )]
    SeveralDrains,
}

/// The nodes, and what to show them.
struct Panel {
    nodes: Vec<String>,
    token: Option<Secret>,
}

/// What one of the nodes did not do.
#[derive(Debug, Serialize)]
struct Complaint {
    node: String,
    message: String,
}

/// What there is to print.
struct Said {
    text: String,
    json: serde_json::Value,
    complaints: Vec<Complaint>,
}

/// Asks, and says what was answered.
pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    match task::block_on(ask(arguments)) {
        Ok(said) => say(said, arguments.json),
        Err(failure) => fail(&failure),
    }
}

async fn ask(arguments: &Arguments) -> Result<Said, Failure> {
    let panel = Panel {
        nodes: arguments.nodes.clone(),
        token: token(arguments)?,
    };
    Ok(match &arguments.command {
        Command::Nodes => looks::nodes(&panel).await,
        Command::Sessions { limit } => looks::sessions(&panel, *limit).await,
        Command::Who(user) => looks::who(&panel, user).await,
        Command::Message(message) => looks::message(&panel, message).await,
        Command::End(user) => orders::account(&panel, "/admin/end", user, "has no session").await,
        Command::Lock(user) => orders::account(&panel, "/admin/lock", user, "is locked").await,
        Command::Unlock(user) => {
            orders::account(&panel, "/admin/unlock", user, "is not locked").await
        }
        Command::Password { user, generate } => {
            let password = match generate {
                true => password::generate()?,
                false => password::read()?,
            };
            orders::password(&panel, user, &password, *generate).await
        }
        Command::Announce { text } => orders::announce(&panel, text).await,
        Command::Drain if panel.nodes.len() > 1 => return Err(Failure::SeveralDrains),
        Command::Drain => orders::drain(&panel).await,
    })
}

fn token(arguments: &Arguments) -> Result<Option<Secret>, Failure> {
    let token = match &arguments.token_file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| Failure::TokenFile {
                path: path.clone(),
                error,
            })?;
            Some(text.trim().to_owned())
        }
        None => return Ok(config::from_environment(ADMIN_TOKEN_VARIABLE)?),
    };
    Ok(token.filter(|token| !token.is_empty()).map(Secret::new))
}

/// Prints what was answered, and complains of what was not.
fn say(said: Said, as_json: bool) -> ExitCode {
    let Said {
        text,
        json,
        complaints,
    } = said;
    let printed = match as_json {
        true => print(&format!("{json:#}\n")),
        false => print(&text),
    };
    for Complaint { node, message } in &complaints {
        // Where stderr is closed, the exit code has to do.
        let _closed = writeln!(std::io::stderr(), "parlor: {node} {message}");
    }
    match complaints.is_empty() {
        true => printed,
        false => ExitCode::FAILURE,
    }
}

impl Panel {
    /// Asks every node at once; returns who answered, in the order in which they were named.
    async fn ask_all<T: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> (Vec<(String, T)>, Vec<Complaint>) {
        let asked = self
            .nodes
            .iter()
            .map(|node| question.ask(node, self.token.as_ref()));
        let (mut answers, mut complaints) = (Vec::new(), Vec::new());
        for (node, answer) in self.nodes.iter().zip(join_all(asked).await) {
            match answer {
                Ok(answer) => answers.push((node.clone(), answer)),
                Err(failure) => complaints.push(complaint(node, &failure)),
            }
        }
        (answers, complaints)
    }

    /// Asks the first node that can be reached.
    async fn ask_one<T: DeserializeOwned>(
        &self,
        question: &Question,
    ) -> Result<(String, T), Vec<Complaint>> {
        let mut complaints = Vec::new();
        for node in &self.nodes {
            match question.ask(node, self.token.as_ref()).await {
                Ok(answer) => return Ok((node.clone(), answer)),
                Err(failure) => {
                    complaints.push(complaint(node, &failure));
                    // One that was reached may have done it.
                    if !failure.is_unreachable() {
                        break;
                    }
                }
            }
        }
        Err(complaints)
    }
}

fn complaint(node: &str, failure: &client::Failure) -> Complaint {
    let message = match failure {
        client::Failure::Refused { .. } => format!("refuses: {failure}"),
        failure => failure.to_string(),
    };
    Complaint {
        node: node.to_owned(),
        message,
    }
}

/// Says that nobody has answered.
fn nothing(complaints: Vec<Complaint>) -> Said {
    Said {
        text: String::new(),
        json: serde_json::json!({ "failures": complaints }),
        complaints,
    }
}
