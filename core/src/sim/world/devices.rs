//! Devices: the client's own session each, and what its user has been shown.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use super::World;
use super::queue::{Step, Up};
use crate::client::{Config, Effect, Input, Outcome, Session, Status, Ticket};
use crate::id::{ConversationRef, GroupId, RequestId, Seq, SessionId, UserId};
use crate::log::FriendState;
use crate::name::Name;
use crate::protocol::event::GroupState;
use crate::protocol::reply::SessionReply;
use crate::protocol::{ErrorCode, Event, Message, Reply, Request};
use crate::secret::Secret;
use crate::sim::promises;
use crate::time::Timestamp;

/// Someone with devices.
#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: String,
    /// Who that is, since the last login.
    pub(super) user: Option<UserId>,
    /// Whether the account should exist.
    pub(super) registered: bool,
    /// Which of the passwords the person believes in.
    pub(super) password: u64,
}

/// A device.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) person: usize,
    pub(super) session: Session,
    pub(super) link: Option<super::queue::LinkId>,
    pub(super) status: Status,
    /// Whether it logs in as soon as it may.
    pub(super) eager: bool,
    /// Requests without an outcome.
    pub(super) asked: BTreeMap<Ticket, Request>,
    pub(super) last_ticket: u64,
    pub(super) view: View,
    /// Whether it stays away once all works again, and is to be seen as offline.
    pub(super) away: bool,
    /// What it is to ask for once all works again.
    pub(super) errands: VecDeque<Request>,
    /// Acknowledgements that are not answered.
    acknowledging: BTreeMap<RequestId, Positions>,
    wake_at: Option<Timestamp>,
}

/// A conversation, and how much of it has arrived and was read.
type Positions = (ConversationRef, Seq, Seq);

/// What a device's user has been shown.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) user: Option<UserId>,
    pub(super) session: Option<SessionId>,
    /// How far each conversation was shown.
    pub(super) seen: BTreeMap<ConversationRef, Seq>,
    /// The same for groups that were left while the device was away: it names these positions when
    /// it is back in the group.
    parted: BTreeMap<ConversationRef, Seq>,
    /// Groups whose end was told, and of which nothing was shown since: the client's session names
    /// no position in them.
    forgotten: BTreeSet<ConversationRef>,
    /// Friends, and who asks to be one.
    pub(super) friends: BTreeMap<UserId, FriendState>,
    pub(super) groups: BTreeSet<GroupId>,
    pub(super) invites: BTreeSet<GroupId>,
    /// How much of each conversation the user has got and read.
    pub(super) own: BTreeMap<ConversationRef, (Seq, Seq)>,
    /// The same of the other sides of direct conversations.
    pub(super) peers: BTreeMap<UserId, (Seq, Seq)>,
    /// Which friends are online.
    pub(super) online: BTreeMap<UserId, bool>,
    /// Whether the session began where the last one had ended, so that everything is acknowledged.
    pub(super) replayed: bool,
}

impl Person {
    pub(super) fn new(number: usize) -> Self {
        Self {
            name: format!("person {number}"),
            user: None,
            registered: false,
            password: 0,
        }
    }

    pub(super) fn valid_name(&self) -> Name {
        #[expect(clippy::expect_used, reason = "the name keeps the rules")]
        Name::new(&self.name).expect("a name")
    }

    pub(super) fn password(&self) -> Secret {
        password(self.password)
    }
}

/// One of the passwords that people choose among.
pub(super) fn password(number: u64) -> Secret {
    Secret::new(format!("password {number}"))
}

/// How many passwords there are to choose among.
pub(super) const PASSWORDS: u64 = 3;

impl Device {
    pub(super) fn new(person: usize, seed: u64, now: Timestamp) -> Self {
        let config = Config {
            seed,
            ping: Duration::from_secs(10),
            reply_timeout: Duration::from_secs(35),
            backoff_longest: Duration::from_secs(10),
            fetch: 5,
            ..Config::default()
        };
        let session = Session::new(config, now);
        Self {
            person,
            session,
            link: None,
            status: Status::Offline(crate::client::Offline::NotWanted),
            eager: false,
            asked: BTreeMap::new(),
            last_ticket: 0,
            view: View::default(),
            away: false,
            errands: VecDeque::new(),
            acknowledging: BTreeMap::new(),
            wake_at: None,
        }
    }
}

