//! Entries on their way to sessions: each session gets each log in order, without hole or repeat.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::engine::contract::Effect;
use crate::engine::session::Phase;
use crate::engine::trail::EntryMark;
use crate::engine::{Engine, weight};
use crate::id::{ConnectionId, ConversationRef, GroupId, Place, UserId};
use crate::log::{Body, Entry};
use crate::protocol::Event;
use crate::protocol::event::GroupState;

/// Connections that are told the same.
pub(super) type Targets = SmallVec<[ConnectionId; 2]>;

impl Engine {
    /// Offers a committed entry to every session here that reads its conversation: who is right
    /// before it gets it, who is behind fetches, who is past it has had it.
    pub(super) fn deliver(&mut self, entry: &Arc<Entry>) {
        self.note_recall(entry);
        match entry.place {
            Place::Direct(pair) => {
                for user in [pair.low(), pair.high()] {
                    let connections = self.connections_of(user);
                    self.deliver_to(entry, user, &connections);
                }
            }
            Place::Group(group) => {
                let Some(local) = self.groups.get_mut(group) else {
                    return;
                };
                if let Body::Updated(change) = &entry.body
                    && let Some(name) = &change.name
                {
                    local.name.clone_from(name);
                }
                let mut connections = Vec::with_capacity(local.members.len());
                for user in local.members.iter().filter_map(|it| self.users.get(*it)) {
                    connections.extend_from_slice(&user.connections);
                }
                // Every reader sees a group's entry alike, so whose eyes it is shown to is no matter.
                self.deliver_to(entry, entry.from, &connections);
            }
        }
    }

    /// Offers an entry to some connections whose users see it as `reader` does.
    fn deliver_to(&mut self, entry: &Arc<Entry>, reader: UserId, connections: &[ConnectionId]) {
        let Some(message) = self.message_of(entry, reader) else {
            return;
        };
        let with = message.conversation;
        let event = Event::Message(message);
        let weight = weight::of_event(&event);
        let mut targets = Targets::with_capacity(connections.len());
        for connection in connections {
            match self.offer(*connection, with, entry, Source::Live) {
                Offer::Push => targets.push(*connection),
                Offer::Fetch => {
                    self.repairs.gaps += 1;
                    self.lag(*connection, with);
                }
                Offer::Drop => {}
            }
        }
        self.push_entry(entry, with, targets, event, weight);
    }

    /// Sends an entry, then tells those whose membership it concerns.
    pub(super) fn push_entry(
        &mut self,
        entry: &Entry,
        with: ConversationRef,
        targets: Targets,
        event: Event,
        weight: u32,
    ) {
        if targets.is_empty() {
            return;
        }
        let concerned = if concerns_memberships(&entry.body) {
            targets.clone()
        } else {
            Targets::new()
        };
        for connection in &targets {
            self.charge(*connection, weight);
            let mark = EntryMark::Pushed(*connection);
            self.mark_entry(entry.conversation, entry.seq, mark);
        }
        self.effects.push_back(Effect::Push {
            connections: targets,
            event,
            weight,
        });
        if let ConversationRef::Group(group) = with {
            for connection in concerned {
                self.membership_event(connection, group, entry);
            }
        }
    }

    /// Decides what a session does with an entry, and moves its cursor if that is to be pushed.
    pub(super) fn offer(
        &mut self,
        connection: ConnectionId,
        with: ConversationRef,
        entry: &Entry,
        source: Source,
    ) -> Offer {
        let config = &self.config;
        let Some(slot) = self.connections.get_mut(connection) else {
            return Offer::Drop;
        };
        let credit = slot.has_credit(config);
        let Some(session) = slot.session.as_mut() else {
            return Offer::Drop;
        };
        let Some(cursor) = session.cursors.get_mut(with) else {
            return Offer::Drop;
        };
        if entry.seq <= cursor.at {
            return Offer::Drop;
        }
        cursor.head = cursor.head.max(entry.seq);
        if !credit {
            slot.starved = true;
            return Offer::Drop;
        }
        // One that arrives after those behind it may hold a text that was recalled since.
        let late = source == Source::Live && entry.seq < cursor.head;
        if late || entry.seq != cursor.at.next() {
            return Offer::Fetch;
        }
        cursor.at = entry.seq;
        // What a session missed while it was away was not late.
        if entry.at >= session.as_of {
            self.tally.arrivals.add(self.now.since(entry.at));
        }
        Offer::Push
    }

    /// Tells a session that was just sent an entry what the entry means for its user's membership.
    fn membership_event(&mut self, connection: ConnectionId, group: GroupId, entry: &Entry) {
        let Some(user) = self.session_user(connection) else {
            return;
        };
        let state = match entry.body {
            Body::Joined { user: who } if who == user => GroupState::Member,
            Body::Left { user: who } if who == user => GroupState::None,
            Body::Removed { user: who } if who == user => GroupState::Removed,
            Body::Disbanded => GroupState::Disbanded,
            _ => return,
        };
        let with = ConversationRef::Group(group);
        let slot = self.connections.get_mut(connection);
        let Some(session) = slot.and_then(|slot| slot.session.as_mut()) else {
            return;
        };
        if state == GroupState::Member {
            let Some(cursor) = session.cursors.get_mut(with) else {
                return;
            };
            // One that is known to leave again keeps going to the entry that says so.
            if cursor.phase != Phase::Joining {
                return;
            }
            cursor.phase = Phase::Settled;
        } else {
            session.cursors.remove(with);
            self.fetches.forget(group.conversation(), connection);
            self.remember_end(user, group, entry.seq);
        }
        if let Some(name) = self.group_name(user, group) {
            self.push_one(connection, Event::Group { group, name, state });
        }
        if state != GroupState::Member {
            self.invited_again(connection, user, group);
        }
    }

    /// A session may come to the end of a membership after it was told that its user is invited
    /// again.
    fn invited_again(&mut self, connection: ConnectionId, user: UserId, group: GroupId) {
        let invites = self.users.get(user).map_or(&[][..], |local| &local.invites);
        let invite = invites.iter().find(|(invited, _)| *invited == group);
        if let Some((group, name)) = invite.cloned() {
            let state = GroupState::Invited;
            self.push_one(connection, Event::Group { group, name, state });
        }
    }

    fn group_name(&self, user: UserId, group: GroupId) -> Option<crate::name::Name> {
        self.groups
            .get(group)
            .map(|local| local.name.clone())
            .or_else(|| self.users.get(user)?.parted_name(group))
    }
}

/// Where an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It was just committed, here or on another node.
    Live,
    /// It was read from the store.
    Store,
}

/// What a session does with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    /// Nothing: it had it, does not read the conversation, or has no credit for it.
    Drop,
    /// It is sent.
    Push,
    /// Entries before it are missing.
    Fetch,
}

const fn concerns_memberships(body: &Body) -> bool {
    matches!(
        body,
        Body::Joined { .. } | Body::Left { .. } | Body::Removed { .. } | Body::Disbanded
    )
}
