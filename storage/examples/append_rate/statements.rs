//! The statements that keep a batch of new messages between friends in SQLite, as the store makes
//! them: a test of the store compares.

/// A statement about a list of rows, which may be of many lengths.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listed {
    before: &'static str,
    first: &'static str,
    next: &'static str,
    after: &'static str,
}

/// Finds the conversations of pairs.
pub(crate) const CONVERSATIONS: Listed = Listed {
    before: "WITH found(a,b,c,d) AS (SELECT id, low_id, high_id, last_seq FROM (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ") CROSS JOIN conversation ON low_id = column1 AND high_id = column2) \
            SELECT json_group_array(json_array(a,b,c,d)) FROM found",
};

/// Reads who is whose friend.
pub(crate) const FRIENDSHIPS: Listed = Listed {
    before: "WITH found(a,b,c) AS (SELECT user_id, other_id, state FROM (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ") CROSS JOIN friendship ON user_id = column1 AND other_id = column2) \
            SELECT json_group_array(json_array(a,b,c)) FROM found",
};

/// Looks for messages with the same keys.
pub(crate) const KEYS: Listed = Listed {
    before: "WITH found(a,b,c,d,e,f) AS (SELECT sender_id, HEX(message_key), conversation_id, seq, \
             created_at, HEX(digest) FROM (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ") CROSS JOIN message ON sender_id = column1 AND message_key = column2) \
            SELECT json_group_array(json_array(a,b,c,d,e,f)) FROM found",
};

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
