//! What must be on a disk after a power cut.

use std::collections::{BTreeMap, HashSet};

use parlor_core::id::Place;

use super::plan::Plan;
use super::talk::Promise;

/// An entry of a log.
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) from: u64,
    /// The key and the text of a message.
    pub(crate) text: Option<(String, String)>,
}

/// Every log by what it is the log of.
pub(crate) type Logs = BTreeMap<Place, Vec<Entry>>;

/// Compares the logs with what was promised before the cut; returns what is wrong.
pub(crate) fn check(plan: &Plan, logs: &Logs, promises: &[Promise]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut seen = HashSet::new();
    for (place, log) in logs {
        check_log(plan, *place, log, &mut seen, &mut complaints);
    }
    for promise in promises {
        let Promise { id, seq, .. } = promise;
        let message = plan.message(*id).unwrap();
        let index = usize::try_from(*seq).unwrap().checked_sub(1);
        let entry = index.and_then(|index| logs.get(&message.place)?.get(index));
        let key = entry
            .and_then(|entry| entry.text.as_ref())
            .map(|(key, _)| key);
        if key != Some(&message.key) {
            let told = if promise.acknowledges {
                "acknowledged"
            } else {
                "shown"
            };
            complaints.push(format!(
                "{} is lost: it was {told} as {seq} of {:?} at line {}, and that is {key:?}",
                message.key,
                message.place,
                promise.line + 1
            ));
        }
    }
    complaints
}

/// A log has no hole, no message twice, each sender's in the order of sending, and none that nobody
/// sent.
fn check_log<'a>(
    plan: &Plan,
    place: Place,
    log: &'a [Entry],
    seen: &mut HashSet<&'a str>,
    complaints: &mut Vec<String>,
) {
    let mut newest: BTreeMap<u64, u64> = BTreeMap::new();
    for (index, entry) in log.iter().enumerate() {
        let mut complain = |what: &str| {
            complaints.push(format!("{place:?}, entry {}: {what}", entry.seq));
        };
        if entry.seq != index as u64 + 1 {
            complain("a hole or a repeat before it");
        }
        let Some((key, text)) = &entry.text else {
            continue;
        };
        let sent = plan.with_key(key).filter(|message| {
            message.from == entry.from && message.place == place && message.text() == text
        });
        let Some(message) = sent else {
            complain("nobody sent it");
            continue;
        };
        if !seen.insert(key) {
            complain("it is there twice");
        }
        if newest.insert(entry.from, message.id) > Some(message.id) {
            complain("it came before an earlier one");
        }
    }
}
