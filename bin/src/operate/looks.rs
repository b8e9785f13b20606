//! What changes nothing: asked of every node, and merged.

use serde_json::{Value, json};

use super::arguments::{Message, User};
use super::client::Question;
use super::table::{moment, table};
use super::{Panel, Said, nothing};
use crate::admin::wire;

/// Lists nodes.
pub(super) async fn nodes(panel: &Panel) -> Said {
    let question = Question::look("/status".to_owned());
    let (answers, complaints) = panel.ask_all::<wire::Status>(&question).await;
    let row = |(node, status): &(String, wire::Status)| {
        let state = match (status.draining, status.ready) {
            (true, _) => "draining",
            (_, true) => "ready",
            (_, false) => "not ready",
        };
        [
            node.clone(),
            status.version.clone(),
            state.to_owned(),
            status.store.clone(),
            status.relay.clone(),
            status.connections.to_string(),
            status.users.to_string(),
            status.other_nodes.to_string(),
        ]
    };
    let rows: Vec<_> = answers.iter().map(row).collect();
    let head = [
        "node",
        "version",
        "state",
        "store",
        "relay",
        "connections",
        "users",
        "other nodes",
    ];
    let of_node =
        |(node, status)| json!({ "node": node, "status": value::<wire::Status>(&status) });
    let nodes: Vec<Value> = answers.into_iter().map(of_node).collect();
    Said {
        text: table(head, &rows),
        json: json!({ "nodes": nodes, "failures": complaints }),
        complaints,
    }
}

/// Lists the sessions that are connected.
pub(super) async fn sessions(panel: &Panel, limit: u16) -> Said {
    let question = Question::look(format!("/admin/sessions?limit={limit}"));
    let (answers, complaints) = panel.ask_all::<wire::Sessions>(&question).await;
    let mut rows = Vec::new();
    let mut sessions = Vec::new();
    let mut cut = Vec::new();
    for (node, page) in answers {
        for here in &page.sessions {
            rows.push([
                node.clone(),
                here.user.to_string(),
                here.name.clone(),
                here.session.to_string(),
                here.connection.to_string(),
                moment(here.since),
                if here.behind { "lags" } else { "" }.to_owned(),
            ]);
            sessions.push(with_node(&node, here));
        }
        if page.more {
            cut.push(node);
        }
    }
    let head = ["node", "user", "name", "session", "connection", "since", ""];
    let mut text = table(head, &rows);
    for node in &cut {
        text.push_str(&format!("{node} has more: --limit\n"));
    }
    Said {
        text,
        json: json!({ "sessions": sessions, "more": cut, "failures": complaints }),
        complaints,
    }
}

/// Shows an account and where its user is.
pub(super) async fn who(panel: &Panel, user: &User) -> Said {
    let mut query = query();
    match (user.id, &user.name) {
        (Some(id), _) => query.append_pair("user", &id.to_string()),
        (None, name) => query.append_pair("name", name.as_deref().unwrap_or_default()),
    };
    let question = Question::look(format!("/admin/account?{}", query.finish()));
    let (answers, complaints) = panel.ask_all::<wire::Account>(&question).await;
    let Some((_, account)) = answers.first() else {
        return nothing(complaints);
    };
    let mut rows = Vec::new();
    let mut sessions = Vec::new();
    for session in &account.sessions {
        let connected: Vec<(&String, &wire::Here)> = answers
            .iter()
            .flat_map(|(node, it)| it.here.iter().map(move |here| (node, here)))
            .filter(|(_, here)| here.session == session.session)
            .collect();
        let row = |at: String, since: String| {
            [
                session.session.to_string(),
                session.device.clone().unwrap_or_default(),
                moment(session.created),
                moment(session.expires),
                at,
                since,
            ]
        };
        if connected.is_empty() {
            rows.push(row("-".to_owned(), String::new()));
        }
        for (node, here) in &connected {
            rows.push(row((*node).clone(), moment(here.since)));
        }
        let at = connected.iter().map(|(node, here)| with_node(node, here));
        let at: Vec<Value> = at.collect();
        let mut session = value(session);
        if let Some(session) = session.as_object_mut() {
            session.insert("connected".to_owned(), at.into());
        }
        sessions.push(session);
    }
    let locked = if account.locked { ", locked" } else { "" };
    let wire::Account { user, name, .. } = account;
    let head = ["session", "device", "created", "expires", "node", "since"];
    Said {
        text: format!("user {user}, {name}{locked}\n{}", table(head, &rows)),
        json: json!({
            "user": user, "name": name, "locked": account.locked,
            "sessions": sessions, "failures": complaints,
        }),
        complaints,
    }
}

