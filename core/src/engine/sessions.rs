//! Sessions begin and end on this node; users come and go with them.

use std::collections::BTreeMap;

use crate::engine::Engine;
use crate::engine::contract::Effect;
use crate::engine::delivery::Targets;
use crate::engine::session::{Cursor, Cursors, Phase, Session};
use crate::engine::timers::Alarm;
use crate::engine::token::Token;
use crate::engine::user::{LocalGroup, LocalUser};
use crate::id::{ConnectionId, ConversationRef, Seq, SessionId, SubscriptionToken, UserId};
use crate::log::FriendState;
use crate::protocol::reply::{ConversationItem, OnlineFriend, SessionReply, UserItem};
use crate::protocol::request::Start;
use crate::protocol::{NoticeCode, Reply};
use crate::relay::{Channel, RelayMessage};
use crate::store::{ConversationState, Roster, Standing};
use crate::time::{Timestamp, millis};

/// What the client is told whose session another connection has.
pub(super) const REPLACED: &str = "the session went on with another connection";

impl Engine {
    /// Begins a session on a connection and returns what the client is answered.
    ///
    /// The roster is not older than what is known of the user; it may be a little old: entries and
    /// versions that were committed since it was read are found when the heads are read again, once
    /// the channels are confirmed.
    pub(super) fn attach(
        &mut self,
        connection: ConnectionId,
        standing: &Standing,
        asked: Timestamp,
        start: &Start,
    ) -> Reply {
        let Standing {
            session: id,
            ref roster,
            as_of,
            ..
        } = *standing;
        let user = roster.user;
        let known = self.users.contains(user);
        if known {
            self.merge_roster(roster);
            self.replace_session(user, id, |_| true);
        } else {
            let local = LocalUser::new(roster);
            self.watch_friends(user, &[], &local.friends);
            self.users.insert(user, Box::new(local));
            if !self.arrived(user) {
                let watchers = self.watchers_here(user);
                self.tell_presence(&watchers, user, true);
            }
        }
        let conversations: Vec<ConversationState> = roster
            .conversations
            .iter()
            .map(|state| self.with_marks(user, *state))
            .collect();
        let cursors = Cursors::new(first_cursors(&conversations, start));
        if let Some(slot) = self.connections.get_mut(connection) {
            slot.session = Some(Box::new(Session {
                user,
                id,
                asked,
                as_of,
                cursors,
            }));
        }
        if let Some(local) = self.users.get_mut(user) {
            local.connections.push(connection);
            local.gone_since = None;
        }
        self.listen(user, roster, !known);
        self.publish(
            Channel::User(user),
            RelayMessage::Resumed {
                user,
                session: id,
                // The database was read at some moment since the client asked.
                at: as_of - self.now.since(asked),
            },
        );
        self.session_reply(standing, &conversations)
    }

    /// Ends the session on a connection, if it has one; the row in the store stays.
    pub(super) fn leave_session(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = self.connections.get_mut(id) else {
            return;
        };
        let Some(session) = connection.session.take() else {
            return;
        };
        connection.anonymous_since = now;
        connection.starved = false;
        let user = session.user;
        self.mark_left(id, user, session.id);
        for cursor in session.cursors.iter() {
            self.fetches.forget(cursor.id, id);
        }
        let Some(local) = self.users.get_mut(user) else {
            return;
        };
        local.connections.retain(|other| *other != id);
        if local.connections.is_empty() {
            local.gone_since = Some(now);
            self.timers
                .set(now + self.config.offline_after, Alarm::Offline(user));
        }
        // Another node may read these cursors next.
        self.flush_marks();
    }

    /// Forgets a user who has had no session for a while.
    pub(super) fn check_offline(&mut self, user: UserId) {
        let Some(since) = self.users.get(user).and_then(|local| local.gone_since) else {
            return;
        };
        if since + self.config.offline_after > self.now {
            return;
        }
        let watchers = self.watchers_here(user);
        let friends = self.friends_to_tell(user);
        let Some(local) = self.users.remove(user) else {
            return;
        };
        self.watch_friends(user, &local.friends, &[]);
        if self.departed(user, since) {
            self.tell_presence(&watchers, user, false);
        }
        if let Some(token) = local.subscription {
            self.subscriptions.remove(&token);
        }
        let mut channels = vec![Channel::User(user)];
        for (group, _) in local.groups {
            let Some(members) = self.groups.get_mut(group) else {
                continue;
            };
            members.remove(user);
            if members.members.is_empty() {
                self.groups.remove(group);
                channels.push(Channel::Group(group));
            }
        }
        self.effects.push_back(Effect::Unsubscribe { channels });
        self.have_asked_about(user, &friends);
        if self.users.is_empty() {
            self.recalls.clear();
        }
    }

