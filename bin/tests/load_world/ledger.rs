//! What must hold between the logs of a store, those who wrote and those who read.

use std::collections::{BTreeMap, BTreeSet};

use parlor_core::id::{ConversationRef, Place, UserId};
use serde_json::{Value, json};

use super::person::{Got, Person, Sent};
use crate::program_world::Client;

/// An entry of a log, as `history` gives it.
pub(crate) struct Entry {
    seq: u64,
    from: u64,
    /// Who became a member by this.
    joined: Option<u64>,
    /// The key and the text of a message.
    text: Option<(String, String)>,
}

/// Every log by what it is the log of.
pub(crate) type Logs = BTreeMap<Place, Vec<Entry>>;

/// Reads the whole log of a conversation.
pub(crate) fn read(client: &mut Client, conversation: ConversationRef) -> Vec<Entry> {
    let mut log: Vec<Entry> = Vec::new();
    loop {
        let after = last(&log);
        let page = client
            .ok(json!({"op": "history", "in": named(conversation), "after": after, "limit": 200}));
        log.extend(page["messages"].as_array().unwrap().iter().map(entry));
        if page["more"] != true {
            return log;
        }
    }
}

/// Returns a conversation as it is named on the wire.
fn named(conversation: ConversationRef) -> Value {
    match conversation {
        ConversationRef::User(user) => json!({"user": user.0}),
        ConversationRef::Group(group) => json!({"group": group.0}),
    }
}

fn entry(message: &Value) -> Entry {
    let text = |name: &str| message[name].as_str().unwrap().to_owned();
    Entry {
        seq: message["seq"].as_u64().unwrap(),
        from: message["from"].as_u64().unwrap(),
        joined: (message["kind"] == "joined").then(|| message["user"].as_u64().unwrap()),
        text: (message["kind"] == "text").then(|| (text("key"), text("text"))),
    }
}

/// Returns the number of a log's last entry; zero of an empty one.
pub(crate) fn last(log: &[Entry]) -> u64 {
    log.last().map_or(0, |entry| entry.seq)
}

/// Counts the messages of the logs.
pub(crate) fn messages(logs: &Logs) -> usize {
    let entries = logs.values().flatten();
    entries.filter(|entry| entry.text.is_some()).count()
}

/// Compares everything with everything; returns what is wrong.
pub(crate) fn check(people: &[Person], logs: &Logs) -> Vec<String> {
    let mut complaints = Vec::new();
    let writers: BTreeMap<u64, &Person> = people.iter().map(|it| (it.plan.user.0, it)).collect();
    for (place, log) in logs {
        check_log(*place, log, &writers, &mut complaints);
    }
    for person in people {
        check_sender(person, logs, &mut complaints);
        check_receiver(person, logs, &mut complaints);
        let record = person.record();
        complaints.extend(record.wrong.iter().map(|wrong| about(person, wrong)));
    }
    complaints
}

fn about(person: &Person, what: &str) -> String {
    format!("{}: {what}", person.plan.name)
}

/// A log has no hole, no message twice, each sender's in the order of writing, and none that nobody
/// wrote.
fn check_log(
    place: Place,
    log: &[Entry],
    writers: &BTreeMap<u64, &Person>,
    complaints: &mut Vec<String>,
) {
    let mut complain = |entry: &Entry, what: &str| {
        complaints.push(format!("{place:?}, entry {}: {what}", entry.seq));
    };
    let mut newest: BTreeMap<u64, usize> = BTreeMap::new();
    for (index, entry) in log.iter().enumerate() {
        if entry.seq != index as u64 + 1 {
            complain(entry, "a hole or a repeat before it");
        }
        let Some((key, text)) = &entry.text else {
            continue;
        };
        let number = key.rsplit('-').next().and_then(|text| text.parse().ok());
        let (Some(writer), Some(number)) = (writers.get(&entry.from), number) else {
            complain(entry, "nobody wrote it");
            continue;
        };
        let record = writer.record();
        let as_written = |sent: &&Sent| {
            sent.key.as_str() == key
                && *sent.text == **text
                && sent.to.place(writer.plan.user) == Some(place)
        };
        match record.sent.get(number).filter(as_written) {
            None => complain(entry, "it is not what was written"),
            Some(sent) if sent.seq.is_some_and(|seq| seq.0 != entry.seq) => {
                complain(entry, &format!("it was acknowledged as {:?}", sent.seq));
            }
            Some(_) => {}
        }
        match newest.insert(entry.from, number) {
            Some(before) if before == number => complain(entry, "it is there twice"),
            Some(before) if before > number => complain(entry, "it came before an earlier one"),
            _ => {}
        }
    }
}

