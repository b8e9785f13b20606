//! What was promised to whom, and whether it is kept: looked at with every step.

use std::collections::BTreeMap;

use super::World;
use super::queue::{Life, LinkId};
use crate::id::{ConversationRef, GroupId, Place, RequestId, Seq, UserId};
use crate::log::Body;
use crate::name::Key;
use crate::protocol::reply::SessionReply;
use crate::protocol::request::Start;
use crate::protocol::{Event, Message, Reply, Request, RequestError};
use crate::sim::promises;
use crate::store::{Done, StoreResponse, StoreResult};

/// What the store has committed.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// How long each log is.
    lengths: BTreeMap<Place, u64>,
    /// Where each sender's key was used.
    keys: BTreeMap<(UserId, Key), (Place, Seq)>,
    /// When each user became a member of a group and ceased to be one, ascending.
    memberships: BTreeMap<(GroupId, UserId), Vec<(Seq, bool)>>,
    /// How many accounts were made.
    accounts: usize,
    /// Whether all are to leave.
    pub(super) leaving: bool,
}

impl Ledger {
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.lengths.keys().filter_map(|place| match place {
            Place::Group(group) => Some(*group),
            Place::Direct(_) => None,
        })
    }

    pub(super) fn length(&self, place: Place) -> u64 {
        self.lengths.get(&place).copied().unwrap_or(0)
    }

    pub(super) fn lengths(&self) -> impl Iterator<Item = (Place, u64)> {
        self.lengths.iter().map(|(place, length)| (*place, *length))
    }

    /// Tells whether a user may see an entry of a group: those from the entry that made the user a
    /// member to the one that ended that.
    fn may_see(&self, group: GroupId, user: UserId, seq: Seq) -> bool {
        let changes = self.memberships.get(&(group, user));
        let last = changes.and_then(|changes| changes.iter().rev().find(|(at, _)| *at <= seq));
        last.is_some_and(|(at, member)| *member || *at == seq)
    }

    fn was_member(&self, group: GroupId, user: UserId) -> bool {
        self.memberships.contains_key(&(group, user))
    }

    fn note_membership(&mut self, group: GroupId, body: &Body, seq: Seq) {
        match body {
            Body::Joined { user } => {
                let changes = self.memberships.entry((group, *user)).or_default();
                changes.push((seq, true));
            }
            Body::Left { user } | Body::Removed { user } => {
                let changes = self.memberships.entry((group, *user)).or_default();
                changes.push((seq, false));
            }
            Body::Disbanded => {
                let of_group = (group, UserId(0))..=(group, UserId(u64::MAX));
                for (_, changes) in self.memberships.range_mut(of_group) {
                    if changes.last().is_some_and(|(_, member)| *member) {
                        changes.push((seq, false));
                    }
                }
            }
            _ => {}
        }
    }
}

