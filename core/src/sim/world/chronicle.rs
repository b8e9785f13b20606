//! What each user was to others and to groups at each version: what may be shown to whom depends on
//! which version a node has been told of.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{ConversationRef, GroupId, UserId};
use crate::log::{FriendState, Role};
use crate::protocol::reply::SessionReply;
use crate::store::Roster;

/// Every version of every user's ties.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    versions: BTreeMap<UserId, Vec<Ties>>,
}

/// A user's ties at one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ties {
    pub(super) version: u64,
    friends: BTreeMap<UserId, FriendState>,
    groups: BTreeMap<GroupId, Role>,
    invites: BTreeSet<GroupId>,
    waiting: BTreeSet<GroupId>,
}

impl Chronicle {
    /// Notes the present ties of a user whose version rose; `None` for one who is gone.
    pub(super) fn note(&mut self, user: UserId, version: u64, roster: Option<&Roster>) {
        let ties = roster.map_or_else(
            || Ties {
                version,
                ..Ties::default()
            },
            Ties::of,
        );
        self.versions.entry(user).or_default().push(ties);
    }

    /// Returns the ties that stood at a version, and all later ones: what a node may go by that has
    /// been told of that version.
    pub(super) fn since(&self, user: UserId, version: u64) -> &[Ties] {
        let all = self.versions.get(&user).map_or(&[][..], Vec::as_slice);
        let first = all.partition_point(|ties| ties.version <= version);
        all.get(first.saturating_sub(1)..).unwrap_or_default()
    }

    /// Returns the version of the first ties since `version` that a session's reply tells truly.
    pub(super) fn told_by(&self, reply: &SessionReply, version: u64) -> Option<u64> {
        let mut since = self.since(reply.user, version).iter();
        since
            .find(|ties| ties.are_told_by(reply))
            .map(|ties| ties.version)
    }

    /// Returns a user's present ties.
    pub(super) fn present(&self, user: UserId) -> Option<&Ties> {
        self.versions.get(&user)?.last()
    }

    /// Tells whether a user ever was invited to a group, or waited to be let in.
    pub(super) fn ever_knocked(&self, user: UserId, group: GroupId) -> bool {
        self.since(user, 0)
            .iter()
            .any(|ties| ties.invites.contains(&group) || ties.waiting.contains(&group))
    }
}

impl Ties {
    fn of(roster: &Roster) -> Self {
        Self {
            version: roster.version,
            friends: roster
                .friends
                .iter()
                .map(|item| (item.user, item.state))
                .collect(),
            groups: roster
                .groups
                .iter()
                .map(|item| (item.group, item.role))
                .collect(),
            invites: roster.invites.iter().map(|item| item.group).collect(),
            waiting: roster.waiting.iter().map(|(group, _)| *group).collect(),
        }
    }

    pub(super) fn friend(&self, other: UserId) -> FriendState {
        let state = self.friends.get(&other).copied();
        state.unwrap_or(FriendState::None)
    }

    pub(super) fn is_friend(&self, other: UserId) -> bool {
        self.friend(other) == FriendState::Friends
    }

    pub(super) fn is_member(&self, group: GroupId) -> bool {
        self.groups.contains_key(&group)
    }

    pub(super) fn waits(&self, group: GroupId) -> bool {
        self.waiting.contains(&group)
    }

    /// The groups that the user manages.
    pub(super) fn managed(&self) -> impl Iterator<Item = GroupId> {
        let groups = self.groups.iter();
        groups
            .filter(|(_, role)| role.manages())
            .map(|(group, _)| *group)
    }

    pub(super) fn is_invited(&self, group: GroupId) -> bool {
        self.invites.contains(&group)
    }

    pub(super) fn manages(&self, group: GroupId) -> bool {
        self.groups.get(&group).copied().is_some_and(Role::manages)
    }

    /// Tells whether what a session's reply says of friends and groups is this.
    fn are_told_by(&self, reply: &SessionReply) -> bool {
        let in_state = |state| {
            let all = self.friends.iter();
            all.filter(move |(_, is)| **is == state)
                .map(|(user, _)| *user)
        };
        let groups_talked_in = reply.conversations.iter().filter_map(|item| {
            let ConversationRef::Group(group) = item.conversation else {
                return None;
            };
            Some(group)
        });
        in_state(FriendState::Friends).eq(reply.friends.iter().map(|item| item.user))
            && in_state(FriendState::RequestedBy).eq(reply.requests.iter().map(|item| item.user))
            && self
                .groups
                .iter()
                .map(|(group, role)| (*group, *role))
                .eq(reply.groups.iter().map(|item| (item.group, item.role)))
            && self.groups.keys().copied().eq(groups_talked_in)
            && self
                .invites
                .iter()
                .copied()
                .eq(reply.invites.iter().map(|item| item.group))
    }
}
