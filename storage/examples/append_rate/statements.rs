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

/// The most rows of one statement.
pub(crate) const MOST: usize = 256;

/// Finds the conversations of pairs.
pub(crate) const CONVERSATIONS: Listed = Listed {
    before: "SELECT id, low_id, high_id, last_seq FROM conversation \
             WHERE (low_id, high_id) IN (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ")",
};

/// Reads who is whose friend.
pub(crate) const FRIENDSHIPS: Listed = Listed {
    before: "SELECT user_id, other_id, state FROM friendship WHERE (user_id, other_id) IN (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ")",
};

/// Looks for messages with the same keys.
pub(crate) const KEYS: Listed = Listed {
    before: "SELECT sender_id, message_key, conversation_id, seq, created_at, digest \
             FROM message WHERE (sender_id, message_key) IN (VALUES ",
    first: "(?,?)",
    next: ",(?,?)",
    after: ")",
};

/// Raises the ends of logs.
pub(crate) const ENDS: Listed = Listed {
    before: "UPDATE conversation SET last_seq = raised.last, updated_at = raised.at FROM (",
    first: "SELECT ? AS id, ? AS last, ? AS at",
    next: " UNION ALL SELECT ?, ?, ?",
    after: ") raised WHERE conversation.id = raised.id",
};

/// Inserts messages.
pub(crate) const MESSAGES: Listed = Listed {
    before: "INSERT INTO message (conversation_id, seq, sender_id, kind, message_key, digest, body, \
             edited, recalled, created_at) VALUES ",
    first: "(?,?,?,?,?,?,?,?,?,?)",
    next: ",(?,?,?,?,?,?,?,?,?,?)",
    after: "",
};

impl Listed {
    /// Returns the text for so many rows.
    pub(crate) fn text(self, rows: usize) -> String {
        let next = self.next.repeat(rows.saturating_sub(1));
        [self.before, self.first, &next, self.after].concat()
    }
}

/// Splits rows as the store does for reads and updates: lists are padded to a power of two by their
/// last row.
pub(crate) fn padded<T: Clone>(rows: &[T]) -> Vec<Vec<T>> {
    let pad = |chunk: &[T]| {
        let mut list = chunk.to_vec();
        if let Some(last) = chunk.last() {
            list.resize(chunk.len().next_power_of_two(), last.clone());
        }
        list
    };
    rows.chunks(MOST).map(pad).collect()
}

/// Splits rows as the store does for inserts: into lists of a power of two.
pub(crate) fn split<T>(mut rows: &[T]) -> Vec<&[T]> {
    let mut lists = Vec::new();
    while !rows.is_empty() {
        let (list, rest) = rows.split_at(1 << rows.len().min(MOST).ilog2());
        lists.push(list);
        rows = rest;
    }
    lists
}