/// Shows where a message is, and how it got there.
pub(super) async fn message(panel: &Panel, message: &Message) -> Said {
    let question = Question::look(format!("/admin/message?{}", of_message(message)));
    let (answers, complaints) = panel.ask_all::<wire::Message>(&question).await;
    let Some((_, wire::Message { entry, .. })) = answers.first() else {
        return nothing(complaints);
    };
    let mut steps: Vec<(&String, &wire::Step)> = answers
        .iter()
        .flat_map(|(node, it)| it.steps.iter().map(move |step| (node, step)))
        .collect();
    // Stable: what a node says of one moment stays in its order.
    steps.sort_by_key(|(_, step)| step.at);
    let number = |number: Option<u64>| number.map_or_else(String::new, |it| it.to_string());
    let committed = [
        moment(entry.at),
        "the store".to_owned(),
        "committed".to_owned(),
        String::new(),
        String::new(),
        String::new(),
    ];
    let mut rows = vec![committed];
    for (node, step) in &steps {
        rows.push([
            moment(step.at),
            (*node).clone(),
            step.what.clone(),
            number(step.user),
            number(step.session),
            number(step.connection),
        ]);
    }
    let place = match (entry.group, entry.users) {
        (Some(group), _) => format!("group {group}"),
        (None, Some([one, other])) => format!("users {one} and {other}"),
        (None, None) => "nowhere".to_owned(),
    };
    let (seq, from) = (entry.seq, entry.from);
    let head = ["at", "node", "what", "user", "session", "connection"];
    let mut text = format!(
        "number {seq} of {place}, from user {from}\n{}",
        table(head, &rows)
    );
    if steps.is_empty() {
        text.push_str("no node that answered remembers more of it\n");
    }
    let steps = steps.iter().map(|(node, step)| with_node(node, step));
    let steps: Vec<Value> = steps.collect();
    Said {
        text,
        json: json!({ "entry": value(entry), "steps": steps, "failures": complaints }),
        complaints,
    }
}

fn of_message(message: &Message) -> String {
    let Message {
        from,
        from_id,
        key,
        group,
        users,
        seq,
    } = message;
    let mut query = query();
    let numbers = [("from", from_id), ("group", group), ("seq", seq)];
    for (name, number) in numbers {
        if let Some(number) = number {
            query.append_pair(name, &number.to_string());
        }
    }
    for (name, text) in [("from_name", from), ("key", key)] {
        if let Some(text) = text {
            query.append_pair(name, text);
        }
    }
    if let Some(users) = users {
        let users: Vec<String> = users.iter().map(u64::to_string).collect();
        query.append_pair("users", &users.join(","));
    }
    query.finish()
}

fn query() -> form_urlencoded::Serializer<'static, String> {
    form_urlencoded::Serializer::new(String::new())
}

/// Numbers, names and truths always have a JSON form.
fn value<T: serde::Serialize>(it: &T) -> Value {
    serde_json::to_value(it).unwrap_or_default()
}

/// Adds which node says it.
fn with_node<T: serde::Serialize>(node: &str, it: &T) -> Value {
    let mut value = value(it);
    if let Some(object) = value.as_object_mut() {
        object.insert("node".to_owned(), node.into());
    }
    value
}
