//! Messages that were recalled of late: what was read before that, or comes late from another node,
//! has their text still, and nobody is to receive that.

use std::collections::{BTreeSet, VecDeque};

use crate::engine::Engine;
use crate::id::{ConversationId, Seq, UserId};
use crate::log::{Body, Entry};
use crate::protocol::Message;

/// The newest recalls that were heard of.
#[derive(Debug, Default)]
pub(super) struct Recalls {
    known: BTreeSet<(ConversationId, Seq)>,
    /// The same, in the order in which they were heard of.
    order: VecDeque<(ConversationId, Seq)>,
}

impl Recalls {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn note(&mut self, recalled: (ConversationId, Seq), most: usize) {
        if !self.known.insert(recalled) {
            return;
        }
        self.order.push_back(recalled);
        while self.order.len() > most {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

impl Engine {
    /// Notes what an entry says to be recalled.
    pub(super) fn note_recall(&mut self, entry: &Entry) {
        // Without anyone here there is nobody to show anything to.
        if let Body::Recall { target } = entry.body
            && !self.users.is_empty()
        {
            let recalled = (entry.conversation, target);
            self.recalls.note(recalled, self.config.recalls);
        }
    }

    /// Shows an entry from a reader's side, without the text of what is known to be recalled; `None`
    /// when it is of a direct conversation of others.
    pub(super) fn message_of(&self, entry: &Entry, reader: UserId) -> Option<Message> {
        let mut message = Message::of(entry, reader)?;
        let recalled = |seq| self.recalls.known.contains(&(entry.conversation, seq));
        match &mut message.body {
            Body::Text(text) if recalled(entry.seq) => {
                text.text = "".into();
                text.meta = None;
                text.recalled = true;
            }
            Body::Edit { target, text } if recalled(*target) => *text = None,
            _ => {}
        }
        Some(message)
    }
}
