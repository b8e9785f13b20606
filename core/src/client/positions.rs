//! How far each conversation's log was handed to the caller.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ConversationRef, RequestId, Seq};
use crate::protocol::Message;
use crate::time::Timestamp;

/// The position in every conversation's log; what lies above a hole waits until the hole is read.
#[derive(Debug)]
pub(super) struct Positions {
    table: BTreeMap<ConversationRef, Position>,
    /// Conversations with deliveries that are not acknowledged.
    unacknowledged: BTreeSet<ConversationRef>,
    /// Conversations with a hole to read.
    holes: BTreeSet<ConversationRef>,
    limit: usize,
    held: usize,
    /// No hole is read before this moment: the server asked for a pause.
    paused_until: Option<Timestamp>,
}

/// One conversation.
#[derive(Debug, Default)]
struct Position {
    /// Everything up to here was handed to the caller.
    at: Seq,
    /// The highest number that was pushed, where that is above `at`.
    top: Seq,
    /// What the server knows to have arrived.
    acknowledged: Seq,
    /// The request that acknowledges, and up to where.
    acknowledging: Option<(RequestId, Seq)>,
    /// The request that reads the hole.
    fetch: Option<RequestId>,
    /// Messages above the hole, a bounded number.
    above: BTreeMap<Seq, Message>,
}

