//! What is measured, a labelled line each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parlor_core::id::ConversationRef;
use parlor_core::time::Timestamp;

use super::crowd::Crowd;

/// Returns the time of day, as the database has it, which runs on this machine.
pub(crate) fn now() -> Timestamp {
    Timestamp(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

/// Prints a figure.
pub(crate) fn figure(label: &str, figure: impl std::fmt::Display) {
    println!("figure: {label}: {figure}");
}

/// Prints the middle and the longest of many durations.
pub(crate) fn spread(label: &str, mut all: Vec<Duration>) {
    all.sort();
    let at = |share: usize| all.get(all.len() * share / 100).or(all.last());
    let show = |it: Option<&Duration>| it.map_or("none".to_owned(), |it| format!("{it:.0?}"));
    figure(
        label,
        format!(
            "p50 {}, p95 {}, max {} of {}",
            show(at(50)),
            show(at(95)),
            show(all.last()),
            all.len()
        ),
    );
}

/// Returns how long direct messages that were committed in a time took to a reader on another node.
pub(crate) fn delays(crowd: &Crowd, from: Timestamp, to: Timestamp) -> Vec<Duration> {
    let mut delays = Vec::new();
    for person in &crowd.people {
        let record = person.record();
        let direct = |place: &ConversationRef| matches!(place, ConversationRef::User(_));
        let logs = record.got.iter().filter(|(place, _)| direct(place));
        let others = logs.flat_map(|(_, log)| log);
        let others = others.filter(|got| got.from != person.plan.user);
        let timely = others.filter(|got| (from..to).contains(&got.at));
        delays.extend(timely.map(|got| got.arrived.since(got.at)));
    }
    delays
}
