//! Clients that lose their connections and come back by token, to what they have missed.

use std::collections::VecDeque;

use parlor_core::id::{ConversationRef, RequestId, Seq, UserId};
use parlor_core::protocol::client::encode_request;
use parlor_core::protocol::request::Start;
use parlor_core::protocol::{Request, RequestError};
use parlor_core::secret::Secret;

use super::errands::{Person, retry_at};
use super::hub::{Hub, Player};
use super::ledger::Sequence;
use super::message::{now, read_text};
use super::order::Order;
use super::play::{Play, Tally};
use super::scan::{Line, scan};

/// How many connect at one time: fewer than a server's backlog holds, or the kernel lets some wait
/// for a second. Those that are connected and not yet back are not among them.
const CONNECTING: usize = 256;

/// Who comes back, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    /// Everyone, once, as soon as it counts.
    Together,
    /// The receiver of each pair, again and again.
    Repeatedly,
}

/// The users of a worker, in pairs that have a log of so many messages.
#[derive(Debug)]
pub(super) struct Returning<'a> {
    order: &'a Order,
    manner: Manner,
    messages: u64,
    clients: Vec<Client>,
    /// Those that wait for their turn to connect.
    waiting: VecDeque<usize>,
    connecting: usize,
    /// When to ask again for whom.
    again: Vec<(u64, usize)>,
    /// Those that are on their way back.
    away: usize,
    ended: bool,
    tally: Tally,
}

#[derive(Debug)]
struct Client {
    resume: Vec<u8>,
    /// Whether it takes part.
    returns: bool,
    state: State,
    got: Sequence,
    /// When it left, or asked to go on.
    since: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Here,
    Connecting,
    Asking,
    CatchingUp,
}

impl<'a> Returning<'a> {
    pub(super) fn new(order: &'a Order, people: &[Person], messages: u32, manner: Manner) -> Self {
        let client = |(user, person): (usize, &Person)| {
            let peer = people.get(user ^ 1).map_or(0, |peer| peer.id);
            let request = Request::Resume {
                token: Secret::new(person.token.as_str()),
                start: Start {
                    replay: true,
                    have: vec![(ConversationRef::User(UserId(peer)), Seq(0))],
                },
            };
            let mut resume = Vec::new();
            encode_request(RequestId(1), &request, &mut resume);
            resume.push(b'\n');
            Client {
                resume,
                returns: manner == Manner::Together || user % 2 == 1,
                state: State::Here,
                got: Sequence::default(),
                since: 0,
            }
        };
        Self {
            order,
            manner,
            messages: messages.into(),
            clients: people.iter().enumerate().map(client).collect(),
            waiting: VecDeque::new(),
            connecting: 0,
            again: Vec::new(),
            away: 0,
            ended: false,
            tally: Tally::new(),
        }
    }

    /// Cuts everyone off who returns, and lets them come back.
    fn scatter(&mut self, hub: &mut Hub) {
        for user in 0..self.clients.len() {
            if self.clients.get(user).is_some_and(|client| client.returns) {
                self.leave(hub, user);
            }
        }
        self.connect(hub);
    }

    fn leave(&mut self, hub: &mut Hub, user: usize) {
        hub.cut(user);
        if let Some(client) = self.clients.get_mut(user) {
            client.state = State::Connecting;
            client.got.restart();
            client.since = now();
            self.away += 1;
            self.waiting.push_back(user);
        }
    }

    fn connect(&mut self, hub: &mut Hub) {
        while self.connecting < CONNECTING
            && let Some(user) = self.waiting.pop_front()
            && let Some(address) = self.order.address(user)
        {
            match hub.connect(user, address) {
                Ok(()) => self.connecting += 1,
                Err(error) => {
                    let number = self.order.index(user);
                    let what = || format!("user {number} cannot connect: {error}");
                    self.tally.faults.add(what);
                }
            }
        }
    }

    fn ask(&mut self, hub: &mut Hub, user: usize) {
        if let (Some(client), Some(out)) = (self.clients.get_mut(user), hub.out(user)) {
            client.state = State::Asking;
            out.extend_from_slice(&client.resume);
        }
    }

