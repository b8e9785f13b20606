//! Carries commands out and keeps the state: what the full screen and the lines have in common.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parlor_core::client::{NotSent, Status, Ticket};
use parlor_core::id::{ConversationRef, GroupId, Seq, UserId};
use parlor_core::name::{Key, Name};
use parlor_core::protocol::request::{Anchor, Start, UserRef};
use parlor_core::protocol::{
    ErrorCode, Event, MAX_TEXT_BYTES, Message, PASSWORD_BYTES, Request, RequestError,
};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;

use super::command::{Command, Listing, PersonAction, Place};
use super::driver::{Driver, Server, Told};
use super::state::{State, Unsent};

/// How often others are told that one is typing.
const TYPING: Duration = Duration::from_secs(3);

/// Something to tell the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// A command was carried out.
    Ok(String),
    /// A command failed: a stable code, and a sentence.
    Error(String, String),
    /// A line of a list.
    Item(String),
}

/// What is to be done with the outcome of a request.
#[derive(Debug)]
pub(super) enum Intent {
    /// Nothing.
    Quiet,
    /// Say that it is done.
    Say(String),
    /// The account is there: log in.
    Register(Name, Secret),
    /// The session is there.
    Login,
    /// Remember a name.
    Naming(UserId),
    /// Find out who is meant, then go on.
    Lookup(Name, Box<Command>),
    /// Friendship was asked for.
    Added(Name),
    /// The friendship changed.
    Friendship(PersonAction, UserId),
    /// A message.
    Send(ConversationRef),
    /// A page of history.
    History(ConversationRef),
    /// A page of history to print.
    Print,
    /// A read mark.
    Read(ConversationRef),
    /// A group was made.
    GroupCreated(Name),
    /// A group was joined.
    GroupJoined(GroupId),
    /// A list of a group.
    GroupList(GroupId),
    /// The session is over.
    Logout,
}

/// The session, the state, and what is under way.
#[derive(Debug)]
pub(super) struct Desk<U> {
    /// The session and its connection.
    pub(super) driver: Driver<U>,
    /// What is known.
    pub(super) state: State,
    /// What to do with outcomes.
    pub(super) intents: BTreeMap<Ticket, Intent>,
    /// Conversations whose read mark is on its way.
    reading: BTreeSet<ConversationRef>,
    /// Users whose names were asked for.
    asked: BTreeSet<UserId>,
    /// Reports that wait to be taken.
    reports: Vec<Report>,
    /// Whether opening a conversation loads its end.
    pub(super) preload: bool,
    /// The invitation code that an account is made with.
    invite: Option<Secret>,
    typed_at: Option<Timestamp>,
    /// Makes the keys of this run unlike those of any other.
    key_prefix: String,
    keys: u64,
}

