//! What was promised to whom, and whether it is kept: looked at with every step.

use std::collections::{BTreeMap, BTreeSet};

use super::World;
use super::queue::LinkId;
use crate::id::{ConversationRef, GroupId, Place, RequestId, Seq, UserId};
use crate::log::{Body, Entry, Role};
use crate::name::Key;
use crate::protocol::reply::SessionReply;
use crate::protocol::request::Start;
use crate::protocol::{Event, Reply, Request, RequestError};
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
    /// Who may not write in a group.
    muted: BTreeSet<(GroupId, UserId)>,
    /// How far each user has acknowledged each log as arrived and as read.
    acknowledged: BTreeMap<(Place, UserId), (Seq, Seq)>,
    /// How many accounts were made.
    accounts: usize,
    /// Where somebody has spoken once all works again.
    pub(super) spoken: BTreeSet<Place>,
    /// Whether all are to read that.
    pub(super) reading: bool,
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
    pub(super) fn may_see(&self, group: GroupId, user: UserId, seq: Seq) -> bool {
        let changes = self.memberships.get(&(group, user));
        let last = changes.and_then(|changes| changes.iter().rev().find(|(at, _)| *at <= seq));
        last.is_some_and(|(at, member)| *member || *at == seq)
    }

    /// Tells whether a user ever was a member of a group.
    pub(super) fn was_member(&self, group: GroupId, user: UserId) -> bool {
        self.memberships.contains_key(&(group, user))
    }

    /// Tells whether a user became a member of a group again after an entry.
    pub(super) fn joined_after(&self, group: GroupId, user: UserId, seq: Seq) -> bool {
        let changes = self.memberships.get(&(group, user));
        changes.is_some_and(|changes| changes.iter().any(|(at, member)| *member && *at > seq))
    }

    /// Tells whether a user is a member of a group.
    fn is_member(&self, group: GroupId, user: UserId) -> bool {
        let changes = self.memberships.get(&(group, user));
        changes.is_some_and(|changes| changes.last().is_some_and(|(_, member)| *member))
    }

    /// A user acknowledges; what lies above a log's end counts once it is there.
    pub(super) fn acknowledged(
        &mut self,
        user: UserId,
        conversation: ConversationRef,
        delivered: Option<Seq>,
        read: Option<Seq>,
    ) {
        let Some(place) = conversation.place(user) else {
            return;
        };
        let read = read.unwrap_or_default();
        let delivered = delivered.unwrap_or_default().max(read);
        let most = self.acknowledged.entry((place, user)).or_default();
        *most = (most.0.max(delivered), most.1.max(read));
    }

    /// Returns the most that a user can have got and read of a conversation: what was acknowledged,
    /// or what came before the user joined.
    pub(super) fn acknowledged_by(&self, user: UserId, place: Place) -> (Seq, Seq) {
        let most = self.acknowledged.get(&(place, user)).copied();
        let (delivered, read) = most.unwrap_or_default();
        let joined = match place {
            Place::Group(group) => self.memberships.get(&(group, user)).and_then(|changes| {
                let mut latest = changes.iter().rev();
                latest.find(|(_, member)| *member).map(|(seq, _)| *seq)
            }),
            Place::Direct(_) => None,
        };
        let before = joined.map_or(Seq(0), Seq::previous);
        (delivered.max(before), read.max(before))
    }

    /// How many accounts were made.
    pub(super) const fn accounts(&self) -> usize {
        self.accounts
    }

    /// How many logs have begun.
    pub(super) fn logs(&self) -> usize {
        self.lengths.len()
    }

    fn note_membership(&mut self, group: GroupId, body: &Body, seq: Seq) {
        match body {
            Body::Role { user, role } => {
                if *role == Role::Muted {
                    self.muted.insert((group, *user));
                } else {
                    self.muted.remove(&(group, *user));
                }
            }
            Body::Joined { user } => {
                self.muted.remove(&(group, *user));
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
        let applied = match result {
            Ok(StoreResponse::Applied(applied)) => applied,
            Ok(StoreResponse::Session(standing)) => return self.note_versions(&standing.changed),
            _ => return,
        };
        self.ledger.accounts += usize::from(matches!(applied.done, Done::Registered(_)));
        for entry in &applied.entries {
            self.check_author(entry);
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
        self.note_versions(&applied.changed);
    }

    fn note_versions(&mut self, changed: &[(UserId, u64)]) {
        for (user, version) in changed {
            let roster = self.store.roster(*user, self.now);
            self.chronicle.note(*user, *version, roster.as_ref());
        }
    }

    /// Who writes has the right to, at that moment.
    fn check_author(&mut self, entry: &Entry) {
        let (Body::Text(_) | Body::Edit { .. }) = entry.body else {
            return;
        };
        let from = entry.from;
        let allowed = match entry.place {
            Place::Group(group) => {
                self.ledger.is_member(group, from) && !self.ledger.muted.contains(&(group, from))
            }
            Place::Direct(pair) => pair.other(from).is_some_and(|other| {
                let present = |of: UserId| self.chronicle.present(of);
                present(from).is_some_and(|ties| ties.is_friend(other))
                    && present(other).is_some_and(|ties| ties.is_friend(from))
            }),
        };
        if !allowed {
            self.fail(format!("user {from} may not write {entry:?}"));
        }
    }

    /// What is acknowledged is in the store.
    pub(super) fn check_acknowledged(&mut self, user: UserId, request: &Request, reply: &Reply) {
        let entry = |conversation: &ConversationRef, seq: &Seq| {
            let place = conversation.place(user)?;
            self.store.entry(place, *seq)
        };
        let stored = match (request, reply) {
            (Request::Send { to, key, text, .. }, Reply::Appended { seq, .. }) => {
                promises::is_acknowledged(entry(to, seq).as_deref(), key, text)
            }
            (
                Request::Edit {
                    conversation,
                    seq: of,
                    ..
                }
                | Request::Recall {
                    conversation,
                    seq: of,
                },
                Reply::Appended { seq, .. },
            ) => entry(conversation, seq).is_some_and(|entry| match entry.body {
                Body::Edit { target, .. } | Body::Recall { target } => target == *of,
                // It was so already.
                _ => seq == of,
            }),
            (Request::GroupCreate { .. }, Reply::GroupCreated { group }) => {
                self.ledger.was_member(*group, user)
            }
            _ => return,
        };
        if !stored {
            self.fail(format!(
                "user {user} was told {reply:?} of {request:?}, which is not in the store"
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
        let (node, user) = (link.life.node, link.user);
        // Who waited was not silent.
        let ahead = self.nodes.get(node).map(|node| node.ahead);
        link.heard_at = self.now + ahead.unwrap_or_default();
        let Some((asked, request)) = link.asked.pop_front() else {
            self.fail(format!("an answer without its request: {result:?}"));
            return;
        };
        if asked != request_id {
            self.fail(format!(
                "{request_id:?} is answered before {asked:?}, {request:?}"
            ));
            return;
        }
        let Some(request) = request else {
            return;
        };
        let counts = match result {
            Ok(_) => &mut self.report.done,
            Err(_) => &mut self.report.refused,
        };
        *counts.entry(request.op()).or_default() += 1;
        let Ok(reply) = result else {
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
                link.ended.clear();
                self.check_session(id, reply);
            }
            (Request::Logout | Request::DeleteAccount { .. }, ..) => {
                link.user = None;
                link.seen.clear();
            }
            (Request::History { .. }, Reply::History { messages, .. }, Some(user)) => {
                for message in messages {
                    self.check_may_see(node, user, message);
                }
            }
            (request, reply, Some(user)) => {
                self.check_acknowledged(user, request, reply);
                self.check_shown_online(id, user, reply);
            }
            _ => {}
        }
    }

    /// A node sends an event: to someone whom it concerns, and messages in order.
    pub(super) fn check_event(&mut self, id: LinkId, event: &Event) {
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        let (node, user) = (link.life.node, link.user);
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
            let ends = promises::ends(&message.body, user);
            if ends {
                link.seen.remove(&with);
            } else {
                link.seen.insert(with, message.seq);
            }
            if let ConversationRef::Group(group) = with {
                if ends {
                    link.ended.insert(group, message.seq);
                } else {
                    link.ended.remove(&group);
                }
            }
            let name = link.device;
            if !promises::follows(seen, user, message) {
                let name = self.device_name(name);
                self.fail(format!(
                    "the session of user {user} on {name} was sent {seen:?} and gets {message:?}"
                ));
            }
            self.check_may_see(node, user, message);
        } else if self.may_see_event(id, user, event) {
            self.check_receipt(user, event);
        } else {
            self.fail(format!("user {user} may not see {event:?}"));
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
