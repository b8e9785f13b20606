//! What a rule decides: a list of steps that cannot fail any more. Rules only look at the view, so
//! that a refusal leaves it as it was.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::id::{ConversationId, GroupId, Place, Seq, SessionId, UserId};
use crate::log::FriendState;
use crate::sorted::SortedSet;
use crate::store::command::Requested;
use crate::store::{
    Applied, Count, Done, GroupRow, InvitationRow, Kind, MemberRow, MessageRow, ReadSet, Refusal,
    SessionRow, StoredKey, UserRow, View,
};

use super::lookup::{Log, incomplete, is_locked};
use super::read;

/// One step of a change.
#[derive(Debug)]
pub(super) enum Step {
    /// Makes or replaces an account.
    User(UserId, UserRow),
    /// Makes or replaces a session, or ends it.
    Session(SessionId, Option<SessionRow>),
    /// Sets what the second user is to the first.
    Friendship(UserId, UserId, FriendState),
    /// Makes a conversation without entries.
    Conversation(ConversationId, Place),
    /// Makes or replaces a group.
    Group(GroupId, GroupRow),
    /// Makes or replaces a member of a conversation, or removes it.
    Member(Log, UserId, Option<MemberRow>),
    /// Makes an invitation, or removes it.
    Invitation(GroupId, UserId, Option<InvitationRow>),
    /// Makes a join request, or removes it.
    JoinRequest(GroupId, UserId, bool),
    /// Adds an entry by a user. The text is that of an edit.
    Append(Log, UserId, Kind, Option<Arc<str>>),
    /// Replaces an entry.
    Message(Log, Seq, MessageRow),
    /// Blanks every message of a user.
    Blank(UserId),
}

/// A change that is decided.
#[derive(Debug)]
pub(super) struct Plan {
    done: Done,
    /// Mostly one, the sending of a message.
    steps: SmallVec<[Step; 1]>,
    touched: SortedSet<UserId>,
    requested: Option<Requested>,
}

impl Plan {
    /// Begins a plan; without steps it is the outcome that holds already.
    pub(super) fn new(done: Done) -> Self {
        Self {
            done,
            steps: SmallVec::new(),
            touched: SortedSet::new(),
            requested: None,
        }
    }

    /// Adds a step.
    pub(super) fn step(&mut self, step: Step) {
        self.steps.push(step);
    }

    /// Adds an entry to a log.
    pub(super) fn append(&mut self, log: Log, from: UserId, kind: Kind) {
        self.step(Step::Append(log, from, kind, None));
    }

    /// Raises a user's version, once however often it is asked for.
    pub(super) fn touch(&mut self, user: UserId) {
        self.touched.insert(user);
    }

    /// Says that a user waits for approval.
    pub(super) fn request(&mut self, requested: Requested) {
        self.requested = Some(requested);
    }

    /// Carries the plan out.
    ///
    /// # Errors
    /// Only [`Refusal::Incomplete`], before anything is changed: the accounts whose versions rise
    /// and that are not locked.
    pub(super) fn carry_out(self, view: &mut View) -> Result<Applied, Refusal> {
        let missing: SortedSet<UserId> = self
            .touched
            .iter()
            .filter(|user| !is_locked(view, **user))
            .copied()
            .collect();
        if !missing.is_empty() {
            return Err(incomplete(ReadSet {
                users: missing,
                ..ReadSet::default()
            }));
        }
        let mut applied = Applied::unchanged(self.done);
        applied.requested = self.requested;
        for step in self.steps {
            carry_out(step, view, &mut applied);
        }
        for user in self.touched {
            if let Some(mut row) = view.users.get(&user).flatten().cloned() {
                row.version = row.version.saturating_add(1);
                applied.changed.push((user, row.version));
                view.users.put(user, row);
            }
        }
        Ok(applied)
    }
}

