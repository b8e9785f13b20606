//! A roster was read again: what differs is told to the user's sessions and acted upon.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::Engine;
use crate::engine::contract::Effect;
use crate::engine::session::Phase;
use crate::engine::sessions::cursor_at;
use crate::engine::user::{LocalFriend, LocalUser};
use crate::id::{ConnectionId, ConversationRef, GroupId, Seq, UserId};
use crate::log::FriendState;
use crate::name::Name;
use crate::protocol::Event;
use crate::protocol::event::GroupState;
use crate::relay::Channel;
use crate::store::{ConversationState, Roster};

impl Engine {
    /// Notes that a user's version is at least this; if that is news, the roster is read again.
    pub(super) fn note_version(&mut self, user: UserId, version: u64) {
        if self
            .users
            .get(user)
            .is_some_and(|local| local.version < version)
        {
            self.refresh.rosters.insert(user);
        }
    }

    /// Makes a newer roster the known one. An older or equal one says nothing new.
    pub(super) fn merge_roster(&mut self, roster: &Roster) {
        let user = roster.user;
        let Some(local) = self.users.get_mut(user) else {
            return;
        };
        if local.version >= roster.version {
            return;
        }
        self.repairs.rosters += 1;
        local.version = roster.version;
        local.name.clone_from(&roster.name);
        let friends = std::mem::replace(&mut local.friends, LocalUser::friends_of(roster));
        let groups = roster
            .groups
            .iter()
            .map(|item| (item.group, item.role))
            .collect();
        let groups = std::mem::replace(&mut local.groups, groups);
        let invites: Vec<(GroupId, Name)> = roster
            .invites
            .iter()
            .map(|item| (item.group, item.name.clone()))
            .collect();
        let invites_before = std::mem::replace(&mut local.invites, invites);
        let waiting_before = std::mem::replace(&mut local.waiting, roster.waiting.clone());
        local.ended.retain(|ended| {
            roster
                .conversations
                .iter()
                .any(|state| outlived(std::slice::from_ref(ended), state))
        });

        self.watch_friends(user, &friends, &LocalUser::friends_of(roster));
        self.end_missing_sessions(user, &roster.sessions);
        self.tell_friends(user, &friends, roster);
        self.tell_invitations(user, &invites_before, &waiting_before, roster);
        for connection in self.connections_of(user) {
            self.merge_conversations(connection, roster);
        }
        let was_member: BTreeSet<GroupId> = groups.iter().map(|(group, _)| *group).collect();
        let is_member: BTreeSet<GroupId> = roster.groups.iter().map(|item| item.group).collect();
        self.keep_parted_names(user, was_member.difference(&is_member));
        for group in was_member.difference(&is_member) {
            self.leave_group(user, *group);
        }
        if is_member.difference(&was_member).next().is_some() {
            self.listen(user, roster, false);
        }
    }

    /// Forgets that a user is a member of a group, for pushing: sessions that have not come to the
    /// entry that says so fetch up to it.
    pub(super) fn leave_group(&mut self, user: UserId, group: GroupId) {
        let Some(local) = self.groups.get_mut(group) else {
            return;
        };
        local.remove(user);
        if local.members.is_empty() {
            self.groups.remove(group);
            self.effects.push_back(Effect::Unsubscribe {
                channels: vec![Channel::Group(group)],
            });
        }
    }