    /// Takes a message that a client had missed.
    fn take(&mut self, hub: &mut Hub, user: usize, seq: u64, text: &[u8], at: u64) {
        let number = self.order.index(user);
        let faults = &mut self.tally.faults;
        let Some(client) = self.clients.get_mut(user) else {
            return;
        };
        let mark = read_text(&self.order.run, text);
        if !mark.is_some_and(|mark| mark.lane == number / 2 && mark.number == seq)
            || client.state != State::CatchingUp
        {
            let state = client.state;
            return faults.add(|| {
                let text = String::from_utf8_lossy(text).into_owned();
                format!("user {number} got as entry {seq} while {state:?}: {text:?}")
            });
        }
        if client.got.take(seq, faults, || format!("user {number}")) {
            self.tally.deliveries += 1;
        }
        if client.got.last() == self.messages {
            self.arrive(hub, user, at);
        }
    }

    /// Notes that a client is back and has everything.
    fn arrive(&mut self, hub: &mut Hub, user: usize, at: u64) {
        let Some(client) = self.clients.get_mut(user) else {
            return;
        };
        client.state = State::Here;
        self.tally.took(client.since, at);
        self.away -= 1;
        if self.manner == Manner::Repeatedly && !self.ended {
            self.leave(hub, user);
            self.connect(hub);
        }
    }

    /// Takes a refusal: some pass.
    fn refused(&mut self, user: usize, error: &RequestError) {
        if let Some(at) = retry_at(error) {
            self.tally.refusals += 1;
            return self.again.push((at, user));
        }
        let number = self.order.index(user);
        let (code, message) = (error.code.as_str(), &error.message);
        let what = || format!("user {number} was refused: {code}: {message}");
        self.tally.faults.add(what);
    }
}

impl Player for Returning<'_> {
    fn opened(&mut self, hub: &mut Hub, user: usize) {
        self.connecting -= 1;
        self.ask(hub, user);
        self.connect(hub);
    }

    fn line(&mut self, hub: &mut Hub, user: usize, line: &[u8], at: u64) {
        let number = self.order.index(user);
        match scan(line) {
            Line::Text { seq, text, .. } => self.take(hub, user, seq, &text, at),
            Line::Done { id: 1, .. } => {
                self.tally.resumes += 1;
                if let Some(client) = self.clients.get_mut(user) {
                    client.state = State::CatchingUp;
                }
                if self.messages == 0 {
                    self.arrive(hub, user, at);
                }
            }
            Line::Refused { error, .. } => self.refused(user, &error),
            Line::Notice { code } => {
                let what = || format!("the server closes user {number}'s connection: {code}");
                self.tally.faults.add(what);
            }
            Line::Malformed | Line::Entry { .. } | Line::Sent { .. } => {
                self.tally.faults.add(|| {
                    let line = String::from_utf8_lossy(line).into_owned();
                    format!("user {number} got what nobody caused: {line:?}")
                });
            }
            Line::Done { .. } | Line::Other => {}
        }
    }

    fn closed(&mut self, hub: &mut Hub, user: usize, why: &str) {
        let number = self.order.index(user);
        let state = self.clients.get(user).map(|client| client.state);
        if state == Some(State::Connecting) {
            self.connecting -= 1;
            self.connect(hub);
        }
        self.tally.faults.add(|| format!("user {number}: {why}"));
    }
}

impl Play for Returning<'_> {
    fn go(&mut self, hub: &mut Hub) {
        if self.manner == Manner::Repeatedly {
            self.scatter(hub);
        }
    }

    fn begin(&mut self, hub: &mut Hub) {
        self.tally.begin();
        if self.manner == Manner::Together {
            self.scatter(hub);
        }
    }

    fn step(&mut self, hub: &mut Hub) {
        let now = now();
        let due = |(at, user): &(u64, usize)| (*at <= now).then_some(*user);
        let again: Vec<usize> = self.again.iter().filter_map(due).collect();
        self.again.retain(|(at, _)| *at > now);
        for user in again {
            self.ask(hub, user);
        }
    }

    fn end(&mut self) {
        self.ended = true;
        self.tally.end();
    }

    fn is_finished(&self) -> bool {
        self.manner == Manner::Together && self.tally.has_begun() && self.away == 0
    }

    fn is_stopped(&self) -> bool {
        self.away == 0
    }

    fn settle(&mut self, _last: u64) {
        let away = |client: &&Client| client.state != State::Here;
        let away = self.clients.iter().filter(away).count();
        if away > 0 {
            let clients = self.clients.len();
            self.tally
                .faults
                .add(|| format!("{away} of {clients} users did not get everything"));
        }
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }

    fn tally_mut(&mut self) -> &mut Tally {
        &mut self.tally
    }
}
