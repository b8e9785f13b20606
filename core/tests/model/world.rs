//! The server, driven by operations beside the model.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use parlor_core::engine::{Config, Input};
use parlor_core::id::{ConnectionId, RequestId, Seq, StoreToken};
use parlor_core::protocol::request::{Start, UserRef};
use parlor_core::protocol::{Reply, Request};
use parlor_core::secret::Secret;
use parlor_core::sim::{Loopback, Sent};
use parlor_core::store::{Command, Done, Limits, Read, StoreRequest, StoreResponse, StoreResult};

use crate::compare::{self, Before};
use crate::operation::{Ask, Op, USERS};
use crate::sessions::SESSIONS;
use crate::state::{Answer, Model, user_name};

/// A node and the model of it.
pub(crate) struct World {
    node: Loopback,
    model: Model,
    /// The connections with a session, in order.
    open: Vec<ConnectionId>,
    /// The newest token of every session that ever began.
    tokens: Vec<Secret>,
    last_request: u64,
}

/// A request that the store has.
struct Held {
    token: StoreToken,
    /// Which answer of a connection it decides; absent where the engine asks for itself.
    of: Option<(ConnectionId, u64, Ask)>,
    step: Step,
}

enum Step {
    Asked(Box<StoreRequest>),
    Done(Box<StoreResult>),
}

/// What a burst is made of.
#[derive(Default)]
struct Burst {
    held: Vec<Held>,
    /// What each connection asked that has not come to the store.
    waiting: BTreeMap<ConnectionId, VecDeque<(u64, Ask)>>,
    /// What each connection is to be answered.
    expected: BTreeMap<ConnectionId, BTreeMap<u64, Answer>>,
    /// The groups that were made; operations name them from the next one on.
    made: Vec<u64>,
}

impl World {
    pub(crate) fn new() -> Self {
        let config = Config {
            rates: None,
            ..Config::new(Secret::new("a secret of at least thirty-two bytes"))
        };
        let limits = Limits {
            sessions: u32::try_from(SESSIONS).unwrap(),
            ..Limits::default()
        };
        let mut world = Self {
            node: Loopback::new(config, limits),
            model: Model::default(),
            open: Vec::new(),
            tokens: Vec::new(),
            last_request: 0,
        };
        let connection = world.node.connect().unwrap();
        for user in 1..=USERS {
            world.request(
                connection,
                Request::Register {
                    name: user_name(user),
                    password: password(),
                    invite: None,
                },
            );
        }
        world.node.disconnect(connection).unwrap();
        for user in 1..=USERS {
            world.step(&Op::Login(user, true));
        }
        world
    }

    /// Carries an operation out, in the server and in the model, and compares.
    pub(crate) fn step(&mut self, op: &Op) {
        match op {
            Op::Login(user, replay) => self.login(*user, *replay),
            Op::Resume(session, replay) => self.resume(*session, *replay),
            Op::Wait(long) => self.wait(*long),
            Op::Break(on) => {
                if let Some(on) = self.pick(*on) {
                    self.model.leave(on);
                    self.node.disconnect(on).unwrap();
                    self.open.retain(|open| *open != on);
                }
            }
            Op::Logout(on) => {
                if let Some(on) = self.pick(*on) {
                    let session = self.session_on(on);
                    self.model.end(session, None);
                    self.answered(on, Request::Logout, &Ok(Reply::Done));
                    self.node.disconnect(on).unwrap();
                    self.open.retain(|open| *open != on);
                }
            }
            Op::Password(on) => {
                if let Some(on) = self.pick(*on) {
                    let (old, new) = (password(), password());
                    let expected = self.model.password(on);
                    self.answered(on, Request::Password { old, new }, &expected);
                }
            }
            Op::Ack(on, place, seq, is_read) => {
                if let Some(on) = self.pick(*on) {
                    let expected = self.model.ack(on, *place, *seq, *is_read);
                    let seq = Some(Seq(*seq));
                    let request = Request::Ack {
                        conversation: place.conversation(&self.model.made),
                        delivered: seq.filter(|_| !is_read),
                        read: seq.filter(|_| *is_read),
                    };
                    self.answered(on, request, &expected);
                }
            }
            Op::Typing(on, place) => {
                if let Some(on) = self.pick(*on) {
                    let expected = self.model.typing(self.model.user_of(on).unwrap(), *place);
                    let to = place.conversation(&self.model.made);
                    self.answered(on, Request::Typing { to }, &expected);
                }
            }
            Op::Ask(on, ask) => self.ask(*on, ask),
            Op::Burst(asks, choices) => return self.burst(asks, choices),
        }
        self.compare_exactly(op);
    }

