//! A user with a session on this node, and the groups with such members.

use smallvec::SmallVec;

use crate::engine::rate::Bucket;
use crate::id::{ConnectionId, GroupId, Seq, SubscriptionToken, UserId};
use crate::log::{FriendState, Role};
use crate::name::Name;
use crate::store::Roster;
use crate::time::Timestamp;

/// What the engine knows of a user who is online here, or was a moment ago.
#[derive(Debug)]
pub(super) struct LocalUser {
    pub(super) name: Name,
    /// The version of the roster that the rest is of.
    pub(super) version: u64,
    /// The connections with a session of this user.
    pub(super) connections: SmallVec<[ConnectionId; 1]>,
    /// What others are to the user, ascending.
    pub(super) friends: Vec<LocalFriend>,
    /// The user's groups and roles, ascending.
    pub(super) groups: Vec<(GroupId, Role)>,
    /// The groups that the user is invited to, ascending.
    pub(super) invites: Vec<(GroupId, Name)>,
    /// The groups that the user waits to be let into, ascending.
    pub(super) waiting: Vec<(GroupId, Name)>,
    /// Memberships that ended while a session lasted, and the entries that ended them: a roster
    /// read before that is not believed.
    pub(super) ended: Vec<(GroupId, Seq)>,
    /// The names of groups whose end not every session has come to.
    pub(super) parted: Vec<(GroupId, Name)>,
    /// The user's last subscription, while it is not confirmed.
    pub(super) subscription: Option<SubscriptionToken>,
    /// Whether other nodes are still to be told that the user came.
    pub(super) unannounced: bool,
    /// Since when there has been no session; absent while there is one.
    pub(super) gone_since: Option<Timestamp>,
    /// Limits what the user sends.
    pub(super) sends: Bucket,
}

/// What another user is to a local one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalFriend {
    pub(super) user: UserId,
    pub(super) name: Name,
    pub(super) state: FriendState,
}

/// A group with a member who is online here.
#[derive(Debug)]
pub(super) struct LocalGroup {
    pub(super) name: Name,
    /// Those members, ascending.
    pub(super) members: Vec<UserId>,
}

impl LocalUser {
    pub(super) fn new(roster: &Roster) -> Self {
        Self {
            name: roster.name.clone(),
            version: roster.version,
            connections: SmallVec::new(),
            friends: Self::friends_of(roster),
            groups: roster
                .groups
                .iter()
                .map(|item| (item.group, item.role))
                .collect(),
            invites: roster
                .invites
                .iter()
                .map(|item| (item.group, item.name.clone()))
                .collect(),
            waiting: roster.waiting.clone(),
            ended: Vec::new(),
            parted: Vec::new(),
            subscription: None,
            unannounced: true,
            gone_since: None,
            sends: Bucket::default(),
        }
    }

    pub(super) fn friends_of(roster: &Roster) -> Vec<LocalFriend> {
        roster
            .friends
            .iter()
            .map(|item| LocalFriend {
                user: item.user,
                name: item.name.clone(),
                state: item.state,
            })
            .collect()
    }

    pub(super) fn friend(&self, user: UserId) -> FriendState {
        self.friends
            .binary_search_by_key(&user, |friend| friend.user)
            .ok()
            .and_then(|index| self.friends.get(index))
            .map_or(FriendState::None, |friend| friend.state)
    }

    pub(super) fn parted_name(&self, group: GroupId) -> Option<Name> {
        self.parted
            .iter()
            .find(|(parted, _)| *parted == group)
            .map(|(_, name)| name.clone())
    }

    pub(super) fn role(&self, group: GroupId) -> Option<Role> {
        let index = self
            .groups
            .binary_search_by_key(&group, |(group, _)| *group)
            .ok()?;
        self.groups.get(index).map(|(_, role)| *role)
    }
}

impl LocalGroup {
    pub(super) fn add(&mut self, user: UserId) {
        if let Err(index) = self.members.binary_search(&user) {
            self.members.insert(index, user);
        }
    }

    pub(super) fn remove(&mut self, user: UserId) {
        if let Ok(index) = self.members.binary_search(&user) {
            self.members.remove(index);
        }
    }
}
