//! What has to be there before the work: accounts, sessions, friends, members. Each user has a list
//! of requests, and does one after the other; many users do so at once.

use std::collections::VecDeque;
use std::io;

use parlor_core::id::{GroupId, RequestId, UserId};
use parlor_core::log::JoinPolicy;
use parlor_core::name::Name;
use parlor_core::protocol::client::{RawReply, encode_request};
use parlor_core::protocol::reply::JoinState;
use parlor_core::protocol::request::{GroupSelfAction, Start, UserRef};
use parlor_core::protocol::{ErrorCode, Reply, Request, RequestError};
use parlor_core::secret::Secret;

use super::hub::{Hub, Player};
use super::ledger::{Faults, Sequence};
use super::message::now;
use super::order::Order;
use super::scan::{Line, scan};

/// Users that are at it at one time: enough to keep a server busy, and fewer than any listens for.
const AT_ONCE: usize = 128;

/// The password of every account.
const PASSWORD: &str = "correct horse battery";

/// How long to wait before a request is repeated whose refusal does not say so, in milliseconds.
const RETRY_MS: u64 = 500;

/// How often a request is repeated before that is given up.
const ATTEMPTS: u32 = 200;

/// A user.
#[derive(Clone, Debug, Default)]
pub(super) struct Person {
    /// The server's number for it.
    pub(super) id: u64,
    /// What its session goes on with.
    pub(super) token: String,
    /// The last entry that it has got; all its entries are of one log.
    pub(super) log: Sequence,
}

/// Preparations under way.
#[derive(Debug)]
pub(super) struct Errands<'a> {
    order: &'a Order,
    /// The users.
    pub(super) people: Vec<Person>,
    /// The group that was made.
    pub(super) group: Option<u64>,
    lists: Vec<List>,
    waiting: VecDeque<usize>,
    busy: usize,
    /// When to repeat whose request.
    again: Vec<(u64, usize)>,
    /// Requests that were carried out.
    pub(super) done: u64,
    /// Requests that were asked for.
    pub(super) all: u64,
    /// Why it cannot go on.
    pub(super) failure: Option<String>,
}

#[derive(Debug, Default)]
struct List {
    requests: VecDeque<Request>,
    connected: bool,
    attempts: u32,
}

impl<'a> Errands<'a> {
    pub(super) fn new(order: &'a Order) -> Self {
        let mut lists = Vec::new();
        lists.resize_with(order.count(), List::default);
        Self {
            order,
            people: vec![Person::default(); order.count()],
            group: None,
            lists,
            waiting: VecDeque::new(),
            busy: 0,
            again: Vec::new(),
            done: 0,
            all: 0,
            failure: None,
        }
    }

    /// Has a user ask for all of this, behind what it has yet to ask for.
    pub(super) fn add(&mut self, user: usize, requests: impl IntoIterator<Item = Request>) {
        let Some(list) = self.lists.get_mut(user) else {
            return;
        };
        let was_empty = list.requests.is_empty();
        let before = list.requests.len();
        list.requests.extend(requests);
        self.all += u64::try_from(list.requests.len() - before).unwrap_or(0);
        if was_empty && !list.requests.is_empty() {
            self.waiting.push_back(user);
        }
    }

    /// Has everyone register and log in; the first user of all makes a group, where one is wanted.
    pub(super) fn enter(&mut self, makes_group: bool) -> Result<(), String> {
        for user in 0..self.order.count() {
            let name = name(&self.order.name(user))?;
            let password = Secret::new(PASSWORD);
            self.add(
                user,
                [
                    Request::Register {
                        name: name.clone(),
                        password: password.clone(),
                        invite: None,
                    },
                    Request::Login {
                        who: UserRef::Name(name),
                        password,
                        device: None,
                        start: Start::default(),
                    },
                ],
            );
        }
        if makes_group && self.order.first == 0 {
            let name = name(&format!("bench {}", self.order.run))?;
            self.add(
                0,
                [Request::GroupCreate {
                    name,
                    description: "".into(),
                    join: JoinPolicy::Open,
                    key: None,
                }],
            );
        }
        Ok(())
    }

    /// Has a user of this worker ask another one for friendship; both must, to be friends.
    pub(super) fn befriend(&mut self, user: usize, other: usize) {
        let Some(id) = self.people.get(other).map(|person| person.id) else {
            return;
        };
        let who = UserRef::Id(UserId(id));
        self.add(user, [Request::FriendRequest { who }]);
    }

    /// Has everyone join a group who did not make it.
    pub(super) fn join(&mut self, group: u64) {
        for user in 0..self.order.count() {
            if self.order.index(user) == 0 {
                continue;
            }
            let join = Request::GroupSelf {
                action: GroupSelfAction::Join,
                group: GroupId(group),
            };
            self.add(user, [join]);
        }
    }

