//! Nobody receives what they may not see. Rights that ended a moment ago are not held against a node
//! that has not been told: what counts is the newest roster that the store has answered it with.

use super::World;
use super::links::Link;
use super::queue::{Life, LinkId};
use crate::id::{ConversationRef, GroupId, Place, Seq, StoreToken, UserId};
use crate::log::{Body, Entry};
use crate::protocol::reply::SessionReply;
use crate::protocol::{Event, GroupState, Message, Reply};
use crate::sim::promises;
use crate::store::{ReadDone, StoreResponse, StoreResult};

impl World<'_> {
    /// Notes what a node is told by the store.
    pub(super) fn note_told(&mut self, life: Life, token: StoreToken, result: &StoreResult) {
        let node = self.nodes.get_mut(life.node);
        let Some(node) = node.filter(|node| node.epoch == life.epoch) else {
            return;
        };
        node.fetching.remove(&token);
        let entries = match result {
            Ok(StoreResponse::Read(ReadDone::Rosters(rosters))) => {
                for roster in rosters {
                    let told = node.told.entry(roster.user).or_default();
                    *told = (*told).max(roster.version);
                }
                return;
            }
            Ok(StoreResponse::Applied(applied)) => &applied.entries[..],
            Ok(StoreResponse::Read(ReadDone::Page(page))) => &page.entries[..],
            _ => return,
        };
        for entry in entries {
            self.note_recall(life, entry);
        }
    }

    /// Notes that a node knows a message to have been recalled.
    pub(super) fn note_recall(&mut self, life: Life, entry: &Entry) {
        let node = self.nodes.get_mut(life.node);
        if let Body::Recall { target } = entry.body
            && let Some(node) = node.filter(|node| node.epoch == life.epoch)
        {
            node.recalled.insert((entry.place, target));
        }
    }

    fn told(&self, node: usize, user: UserId) -> u64 {
        let node = self.nodes.get(node);
        let told = node.and_then(|node| node.told.get(&user).copied());
        told.unwrap_or(0)
    }

    /// Tells whether a node may take a user for another one's friend.
    fn may_be_friends(&self, node: usize, user: UserId, other: UserId) -> bool {
        let since = self.chronicle.since(user, self.told(node, user));
        since.iter().any(|ties| ties.is_friend(other))
    }

    /// Tells whether a node may show a user what another one does: of one who is on that node too,
    /// it has to look at both sides.
    fn may_notice(&self, node: usize, reader: UserId, shown: UserId) -> bool {
        let here = |link: &Link| link.has_session(node, shown);
        self.may_be_friends(node, reader, shown)
            && (!self.links.values().any(here) || self.may_be_friends(node, shown, reader))
    }

    fn may_be_member(&self, node: usize, user: UserId, group: GroupId) -> bool {
        let since = self.chronicle.since(user, self.told(node, user));
        since.iter().any(|ties| ties.is_member(group))
    }

    /// Tells whether an event that is no message may be sent to a user.
    pub(super) fn may_see_event(&self, id: LinkId, user: UserId, event: &Event) -> bool {
        let Some(link) = self.links.get(&id) else {
            return false;
        };
        let node = link.life.node;
        let since = self.chronicle.since(user, self.told(node, user));
        match event {
            Event::Receipt {
                conversation,
                user: who,
                ..
            } if *who == user => self.reads(link, user, *conversation),
            Event::Receipt {
                conversation,
                user: who,
                ..
            } => *conversation == ConversationRef::User(*who) && self.may_notice(node, user, *who),
            Event::Typing {
                conversation,
                user: who,
            } => match conversation {
                ConversationRef::User(other) => other == who && self.may_notice(node, user, *who),
                ConversationRef::Group(group) => {
                    *who != user
                        && self.reads(link, user, *conversation)
                        && self.may_be_member(node, user, *group)
                        && self.ledger.was_member(*group, *who)
                }
            },
            Event::Presence { user: who, .. } => {
                *who != user && self.may_be_friends(node, user, *who)
            }
            Event::Friend {
                user: other, state, ..
            } => since.iter().any(|ties| ties.friend(*other) == *state),
            Event::Group { group, state, .. } => match state {
                GroupState::Invited => since.iter().any(|ties| ties.is_invited(*group)),
                GroupState::Member => link.seen.contains_key(&ConversationRef::Group(*group)),
                GroupState::Removed | GroupState::Disbanded => link.ended.contains_key(group),
                GroupState::None => {
                    link.ended.contains_key(group) || self.chronicle.ever_knocked(user, *group)
                }
                GroupState::Requested { user: who } => {
                    since.iter().any(|ties| ties.manages(*group))
                        && self.chronicle.ever_knocked(*who, *group)
                }
            },
            Event::Message(_) | Event::Notice { .. } => true,
        }
    }

    /// Tells whether a session reads a conversation, or is to.
    fn reads(&self, link: &Link, user: UserId, conversation: ConversationRef) -> bool {
        match conversation {
            // Friendship makes the conversation, and that stays.
            ConversationRef::User(_) => conversation
                .place(user)
                .is_some_and(|place| self.store.has(place)),
            ConversationRef::Group(group) => {
                // One that leaves a group reads on until the entry that says so.
                let ended = link.ended.get(&group);
                self.ledger.was_member(group, user)
                    && ended.is_none_or(|seq| self.ledger.joined_after(group, user, *seq))
            }
        }
    }

    /// A receipt tells no more than was acknowledged.
    pub(super) fn check_receipt(&mut self, user: UserId, event: &Event) {
        let Event::Receipt {
            conversation,
            user: who,
            delivered,
            read,
        } = event
        else {
            return;
        };
        self.check_positions(user, *conversation, *who, (*delivered, *read));
    }

    fn check_positions(
        &mut self,
        reader: UserId,
        conversation: ConversationRef,
        whose: UserId,
        (delivered, read): (Seq, Seq),
    ) {
        let Some(place) = conversation.place(reader) else {
            return;
        };
        let (most_delivered, most_read) = self.ledger.acknowledged_by(whose, place);
        if delivered > most_delivered || read > most_read || read > delivered {
            self.fail(format!(
                "user {reader} is told that user {whose} got {delivered} of {place:?} and read {read}; acknowledged are {most_delivered} and {most_read}"
            ));
        }
    }

    /// What a session is told at its beginning was so, and is no older than what the node knew of
    /// while it had another session of the user.
    pub(super) fn check_session(&mut self, id: LinkId, reply: &SessionReply) {
        let Some(link) = self.links.get(&id) else {
            return;
        };
        let node = link.life.node;
        let user = reply.user;
        let another = self
            .links
            .iter()
            .any(|(other, link)| *other != id && link.has_session(node, user));
        let known = if another { self.told(node, user) } else { 0 };
        let Some(version) = self.chronicle.told_by(reply, known) else {
            self.fail(format!(
                "user {user} is told what was not so since version {known}: {reply:?}"
            ));
            return;
        };
        if let Some(node) = self.nodes.get_mut(node) {
            let told = node.told.entry(user).or_default();
            *told = if another {
                (*told).max(version)
            } else {
                version
            };
        }
        for item in &reply.conversations {
            let own = (item.delivered, item.read);
            self.check_positions(user, item.conversation, user, own);
            if let (ConversationRef::User(other), Some(peer)) = (item.conversation, item.peer) {
                self.check_positions(user, item.conversation, other, peer);
            }
            let length = item.conversation.place(user);
            let length = length.map_or(0, |place| self.ledger.length(place));
            if item.last.0 > length {
                self.fail(format!(
                    "user {user} is told of {item:?}, which ends at {length}"
                ));
            }
        }
    }

    /// Who is online is shown for friends and fellow members.
    pub(super) fn check_shown_online(&mut self, id: LinkId, user: UserId, reply: &Reply) {
        let Some(node) = self.links.get(&id).map(|link| link.life.node) else {
            return;
        };
        let stranger = match reply {
            Reply::User {
                user: shown,
                online: Some(_),
                ..
            } if *shown != user => (!self.may_be_friends(node, user, *shown)).then_some(*shown),
            Reply::Friends(list) => {
                let mut shown = list.items.iter().filter(|item| item.online.is_some());
                shown
                    .find(|item| !self.may_be_friends(node, user, item.user))
                    .map(|item| item.user)
            }
            _ => None,
        };
        if let Some(stranger) = stranger {
            self.fail(format!(
                "user {user} is shown whether user {stranger} is online"
            ));
        }
    }

    /// A message is in the store, and its reader may see it.
    pub(super) fn check_may_see(&mut self, node: usize, user: UserId, message: &Message) {
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
        let shown = match &message.body {
            Body::Text(text) => (!text.recalled).then_some(message.seq),
            Body::Edit { target, text } => text.as_ref().map(|_| *target),
            _ => None,
        };
        let node_knows = |seq| {
            let node = self.nodes.get(node);
            node.is_some_and(|node| node.recalled.contains(&(place, seq)))
        };
        if shown.is_some_and(node_knows) {
            self.fail(format!(
                "user {user} gets {message:?}, which node {node} knows to be recalled"
            ));
        }
    }
}
