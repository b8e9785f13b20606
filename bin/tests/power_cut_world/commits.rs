//! Which commit of SQLite's log has which message, and since when that is durable.
//!
//! The log is a header and then frames, each of which is a header of 24 bytes and a page. A frame that
//! ends a transaction has the size of the database in its header, others have zero there
//! (<https://www.sqlite.org/fileformat.html#the_write_ahead_log>).

use std::collections::HashMap;

use memchr::memmem;

use super::disk::Disk;
use super::plan::{KEY, Plan};
use super::trace::{Call, What};

/// The name of the log.
pub(crate) const LOG: &str = "parlor.db-wal";

/// The length of a page.
const PAGE: usize = 4096;

/// The name of the database itself.
pub(crate) const DATABASE: &str = "parlor.db";

/// What the trace says of transactions.
pub(crate) struct Commits {
    pub(crate) count: usize,
    /// The line since when a message is durable with all of its transaction.
    pub(crate) durable_since: HashMap<u64, usize>,
}

/// Reads the log as it was written. The disk has played the whole trace.
pub(crate) fn read(calls: &[Call], disk: &Disk, plan: &Plan) -> Commits {
    let mut commits = Commits {
        count: 0,
        durable_since: HashMap::new(),
    };
    // The transaction that is being written: its messages, and since when all of it is durable.
    let mut messages: Vec<u64> = Vec::new();
    let mut since = Some(0);
    let mut ends = false;
    for (index, call) in calls.iter().enumerate() {
        let What::Wrote {
            name,
            offset,
            bytes,
        } = &call.what
        else {
            continue;
        };
        if name != LOG {
            continue;
        }
        since = later(since, disk.durable_since.get(&index));
        for (part, bytes) in parts(*offset, bytes) {
            match part {
                Part::Header => {}
                Part::Head => ends = bytes[4..8] != [0; 4],
                Part::Page => messages.extend(keys(bytes, plan)),
                Part::PageEnd => {
                    messages.extend(keys(bytes, plan));
                    if !ends {
                        continue;
                    }
                    commits.count += 1;
                    for message in messages.drain(..) {
                        // Pages that are written again have earlier messages, which were durable
                        // before.
                        if let Some(since) = since {
                            commits.durable_since.entry(message).or_insert(since);
                        }
                    }
                    since = Some(0);
                }
            }
        }
    }
    commits
}

/// A part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// The beginning of the log.
    Header,
    /// What stands before a page.
    Head,
    /// A part of a page, but for its end.
    Page,
    /// A page, or the end of one.
    PageEnd,
}

/// Takes apart what was written at a place in the log.
fn parts(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (Part, &[u8])> {
    let (mut at, mut rest) = (offset, bytes);
    std::iter::from_fn(move || {
        let (part, left) = match at.checked_sub(32) {
            None => (Part::Header, 32 - at),
            Some(at) => match at % (24 + PAGE) {
                0 => (Part::Head, 24),
                within => (Part::PageEnd, 24 + PAGE - within),
            },
        };
        let (taken, after) = rest.split_at(left.min(rest.len()));
        let part = match part {
            Part::PageEnd if taken.len() < left => Part::Page,
            part => part,
        };
        (at, rest) = (at + taken.len(), after);
        (!taken.is_empty()).then_some((part, taken))
    })
}

/// Returns the messages whose keys are in a page.
fn keys<'a>(page: &'a [u8], plan: &'a Plan) -> impl Iterator<Item = u64> + 'a {
    memmem::find_iter(page, KEY).filter_map(|at| {
        let key = std::str::from_utf8(page.get(at..at + KEY.len() + 6)?).ok()?;
        plan.with_key(key).map(|message| message.id)
    })
}

/// Returns the later of two moments; none where one never comes.
fn later(one: Option<usize>, other: Option<&usize>) -> Option<usize> {
    Some(one?.max(*other?))
}