    /// Ends every session of a user on this node.
    pub(super) fn end_sessions(&mut self, user: UserId, code: NoticeCode, message: &'static str) {
        for connection in self.connections_of(user) {
            self.close(connection, code, message, None);
        }
    }

    /// Ends the sessions of a user that the store does not have any more.
    pub(super) fn end_missing_sessions(&mut self, user: UserId, standing: &[SessionId]) {
        for connection in self.connections_of(user) {
            let session = self
                .connections
                .get(connection)
                .and_then(|c| c.session.as_ref());
            let stands = session.is_some_and(|session| standing.binary_search(&session.id).is_ok());
            if !stands {
                self.close_replaced(connection);
            }
        }
    }

    /// Closes a connection whose session the store does not have any more.
    pub(super) fn close_replaced(&mut self, connection: ConnectionId) {
        let message = "the session was ended";
        self.close(connection, NoticeCode::Replaced, message, None);
    }

    /// Another node tells that a connection there has a session, for which its client asked no
    /// earlier than at a moment by the database's clock: an older one here has it no more. The
    /// relay may be late and hand back this node's own message, so a connection stays unless it
    /// certainly asked before.
    pub(super) fn resumed_elsewhere(&mut self, user: UserId, id: SessionId, at: Timestamp) {
        self.replace_session(user, id, |session| session.as_of < at);
    }

    /// Tells whether a session was resumed here at a client's later wish.
    pub(super) fn resumed_since(&self, user: UserId, id: SessionId, asked: Timestamp) -> bool {
        self.connections_of(user).into_iter().any(|connection| {
            let slot = self.connections.get(connection);
            let session = slot.and_then(|slot| slot.session.as_ref());
            session.is_some_and(|session| session.id == id && session.asked > asked)
        })
    }

    /// Closes the connection that has had a session until another connection resumed it.
    pub(super) fn replace_session(
        &mut self,
        user: UserId,
        id: SessionId,
        is_older: impl Fn(&Session) -> bool,
    ) {
        for connection in self.connections_of(user) {
            let session = self
                .connections
                .get(connection)
                .and_then(|c| c.session.as_ref());
            if session.is_some_and(|session| session.id == id && is_older(session)) {
                self.close(connection, NoticeCode::Replaced, REPLACED, None);
            }
        }
    }

    /// A subscription is confirmed: what was committed before it is looked for once more.
    pub(super) fn subscribed(&mut self, token: SubscriptionToken) {
        if let Some(user) = self.subscriptions.remove(&token) {
            if let Some(local) = self.users.get_mut(user) {
                local.subscription = None;
                if std::mem::take(&mut local.unannounced) {
                    let friends = self.friends_to_tell(user);
                    self.have_asked_about(user, &friends);
                }
            }
            self.check_heads(user);
        }
    }

    pub(super) fn session_user(&self, connection: ConnectionId) -> Option<UserId> {
        Some(self.connections.get(connection)?.session.as_ref()?.user)
    }

    pub(super) fn connections_of(&self, user: UserId) -> Targets {
        self.users.get(user).map_or_else(Targets::new, |local| {
            local.connections.iter().copied().collect()
        })
    }

    /// Tells whether a user who is here has another one for a friend.
    pub(super) fn is_friend(&self, user: UserId, other: UserId) -> bool {
        self.users
            .get(user)
            .is_some_and(|local| local.friend(other) == FriendState::Friends)
    }

    /// Tells whether a user who is here may be shown what another one does: they are friends, as
    /// far as this node knows of either side.
    pub(super) fn may_notice(&self, user: UserId, other: UserId) -> bool {
        let here = self.users.contains(other);
        self.is_friend(user, other) && (!here || self.is_friend(other, user))
    }

    /// Tells whether more is known of a user than a roster says.
    pub(super) fn knows_newer(&self, roster: &Roster) -> bool {
        self.users
            .get(roster.user)
            .is_some_and(|local| local.version > roster.version)
    }

    /// Tells whether a user is online on any node, as far as is known.
    pub(super) fn is_online(&self, user: UserId) -> bool {
        self.users.contains(user) || self.presence.is_online(user)
    }