impl Device {
    fn note_asked(&mut self, id: RequestId, request: &Request) {
        if let Request::Ack {
            conversation,
            delivered,
            read,
        } = request
        {
            let read = read.unwrap_or_default();
            let delivered = delivered.unwrap_or_default().max(read);
            let positions = (*conversation, delivered, read);
            self.acknowledging.insert(id, positions);
        }
    }

    /// A request was answered: what it acknowledged is known to be.
    pub(super) fn note_answered(&mut self, id: Option<RequestId>, done: bool) {
        let asked = id.and_then(|id| self.acknowledging.remove(&id));
        if let Some((conversation, delivered, read)) = asked.filter(|_| done) {
            raise(&mut self.view.own, conversation, (delivered, read));
        }
    }

    /// A connection is made: requests are numbered anew.
    pub(super) fn note_connecting(&mut self) {
        self.acknowledging.clear();
    }
}

fn raise<K: Ord>(positions: &mut BTreeMap<K, (Seq, Seq)>, key: K, to: (Seq, Seq)) {
    let position = positions.entry(key).or_default();
    *position = (position.0.max(to.0), position.1.max(to.1));
}

impl World<'_> {
    pub(super) fn device_name(&self, index: usize) -> String {
        let person = self.devices.get(index).map_or(0, |device| device.person);
        let first = self.devices.iter().take(index);
        let number = first.filter(|device| device.person == person).count();
        format!("p{person}d{number}")
    }

    pub(super) fn wake_device(&mut self, index: usize) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        if device.wake_at.is_none_or(|at| at > now) {
            return;
        }
        device.wake_at = None;
        if device.session.poll_timeout().is_some_and(|due| due <= now) {
            self.feed_device(index, Input::Timeout);
        } else {
            self.attend_device(index);
        }
    }

    fn attend_device(&mut self, index: usize) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let Some(due) = device.session.poll_timeout() else {
            return;
        };
        // A session whose moment has come and that has nothing to do is not asked twice at once.
        let at = due.max(now + Duration::from_millis(1));
        if device.wake_at.is_none_or(|wake| at < wake) {
            device.wake_at = Some(at);
            self.queue.push(at, Step::WakeDevice(index));
        }
    }

    /// A device's user asks for something.
    pub(super) fn ask(&mut self, index: usize, request: Request) {
        self.say(|world| format!("{} asks {request:?}", world.device_name(index)));
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        device.last_ticket += 1;
        let ticket = Ticket(device.last_ticket);
        device.asked.insert(ticket, request.clone());
        self.feed_device(index, Input::Request { ticket, request });
    }

    pub(super) fn feed_device(&mut self, index: usize, input: Input) {
        let now = self.now;
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        if let Err(misuse) = device.session.handle(input, now) {
            let name = self.device_name(index);
            self.fail(format!("{name}: misuse: {misuse}"));
            return;
        }
        while let Some(effect) = self
            .devices
            .get_mut(index)
            .and_then(|device| device.session.poll_effect())
        {
            self.carry_out_for(index, effect);
        }
        self.attend_device(index);
    }

    fn carry_out_for(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Connect => self.connect(index),
            Effect::Disconnect => {
                if let Some(link) = self.devices.get(index).and_then(|device| device.link) {
                    self.hang_up(link);
                }
            }
            Effect::Send { id, request } => {
                if let Some(device) = self.devices.get_mut(index)
                    && let Some(link) = device.link
                {
                    device.note_asked(id, &request);
                    self.send_up(link, Up::Request(id, Box::new(request)));
                }
            }
            Effect::Outcome { ticket, outcome } => self.outcome(index, ticket, outcome),
            Effect::Event(event) => self.shown(index, event),
            Effect::Resumed(reply) => self.begun(index, &reply, true),
            // Typed replies are never cut, so nothing is listed after them.
            Effect::Listed(_) => self.fail("a list was paged that was not cut".to_owned()),
            Effect::Status(status) => {
                self.say(|world| format!("{} is {status:?}", world.device_name(index)));
                if let Some(device) = self.devices.get_mut(index) {
                    device.status = status;
                    if device.eager {
                        self.log_in_if_anonymous(index);
                    }
                }
            }
        }
    }

    /// A request of the user's came to its end.
    fn outcome(&mut self, index: usize, ticket: Ticket, outcome: Outcome) {
        let name = self.device_name(index);
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let Some(request) = device.asked.remove(&ticket) else {
            self.fail(format!(
                "{name}: an outcome without its request: {outcome:?}"
            ));
            return;
        };
        let op = request.op();
        self.say(|_| match &outcome {
            Outcome::Done(reply) => format!("{name} is answered {op}: {reply:?}"),
            other => format!("{name} is told of {op}: {other:?}"),
        });
        let failed = match &outcome {
            Outcome::Done(_) => None,
            failed => Some(failed.clone()),
        };
        match outcome {
            Outcome::Done(reply) => self.done(index, &request, &reply),
            Outcome::Refused(error) => self.refused(index, &request, error.code),
            Outcome::Unknown if matches!(request, Request::Send { .. }) => {
                self.fail(format!("{name}: a send ended as unknown"));
            }
            Outcome::Unknown | Outcome::NotSent(_) => {}
        }
        if let Some(outcome) = failed {
            self.errand_failed(index, request, &outcome);
        }
    }

    fn done(&mut self, index: usize, request: &Request, reply: &Reply) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let user = device.view.user;
        let Some(person) = self.people.get_mut(device.person) else {
            return;
        };
        match (request, reply) {
            (Request::Register { .. }, Reply::Registered { user }) => {
                person.registered = true;
                person.user = Some(*user);
            }
            (Request::Login { start, .. }, Reply::Session(reply)) => {
                person.user = Some(reply.user);
                person.registered = true;
                device.eager = false;
                let replay = start.replay;
                self.begun(index, reply, replay);
                if let Some(device) = self.devices.get_mut(index) {
                    device.view.replayed = replay;
                }
            }
            (Request::DeleteAccount { .. }, _) => {
                person.registered = false;
                device.view = View::default();
            }
            (Request::Logout, _) => device.view = View::default(),
            (Request::Password { new, .. }, _) => {
                person.password = (0..PASSWORDS)
                    .find(|number| password(*number) == *new)
                    .unwrap_or(0);
            }
            _ => {
                if let Some(user) = user {
                    self.check_acknowledged(user, request, reply);
                }
            }
        }
    }

    fn refused(&mut self, index: usize, request: &Request, code: ErrorCode) {
        let device = self.devices.get(index).map(|device| device.person);
        let Some(person) = device.and_then(|person| self.people.get_mut(person)) else {
            return;
        };
        match (request, code) {
            (Request::Register { .. }, ErrorCode::NameTaken) => person.registered = true,
            (Request::Login { .. }, ErrorCode::BadCredentials) => {
                // The password was changed elsewhere, or the account is gone.
                person.password = (person.password + 1) % PASSWORDS;
                person.registered = person.password != 0;
            }
            _ => {}
        }
    }

    /// A session begins, or goes on: what it says of friends and groups is the truth from now on.
    fn begun(&mut self, index: usize, reply: &SessionReply, replay: bool) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let view = &mut device.view;
        if view.user != Some(reply.user) {
            *view = View {
                user: Some(reply.user),
                ..View::default()
            };
        }
        view.session = Some(reply.session);
        for conversation in std::mem::take(&mut view.forgotten) {
            view.seen.remove(&conversation);
        }
        let present: BTreeSet<ConversationRef> = reply
            .conversations
            .iter()
            .map(|item| item.conversation)
            .collect();
        let away = |conversation: &ConversationRef, _: &mut Seq| !present.contains(conversation);
        view.parted.extend(view.seen.extract_if(.., away));
        for item in &reply.conversations {
            let first = if replay { item.delivered } else { item.last };
            let first = view.parted.remove(&item.conversation).unwrap_or(first);
            view.seen.entry(item.conversation).or_insert(first);
        }
        for item in &reply.conversations {
            raise(
                &mut view.own,
                item.conversation,
                (item.delivered, item.read),
            );
            if let (ConversationRef::User(other), Some(peer)) = (item.conversation, item.peer) {
                raise(&mut view.peers, other, peer);
            }
        }
        let friends = reply.friends.iter();
        view.online = friends.map(|friend| (friend.user, friend.online)).collect();
        let friends = reply.friends.iter();
        view.friends = friends
            .map(|friend| (friend.user, FriendState::Friends))
            .collect();
        let requests = reply.requests.iter();
        view.friends
            .extend(requests.map(|item| (item.user, FriendState::RequestedBy)));
        view.groups = reply.groups.iter().map(|item| item.group).collect();
        view.invites = reply.invites.iter().map(|item| item.group).collect();
    }

    /// A device's user is shown an event.
    fn shown(&mut self, index: usize, event: Event) {
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        match event {
            Event::Message(message) => self.shown_message(index, &message),
            Event::Friend { user, state, .. } => {
                let view = &mut device.view;
                if let FriendState::Friends | FriendState::RequestedBy = state {
                    view.friends.insert(user, state);
                } else {
                    view.friends.remove(&user);
                }
                if state == FriendState::Friends {
                    view.online.entry(user).or_insert(false);
                } else {
                    view.online.remove(&user);
                }
            }
            Event::Group { group, state, .. } => {
                let view = &mut device.view;
                match state {
                    GroupState::Member => {
                        view.groups.insert(group);
                        view.invites.remove(&group);
                    }
                    GroupState::Invited => {
                        view.invites.insert(group);
                    }
                    GroupState::Removed | GroupState::Disbanded | GroupState::None => {
                        view.forgotten.insert(ConversationRef::Group(group));
                        view.parted.remove(&ConversationRef::Group(group));
                        view.groups.remove(&group);
                        view.invites.remove(&group);
                    }
                    GroupState::Requested { .. } => {}
                }
            }
            Event::Notice { code, message, .. } => {
                self.say(|world| {
                    let name = world.device_name(index);
                    format!("{name} gets notice {}: {message}", code.as_str())
                });
            }
            Event::Receipt {
                conversation,
                user,
                delivered,
                read,
            } => {
                let view = &mut device.view;
                if view.user == Some(user) {
                    raise(&mut view.own, conversation, (delivered, read));
                } else {
                    raise(&mut view.peers, user, (delivered, read));
                }
            }
            Event::Presence { user, online } => {
                device.view.online.insert(user, online);
            }
            Event::Typing { .. } => {}
        }
    }

    /// Over all its connections, a device sees each log in order, without hole or repeat.
    fn shown_message(&mut self, index: usize, message: &Message) {
        self.report.received += 1;
        let name = self.device_name(index);
        self.say(|_| {
            let (with, seq, body) = (message.conversation, message.seq, &message.body);
            format!("{name} sees {with:?} {seq}: {body:?}")
        });
        let Some(device) = self.devices.get_mut(index) else {
            return;
        };
        let view = &mut device.view;
        let Some(user) = view.user else {
            self.fail(format!("{name} is shown {message:?} before its session"));
            return;
        };
        let with = message.conversation;
        let seen = view.seen.get(&with).copied();
        view.forgotten.remove(&with);
        if !promises::follows(seen, user, message) {
            self.fail(format!(
                "{name} of user {user} has seen {seen:?} and is shown {message:?}"
            ));
            return;
        }
        if promises::ends(&message.body, user) {
            // Where the event that says so is lost, the device names this position yet.
            view.seen.remove(&with);
            view.parted.insert(with, message.seq);
        } else {
            view.seen.insert(with, message.seq);
        }
    }
}
