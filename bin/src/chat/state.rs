//! What is known and shown: people, groups, conversations. Pure: no terminal, no network.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parlor_core::client::{Listed, Status, Ticket};
use parlor_core::id::{ConversationRef, GroupId, Seq, UserId};
use parlor_core::log::{Body, FriendState, GroupChange};
use parlor_core::name::Name;
use parlor_core::protocol::reply::{ConversationItem, SessionReply};
use parlor_core::protocol::{Event, GroupState, Message};
use parlor_core::time::Timestamp;

/// The most entries of one conversation that are kept; older ones are read again on scrolling.
const KEPT: usize = 2000;

/// How long a typing mark stays.
const TYPING: Duration = Duration::from_secs(5);

/// Everything that is shown.
#[derive(Debug)]
pub(super) struct State {
    /// Whose session it is.
    pub(super) me: Option<(UserId, Name)>,
    /// The state of the connection.
    pub(super) status: Status,
    /// Every user that has been named.
    pub(super) names: BTreeMap<UserId, Name>,
    /// The friends, and everyone else to whom one is something.
    pub(super) people: BTreeMap<UserId, Person>,
    /// The groups that one is a member of.
    pub(super) groups: BTreeMap<GroupId, Name>,
    /// The groups that one is invited to.
    pub(super) invitations: BTreeMap<GroupId, Name>,
    /// The conversations.
    pub(super) conversations: BTreeMap<ConversationRef, Conversation>,
    /// The one that is open.
    pub(super) open: Option<ConversationRef>,
    /// Whom something was learnt about since the session began: a list may be older.
    told_people: BTreeSet<UserId>,
    /// The same of groups.
    told_groups: BTreeSet<GroupId>,
}

/// Another user, from one's own side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Person {
    /// What that user is to oneself.
    pub(super) state: FriendState,
    /// Whether that user is online.
    pub(super) online: bool,
}

/// A conversation.
#[derive(Debug, Default)]
pub(super) struct Conversation {
    /// What is shown, by number.
    pub(super) entries: BTreeMap<Seq, Shown>,
    /// One's own messages that are not acknowledged.
    pub(super) unsent: Vec<Unsent>,
    /// The newest entry.
    pub(super) last: Seq,
    /// What one has read.
    pub(super) read: Seq,
    /// What the other side of a direct conversation has, and has read.
    pub(super) peer: (Seq, Seq),
    /// The oldest entry that was loaded.
    pub(super) oldest: Option<Seq>,
    /// Whether there is nothing older to load.
    pub(super) complete: bool,
    /// Who is typing, and until when that is believed.
    pub(super) typing: BTreeMap<UserId, Timestamp>,
}

/// A message of one's own that is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    /// The request that carries it.
    pub(super) ticket: Ticket,
    /// The text.
    pub(super) text: Arc<str>,
    /// The entry that it answers.
    pub(super) reply_to: Option<Seq>,
}

/// An entry as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// Who acted.
    pub(super) from: UserId,
    /// When.
    pub(super) at: Timestamp,
    /// What there is to see.
    pub(super) what: What,
}

/// What there is to see of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// A message.
    Text {
        /// The present text.
        text: Arc<str>,
        /// The entry that it answers.
        reply_to: Option<Seq>,
        /// Whether the text was changed.
        edited: bool,
        /// Whether the text was erased.
        recalled: bool,
    },
    /// Something that happened to the group.
    Event(Happening),
}

/// Something that happened to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A user joined.
    Joined(UserId),
    /// A user left.
    Left(UserId),
    /// A user was removed.
    Removed(UserId),
    /// A user's role changed.
    Role(UserId, &'static str),
    /// The group's description of itself changed.
    Updated(GroupChange),
    /// The group ended.
    Disbanded,
}

impl State {
    /// Makes a state that knows nothing.
    pub(super) const fn new(status: Status) -> Self {
        Self {
            me: None,
            status,
            names: BTreeMap::new(),
            people: BTreeMap::new(),
            groups: BTreeMap::new(),
            invitations: BTreeMap::new(),
            conversations: BTreeMap::new(),
            open: None,
            told_people: BTreeSet::new(),
            told_groups: BTreeSet::new(),
        }
    }