    fn pick(&self, index: usize) -> Option<ConnectionId> {
        let index = index.checked_rem(self.open.len())?;
        Some(self.open[index])
    }

    fn session_on(&self, connection: ConnectionId) -> usize {
        let mut sessions = self.model.sessions.iter();
        sessions
            .position(|session| session.connection == Some(connection))
            .unwrap()
    }

    /// Sends a request; its answer is to be taken later.
    fn request(&mut self, on: ConnectionId, request: Request) -> u64 {
        self.last_request += 1;
        self.node.request(on, self.last_request, request).unwrap();
        self.last_request
    }

    /// Sends a request that is answered at once, and compares the answer; tells whether it is none
    /// of the errors.
    fn answered(&mut self, on: ConnectionId, request: Request, expected: &Answer) -> bool {
        let text = format!("{request:?}");
        let id = RequestId(self.request(on, request));
        let mut answer = None;
        for sent in self.node.take(on) {
            match sent {
                Sent::Reply(of, result) if of == Some(id) => answer = Some(result),
                other => self.node.put_back(on, other),
            }
        }
        let answer = answer.unwrap();
        self.keep_token(on, &answer);
        let answer = compare::answer(answer);
        assert_eq!(answer, *expected, "the answer to {text}");
        answer.is_ok()
    }

    fn keep_token<E>(&mut self, on: ConnectionId, answer: &Result<Reply, E>) {
        let token = match answer {
            Ok(Reply::Session(session)) => &session.token,
            Ok(Reply::Token { token }) => token,
            _ => return,
        };
        let session = self.session_on(on);
        self.tokens
            .resize(self.model.sessions.len(), Secret::new(""));
        self.tokens[session] = token.clone();
    }

    fn login(&mut self, user: u64, replay: bool) {
        let on = self.node.connect().unwrap();
        let expected = self.model.login(user, on, replay);
        let have = Vec::new();
        let login = Request::Login {
            who: UserRef::Name(user_name(user)),
            password: password(),
            device: None,
            start: Start { replay, have },
        };
        assert!(self.answered(on, login, &expected));
        self.open.push(on);
    }

    fn resume(&mut self, session: usize, replay: bool) {
        let session = session % self.tokens.len();
        let on = self.node.connect().unwrap();
        let expected = self.model.resume(session, on, replay);
        let (token, have) = (self.tokens[session].clone(), Vec::new());
        let start = Start { replay, have };
        if self.answered(on, Request::Resume { token, start }, &expected) {
            self.open.push(on);
        } else {
            self.node.disconnect(on).unwrap();
        }
    }

    fn wait(&mut self, long: bool) {
        for on in self.open.clone() {
            self.request(on, Request::Ping);
            let sent = self.node.take(on);
            assert!(matches!(sent[..], [Sent::Reply(_, Ok(Reply::Pong { .. }))]));
        }
        let millis = if long { 3000 } else { 0 };
        self.node.advance(Duration::from_millis(millis)).unwrap();
        if long {
            self.model.settle();
        }
    }

    fn ask(&mut self, on: usize, ask: &Ask) {
        let Some(on) = self.pick(on) else { return };
        let user = self.model.user_of(on).unwrap();
        let request = ask.request(&self.model.made);
        if let Ask::Create(_) = ask {
            // The number of a group is the server's affair.
            let id = RequestId(self.request(on, request));
            let mut sent = self.node.take(on);
            let at = sent.iter().position(|sent| {
                matches!(sent, Sent::Reply(of, Ok(Reply::GroupCreated { .. })) if *of == Some(id))
            });
            let Sent::Reply(_, Ok(Reply::GroupCreated { group })) = sent.remove(at.unwrap()) else {
                unreachable!("just found");
            };
            for sent in sent {
                self.node.put_back(on, sent);
            }
            self.model.ask(user, ask, group.0).unwrap();
            self.model.made.push(group.0);
            return;
        }
        let expected = self.model.ask(user, ask, 0);
        self.answered(on, request, &expected);
    }

    /// Compares what each connection was sent.
    fn compare_exactly(&mut self, op: &Op) {
        let mut expected = std::mem::take(&mut self.model.sent);
        for on in self.open.clone() {
            let expected = expected.remove(&on).unwrap_or_default();
            let sent = self.node.take(on);
            let closed = sent.contains(&Sent::Closed);
            compare::exactly(&sent, &expected, &format!("{on:?} after {op:?}"));
            if closed {
                self.open.retain(|open| *open != on);
            }
        }
        assert!(expected.is_empty(), "nobody is there for {expected:?}");
    }
}

