//! When the power is cut.

use std::collections::BTreeSet;

use super::Random;
use super::commits::{DATABASE, LOG};
use super::talk::Promise;
use super::trace::{Call, What};

/// The most moments around checkpoints.
const MOST: usize = 24;

/// A time when SQLite copies its log into the database, and begins the log anew afterwards.
pub(crate) struct Checkpoint {
    /// The lines where writes to the database had returned.
    pub(crate) written: Vec<usize>,
    /// The line where these were durable.
    pub(crate) synced: usize,
    /// The line from which on the new beginning of the log was durable, where it has one.
    pub(crate) begun_anew: Option<usize>,
}

/// Finds the checkpoints behind a line.
pub(crate) fn checkpoints(calls: &[Call], behind: usize) -> Vec<Checkpoint> {
    let mut found: Vec<Checkpoint> = Vec::new();
    let mut written = Vec::new();
    let mut restarted = false;
    for call in calls.iter().filter(|call| call.begin > behind) {
        let Some(end) = call.end else {
            continue;
        };
        match &call.what {
            What::Wrote { name, .. } if name == DATABASE => written.push(end),
            What::Synced { name } if name == DATABASE && !written.is_empty() => {
                found.push(Checkpoint {
                    written: std::mem::take(&mut written),
                    synced: end,
                    begun_anew: None,
                });
                restarted = false;
            }
            What::Wrote {
                name, offset: 0, ..
            } if name == LOG => restarted = true,
            What::Synced { name } if name == LOG && restarted => {
                if let Some(checkpoint) = found.last_mut() {
                    checkpoint.begun_anew.get_or_insert(end);
                }
            }
            _ => {}
        }
    }
    found
}

/// Chooses moments in and after checkpoints: what was written to the database is on its way to the
/// disk, or just there, and the log is about to be overwritten, or has been.
pub(crate) fn around(
    checkpoints: &[Checkpoint],
    calls: &[Call],
    random: &mut Random,
) -> BTreeSet<usize> {
    let mut moments = BTreeSet::new();
    for checkpoint in checkpoints {
        moments.insert(checkpoint.written[0]);
        moments.insert(*random.one_of(&checkpoint.written));
        moments.extend(checkpoint.written.last());
        moments.insert(checkpoint.synced);
        let behind = calls.iter().filter(|call| call.begin > checkpoint.synced);
        let log = behind.filter(|call| match &call.what {
            What::Wrote { name, .. } | What::Synced { name } => name == LOG,
            _ => false,
        });
        moments.extend(log.take(4).filter_map(|call| call.end));
        moments.extend(checkpoint.begun_anew);
    }
    // There are more checkpoints where some reader keeps the first from being whole.
    while moments.len() > MOST {
        let all: Vec<usize> = moments.iter().copied().collect();
        moments.remove(random.one_of(&all));
    }
    moments
}

/// Chooses so many moments at which something is promised.
pub(crate) fn promised(promises: &[Promise], count: usize, random: &mut Random) -> BTreeSet<usize> {
    let chosen = std::iter::repeat_with(|| random.one_of(promises).line);
    chosen.take(count).collect()
}

/// Chooses so many moments behind a line at which the log is being written.
pub(crate) fn writing(
    calls: &[Call],
    behind: usize,
    count: usize,
    random: &mut Random,
) -> BTreeSet<usize> {
    let written = calls.iter().filter(|call| {
        call.begin > behind && matches!(&call.what, What::Wrote { name, .. } if name == LOG)
    });
    let lines: Vec<usize> = written.map(|call| call.begin).collect();
    let chosen = std::iter::repeat_with(|| *random.one_of(&lines));
    chosen.take(count).collect()
}