/// What was acknowledged is in the log where it was acknowledged to be, and for who is still there
/// everything was acknowledged.
fn check_sender(person: &Person, logs: &Logs, complaints: &mut Vec<String>) {
    let record = person.record();
    for sent in &record.sent {
        let place = sent.to.place(person.plan.user).unwrap();
        let Some(seq) = sent.seq else {
            if !record.dead {
                complaints.push(about(person, &format!("{:?} has no answer", sent.key)));
            }
            continue;
        };
        let index = usize::try_from(seq.0).unwrap().checked_sub(1);
        let entry = index.and_then(|index| logs[&place].get(index));
        let key = entry.and_then(|entry| Some(entry.text.as_ref()?.0.as_str()));
        if key != Some(sent.key.as_str()) {
            let what = format!(
                "{:?} was acknowledged as {seq:?}: that is {key:?}",
                sent.key
            );
            complaints.push(about(person, &what));
        }
    }
}

/// Who reads was handed each entry once and in order: all of them, or up to the reader's own end.
fn check_receiver(person: &Person, logs: &Logs, complaints: &mut Vec<String>) {
    let record = person.record();
    let places: BTreeSet<_> = record.got.keys().chain(&person.plan.places).collect();
    for &conversation in places {
        let log = &logs[&conversation.place(person.plan.user).unwrap()];
        let expected: &[Entry] = &log[start(log, conversation, person.plan.user)..];
        let got = record.got.get(&conversation).map_or(&[][..], Vec::as_slice);
        let wrong = got
            .iter()
            .zip(expected)
            .find(|(got, entry)| !same(got, entry));
        if let Some((got, entry)) = wrong {
            let key = |text: Option<&str>| text.unwrap_or("no message").to_owned();
            let what = format!(
                "{conversation:?}: {} came as {}, where {} is {}",
                key(got.text.as_ref().map(|(key, _)| key.as_str())),
                got.seq,
                entry.seq,
                key(entry.text.as_ref().map(|(key, _)| key.as_str())),
            );
            complaints.push(about(person, &what));
        }
        if got.len() > expected.len() || (got.len() < expected.len() && !record.dead) {
            let what = format!(
                "{conversation:?}: {} entries came of {}",
                got.len(),
                expected.len()
            );
            complaints.push(about(person, &what));
        }
    }
}

/// Returns where in a log a reader begins: at the own joining.
fn start(log: &[Entry], conversation: ConversationRef, reader: UserId) -> usize {
    match conversation {
        ConversationRef::User(_) => 0,
        ConversationRef::Group(_) => {
            let mut entries = log.iter();
            let joining = entries.position(|entry| entry.joined == Some(reader.0));
            joining.expect("a member has joined")
        }
    }
}

fn same(got: &Got, entry: &Entry) -> bool {
    let text = got.text.as_ref().map(|(key, text)| (key.as_str(), &**text));
    let written = entry.text.as_ref();
    got.seq.0 == entry.seq
        && got.from.0 == entry.from
        && text == written.map(|(key, text)| (key.as_str(), text.as_str()))
}

/// Tells whether a reader was handed the last entry of each log that is theirs.
pub(crate) fn is_complete(person: &Person, logs: &Logs) -> bool {
    let record = person.record();
    person.plan.places.iter().all(|conversation| {
        let log = &logs[&conversation.place(person.plan.user).unwrap()];
        let got = record.got.get(conversation).and_then(|got| got.last());
        got.map_or(0, |got| got.seq.0) >= last(log)
    })
}
