//! What every session is promised, as questions about single messages: shared by the checks of one
//! node and of the simulated world.

use crate::id::{ConversationRef, Seq, UserId};
use crate::log::{Body, Entry};
use crate::name::Key;
use crate::protocol::Message;

/// Tells whether a message is the one that follows after `seen` in its conversation's log, from the
/// side of its reader `user`: the next one, or the one that makes the reader a member.
pub(super) fn follows(seen: Option<Seq>, user: UserId, message: &Message) -> bool {
    let begins = matches!(message.body, Body::Joined { user: who } if who == user);
    match (message.conversation, seen.map(Seq::next)) {
        (_, Some(next)) if message.seq == next => true,
        (ConversationRef::Group(_), Some(next)) => begins && message.seq > next,
        (ConversationRef::Group(_), None) => begins,
        (ConversationRef::User(_), None) => message.seq == Seq(1),
        (ConversationRef::User(_), Some(_)) => false,
    }
}

/// Tells whether nothing follows for `user` after an entry.
pub(super) fn ends(body: &Body, user: UserId) -> bool {
    match body {
        Body::Left { user: who } | Body::Removed { user: who } => *who == user,
        Body::Disbanded => true,
        _ => false,
    }
}

/// Tells whether a message is what the store has, but for texts that changed since.
pub(super) fn is_stored(message: &Message, entry: &Entry) -> bool {
    let same = match (&entry.body, &message.body) {
        (Body::Text(stored), Body::Text(got)) => {
            let changed = stored.edited || stored.recalled;
            stored.key == got.key && (changed || stored == got)
        }
        (Body::Edit { target, .. }, Body::Edit { target: got, .. }) => target == got,
        (stored, got) => stored == got,
    };
    same && (entry.from, entry.at) == (message.from, message.at)
}

/// Tells whether an entry is the one that an acknowledged `send` made.
pub(super) fn is_acknowledged(entry: Option<&Entry>, key: &Key, text: &str) -> bool {
    let Some(Body::Text(stored)) = entry.map(|entry| &entry.body) else {
        return false;
    };
    stored.key == *key && (stored.edited || stored.recalled || *stored.text == *text)
}