    /// Tells whether all is done.
    pub(super) fn is_done(&self) -> bool {
        self.done == self.all
    }

    /// Begins what may begin.
    pub(super) fn step(&mut self, hub: &mut Hub) -> io::Result<()> {
        let now = now();
        let due = |(at, user): &(u64, usize)| (*at <= now).then_some(*user);
        let again: Vec<usize> = self.again.iter().filter_map(due).collect();
        self.again.retain(|(at, _)| *at > now);
        for user in again {
            self.ask(hub, user);
        }
        while self.busy < AT_ONCE
            && let Some(user) = self.waiting.pop_front()
        {
            self.busy += 1;
            if self.lists.get(user).is_some_and(|list| list.connected) {
                self.ask(hub, user);
            } else if let Some(address) = self.order.address(user) {
                hub.connect(user, address)?;
            }
        }
        Ok(())
    }

    /// Sends the first request of a user's list.
    fn ask(&mut self, hub: &mut Hub, user: usize) {
        let request = self.lists.get(user).and_then(|it| it.requests.front());
        if let (Some(request), Some(out)) = (request, hub.out(user)) {
            encode_request(RequestId(1), request, out);
            out.push(b'\n');
        }
    }

    /// Takes the reply to the first request of a user's list.
    fn take(&mut self, hub: &mut Hub, user: usize, reply: &RawReply) -> Result<(), String> {
        let (Some(list), Some(person)) = (self.lists.get_mut(user), self.people.get_mut(user))
        else {
            return Ok(());
        };
        let Some(request) = list.requests.pop_front() else {
            return Err("the server answered what was not asked".to_owned());
        };
        list.attempts = 0;
        let reply = reply.parse(request.reply_kind());
        match reply.map_err(|error| format!("`{}`: {error}", request.op()))? {
            Reply::Registered { user } => person.id = user.0,
            Reply::Session(session) => person.token = session.token.expose().to_owned(),
            Reply::GroupCreated { group } => self.group = Some(group.0),
            Reply::GroupJoined {
                state: JoinState::Requested,
            } => return Err("the group wants approval".to_owned()),
            _ => {}
        }
        self.done += 1;
        if list.requests.is_empty() {
            self.busy -= 1;
        } else {
            self.ask(hub, user);
        }
        Ok(())
    }

    /// Takes a refusal: some pass.
    fn refused(&mut self, user: usize, error: &RequestError) -> Result<(), String> {
        let Some(list) = self.lists.get_mut(user) else {
            return Ok(());
        };
        let op = list.requests.front().map_or("", Request::op);
        list.attempts += 1;
        let Some(at) = retry_at(error).filter(|_| list.attempts <= ATTEMPTS) else {
            let (code, message) = (error.code.as_str(), &error.message);
            return Err(format!("the server refuses `{op}`: {code}: {message}"));
        };
        self.again.push((at, user));
        Ok(())
    }
}

/// Returns when to repeat what was refused, in microseconds of [`now`]; `None` where that does not
/// help.
pub(super) fn retry_at(error: &RequestError) -> Option<u64> {
    let passes = matches!(
        error.code,
        ErrorCode::Busy | ErrorCode::Unavailable | ErrorCode::RateLimited
    );
    passes.then(|| now() + error.retry_ms.unwrap_or(RETRY_MS) * 1000)
}

impl Player for Errands<'_> {
    fn opened(&mut self, hub: &mut Hub, user: usize) {
        if let Some(list) = self.lists.get_mut(user) {
            list.connected = true;
        }
        self.ask(hub, user);
    }

    fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], _at: u64) {
        let taken = match scan(line) {
            Line::Done { id: 1, reply } => self.take(hub, user, &reply),
            Line::Refused { error, .. } => self.refused(user, &error),
            Line::Entry { seq } | Line::Text { seq, .. } => {
                let mut faults = Faults::default();
                if let Some(person) = self.people.get_mut(user) {
                    // Who joins begins at its own entry.
                    if person.log.last() == 0 {
                        person.log.begin_at(seq);
                    }
                    person.log.take(seq, &mut faults, || format!("user {user}"));
                }
                faults.told.pop().map_or(Ok(()), Err)
            }
            Line::Notice { code } => Err(format!("the server closes a connection: {code}")),
            Line::Malformed => Err(format!(
                "the server does not keep the protocol: {}",
                String::from_utf8_lossy(line)
            )),
            Line::Sent { .. } | Line::Done { .. } | Line::Other => Ok(()),
        };
        if let Err(why) = taken {
            self.failure.get_or_insert(why);
        }
    }

    fn closed(&mut self, _hub: &mut Hub, _user: usize, why: &str) {
        self.failure.get_or_insert_with(|| why.to_owned());
    }
}

fn name(text: &str) -> Result<Name, String> {
    Name::new(text).map_err(|error| format!("the name {text:?} {error}"))
}