    /// Keeps the names of groups that the user left for the sessions that have not come to the end.
    fn keep_parted_names<'a>(&mut self, user: UserId, left: impl Iterator<Item = &'a GroupId>) {
        let mut leaving: BTreeSet<GroupId> = BTreeSet::new();
        for connection in self.connections_of(user) {
            let slot = self.connections.get(connection);
            let Some(session) = slot.and_then(|slot| slot.session.as_ref()) else {
                continue;
            };
            leaving.extend(
                session
                    .cursors
                    .iter()
                    .filter_map(|cursor| match cursor.with {
                        ConversationRef::Group(group) if cursor.phase == Phase::Leaving => {
                            Some(group)
                        }
                        _ => None,
                    }),
            );
        }
        let names: Vec<(GroupId, Name)> = left
            .filter_map(|group| Some((*group, self.groups.get(*group)?.name.clone())))
            .collect();
        let Some(local) = self.users.get_mut(user) else {
            return;
        };
        local.parted.extend(names);
        local.parted.retain(|(group, _)| leaving.contains(group));
    }

    fn tell_friends(&mut self, user: UserId, before: &[LocalFriend], roster: &Roster) {
        let mut changed: BTreeMap<UserId, (Name, FriendState)> = BTreeMap::new();
        for friend in before {
            changed.insert(friend.user, (friend.name.clone(), FriendState::None));
        }
        for item in &roster.friends {
            changed.insert(item.user, (item.name.clone(), item.state));
        }
        for friend in before {
            if changed
                .get(&friend.user)
                .is_some_and(|(_, state)| *state == friend.state)
            {
                changed.remove(&friend.user);
            }
        }
        let connections = self.connections_of(user);
        for (other, (name, state)) in changed {
            let online = state == FriendState::Friends && self.is_online(other);
            for connection in &connections {
                let name = name.clone();
                self.push_one(
                    *connection,
                    Event::Friend {
                        user: other,
                        name,
                        state,
                    },
                );
                if online {
                    self.push_one(
                        *connection,
                        Event::Presence {
                            user: other,
                            online,
                        },
                    );
                }
            }
        }
    }

    fn tell_invitations(
        &mut self,
        user: UserId,
        invites_before: &[(GroupId, Name)],
        waiting_before: &[(GroupId, Name)],
        roster: &Roster,
    ) {
        let mut changed: BTreeMap<GroupId, (Name, GroupState)> = BTreeMap::new();
        let is_member = |group| roster.groups.iter().any(|item| item.group == group);
        let waits = |group| roster.waiting.iter().any(|(waiting, _)| *waiting == group);
        let invited = |group| roster.invites.iter().any(|item| item.group == group);
        for (group, name) in invites_before.iter().chain(waiting_before) {
            if !is_member(*group) && !waits(*group) && !invited(*group) {
                changed.insert(*group, (name.clone(), GroupState::None));
            }
        }
        for item in &roster.invites {
            if invites_before.iter().all(|(group, _)| *group != item.group) {
                changed.insert(item.group, (item.name.clone(), GroupState::Invited));
            }
        }
        let connections = self.connections_of(user);
        for (group, (name, state)) in changed {
            for connection in &connections {
                self.push_one(
                    *connection,
                    Event::Group {
                        group,
                        name: name.clone(),
                        state,
                    },
                );
            }
        }
    }

    /// Gives a session cursors in conversations that are new to it, and sends it after the end of
    /// those that it is to leave.
    fn merge_conversations(&mut self, connection: ConnectionId, roster: &Roster) {
        let ended = self
            .users
            .get(roster.user)
            .map_or_else(Vec::new, |local| local.ended.clone());
        let Some(slot) = self.connections.get_mut(connection) else {
            return;
        };
        let Some(session) = slot.session.as_mut() else {
            return;
        };
        let mut unwatched = Vec::new();
        for state in &roster.conversations {
            if outlived(&ended, state) {
                continue;
            }
            let floor = state.joined.previous();
            match session.cursors.get_mut(state.conversation) {
                None => {
                    let cursor = cursor_at(state, floor, Phase::Joining);
                    session.cursors.insert(cursor);
                    if let ConversationRef::User(_) = state.conversation {
                        unwatched.push(state.id);
                    }
                }
                Some(cursor) => {
                    cursor.head = cursor.head.max(state.last);
                    if cursor.at < floor {
                        cursor.at = floor;
                        cursor.phase = Phase::Joining;
                    } else if cursor.phase == Phase::Leaving {
                        cursor.phase = Phase::Settled;
                    }
                }
            }
        }
        let present: BTreeSet<ConversationRef> = roster
            .conversations
            .iter()
            .map(|state| state.conversation)
            .collect();
        for cursor in session.cursors.iter_mut() {
            if !present.contains(&cursor.with) {
                // The entry that ended the membership is above the cursor, else there were none.
                cursor.phase = Phase::Leaving;
                cursor.head = cursor.head.max(cursor.at.next());
            }
        }
        // What was committed since the roster was read found no cursor. A group's heads are read
        // again when its channel is confirmed; a direct conversation has no channel of its own.
        self.refresh.heads.extend(unwatched);
        self.catch_up(connection);
    }

    /// Remembers that a session saw a membership end.
    pub(super) fn remember_end(&mut self, user: UserId, group: GroupId, seq: Seq) {
        let Some(local) = self.users.get_mut(user) else {
            return;
        };
        match local
            .ended
            .binary_search_by_key(&group, |(group, _)| *group)
        {
            Ok(index) => {
                if let Some(ended) = local.ended.get_mut(index) {
                    ended.1 = ended.1.max(seq);
                }
            }
            Err(index) => local.ended.insert(index, (group, seq)),
        }
    }
}

/// Tells whether a roster still has a membership whose end was pushed already.
fn outlived(ended: &[(GroupId, Seq)], state: &ConversationState) -> bool {
    let ConversationRef::Group(group) = state.conversation else {
        return false;
    };
    ended
        .binary_search_by_key(&group, |(group, _)| *group)
        .ok()
        .and_then(|index| ended.get(index))
        .is_some_and(|(_, seq)| state.joined <= *seq)
}