    /// Takes what the server says at the beginning of a session; keeps what was loaded, if it is
    /// the same user's.
    pub(super) fn begin(&mut self, reply: &SessionReply) {
        if self.me.as_ref().is_some_and(|(me, _)| *me != reply.user) {
            *self = Self::new(self.status.clone());
        }
        self.me = Some((reply.user, reply.name.clone()));
        self.names.insert(reply.user, reply.name.clone());
        self.people.clear();
        self.groups.clear();
        self.invitations.clear();
        self.told_people.clear();
        self.told_groups.clear();
        for friend in &reply.friends {
            self.names.insert(friend.user, friend.name.clone());
            let person = self.people.entry(friend.user).or_default();
            person.state = FriendState::Friends;
            person.online = friend.online;
        }
        for asking in &reply.requests {
            self.names.insert(asking.user, asking.name.clone());
            self.people.entry(asking.user).or_default().state = FriendState::RequestedBy;
        }
        for group in &reply.groups {
            self.groups.insert(group.group, group.name.clone());
        }
        for invitation in &reply.invites {
            self.invitations
                .insert(invitation.group, invitation.name.clone());
        }
        for item in &reply.conversations {
            self.conversations
                .entry(item.conversation)
                .or_default()
                .begin(item);
        }
    }

    /// Takes more of a list that was cut when the session began.
    pub(super) fn on_listed(&mut self, listed: &Listed) {
        match listed {
            Listed::Friends(friends) => {
                for friend in friends {
                    self.names.insert(friend.user, friend.name.clone());
                    if let FriendState::Friends | FriendState::RequestedBy = friend.state
                        && !self.told_people.contains(&friend.user)
                    {
                        let person = self.people.entry(friend.user).or_default();
                        person.state = friend.state;
                        person.online = friend.online == Some(true);
                    }
                }
            }
            Listed::Groups(groups) => {
                for item in groups {
                    if !self.told_groups.contains(&item.group) {
                        self.groups.insert(item.group, item.name.clone());
                    }
                }
            }
            Listed::Conversations(conversations) => {
                for item in conversations {
                    let known = self.conversations.entry(item.conversation);
                    known.or_default().begin(item);
                }
            }
        }
    }

    /// Takes an event; returns whether it is a message from someone else.
    pub(super) fn on_event(&mut self, event: &Event, now: Timestamp) -> bool {
        match event {
            Event::Message(message) => return self.on_message(message),
            Event::Receipt {
                conversation,
                user,
                delivered,
                read,
            } => {
                self.on_receipt(*conversation, *user, (*delivered, *read));
            }
            Event::Typing { conversation, user } => {
                if let Some(conversation) = self.conversations.get_mut(conversation) {
                    conversation.typing.insert(*user, now + TYPING);
                }
            }
            Event::Presence { user, online } => {
                if let Some(person) = self.people.get_mut(user) {
                    person.online = *online;
                }
            }
            Event::Friend { user, name, state } => {
                self.names.insert(*user, name.clone());
                self.set_friend(*user, *state);
            }
            Event::Group { group, name, state } => self.on_group(*group, name, *state),
            Event::Notice { .. } => {}
        }
        false
    }

    /// Notes what another user is.
    pub(super) fn set_friend(&mut self, user: UserId, state: FriendState) {
        self.told_people.insert(user);
        if state == FriendState::None {
            self.people.remove(&user);
            return;
        }
        let person = self.people.entry(user).or_default();
        person.state = state;
        if state == FriendState::Friends {
            self.conversations
                .entry(ConversationRef::User(user))
                .or_default();
        } else {
            person.online = false;
        }
    }

    /// Ends the wait of a message of one's own; where it was taken, it is shown in its place at
    /// once: its event may be yet to come.
    pub(super) fn settle(
        &mut self,
        conversation: ConversationRef,
        ticket: Ticket,
        taken: Option<(Seq, Timestamp)>,
    ) {
        let Some(conversation) = self.conversations.get_mut(&conversation) else {
            return;
        };
        let mut unsent = conversation
            .unsent
            .extract_if(.., |unsent| unsent.ticket == ticket);
        let found = unsent.next();
        drop(unsent);
        if let (Some(unsent), Some((seq, at)), Some((me, _))) = (found, taken, &self.me) {
            conversation.last = conversation.last.max(seq);
            let what = What::Text {
                text: unsent.text,
                reply_to: unsent.reply_to,
                edited: false,
                recalled: false,
            };
            let from = *me;
            conversation
                .entries
                .entry(seq)
                .or_insert(Shown { from, at, what });
        }
    }

