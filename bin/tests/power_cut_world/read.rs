//! The logs of a folder that a power cut has left, as a store and as a whole server read them.

use std::path::Path;
use std::sync::Arc;

use async_std::task::block_on;
use parlor_core::id::{Place, Seq, UserId};
use parlor_core::log::Body;
use parlor_core::protocol::request::Anchor;
use parlor_core::store::{Read, ReadDone, StoreRequest, StoreResponse};
use parlor_storage::{Options, PasswordOptions, SqlStore};
use serde_json::{Value, json};

use super::check::{Entry, Logs};
use super::plan::{Plan, name, named};
use crate::program_world::{Client, PASSWORD, Server};

/// Reads every log with a store of this process.
///
/// # Errors
/// Says what the store says.
pub(crate) fn with_store(folder: &Path) -> Result<Logs, String> {
    let url = format!("sqlite:{}", folder.join("parlor.db").display());
    let password = PasswordOptions {
        memory_kib: 8,
        iterations: 1,
        threads: 1,
        ..PasswordOptions::default()
    };
    let options = Options {
        password,
        readers: 1,
        ..Options::default()
    };
    block_on(async {
        let opened = SqlStore::open(&url, options, Arc::new(|_| {})).await;
        let store = opened.map_err(|error| error.to_string())?;
        let mut logs = Logs::new();
        for (place, reader) in Plan::places() {
            logs.insert(place, log(&store, place, reader).await?);
        }
        store.close().await;
        Ok(logs)
    })
}

async fn log(store: &SqlStore, place: Place, reader: u64) -> Result<Vec<Entry>, String> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let request = StoreRequest::Read(Read::History {
            reader: UserId(reader),
            place,
            anchor: Anchor::After(Seq(log.last().map_or(0, |entry| entry.seq))),
            limit: 200,
            bytes: 1 << 20,
        });
        let answer = store.execute(request).await;
        let Ok(StoreResponse::Read(ReadDone::History { entries, more })) = answer else {
            return Err(format!("{place:?}: {answer:?}"));
        };
        log.extend(entries.iter().map(|entry| Entry {
            seq: entry.seq.0,
            from: entry.from.0,
            text: match &entry.body {
                Body::Text(text) => Some((text.key.as_str().to_owned(), text.text.to_string())),
                _ => None,
            },
        }));
        if !more {
            return Ok(log);
        }
    }
}

/// Starts a server on the folder and reads every log as a client does.
pub(crate) fn with_server(folder: &Path) -> Logs {
    let server = Server::start(folder, &[]);
    let mut logs = Logs::new();
    for (place, reader) in Plan::places() {
        let mut client = Client::connect(server.port);
        let login =
            json!({"op": "login", "name": name(reader), "password": PASSWORD, "replay": false});
        assert_eq!(client.ok(login)["user"], reader);
        let mut log: Vec<Entry> = Vec::new();
        loop {
            let after = log.last().map_or(0, |entry| entry.seq);
            let place = named(place, reader);
            let page = json!({"op": "history", "in": place, "after": after, "limit": 200});
            let page = client.ok(page);
            log.extend(page["messages"].as_array().unwrap().iter().map(entry));
            if page["more"] != true {
                break;
            }
        }
        logs.insert(place, log);
    }
    logs
}

fn entry(message: &Value) -> Entry {
    let text = |name: &str| message[name].as_str().unwrap().to_owned();
    Entry {
        seq: message["seq"].as_u64().unwrap(),
        from: message["from"].as_u64().unwrap(),
        text: (message["kind"] == "text").then(|| (text("key"), text("text"))),
    }
}
