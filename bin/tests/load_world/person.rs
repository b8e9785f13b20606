//! A person: the client session of `parlor-core` in the program's driver, who writes and remembers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use async_std::task;
use parlor_core::client::{Outcome, Status, Ticket};
use parlor_core::id::{ConversationRef, Seq, UserId};
use parlor_core::log::Body;
use parlor_core::name::{Key, Name};
use parlor_core::protocol::reply::SessionReply;
use parlor_core::protocol::request::{Start, UserRef};
use parlor_core::protocol::{Event, Message, NoticeCode, Reply, Request};
use parlor_core::secret::Secret;
use parlor_core::time::Timestamp;

use super::Random;
use super::driver::{Driver, Told, UserSender};
use crate::program_world::PASSWORD;

/// How somebody writes.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// The mean pause between two messages; zero for as fast as they are acknowledged.
    pub(crate) every: Duration,
    /// How many messages may wait to be acknowledged.
    pub(crate) window: usize,
}

/// What a person is told to do.
#[derive(Debug)]
enum Order {
    Write { every: Duration, window: usize },
    Rest,
    Leave,
}

/// Who somebody is.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) user: UserId,
    /// Where to connect, always.
    pub(crate) port: u16,
    /// Where to write.
    pub(crate) places: Vec<ConversationRef>,
    /// Whether the person is gone for good when the connection breaks.
    pub(crate) mortal: bool,
    pub(crate) seed: u64,
}

/// A message that somebody asked to be sent.
pub(crate) struct Sent {
    pub(crate) to: ConversationRef,
    pub(crate) key: Key,
    pub(crate) text: Arc<str>,
    /// What the server acknowledged.
    pub(crate) seq: Option<Seq>,
}

/// An entry that somebody was handed.
pub(crate) struct Got {
    pub(crate) seq: Seq,
    pub(crate) from: UserId,
    /// When it was committed, by the database's clock, which is this machine's.
    pub(crate) at: Timestamp,
    /// When it was handed over.
    pub(crate) arrived: Timestamp,
    pub(crate) text: Option<(Key, Arc<str>)>,
}

/// What somebody did and saw.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) online: bool,
    /// Whether nothing is left to do on either side.
    pub(crate) settled: bool,
    /// Whether the person is gone for good.
    pub(crate) dead: bool,
    pub(crate) sent: Vec<Sent>,
    pub(crate) acknowledged: usize,
    pub(crate) got: BTreeMap<ConversationRef, Vec<Got>>,
    /// Who is online as far as the person is shown, and since when.
    pub(crate) friends: BTreeMap<UserId, (bool, Instant)>,
    /// Who was shown to have gone, and when.
    pub(crate) departures: Vec<(UserId, Timestamp)>,
    /// How often a server said that it ends.
    pub(crate) farewells: usize,
    /// When connections broke, and when the session went on.
    pub(crate) breaks: Vec<Instant>,
    pub(crate) returns: Vec<Instant>,
    /// What must not happen.
    pub(crate) wrong: Vec<String>,
}

/// A person who lives on a task of its own.
pub(crate) struct Person {
    pub(crate) plan: Plan,
    record: Arc<Mutex<Record>>,
    orders: UserSender<Order>,
}

impl Person {
    /// Lets a person connect and log in.
    pub(crate) fn start(plan: Plan) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let driver = Driver::new(format!("127.0.0.1:{}", plan.port), plan.seed);
        let orders = driver.user_sender();
        let life = Life {
            driver,
            random: Random(plan.seed),
            plan: plan.clone(),
            record: Arc::clone(&record),
            pace: None,
            next: Timestamp(0),
            waiting: BTreeMap::new(),
        };
        task::spawn(life.live());
        Self {
            plan,
            record,
            orders,
        }
    }

    /// Lets the person write from now on.
    pub(crate) fn write(&self, pace: Pace) {
        let Pace { every, window } = pace;
        self.orders.send_blocking(Order::Write { every, window });
    }

    /// Lets the person write nothing more.
    pub(crate) fn rest(&self) {
        self.orders.send_blocking(Order::Rest);
    }

    /// Lets the person end the connection, and be gone for good.
    pub(crate) fn leave(&self) {
        self.orders.send_blocking(Order::Leave);
    }

    /// Returns what the person did and saw so far.
    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap()
    }
}

/// A person's own side.
struct Life {
    driver: Driver<Order>,
    plan: Plan,
    random: Random,
    record: Arc<Mutex<Record>>,
    pace: Option<Pace>,
    /// When to write next.
    next: Timestamp,
    /// Which sends wait to be acknowledged.
    waiting: BTreeMap<Ticket, usize>,
}

