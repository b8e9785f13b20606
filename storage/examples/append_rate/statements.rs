//! The statements that keep a batch of new messages between friends in SQLite, who have written to
//! each other before, as the store makes them: a test of the store compares.

/// A statement about a list of rows, which may be of many lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    before: &'static str,
    first: &'static str,
    next: &'static str,
    after: &'static str,
}

/// Finds out whether another connection has written.
pub(crate) const VERSION: &str = "PRAGMA data_version";

/// Raises the ends of logs.
pub(crate) const ENDS: Listed = Listed {
    before: "UPDATE OR FAIL conversation SET last_seq = raised.last, updated_at = raised.at FROM (",
    first: "SELECT ? AS id, ? AS last, ? AS at",
    next: " UNION ALL SELECT ?, ?, ?",
    after: ") raised WHERE conversation.id = raised.id",
};

/// Inserts messages, as many as a statement has places for.
const ALL_MESSAGES: Listed = Listed {
    before: "INSERT OR FAIL INTO message (conversation_id, seq, sender_id, kind, message_key, \
             digest, body, edited, recalled, created_at) VALUES ",
    first: "(?,?,?,'text',?,?,?,FALSE,FALSE,?)",
    next: ",(?,?,?,'text',?,?,?,FALSE,FALSE,?)",
    after: "",
};

/// Inserts messages, and leaves rows out that are null.
const SOME_MESSAGES: Listed = Listed {
    before: "INSERT OR FAIL INTO message (conversation_id, seq, sender_id, kind, message_key, \
             digest, body, edited, recalled, created_at) SELECT * FROM (VALUES ",
    first: "(?,?,?,'text',?,?,?,FALSE,FALSE,?)",
    next: ",(?,?,?,'text',?,?,?,FALSE,FALSE,?)",
    after: ") WHERE column1 IS NOT NULL",
};

/// Inserts so many messages.
pub(crate) fn messages(rows: usize) -> Listed {
    if rows == places(rows) {
        ALL_MESSAGES
    } else {
        SOME_MESSAGES
    }
}

impl Listed {
    /// Returns the text for so many rows, and the places that are left over.
    pub(crate) fn text(self, rows: usize) -> String {
        let next = self.next.repeat(places(rows).saturating_sub(1));
        [self.before, self.first, &next, self.after].concat()
    }
}

/// Returns how many places there are in a statement for so many rows: a power of two, or three
/// quarters of one.
pub(crate) fn places(rows: usize) -> usize {
    let power = rows.next_power_of_two();
    [power / 4 * 3, power]
        .into_iter()
        .find(|places| rows <= *places)
        .unwrap_or(power)
}