    /// Takes a page of history; `complete` when nothing older is left.
    pub(super) fn on_history(
        &mut self,
        conversation: ConversationRef,
        messages: &[Message],
        complete: bool,
    ) {
        for message in messages {
            self.learn(message);
        }
        let conversation = self.conversations.entry(conversation).or_default();
        for message in messages {
            conversation.add(message);
        }
        conversation.complete |= complete;
    }

    /// Returns a user's name, made up from the number while it is not known.
    pub(super) fn name(&self, user: UserId) -> String {
        match self.names.get(&user) {
            Some(name) => super::text::clean(name.as_str()),
            None => format!("user-{user}"),
        }
    }

    /// Returns what a conversation is called.
    pub(super) fn title(&self, conversation: ConversationRef) -> String {
        match conversation {
            ConversationRef::User(user) => self.name(user),
            ConversationRef::Group(group) => match self.groups.get(&group) {
                Some(name) => format!("#{}", super::text::clean(name.as_str())),
                None => format!("#{group}"),
            },
        }
    }

    /// Finds a user by name among those who have been named, whatever the case.
    pub(super) fn find(&self, name: &Name) -> Option<UserId> {
        let key = name.key();
        let found = self.names.iter().find(|(_, known)| known.key() == key);
        found.map(|(user, _)| *user)
    }

    /// Tells whether a user is oneself.
    pub(super) fn is_me(&self, user: UserId) -> bool {
        self.me.as_ref().is_some_and(|(me, _)| *me == user)
    }

    /// Returns the conversations in the order in which they are shown: groups that one is still in,
    /// friends, and whatever else has entries.
    pub(super) fn listed(&self) -> Vec<ConversationRef> {
        let friends = self
            .people
            .iter()
            .filter(|(_, it)| it.state == FriendState::Friends);
        let mut listed: BTreeSet<_> = friends
            .map(|(user, _)| ConversationRef::User(*user))
            .collect();
        listed.extend(
            self.groups
                .keys()
                .map(|group| ConversationRef::Group(*group)),
        );
        let talked = self.conversations.iter().filter(|(_, it)| it.last > Seq(0));
        listed.extend(talked.map(|(conversation, _)| *conversation));
        listed.into_iter().collect()
    }

    /// Returns how many messages of a conversation are unread.
    pub(super) fn unread(&self, conversation: ConversationRef) -> u64 {
        self.conversations
            .get(&conversation)
            .map_or(0, |it| it.unread(|user| self.is_me(user)))
    }

    /// Returns the newest message of one's own in a conversation.
    pub(super) fn last_own(&self, conversation: ConversationRef) -> Option<Seq> {
        let entries = &self.conversations.get(&conversation)?.entries;
        let own = |shown: &Shown| {
            let text = matches!(
                shown.what,
                What::Text {
                    recalled: false,
                    ..
                }
            );
            text && self.is_me(shown.from)
        };
        let found = entries.iter().rev().find(|(_, shown)| own(shown));
        found.map(|(seq, _)| *seq)
    }

    /// Returns users that entries mention and whose names are not known.
    pub(super) fn unnamed(message: &Message, names: &BTreeMap<UserId, Name>) -> Vec<UserId> {
        let mut users = vec![message.from];
        if let Body::Joined { user }
        | Body::Left { user }
        | Body::Removed { user }
        | Body::Role { user, .. } = message.body
        {
            users.push(user);
        }
        users.retain(|user| !names.contains_key(user));
        users.dedup();
        users
    }

    fn on_message(&mut self, message: &Message) -> bool {
        self.learn(message);
        let mine = self.is_me(message.from);
        let conversation = self.conversations.entry(message.conversation).or_default();
        conversation.typing.remove(&message.from);
        conversation.add(message);
        conversation.trim();
        !mine && matches!(message.body, Body::Text(_))
    }