fn carry_out(step: Step, view: &mut View, applied: &mut Applied) {
    match step {
        Step::User(id, row) => put_user(view, id, row),
        Step::Session(id, row) => {
            view.new_sessions.retain(|new| *new != id);
            match row {
                Some(row) => view.sessions.put(id, row),
                None => view.sessions.remove(&id),
            }
        }
        Step::Friendship(of, to, state) => put_friendship(view, of, to, state),
        Step::Conversation(id, place) => {
            view.new_conversations.retain(|new| *new != id);
            view.conversations.put(id, (place, Seq(0)));
            if let Place::Direct(pair) = place {
                view.pairs.put(pair, id);
            }
        }
        Step::Group(id, row) => {
            if let Some(key) = &row.key {
                view.group_keys.put((row.creator, key.clone()), id);
            }
            view.groups.put(id, row);
        }
        Step::Member(log, user, row) => put_member(view, log, user, row),
        Step::Invitation(group, user, row) => {
            let before = view.invitations.get(&(group, user)).flatten().is_some();
            count(view, Count::Invitations(user), before, row.is_some());
            match row {
                Some(row) => view.invitations.put((group, user), row),
                None => view.invitations.remove(&(group, user)),
            }
        }
        Step::JoinRequest(group, user, there) => {
            let before = view.join_requests.get(&(group, user)).flatten().is_some();
            count(view, Count::JoinRequests(group), before, there);
            if there {
                view.join_requests.put((group, user), ());
            } else {
                view.join_requests.remove(&(group, user));
            }
        }
        Step::Append(log, from, kind, text) => append(view, applied, log, from, kind, text),
        Step::Message(log, seq, row) => view.messages.put((log.id, seq), row),
        Step::Blank(user) => blank(view, user),
    }
}

fn put_user(view: &mut View, id: UserId, row: UserRow) {
    view.new_users.retain(|new| *new != id);
    let before = view.users.get(&id).flatten();
    let (before, identity) = before
        .map(|row| (row.name.clone(), row.identity))
        .unwrap_or_default();
    if identity != row.identity {
        if let Some(identity) = identity {
            view.identities.remove(&identity);
        }
        if let Some(identity) = row.identity {
            view.identities.put(identity, id);
        }
    }
    if before != row.name {
        if let Some(name) = before {
            view.names.remove(&name.key());
        }
        if let Some(name) = &row.name {
            view.names.put(name.key(), id);
        }
    }
    view.users.put(id, row);
}

fn put_friendship(view: &mut View, of: UserId, to: UserId, state: FriendState) {
    let before = view.friendships.get(&(of, to)).flatten().is_some();
    let after = state != FriendState::None;
    count(view, Count::Friendships(of), before, after);
    if after {
        view.friendships.put((of, to), state);
    } else {
        view.friendships.remove(&(of, to));
    }
}

fn put_member(view: &mut View, log: Log, user: UserId, row: Option<MemberRow>) {
    let before = view.members.get(&(log.id, user)).flatten().is_some();
    let after = row.is_some();
    count(view, Count::Conversations(user), before, after);
    if let Place::Group(group) = log.place {
        count(view, Count::Groups(user), before, after);
        count(view, Count::Members(group), before, after);
    }
    match row {
        Some(row) => view.members.put((log.id, user), row),
        None => view.members.remove(&(log.id, user)),
    }
}

fn append(
    view: &mut View,
    applied: &mut Applied,
    log: Log,
    from: UserId,
    kind: Kind,
    text: Option<Arc<str>>,
) {
    // The plan may have added entries to this log already.
    let last = view
        .conversations
        .get(&log.id)
        .flatten()
        .map_or(log.last, |(_, last)| *last);
    let seq = last.next();
    let row = MessageRow {
        from,
        at: view.now,
        kind,
        change: None,
    };
    if let Kind::Text { key, digest, .. } = &row.kind {
        let stored = StoredKey {
            conversation: log.id,
            seq,
            at: row.at,
            digest: *digest,
        };
        view.keys.put((from, key.clone()), stored);
    }
    let entry = read::entry(log.id, log.place, seq, &row, text);
    applied.entries.push(Arc::new(entry));
    view.conversations.put(log.id, (log.place, seq));
    view.messages.put((log.id, seq), row);
}

/// Has a user's messages blanked, and blanks those that are in the view for the commands to come.
fn blank(view: &mut View, user: UserId) {
    view.blanked.insert(user);
    let blanked: Vec<_> = view
        .messages
        .iter()
        .filter(|(_, row)| row.from == user)
        .filter_map(|(key, row)| Some((*key, erased(row)?)))
        .collect();
    for (key, row) in blanked {
        view.messages.put(key, row);
    }
}

/// Returns a message without its text and `meta`; `None` of other entries.
pub(super) fn erased(row: &MessageRow) -> Option<MessageRow> {
    let mut row = row.clone();
    let Kind::Text {
        text,
        meta,
        recalled,
        ..
    } = &mut row.kind
    else {
        return None;
    };
    *text = Arc::from("");
    *meta = None;
    *recalled = true;
    Some(row)
}

/// Keeps a number of rows true, where it was loaded.
fn count(view: &mut View, count: Count, before: bool, after: bool) {
    if let Some(number) = view.counts.get_mut(&count) {
        match (before, after) {
            (false, true) => *number = number.saturating_add(1),
            (true, false) => *number = number.saturating_sub(1),
            _ => {}
        }
    }
}
