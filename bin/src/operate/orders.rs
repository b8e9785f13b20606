//! What changes something.

use parlor_core::secret::Secret;
use serde_json::json;

use super::arguments::User;
use super::client::Question;
use super::{Panel, Said, nothing};
use crate::admin::wire;

/// Gives an order about an account; `done` is what the account then is.
pub(super) async fn account(panel: &Panel, path: &str, user: &User, done: &str) -> Said {
    let who = wire::Who {
        user: user.id,
        name: user.name.clone(),
    };
    supervise(panel, &Question::order(path, &who), done).await
}

/// Sets a password, and prints it where it was made up.
pub(super) async fn password(panel: &Panel, user: &User, password: &Secret, shown: bool) -> Said {
    let order = wire::NewPassword {
        user: user.id,
        name: user.name.clone(),
        password: password.expose().to_owned(),
    };
    let question = Question::order("/admin/password", &order);
    let mut said = supervise(panel, &question, "has a new password").await;
    if shown && said.complaints.is_empty() {
        let password = password.expose();
        said.text.push_str(password);
        said.text.push('\n');
        if let Some(object) = said.json.as_object_mut() {
            object.insert("password".to_owned(), password.into());
        }
    }
    said
}

async fn supervise(panel: &Panel, question: &Question, done: &str) -> Said {
    match panel.ask_one::<wire::Supervised>(question).await {
        Ok((_, supervised)) => {
            let wire::Supervised { user, ended } = supervised;
            Said {
                text: format!("user {user} {done}; sessions ended: {ended}\n"),
                json: json!({ "user": user, "ended": ended }),
                complaints: Vec::new(),
            }
        }
        Err(complaints) => nothing(complaints),
    }
}

/// Says something to everyone on the nodes that are named.
pub(super) async fn announce(panel: &Panel, text: &str) -> Said {
    let message = text.to_owned();
    let question = Question::order("/admin/announce", &wire::Announcement { message });
    let (answers, complaints) = panel.ask_all::<wire::Announced>(&question).await;
    let mut said = String::new();
    let mut nodes = Vec::new();
    for (node, announced) in &answers {
        let connections = announced.connections;
        said.push_str(&format!("{node}: told {connections} connections\n"));
        nodes.push(json!({ "node": node, "connections": connections }));
    }
    let heard_of = answers.iter().map(|(_, it)| it.other_nodes + 1).max();
    let untold = heard_of.unwrap_or(0).saturating_sub(panel.nodes.len());
    if untold > 0 {
        said.push_str(&format!(
            "{untold} more nodes were not told: name each with --node\n"
        ));
    }
    Said {
        text: said,
        json: json!({ "nodes": nodes, "nodes_not_told": untold, "failures": complaints }),
        complaints,
    }
}

/// Drains the one node that is named.
pub(super) async fn drain(panel: &Panel) -> Said {
    let question = Question::order("/admin/drain", &wire::Nothing {});
    match panel.ask_one::<wire::Draining>(&question).await {
        Ok((node, _)) => Said {
            text: format!("{node} drains: it ends within 30 seconds\n"),
            json: json!({ "node": node, "draining": true }),
            complaints: Vec::new(),
        },
        Err(complaints) => nothing(complaints),
    }
}