    /// Learns what an entry says about its group.
    fn learn(&mut self, message: &Message) {
        if let (
            ConversationRef::Group(group),
            Body::Updated(GroupChange {
                name: Some(name), ..
            }),
        ) = (message.conversation, &message.body)
            && let Some(known) = self.groups.get_mut(&group)
        {
            *known = name.clone();
        }
    }

    fn on_receipt(&mut self, conversation: ConversationRef, user: UserId, marks: (Seq, Seq)) {
        let mine = self.is_me(user);
        let Some(conversation) = self.conversations.get_mut(&conversation) else {
            return;
        };
        if mine {
            conversation.read = conversation.read.max(marks.1);
        } else {
            conversation.peer.0 = conversation.peer.0.max(marks.0);
            conversation.peer.1 = conversation.peer.1.max(marks.1);
        }
    }

    fn on_group(&mut self, group: GroupId, name: &Name, state: GroupState) {
        if !matches!(state, GroupState::Requested { .. }) {
            self.told_groups.insert(group);
        }
        match state {
            GroupState::Invited => {
                self.invitations.insert(group, name.clone());
            }
            GroupState::Member => {
                self.invitations.remove(&group);
                self.groups.insert(group, name.clone());
            }
            GroupState::Removed | GroupState::Disbanded | GroupState::None => {
                self.invitations.remove(&group);
                self.groups.remove(&group);
            }
            GroupState::Requested { .. } => {}
        }
    }
}

impl Conversation {
    fn begin(&mut self, item: &ConversationItem) {
        self.last = self.last.max(item.last);
        self.read = self.read.max(item.read);
        if let Some((delivered, read)) = item.peer {
            self.peer.0 = self.peer.0.max(delivered);
            self.peer.1 = self.peer.1.max(read);
        }
    }

    /// Adds an entry.
    fn add(&mut self, message: &Message) {
        self.last = self.last.max(message.seq);
        self.oldest = Some(
            self.oldest
                .map_or(message.seq, |oldest| oldest.min(message.seq)),
        );
        let what = match &message.body {
            Body::Text(text) => What::Text {
                text: Arc::clone(&text.text),
                reply_to: text.reply_to,
                edited: text.edited,
                recalled: text.recalled,
            },
            Body::Edit { target, text } => {
                self.change(*target, text.as_ref());
                return;
            }
            Body::Recall { target } => {
                self.change(*target, None);
                return;
            }
            Body::Joined { user } => What::Event(Happening::Joined(*user)),
            Body::Left { user } => What::Event(Happening::Left(*user)),
            Body::Removed { user } => What::Event(Happening::Removed(*user)),
            Body::Role { user, role } => What::Event(Happening::Role(*user, role.as_str())),
            Body::Updated(change) => What::Event(Happening::Updated(change.clone())),
            Body::Disbanded => What::Event(Happening::Disbanded),
        };
        let (from, at) = (message.from, message.at);
        self.entries.insert(message.seq, Shown { from, at, what });
    }

    /// Shows an entry's present text; no text means that it was recalled.
    fn change(&mut self, target: Seq, present: Option<&Arc<str>>) {
        if let Some(Shown {
            what:
                What::Text {
                    text,
                    edited,
                    recalled,
                    ..
                },
            ..
        }) = self.entries.get_mut(&target)
        {
            match present {
                Some(present) => {
                    *text = Arc::clone(present);
                    *edited = true;
                }
                None => {
                    *text = "".into();
                    *recalled = true;
                }
            }
        }
    }

    /// Forgets the oldest entries above the limit.
    fn trim(&mut self) {
        while self.entries.len() > KEPT {
            self.entries.pop_first();
            self.oldest = self.entries.first_key_value().map(|(seq, _)| *seq);
            self.complete = false;
        }
    }

    /// Counts what is unread: messages of others, and every entry that is not loaded.
    fn unread(&self, is_me: impl Fn(UserId) -> bool) -> u64 {
        let loaded = self
            .entries
            .range(self.read.next()..)
            .filter(|(_, shown)| matches!(shown.what, What::Text { .. }) && !is_me(shown.from));
        let loaded = u64::try_from(loaded.count()).unwrap_or(u64::MAX);
        let unloaded_to = self.oldest.map_or(self.last, Seq::previous);
        loaded + unloaded_to.0.saturating_sub(self.read.0)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