impl<U: Send + 'static> Desk<U> {
    /// Makes a desk that is offline.
    pub(super) fn new(server: Server, invite: Option<Secret>) -> Result<Self, getrandom::Error> {
        let mut random = [0; 16];
        getrandom::fill(&mut random)?;
        let number = u128::from_le_bytes(random);
        let seed = u64::try_from(number & u128::from(u64::MAX)).unwrap_or_default();
        let driver = Driver::new(server, seed);
        let status = Status::Offline(parlor_core::client::Offline::NotWanted);
        Ok(Self {
            driver,
            state: State::new(status),
            intents: BTreeMap::new(),
            reading: BTreeSet::new(),
            asked: BTreeSet::new(),
            reports: Vec::new(),
            preload: true,
            invite,
            typed_at: None,
            key_prefix: format!("{number:032x}"),
            keys: 0,
        })
    }

    /// Returns what there is to tell, and forgets it.
    pub(super) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Adds something to tell.
    pub(super) fn report(&mut self, report: Report) {
        self.reports.push(report);
    }

    /// Adds the report of a command that makes no sense.
    pub(super) fn refuse(&mut self, sentence: impl Into<String>) {
        self.report(Report::Error("command".to_owned(), sentence.into()));
    }

    /// Asks the server for something.
    pub(super) fn ask(&mut self, request: Request, intent: Intent) {
        let ticket = self.driver.request(request);
        self.intents.insert(ticket, intent);
    }

    /// Begins a session.
    pub(super) fn login(&mut self, name: Name, password: Secret) {
        let request = Request::Login {
            who: UserRef::Name(name),
            password,
            device: Some("parlor chat".into()),
            start: Start::default(),
        };
        self.ask(request, Intent::Login);
    }

    /// Makes an account, then begins a session.
    pub(super) fn register(&mut self, name: Name, password: Secret) {
        let request = Request::Register {
            name: name.clone(),
            password: password.clone(),
            invite: self.invite.clone(),
        };
        self.ask(request, Intent::Register(name, password));
    }

    /// Takes what the driver tells; returns what is the user's, or an event that was applied.
    pub(super) fn apply(&mut self, told: &Told<U>) {
        match told {
            Told::Outcome(ticket, outcome) => {
                if let Some(intent) = self.intents.remove(ticket) {
                    self.on_outcome(*ticket, intent, outcome);
                }
            }
            Told::Event(event) => {
                self.state.on_event(event, self.driver.now());
                if let Event::Message(message) = event {
                    self.ask_names(std::slice::from_ref(message));
                }
            }
            Told::Resumed(reply) => self.state.begin(reply),
            Told::Listed(listed) => self.state.on_listed(listed),
            Told::Status(status) => self.state.status = status.clone(),
            Told::User(_) | Told::CannotConnect(_) | Told::Settled | Told::Alarm => {}
        }
        self.mark_read();
    }

    /// Asks who the users are that messages mention.
    pub(super) fn ask_names(&mut self, messages: &[Message]) {
        for message in messages {
            for user in State::unnamed(message, &self.state.names) {
                self.ask_name(user);
            }
        }
    }

    /// Asks who a user is, once.
    pub(super) fn ask_name(&mut self, user: UserId) {
        if self.driver.session().is_online() && self.asked.insert(user) {
            let who = UserRef::Id(user);
            self.ask(Request::User { who }, Intent::Naming(user));
        }
    }

    /// Forgets that a name was asked for, so that it may be asked for again.
    pub(super) fn name_unknown(&mut self, user: UserId) {
        self.asked.remove(&user);
    }

    /// Tells how far the open conversation was read.
    pub(super) fn mark_read(&mut self) {
        let Some(conversation) = self.state.open else {
            return;
        };
        let Some(known) = self.state.conversations.get(&conversation) else {
            return;
        };
        let newest = known.entries.last_key_value().map(|(seq, _)| *seq);
        let unread = newest.filter(|seq| *seq > known.read);
        if let Some(seq) = unread.filter(|_| self.driver.session().is_online())
            && self.reading.insert(conversation)
        {
            let seq = seq.max(known.last);
            let request = Request::Ack {
                conversation,
                delivered: None,
                read: Some(seq),
            };
            self.ask(request, Intent::Read(conversation));
            if let Some(known) = self.state.conversations.get_mut(&conversation) {
                known.read = known.read.max(seq);
            }
        }
    }

    /// Tells others that one is typing, not too often.
    pub(super) fn typing(&mut self) {
        let now = self.driver.now();
        let recent = self.typed_at.is_some_and(|at| now < at + TYPING);
        if let Some(to) = self
            .state
            .open
            .filter(|_| !recent && self.driver.session().is_online())
        {
            self.typed_at = Some(now);
            self.ask(Request::Typing { to }, Intent::Quiet);
        }
    }

    /// Carries a command out, as far as it does not concern the screen.
    pub(super) fn execute(&mut self, command: Command) {
        match command {
            Command::Text(text) => self.say(&text, None),
            Command::Reply(seq, text) => self.say(&text, Some(seq)),
            Command::Open(place) => self.open(&place),
            Command::Person(action, name) => self.person(action, name),
            Command::Edit(seq, text) => self.edit(seq, &text),
            Command::Recall(seq) => self.recall(seq),
            Command::List(listing) => self.list(listing),
            Command::History(limit) => self.history(limit),
            Command::Password(Some((old, new))) => self.password(&old, &new),
            Command::Logout => self.ask(Request::Logout, Intent::Logout),
            Command::GroupCreate(name, join) => self.group_create(name, join),
            Command::GroupJoin(group) => self.group_join(GroupId(group)),
            Command::Group(action) => self.group(action),
            Command::GroupPerson(action, name) => self.group_person(action, &name),
            Command::GroupUpdate(field) => self.group_update(field),
            Command::Password(None) => {
                self.refuse("give the old and the new password: /password OLD NEW");
            }
            Command::Help
            | Command::Quit
            | Command::Wait(_)
            | Command::Await(_)
            | Command::Expect(_) => self.refuse("that command has no meaning here"),
        }
    }

    /// Opens a conversation and loads its end.
    pub(super) fn open_conversation(&mut self, conversation: ConversationRef) {
        self.state.open = Some(conversation);
        let known = self.state.conversations.entry(conversation).or_default();
        if self.preload && known.entries.len() < 50 && !known.complete {
            self.load_older(50);
        }
        self.mark_read();
    }

    /// Loads entries before the oldest that is loaded.
    pub(super) fn load_older(&mut self, limit: u32) {
        let Some(conversation) = self.state.open else {
            return;
        };
        let underway =
            |intent: &Intent| matches!(intent, Intent::History(it) if *it == conversation);
        let known = self.state.conversations.entry(conversation).or_default();
        if known.complete
            || !self.driver.session().is_online()
            || self.intents.values().any(underway)
        {
            return;
        }
        let anchor = known.oldest.map_or(Anchor::Newest, Anchor::Before);
        let request = Request::History {
            conversation,
            anchor,
            limit,
        };
        self.ask(request, Intent::History(conversation));
    }

    /// Returns the open group.
    pub(super) fn open_group(&mut self) -> Option<GroupId> {
        if let Some(ConversationRef::Group(group)) = self.state.open {
            return Some(group);
        }
        self.refuse("open a group first: /open #NAME");
        None
    }

    /// Finds out who is meant; `None` while the server is asked, after which the command runs.
    pub(super) fn resolve(
        &mut self,
        name: &Name,
        again: impl FnOnce() -> Command,
    ) -> Option<UserId> {
        if let Some(user) = self.state.find(name) {
            return Some(user);
        }
        let who = UserRef::Name(name.clone());
        let intent = Intent::Lookup(name.clone(), Box::new(again()));
        self.ask(Request::User { who }, intent);
        None
    }

    fn say(&mut self, text: &str, reply_to: Option<Seq>) {
        let Some(to) = self.state.open else {
            self.refuse("open a conversation first: /open NAME");
            return;
        };
        if text.is_empty() {
            return;
        }
        if text.len() > MAX_TEXT_BYTES {
            self.report_error(&ErrorCode::TooLarge.into());
            return;
        }
        self.keys += 1;
        let Some(key) = Key::new(&format!("{}-{}", self.key_prefix, self.keys)) else {
            return;
        };
        let text: Arc<str> = text.into();
        let ticket = self.driver.request(Request::Send {
            to,
            key,
            text: Arc::clone(&text),
            reply_to,
            meta: None,
        });
        self.intents.insert(ticket, Intent::Send(to));
        let conversation = self.state.conversations.entry(to).or_default();
        conversation.unsent.push(Unsent {
            ticket,
            text,
            reply_to,
        });
        self.typed_at = None;
    }

    fn open(&mut self, place: &Place) {
        let found = match place {
            Place::Person(name) => match self.resolve(name, || Command::Open(place.clone())) {
                Some(user) => ConversationRef::User(user),
                None => return,
            },
            Place::GroupId(group) => ConversationRef::Group(GroupId(*group)),
            Place::GroupName(name) => {
                let named = self
                    .state
                    .groups
                    .iter()
                    .filter(|(_, it)| it.key() == name.key());
                let found: Vec<_> = named.map(|(group, _)| *group).collect();
                match found.as_slice() {
                    [group] => ConversationRef::Group(*group),
                    [] => return self.refuse(format!("you are in no group called {name}")),
                    _ => return self.refuse("several groups have that name: use the number"),
                }
            }
        };
        self.open_conversation(found);
        let title = super::command::quote(&self.state.title(found));
        self.report(Report::Ok(format!("open {title}")));
    }

    fn person(&mut self, action: PersonAction, name: Name) {
        use parlor_core::protocol::request::FriendAction;
        if action == PersonAction::Add {
            let who = UserRef::Name(name.clone());
            self.ask(Request::FriendRequest { who }, Intent::Added(name));
            return;
        }
        let Some(user) = self.resolve(&name, || Command::Person(action, name.clone())) else {
            return;
        };
        let friend = match action {
            PersonAction::Accept | PersonAction::Add => FriendAction::Accept,
            PersonAction::Reject => FriendAction::Reject,
            PersonAction::Remove => FriendAction::Remove,
            PersonAction::Block => FriendAction::Block,
            PersonAction::Unblock => FriendAction::Unblock,
        };
        let request = Request::Friend {
            action: friend,
            user,
        };
        self.ask(request, Intent::Friendship(action, user));
    }

    /// Returns the open conversation and which of its messages is meant.
    fn target(&mut self, seq: Option<Seq>) -> Option<(ConversationRef, Seq)> {
        let Some(conversation) = self.state.open else {
            self.refuse("open a conversation first: /open NAME");
            return None;
        };
        let Some(seq) = seq.or_else(|| self.state.last_own(conversation)) else {
            self.refuse("there is no message of yours here");
            return None;
        };
        Some((conversation, seq))
    }

    fn edit(&mut self, seq: Option<Seq>, text: &str) {
        if text.len() > MAX_TEXT_BYTES {
            self.report_error(&ErrorCode::TooLarge.into());
            return;
        }
        if let Some((conversation, seq)) = self.target(seq) {
            let request = Request::Edit {
                conversation,
                seq,
                text: text.into(),
            };
            self.ask(request, Intent::Say(format!("edit {seq}")));
        }
    }

    fn recall(&mut self, seq: Option<Seq>) {
        if let Some((conversation, seq)) = self.target(seq) {
            let request = Request::Recall { conversation, seq };
            self.ask(request, Intent::Say(format!("recall {seq}")));
        }
    }

    fn history(&mut self, limit: u32) {
        let Some(conversation) = self.state.open else {
            self.refuse("open a conversation first: /open NAME");
            return;
        };
        if self.preload {
            self.load_older(limit);
            return;
        }
        let request = Request::History {
            conversation,
            anchor: Anchor::Newest,
            limit,
        };
        self.ask(request, Intent::Print);
    }

    fn list(&mut self, listing: Listing) {
        use super::command::quote;
        let items: Vec<String> = match listing {
            Listing::Friends => {
                let item = |(user, person): (&UserId, &super::state::Person)| {
                    let online = if person.online { " online" } else { "" };
                    let name = quote(&self.state.name(*user));
                    format!("friend {name} {}{online}", person.state.as_str())
                };
                self.state.people.iter().map(item).collect()
            }
            Listing::Groups => {
                let line = |state: &str, (group, name): (&GroupId, &Name)| {
                    let name = quote(&super::text::clean(name.as_str()));
                    format!("group #{group} {state} {name}")
                };
                let groups = self.state.groups.iter().map(|group| line("member", group));
                let invited = self
                    .state
                    .invitations
                    .iter()
                    .map(|group| line("invited", group));
                groups.chain(invited).collect()
            }
        };
        let count = items.len();
        self.reports.extend(items.into_iter().map(Report::Item));
        let what = match listing {
            Listing::Friends => "friends",
            Listing::Groups => "groups",
        };
        self.report(Report::Ok(format!("{what} {count}")));
    }

    fn password(&mut self, old: &str, new: &str) {
        if !PASSWORD_BYTES.contains(&new.len()) {
            self.refuse("a password has 8 to 256 bytes");
            return;
        }
        let request = Request::Password {
            old: Secret::new(old),
            new: Secret::new(new),
        };
        self.ask(request, Intent::Say("password".to_owned()));
    }

    /// Adds the report of a refusal.
    pub(super) fn report_error(&mut self, error: &RequestError) {
        let sentence = super::text::one_line(&error.message);
        self.report(Report::Error(error.code.to_string(), sentence));
    }

    /// Adds the report of a request that was not sent.
    pub(super) fn report_not_sent(&mut self, reason: NotSent) {
        let code = match reason {
            NotSent::NotConnected => "not_connected",
            NotSent::NotLoggedIn => "not_logged_in",
            NotSent::OtherUser => "other_user",
            NotSent::OutboxFull => "outbox_full",
            NotSent::TooManyRequests => "busy",
            NotSent::TooLarge => "too_large",
        };
        self.report(Report::Error(code.to_owned(), reason.to_string()));
    }

    /// Ends the wait for a read mark.
    pub(super) fn read_marked(&mut self, conversation: ConversationRef) {
        self.reading.remove(&conversation);
    }
}
