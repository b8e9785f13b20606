//! The run that is traced, and what the server has promised in it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use parlor_servers::find;
use serde_json::{Value, json};

use super::commits::DATABASE;
use super::plan::{GROUPS, Message, PEOPLE, Plan, friend, name, named};
use super::trace::{CALLS, Call, What};
use crate::program_world::{Client, Server, poll};

/// How many messages each of them has under way.
const WINDOW: usize = 3;

/// How many messages each of them sends after the log was copied: then it is begun anew.
const BEHIND: usize = 60;

/// What a client was told of a message, and since when it may have been: the moment when the call
/// began that wrote it to the socket.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    pub(crate) line: usize,
    pub(crate) id: u64,
    pub(crate) seq: u64,
    /// Whether it is the reply to who sent it; else somebody was shown the message.
    pub(crate) acknowledges: bool,
}

/// Runs a server in a folder and has everyone say what is planned; returns by the numbers of the
/// requests which `seq` was acknowledged. The trace is in the file `trace`.
pub(crate) fn record(folder: &Path, plan: &Plan) -> BTreeMap<u64, u64> {
    let strace = find("strace", "strace").unwrap_or_else(|missing| panic!("{missing}"));
    let settings = "[limits]\nrates = false\n[password]\nmemory_kib = 8\niterations = 1\n";
    fs::write(folder.join("parlor.toml"), settings).unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    let mut command = Command::new(strace);
    // With -D the server is this process's own child, and strace another one's.
    command
        .args([
            "-D",
            "-f",
            "-y",
            "-s",
            "1000000",
            "--seccomp-bpf",
            "-o",
            "trace",
            "-e",
        ])
        .arg(format!("trace={CALLS}"))
        .arg(env!("CARGO_BIN_EXE_parlor"))
        .args([
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--config",
            "parlor.toml",
        ])
        .args(["--store", "sqlite:data/parlor.db"])
        .current_dir(folder)
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PARLOR_") {
            command.env_remove(name);
        }
    }
    let mut server = Server::spawn(&mut command);
    let people = gather(server.port);
    let acknowledged = talk(people, plan, &folder.join("data").join(DATABASE));
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.logs());
    let pid = server.pid().to_string();
    poll("strace writes the end", || {
        let last = last_line(&folder.join("trace"));
        (last.starts_with(&pid) && last.ends_with(" +++ exited with 0 +++\n")).then_some(())
    });
    acknowledged
}

/// Returns the end of a file, which holds at least the last one of its short lines.
fn last_line(path: &Path) -> String {
    let mut file = fs::File::open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length.saturating_sub(1000)))
        .unwrap();
    let mut end = Vec::new();
    file.read_to_end(&mut end).unwrap();
    let end = String::from_utf8_lossy(&end);
    end.split_inclusive('\n')
        .next_back()
        .unwrap_or_default()
        .to_owned()
}

/// Has everyone log in, befriend and join.
fn gather(port: u16) -> Vec<Client> {
    let mut people: Vec<Client> = (1..=PEOPLE)
        .map(|user| {
            let mut client = Client::connect(port);
            assert_eq!(client.register_and_login(&name(user)), user);
            client
        })
        .collect();
    let mut ask =
        |user: u64, request: Value| people[usize::try_from(user - 1).unwrap()].ok(request);
    for user in 1..=PEOPLE {
        // Where both ask, they are friends.
        ask(user, json!({"op": "friend_request", "user": friend(user)}));
    }
    for (group, members) in GROUPS {
        let made = ask(
            members[0],
            json!({"op": "group_create", "name": "Tea room"}),
        );
        assert_eq!(made["group"], group);
        for member in &members[1..] {
            ask(*member, json!({"op": "group_join", "group": group}));
        }
    }
    people
}

/// Has everyone write at once, until the database has grown: SQLite has copied its log into it.
fn talk(people: Vec<Client>, plan: &Plan, database: &Path) -> BTreeMap<u64, u64> {
    let length = || fs::metadata(database).unwrap().len();
    let before = length();
    let copied = || length() > before;
    thread::scope(|scope| {
        let writers: Vec<_> = (1..)
            .zip(people)
            .map(|(user, mut client)| {
                scope.spawn(move || {
                    let messages: Vec<&Message> = plan.of(user).collect();
                    let acknowledged = write(&mut client, &messages, copied);
                    // Who is done stays connected, and is shown what the others write.
                    (client, acknowledged)
                })
            })
            .collect();
        let done: Vec<_> = writers.into_iter().map(|it| it.join().unwrap()).collect();
        done.into_iter()
            .flat_map(|(_, acknowledged)| acknowledged)
            .collect()
    })
}

/// Sends messages, some of them at a time, and a few more when the log was copied; returns when all
/// that was sent is acknowledged.
fn write(client: &mut Client, messages: &[&Message], copied: impl Fn() -> bool) -> Vec<(u64, u64)> {
    let mut acknowledged = Vec::new();
    let mut sent = 0;
    let mut enough = None;
    loop {
        let end = enough.unwrap_or(messages.len()).min(messages.len());
        for message in &messages[sent..end.min(acknowledged.len() + WINDOW).max(sent)] {
            client.send(&request(message));
            sent += 1;
        }
        if acknowledged.len() == end {
            return acknowledged;
        }
        let reply = client.until(|frame| frame["id"].is_u64());
        let seq = reply["ok"]["seq"].as_u64();
        let seq = seq.unwrap_or_else(|| panic!("not acknowledged: {reply}"));
        acknowledged.push((reply["id"].as_u64().unwrap(), seq));
        if enough.is_none() && copied() {
            enough = Some(sent + BEHIND);
        }
    }
}

fn request(message: &Message) -> Value {
    let to = named(message.place, message.from);
    let (id, key, text) = (message.id, &message.key, message.text());
    json!({"id": id, "op": "send", "to": to, "key": key, "text": text})
}

/// Finds in a trace what clients were told, in its order.
pub(crate) fn promises(calls: &[Call], plan: &Plan) -> Vec<Promise> {
    // What each socket was given of a frame whose end was not taken.
    let mut begun: HashMap<&str, Vec<u8>> = HashMap::new();
    let mut found = Vec::new();
    for call in calls {
        let What::Sent {
            socket,
            bytes,
            taken,
        } = &call.what
        else {
            continue;
        };
        let given = begun.entry(socket).or_default();
        let before = given.len();
        given.extend_from_slice(bytes);
        let Some(end) = memchr::memrchr(b'\n', given) else {
            given.truncate(before + taken);
            continue;
        };
        for frame in given[..end].split(|byte| *byte == b'\n') {
            found.extend(promise(frame, call.begin, plan));
        }
        given.truncate(before + taken);
        let rest = memchr::memrchr(b'\n', given).map_or(0, |end| end + 1);
        given.drain(..rest);
    }
    found
}

fn promise(frame: &[u8], line: usize, plan: &Plan) -> Option<Promise> {
    // What is no frame is written to sockets that lead to no client.
    let frame: Value = serde_json::from_slice(frame).ok()?;
    let acknowledges = frame["id"].is_u64();
    let (message, seq) = if acknowledges {
        (plan.message(frame["id"].as_u64()?)?, &frame["ok"]["seq"])
    } else {
        (plan.with_key(frame["key"].as_str()?)?, &frame["seq"])
    };
    Some(Promise {
        line,
        id: message.id,
        seq: seq.as_u64()?,
        acknowledges,
    })
}