/// There are more conversations than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Positions {
    /// Makes an empty table.
    pub(super) const fn new(limit: usize, held: usize) -> Self {
        Self {
            table: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            holes: BTreeSet::new(),
            limit,
            held,
            paused_until: None,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit, self.held);
    }

    /// Returns how many conversations are known.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns how many messages wait above holes.
    pub(super) fn held(&self) -> usize {
        self.table
            .values()
            .map(|position| position.above.len())
            .sum()
    }

    /// Sets where a conversation starts and what the server knows to have arrived.
    pub(super) fn start(
        &mut self,
        conversation: ConversationRef,
        at: Seq,
        acknowledged: Seq,
    ) -> Result<(), TooMany> {
        let position = Self::slot(&mut self.table, self.limit, conversation)?;
        *position = Position {
            at,
            acknowledged,
            ..Position::default()
        };
        self.note(conversation);
        Ok(())
    }

    /// Returns how far a conversation was handed out; `None` when it is not known.
    pub(super) fn at(&self, conversation: ConversationRef) -> Option<Seq> {
        self.table.get(&conversation).map(|position| position.at)
    }

    /// Returns up to `limit` positions for the server to start from. Those that it knows from our
    /// acknowledgements come last: leaving them out costs nothing but repeats.
    pub(super) fn have(&self, limit: usize) -> Vec<(ConversationRef, Seq)> {
        let differs = |position: &Position| position.at != position.acknowledged;
        let (first, last): (Vec<_>, Vec<_>) = self
            .table
            .iter()
            .partition(|(_, position)| differs(position));
        let all = first.into_iter().chain(last);
        let mut have: Vec<_> = all
            .take(limit)
            .map(|(conversation, position)| (*conversation, position.at))
            .collect();
        have.sort_unstable();
        have
    }

    /// Takes a message that was pushed; returns what may be handed out. One that `begins` the
    /// reader's membership has nothing before it that the reader may read.
    pub(super) fn pushed(
        &mut self,
        message: Message,
        begins: bool,
    ) -> Result<Vec<Message>, TooMany> {
        let (conversation, seq) = (message.conversation, message.seq);
        let known = self.table.contains_key(&conversation);
        let position = Self::slot(&mut self.table, self.limit, conversation)?;
        if !known {
            // The server starts a session's unknown conversations where the reader may read.
            position.at = seq.previous();
            position.acknowledged = seq.previous();
        }
        position.top = position.top.max(seq);
        let mut out = Vec::new();
        if seq > position.at {
            if begins {
                out = position.begin_anew(seq);
            }
            if seq == position.at.next() || position.above.len() < self.held {
                position.above.insert(seq, message);
            }
            out.extend(position.take_contiguous());
        }
        self.note(conversation);
        Ok(out)
    }

    /// Returns a conversation whose hole is to be read, and after which entry, unless the server
    /// asked for a pause.
    pub(super) fn next_hole(&mut self, now: Timestamp) -> Option<(ConversationRef, Seq)> {
        if self.paused_until.is_some_and(|until| now < until) {
            return None;
        }
        self.paused_until = None;
        let conversation = *self.holes.first()?;
        self.at(conversation).map(|at| (conversation, at))
    }

    /// Notes that a hole is being read.
    pub(super) fn fetching(&mut self, conversation: ConversationRef, request: RequestId) {
        if let Some(position) = self.table.get_mut(&conversation) {
            position.fetch = Some(request);
        }
        self.note(conversation);
    }

    /// Takes what was read of a hole, ascending; returns what may be handed out. What the answer
    /// leaves out is not for this reader's eyes.
    pub(super) fn fetched(
        &mut self,
        conversation: ConversationRef,
        request: RequestId,
        messages: Vec<Message>,
    ) -> Vec<Message> {
        let Some(position) = self.table.get_mut(&conversation) else {
            return Vec::new();
        };
        if position.fetch.take_if(|fetch| *fetch == request).is_none() {
            return Vec::new();
        }
        let mut out = Vec::new();
        for message in messages {
            if message.conversation == conversation && message.seq > position.at {
                position.at = message.seq;
                out.push(message);
            }
        }
        let progressed = !out.is_empty();
        position.top = position.top.max(position.at);
        out.extend(position.take_contiguous());
        if !progressed {
            out.extend(position.give_up());
        }
        self.note(conversation);
        out
    }

    /// Takes that a hole could not be read: later, or (`until` absent) never, when what lies above
    /// it is handed out.
    pub(super) fn not_fetched(
        &mut self,
        conversation: ConversationRef,
        request: RequestId,
        until: Option<Timestamp>,
    ) -> Vec<Message> {
        let Some(position) = self.table.get_mut(&conversation) else {
            return Vec::new();
        };
        if position.fetch.take_if(|fetch| *fetch == request).is_none() {
            return Vec::new();
        }
        let out = if until.is_some() {
            self.paused_until = self.paused_until.max(until);
            Vec::new()
        } else {
            position.give_up()
        };
        self.note(conversation);
        out
    }

    /// Forgets a conversation that the reader may not read any more; returns what waited above a
    /// hole.
    pub(super) fn forget(&mut self, conversation: ConversationRef) -> Vec<Message> {
        let position = self.table.remove(&conversation);
        self.note(conversation);
        position.map_or_else(Vec::new, |mut position| position.give_up())
    }

    /// Forgets what is under way: the connection broke. The server sends again what lies above
    /// each position.
    pub(super) fn broken(&mut self) {
        for position in self.table.values_mut() {
            position.acknowledging = None;
            position.fetch = None;
            position.above.clear();
            position.top = position.at;
        }
        self.paused_until = None;
        self.holes.clear();
        let behind = self
            .table
            .iter()
            .filter(|(_, position)| position.is_behind());
        self.unacknowledged = behind.map(|(conversation, _)| *conversation).collect();
    }

    /// Returns the next conversation to acknowledge, and up to where.
    pub(super) fn next_unacknowledged(&self) -> Option<(ConversationRef, Seq)> {
        let conversation = *self.unacknowledged.first()?;
        self.at(conversation).map(|at| (conversation, at))
    }

    /// Tells whether nothing waits to be acknowledged or read.
    pub(super) fn is_settled(&self) -> bool {
        self.unacknowledged.is_empty() && self.holes.is_empty()
    }

    /// Notes that deliveries up to `seq` are being acknowledged.
    pub(super) fn acknowledging(
        &mut self,
        conversation: ConversationRef,
        request: RequestId,
        seq: Seq,
    ) {
        if let Some(position) = self.table.get_mut(&conversation) {
            position.acknowledging = Some((request, seq));
        }
        self.note(conversation);
    }

    /// Takes the end of an acknowledgement; where it is to be repeated, nothing is known.
    pub(super) fn acknowledged(
        &mut self,
        conversation: ConversationRef,
        request: RequestId,
        known: bool,
    ) {
        if let Some(position) = self.table.get_mut(&conversation) {
            let ended = position.acknowledging.take_if(|(id, _)| *id == request);
            if let Some((_, seq)) = ended.filter(|_| known) {
                position.acknowledged = position.acknowledged.max(seq);
            }
        }
        self.note(conversation);
    }

    /// Returns when holes may be read again.
    pub(super) fn timeout(&self) -> Option<Timestamp> {
        self.paused_until.filter(|_| !self.holes.is_empty())
    }

    /// Finds or makes a conversation's position.
    fn slot(
        table: &mut BTreeMap<ConversationRef, Position>,
        limit: usize,
        conversation: ConversationRef,
    ) -> Result<&mut Position, TooMany> {
        let full = table.len() >= limit;
        match table.entry(conversation) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(_) if full => Err(TooMany),
            Entry::Vacant(entry) => Ok(entry.insert(Position::default())),
        }
    }

    /// Keeps the sets true for one conversation.
    fn note(&mut self, conversation: ConversationRef) {
        let position = self.table.get(&conversation);
        let set = |members: &mut BTreeSet<_>, belongs: bool| {
            if belongs {
                members.insert(conversation);
            } else {
                members.remove(&conversation);
            }
        };
        let behind = position.is_some_and(Position::is_behind);
        set(&mut self.unacknowledged, behind);
        let hole = position.is_some_and(|it| it.top > it.at && it.fetch.is_none());
        set(&mut self.holes, hole);
    }
}

impl Position {
    /// Tells whether there is something to acknowledge and nothing that does it.
    fn is_behind(&self) -> bool {
        self.at > self.acknowledged && self.acknowledging.is_none()
    }

    /// Goes on right before an entry, whatever is missing; returns what waited below it.
    fn begin_anew(&mut self, seq: Seq) -> Vec<Message> {
        let above = self.above.split_off(&seq);
        let below = std::mem::replace(&mut self.above, above);
        self.at = seq.previous();
        self.fetch = None;
        below.into_values().collect()
    }

    /// Takes the messages that follow the position without a hole.
    fn take_contiguous(&mut self) -> Vec<Message> {
        let mut out = Vec::new();
        while let Some(entry) = self.above.first_entry() {
            if *entry.key() > self.at.next() {
                break;
            }
            let (seq, message) = entry.remove_entry();
            if seq > self.at {
                self.at = seq;
                out.push(message);
            }
        }
        out
    }

    /// Takes every message above a hole that cannot be read.
    fn give_up(&mut self) -> Vec<Message> {
        self.at = self.at.max(self.top);
        std::mem::take(&mut self.above).into_values().collect()
    }
}