impl Life {
    async fn live(mut self) {
        self.driver.want(true);
        let mut logins = BTreeSet::new();
        loop {
            match self.driver.next().await {
                Told::User(Order::Write { every, window }) => {
                    self.pace = Some(Pace { every, window });
                    self.next = self.driver.now();
                }
                Told::User(Order::Rest) => self.pace = None,
                Told::User(Order::Leave) => return,
                Told::Outcome(ticket, outcome) if logins.remove(&ticket) => {
                    self.logged_in(&outcome);
                }
                Told::Outcome(ticket, outcome) => self.sent(ticket, &outcome),
                Told::Event(event) => self.saw(event),
                Told::Resumed(reply) => self.resumed(&reply),
                Told::Status(Status::Anonymous) => {
                    logins.insert(self.driver.request(login(&self.plan.name)));
                }
                Told::Status(status) => self.status(&status),
                Told::Alarm | Told::Settled | Told::CannotConnect(_) | Told::Listed(_) => {}
            }
            self.write();
            let session = self.driver.session();
            let settled = self.waiting.is_empty() && session.is_settled();
            let mut record = self.record.lock().unwrap();
            record.settled = settled && session.is_online();
            if record.dead {
                return;
            }
        }
    }

    /// Writes what may be written now.
    fn write(&mut self) {
        let Some(Pace { every, window }) = self.pace else {
            return;
        };
        while self.waiting.len() < window {
            let now = self.driver.now();
            if self.next > now {
                self.driver.alarm = Some(self.next);
                return;
            }
            let mean = u64::try_from(every.as_millis()).unwrap();
            self.next = now + Duration::from_millis(self.random.below(2 * mean + 1));
            self.write_one();
        }
    }

    fn write_one(&mut self) {
        let places = &self.plan.places;
        let to = places[usize::try_from(self.random.below(places.len() as u64)).unwrap()];
        // Mostly short; now and then one that fills several packets.
        let longest = if self.random.below(50) == 0 {
            8000
        } else {
            120
        };
        let filler = "x".repeat(usize::try_from(self.random.below(longest)).unwrap());
        let number = self.record.lock().unwrap().sent.len();
        let key = Key::new(&format!("{}-{number}", self.plan.name)).unwrap();
        let text: Arc<str> = format!("{number} of {} {filler}", self.plan.name).into();
        let ticket = self.driver.request(Request::Send {
            to,
            key: key.clone(),
            text: Arc::clone(&text),
            reply_to: None,
            meta: None,
        });
        self.waiting.insert(ticket, number);
        self.record.lock().unwrap().sent.push(Sent {
            to,
            key,
            text,
            seq: None,
        });
    }

    /// A send came to its end.
    fn sent(&mut self, ticket: Ticket, outcome: &Outcome) {
        let mut record = self.record.lock().unwrap();
        match (self.waiting.remove(&ticket), outcome) {
            (Some(number), Outcome::Done(Reply::Appended { seq, .. })) => {
                record.sent[number].seq = Some(*seq);
                record.acknowledged += 1;
            }
            (number, outcome) => {
                let what = format!("send {number:?} was answered {outcome:?}");
                record.wrong.push(what);
            }
        }
    }

    fn logged_in(&self, outcome: &Outcome) {
        match outcome {
            Outcome::Done(Reply::Session(reply)) => self.know_friends(reply),
            // The connection broke before: there will be another.
            Outcome::Unknown => {}
            other => self.wrong(format!("login was answered {other:?}")),
        }
    }

    fn resumed(&self, reply: &SessionReply) {
        self.know_friends(reply);
        self.record.lock().unwrap().returns.push(Instant::now());
    }

    fn know_friends(&self, reply: &SessionReply) {
        for friend in &reply.friends {
            self.know(friend.user, friend.online);
        }
    }

    fn know(&self, user: UserId, online: bool) {
        let mut record = self.record.lock().unwrap();
        let before = record.friends.get(&user).map(|(shown, _)| *shown);
        if before != Some(online) {
            record.friends.insert(user, (online, Instant::now()));
            if before == Some(true) {
                record.departures.push((user, self.driver.now()));
            }
        }
    }

    fn saw(&self, event: Event) {
        match event {
            Event::Message(message) => self.got(message),
            Event::Presence { user, online } => self.know(user, online),
            Event::Notice {
                code: NoticeCode::Draining,
                ..
            } => self.record.lock().unwrap().farewells += 1,
            _ => {}
        }
    }

    fn got(&self, message: Message) {
        let text = match message.body {
            Body::Text(text) => Some((text.key, text.text)),
            _ => None,
        };
        let mut record = self.record.lock().unwrap();
        let log = record.got.entry(message.conversation).or_default();
        log.push(Got {
            seq: message.seq,
            from: message.from,
            at: message.at,
            arrived: self.driver.now(),
            text,
        });
    }

    fn status(&self, status: &Status) {
        let mut record = self.record.lock().unwrap();
        record.online = *status == Status::Online;
        match status {
            Status::Waiting { .. } => {
                record.breaks.push(Instant::now());
                record.dead = self.plan.mortal;
            }
            Status::LoginNeeded(_) | Status::Offline(_) => {
                let what = format!("the session ended: {status:?}");
                record.wrong.push(what);
            }
            _ => {}
        }
    }

    fn wrong(&self, what: String) {
        self.record.lock().unwrap().wrong.push(what);
    }
}

fn login(name: &str) -> Request {
    Request::Login {
        who: UserRef::Name(Name::new(name).unwrap()),
        password: Secret::new(PASSWORD),
        device: None,
        start: Start::default(),
    }
}
