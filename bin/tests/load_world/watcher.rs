//! Somebody's second device on another node, which sees everything that is on the wire.

use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use parlor_core::id::{ConversationRef, GroupId, UserId};
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::ledger::{Logs, last};
use super::person::Plan;
use super::{HANG, poll};
use crate::program_world::Client;

/// How often a device pings: far below what a node allows in silence.
const PING: Duration = Duration::from_secs(20);

/// A device without the client session's care: it repairs nothing, so each entry must come by
/// itself, in order and once.
pub(crate) struct Watcher {
    plan: Plan,
    stream: TcpStream,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    /// The last entry of each conversation.
    last: BTreeMap<ConversationRef, u64>,
    /// What must not happen.
    wrong: Vec<String>,
}

impl Watcher {
    /// Logs a device in on a node.
    pub(crate) fn start(cluster: &Cluster, node: usize, plan: &Plan) -> Self {
        let mut client = cluster.client(node);
        let session = client.login(&plan.name);
        let mut seen = Seen::default();
        for item in session["conversations"].as_array().unwrap() {
            let delivered = item["delivered"].as_u64().unwrap();
            seen.last.insert(conversation(&item["in"]), delivered);
        }
        let stream = client.stream();
        let seen = Arc::new(Mutex::new(seen));
        let shared = Arc::clone(&seen);
        thread::spawn(move || watch(client, &shared));
        Self {
            plan: plan.clone(),
            stream,
            seen,
        }
    }

    /// Waits until everything has come, and checks that it came well.
    pub(crate) fn finish(self, logs: &Logs) {
        let Plan {
            name, user, places, ..
        } = &self.plan;
        for conversation in places {
            let end = last(&logs[&conversation.place(*user).unwrap()]);
            poll(
                &format!("all of {conversation:?} is with {name}"),
                HANG,
                || {
                    let seen = self.seen.lock().unwrap();
                    assert!(seen.wrong.is_empty(), "{name}: {:?}", seen.wrong);
                    (seen.last.get(conversation).copied().unwrap_or(0) >= end).then_some(())
                },
            );
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // The node may be gone.
        let _ended = self.stream.shutdown(Shutdown::Both);
    }
}

fn watch(mut client: Client, seen: &Mutex<Seen>) {
    let mut pinged = Instant::now();
    while let Some(frame) = client.read() {
        if frame["event"] == "message" {
            seen.lock().unwrap().take(&frame);
        } else if frame["event"] == "notice" {
            let what = format!("{frame}");
            seen.lock().unwrap().wrong.push(what);
        }
        if pinged.elapsed() > PING {
            pinged = Instant::now();
            client.send(&json!({"id": 1, "op": "ping"}));
        }
    }
}

impl Seen {
    fn take(&mut self, message: &Value) {
        let place = conversation(&message["in"]);
        let seq = message["seq"].as_u64().unwrap();
        let before = self.last.insert(place, seq).unwrap_or(0);
        if seq != before + 1 {
            self.wrong.push(format!("{place:?}: {seq} after {before}"));
        }
    }
}

fn conversation(named: &Value) -> ConversationRef {
    match (named["user"].as_u64(), named["group"].as_u64()) {
        (Some(user), _) => ConversationRef::User(UserId(user)),
        (_, Some(group)) => ConversationRef::Group(GroupId(group)),
        _ => panic!("no conversation: {named}"),
    }
}