impl World<'_> {
    /// The store has carried a request out: logs have no hole, keys make one entry.
    pub(super) fn committed(&mut self, result: &StoreResult) {
        let Ok(StoreResponse::Applied(applied)) = result else {
            return;
        };
        self.ledger.accounts += usize::from(matches!(applied.done, Done::Registered(_)));
        for entry in &applied.entries {
            let length = self.ledger.lengths.entry(entry.place).or_default();
            *length += 1;
            let expected = Seq(*length);
            if entry.seq != expected {
                self.fail(format!(
                    "a hole in a log: {expected} is missing before {entry:?}"
                ));
            }
            if let Body::Text(text) = &entry.body {
                let key = (entry.from, text.key.clone());
                let before = self.ledger.keys.insert(key, (entry.place, entry.seq));
                if let Some(before) = before {
                    self.fail(format!("a key makes two entries: {before:?} and {entry:?}"));
                }
            }
            if let Place::Group(group) = entry.place {
                self.ledger.note_membership(group, &entry.body, entry.seq);
            }
        }
    }

    /// What is acknowledged is in the store.
    pub(super) fn check_acknowledged(
        &mut self,
        user: UserId,
        to: ConversationRef,
        seq: Seq,
        key: &Key,
        text: &str,
    ) {
        let place = to.place(user);
        let entry = place.and_then(|place| self.store.entry(place, seq));
        if !promises::is_acknowledged(entry.as_deref(), key, text) {
            self.fail(format!(
                "user {user} was told that {key:?} is {seq} of {to:?}; the store has {entry:?}"
            ));
        }
    }

    /// A node answers: the oldest open request of that connection.
    pub(super) fn check_reply(
        &mut self,
        id: LinkId,
        request_id: Option<RequestId>,
        result: &Result<Reply, RequestError>,
    ) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let Some((asked, request)) = link.asked.pop_front() else {
            self.fail(format!("an answer without its request: {result:?}"));
            return;
        };
        if Some(asked) != request_id {
            self.fail(format!(
                "{request_id:?} is answered before {asked:?}, {request:?}"
            ));
            return;
        }
        let (user, Ok(reply)) = (link.user, result) else {
            return;
        };
        match (&request, reply, user) {
            (
                Request::Login { start, .. } | Request::Resume { start, .. },
                Reply::Session(reply),
                _,
            ) => {
                link.user = Some(reply.user);
                link.seen = first_positions(reply, start);
            }
            (Request::Logout | Request::DeleteAccount { .. }, ..) => {
                link.user = None;
                link.seen.clear();
            }
            (Request::Send { to, key, text, .. }, Reply::Appended { seq, .. }, Some(user)) => {
                self.check_acknowledged(user, *to, *seq, key, text);
            }
            (Request::History { .. }, Reply::History { messages, .. }, Some(user)) => {
                for message in messages {
                    self.check_may_see(user, message);
                }
            }
            _ => {}
        }
    }

    /// A node sends an event: to someone whom it concerns, and messages in order.
    pub(super) fn check_event(&mut self, id: LinkId, event: &Event) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let user = link.user;
        if let Event::Notice { .. } = event {
            return;
        }
        let Some(user) = user else {
            self.fail(format!("an event before the session: {event:?}"));
            return;
        };
        if let Event::Message(message) = event {
            let with = message.conversation;
            let seen = link.seen.get(&with).copied();
            if promises::ends(&message.body, user) {
                link.seen.remove(&with);
            } else {
                link.seen.insert(with, message.seq);
            }
            let name = link.device;
            if !promises::follows(seen, user, message) {
                let name = self.device_name(name);
                self.fail(format!(
                    "the session of user {user} on {name} was sent {seen:?} and gets {message:?}"
                ));
            }
            self.check_may_see(user, message);
        } else if !self.concerns(user, event) {
            self.fail(format!("user {user} may not see {event:?}"));
        }
    }

    /// A message is in the store, and its reader may see it.
    fn check_may_see(&mut self, user: UserId, message: &Message) {
        let Some(place) = message.conversation.place(user) else {
            self.fail(format!("user {user} gets {message:?}"));
            return;
        };
        let entry = self.store.entry(place, message.seq);
        if !entry
            .as_deref()
            .is_some_and(|entry| promises::is_stored(message, entry))
        {
            self.fail(format!(
                "user {user} gets {message:?}; the store has {entry:?}"
            ));
        }
        if let Place::Group(group) = place
            && !self.ledger.may_see(group, user, message.seq)
        {
            self.fail(format!("user {user} may not see {message:?}"));
        }
    }

    /// Tells whether an event that is no message may be sent to a user. Rights that ended a moment
    /// ago are not held against a node that has not heard of it yet.
    fn concerns(&self, user: UserId, event: &Event) -> bool {
        let meets = |conversation: ConversationRef| match conversation {
            // Friendship makes the conversation, and that stays.
            ConversationRef::User(_) => conversation
                .place(user)
                .is_some_and(|place| self.store.has(place)),
            ConversationRef::Group(group) => self.ledger.was_member(group, user),
        };
        match event {
            Event::Receipt {
                conversation,
                user: who,
                ..
            } => {
                let between = *who == user || *conversation == ConversationRef::User(*who);
                between && meets(*conversation)
            }
            Event::Typing {
                conversation,
                user: who,
            } => *who != user && meets(*conversation),
            Event::Presence { user: who, .. } => meets(ConversationRef::User(*who)),
            Event::Group {
                group,
                state: crate::protocol::GroupState::Requested { .. },
                ..
            } => self.ledger.was_member(*group, user),
            _ => true,
        }
    }

    /// The tables of a node keep the limits of its configuration.
    pub(super) fn check_counts(&mut self, life: Life) {
        let node = self.nodes.get(life.node);
        let Some(node) = node.filter(|node| node.epoch == life.epoch) else {
            return;
        };
        let Some(engine) = &node.engine else { return };
        let (counts, config) = (engine.counts(), &self.plan.config);
        let closing = node
            .open
            .values()
            .filter(|id| self.links.get(id).is_some_and(|link| link.closing))
            .count();
        // Of its own, a node has a read of rosters, of heads, to verify and of changes, and a
        // write of cursors under way.
        let own = config.fetches + 5;
        let bounds = [
            (
                "connections",
                counts.connections,
                config.connections + closing,
            ),
            ("users", counts.users, self.ledger.accounts),
            ("groups", counts.groups, self.ledger.lengths.len()),
            (
                "store requests",
                counts.store_requests,
                config.store_requests + own,
            ),
            ("fetches", counts.fetches, self.ledger.lengths.len()),
            ("marks", counts.marks, 2 * config.marks),
            ("subscriptions", counts.subscriptions, counts.users),
            ("watched", counts.watched, self.ledger.accounts),
            (
                "questions",
                counts.questions,
                config.presence_questions + config.presence_lists,
            ),
            ("nodes", counts.nodes, config.nodes),
        ];
        let broken = bounds.into_iter().find(|(_, count, bound)| count > bound);
        let known = counts.connections == node.open.len();
        if let Some((what, count, bound)) = broken {
            self.fail(format!(
                "node {}: {count} {what}, at most {bound}",
                life.node
            ));
        } else if !known {
            self.fail(format!(
                "node {}: {counts:?} and other connections",
                life.node
            ));
        }
    }
}

/// Where a session's cursors begin.
fn first_positions(reply: &SessionReply, start: &Start) -> BTreeMap<ConversationRef, Seq> {
    let have: BTreeMap<ConversationRef, Seq> = start.have.iter().copied().collect();
    reply
        .conversations
        .iter()
        .map(|item| {
            let first = match have.get(&item.conversation) {
                Some(seq) => (*seq).min(item.last),
                None if start.replay => item.delivered,
                None => item.last,
            };
            (item.conversation, first)
        })
        .collect()
}