    /// Subscribes to what a session's user needs, `came` telling whether nothing was subscribed for
    /// the user; heads are read again once that is confirmed, which confirms what the user
    /// subscribed to before as well.
    pub(super) fn listen(&mut self, user: UserId, roster: &Roster, came: bool) {
        let mut channels = Vec::new();
        if came {
            channels.push(Channel::User(user));
        }
        for item in &roster.groups {
            if self
                .users
                .get(user)
                .is_none_or(|local| local.role(item.group).is_none())
            {
                continue;
            }
            let first = !self.groups.contains(item.group);
            let group = self.groups.get_or_insert_with(item.group, || LocalGroup {
                name: item.name.clone(),
                members: Vec::new(),
            });
            group.add(user);
            group.name.clone_from(&item.name);
            if first {
                channels.push(Channel::Group(item.group));
            }
        }
        // An earlier subscription of the same channels may be unconfirmed still, so even without a
        // channel of its own this one asks to be told when all before it are.
        let token = self.subscribe(channels);
        self.subscriptions.insert(token, user);
        if let Some(local) = self.users.get_mut(user)
            && let Some(before) = local.subscription.replace(token)
        {
            self.subscriptions.remove(&before);
        }
    }

    pub(super) fn subscribe(&mut self, channels: Vec<Channel>) -> SubscriptionToken {
        self.last_subscription += 1;
        let token = SubscriptionToken(self.last_subscription);
        self.effects
            .push_back(Effect::Subscribe { token, channels });
        token
    }

    /// Returns those here who are shown whether a user who is here is online: whose own roster has
    /// the user for a friend. Who learns of the friendship later is shown it then.
    fn watchers_here(&self, user: UserId) -> Vec<UserId> {
        let Some(local) = self.users.get(user) else {
            return Vec::new();
        };
        let mut watchers: Vec<UserId> = if self.config.clustered {
            self.presence.watchers(user).to_vec()
        } else {
            let others = local.friends.iter().map(|friend| friend.user);
            others
                .filter(|other| self.is_friend(*other, user))
                .collect()
        };
        watchers.retain(|watcher| local.friend(*watcher) != FriendState::Blocked);
        watchers
    }

    /// Returns the friends of a user here whose nodes are told when the user comes or goes.
    fn friends_to_tell(&self, user: UserId) -> Vec<UserId> {
        let friends = self.users.get(user).map_or(&[][..], |local| &local.friends);
        friends
            .iter()
            .filter(|friend| match friend.state {
                FriendState::Friends => true,
                FriendState::Blocked => false,
                // The other side may have accepted since this side's roster was read.
                _ => self.is_friend(friend.user, user),
            })
            .map(|friend| friend.user)
            .collect()
    }

    /// Has the nodes of a user's friends ask about the user.
    fn have_asked_about(&mut self, user: UserId, friends: &[UserId]) {
        for friend in friends {
            self.publish(Channel::User(*friend), RelayMessage::AskAbout { user });
        }
    }

    fn session_reply(&self, standing: &Standing, conversations: &[ConversationState]) -> Reply {
        let (session, roster) = (standing.session, &standing.roster);
        let user = roster.user;
        let with_state = |state| {
            roster
                .friends
                .iter()
                .filter(move |item| item.state == state)
        };
        Reply::Session(Box::new(SessionReply {
            user,
            name: roster.name.clone(),
            session,
            token: Token {
                session,
                user,
                expires: standing.expires,
            }
            .sign(&self.config.secret),
            idle_ms: millis(self.config.idle),
            friends: with_state(FriendState::Friends)
                .map(|item| OnlineFriend {
                    user: item.user,
                    name: item.name.clone(),
                    online: self.is_online(item.user),
                })
                .collect(),
            requests: with_state(FriendState::RequestedBy)
                .map(|item| UserItem {
                    user: item.user,
                    name: item.name.clone(),
                })
                .collect(),
            groups: roster.groups.clone(),
            invites: roster.invites.clone(),
            conversations: conversations
                .iter()
                .map(|state| ConversationItem {
                    conversation: state.conversation,
                    last: state.last,
                    delivered: state.delivered,
                    read: state.read,
                    peer: state.peer,
                })
                .collect(),
        }))
    }
}

/// Returns the cursors of a new session: at what the client has, else at what was delivered, else,
/// without replay, at the end; never before what the user may see.
fn first_cursors(conversations: &[ConversationState], start: &Start) -> Vec<Cursor> {
    let have: BTreeMap<ConversationRef, Seq> = start.have.iter().copied().collect();
    conversations
        .iter()
        .map(|state| {
            let wanted = match have.get(&state.conversation) {
                Some(seq) => *seq,
                None if start.replay => state.delivered,
                None => state.last,
            };
            let at = wanted.min(state.last).max(state.joined.previous());
            cursor_at(state, at, Phase::Settled)
        })
        .collect()
}

pub(super) const fn cursor_at(state: &ConversationState, at: Seq, phase: Phase) -> Cursor {
    Cursor {
        with: state.conversation,
        id: state.id,
        at,
        head: state.last,
        delivered: state.delivered,
        read: state.read,
        phase,
    }
}