/// Requests of several sessions under way together.
impl World {
    fn burst(&mut self, asks: &[(usize, Ask)], choices: &[u8]) {
        let before = Before::of(&self.model);
        let mut burst = Burst::default();
        self.node.hold_store();
        for (on, ask) in asks {
            let Some(on) = self.pick(*on) else { break };
            if ask.is_to_self(self.model.user_of(on).unwrap()) {
                continue;
            }
            let id = self.request(on, ask.request(&before.made));
            let waiting = burst.waiting.entry(on).or_default();
            waiting.push_back((id, ask.clone()));
            self.collect(&mut burst, Some(on));
        }
        let mut choices = choices.iter().copied().chain(std::iter::repeat(0));
        while !burst.held.is_empty() {
            let choice = usize::from(choices.next().unwrap_or_default());
            let held = burst.held.remove(choice % burst.held.len());
            self.advance(&mut burst, held);
        }
        assert!(burst.waiting.values().all(VecDeque::is_empty));
        self.node.release_store().unwrap();
        self.model.made.append(&mut burst.made);
        self.compare_loosely(&before, &burst);
    }

    /// Takes the requests that came to the store; those of clients are `on`'s, in its order.
    fn collect(&mut self, burst: &mut Burst, on: Option<ConnectionId>) {
        for (token, request) in self.node.take_held() {
            let of = is_clients(&request).then(|| {
                let on = on.expect("a client's request has a connection");
                let waiting = burst.waiting.get_mut(&on).unwrap();
                let (id, ask) = waiting.pop_front().unwrap();
                (on, id, ask)
            });
            let step = Step::Asked(Box::new(request));
            burst.held.push(Held { token, of, step });
        }
    }

    /// Carries a request out, or answers one that was.
    fn advance(&mut self, burst: &mut Burst, mut held: Held) {
        match held.step {
            Step::Asked(request) => {
                let now = self.node.now();
                let result = self.node.store.execute(*request, now);
                if let Some((on, id, ask)) = &held.of {
                    let made = match &result {
                        Ok(StoreResponse::Applied(applied)) => match applied.done {
                            Done::GroupCreated(group) => group.0,
                            _ => 0,
                        },
                        _ => 0,
                    };
                    // Committed now: this is the request's place among all others.
                    let user = self.model.user_of(*on).unwrap();
                    let answer = self.model.ask(user, ask, made);
                    let answer = compare::without_presence(answer);
                    burst.made.extend(Some(made).filter(|made| *made > 0));
                    burst.expected.entry(*on).or_default().insert(*id, answer);
                }
                held.step = Step::Done(Box::new(result));
                burst.held.push(held);
            }
            Step::Done(result) => {
                self.node.complete(held.token, *result).unwrap();
                self.collect(burst, held.of.map(|(on, ..)| on));
            }
        }
    }

    fn compare_loosely(&mut self, before: &Before, burst: &Burst) {
        // Reads that follow from the last answers are made at once by now.
        self.node.input(Input::Timeout).unwrap();
        let mut sent = std::mem::take(&mut self.model.sent);
        for on in self.open.clone() {
            let user = self.model.user_of(on).unwrap();
            let mut answers = Vec::new();
            let mut events = Vec::new();
            for sent in self.node.take(on) {
                match sent {
                    Sent::Reply(id, result) => {
                        let answer = compare::without_presence(compare::answer(result));
                        answers.push((id.unwrap().0, answer));
                    }
                    Sent::Event(event) => events.push(event),
                    Sent::Closed => panic!("{on:?} was closed"),
                }
            }
            let expected = burst.expected.get(&on).cloned().unwrap_or_default();
            let expected: Vec<(u64, Answer)> = expected.into_iter().collect();
            assert_eq!(answers, expected, "the answers on {on:?}");
            let expected = sent.remove(&on).unwrap_or_default();
            compare::loosely(&events, &expected, (before, &self.model, user));
        }
    }
}

/// Tells whether a client asked for it.
fn is_clients(request: &StoreRequest) -> bool {
    match request {
        StoreRequest::Command(command) => !matches!(**command, Command::CloseSession { .. }),
        StoreRequest::Read(read) => !matches!(
            read,
            Read::Rosters(_) | Read::Heads { .. } | Read::Fetch { .. } | Read::Changes { .. }
        ),
        _ => false,
    }
}

fn password() -> Secret {
    Secret::new("password")
}
